/*
 * What a snapshot keeps of the socket device, and the way back.
 *
 * Connections are kept in the order in which they take their turns, those with nothing to send
 * behind them by their ports; loading them in this order gives the same turns again. What a
 * hostile state could claim of a connection is held against what virtio/vsock_conn.c keeps true by
 * itself: credit in both directions, limits of what waits, phases that exist between two calls.
 *
 * A device that does not run has no connections (go_down in virtio/vsock.c), so nothing but the CID
 * and the rolling port are kept then.
 *
 * Loading sends nothing. While owners adopt their connections, the device takes itself for starved:
 * whatever they do waits until pv_virtio_resume kicks.
 *
 * Under the loop lock, with vCPUs stopped; virtio/state.h has the order. virtio 1.2, section 5.10.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "virtio/state.h"
#include "virtio/vsock_device.h"

/* CIDs that a guest may have (5.10.4): 0 to 2 and all ones are taken, upper 32 bits reserved. */
#define CID_FIRST 3
#define CID_LAST  (UINT32_MAX - 1)

#define OWED_ALL                                                                 \
	(PV_VSOCK_OWED_REQUEST | PV_VSOCK_OWED_RESPONSE | PV_VSOCK_OWED_CREDIT | \
	    PV_VSOCK_OWED_SHUTDOWN)

/* --- saving --- */

static void save_conn(const struct pv_vsock_conn *conn, struct pv_pack *pack)
{
	const struct pv_vsock_conn_state *state = &conn->state;
	pv_pack_map(pack, 15);
	pv_pack_str(pack, "host_port");
	pv_pack_uint(pack, state->host_port);
	pv_pack_str(pack, "guest_port");
	pv_pack_uint(pack, state->guest_port);
	pv_pack_str(pack, "phase");
	pv_pack_uint(pack, state->phase);
	pv_pack_str(pack, "owed");
	pv_pack_uint(pack, state->owed);
	pv_pack_str(pack, "guest_shutdown");
	pv_pack_uint(pack, state->guest_shutdown);
	pv_pack_str(pack, "host_shutdown");
	pv_pack_bool(pack, state->host_shutdown);
	pv_pack_str(pack, "credit_asked");
	pv_pack_bool(pack, state->credit_asked);
	pv_pack_str(pack, "rx_cnt");
	pv_pack_uint(pack, state->rx_cnt);
	pv_pack_str(pack, "fwd_cnt");
	pv_pack_uint(pack, state->fwd_cnt);
	pv_pack_str(pack, "fwd_told");
	pv_pack_uint(pack, state->fwd_told);
	pv_pack_str(pack, "tx_cnt");
	pv_pack_uint(pack, state->tx_cnt);
	pv_pack_str(pack, "guest_fwd_cnt");
	pv_pack_uint(pack, state->guest_fwd_cnt);
	pv_pack_str(pack, "guest_buf_alloc");
	pv_pack_uint(pack, state->guest_buf_alloc);
	pv_pack_str(pack, "want_writable");
	pv_pack_bool(pack, conn->want_writable);
	pv_pack_str(pack, "waiting");
	pv_pack_bin(pack, conn->out.len ? conn->out.data + conn->out_used : NULL,
	    pv_vsock_conn_waiting(conn));
}

static int by_ports(const void *a, const void *b)
{
	const struct pv_vsock_conn_state *left = &(*(const struct pv_vsock_conn *const *)a)->state;
	const struct pv_vsock_conn_state *right = &(*(const struct pv_vsock_conn *const *)b)->state;
	if (left->host_port != right->host_port)
		return left->host_port < right->host_port ? -1 : 1;
	if (left->guest_port != right->guest_port)
		return left->guest_port < right->guest_port ? -1 : 1;
	return 0;
}

static bool has_turn(const struct pv_vsock_conn *conn)
{
	return conn->ready && pv_vsock_conn_next_op(conn) != VIRTIO_VSOCK_OP_INVALID;
}

static void save_conns(const struct pv_vsock *vsock, struct pv_pack *pack)
{
	const struct pv_vsock_conn *conns[PV_VSOCK_CONNS_MAX];
	const unsigned count = pv_vsock_table_list(&vsock->table, conns);
	const struct pv_vsock_conn *conn;

	pv_pack_array(pack, count);
	for (conn = TAILQ_FIRST(&vsock->outbox.ready); conn; conn = TAILQ_NEXT(conn, ready_link))
		if (has_turn(conn))
			save_conn(conn, pack);
	qsort(conns, count, sizeof(conns[0]), by_ports);
	for (unsigned i = 0; i < count; i++)
		if (!has_turn(conns[i]))
			save_conn(conns[i], pack);
}

static void save_reset(const struct pv_vsock_reset *reset, struct pv_pack *pack)
{
	pv_pack_map(pack, 4);
	pv_pack_str(pack, "host_cid");
	pv_pack_uint(pack, reset->host_cid);
	pv_pack_str(pack, "host_port");
	pv_pack_uint(pack, reset->host_port);
	pv_pack_str(pack, "guest_port");
	pv_pack_uint(pack, reset->guest_port);
	pv_pack_str(pack, "type");
	pv_pack_uint(pack, reset->type);
}

void pv_vsock_save(const struct pv_vsock *vsock, struct pv_pack *pack)
{
	const struct pv_vsock_outbox *outbox = &vsock->outbox;
	const bool running = pv_vsock_outbox_is_open(outbox);

	pv_pack_map(pack, 8);
	pv_pack_str(pack, "virtio");
	pv_virtio_save(&vsock->virtio, pack);
	pv_pack_str(pack, "cid");
	pv_pack_uint(pack, vsock->guest_cid);
	pv_pack_str(pack, "last_port");
	pv_pack_uint(pack, vsock->table.last_port);
	pv_pack_str(pack, "tx_blocked");
	pv_pack_bool(pack, running && vsock->tx_blocked);
	pv_pack_str(pack, "starved");
	pv_pack_bool(pack, running && outbox->starved);
	pv_pack_str(pack, "kicks");
	pv_pack_bool(pack, running && outbox->kicks);
	pv_pack_str(pack, "resets");
	pv_pack_array(pack, running ? outbox->reset_count : 0);
	for (unsigned i = 0; running && i < outbox->reset_count; i++)
		save_reset(&outbox->resets[(outbox->reset_first + i) % PV_VSOCK_RESETS_MAX], pack);
	pv_pack_str(pack, "conns");
	if (running)
		save_conns(vsock, pack);
	else
		pv_pack_array(pack, 0);
}

/* --- loading --- */

/* What no connection can be between two calls of the device, or NULL. */
static const char *check_conn(const struct pv_vsock_conn *conn)
{
	const struct pv_vsock_conn_state *state = &conn->state;
	const uint32_t in_flight = state->tx_cnt - state->guest_fwd_cnt;
	const bool begins = state->owed & PV_VSOCK_OWED_REQUEST;

	if (state->phase != PV_VSOCK_CONN_CONNECTING && state->phase != PV_VSOCK_CONN_OPEN)
		return "it is in no phase that lasts";
	if (begins && state->phase != PV_VSOCK_CONN_CONNECTING)
		return "it is open before it was asked for";
	if ((state->owed & PV_VSOCK_OWED_RESPONSE) && state->phase != PV_VSOCK_CONN_OPEN)
		return "it is accepted without being open";
	if (state->phase == PV_VSOCK_CONN_CONNECTING &&
	    (state->rx_cnt || state->tx_cnt || state->guest_shutdown))
		return "it has carried bytes before it was open";
	if ((state->owed & PV_VSOCK_OWED_SHUTDOWN) && !state->host_shutdown)
		return "it owes a shutdown that was not asked for";
	if (state->rx_cnt - state->fwd_cnt > PV_VSOCK_WINDOW)
		return "more bytes than its window are not digested";
	if (in_flight > INT32_MAX || in_flight > state->guest_buf_alloc)
		return "more bytes are in flight than the guest has room for";
	if ((state->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RECEIVE) && pv_vsock_conn_waiting(conn))
		return "bytes wait for a guest that receives no more";
	if (conn->want_writable && state->host_shutdown)
		return "its port waits to send after it has shut down";
	if (pv_vsock_conn_is_over(conn))
		return "it is over";
	return NULL;
}

static int load_conn(struct pv_vsock *vsock, const struct pv_val *val, struct pv_vsock_conn **out,
    struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "a socket connection", err);
	struct pv_vsock_conn next = {.out = {0}};
	struct pv_vsock_conn_state *state = &next.state;
	state->host_port = pv_fields_uint(&fields, "host_port", UINT32_MAX);
	state->guest_port = pv_fields_uint(&fields, "guest_port", UINT32_MAX);
	state->phase = pv_fields_uint(&fields, "phase", UINT8_MAX);
	state->owed = pv_fields_uint(&fields, "owed", OWED_ALL);
	state->guest_shutdown =
	    pv_fields_uint(&fields, "guest_shutdown", VIRTIO_VSOCK_SHUTDOWN_BOTH);
	state->host_shutdown = pv_fields_bool(&fields, "host_shutdown");
	state->credit_asked = pv_fields_bool(&fields, "credit_asked");
	state->rx_cnt = pv_fields_uint(&fields, "rx_cnt", UINT32_MAX);
	state->fwd_cnt = pv_fields_uint(&fields, "fwd_cnt", UINT32_MAX);
	state->fwd_told = pv_fields_uint(&fields, "fwd_told", UINT32_MAX);
	state->tx_cnt = pv_fields_uint(&fields, "tx_cnt", UINT32_MAX);
	state->guest_fwd_cnt = pv_fields_uint(&fields, "guest_fwd_cnt", UINT32_MAX);
	state->guest_buf_alloc = pv_fields_uint(&fields, "guest_buf_alloc", UINT32_MAX);
	next.want_writable = pv_fields_bool(&fields, "want_writable");
	const void *waiting = pv_fields_bytes(&fields, "waiting", PV_VSOCK_SEND_MAX, &next.out.len);
	const char *why = check_conn(&next);
	if (why)
		pv_fields_fail(&fields, "%s", why);
	else if (pv_vsock_table_find(&vsock->table, state->host_port, state->guest_port))
		pv_fields_fail(&fields, "there are two with the same ports");
	if (pv_fields_end(&fields) < 0)
		return fields.status;

	struct pv_vsock_conn *conn =
	    pv_vsock_table_add(&vsock->table, state->host_port, state->guest_port);
	if (!conn)
		return pv_err_nomem(err, "a socket connection");
	conn->vsock = vsock;
	conn->outbox = &vsock->outbox;
	conn->state = *state;
	conn->want_writable = next.want_writable;
	if (pv_bytes_append(&conn->out, waiting, next.out.len) < 0)
		return pv_err_nomem(err, "bytes of a socket connection");
	vsock->outbox.queued += next.out.len;
	*out = conn;
	return 0;
}

static int load_reset(struct pv_vsock *vsock, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "a socket reset", err);
	const struct pv_vsock_reset reset = {
	    .host_cid = pv_fields_uint(&fields, "host_cid", UINT64_MAX),
	    .host_port = pv_fields_uint(&fields, "host_port", UINT32_MAX),
	    .guest_port = pv_fields_uint(&fields, "guest_port", UINT32_MAX),
	    .type = pv_fields_uint(&fields, "type", UINT16_MAX),
	};
	pv_vsock_outbox_reset(&vsock->outbox, &reset);
	return pv_fields_end(&fields);
}

/* What is read before connections and resets are. */
struct header {
	uint64_t cid;
	uint32_t last_port;
	bool tx_blocked;
	bool starved;
	bool kicks;
	const struct pv_val *virtio;
	const struct pv_val *resets;
	const struct pv_val *conns;
};

static int load_header(const struct pv_val *val, struct header *header, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "a socket device", err);
	header->virtio = pv_fields_value(&fields, "virtio");
	header->cid = pv_fields_uint(&fields, "cid", CID_LAST);
	if (header->cid < CID_FIRST)
		pv_fields_fail(&fields, "field `cid` is no address of a guest");
	header->last_port = pv_fields_uint(&fields, "last_port", UINT32_MAX);
	header->tx_blocked = pv_fields_bool(&fields, "tx_blocked");
	header->starved = pv_fields_bool(&fields, "starved");
	header->kicks = pv_fields_bool(&fields, "kicks");
	header->resets = pv_fields_array(&fields, "resets", 0, PV_VSOCK_RESETS_MAX);
	header->conns = pv_fields_array(&fields, "conns", 0, PV_VSOCK_CONNS_MAX);
	return pv_fields_end(&fields);
}

/* The queue of RSTs must hold one more for each connection that the guest knows of: see
 * virtio/vsock_outbox.c. */
static int check_resets(const struct pv_vsock *vsock, struct pv_vsock_conn *const *conns,
    unsigned count, struct pv_err *err)
{
	unsigned resets = vsock->outbox.reset_count;
	for (unsigned i = 0; i < count; i++)
		resets += !(conns[i]->state.owed & PV_VSOCK_OWED_REQUEST);
	if (resets > PV_VSOCK_RESETS_MAX)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "state of a socket device: more resets wait than there can be");
	return 0;
}

static int load_all(struct pv_vsock *vsock, const struct header *header,
    struct pv_vsock_conn **conns, struct pv_err *err)
{
	const unsigned count = pv_val_count(header->conns);
	int status = pv_virtio_load(&vsock->virtio, header->virtio, err);
	if (status < 0)
		return status;
	if (!vsock->virtio.active && (count || pv_val_count(header->resets) || header->tx_blocked ||
					 header->starved || header->kicks))
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "state of a socket device: it has connections without being active");
	for (unsigned i = 0; i < pv_val_count(header->resets); i++) {
		status = load_reset(vsock, pv_val_at(header->resets, i), err);
		if (status < 0)
			return status;
	}
	for (unsigned i = 0; i < count; i++) {
		status = load_conn(vsock, pv_val_at(header->conns, i), &conns[i], err);
		if (status < 0)
			return status;
	}
	return check_resets(vsock, conns, count, err);
}

/* Takes back what load_all did, as if it had not been there. */
static void unload(struct pv_vsock *vsock, const struct pv_virtio *fresh)
{
	struct pv_vsock_conn *conn;
	vsock->virtio = *fresh;
	while ((conn = pv_vsock_table_any(&vsock->table)))
		pv_vsock_end(conn, false, false);
	pv_vsock_table_reap(&vsock->table);
	pv_vsock_outbox_shut(&vsock->outbox);
}

int pv_vsock_load(struct pv_vsock *vsock, const struct pv_val *val,
    bool (*adopt)(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port,
	const struct pv_stream_port_ops **ops, void **port_ctx),
    void *ctx, struct pv_err *err)
{
	const struct pv_virtio fresh = vsock->virtio;
	struct pv_vsock_conn *conns[PV_VSOCK_CONNS_MAX];
	struct pv_vsock_outbox *outbox = &vsock->outbox;
	struct header header;
	if (vsock->virtio.status || vsock->table.count)
		return pv_err_set(err, PV_ERR_STATE, EBUSY,
		    "the socket device is in use; reset it before its state is loaded");
	int status = load_header(val, &header, err);
	if (status < 0)
		return status;
	status = load_all(vsock, &header, conns, err);
	if (status < 0) {
		unload(vsock, &fresh);
		return status;
	}
	vsock->guest_cid = outbox->guest_cid = header.cid;
	vsock->table.last_port = header.last_port;
	vsock->tx_blocked = header.tx_blocked;
	outbox->open = vsock->virtio.active;
	outbox->kicks = header.kicks;

	const unsigned count = pv_val_count(header.conns);
	pv_vsock_enter(vsock);
	outbox->starved = true;
	for (unsigned i = 0; i < count; i++)
		pv_vsock_outbox_add(outbox, conns[i]);
	for (unsigned i = 0; i < count; i++) {
		struct pv_vsock_conn *conn = conns[i];
		const struct pv_stream_port_ops *ops = NULL;
		void *port_ctx = NULL;
		const bool adopted = adopt && !conn->dead &&
				     adopt(ctx, conn, conn->state.host_port, conn->state.guest_port,
					 &ops, &port_ctx);
		if (conn->dead)
			continue;
		conn->ops = ops;
		conn->ctx = port_ctx;
		if (!adopted || !ops)
			pv_vsock_end(conn, true, false);
	}
	/* Still starved, so that leaving sends nothing. */
	pv_vsock_leave(vsock);
	outbox->starved = header.starved;
	return 0;
}
