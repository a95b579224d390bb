/*
 * What a hostile agent can send: bytes into the client, with calls of every kind outstanding. The
 * first byte of the input chooses whether the handshake has been done, in which pieces the rest
 * comes, and whether there is a session: then the connection is cut and the last bytes of the input
 * say what the agent has of it. No thread runs: calls are begun, fed, and ended by the loss of the
 * link.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/call.h"
#include "agent/host/client.h"
#include "agent/host/syscall.h"
#include "base/clock.h"
#include "base/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t link_send(void *ctx, const void *data, size_t len)
{
	return len;
}

static void link_digested(void *ctx, size_t len)
{
}

static void link_close(void *ctx)
{
}

static const struct pv_agent_link_ops link_ops = {
    .send = link_send,
    .digested = link_digested,
    .close = link_close,
};

/* Results have one of these shapes; what they hold does not matter here. */
static bool take_exit(void *ctx, const struct pv_reply *reply)
{
	enum pv_reply_exit exit;
	int code;
	return pv_reply_get_exit(reply, &exit, &code);
}

static bool take_size(void *ctx, const struct pv_reply *reply)
{
	uint64_t size;
	return pv_reply_get_size(reply, &size);
}

static bool take_stat(void *ctx, const struct pv_reply *reply)
{
	struct pv_reply_stat stat;
	return pv_reply_get_stat(reply, &stat);
}

static bool take_numbers(void *ctx, const struct pv_reply *reply)
{
	int64_t number;
	return pv_reply_get_number(reply, "worker", &number) && number >= 1 &&
	       pv_reply_get_number(reply, "pid", &number);
}

/* Begins `op`, with some bulk data sent for which credit may come. */
static struct pv_agent_call *begin(
    struct pv_agent *agent, enum pv_request_op op, struct pv_bytes *sink)
{
	static const char *const argv[] = {"true"};
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_call *call = pv_agent_call_create(op);
	if (!call)
		return NULL;
	struct pv_request request = {.op = op};
	if (op == PV_REQUEST_EXEC) {
		request.exec = (struct pv_request_exec){
		    .argv = {argv, 1}
		     };
		call->sinks[PV_PROTOCOL_CHANNEL_STDOUT] = sink;
		call->sinks[PV_PROTOCOL_CHANNEL_STDERR] = sink;
		call->result = take_exit;
	} else if (op == PV_REQUEST_WORKER_START) {
		call->result = take_numbers;
	} else {
		request.file = (struct pv_request_file){.path = "/x"};
		call->sinks[PV_PROTOCOL_CHANNEL_FILE] = op == PV_REQUEST_READ_FILE ? sink : NULL;
		call->result = op == PV_REQUEST_STAT ? take_stat : take_size;
	}
	return pv_agent_call_begin(PV_PRINCIPAL(agent), call, &request, 1000, &err) < 0 ? NULL
											: call;
}

static void feed(struct pv_agent *agent, const uint8_t *data, size_t size, size_t piece)
{
	while (size > 0) {
		size_t len = size < piece ? size : piece;
		/* A copy of exact size, so that the sanitizer sees a read behind it. */
		uint8_t *copy = malloc(len);
		if (!copy)
			return;
		memcpy(copy, data, len);
		pv_agent_receive(agent, copy, len);
		free(copy);
		data += len;
		size -= len;
	}
}

/* A system call with a buffer of eight bytes. Without the lock. */
static struct pv_agent_syscall_pending *begin_syscall(struct pv_agent *agent)
{
	static const int64_t len = 8;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_pending *pending = NULL;
	const struct pv_agent_syscall call = {
	    .lens = &len, .buf_count = 1, .data = "12345678", .len = 8};
	pv_agent_syscall_begin(PV_PRINCIPAL(agent), &call, &pending, &err);
	return pending;
}

/* What came back is never longer than what was sent. */
static void end_syscall(struct pv_agent_syscall_pending *pending)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	if (!pending)
		return;
	if (pv_agent_syscall_end(pending, &result, &err) == 0 && result.out.len != 8)
		abort();
	pv_bytes_finish(&result.out);
}

/* The agent comes back, and says so much of what it has. */
static void come_back(struct pv_agent *agent, uint64_t session, uint64_t received)
{
	struct pv_bytes hello = {0};
	const uint64_t sent = pv_agent_mark(agent).sent;
	pv_agent_interrupt(agent, "cut");
	if (!pv_agent_attach(agent, &link_ops, NULL))
		abort();
	pv_reply_put_hello(
	    &hello, pv_agent_mark(agent).next_id - 1, "6.1", session, received, NULL, 0);
	pv_agent_receive(agent, hello.data, hello.len);
	if (pv_agent_is_ready(agent) && received > sent)
		abort();
	pv_bytes_finish(&hello);
}

static void run(struct pv_agent *agent, const uint8_t *data, size_t size)
{
	static const enum pv_request_op ops[] = {PV_REQUEST_EXEC, PV_REQUEST_READ_FILE,
	    PV_REQUEST_WRITE_FILE, PV_REQUEST_STAT, PV_REQUEST_WORKER_START};
	struct pv_agent_call *calls[5] = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_pending *pending = NULL;
	struct pv_bytes sink = {0}, hello = {0};
	uint64_t session = 0, received = 0;
	pv_agent_attach(agent, &link_ops, NULL);
	if (!(data[0] & 1)) {
		if (data[0] & 128)
			session = agent->fresh;
		pv_reply_put_hello(&hello, 1, "6.1", session, 0, NULL, 0);
		pv_agent_receive(agent, hello.data, hello.len);
		for (unsigned i = 0; i < 5; i++)
			calls[i] = begin(agent, ops[i], &sink);
		pv_loop_unlock(agent->loop);
		pending = begin_syscall(agent);
		pv_loop_lock(agent->loop);
	}
	if (data[0] & 2)
		pv_agent_cancel(agent, "cancelled");
	feed(agent, data + 1, size - 1, data[0] & 4 ? (size_t)1 + (data[0] >> 3) : size);
	memcpy(&received, data + size - (size < 8 ? size : 8), size < 8 ? size : 8);
	if (session != 0)
		come_back(agent, session, received);
	pv_agent_drop(agent, "the end", true);
	for (unsigned i = 0; i < 5; i++) {
		if (calls[i])
			pv_agent_call_end(calls[i], agent->loop, &err);
	}
	pv_loop_unlock(agent->loop);
	end_syscall(pending);
	pv_loop_lock(agent->loop);
	if (pv_agent_in_flight(agent) != 0 || pv_agent_is_ready(agent))
		abort();
	pv_bytes_finish(&sink);
	pv_bytes_finish(&hello);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pv_loop *loop;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent *agent;
	if (size == 0 || (!loop && pv_loop_create(&loop, &err) < 0) ||
	    pv_agent_create(&agent, loop, &err) < 0)
		return 0;
	pv_loop_lock(loop);
	run(agent, data, size);
	pv_loop_unlock(loop);
	pv_agent_destroy(agent);
	return 0;
}
