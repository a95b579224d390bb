/*
 * `exec`: a program runs to its end, its output goes to the host as it comes.
 *
 * Each run is one struct exec: a child, up to three pipes, a timer. It ends when the direct child
 * has ended: what its pipes hold at that moment is still sent, then they are closed, so that a
 * daemon which it left behind with our pipes in its hands holds up nobody (for long: it may hold up
 * the reading, agent/guest/outlet.c). A timeout kills the process group; the answer then comes with
 * the child's end, or a little later without it when the kernel cannot end it.
 *
 * Flow: output is read only while the queue to the host has room. Input waits in `input` until the
 * program takes it, and each byte taken or thrown away (a program may close its input) is credit
 * for the host, so at most PV_PROTOCOL_WINDOW bytes wait. All under the loop lock; output is read
 * by threads of its own, and the identity thread of a worker starts the program.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/call.h"
#include "agent/guest/outlet.h"
#include "agent/guest/spawn.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"

/* A killed child that has not ended after this long hangs in the kernel. */
#define KILL_GRACE (2 * PV_CLOCK_SECOND)
/* Its output is there then, unless somebody holds it up. */
#define DRAIN_GRACE (2 * PV_CLOCK_SECOND)
/* Tell the host of credit in pieces of this size. */
#define CREDIT_STEP (PV_PROTOCOL_WINDOW / 4)

struct output {
	struct exec *exec;
	enum pv_protocol_channel channel;
	struct pv_outlet *outlet;
	bool ended;
};

struct exec {
	struct pv_call call;	       /* first: the ops get it */
	struct pv_pool_job job;	       /* the start */
	struct pv_request_exec wanted; /* `data` is not valid */
	void *memory;		       /* of its strings */
	bool piped;
	struct pv_reaper_child child;
	struct pv_spawn spawn; /* pid -1: it has not started yet */
	struct output outputs[2];
	struct pv_loop_watch input_watch;
	struct pv_bytes input;
	uint64_t credit;   /* bytes taken and not yet reported */
	bool input_ended;  /* the host has sent all */
	bool input_closed; /* nobody reads any more */
	bool timed_out;
	bool cancelled;
	bool over;  /* the program has ended, or never will */
	int status; /* waitpid's */
	struct pv_loop_timer timer;
};

static struct exec *exec_of(struct pv_call *call)
{
	return (struct exec *)call;
}

static struct exec *exec_of_child(struct pv_reaper_child *child)
{
	return (struct exec *)((char *)child - offsetof(struct exec, child));
}

/* Releases everything; the call has been answered. */
static void destroy(struct exec *exec)
{
	for (unsigned i = 0; i < 2; i++)
		pv_outlet_close(exec->outputs[i].outlet);
	pv_loop_watch_remove(&exec->input_watch);
	pv_loop_timer_clear(&exec->timer);
	pv_reaper_remove(&exec->call.calls->reaper, &exec->child);
	pv_spawn_finish(&exec->spawn);
	pv_bytes_finish(&exec->input);
	free(exec->memory);
	free(exec);
}

static void kill_group(const struct exec *exec)
{
	/* The child itself too: it may not have made its group yet, or have left it. */
	kill(-exec->spawn.pid, SIGKILL);
	kill(exec->spawn.pid, SIGKILL);
}

/* --- input --- */

static void close_input(struct exec *exec)
{
	pv_loop_watch_remove(&exec->input_watch);
	pv_fd_close(&exec->spawn.input);
	exec->input_closed = true;
}

/* Counts bytes that the host may replace by others. */
static void digest(struct exec *exec, size_t len)
{
	exec->credit += len;
	if (exec->input_ended || exec->credit < CREDIT_STEP)
		return;
	pv_call_credit(&exec->call, exec->credit);
	pv_call_flush(&exec->call);
	exec->credit = 0;
}

static void feed_input(void *ctx, uint32_t events);

/* Gives the program what it takes now; waits for it to take more, or closes at the end. */
static void write_input(struct exec *exec)
{
	size_t done = 0;
	if (exec->spawn.pid < 0)
		return;
	while (!exec->input_closed && done < exec->input.len) {
		ssize_t put =
		    write(exec->spawn.input, exec->input.data + done, exec->input.len - done);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			break;
		if (put < 0)
			close_input(exec);
		else
			done += (size_t)put;
	}
	if (exec->input_closed)
		done = exec->input.len;
	pv_bytes_consume(&exec->input, done);
	if (done > 0)
		digest(exec, done);
	if (exec->input_closed)
		return;
	if (exec->input.len == 0 && exec->input_ended) {
		close_input(exec);
		return;
	}
	struct pv_err err = PV_ERR_INIT;
	if (exec->input.len == 0)
		pv_loop_watch_remove(&exec->input_watch);
	else if (!exec->input_watch.loop &&
		 pv_loop_watch_add(exec->call.calls->loop, &exec->input_watch, exec->spawn.input,
		     EPOLLOUT, feed_input, exec, &err) < 0)
		close_input(exec);
}

static void feed_input(void *ctx, uint32_t events)
{
	write_input(ctx);
}

static void take_chunk(struct pv_call *call, struct pv_span data)
{
	struct exec *exec = exec_of(call);
	if (exec->input_ended || !pv_call_take_input(call, &exec->input, data))
		return;
	write_input(exec);
}

static void take_finish(struct pv_call *call)
{
	struct exec *exec = exec_of(call);
	exec->input_ended = true;
	write_input(exec);
}

/* --- the end --- */

static void answer(struct exec *exec)
{
	if (exec->timed_out)
		pv_call_end_exit(&exec->call, PV_REPLY_TIMED_OUT, SIGKILL);
	else if (exec->cancelled)
		pv_call_fail(&exec->call, ECANCELED, NULL);
	else if (WIFSIGNALED(exec->status))
		pv_call_end_exit(&exec->call, PV_REPLY_SIGNALLED, WTERMSIG(exec->status));
	else
		pv_call_end_exit(&exec->call, PV_REPLY_EXITED, WEXITSTATUS(exec->status));
	destroy(exec);
}

static void drain_hangs(void *ctx)
{
	answer(ctx);
}

/* Answers when the output that is there has been sent. */
static void finish(struct exec *exec)
{
	exec->over = true;
	for (unsigned i = 0; i < 2; i++) {
		struct output *output = &exec->outputs[i];
		output->ended = output->ended || pv_outlet_drain(output->outlet);
	}
	bool ended = exec->outputs[0].ended && exec->outputs[1].ended;
	if (ended || pv_loop_timer_set(exec->call.calls->loop, &exec->timer,
			 pv_clock_deadline(DRAIN_GRACE), drain_hangs, exec) < 0)
		answer(exec);
}

static void exited(struct pv_reaper_child *child, int status)
{
	struct exec *exec = exec_of_child(child);
	char message[256];
	int code = pv_spawn_failure(&exec->spawn, message, sizeof(message));
	if (code != 0) {
		pv_call_fail(&exec->call, code, message);
		destroy(exec);
		return;
	}
	exec->status = status;
	finish(exec);
}

/* The killed child does not end: answer without it. It becomes an orphan of ours. */
static void kill_hangs(void *ctx)
{
	finish(ctx);
}

static void await_kill(struct exec *exec)
{
	kill_group(exec);
	pv_loop_timer_set(
	    exec->call.calls->loop, &exec->timer, pv_clock_deadline(KILL_GRACE), kill_hangs, exec);
}

static void timeout(void *ctx)
{
	struct exec *exec = ctx;
	exec->timed_out = true;
	await_kill(exec);
}

static void cancel(struct pv_call *call)
{
	struct exec *exec = exec_of(call);
	if (exec->cancelled || exec->timed_out)
		return;
	exec->cancelled = true;
	if (exec->over) {
		answer(exec);
	} else if (exec->spawn.pid > 0) {
		await_kill(exec);
	} else if (pv_identity_take_back(&call->calls->identity, &exec->job)) {
		pv_call_fail(call, ECANCELED, NULL);
		destroy(exec);
	}
}

/* --- output --- */

static bool has_room(void *ctx)
{
	struct output *output = ctx;
	return pv_call_has_room(&output->exec->call);
}

static int take_output(void *ctx, const void *data, size_t len)
{
	struct output *output = ctx;
	pv_call_data(&output->exec->call, output->channel, data, len);
	pv_call_flush(&output->exec->call);
	return 0;
}

static void output_ended(void *ctx)
{
	struct output *output = ctx;
	struct exec *exec = output->exec;
	output->ended = true;
	if (exec->over && exec->outputs[0].ended && exec->outputs[1].ended)
		answer(exec);
}

static const struct pv_outlet_ops output_ops = {
    .has_room = has_room,
    .take = take_output,
    .ended = output_ended,
};

static void go_on(struct pv_call *call)
{
	struct exec *exec = exec_of(call);
	for (unsigned i = 0; i < 2; i++) {
		if (exec->outputs[i].outlet)
			pv_outlet_go_on(exec->outputs[i].outlet);
	}
}

static int follow_output(struct exec *exec, unsigned i, int *fd)
{
	struct output *output = &exec->outputs[i];
	output->exec = exec;
	output->channel = PV_PROTOCOL_CHANNEL_STDOUT + i;
	output->outlet = pv_outlet_open(exec->call.calls, *fd, &output_ops, output);
	*fd = -1;
	return output->outlet ? 0 : -ENOMEM;
}

/* Puts the started program under watch. */
static void supervise(struct exec *exec)
{
	struct pv_calls *calls = exec->call.calls;
	exec->child.pid = exec->spawn.pid;
	exec->child.exited = exited;
	pv_reaper_add(&calls->reaper, &exec->child);
	int status = follow_output(exec, 0, &exec->spawn.out);
	if (status == 0)
		status = follow_output(exec, 1, &exec->spawn.err);
	if (status == 0 && exec->wanted.timeout_ns != PV_CLOCK_NEVER)
		status = pv_loop_timer_set(calls->loop, &exec->timer,
		    pv_clock_deadline(exec->wanted.timeout_ns), timeout, exec);
	if (exec->spawn.input >= 0)
		write_input(exec);
	else
		exec->input_closed = true;
	if (status < 0) {
		/* No memory to watch it: the host must not wait for what we cannot see. */
		kill_group(exec);
		pv_call_refuse(&exec->call, PV_REPLY_INTERNAL, "out of memory (a program)");
		destroy(exec);
	}
}

/* On the thread whose identity the program is to have. */
static void start(struct pv_pool_job *job)
{
	struct exec *exec = (struct exec *)((char *)job - offsetof(struct exec, job));
	int status =
	    exec->cancelled ? -ECANCELED : pv_spawn_start(&exec->spawn, &exec->wanted, exec->piped);
	if (status == 0) {
		supervise(exec);
		return;
	}
	pv_call_fail(&exec->call, -status, NULL);
	destroy(exec);
}

static const struct pv_call_ops ops = {
    .chunk = take_chunk,
    .finish = take_finish,
    .cancel = cancel,
    .room = go_on,
};

void pv_exec_start(struct pv_calls *calls, struct pv_request *request)
{
	const struct pv_request_exec *wanted = &request->exec;
	struct exec *exec = calloc(1, sizeof(*exec));
	int status = exec ? pv_bytes_append(&exec->input, wanted->data.data, wanted->data.len) : 0;
	if (!exec || status < 0) {
		struct pv_call call;
		static const struct pv_call_ops none;
		pv_call_begin(&call, calls, request->id, &none);
		pv_call_refuse(&call, PV_REPLY_INTERNAL, "out of memory (a program)");
		free(exec);
		return;
	}
	pv_call_begin(&exec->call, calls, request->id, &ops);
	exec->spawn = (struct pv_spawn){.pid = -1, .input = -1, .out = -1, .err = -1, .report = -1};
	exec->input_ended = !wanted->more;
	exec->piped = wanted->data.len > 0 || wanted->more;
	exec->wanted = *wanted;
	exec->memory = request->memory;
	request->memory = NULL;
	exec->job.run = start;
	pv_identity_do(&calls->identity, &exec->job);
}
