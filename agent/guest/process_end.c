/*
 * `process_wait` and `process_close`: the two ways in which a handle ends.
 *
 * Waiting sends all output from its first byte, also while the program runs, and closes its input,
 * because nobody can write any more. It ends when the direct child has ended and all has been sent;
 * what the pipes hold at that moment still counts, what others of its group write later does not.
 * A time limit kills the group; a child that hangs in the kernel is answered for without its end.
 *
 * Closing asks the group to end, and kills it after a while or when its leader has ended.
 *
 * On the loop thread only: neither may wait for the identity thread of a worker.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "agent/guest/call.h"
#include "agent/guest/process.h"
#include "agent/guest/spool.h"
#include "base/clock.h"

/* How long a program may take after SIGTERM. */
#define TERM_GRACE (2 * PV_CLOCK_SECOND)
/* A killed child that has not ended after this long hangs in the kernel; and somebody holds up the
 * output of one that has ended. */
#define KILL_GRACE (2 * PV_CLOCK_SECOND)

struct pv_process_end {
	struct pv_call call; /* first: the ops get it */
	struct pv_process *process;
	bool waits; /* else it closes */
	bool timed_out;
	bool hangs;
	bool sent[2]; /* all of the output */
	struct pv_spool_reader readers[2];
};

static struct pv_process_end *end_of(struct pv_call *call)
{
	return (struct pv_process_end *)call;
}

/* Frees what has been answered; the process stays. */
static void release(struct pv_process_end *end)
{
	for (unsigned i = 0; i < 2; i++)
		pv_spool_reader_end(&end->readers[i]);
	pv_loop_timer_clear(&end->process->timer);
	end->process->end = NULL;
	free(end);
}

/* Both are over. */
static void finish(struct pv_process_end *end)
{
	struct pv_process *process = end->process;
	release(end);
	pv_process_destroy(process);
}

static void send_output(struct pv_process_end *end)
{
	for (unsigned i = 0; i < 2; i++)
		end->sent[i] = pv_spool_reader_send(&end->readers[i]);
}

/* Nothing is ended here: whoever made the output move does that, when it is done with it. */
static void output_moved(struct pv_spool_reader *reader)
{
	struct pv_process_end *end = end_of(reader->call);
	end->sent[reader - end->readers] = pv_spool_reader_send(reader);
}

static void answer_wait(struct pv_process_end *end)
{
	struct pv_process *process = end->process;
	int error = process->outputs[0].spool->error;
	if (error == 0)
		error = process->outputs[1].spool->error;
	if (error != 0)
		pv_call_fail(&end->call, error, "its output found no place in the guest's memory");
	else if (end->timed_out)
		pv_call_end_exit(&end->call, PV_REPLY_TIMED_OUT, SIGKILL);
	else if (WIFSIGNALED(process->status))
		pv_call_end_exit(&end->call, PV_REPLY_SIGNALLED, WTERMSIG(process->status));
	else
		pv_call_end_exit(&end->call, PV_REPLY_EXITED, WEXITSTATUS(process->status));
	finish(end);
}

static void give_up(void *ctx);
static void set_timer(struct pv_process_end *end, int64_t ns, void (*fire)(void *ctx));

/* Answers when all has come together. */
static void settle_wait(struct pv_process_end *end)
{
	if (end->hangs)
		pv_process_cut_output(end->process);
	else if (!pv_process_end_output(end->process)) {
		set_timer(end, KILL_GRACE, give_up);
		return;
	}
	send_output(end);
	if (end->sent[0] && end->sent[1])
		answer_wait(end);
}

void pv_process_end_settle(struct pv_process_end *end)
{
	if (end->waits) {
		settle_wait(end);
		return;
	}
	/* Its group has been asked, and the leader is gone. */
	pv_process_signal_group(end->process, SIGKILL);
	pv_call_end_numbers(&end->call, NULL, 0);
	finish(end);
}

static void give_up(void *ctx)
{
	struct pv_process_end *end = ctx;
	end->hangs = true;
	pv_process_end_settle(end);
}

static void set_timer(struct pv_process_end *end, int64_t ns, void (*fire)(void *ctx))
{
	struct pv_process *process = end->process;
	int64_t deadline = pv_clock_deadline(ns);
	if (pv_loop_timer_set(process->calls->loop, &process->timer, deadline, fire, end) < 0)
		pv_process_signal_group(process, SIGKILL); /* no memory for patience */
}

static void kill_it(struct pv_process_end *end)
{
	pv_process_signal_group(end->process, SIGKILL);
	set_timer(end, KILL_GRACE, give_up);
}

static void time_out(void *ctx)
{
	struct pv_process_end *end = ctx;
	if (end->process->exited)
		return; /* what it wrote is still on its way */
	end->timed_out = end->waits;
	kill_it(end);
}

static void room(struct pv_call *call)
{
	struct pv_process_end *end = end_of(call);
	if (!end->waits)
		return;
	if (end->process->exited || end->hangs)
		settle_wait(end);
	else
		send_output(end);
}

static void cancel(struct pv_call *call)
{
	struct pv_process_end *end = end_of(call);
	pv_call_fail(call, ECANCELED, NULL);
	if (end->waits) {
		release(end);
		return;
	}
	pv_process_signal_group(end->process, SIGKILL);
	finish(end);
}

static const struct pv_call_ops ops = {.cancel = cancel, .room = room};

void pv_process_end_start(struct pv_process *process, const struct pv_request *request)
{
	struct pv_process_end *end = calloc(1, sizeof(*end));
	if (!end) {
		struct pv_call call;
		pv_call_begin(&call, process->calls, request->id, &ops);
		pv_call_refuse(&call, PV_REPLY_INTERNAL, "out of memory (the end of a program)");
		return;
	}
	pv_call_begin(&end->call, process->calls, request->id, &ops);
	end->process = process;
	end->waits = request->op == PV_REQUEST_PROCESS_WAIT;
	process->end = end;
	for (unsigned i = 0; i < 2 && end->waits; i++) {
		end->readers[i] = (struct pv_spool_reader){
		    .call = &end->call,
		    .channel = PV_PROTOCOL_CHANNEL_STDOUT + i,
		    .allowance = PV_SPOOL_NO_LIMIT,
		    .moved = output_moved,
		};
		pv_spool_reader_begin(&end->readers[i], process->outputs[i].spool);
	}
	if (end->waits)
		pv_process_input_close(&process->input);
	if (process->exited) {
		pv_process_end_settle(end);
	} else if (!end->waits) {
		pv_process_signal_group(process, SIGTERM);
		set_timer(end, TERM_GRACE, time_out);
	} else {
		send_output(end);
		if (request->process.timeout_ns != PV_CLOCK_NEVER)
			set_timer(end, request->process.timeout_ns, time_out);
	}
}
