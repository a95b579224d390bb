/*
 * The dispatcher: frames become requests, requests start operations, operations answer through
 * their call.
 *
 * The table is a list: there are as many entries as the host has unanswered requests. When the
 * session ends (which may outlive many streams, guest/connection.c), each call is detached and told
 * to end; the operation goes on to exist until its thread or child has come back, but answers
 * nowhere.
 */
#include "agent/guest/call.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/utsname.h>

#include "agent/guest/entropy.h"
#include "agent/guest/syscall.h"
#include "agent/guest/wall_clock.h"
#include "base/err.h"
#include "base/fd.h"

static const char *const capabilities[] = {"exec", "files", "processes", "syscalls", "workers"};

void pv_call_begin(
    struct pv_call *call, struct pv_calls *calls, uint64_t id, const struct pv_call_ops *ops)
{
	*call = (struct pv_call){.calls = calls, .next = calls->first, .id = id, .ops = ops};
	if (calls->first)
		calls->first->prev = call;
	calls->first = call;
	calls->count++;
}

static void forget(struct pv_call *call)
{
	if (call->detached)
		return;
	if (call->prev)
		call->prev->next = call->next;
	else
		call->calls->first = call->next;
	if (call->next)
		call->next->prev = call->prev;
	call->prev = call->next = NULL;
	call->calls->count--;
	pv_turns_ended(&call->calls->turns);
}

/* Where answers of this call go, or NULL. */
static struct pv_bytes *out_of(struct pv_call *call)
{
	return call->detached ? NULL : pv_connection_out(&call->calls->connection);
}

/* A frame that could not be queued leaves a hole in the conversation: give the stream up. */
static void check(struct pv_calls *calls, int status)
{
	if (status < 0)
		pv_connection_break(&calls->connection);
}

void pv_call_data(
    struct pv_call *call, enum pv_protocol_channel channel, const void *data, size_t len)
{
	struct pv_bytes *out = out_of(call);
	if (out)
		check(call->calls, pv_reply_put_data(out, call->id, channel, data, len));
}

void pv_call_credit(struct pv_call *call, uint64_t credit)
{
	struct pv_bytes *out = out_of(call);
	if (out)
		check(call->calls, pv_reply_put_credit(out, call->id, credit));
}

void pv_call_flush(struct pv_call *call)
{
	if (!call->detached)
		pv_connection_flush(&call->calls->connection);
}

bool pv_call_has_room(struct pv_call *call)
{
	return call->detached || pv_connection_has_room(&call->calls->connection);
}

bool pv_call_take_input(struct pv_call *call, struct pv_bytes *input, struct pv_span data)
{
	if (input->len + data.len <= PV_PROTOCOL_WINDOW &&
	    pv_bytes_append(input, data.data, data.len) == 0)
		return true;
	pv_connection_break(&call->calls->connection);
	return false;
}

static void finish(struct pv_call *call, int status)
{
	if (!call->detached) {
		check(call->calls, status);
		pv_connection_flush(&call->calls->connection);
	}
	forget(call);
}

void pv_call_end_exit(struct pv_call *call, enum pv_reply_exit exit, int code)
{
	struct pv_bytes *out = out_of(call);
	finish(call, out ? pv_reply_put_exit(out, call->id, exit, code) : 0);
}

void pv_call_end_size(struct pv_call *call, uint64_t size)
{
	struct pv_bytes *out = out_of(call);
	finish(call, out ? pv_reply_put_size(out, call->id, size) : 0);
}

void pv_call_end_stat(struct pv_call *call, const struct pv_reply_stat *stat)
{
	struct pv_bytes *out = out_of(call);
	finish(call, out ? pv_reply_put_stat(out, call->id, stat) : 0);
}

void pv_call_end_numbers(struct pv_call *call, const struct pv_reply_number *numbers, size_t count)
{
	struct pv_bytes *out = out_of(call);
	finish(call, out ? pv_reply_put_numbers(out, call->id, numbers, count) : 0);
}

void pv_call_pass(struct pv_call *call, struct pv_span payload, bool last)
{
	struct pv_bytes *out = out_of(call);
	int64_t start = out ? pv_frame_begin(out) : 0;
	int status = start < 0 ? (int)start : 0;
	if (out && status == 0)
		status = pv_bytes_append(out, payload.data, payload.len);
	if (out && status == 0)
		status = pv_frame_end(out, start);
	if (last) {
		finish(call, status);
	} else {
		check(call->calls, status);
		pv_call_flush(call);
	}
}

void pv_call_answer(struct pv_calls *calls, uint64_t id, int code, const char *message)
{
	static const struct pv_call_ops none;
	struct pv_call call;
	pv_call_begin(&call, calls, id, &none);
	if (code == 0)
		pv_call_end_numbers(&call, NULL, 0);
	else
		pv_call_fail(&call, code, message);
}

void pv_call_fail(struct pv_call *call, int code, const char *message)
{
	struct pv_bytes *out = out_of(call);
	char text[256];
	if (!message)
		message = strerror_r(code, text, sizeof(text));
	finish(call, out ? pv_reply_put_error(out, call->id, code, message) : 0);
}

void pv_call_refuse(struct pv_call *call, enum pv_reply_reason reason, const char *message)
{
	struct pv_bytes *out = out_of(call);
	finish(call, out ? pv_reply_put_refused(out, call->id, reason, message) : 0);
}

static struct pv_call *find(struct pv_calls *calls, uint64_t id)
{
	struct pv_call *call = calls->first;
	while (call && call->id != id)
		call = call->next;
	return call;
}

/* A request for a call under way. One that has ended meanwhile is no fault: the last answer and the
 * chunk have crossed. */
static void tell(struct pv_call *call, const struct pv_request *request, struct pv_span payload)
{
	if (!call)
		return;
	if (call->ops->pass)
		call->ops->pass(call, payload);
	else if (request->op == PV_REQUEST_CHUNK && call->ops->chunk)
		call->ops->chunk(call, request->chunk);
	else if (request->op == PV_REQUEST_FINISH && call->ops->finish)
		call->ops->finish(call);
	else if (request->op == PV_REQUEST_GRANT && call->ops->grant)
		call->ops->grant(call, (uint64_t)request->grant);
	else if (request->op == PV_REQUEST_CANCEL && call->ops->cancel)
		call->ops->cancel(call);
}

/* Answers a request that starts no operation. */
static int refuse(struct pv_calls *calls, uint64_t id, enum pv_reply_reason reason, const char *why)
{
	struct pv_connection *connection = &calls->connection;
	/* It may be a handshake. */
	struct pv_bytes *out = pv_connection_is_greeted(connection)
				   ? pv_connection_out(connection)
				   : pv_link_hail(&connection->link);
	int status = out ? pv_reply_put_refused(out, id, reason, why) : 0;
	pv_connection_flush(&calls->connection);
	return status;
}

static void detach_all(void *ctx);

/* Each stream begins with this. The session of the host goes on, or what we have is of no use. */
static int say_hello(struct pv_calls *calls, const struct pv_request *request)
{
	const struct pv_request_hello *hello = &request->hello;
	struct pv_connection *connection = &calls->connection;
	struct utsname name = {0};
	uname(&name);
	struct pv_bytes *out = pv_connection_resume(connection, hello->resume, hello->received);
	if (!out) {
		detach_all(calls);
		/* A worker's ends with its stream. */
		out = pv_connection_begin(connection, calls->is_worker ? 0 : hello->session);
	}
	if (!out)
		return -ENOMEM;
	int status = pv_reply_put_hello(out, request->id, name.release, connection->link.session,
	    connection->link.received, capabilities,
	    sizeof(capabilities) / sizeof(capabilities[0]));
	pv_connection_flush(connection);
	if (calls->rest_fd >= 0)
		pv_connection_hold(connection);
	return status;
}

/* Which operation begins what; the others are handled here. */
static void (*const starts[PV_REQUEST_OP_COUNT])(
    struct pv_calls *calls, struct pv_request *request) = {
    [PV_REQUEST_EXEC] = pv_exec_start,
    [PV_REQUEST_READ_FILE] = pv_files_start,
    [PV_REQUEST_WRITE_FILE] = pv_files_start,
    [PV_REQUEST_PROCESS_START] = pv_process_start,
    [PV_REQUEST_PROCESS_WAIT] = pv_process_start,
    [PV_REQUEST_PROCESS_STATUS] = pv_process_start,
    [PV_REQUEST_PROCESS_SIGNAL] = pv_process_start,
    [PV_REQUEST_PROCESS_WRITE] = pv_process_start,
    [PV_REQUEST_PROCESS_CLOSE_INPUT] = pv_process_start,
    [PV_REQUEST_PROCESS_CLOSE] = pv_process_start,
    [PV_REQUEST_PROCESS_STREAM] = pv_process_start,
    [PV_REQUEST_WORKER_START] = pv_worker_start,
    [PV_REQUEST_WORKER_SIGNAL] = pv_worker_start,
    [PV_REQUEST_WORKER_JOIN] = pv_worker_start,
    [PV_REQUEST_STAT] = pv_paths_start,
    [PV_REQUEST_LIST] = pv_paths_start,
    [PV_REQUEST_MKDIR] = pv_paths_start,
    [PV_REQUEST_UNLINK] = pv_paths_start,
    [PV_REQUEST_RENAME] = pv_paths_start,
    [PV_REQUEST_SYSCALL] = pv_kernel_start,
    [PV_REQUEST_SYSCALLS] = pv_kernel_start,
    [PV_REQUEST_READ_MEM] = pv_kernel_start,
    [PV_REQUEST_WRITE_MEM] = pv_kernel_start,
    [PV_REQUEST_OPEN] = pv_handles_start,
    [PV_REQUEST_READ] = pv_handles_start,
    [PV_REQUEST_WRITE] = pv_handles_start,
    [PV_REQUEST_SEEK] = pv_handles_start,
    [PV_REQUEST_CLOSE] = pv_handles_start,
    [PV_REQUEST_TAIL] = pv_tail_start,
    [PV_REQUEST_TAIL_HANDLE] = pv_tail_start,
    [PV_REQUEST_GET_TREE] = pv_trees_start,
    [PV_REQUEST_PUT_TREE] = pv_trees_start,
};

static bool is_follow_up(enum pv_request_op op)
{
	return op == PV_REQUEST_CHUNK || op == PV_REQUEST_FINISH || op == PV_REQUEST_CANCEL ||
	       op == PV_REQUEST_GRANT;
}

/* Without a buffer a system call has no path, unless it was written into memory before. */
static bool may_name_files(const struct pv_request *request)
{
	return request->op != PV_REQUEST_SYSCALL || request->syscall.lens.count > 0;
}

static int dispatch(struct pv_calls *calls, struct pv_request *request, struct pv_span payload)
{
	if (pv_connection_is_greeted(&calls->connection) == (request->op == PV_REQUEST_HELLO))
		return -EBADMSG;
	if (request->op == PV_REQUEST_HELLO)
		return say_hello(calls, request);
	struct pv_call *known = find(calls, request->id);
	if (is_follow_up(request->op)) {
		if (request->op == PV_REQUEST_CANCEL && pv_turns_remove(&calls->turns, request->id))
			return refuse(calls, request->id, PV_REPLY_INTERNAL, "cancelled");
		tell(known, request, payload);
		return 0;
	}
	if (request->op == PV_REQUEST_RESEED) {
		pv_root_follow(&calls->root);
		pv_entropy_add(calls->entropy_fd, request->entropy);
		return 0;
	}
	if (request->op == PV_REQUEST_SET_WALL) {
		pv_wall_clock_set(request->wall_ns);
		return 0;
	}
	if (known)
		return -EBADMSG; /* answers could not be told apart */
	if (calls->count + calls->turns.count >= PV_PROTOCOL_CALLS_MAX)
		return refuse(calls, request->id, PV_REPLY_BAD_REQUEST, "too many calls at once");
	if (request->after != 0 &&
	    (find(calls, request->after) || pv_turns_has(&calls->turns, request->after)))
		return pv_turns_add(&calls->turns, request->id, request->after, payload);
	if (may_name_files(request))
		pv_root_follow(&calls->root);
	if (request->worker != 0 && !calls->is_worker)
		pv_worker_pass(calls, request, payload);
	else
		starts[request->op](calls, request);
	return 0;
}

static int take_frame(void *ctx, struct pv_span payload)
{
	struct pv_calls *calls = ctx;
	struct pv_err err = PV_ERR_INIT;
	struct pv_request request;
	int status = pv_request_decode(&request, payload.data, payload.len, &err);
	if (status == 0)
		status = dispatch(calls, &request, payload);
	else if (status == -EINVAL && request.op == PV_REQUEST_CHUNK)
		status = -EBADMSG; /* a call without this piece of its data must not go on */
	else if (status == -EINVAL &&
		 (request.op == PV_REQUEST_RESEED || request.op == PV_REQUEST_SET_WALL))
		status = -EBADMSG; /* they have no answer */
	else if (status == -EINVAL)
		status = refuse(calls, request.id, PV_REPLY_BAD_REQUEST, err.text);
	else if (status == -ENOSYS)
		status = refuse(calls, request.id, PV_REPLY_UNSUPPORTED, err.text);
	else if (status == -ENOMEM && request.id != 0)
		status = refuse(calls, request.id, PV_REPLY_INTERNAL, err.text);
	pv_request_finish(&request);
	return status;
}

static bool is_under_way(void *ctx, uint64_t id)
{
	return find(ctx, id) != NULL;
}

/* A request that has waited for its turn. */
static void take_later(void *ctx, struct pv_span payload)
{
	struct pv_calls *calls = ctx;
	if (take_frame(calls, payload) < 0)
		pv_connection_break(&calls->connection);
}

static void tell_room(void *ctx)
{
	struct pv_calls *calls = ctx;
	for (struct pv_call *call = calls->first, *next; call; call = next) {
		next = call->next;
		if (call->ops->room)
			call->ops->room(call);
	}
	pv_workers_room(calls);
}

/* What has a number is known to this stream only: nobody can name it any more. */
static void detach_all(void *ctx)
{
	struct pv_calls *calls = ctx;
	struct pv_call *call;
	pv_turns_drop(&calls->turns);
	while ((call = calls->first)) {
		forget(call);
		call->detached = true;
		if (call->ops->cancel)
			call->ops->cancel(call);
	}
	/* Nobody knows their numbers any more. */
	pv_open_files_close(&calls->files);
	pv_workers_drop(calls);
	pv_processes_drop(calls);
}

static const struct pv_connection_ops connection_ops = {
    .frame = take_frame,
    .room = tell_room,
    .lost = detach_all,
};

void pv_calls_init(struct pv_calls *calls, struct pv_loop *loop)
{
	*calls =
	    (struct pv_calls){.loop = loop, .root = {.proc = -1}, .rest_fd = -1, .entropy_fd = -1};
	pv_connection_init(&calls->connection, loop, &connection_ops, calls);
	calls->turns = (struct pv_turns){
	    .loop = loop, .is_busy = is_under_way, .begin = take_later, .ctx = calls};
	pv_pool_init(&calls->pool, PV_POOL_THREADS_MAX);
	/* As many as there can be calls: one that waits holds up no other. */
	pv_pool_init(&calls->syscalls, PV_PROTOCOL_CALLS_MAX);
	pv_pool_init(&calls->asides, PV_PROTOCOL_CALLS_MAX);
	pv_pool_init(&calls->outlets, PV_POOL_THREADS_MAX);
	pv_syscall_init();
}

static void rest_is_there(void *ctx, uint32_t events)
{
	struct pv_calls *calls = ctx;
	(void)events; /* nobody ever writes: this is the end */
	pv_loop_watch_remove(&calls->rest);
	pv_fd_close(&calls->rest_fd);
	pv_connection_release(&calls->connection);
}

void pv_calls_wait_for(struct pv_calls *calls, int fd)
{
	struct pv_err err = PV_ERR_INIT;
	calls->rest_fd = fd;
	if (pv_loop_watch_add(calls->loop, &calls->rest, fd, EPOLLIN, rest_is_there, calls, &err) <
	    0)
		pv_fd_close(&calls->rest_fd);
}
