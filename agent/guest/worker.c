/*
 * The agent's side of its workers: it starts them, passes frames on in both directions as they are,
 * and says so when one has ended.
 *
 * A worker is this program, executed again with one end of a socket pair. The host's numbers of
 * calls are of one space, so a frame needs no translation: a request with the number of a worker
 * becomes an open call here whose later frames go to the worker, and what the worker answers goes
 * to the host when it carries the number of a call that is open with this worker. So a worker that
 * runs wild can spoil its own calls and no others.
 *
 * Memory is bounded on both ways: while the queue to the host is full no worker is listened to, and
 * a worker that does not take its requests gets no new ones (what belongs to open calls is bounded
 * by their credit). A worker that ends fails its calls when both its stream and its process are
 * over, so that the sentence can say how. On the loop thread.
 */
#include "agent/guest/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/call.h"
#include "agent/proto/reply.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"

/* A worker that does not read: it gets no new request above this. */
#define QUEUE_MAX (32u << 20)
/* How long the end of the process may follow that of its stream, or the other way round. */
#define END_GRACE (2 * PV_CLOCK_SECOND)

/* The descriptor of its socket in a worker. */
#define WORKER_FD 3

struct pv_worker {
	struct pv_worker *next;
	struct pv_calls *calls;
	uint64_t number;
	pid_t pid;
	struct pv_reaper_child child;
	struct pv_connection connection;
	struct relay *first;
	struct pv_loop_timer timer;
	bool open; /* it has answered, and was not told to end */
	bool exited;
	bool lost;  /* its stream */
	int status; /* waitpid's */
};

/* A call that the worker answers. */
struct relay {
	struct pv_call call; /* first: the ops get it */
	struct pv_worker *worker;
	struct relay *next;
	bool ends;   /* the call is `worker_join` */
	bool starts; /* the call is `worker_start`, and the worker was asked for a hello */
};

/* --- calls --- */

static void unlink_relay(struct relay *relay)
{
	struct relay **at = &relay->worker->first;
	while (*at != relay)
		at = &(*at)->next;
	*at = relay->next;
	free(relay);
}

/* Sends a frame to the worker. */
static void send_frame(struct pv_worker *worker, struct pv_span payload)
{
	struct pv_bytes *out = pv_connection_out(&worker->connection);
	if (!out)
		return; /* it is ending, and its calls with it */
	int64_t start = pv_frame_begin(out);
	if (start < 0 || pv_bytes_append(out, payload.data, payload.len) < 0 ||
	    pv_frame_end(out, start) < 0)
		pv_connection_break(&worker->connection);
	else
		pv_connection_flush(&worker->connection);
}

static void pass_follow_up(struct pv_call *call, struct pv_span payload)
{
	send_frame(((struct relay *)call)->worker, payload);
}

static void send_cancel(struct pv_call *call)
{
	struct relay *relay = (struct relay *)call;
	struct pv_request request = {.id = call->id, .op = PV_REQUEST_CANCEL};
	struct pv_bytes frame = {0};
	struct pv_err err = PV_ERR_INIT;
	if (relay->starts) {
		/* Nobody will know its number. Its end answers the call. */
		kill(relay->worker->pid, SIGKILL);
		return;
	}
	if (pv_request_encode(&request, &frame, &err) == 0)
		send_frame(relay->worker, (struct pv_span){.data = frame.data + PV_FRAME_HEADER,
					      .len = frame.len - PV_FRAME_HEADER});
	pv_bytes_finish(&frame);
}

static const struct pv_call_ops ops = {.pass = pass_follow_up, .cancel = send_cancel};

static struct relay *open_relay(struct pv_worker *worker, uint64_t id)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	if (!relay)
		return NULL;
	pv_call_begin(&relay->call, worker->calls, id, &ops);
	relay->worker = worker;
	relay->next = worker->first;
	worker->first = relay;
	return relay;
}

static struct pv_worker *find(struct pv_calls *calls, uint64_t number)
{
	struct pv_worker *worker = calls->workers.first;
	while (worker && worker->number != number)
		worker = worker->next;
	return worker;
}

void pv_worker_pass(
    struct pv_calls *calls, const struct pv_request *request, struct pv_span payload)
{
	char text[64];
	struct pv_worker *worker = find(calls, request->worker);
	struct pv_bytes *out = worker ? pv_connection_out(&worker->connection) : NULL;
	if (!out || !worker->open) {
		snprintf(text, sizeof(text), "worker %" PRIu64 " %s", request->worker,
		    request->worker <= calls->workers.last ? "has ended" : "does not exist");
		pv_call_answer(calls, request->id, ESRCH, text);
	} else if (pv_link_kept(&worker->connection.link) > QUEUE_MAX) {
		snprintf(text, sizeof(text), "worker %" PRIu64 " does not take requests",
		    request->worker);
		pv_call_answer(calls, request->id, EAGAIN, text);
	} else {
		struct relay *relay = open_relay(worker, request->id);
		if (!relay) {
			pv_call_answer(calls, request->id, ENOMEM, NULL);
			return;
		}
		relay->ends = request->op == PV_REQUEST_WORKER_JOIN;
		send_frame(worker, payload);
	}
}

/* --- the end of a worker --- */

static void forget(struct pv_worker *worker)
{
	struct pv_worker **at = &worker->calls->workers.first;
	while (*at != worker)
		at = &(*at)->next;
	*at = worker->next;
	pv_loop_timer_clear(&worker->timer);
	pv_reaper_remove(&worker->calls->reaper, &worker->child);
	pv_connection_finish(&worker->connection);
	free(worker);
}

static void describe_end(const struct pv_worker *worker, char *out, size_t size)
{
	if (!worker->exited)
		snprintf(out, size, "worker %" PRIu64 " has ended", worker->number);
	else if (WIFSIGNALED(worker->status))
		snprintf(out, size, "worker %" PRIu64 " has ended (killed by signal %d)",
		    worker->number, WTERMSIG(worker->status));
	else
		snprintf(out, size, "worker %" PRIu64 " has ended (exit code %d)", worker->number,
		    WEXITSTATUS(worker->status));
}

/* Fails what is open and forgets it. */
static void end_worker(void *ctx)
{
	struct pv_worker *worker = ctx;
	char text[96];
	describe_end(worker, text, sizeof(text));
	/* One that lost its stream is of no use and gets no second chance. */
	if (!worker->exited)
		kill(worker->pid, SIGKILL);
	while (worker->first) {
		pv_call_fail(&worker->first->call, ECONNRESET, text);
		unlink_relay(worker->first);
	}
	forget(worker);
}

/* One of the two ends has come. */
static void settle_end(struct pv_worker *worker)
{
	if (worker->exited && worker->lost)
		end_worker(worker);
	else
		pv_loop_timer_set(worker->calls->loop, &worker->timer, pv_clock_deadline(END_GRACE),
		    end_worker, worker);
}

static void exited(struct pv_reaper_child *child, int status)
{
	struct pv_worker *worker =
	    (struct pv_worker *)((char *)child - offsetof(struct pv_worker, child));
	worker->exited = true;
	worker->status = status;
	settle_end(worker);
}

static void lost(void *ctx)
{
	struct pv_worker *worker = ctx;
	worker->lost = true;
	settle_end(worker);
}

/* --- answers --- */

/* The worker runs: that is the answer to its start. */
static void greet(struct pv_worker *worker, struct relay *relay, const struct pv_reply *reply)
{
	const struct pv_reply_number numbers[] = {
	    {"worker", (int64_t)worker->number},
	    {"pid",    worker->pid	       },
	};
	worker->open = reply->kind == PV_REPLY_RESULT;
	if (worker->open)
		pv_call_end_numbers(&relay->call, numbers, 2);
	else
		pv_call_fail(&relay->call, EPROTO, "the new worker does not answer");
	unlink_relay(relay);
}

static int take_answer(
    struct pv_worker *worker, const struct pv_reply *reply, struct pv_span payload)
{
	struct relay *relay = worker->first;
	while (relay && relay->call.id != reply->id)
		relay = relay->next;
	if (!relay)
		return -EBADMSG;
	if (relay->starts) {
		greet(worker, relay, reply);
		return 0;
	}
	bool last = reply->kind != PV_REPLY_DATA && reply->kind != PV_REPLY_CREDIT;
	if (reply->kind == PV_REPLY_RESULT && relay->ends)
		worker->open = false;
	pv_call_pass(&relay->call, payload, last);
	if (last)
		unlink_relay(relay);
	if (!pv_connection_has_room(&worker->calls->connection))
		pv_connection_hold(&worker->connection);
	return 0;
}

static int take_frame(void *ctx, struct pv_span payload)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_reply reply;
	int status = pv_reply_decode(&reply, payload.data, payload.len, &err);
	if (status == 0)
		status = take_answer(ctx, &reply, payload);
	pv_reply_finish(&reply);
	return status;
}

static void take_room(void *ctx)
{
	(void)ctx; /* nobody waits for the queue to a worker */
}

static const struct pv_connection_ops connection_ops = {
    .frame = take_frame,
    .room = take_room,
    .lost = lost,
};

void pv_workers_room(struct pv_calls *calls)
{
	struct pv_worker *worker = calls->workers.first;
	for (; worker && pv_connection_has_room(&calls->connection); worker = worker->next)
		pv_connection_release(&worker->connection);
}

void pv_workers_drop(struct pv_calls *calls)
{
	struct pv_worker *worker;
	while ((worker = calls->workers.first)) {
		/* The calls are detached: this answers nobody. */
		while (worker->first) {
			pv_call_fail(&worker->first->call, ECONNRESET, NULL);
			unlink_relay(worker->first);
		}
		forget(worker);
	}
}

/* --- start --- */

/* This program, wherever it lies: it may have been deleted, and /proc may be elsewhere. */
static int open_program(const struct pv_calls *calls)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0 && calls->root.proc >= 0)
		fd = openat(calls->root.proc, "self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = open("/sbin/provium-agent", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* In the child, where only system calls are safe. Descriptors close by themselves. */
static void __attribute__((noreturn)) become(int program, int socket)
{
	char name[] = "provium-agent", option[] = "--worker", number[] = "3";
	char *const argv[] = {name, option, number, NULL};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	/* Out of the way of the number that it is to have, which is free or closes. */
	program = fcntl(program, F_DUPFD_CLOEXEC, WORKER_FD + 1);
	if (socket == WORKER_FD)
		fcntl(socket, F_SETFD, 0);
	else
		dup2(socket, WORKER_FD);
	syscall(SYS_execveat, program, "", argv, environ, AT_EMPTY_PATH);
	_exit(127);
}

/* Returns the child's process number or -errno, and our end of the socket pair. */
static pid_t spawn(struct pv_calls *calls, int *fd)
{
	int pair[2];
	int program = open_program(calls);
	if (program < 0)
		return program;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		int status = -errno;
		close(program);
		return status;
	}
	pid_t pid = _Fork();
	if (pid == 0)
		become(program, pair[1]);
	int status = pid < 0 ? -errno : pid;
	close(program);
	close(pair[1]);
	if (status < 0)
		close(pair[0]);
	else
		*fd = pair[0];
	return status;
}

/* Asks the new worker whether it is there; its answer is that of the call. */
static void ask(struct pv_worker *worker, uint64_t id)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_request hello = {
	    .id = id,
	    .op = PV_REQUEST_HELLO,
	    .hello = {.version = PV_PROTOCOL_VERSION, .host = "provium-agent"},
	};
	struct pv_bytes *out = pv_connection_out(&worker->connection);
	if (!out || pv_request_encode(&hello, out, &err) < 0)
		pv_connection_break(&worker->connection);
	else
		pv_connection_flush(&worker->connection);
}

static void begin(struct pv_calls *calls, uint64_t id)
{
	int fd = -1;
	struct pv_worker *worker = calloc(1, sizeof(*worker));
	pid_t pid = worker ? spawn(calls, &fd) : -ENOMEM;
	if (pid < 0) {
		pv_call_answer(calls, id, -pid, NULL);
		free(worker);
		return;
	}
	worker->calls = calls;
	worker->pid = pid;
	worker->number = ++calls->workers.last;
	worker->next = calls->workers.first;
	calls->workers.first = worker;
	worker->child.pid = pid;
	worker->child.exited = exited;
	pv_reaper_add(&calls->reaper, &worker->child);
	pv_connection_init(&worker->connection, calls->loop, &connection_ops, worker);
	struct relay *relay = open_relay(worker, id);
	if (!relay || pv_connection_join(&worker->connection, fd) < 0) {
		if (!relay)
			pv_call_answer(calls, id, ENOMEM, NULL);
		end_worker(worker);
		return;
	}
	relay->starts = true;
	ask(worker, id);
}

void pv_worker_start(struct pv_calls *calls, struct pv_request *request)
{
	if (calls->is_worker && request->op != PV_REQUEST_WORKER_START)
		pv_worker_request(calls, request);
	else if (calls->is_worker)
		pv_call_answer(calls, request->id, EINVAL, "a worker has no workers of its own");
	else if (request->op == PV_REQUEST_WORKER_START)
		begin(calls, request->id);
	else
		pv_call_answer(calls, request->id, EINVAL, "this is no worker");
}
