/*
 * `syscall`, `syscalls`, `read_mem`, `write_mem`: what the host wants of the guest's kernel in this
 * process, with bytes going both ways.
 *
 * A call first takes in its content, if it has any: memory for all of it is there from the
 * beginning, so what comes is put in its place and is credit for the host at once. Then a thread
 * does it, which may take for ever, and sends what is in the buffers. Threads that issue system
 * calls are not those that do other things: a call may change who its thread is to the kernel. In
 * an agent each call has a thread to itself for as long as it takes; a worker gives
 * `calls->syscalls` one thread, and only calls that may be done aside get others.
 *
 * A call of the agent that cannot change its thread needs none of these threads. When it cannot
 * wait for anything either, the loop issues it at once. Else the helper of the loop does, which in a
 * conversation of single calls is the very thread that has read the request, and so there is no
 * change of thread either; while it is in the kernel others are answered as ever.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guest/call.h"
#include "agent/guest/memory.h"
#include "agent/guest/open_file.h"
#include "agent/guest/syscall.h"
#include "base/clock.h"
#include "base/fd.h"

/* Buffers that may come back in one piece, whatever else waits. */
#define IMMEDIATE_MAX 4096

struct kernel_call {
	struct pv_call call; /* first: the ops get it */
	struct pv_pool_job job;
	enum pv_request_op op;
	union {
		struct pv_request_syscall syscall; /* `data` is not valid */
		struct pv_request_numbers syscalls;
		struct pv_request_memory memory_at;
	};
	void *memory; /* of the request: its lists */
	struct pv_buffers buffers;
	struct pv_open_file *file; /* that the call is about, or NULL */
	struct pv_syscall_stop stop;
	/* Under the loop lock: */
	bool started;
	bool cancelled;
	bool immediate; /* in a callback, which must not wait */
};

static struct kernel_call *kernel_call_of(struct pv_call *call)
{
	return (struct kernel_call *)call;
}

/* What the call may have done to its buffers. */
static enum pv_buffers_end end_of(const struct kernel_call *kernel)
{
	return kernel->op == PV_REQUEST_SYSCALL ? pv_syscall_end(kernel->syscall.nr)
						: PV_BUFFERS_REUSE;
}

static void destroy(struct kernel_call *kernel)
{
	pv_buffers_finish(&kernel->buffers, &kernel->call.calls->spares, end_of(kernel));
	int fd = pv_open_file_unref(kernel->file);
	pv_fd_close(&fd);
	free(kernel->memory);
	free(kernel);
}

/* --- sending what is in the buffers: lock held, given up while the queue is full --- */

static void send_piece(struct kernel_call *kernel, const void *data, size_t len)
{
	pv_call_data(&kernel->call, PV_PROTOCOL_CHANNEL_MEMORY, data, len);
	while (!kernel->cancelled && !kernel->immediate && !pv_call_has_room(&kernel->call)) {
		pv_call_flush(&kernel->call);
		pv_loop_wait(kernel->call.calls->loop, PV_CLOCK_NEVER);
	}
}

/* Moves up to `room` bytes from where `index` and `offset` stand to `piece`. */
static size_t gather(const struct kernel_call *kernel, size_t *index, size_t *offset,
    uint8_t *piece, size_t room, bool may_be_gone)
{
	const struct pv_buffers *buffers = &kernel->buffers;
	size_t have = 0;
	while (have < room && *index < buffers->count) {
		size_t left = (size_t)buffers->lens[*index] - *offset;
		size_t len = left < room - have ? left : room - have;
		const uint8_t *at = buffers->at[*index] + *offset;
		if (!may_be_gone)
			memcpy(piece + have, at, len);
		else if (pv_memory_read((uint64_t)(uintptr_t)at, piece + have, len) < 0)
			memset(piece + have, 0, len);
		have += len;
		*offset += len;
		if (len == left) {
			(*index)++;
			*offset = 0;
		}
	}
	return have;
}

/* Returns 0 or -ENOMEM. */
static int send_buffers(struct kernel_call *kernel)
{
	uint64_t total = kernel->buffers.total;
	size_t size = total < PV_PROTOCOL_CHUNK ? (size_t)total : PV_PROTOCOL_CHUNK;
	if (size == 0)
		return 0;
	uint8_t *piece = malloc(size);
	if (!piece)
		return -ENOMEM;
	bool may_be_gone = end_of(kernel) != PV_BUFFERS_REUSE;
	size_t index = 0, offset = 0, len;
	while (!kernel->cancelled &&
	       (len = gather(kernel, &index, &offset, piece, size, may_be_gone)) > 0)
		send_piece(kernel, piece, len);
	free(piece);
	return 0;
}

/* --- on a thread of its own --- */

/* The results take the place of the numbers. */
static void execute_row(struct kernel_call *kernel)
{
	int64_t *words = kernel->memory;
	size_t count = kernel->syscalls.count / PV_PROTOCOL_SYSCALL_WORDS;
	for (size_t i = 0; i < count; i++)
		words[i] =
		    pv_syscall_execute_words(&words[i * PV_PROTOCOL_SYSCALL_WORDS], &kernel->stop);
}

static void send_row(struct kernel_call *kernel)
{
	const size_t most = PV_PROTOCOL_CHUNK / sizeof(int64_t);
	const int64_t *results = kernel->memory;
	size_t left = kernel->syscalls.count / PV_PROTOCOL_SYSCALL_WORDS;
	while (left > 0 && !kernel->cancelled) {
		size_t count = left < most ? left : most;
		send_piece(kernel, results, count * sizeof(*results));
		results += count;
		left -= count;
	}
}

static int64_t execute(struct kernel_call *kernel)
{
	const struct pv_request_memory *at = &kernel->memory_at;
	switch (kernel->op) {
	case PV_REQUEST_SYSCALL:
		return pv_syscall_execute(&kernel->syscall, &kernel->buffers, &kernel->stop);
	case PV_REQUEST_READ_MEM:
		return pv_memory_read((uint64_t)at->addr, kernel->buffers.at[0], (size_t)at->len);
	case PV_REQUEST_WRITE_MEM:
		return pv_memory_write((uint64_t)at->addr, kernel->buffers.at[0], (size_t)at->len);
	default: execute_row(kernel); return 0;
	}
}

/* [locked] Answers. Returns the descriptor of a file that was closed meanwhile, or -1. */
static int answer(struct kernel_call *kernel, int64_t ret)
{
	int status = 0;
	atomic_store(&kernel->stop.thread, 0);
	if (kernel->op == PV_REQUEST_SYSCALLS)
		send_row(kernel);
	else if (kernel->op == PV_REQUEST_SYSCALL ||
		 (kernel->op == PV_REQUEST_READ_MEM && ret == 0))
		status = send_buffers(kernel);
	const struct pv_reply_number number = {"ret", ret};
	if (status < 0)
		pv_call_refuse(&kernel->call, PV_REPLY_INTERNAL, "out of memory (an answer)");
	else
		pv_call_end_numbers(&kernel->call, &number, 1);
	int fd = pv_open_file_unref(kernel->file);
	kernel->file = NULL;
	destroy(kernel);
	return fd;
}

static void run(struct pv_pool_job *job)
{
	struct kernel_call *kernel =
	    (struct kernel_call *)((char *)job - offsetof(struct kernel_call, job));
	struct pv_loop *loop = kernel->call.calls->loop;
	int64_t ret = execute(kernel);
	pv_loop_lock(loop);
	int fd = answer(kernel, ret);
	pv_loop_unlock(loop);
	/* The end of a file may take time, so not under the lock. */
	pv_fd_close(&fd);
}

/* --- the call --- */

static void run_here(void *ctx)
{
	run(ctx);
}

static bool leaves_thread(const struct kernel_call *kernel)
{
	if (kernel->op == PV_REQUEST_SYSCALL)
		return pv_syscall_leaves_thread(kernel->syscall.nr);
	if (kernel->op != PV_REQUEST_SYSCALLS)
		return true;
	for (size_t i = 0; i < kernel->syscalls.count; i += PV_PROTOCOL_SYSCALL_WORDS) {
		if (!pv_syscall_leaves_thread(kernel->syscalls.at[i]))
			return false;
	}
	return true;
}

/* True when it takes no time, and the answer finds room. */
static bool is_immediate(struct kernel_call *kernel)
{
	return kernel->op == PV_REQUEST_SYSCALL && kernel->syscall.handle == 0 &&
	       pv_syscall_is_immediate(&kernel->syscall) &&
	       kernel->buffers.total <= IMMEDIATE_MAX && pv_call_has_room(&kernel->call);
}

/* Everything is there. */
static void start(struct kernel_call *kernel)
{
	struct pv_calls *calls = kernel->call.calls;
	bool aside = kernel->op == PV_REQUEST_SYSCALL && kernel->syscall.aside;
	kernel->started = true;
	if (!calls->is_worker && is_immediate(kernel)) {
		kernel->immediate = true;
		answer(kernel, execute(kernel));
		return;
	}
	/* Without a helper, which costs no more than memory, it is a pool thread's. */
	if (!calls->is_worker && leaves_thread(kernel)) {
		pv_loop_start_helper(calls->loop);
		if (pv_loop_hand_over(calls->loop, run_here, &kernel->job))
			return;
	}
	struct pv_pool *pool = aside ? &calls->asides : &calls->syscalls;
	int status = pv_pool_run_soon(pool, &kernel->job, calls->loop);
	if (status < 0) {
		pv_call_refuse(&kernel->call, PV_REPLY_INTERNAL, "no thread for a system call");
		destroy(kernel);
	}
}

static void take_chunk(struct pv_call *call, struct pv_span data)
{
	struct kernel_call *kernel = kernel_call_of(call);
	if (kernel->started)
		return;
	if (!pv_buffers_fill(&kernel->buffers, data)) {
		/* The two ends do not mean the same buffers. */
		pv_connection_break(&call->calls->connection);
		return;
	}
	pv_call_credit(call, data.len);
	pv_call_flush(call);
}

static void take_finish(struct pv_call *call)
{
	struct kernel_call *kernel = kernel_call_of(call);
	if (kernel->started)
		return;
	if (kernel->buffers.filled != kernel->buffers.total)
		pv_connection_break(&call->calls->connection);
	else
		start(kernel);
}

static void cancel(struct pv_call *call)
{
	struct kernel_call *kernel = kernel_call_of(call);
	kernel->cancelled = true;
	if (kernel->started) {
		pv_syscall_interrupt(&kernel->stop);
		pv_loop_wake(call->calls->loop);
		return;
	}
	pv_call_refuse(call, PV_REPLY_INTERNAL, "cancelled");
	destroy(kernel);
}

static const struct pv_call_ops ops = {
    .chunk = take_chunk,
    .finish = take_finish,
    .cancel = cancel,
};

/* Puts the descriptor of the open file in the place of the first argument. */
static const char *put_descriptor(struct kernel_call *kernel)
{
	struct pv_open_file *file =
	    pv_open_file_find(&kernel->call.calls->files, kernel->syscall.handle);
	if (!file)
		return "the file is not open";
	if (kernel->syscall.args.count == 0)
		return "syscall: `args` must have a place for the descriptor";
	kernel->file = pv_open_file_ref(file);
	int64_t *args = kernel->memory; /* the lists of the request are ours, this is the first */
	args[0] = file->fd;
	return NULL;
}

/* Takes over what the request says; gives its content in `data`, and whether more follows. Returns
 * NULL, or why it cannot be. */
static const char *take(struct kernel_call *kernel, struct pv_request *request,
    struct pv_request_numbers *lens, struct pv_span *data, bool *more)
{
	const char *why = NULL;
	switch (request->op) {
	case PV_REQUEST_SYSCALL:
		kernel->syscall = request->syscall;
		*lens = request->syscall.lens;
		*data = request->syscall.data;
		*more = request->syscall.more;
		if (!pv_syscall_check(&kernel->syscall, &why))
			return why;
		return kernel->syscall.handle == 0 ? NULL : put_descriptor(kernel);
	case PV_REQUEST_SYSCALLS:
		kernel->syscalls = request->syscalls;
		return kernel->syscalls.count % PV_PROTOCOL_SYSCALL_WORDS == 0
			   ? NULL
			   : "syscalls: `words` must be rows of a number and six arguments";
	default:
		kernel->memory_at = request->memory_at;
		*lens = (struct pv_request_numbers){&kernel->memory_at.len, 1};
		if (request->op == PV_REQUEST_WRITE_MEM) {
			*data = request->memory_at.data;
			*more = request->memory_at.more;
		}
		return NULL;
	}
}

static void refuse(struct kernel_call *kernel, enum pv_reply_reason reason, const char *why)
{
	pv_call_refuse(&kernel->call, reason, why);
	destroy(kernel);
}

void pv_kernel_start(struct pv_calls *calls, struct pv_request *request)
{
	struct kernel_call *kernel = calloc(1, sizeof(*kernel));
	struct pv_call failed;
	static const struct pv_call_ops none;
	if (!kernel) {
		pv_call_begin(&failed, calls, request->id, &none);
		pv_call_refuse(&failed, PV_REPLY_INTERNAL, "out of memory (a system call)");
		return;
	}
	struct pv_request_numbers lens = {0};
	struct pv_span data = {0};
	bool more = false;
	pv_call_begin(&kernel->call, calls, request->id, &ops);
	kernel->op = request->op;
	kernel->memory = request->memory;
	request->memory = NULL;
	kernel->job.run = run;
	const char *why = take(kernel, request, &lens, &data, &more);
	if (why) {
		bool unknown = request->op == PV_REQUEST_SYSCALL && request->syscall.handle != 0 &&
			       !kernel->file;
		refuse(kernel, unknown ? PV_REPLY_UNKNOWN_HANDLE : PV_REPLY_BAD_REQUEST, why);
		return;
	}
	int status = pv_buffers_init(&kernel->buffers, &lens, &calls->spares);
	if (status < 0)
		refuse(kernel, status == -ENOMEM ? PV_REPLY_INTERNAL : PV_REPLY_BAD_REQUEST,
		    status == -ENOMEM ? "out of memory (buffers of a system call)"
				      : "a buffer's length is negative, or all are too long");
	else if (!pv_buffers_fill(&kernel->buffers, data) ||
		 (!more && request->op != PV_REQUEST_READ_MEM &&
		     kernel->buffers.filled != kernel->buffers.total))
		refuse(kernel, PV_REPLY_BAD_REQUEST, "the data is not as long as the buffers");
	else if (!more)
		start(kernel);
}
