/*
 * Socket device (virtio 1.2, section 5.10): the queues, the table of connections, and what goes to
 * whom.
 *
 * From the guest: a tx chain's header is copied once and checked, its payload is copied into a
 * scratch buffer of one window, the chain is given back, and only then anybody looks at the copy.
 * So no port ever reads guest memory, and no chain is held while a port runs.
 *
 * To the guest: a connection that has something to send is in the ready list, and takes its turn
 * there, one packet a turn. What it has is a handful of owed bits and its waiting bytes
 * (virtio/vsock_conn.c). Only a RST outlives its connection, or never had one; these wait in a
 * ring. They go first, and while the ring holds REPLIES_SOFT of them no tx chain is taken, which is
 * the back-pressure of 5.10.6.1. The ring cannot overflow: beyond REPLIES_SOFT come only RSTs of
 * connections that the guest knows of, at most PV_VSOCK_CONNS_MAX, and it gets to know a new one
 * only by a tx chain (not taken then) or by a REQUEST of ours (not sent before the ring is empty).
 *
 * Every call from outside is bracketed by enter and leave. Between the brackets things are noted;
 * the outermost leave sends them, interrupts once per queue and frees dead connections. Outside the
 * brackets either nothing is due, or the rx queue is empty and the guest has been asked to kick
 * (`starved`). That is why a send from the script thread goes straight into the guest's buffers,
 * and why rx kicks are switched off most of the time.
 *
 * When the driver breaks the device (2.1.2) or resets it, all connections end, because nothing can
 * arrive on them any more.
 *
 * Under the loop lock: kicks on the loop thread or a vCPU thread, calls of ports on any thread.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vsock_conn.h"

#define RX_QUEUE_SIZE	 128
#define TX_QUEUE_SIZE	 128
#define EVENT_QUEUE_SIZE 16

#define REPLIES_SOFT 256u
#define REPLIES_MAX  (REPLIES_SOFT + PV_VSOCK_CONNS_MAX + 1)

#define BUCKETS 1024u /* a power of two */

/* Ports for connections that the host begins; VMADDR_PORT_ANY is no port. */
#define EPHEMERAL_FIRST ((1u << 20) + 1)
#define EPHEMERAL_LAST	(UINT32_MAX - 1)

struct listener {
	uint32_t port;
	bool (*accept)(void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops,
	    void **port_ctx);
	void *ctx;
	LIST_ENTRY(listener) link;
};

/* A RST that waits for a buffer. */
struct reply {
	uint64_t host_cid; /* as the guest addressed us */
	uint32_t host_port;
	uint32_t guest_port;
	uint16_t type;
};

LIST_HEAD(conn_list, pv_vsock_conn);
TAILQ_HEAD(conn_queue, pv_vsock_conn);

struct pv_vsock {
	struct pv_virtio virtio;
	uint64_t guest_cid;
	bool up;	 /* between activation and reset */
	bool starved;	 /* the rx queue was empty, and the guest was asked to kick */
	bool rx_kicks;	 /* the guest was asked to kick for rx */
	bool tx_blocked; /* tx chains wait until the replies drain */
	bool rx_used;	 /* chains were given back since the last interrupt */
	bool tx_used;
	unsigned depth;	    /* of the enter brackets */
	uint32_t last_port; /* rolls on through resets: the guest may still remember recent ports */
	unsigned open_count;
	size_t queued;

	struct conn_list buckets[BUCKETS];
	struct conn_list dead;
	struct conn_queue ready;
	LIST_HEAD(, listener) listeners;

	unsigned reply_first;
	unsigned reply_count;
	struct reply replies[REPLIES_MAX];

	uint8_t payload[PV_VSOCK_WINDOW]; /* of the packet being handled */
};

static struct pv_vsock *vsock_of(struct pv_virtio *dev)
{
	return (struct pv_vsock *)dev; /* first member */
}

static bool running(const struct pv_vsock *vsock)
{
	return vsock->up && vsock->virtio.active;
}

/* --- the table --- */

static struct conn_list *bucket_of(struct pv_vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
	uint64_t key = (uint64_t)host_port << 32 | guest_port;
	key *= UINT64_C(0x9e3779b97f4a7c15);
	return &vsock->buckets[key >> 54 & (BUCKETS - 1)];
}

static struct pv_vsock_conn *find_conn(
    struct pv_vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
	struct pv_vsock_conn *conn;
	LIST_FOREACH(conn, bucket_of(vsock, host_port, guest_port), link)
	{
		if (conn->state.host_port == host_port && conn->state.guest_port == guest_port)
			return conn;
	}
	return NULL;
}

static struct pv_vsock_conn *add_conn(
    struct pv_vsock *vsock, uint32_t host_port, uint32_t guest_port, enum pv_vsock_conn_phase phase)
{
	struct pv_vsock_conn *conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	conn->vsock = vsock;
	conn->state.host_port = host_port;
	conn->state.guest_port = guest_port;
	conn->state.phase = phase;
	LIST_INSERT_HEAD(bucket_of(vsock, host_port, guest_port), conn, link);
	vsock->open_count++;
	return conn;
}

static void free_dead(struct pv_vsock *vsock)
{
	while (!LIST_EMPTY(&vsock->dead)) {
		struct pv_vsock_conn *conn = LIST_FIRST(&vsock->dead);
		LIST_REMOVE(conn, link);
		free(conn);
	}
}

static struct listener *find_listener(struct pv_vsock *vsock, uint32_t port)
{
	struct listener *listener;
	LIST_FOREACH(listener, &vsock->listeners, link)
	{
		if (listener->port == port)
			return listener;
	}
	return NULL;
}

static uint32_t next_port(struct pv_vsock *vsock, uint32_t guest_port)
{
	do {
		vsock->last_port =
		    vsock->last_port < EPHEMERAL_LAST ? vsock->last_port + 1 : EPHEMERAL_FIRST;
	} while (find_conn(vsock, vsock->last_port, guest_port) ||
		 find_listener(vsock, vsock->last_port));
	return vsock->last_port;
}

/* --- to the guest --- */

static void add_reply(struct pv_vsock *vsock, uint64_t host_cid, uint32_t host_port,
    uint32_t guest_port, uint16_t type)
{
	if (vsock->reply_count == REPLIES_MAX)
		return;
	unsigned at = (vsock->reply_first + vsock->reply_count++) % REPLIES_MAX;
	vsock->replies[at] = (struct reply){
	    .host_cid = host_cid, .host_port = host_port, .guest_port = guest_port, .type = type};
}

/* Takes an rx chain with room for a header and at least a byte. False sets `starved`, or broke the
 * device. */
static bool take_rx(struct pv_vsock *vsock, struct pv_chain *chain)
{
	if (!pv_virtio_pop(&vsock->virtio, VIRTIO_VSOCK_QUEUE_RX, chain)) {
		if (!running(vsock))
			return false;
		pv_queue_want_kicks(&vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_RX], true);
		vsock->rx_kicks = true;
		if (!pv_virtio_pop(&vsock->virtio, VIRTIO_VSOCK_QUEUE_RX, chain)) {
			vsock->starved = true;
			return false;
		}
	}
	if (chain->writable_bytes <= sizeof(struct virtio_vsock_hdr)) {
		pv_virtio_break(&vsock->virtio, "vsock: an rx buffer is too small for a packet");
		return false;
	}
	return true;
}

static void put_rx(struct pv_vsock *vsock, const struct pv_chain *chain,
    struct virtio_vsock_hdr *header, const void *payload)
{
	header->dst_cid = vsock->guest_cid;
	pv_chain_write(chain, 0, header, sizeof(*header));
	if (header->len)
		pv_chain_write(chain, sizeof(*header), payload, header->len);
	pv_queue_push(&vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_RX], chain->head,
	    (uint32_t)sizeof(*header) + header->len);
	vsock->rx_used = true;
}

static bool send_reply(struct pv_vsock *vsock)
{
	struct pv_chain chain;
	if (!take_rx(vsock, &chain))
		return false;
	const struct reply *reply = &vsock->replies[vsock->reply_first];
	struct virtio_vsock_hdr header = {
	    .src_cid = reply->host_cid,
	    .src_port = reply->host_port,
	    .dst_port = reply->guest_port,
	    .type = reply->type,
	    .op = VIRTIO_VSOCK_OP_RST,
	};
	put_rx(vsock, &chain, &header, NULL);
	vsock->reply_first = (vsock->reply_first + 1) % REPLIES_MAX;
	vsock->reply_count--;
	return true;
}

/* Sends one packet; of `data` as much as chain and credit allow. Returns the bytes of data that
 * went, or -1 when no packet went. */
static int64_t send_packet(struct pv_vsock_conn *conn, uint16_t op, const void *data, size_t len)
{
	struct pv_vsock *vsock = conn->vsock;
	struct pv_chain chain;
	struct virtio_vsock_hdr header = {.src_cid = PV_VSOCK_HOST_CID};

	if (!take_rx(vsock, &chain))
		return -1;
	if (len > pv_vsock_conn_room(conn))
		len = pv_vsock_conn_room(conn);
	if (len > chain.writable_bytes - sizeof(header))
		len = chain.writable_bytes - sizeof(header);
	pv_vsock_conn_fill(conn, op, (uint32_t)len, &header);
	put_rx(vsock, &chain, &header, data);
	pv_vsock_conn_sent(conn, op, (uint32_t)len);
	return (int64_t)len;
}

static void leave_ready(struct pv_vsock_conn *conn)
{
	if (!conn->ready)
		return;
	TAILQ_REMOVE(&conn->vsock->ready, conn, ready_link);
	conn->ready = false;
}

void pv_vsock_wake(struct pv_vsock_conn *conn)
{
	if (conn->ready || conn->dead || pv_vsock_conn_next_op(conn) == VIRTIO_VSOCK_OP_INVALID)
		return;
	TAILQ_INSERT_TAIL(&conn->vsock->ready, conn, ready_link);
	conn->ready = true;
}

/* Gives a connection its turn. False when the rx queue is empty. */
static bool send_turn(struct pv_vsock_conn *conn)
{
	uint16_t op = pv_vsock_conn_next_op(conn);
	if (op == VIRTIO_VSOCK_OP_INVALID) {
		leave_ready(conn);
		return true;
	}
	const uint8_t *data = NULL;
	size_t len = 0;
	if (op == VIRTIO_VSOCK_OP_RW) {
		data = conn->out.data + conn->out_used;
		len = pv_vsock_conn_waiting(conn);
	}
	int64_t sent = send_packet(conn, op, data, len);
	if (sent < 0)
		return false;
	if (op == VIRTIO_VSOCK_OP_RW)
		pv_vsock_conn_drop(conn, (size_t)sent);
	leave_ready(conn);
	pv_vsock_wake(conn);
	pv_vsock_conn_advance(conn);
	return true;
}

static void send_due(struct pv_vsock *vsock)
{
	bool moved = true;
	while (moved && running(vsock) && !vsock->starved) {
		if (vsock->reply_count)
			moved = send_reply(vsock);
		else if (!TAILQ_EMPTY(&vsock->ready))
			moved = send_turn(TAILQ_FIRST(&vsock->ready));
		else
			break;
	}
	if (running(vsock) && !vsock->starved && vsock->rx_kicks) {
		pv_queue_want_kicks(&vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_RX], false);
		vsock->rx_kicks = false;
	}
}

size_t pv_vsock_send_now(struct pv_vsock_conn *conn, const void *data, size_t len)
{
	struct pv_vsock *vsock = conn->vsock;
	const struct pv_vsock_conn *first = TAILQ_FIRST(&vsock->ready);
	bool others = first && (first != conn || TAILQ_NEXT(first, ready_link));
	size_t taken = 0;

	if (vsock->starved || vsock->reply_count || others)
		return 0;
	if (conn->state.phase != PV_VSOCK_CONN_OPEN ||
	    (conn->state.owed & PV_VSOCK_OWED_RESPONSE) || pv_vsock_conn_waiting(conn))
		return 0;
	while (taken < len && running(vsock) && pv_vsock_conn_room(conn)) {
		int64_t sent = send_packet(
		    conn, VIRTIO_VSOCK_OP_RW, (const uint8_t *)data + taken, len - taken);
		if (sent < 0)
			break;
		taken += (size_t)sent;
	}
	return taken;
}

void pv_vsock_count_queued(struct pv_vsock *vsock, ptrdiff_t change)
{
	vsock->queued += (size_t)change;
}

/* --- from the guest --- */

void pv_vsock_end(struct pv_vsock_conn *conn, bool tell_guest, bool tell_port)
{
	struct pv_vsock *vsock = conn->vsock;

	if (conn->dead)
		return;
	conn->dead = true;
	leave_ready(conn);
	LIST_REMOVE(conn, link);
	LIST_INSERT_HEAD(&vsock->dead, conn, link);
	vsock->open_count--;
	pv_vsock_conn_drop(conn, pv_vsock_conn_waiting(conn));
	pv_bytes_finish(&conn->out);
	if (tell_guest && vsock->up && !(conn->state.owed & PV_VSOCK_OWED_REQUEST))
		add_reply(vsock, PV_VSOCK_HOST_CID, conn->state.host_port, conn->state.guest_port,
		    VIRTIO_VSOCK_TYPE_STREAM);
	if (tell_port && conn->ops)
		conn->ops->closed(conn->ctx);
}

static void refuse(struct pv_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	if (header->op != VIRTIO_VSOCK_OP_RST)
		add_reply(vsock, header->dst_cid, header->dst_port, header->src_port, header->type);
}

static void input_request(struct pv_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	const struct listener *listener = find_listener(vsock, header->dst_port);
	struct pv_vsock_conn *conn = NULL;

	if (listener && vsock->open_count < PV_VSOCK_CONNS_MAX)
		conn = add_conn(vsock, header->dst_port, header->src_port, PV_VSOCK_CONN_OFFERED);
	if (!conn) {
		refuse(vsock, header);
		return;
	}
	const struct pv_stream_port_ops *ops = NULL;
	void *ctx = NULL;
	bool accepted = pv_vsock_conn_take_credit(conn, header) &&
			listener->accept(listener->ctx, conn, &ops, &ctx);
	if (conn->dead)
		return;
	if (!accepted || !ops) {
		pv_vsock_end(conn, true, false);
		return;
	}
	conn->ops = ops;
	conn->ctx = ctx;
	conn->state.phase = PV_VSOCK_CONN_OPEN;
	conn->state.owed |= PV_VSOCK_OWED_RESPONSE;
	pv_vsock_wake(conn);
}

static void input_packet(struct pv_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	if (header->type != VIRTIO_VSOCK_TYPE_STREAM || header->dst_cid != PV_VSOCK_HOST_CID) {
		refuse(vsock, header);
		return;
	}
	struct pv_vsock_conn *conn = find_conn(vsock, header->dst_port, header->src_port);
	/* Before our REQUEST has gone, the guest cannot mean this connection. */
	if (conn && (conn->state.owed & PV_VSOCK_OWED_REQUEST))
		refuse(vsock, header);
	else if (conn)
		pv_vsock_conn_input(conn, header, vsock->payload);
	else if (header->op == VIRTIO_VSOCK_OP_REQUEST)
		input_request(vsock, header);
	else
		refuse(vsock, header);
}

/* Copies a packet out of its chain. False when it is none that could be answered. */
static bool copy_packet(
    struct pv_vsock *vsock, const struct pv_chain *chain, struct virtio_vsock_hdr *header)
{
	if (pv_chain_read(chain, 0, header, sizeof(*header)) < sizeof(*header))
		return false;
	if (header->src_cid != vsock->guest_cid)
		return false;
	if (header->op != VIRTIO_VSOCK_OP_RW)
		return true;
	/* A packet that promises more than it has, or more than a window, fits no stream: as an
	 * unknown operation it resets the connection. */
	if (header->len > sizeof(vsock->payload) ||
	    header->len > chain->readable_bytes - sizeof(*header))
		header->op = VIRTIO_VSOCK_OP_INVALID;
	else
		pv_chain_read(chain, sizeof(*header), vsock->payload, header->len);
	return true;
}

static bool take_tx(struct pv_vsock *vsock, struct pv_chain *chain)
{
	if (pv_virtio_pop(&vsock->virtio, VIRTIO_VSOCK_QUEUE_TX, chain))
		return true;
	if (!running(vsock))
		return false;
	pv_queue_want_kicks(&vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_TX], true);
	return pv_virtio_pop(&vsock->virtio, VIRTIO_VSOCK_QUEUE_TX, chain);
}

/* Only ever called at the outermost level, so that nobody holds a connection between two packets.
 */
static void receive_all(struct pv_vsock *vsock)
{
	vsock->tx_blocked = false;
	pv_queue_want_kicks(&vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_TX], false);
	while (running(vsock)) {
		if (vsock->reply_count >= REPLIES_SOFT)
			send_due(vsock);
		if (vsock->reply_count >= REPLIES_SOFT) {
			vsock->tx_blocked = true;
			return;
		}
		struct pv_chain chain;
		if (!take_tx(vsock, &chain))
			return;
		struct virtio_vsock_hdr header;
		bool good = copy_packet(vsock, &chain, &header);
		pv_queue_push(&vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_TX], chain.head, 0);
		vsock->tx_used = true;
		if (good)
			input_packet(vsock, &header);
		free_dead(vsock);
	}
}

/* --- the brackets --- */

/* Nothing can arrive any more: all connections end. */
static void go_down(struct pv_vsock *vsock)
{
	vsock->up = false;
	vsock->starved = false;
	vsock->rx_kicks = false;
	vsock->tx_blocked = false;
	vsock->rx_used = false;
	vsock->tx_used = false;
	vsock->reply_count = 0;
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (!LIST_EMPTY(&vsock->buckets[i]))
			pv_vsock_end(LIST_FIRST(&vsock->buckets[i]), false, true);
	}
}

void pv_vsock_enter(struct pv_vsock *vsock)
{
	vsock->depth++;
}

static void settle(struct pv_vsock *vsock)
{
	if (vsock->depth > 1)
		return;
	send_due(vsock);
	if (vsock->up && !vsock->virtio.active)
		go_down(vsock);
}

void pv_vsock_leave(struct pv_vsock *vsock)
{
	settle(vsock);
	if (--vsock->depth)
		return;
	if (vsock->rx_used)
		pv_virtio_notify(&vsock->virtio, VIRTIO_VSOCK_QUEUE_RX);
	if (vsock->tx_used)
		pv_virtio_notify(&vsock->virtio, VIRTIO_VSOCK_QUEUE_TX);
	vsock->rx_used = false;
	vsock->tx_used = false;
	free_dead(vsock);
}

/* --- the device model --- */

static void config_read(struct pv_virtio *dev, unsigned offset, void *data, unsigned len)
{
	uint64_t cid = vsock_of(dev)->guest_cid;

	memset(data, 0, len);
	if (offset >= sizeof(cid))
		return;
	if (len > sizeof(cid) - offset)
		len = (unsigned)sizeof(cid) - offset;
	memcpy(data, (const uint8_t *)&cid + offset, len);
}

static int activate(struct pv_virtio *dev)
{
	struct pv_vsock *vsock = vsock_of(dev);

	vsock->up = true;
	/* Rings begin with kicks on (2.7.10). */
	vsock->rx_kicks = true;
	return 0;
}

static void reset(struct pv_virtio *dev)
{
	struct pv_vsock *vsock = vsock_of(dev);

	pv_vsock_enter(vsock);
	go_down(vsock);
	pv_vsock_leave(vsock);
}

static void kick(struct pv_virtio *dev, unsigned queue)
{
	struct pv_vsock *vsock = vsock_of(dev);

	if (!running(vsock))
		return;
	pv_vsock_enter(vsock);
	vsock->starved = false;
	if (queue == VIRTIO_VSOCK_QUEUE_TX && !vsock->tx_blocked)
		receive_all(vsock);
	/* Buffers of the event queue wait there: this device has nothing to tell. */
	settle(vsock);
	while (vsock->tx_blocked && vsock->reply_count < REPLIES_SOFT) {
		receive_all(vsock);
		settle(vsock);
	}
	pv_vsock_leave(vsock);
}

static const struct pv_virtio_ops vsock_ops = {
    .config_read = config_read,
    .activate = activate,
    .reset = reset,
    .kick = kick,
};

int pv_vsock_create(struct pv_vsock **out, const struct pv_gmem *mem, uint64_t guest_cid)
{
	struct pv_vsock *vsock = calloc(1, sizeof(*vsock));
	if (!vsock)
		return -ENOMEM;
	vsock->guest_cid = guest_cid;
	vsock->last_port = EPHEMERAL_FIRST - 1;
	TAILQ_INIT(&vsock->ready);
	vsock->virtio = (struct pv_virtio){
	    .ops = &vsock_ops,
	    .id = VIRTIO_ID_VSOCK,
	    .queue_count = 3,
	    .queue_size = {RX_QUEUE_SIZE, TX_QUEUE_SIZE, EVENT_QUEUE_SIZE},
	    .offered = VIRTIO_VSOCK_F_STREAM,
	    .mem = mem,
	};
	pv_virtio_init(&vsock->virtio);
	*out = vsock;
	return 0;
}

void pv_vsock_destroy(struct pv_vsock *vsock)
{
	if (!vsock)
		return;
	pv_vsock_enter(vsock);
	go_down(vsock);
	free_dead(vsock);
	while (!LIST_EMPTY(&vsock->listeners)) {
		struct listener *listener = LIST_FIRST(&vsock->listeners);
		LIST_REMOVE(listener, link);
		free(listener);
	}
	free(vsock);
}

struct pv_virtio *pv_vsock_virtio(struct pv_vsock *vsock)
{
	return &vsock->virtio;
}

int pv_vsock_listen(struct pv_vsock *vsock, uint32_t port,
    bool (*accept)(void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops,
	void **port_ctx),
    void *ctx)
{
	struct listener *listener = find_listener(vsock, port);

	if (!accept) {
		if (listener) {
			LIST_REMOVE(listener, link);
			free(listener);
		}
		return 0;
	}
	if (listener)
		return -EADDRINUSE;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	*listener = (struct listener){.port = port, .accept = accept, .ctx = ctx};
	LIST_INSERT_HEAD(&vsock->listeners, listener, link);
	return 0;
}

int pv_vsock_connect(struct pv_vsock *vsock, uint32_t port, const struct pv_stream_port_ops *ops,
    void *ctx, struct pv_vsock_conn **out)
{
	if (!running(vsock))
		return -ENOTCONN;
	if (vsock->open_count >= PV_VSOCK_CONNS_MAX)
		return -ENOSPC;
	struct pv_vsock_conn *conn =
	    add_conn(vsock, next_port(vsock, port), port, PV_VSOCK_CONN_CONNECTING);
	if (!conn)
		return -ENOMEM;
	pv_vsock_enter(vsock);
	conn->state.owed = PV_VSOCK_OWED_REQUEST;
	pv_vsock_wake(conn);
	/* If the driver breaks the device right here, the caller hears it as a result and not by
	 * `closed`. */
	settle(vsock);
	conn->ops = ops;
	conn->ctx = ctx;
	bool dead = conn->dead;
	pv_vsock_leave(vsock);
	if (dead)
		return -ENOTCONN;
	*out = conn;
	return 0;
}

unsigned pv_vsock_open_count(const struct pv_vsock *vsock)
{
	return vsock->open_count;
}

size_t pv_vsock_queued_bytes(const struct pv_vsock *vsock)
{
	return vsock->queued;
}
