/*
 * The socket device against a guest that does anything: the input is a program of packets with true
 * and false fields, rx buffers, kicks, resets and damage to the rings, and of what the host's ports
 * do, also from inside their callbacks. Checked besides the sanitizers: packets to the guest are
 * well formed, every connection has a port that has not been told of its end, and no connection has
 * bytes for ever after all ended.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/vsock_guest.h"

#define PORTS	     24
#define SMALL_WINDOW 4096

struct port {
	struct pv_vsock_conn *conn; /* NULL = free */
	uint8_t behaviour;	    /* what it does in which callback */
	unsigned turns;		    /* callbacks that may still act */
	uint32_t undigested;
};

struct run {
	const uint8_t *at, *end;
	struct vsock_guest guest;
	struct port ports[PORTS];
	unsigned alive;
	uint32_t seen_port; /* the host port of the last packet heard */
	bool damaged;	    /* the rings: the guest's driver touches them no more until a reset */
	uint8_t payload[GUEST_PAYLOAD_MAX];
};

/* The ports' callbacks have only their port to start from. */
static struct run run;

static uint8_t next(void)
{
	return run.at < run.end ? *run.at++ : 0;
}

static uint32_t next32(void)
{
	uint32_t value = next();
	value |= (uint32_t)next() << 8;
	value |= (uint32_t)next() << 16;
	return value | (uint32_t)next() << 24;
}

static void check(int fine)
{
	if (!fine)
		abort();
}

static struct port *free_port(void)
{
	for (unsigned i = 0; i < PORTS; i++)
		if (!run.ports[i].conn)
			return &run.ports[i];
	return NULL;
}

static const struct pv_stream_port_ops port_ops;

static void connect_out(uint8_t guest_port)
{
	struct port *port = free_port();
	struct pv_vsock_conn *conn;

	if (!port || pv_vsock_connect(run.guest.vsock, guest_port, &port_ops, port, &conn) < 0)
		return;
	*port = (struct port){.conn = conn, .behaviour = next(), .turns = 8};
	run.alive++;
}

static void close_port(struct port *port)
{
	struct pv_vsock_conn *conn = port->conn;

	if (!conn)
		return;
	port->conn = NULL;
	run.alive--;
	pv_vsock_conn_close(conn);
}

static void act(struct port *port, unsigned action)
{
	static const uint8_t zeros[100000];

	if (!port->conn)
		return;
	switch (action) {
	case 1: close_port(port); break;
	case 2: pv_vsock_conn_send(port->conn, zeros, 1 + port->behaviour); break;
	case 3: pv_vsock_conn_send(port->conn, zeros, sizeof(zeros)); break;
	case 4: pv_vsock_conn_shutdown(port->conn); break;
	case 5:
		pv_vsock_conn_credit(port->conn, port->undigested);
		port->undigested = 0;
		break;
	case 6: close_port(&run.ports[port->behaviour % PORTS]); break;
	case 7: connect_out(port->behaviour % 8); break;
	default: break;
	}
}

/* The low bits of the behaviour choose the callback, the high bits what it does. */
static void callback(struct port *port, unsigned which)
{
	if (port->turns == 0 || (port->behaviour & 7) != which)
		return;
	port->turns--;
	act(port, port->behaviour >> 3 & 7);
}

static void on_connected(void *ctx)
{
	check(((struct port *)ctx)->conn != NULL);
	callback(ctx, 1);
}

static void on_receive(void *ctx, const void *data, size_t len)
{
	struct port *port = ctx;
	uint32_t sum = 0;

	check(port->conn && len > 0 && len <= PV_VSOCK_WINDOW);
	for (size_t i = 0; i < len; i += 4095)
		sum += ((const uint8_t *)data)[i];
	port->undigested += (uint32_t)len + (sum & 0);
	check(port->undigested <= PV_VSOCK_WINDOW);
	callback(port, 2);
}

static void on_writable(void *ctx)
{
	check(((struct port *)ctx)->conn != NULL);
	callback(ctx, 3);
}

static void on_end(void *ctx)
{
	check(((struct port *)ctx)->conn != NULL);
	callback(ctx, 4);
}

static void on_closed(void *ctx)
{
	struct port *port = ctx;
	struct pv_vsock_conn *conn = port->conn;

	check(conn != NULL);
	/* Whatever a port still does with a connection that has ended must do nothing. */
	check(pv_vsock_conn_send(conn, "x", 1) == 0);
	pv_vsock_conn_credit(conn, 1);
	pv_vsock_conn_shutdown(conn);
	pv_vsock_conn_close(conn);
	port->conn = NULL;
	run.alive--;
	if (port->turns && (port->behaviour & 7) == 5) {
		port->turns = 0;
		connect_out(port->behaviour % 8);
	}
}

static const struct pv_stream_port_ops port_ops = {
    .connected = on_connected,
    .receive = on_receive,
    .writable = on_writable,
    .end_of_stream = on_end,
    .closed = on_closed,
};

static bool on_accept(
    void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct port *port = free_port();
	uint8_t behaviour = next();

	if (!port || behaviour == 255)
		return false;
	*port = (struct port){.conn = conn, .behaviour = behaviour, .turns = 8};
	run.alive++;
	*ops = &port_ops;
	*port_ctx = port;
	callback(port, 0);
	return true;
}

static void add_packet(void)
{
	static const uint32_t lengths[] = {0, 1, 2, 100, 4096, 40000, 65535, 65536};
	uint8_t shape = next(), ports = next();
	uint32_t len = lengths[shape >> 5];
	struct virtio_vsock_hdr header = {
	    .src_cid = GUEST_CID,
	    .dst_cid = PV_VSOCK_HOST_CID,
	    .src_port = ports & 7,
	    .dst_port = ports >> 3 & 3,
	    .len = len,
	    .type = VIRTIO_VSOCK_TYPE_STREAM,
	    .op = shape & 15,
	    .flags = ports >> 6,
	    .buf_alloc = SMALL_WINDOW,
	};
	if ((ports >> 3 & 3) == 3)
		header.dst_port = run.seen_port;
	if ((ports >> 3 & 3) == 2)
		header.dst_port = (1u << 20) + 1 + (ports >> 6);
	if (shape & 16) {
		uint8_t lie = next();
		if (lie & 1)
			header.buf_alloc = next32();
		if (lie & 2)
			header.fwd_cnt = next32();
		if (lie & 4)
			header.len = next32();
		if (lie & 8)
			header.type = next();
		if (lie & 16)
			header.dst_cid = next();
		if (lie & 32)
			header.src_cid = next();
		if (lie & 64)
			header.flags = next32();
		if (lie & 128)
			header.op = (uint16_t)next32();
	}
	guest_add_tx(&run.guest, &header, run.payload, len, shape & 1);
}

static void hear_all(void)
{
	struct virtio_vsock_hdr header;

	while (guest_receive(&run.guest, &header, run.payload)) {
		check(header.dst_cid == GUEST_CID && header.op > 0 && header.op < 8);
		check(header.len == 0 || header.op == VIRTIO_VSOCK_OP_RW);
		check(header.op == VIRTIO_VSOCK_OP_RST || header.buf_alloc == PV_VSOCK_WINDOW);
		run.seen_port = header.src_port;
	}
}

static void damage(void)
{
	/* The rings are the first 192 KiB; descriptors, indices and flags are at their beginnings.
	 */
	uint32_t where = (next() % 3) * 0x10000u + (next() & 3) * 0x4000u + next();
	run.guest.ram[where] = next();
	run.damaged = true;
}

/* What the driver does on its rings while they are sane. */
static void drive(uint8_t op)
{
	unsigned count = (op & 15) == 15 ? 40 : 1;

	switch (op & 15) {
	case 2: add_packet(); break;
	case 3: guest_add_rx(&run.guest, op & 16 ? 4140 : 44 + next(), op & 32); break;
	case 4:
		for (unsigned i = 0; i < 16; i++)
			guest_add_rx(&run.guest, 4140, op & 16);
		guest_kick(&run.guest, VIRTIO_VSOCK_QUEUE_RX);
		break;
	case 6: hear_all(); break;
	default:
		while (count--) {
			add_packet();
			guest_kick(&run.guest, VIRTIO_VSOCK_QUEUE_TX);
		}
		break;
	}
}

static void step(void)
{
	uint8_t op = next();

	switch (op & 15) {
	case 5: pv_virtio_kick(run.guest.dev, op >> 4); break;
	case 7: connect_out(op >> 5); break;
	case 8:
	case 9:
	case 10:
	case 11: act(&run.ports[next() % PORTS], op >> 4 & 7); break;
	case 12:
		if (op >> 4 == 15) {
			run.damaged = false;
			guest_reset(&run.guest, true);
		} else if (op >> 4 == 14) {
			run.damaged = true;
			guest_reset(&run.guest, false);
		}
		break;
	case 13:
		if (op >> 4 == 15)
			damage();
		break;
	case 14:
		pv_vsock_listen(run.guest.vsock, op >> 4 & 3, op & 64 ? NULL : on_accept, NULL);
		break;
	default:
		if (!run.damaged)
			drive(op);
		break;
	}
	check(run.alive == pv_vsock_open_count(run.guest.vsock));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *ram;

	if (!ram)
		ram = calloc(1, GUEST_RAM);
	if (!ram || size > 4096)
		return 0;
	memset(run.ports, 0, sizeof(run.ports));
	run.alive = 0;
	run.seen_port = 0;
	run.damaged = false;
	run.at = data;
	run.end = data + size;
	guest_start(&run.guest, ram, next() & 1);
	pv_vsock_listen(run.guest.vsock, 0, on_accept, NULL);
	while (run.at < run.end)
		step();
	guest_reset(&run.guest, false);
	check(run.alive == 0);
	check(pv_vsock_queued_bytes(run.guest.vsock) == 0);
	guest_finish(&run.guest);
	return 0;
}
