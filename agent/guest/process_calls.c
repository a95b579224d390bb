/*
 * What the host may ask of programs in the background: to start one, how it is, signals, input, a
 * stream of its output. (Their end is agent/guest/process_end.c.)
 *
 * A start is answered when the program is executed, which its report pipe tells, and all of its
 * first input has come. In a worker starting and signalling wait for the identity thread; all else
 * is done at once.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "agent/guest/call.h"
#include "agent/guest/process.h"
#include "agent/guest/spool.h"
#include "base/err.h"
#include "base/fd.h"

/* Tell the host of credit in pieces of this size. */
#define CREDIT_STEP (PV_PROTOCOL_WINDOW / 4)

/* --- start --- */

struct start {
	struct pv_call call; /* first: the ops get it */
	struct pv_pool_job job;
	struct pv_process *process;
	struct pv_request_exec exec; /* `data` is not valid */
	void *memory;		     /* of its strings */
	struct pv_loop_watch report;
	uint64_t credit; /* bytes kept and not yet reported */
	bool input_ended;
	bool executed;
	bool cancelled;
};

static struct start *start_of(struct pv_call *call)
{
	return (struct start *)call;
}

static void release(struct start *start)
{
	pv_loop_watch_remove(&start->report);
	free(start->memory);
	free(start);
}

static void fail(struct start *start, int code, const char *message)
{
	pv_call_fail(&start->call, code, message);
	pv_process_destroy(start->process);
	release(start);
}

/* Answers when the program runs and has its first input. */
static void settle_start(struct start *start)
{
	struct pv_process *process = start->process;
	if (!start->executed || !start->input_ended)
		return;
	pv_process_list(process);
	const struct pv_reply_number numbers[] = {
	    {"handle", (int64_t)process->handle},
	    {"pid",    process->spawn.pid      },
	};
	pv_call_end_numbers(&start->call, numbers, 2);
	release(start);
}

static void report_ready(void *ctx, uint32_t events)
{
	struct start *start = ctx;
	char message[256];
	(void)events;
	int code = pv_spawn_failure(&start->process->spawn, message, sizeof(message));
	if (code != 0) {
		fail(start, code, message);
		return;
	}
	pv_loop_watch_remove(&start->report);
	pv_fd_close(&start->process->spawn.report);
	start->executed = true;
	settle_start(start);
}

/* On the thread whose identity the program is to have. */
static void run_start(struct pv_pool_job *job)
{
	struct start *start = (struct start *)((char *)job - offsetof(struct start, job));
	struct pv_err err = PV_ERR_INIT;
	struct pv_process *process = start->process;
	int status = start->cancelled ? -ECANCELED : pv_process_spawn(process, &start->exec);
	if (status == 0) {
		status = pv_loop_watch_add(start->call.calls->loop, &start->report,
		    process->spawn.report, EPOLLIN, report_ready, start, &err);
		if (status < 0)
			pv_process_signal_group(process, SIGKILL);
	}
	if (status < 0)
		fail(start, -status, NULL);
}

static void cancel_start(struct pv_call *call)
{
	struct start *start = start_of(call);
	start->cancelled = true;
	if (start->process->spawn.pid > 0)
		pv_process_signal_group(start->process, SIGKILL);
	else if (!pv_identity_take_back(&call->calls->identity, &start->job))
		return; /* the job is about to see it */
	fail(start, ECANCELED, NULL);
}

/* Keeps a piece of the first input. */
static void keep_input(struct pv_call *call, struct pv_span data)
{
	struct start *start = start_of(call);
	int status = pv_process_input_keep(&start->process->input, data);
	if (status < 0) {
		pv_connection_break(&call->calls->connection);
		return;
	}
	pv_process_input_feed(&start->process->input);
	start->credit += data.len;
	if (start->credit < CREDIT_STEP)
		return;
	pv_call_credit(call, start->credit);
	pv_call_flush(call);
	start->credit = 0;
}

static void finish_input(struct pv_call *call)
{
	start_of(call)->input_ended = true;
	settle_start(start_of(call));
}

static const struct pv_call_ops start_ops = {
    .chunk = keep_input,
    .finish = finish_input,
    .cancel = cancel_start,
};

static void begin_start(struct pv_calls *calls, struct pv_request *request)
{
	struct start *start = calloc(1, sizeof(*start));
	struct pv_process *process = start ? pv_process_create(calls) : NULL;
	if (!process || pv_process_input_keep(&process->input, request->exec.data) < 0) {
		pv_call_answer(calls, request->id, ENOMEM, "out of memory (a program)");
		pv_process_destroy(process);
		free(start);
		return;
	}
	start->process = process;
	start->exec = request->exec;
	start->memory = request->memory;
	request->memory = NULL;
	start->input_ended = !request->exec.more;
	start->job.run = run_start;
	pv_call_begin(&start->call, calls, request->id, &start_ops);
	pv_identity_do(&calls->identity, &start->job);
}

/* --- signal --- */

struct signalling {
	struct pv_call call;
	struct pv_pool_job job;
	uint64_t handle;
	int signal;
};

static void run_signal(struct pv_pool_job *job)
{
	struct signalling *signalling =
	    (struct signalling *)((char *)job - offsetof(struct signalling, job));
	/* It may have gone while the job waited. One that has ended takes any signal, as a zombie
	 * does. */
	const struct pv_process *process =
	    pv_process_find(signalling->call.calls, signalling->handle);
	int status = 0;
	if (process && !process->exited && kill(process->spawn.pid, signalling->signal) < 0)
		status = errno;
	if (status == 0)
		pv_call_end_numbers(&signalling->call, NULL, 0);
	else
		pv_call_fail(&signalling->call, status, NULL);
	free(signalling);
}

static void cancel_signal(struct pv_call *call)
{
	struct signalling *signalling = (struct signalling *)call;
	if (!pv_identity_take_back(&call->calls->identity, &signalling->job))
		return;
	pv_call_fail(call, ECANCELED, NULL);
	free(signalling);
}

static const struct pv_call_ops signal_ops = {.cancel = cancel_signal};

static void begin_signal(struct pv_process *process, const struct pv_request *request)
{
	struct signalling *signalling = calloc(1, sizeof(*signalling));
	if (!signalling) {
		pv_call_answer(process->calls, request->id, ENOMEM, "out of memory (a signal)");
		return;
	}
	signalling->handle = process->handle;
	signalling->signal = (int)request->process.signal;
	signalling->job.run = run_signal;
	pv_call_begin(&signalling->call, process->calls, request->id, &signal_ops);
	pv_identity_do(&process->calls->identity, &signalling->job);
}

/* --- input --- */

struct writing {
	struct pv_call call;
	struct pv_process_input *input;
	uint64_t size;
	uint64_t credit;
	bool ended; /* the host has sent all */
};

static void release_writing(struct writing *writing)
{
	writing->input->moved = NULL;
	writing->input->bytes.len = 0;
	free(writing);
}

static void input_moved(void *ctx, size_t taken)
{
	struct writing *writing = ctx;
	writing->size += taken;
	writing->credit += taken;
	if (writing->input->error != 0) {
		pv_call_fail(&writing->call, writing->input->error, NULL);
		release_writing(writing);
	} else if (writing->ended && writing->input->bytes.len == 0) {
		pv_call_end_size(&writing->call, writing->size);
		release_writing(writing);
	} else if (!writing->ended && writing->credit >= CREDIT_STEP) {
		pv_call_credit(&writing->call, writing->credit);
		pv_call_flush(&writing->call);
		writing->credit = 0;
	}
}

static void write_chunk(struct pv_call *call, struct pv_span data)
{
	struct writing *writing = (struct writing *)call;
	struct pv_process_input *input = writing->input;
	if (writing->ended || !pv_call_take_input(call, &input->bytes, data))
		return;
	pv_process_input_feed(input);
}

static void write_finish(struct pv_call *call)
{
	struct writing *writing = (struct writing *)call;
	writing->ended = true;
	input_moved(writing, 0);
}

static void write_cancel(struct pv_call *call)
{
	pv_call_fail(call, ECANCELED, NULL);
	release_writing((struct writing *)call);
}

static const struct pv_call_ops write_ops = {
    .chunk = write_chunk,
    .finish = write_finish,
    .cancel = write_cancel,
};

static void begin_write(struct pv_process *process, const struct pv_request *request)
{
	struct pv_process_input *input = &process->input;
	if (input->moved) {
		pv_call_answer(
		    process->calls, request->id, EBUSY, "its input is being written already");
		return;
	}
	if (*input->fd < 0 || input->closing) {
		pv_call_answer(process->calls, request->id,
		    input->error != 0 ? input->error : EPIPE,
		    input->error != 0 ? NULL : "its input is closed");
		return;
	}
	struct writing *writing = calloc(1, sizeof(*writing));
	if (!writing || pv_bytes_append(&input->bytes, request->process.data.data,
			    request->process.data.len) < 0) {
		pv_call_answer(
		    process->calls, request->id, ENOMEM, "out of memory (input of a program)");
		free(writing);
		return;
	}
	writing->input = input;
	writing->ended = !request->process.more;
	pv_call_begin(&writing->call, process->calls, request->id, &write_ops);
	input->moved = input_moved;
	input->ctx = writing;
	if (request->process.data.len == 0)
		input_moved(writing, 0);
	else
		pv_process_input_feed(input);
}

/* --- stream --- */

struct stream {
	struct pv_call call;
	struct pv_spool_reader reader;
};

static void end_stream(struct stream *stream)
{
	pv_spool_reader_end(&stream->reader);
	free(stream);
}

static void stream_moved(struct pv_spool_reader *reader)
{
	struct stream *stream = (struct stream *)reader->call;
	if (!pv_spool_reader_send(reader))
		return;
	if (reader->spool->error != 0)
		pv_call_fail(&stream->call, reader->spool->error,
		    "its output found no place in the guest's memory");
	else
		pv_call_end_size(&stream->call, reader->offset);
	end_stream(stream);
}

static void stream_room(struct pv_call *call)
{
	stream_moved(&((struct stream *)call)->reader);
}

static void stream_grant(struct pv_call *call, uint64_t bytes)
{
	struct pv_spool_reader *reader = &((struct stream *)call)->reader;
	if (reader->allowance > PV_SPOOL_NO_LIMIT - 1 - bytes)
		bytes = PV_SPOOL_NO_LIMIT - 1 - reader->allowance;
	reader->allowance += bytes;
	stream_moved(reader);
}

static void stream_cancel(struct pv_call *call)
{
	pv_call_fail(call, ECANCELED, NULL);
	end_stream((struct stream *)call);
}

static const struct pv_call_ops stream_ops = {
    .grant = stream_grant,
    .cancel = stream_cancel,
    .room = stream_room,
};

static void begin_stream(struct pv_process *process, const struct pv_request *request)
{
	bool from_err = request->process.from_err;
	struct stream *stream = calloc(1, sizeof(*stream));
	if (!stream) {
		pv_call_answer(process->calls, request->id, ENOMEM, "out of memory (a stream)");
		return;
	}
	pv_call_begin(&stream->call, process->calls, request->id, &stream_ops);
	stream->reader = (struct pv_spool_reader){
	    .call = &stream->call,
	    .channel = from_err ? PV_PROTOCOL_CHANNEL_STDERR : PV_PROTOCOL_CHANNEL_STDOUT,
	    .moved = stream_moved,
	};
	pv_spool_reader_begin(&stream->reader, process->outputs[from_err].spool);
	pv_call_data(&stream->call, PV_PROTOCOL_CHANNEL_NOTICE, NULL, 0); /* it follows from here */
	pv_call_flush(&stream->call);
	stream_moved(&stream->reader);
}

/* --- all --- */

static void tell_status(const struct pv_process *process, uint64_t id)
{
	static const struct pv_call_ops none;
	const struct pv_reply_number running = {"running", !process->exited};
	struct pv_call call;
	pv_call_begin(&call, process->calls, id, &none);
	pv_call_end_numbers(&call, &running, 1);
}

void pv_process_start(struct pv_calls *calls, struct pv_request *request)
{
	if (request->op == PV_REQUEST_PROCESS_START) {
		begin_start(calls, request);
		return;
	}
	struct pv_process *process = pv_process_find(calls, (uint64_t)request->process.handle);
	if (!process) {
		pv_call_answer(calls, request->id, ESRCH, "there is no such process any more");
		return;
	}
	bool ends =
	    request->op == PV_REQUEST_PROCESS_WAIT || request->op == PV_REQUEST_PROCESS_CLOSE;
	if (ends && process->input.moved) {
		pv_call_answer(calls, request->id, EBUSY, "its input is being written");
		return;
	}
	if (process->end && request->op != PV_REQUEST_PROCESS_STATUS &&
	    request->op != PV_REQUEST_PROCESS_SIGNAL) {
		pv_call_answer(calls, request->id, EBUSY, "its end is being waited for");
		return;
	}
	switch (request->op) {
	case PV_REQUEST_PROCESS_STATUS: tell_status(process, request->id); return;
	case PV_REQUEST_PROCESS_SIGNAL: begin_signal(process, request); return;
	case PV_REQUEST_PROCESS_WRITE: begin_write(process, request); return;
	case PV_REQUEST_PROCESS_STREAM: begin_stream(process, request); return;
	case PV_REQUEST_PROCESS_CLOSE_INPUT:
		pv_process_input_close(&process->input);
		pv_call_answer(calls, request->id, 0, NULL);
		return;
	default: pv_process_end_start(process, request); return;
	}
}
