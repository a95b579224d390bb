/*
 * Socket device (virtio 1.2, section 5.10): what comes from the guest and what the host asks for.
 * virtio/vsock_conn.c has a connection, virtio/vsock_table.c all of them, virtio/vsock_outbox.c
 * what goes to the guest, virtio/vsock_state.c snapshots.
 *
 * A tx chain's header is copied once and checked, its payload is copied into a scratch buffer of
 * one window, the chain is given back, and only then anybody looks at the copy. So no port ever
 * reads guest memory, and no chain is held while a port runs.
 *
 * Every call from outside is bracketed by enter and leave, because ports may call back in. Between
 * the brackets things are noted; the outermost leave sends them, interrupts once per queue and
 * frees connections that have died.
 *
 * A guest can add packets as fast as they are taken, so a kick takes a turn: as many chains as the
 * queue has, or TURN_BYTES. What is there then is for the loop's next round, when others had
 * theirs.
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

#include "virtio/vsock_device.h"

/* 64 to 128 buffers of a Linux guest, 4 KiB each, hold the window that it announces. */
#define RX_QUEUE_SIZE	 128
#define TX_QUEUE_SIZE	 128
#define EVENT_QUEUE_SIZE 16

/* Payload after which a turn ends. */
#define TURN_BYTES (1u << 20)

static struct pv_vsock *vsock_of(struct pv_virtio *dev)
{
	return (struct pv_vsock *)dev; /* first member */
}

static bool running(const struct pv_vsock *vsock)
{
	return pv_vsock_outbox_is_open(&vsock->outbox);
}

static struct pv_vsock_conn *add_conn(
    struct pv_vsock *vsock, uint32_t host_port, uint32_t guest_port, enum pv_vsock_conn_phase phase)
{
	struct pv_vsock_conn *conn = pv_vsock_table_add(&vsock->table, host_port, guest_port);

	if (!conn)
		return NULL;
	conn->vsock = vsock;
	conn->outbox = &vsock->outbox;
	conn->state.phase = phase;
	return conn;
}

void pv_vsock_end(struct pv_vsock_conn *conn, bool tell_guest, bool tell_port)
{
	struct pv_vsock *vsock = conn->vsock;

	if (conn->dead)
		return;
	pv_vsock_outbox_remove(&vsock->outbox, conn);
	pv_vsock_table_bury(&vsock->table, conn);
	pv_vsock_conn_drop(conn, pv_vsock_conn_waiting(conn));
	pv_bytes_finish(&conn->out);
	if (tell_guest && running(vsock) && !(conn->state.owed & PV_VSOCK_OWED_REQUEST)) {
		const struct pv_vsock_reset reset = {
		    .host_cid = PV_VSOCK_HOST_CID,
		    .host_port = conn->state.host_port,
		    .guest_port = conn->state.guest_port,
		    .type = VIRTIO_VSOCK_TYPE_STREAM,
		};
		pv_vsock_outbox_reset(&vsock->outbox, &reset);
	}
	if (tell_port && conn->ops)
		conn->ops->closed(conn->ctx);
}

/* --- from the guest --- */

static void refuse(struct pv_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	const struct pv_vsock_reset reset = {
	    .host_cid = header->dst_cid,
	    .host_port = header->dst_port,
	    .guest_port = header->src_port,
	    .type = header->type,
	};
	/* Two sides that answer RST by RST never end. */
	if (header->op != VIRTIO_VSOCK_OP_RST)
		pv_vsock_outbox_reset(&vsock->outbox, &reset);
}

static void input_request(struct pv_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	const struct pv_vsock_listener *listener =
	    pv_vsock_table_listener(&vsock->table, header->dst_port);
	struct pv_vsock_conn *conn = NULL;

	if (listener)
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
	pv_vsock_outbox_add(&vsock->outbox, conn);
}

static void input_packet(struct pv_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	if (header->type != VIRTIO_VSOCK_TYPE_STREAM || header->dst_cid != PV_VSOCK_HOST_CID) {
		refuse(vsock, header);
		return;
	}
	struct pv_vsock_conn *conn =
	    pv_vsock_table_find(&vsock->table, header->dst_port, header->src_port);
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

/* True when RSTs wait in such a number that no packet may be taken. */
static bool is_choked(struct pv_vsock *vsock)
{
	if (vsock->outbox.reset_count >= PV_VSOCK_RESETS_SOFT)
		pv_vsock_outbox_flush(&vsock->outbox);
	return vsock->outbox.reset_count >= PV_VSOCK_RESETS_SOFT;
}

/* The turn is over, and there may be more. */
static void go_on_later(struct pv_vsock *vsock)
{
	struct pv_queue *queue = &vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_TX];

	pv_queue_want_kicks(queue, true);
	/* What was added before the guest could see that it is to kick. */
	if (pv_queue_waiting(queue))
		pv_virtio_kick_later(&vsock->virtio, VIRTIO_VSOCK_QUEUE_TX);
}

/* Only called at the outermost level: nobody holds a connection between two packets. */
static void receive_turn(struct pv_vsock *vsock)
{
	struct pv_queue *queue = &vsock->virtio.queues[VIRTIO_VSOCK_QUEUE_TX];
	uint64_t bytes = 0;

	vsock->tx_blocked = false;
	pv_queue_want_kicks(queue, false);
	for (unsigned taken = 0; running(vsock); taken++) {
		if (is_choked(vsock)) {
			vsock->tx_blocked = true;
			return;
		}
		if (taken == queue->state.size || bytes >= TURN_BYTES) {
			go_on_later(vsock);
			return;
		}
		struct pv_chain chain;
		if (!take_tx(vsock, &chain))
			return;
		struct virtio_vsock_hdr header;
		bool good = copy_packet(vsock, &chain, &header);
		pv_queue_push(queue, chain.head, 0);
		vsock->tx_used = true;
		bytes += chain.readable_bytes;
		if (good)
			input_packet(vsock, &header);
		pv_vsock_table_reap(&vsock->table);
	}
}

/* --- the brackets --- */

/* Nothing can arrive any more: all connections end. */
static void go_down(struct pv_vsock *vsock)
{
	struct pv_vsock_conn *conn;

	pv_vsock_outbox_shut(&vsock->outbox);
	vsock->tx_blocked = false;
	vsock->tx_used = false;
	while ((conn = pv_vsock_table_any(&vsock->table)))
		pv_vsock_end(conn, false, true);
}

void pv_vsock_enter(struct pv_vsock *vsock)
{
	vsock->depth++;
}

static void settle(struct pv_vsock *vsock)
{
	if (vsock->depth > 1)
		return;
	pv_vsock_outbox_flush(&vsock->outbox);
	if (vsock->outbox.open && !vsock->virtio.active)
		go_down(vsock);
}

void pv_vsock_leave(struct pv_vsock *vsock)
{
	settle(vsock);
	if (--vsock->depth)
		return;
	pv_vsock_outbox_notify(&vsock->outbox);
	if (vsock->tx_used)
		pv_virtio_notify(&vsock->virtio, VIRTIO_VSOCK_QUEUE_TX);
	vsock->tx_used = false;
	pv_vsock_table_reap(&vsock->table);
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
	pv_vsock_outbox_open(&vsock_of(dev)->outbox);
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
	vsock->outbox.starved = false;
	if (queue == VIRTIO_VSOCK_QUEUE_TX && !vsock->tx_blocked)
		receive_turn(vsock);
	/* Buffers of the event queue wait there: this device has nothing to tell. */
	settle(vsock);
	/* RSTs have gone: what was not taken because of them can be, in a turn of its own. */
	if (vsock->tx_blocked && vsock->outbox.reset_count < PV_VSOCK_RESETS_SOFT) {
		receive_turn(vsock);
		settle(vsock);
	}
	if (vsock->tx_blocked && vsock->outbox.reset_count < PV_VSOCK_RESETS_SOFT)
		pv_virtio_kick_later(&vsock->virtio, VIRTIO_VSOCK_QUEUE_TX);
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
	pv_vsock_outbox_init(&vsock->outbox, &vsock->virtio, guest_cid);
	vsock->virtio = (struct pv_virtio){
	    .ops = &vsock_ops,
	    .id = VIRTIO_ID_VSOCK,
	    .queue_count = 3,
	    .vectors = 2, /* a request follows the answer to the last one: one interrupt for both */
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
	pv_vsock_table_finish(&vsock->table);
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
	struct pv_vsock_listener *listener = pv_vsock_table_listener(&vsock->table, port);

	if (!accept) {
		if (listener)
			pv_vsock_table_unlisten(listener);
		return 0;
	}
	if (listener)
		return -EADDRINUSE;
	listener = pv_vsock_table_listen(&vsock->table, port);
	if (!listener)
		return -ENOMEM;
	listener->accept = accept;
	listener->ctx = ctx;
	return 0;
}

int pv_vsock_connect(struct pv_vsock *vsock, uint32_t port, const struct pv_stream_port_ops *ops,
    void *ctx, struct pv_vsock_conn **out)
{
	if (!running(vsock))
		return -ENOTCONN;
	if (vsock->table.count >= PV_VSOCK_CONNS_MAX)
		return -ENOSPC;
	struct pv_vsock_conn *conn = add_conn(
	    vsock, pv_vsock_table_next_port(&vsock->table, port), port, PV_VSOCK_CONN_CONNECTING);
	if (!conn)
		return -ENOMEM;
	pv_vsock_enter(vsock);
	conn->state.owed = PV_VSOCK_OWED_REQUEST;
	pv_vsock_outbox_add(&vsock->outbox, conn);
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
	return vsock->table.count;
}

size_t pv_vsock_queued_bytes(const struct pv_vsock *vsock)
{
	return vsock->outbox.queued;
}

bool pv_vsock_is_quiescent(const struct pv_vsock *vsock)
{
	const struct pv_vsock_conn *conns[PV_VSOCK_CONNS_MAX];
	const unsigned count = pv_vsock_table_list(&vsock->table, conns);

	for (unsigned i = 0; i < count; i++)
		if (conns[i]->state.rx_cnt != conns[i]->state.fwd_cnt)
			return false;
	return vsock->outbox.queued == 0;
}
