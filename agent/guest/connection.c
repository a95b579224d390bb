/*
 * The stream to the host: a vsock connection to port 1234 of CID 2 that the agent makes as soon as
 * it can serve (vsock(7)).
 *
 * There may be no vsock device yet, no driver yet, or nobody who listens; a kernel has no event for
 * the last, so the attempt is repeated after 20 ms, then ever less often up to once a second. When
 * an established stream ends, the same begins anew: a kernel that suspends the guest resets all
 * sockets, and the agent lives on. So the session (proto/link.h) stays meanwhile: answers are
 * queued, what runs goes on, and the host says in its next handshake whether it still is of that
 * session. It ends with the stream when one of the two ends has failed, and at the host's word.
 *
 * Sending is eager: pv_connection_flush writes at once, on whichever thread holds the lock, and
 * only what the socket does not take waits for the loop. Writing never calls back, because its
 * callers hold half-changed state: a failed write arms a timer at once, and the loop thread then
 * reports the loss.
 *
 * The stream is watched edge-triggered, so that a frame wakes one thread only: reading goes on until
 * nothing is left or the stream is held, and asking for an event anew tells what is there already.
 */
#include "agent/guest/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Needs sys/socket.h before it. */
#include <linux/vm_sockets.h>

#include "agent/proto/protocol.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"

#define BACKOFF_FIRST (20 * (PV_CLOCK_SECOND / 1000))
#define BACKOFF_LAST  PV_CLOCK_SECOND

/* Producers pause above the first and go on below the second. What the host has and has not
 * acknowledged counts as well; that is less than the second when nothing is on its way. */
#define QUEUE_HIGH (1u << 20)
#define QUEUE_LOW  (512u << 10)
_Static_assert(QUEUE_LOW > PV_LINK_ACK_EVERY, "or producers wait for ever");

#define READ_SIZE (64u << 10)

/* Each event comes once, the end of the stream among them. */
#define ALWAYS (EPOLLET | EPOLLRDHUP)

static void try_connect(void *ctx);
static void stream_ready(void *ctx, uint32_t events);

void pv_connection_init(struct pv_connection *connection, struct pv_loop *loop,
    const struct pv_connection_ops *ops, void *ctx)
{
	*connection = (struct pv_connection){
	    .loop = loop,
	    .ops = ops,
	    .ctx = ctx,
	    .fd = -1,
	    .backoff_ns = BACKOFF_FIRST,
	};
	pv_link_init(&connection->link, PV_PROTOCOL_FRAME_MAX);
}

static void set_events(struct pv_connection *connection, uint32_t events)
{
	if (connection->events == events)
		return;
	connection->events = events;
	pv_loop_watch_set(&connection->watch, events | ALWAYS);
}

static void close_stream(struct pv_connection *connection)
{
	pv_loop_watch_remove(&connection->watch);
	pv_loop_timer_clear(&connection->timer);
	pv_fd_close(&connection->fd);
	pv_link_cut(&connection->link);
	connection->up = connection->broken = false;
}

static void forget_session(struct pv_connection *connection)
{
	pv_link_finish(&connection->link);
	connection->spoiled = connection->full = connection->held = false;
	pv_loop_wake(connection->loop);
}

static void lose(struct pv_connection *connection)
{
	close_stream(connection);
	const bool over = connection->spoiled || connection->joined || connection->adopted ||
			  connection->link.session == 0;
	if (over)
		forget_session(connection);
	if (connection->joined) {
		/* The connection may be gone afterwards. */
		connection->ops->lost(connection->ctx);
		return;
	}
	if (over)
		connection->ops->lost(connection->ctx);
	if (connection->adopted) {
		pv_loop_quit(connection->loop);
		return;
	}
	connection->backoff_ns = BACKOFF_FIRST;
	try_connect(connection);
}

static void lose_from_timer(void *ctx)
{
	lose(ctx);
}

/* The loop thread is to notice that the stream is of no use. */
static void lose_soon(struct pv_connection *connection)
{
	if (!connection->up || connection->broken)
		return;
	connection->broken = true;
	pv_loop_timer_set(
	    connection->loop, &connection->timer, pv_clock_now(), lose_from_timer, connection);
}

void pv_connection_break(struct pv_connection *connection)
{
	/* Without a stream this holds for the next: its handshake finds no session to go on with.
	 */
	connection->spoiled = true;
	lose_soon(connection);
}

bool pv_connection_is_greeted(const struct pv_connection *connection)
{
	return connection->link.open;
}

static struct pv_bytes *open_link(struct pv_connection *connection)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_link_open(&connection->link, &err) < 0)
		return NULL;
	return pv_link_hail(&connection->link);
}

struct pv_bytes *pv_connection_resume(
    struct pv_connection *connection, uint64_t session, uint64_t received)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_link *link = &connection->link;
	if (session == 0 || session != link->session || connection->spoiled ||
	    pv_link_resume(link, received, &err) < 0)
		return NULL;
	return open_link(connection);
}

struct pv_bytes *pv_connection_begin(struct pv_connection *connection, uint64_t session)
{
	pv_link_begin(&connection->link, session);
	connection->spoiled = connection->full = connection->held = false;
	pv_loop_wake(connection->loop);
	return open_link(connection);
}

struct pv_bytes *pv_connection_out(struct pv_connection *connection)
{
	const bool there = connection->link.open || connection->link.session != 0;
	return there && !connection->spoiled ? &connection->link.out : NULL;
}

bool pv_connection_has_room(struct pv_connection *connection)
{
	if (!connection->full && pv_link_kept(&connection->link) < QUEUE_HIGH)
		return true;
	connection->full = true;
	return false;
}

/* Writes until the socket is full. Returns 0 or -errno. */
static int write_queue(struct pv_connection *connection)
{
	struct pv_span rest;
	while ((rest = pv_link_unsent(&connection->link)).len > 0) {
		ssize_t done =
		    send(connection->fd, rest.data, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno == EAGAIN ? 0 : -errno;
		pv_link_mark_sent(&connection->link, (size_t)done);
	}
	return 0;
}

static bool has_room_again(const struct pv_connection *connection)
{
	return connection->full && pv_link_kept(&connection->link) <= QUEUE_LOW;
}

void pv_connection_flush(struct pv_connection *connection)
{
	if (!connection->up || connection->broken)
		return;
	if (write_queue(connection) < 0) {
		lose_soon(connection);
		return;
	}
	if (pv_link_is_overdue(&connection->link)) {
		pv_connection_break(connection);
		return;
	}
	/* EPOLLOUT also when somebody must still hear that there is room again. */
	bool waiting = pv_link_unsent(&connection->link).len > 0 || has_room_again(connection);
	set_events(connection, (connection->held ? 0 : EPOLLIN) | (waiting ? EPOLLOUT : 0));
}

void pv_connection_drain(struct pv_connection *connection)
{
	while (connection->up && !connection->broken && pv_link_unsent(&connection->link).len > 0) {
		struct pollfd wait = {.fd = connection->fd, .events = POLLOUT};
		if (write_queue(connection) < 0)
			return;
		if (pv_link_unsent(&connection->link).len > 0)
			poll(&wait, 1, -1);
	}
}

static void report_room(struct pv_connection *connection)
{
	if (!has_room_again(connection))
		return;
	connection->full = false;
	connection->ops->room(connection->ctx);
	pv_loop_wake(connection->loop);
}

/* Hands out the whole frames that are there. Returns 0, or negative when the stream is unusable. */
static int take_frames(struct pv_connection *connection)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	int status = 0;
	/* A handshake has to be answered, however long the requests wait. */
	while ((!connection->held || !connection->link.open) &&
	       (status = pv_link_next(&connection->link, &payload, &err)) > 0) {
		status = connection->ops->frame(connection->ctx, payload);
		if (status < 0)
			return status;
	}
	return status;
}

void pv_connection_hold(struct pv_connection *connection)
{
	connection->held = true;
	if (!connection->up)
		return;
	/* Not even the end of a joined stream is of interest: frames may come before it. */
	if (connection->joined)
		pv_loop_watch_remove(&connection->watch);
	else
		set_events(connection, connection->events & ~(uint32_t)EPOLLIN);
}

/* Watches a joined stream that was held. False when there is no memory for that: it is lost. */
static bool watch_again(struct pv_connection *connection)
{
	struct pv_err err = PV_ERR_INIT;
	connection->events = EPOLLIN;
	if (pv_loop_watch_add(connection->loop, &connection->watch, connection->fd,
		EPOLLIN | ALWAYS, stream_ready, connection, &err) == 0)
		return true;
	pv_connection_break(connection);
	return false;
}

void pv_connection_release(struct pv_connection *connection)
{
	bool was_held = connection->held;
	connection->held = false;
	if (!was_held)
		return;
	if (connection->up) {
		if (connection->joined && !watch_again(connection))
			return;
		/* What has come meanwhile was told already, and is to be told again. */
		set_events(connection, 0);
		set_events(connection, EPOLLIN);
		pv_connection_flush(connection);
	}
	if (take_frames(connection) < 0)
		pv_connection_break(connection);
}

/* Reads what has come, and what `is_ending` says. Returns 0, or negative when the stream is over; an
 * unusable one is spoiled. */
static int read_stream(struct pv_connection *connection, bool is_ending)
{
	uint8_t chunk[READ_SIZE];
	struct pv_err err = PV_ERR_INIT;
	for (;;) {
		ssize_t got = recv(connection->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (got == 0)
			return -ECONNRESET;
		int status = pv_link_feed(&connection->link, chunk, (size_t)got, &err);
		if (status == 0)
			status = take_frames(connection);
		connection->spoiled |= status < 0;
		if (status < 0 || connection->held)
			return status;
		/* A short read has emptied the socket: spare the call that would say so. */
		if ((size_t)got < sizeof(chunk) && !is_ending)
			return 0;
	}
}

static void stream_ready(void *ctx, uint32_t events)
{
	struct pv_connection *connection = ctx;
	const uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
	if (events & (EPOLLIN | ends)) {
		if (read_stream(connection, events & ends) < 0) {
			lose(connection);
			return;
		}
		/* An acknowledgement may have come, or be due. */
		if (pv_link_unsent(&connection->link).len > 0 || has_room_again(connection))
			events |= EPOLLOUT;
	}
	if (!(events & EPOLLOUT))
		return;
	pv_connection_flush(connection);
	report_room(connection);
	pv_connection_flush(connection);
}

static int begin_stream(struct pv_connection *connection, struct pv_err *err)
{
	pv_loop_watch_remove(&connection->watch);
	int status = pv_loop_watch_add(connection->loop, &connection->watch, connection->fd,
	    EPOLLIN | ALWAYS, stream_ready, connection, err);
	if (status < 0)
		return status;
	connection->events = EPOLLIN;
	connection->up = true;
	connection->told = false;
	connection->backoff_ns = BACKOFF_FIRST;
	return 0;
}

int pv_connection_adopt(struct pv_connection *connection, int fd)
{
	struct pv_err err = PV_ERR_INIT;
	connection->fd = fd;
	connection->adopted = true;
	return begin_stream(connection, &err);
}

int pv_connection_join(struct pv_connection *connection, int fd)
{
	struct pv_err err = PV_ERR_INIT;
	connection->fd = fd;
	connection->joined = true;
	pv_link_adopt(&connection->link, 0, 0, 0);
	return begin_stream(connection, &err);
}

void pv_connection_finish(struct pv_connection *connection)
{
	close_stream(connection);
	forget_session(connection);
}

static const char *advice(int code)
{
	if (code == EAFNOSUPPORT)
		return "this kernel has no virtio vsock: add the modules vsock, "
		       "vmw_vsock_virtio_transport_common and vmw_vsock_virtio_transport, or set "
		       "CONFIG_VSOCKETS and CONFIG_VIRTIO_VSOCKETS";
	if (code == ENODEV)
		return "there is no virtio vsock device, or no driver for it: add the module "
		       "vmw_vsock_virtio_transport or set CONFIG_VIRTIO_VSOCKETS, and the virtio "
		       "transport of the device";
	return "nobody takes the connection to vsock port 1234 of the host";
}

/* Closes this attempt and plans the next. */
static void retry_later(struct pv_connection *connection, int code)
{
	pv_loop_watch_remove(&connection->watch);
	pv_fd_close(&connection->fd);
	if (connection->backoff_ns >= BACKOFF_LAST && !connection->told) {
		connection->told = true;
		fprintf(stderr, "provium-agent: %s (%s); trying again every second\n", advice(code),
		    strerror(code));
	}
	pv_loop_timer_set(connection->loop, &connection->timer,
	    pv_clock_deadline(connection->backoff_ns), try_connect, connection);
	connection->backoff_ns *= 2;
	if (connection->backoff_ns > BACKOFF_LAST)
		connection->backoff_ns = BACKOFF_LAST;
}

static void connect_ready(void *ctx, uint32_t events)
{
	struct pv_connection *connection = ctx;
	struct pv_err err = PV_ERR_INIT;
	int code = 0;
	socklen_t len = sizeof(code);
	if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	if (code == 0)
		code = -begin_stream(connection, &err);
	if (code != 0)
		retry_later(connection, code);
}

union address {
	struct sockaddr any;
	struct sockaddr_vm vsock;
	struct sockaddr_un local;
};

static union address host_address(const struct pv_connection *connection)
{
	union address address = {
	    .vsock = {
		      .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = PV_PROTOCOL_PORT}
	 };
	if (connection->path) {
		address = (union address){.local = {.sun_family = AF_UNIX}};
		snprintf(
		    address.local.sun_path, sizeof(address.local.sun_path), "%s", connection->path);
	}
	return address;
}

static void try_connect(void *ctx)
{
	struct pv_connection *connection = ctx;
	struct pv_err err = PV_ERR_INIT;
	const union address address = host_address(connection);
	const socklen_t len = connection->path ? sizeof(address.local) : sizeof(address.vsock);
	int status = 0;
	connection->fd =
	    socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connection->fd < 0) {
		retry_later(connection, errno);
		return;
	}
	if (connect(connection->fd, &address.any, len) == 0)
		status = begin_stream(connection, &err);
	else if (errno == EINPROGRESS)
		status = pv_loop_watch_add(connection->loop, &connection->watch, connection->fd,
		    EPOLLOUT, connect_ready, connection, &err);
	else
		status = -errno;
	if (status < 0)
		retry_later(connection, -status);
}

void pv_connection_start(struct pv_connection *connection, const char *path)
{
	connection->path = path;
	try_connect(connection);
}
