/*
 * A program in the background: a child in a group of its own, two pipes that are emptied into
 * spools as it writes, one pipe to its input, and a handle by which the host names it.
 *
 * It stays in the list when its child has ended, with its status and all that it wrote, until the
 * host waits for it or closes it. Its pipes stay open until then too, because others that it left
 * behind may still write. What ends it is in agent/guest/process_end.c, the rest that the host may
 * ask in agent/guest/process_calls.c. Under the loop lock, on the loop thread or, for spawning in a
 * worker, on the identity thread.
 */
#include "agent/guest/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "agent/guest/call.h"
#include "agent/guest/outlet.h"
#include "agent/guest/spool.h"

struct pv_process *pv_process_create(struct pv_calls *calls)
{
	struct pv_process *process = calloc(1, sizeof(*process));
	if (!process)
		return NULL;
	process->calls = calls;
	process->spawn =
	    (struct pv_spawn){.pid = -1, .input = -1, .out = -1, .err = -1, .report = -1};
	int status = pv_process_input_init(&process->input, calls->loop, &process->spawn.input);
	for (unsigned i = 0; i < 2; i++) {
		struct pv_process_output *output = &process->outputs[i];
		output->process = process;
		output->spool = pv_spool_create();
		if (!output->spool)
			status = -ENOMEM;
	}
	if (status == 0)
		return process;
	pv_process_destroy(process);
	return NULL;
}

static void unlist(struct pv_process *process)
{
	struct pv_process **at = &process->calls->processes.first;
	while (*at && *at != process)
		at = &(*at)->next;
	if (*at)
		*at = process->next;
}

void pv_process_destroy(struct pv_process *process)
{
	if (!process)
		return;
	unlist(process);
	pv_reaper_remove(&process->calls->reaper, &process->child);
	pv_loop_timer_clear(&process->timer);
	for (unsigned i = 0; i < 2; i++) {
		pv_outlet_close(process->outputs[i].outlet);
		if (process->outputs[i].spool)
			pv_spool_end(process->outputs[i].spool, 0);
		pv_spool_unref(process->outputs[i].spool);
	}
	pv_process_input_finish(&process->input);
	pv_spawn_finish(&process->spawn);
	free(process);
}

/* --- output --- */

/* Without a place for the output the program sees a broken pipe, the reader the reason. */
static int keep_output(void *ctx, const void *data, size_t len)
{
	struct pv_process_output *output = ctx;
	int status = pv_spool_append(output->spool, data, len);
	if (status < 0)
		pv_spool_end(output->spool, -status);
	return status;
}

static void cut_output(struct pv_process_output *output)
{
	struct pv_outlet *outlet = output->outlet;
	output->outlet = NULL;
	pv_outlet_close(outlet);
	pv_spool_end(output->spool, 0);
}

static void output_ended(void *ctx)
{
	struct pv_process_output *output = ctx;
	struct pv_process *process = output->process;
	cut_output(output);
	if (process->end && process->exited)
		pv_process_end_settle(process->end);
}

static const struct pv_outlet_ops output_ops = {.take = keep_output, .ended = output_ended};

static int follow_output(struct pv_process_output *output, int *fd)
{
	output->outlet = pv_outlet_open(output->process->calls, *fd, &output_ops, output);
	*fd = -1;
	return output->outlet ? 0 : -ENOMEM;
}

bool pv_process_end_output(struct pv_process *process)
{
	bool ended = true;
	for (unsigned i = 0; i < 2; i++) {
		struct pv_process_output *output = &process->outputs[i];
		if (output->outlet && !pv_outlet_drain(output->outlet))
			ended = false;
		else
			cut_output(output);
	}
	return ended;
}

void pv_process_cut_output(struct pv_process *process)
{
	for (unsigned i = 0; i < 2; i++)
		cut_output(&process->outputs[i]);
}

/* --- life --- */

static void exited(struct pv_reaper_child *child, int status)
{
	struct pv_process *process =
	    (struct pv_process *)((char *)child - offsetof(struct pv_process, child));
	struct pv_calls *calls = process->calls;
	struct pv_processes *all = &calls->processes;
	int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	process->exited = true;
	process->status = status;
	process->left_group = kill(-process->spawn.pid, 0) == 0 || errno == EPERM;
	if (process->handle != 0 && code > all->worst)
		all->worst = code;
	if (process->end)
		pv_process_end_settle(process->end);
	if (all->exited)
		all->exited(calls);
}

int pv_process_spawn(struct pv_process *process, const struct pv_request_exec *exec)
{
	struct pv_calls *calls = process->calls;
	int status = pv_spawn_start(&process->spawn, exec, true);
	if (status < 0)
		return status;
	process->child.pid = process->spawn.pid;
	process->child.exited = exited;
	pv_reaper_add(&calls->reaper, &process->child);
	status = follow_output(&process->outputs[0], &process->spawn.out);
	if (status == 0)
		status = follow_output(&process->outputs[1], &process->spawn.err);
	if (status < 0) {
		kill(process->spawn.pid, SIGKILL);
		return status;
	}
	pv_process_input_feed(&process->input);
	return 0;
}

void pv_process_list(struct pv_process *process)
{
	struct pv_processes *all = &process->calls->processes;
	process->handle = ++all->last;
	process->next = all->first;
	all->first = process;
}

struct pv_process *pv_process_find(struct pv_calls *calls, uint64_t handle)
{
	struct pv_process *process = calls->processes.first;
	while (process && process->handle != handle)
		process = process->next;
	return process;
}

void pv_process_signal_group(const struct pv_process *process, int signal)
{
	/* The number of a group that has nobody left may be somebody else's. */
	if (!process->exited || process->left_group)
		kill(-process->spawn.pid, signal);
	/* The child itself too: it may not have made its group yet, or have left it. */
	if (!process->exited)
		kill(process->spawn.pid, signal);
}

/* --- all --- */

void pv_processes_drop(struct pv_calls *calls)
{
	struct pv_process *process;
	while ((process = calls->processes.first)) {
		pv_process_signal_group(process, SIGKILL);
		pv_process_destroy(process);
	}
}

void pv_processes_signal(struct pv_calls *calls, int signal, bool group)
{
	bool ends = signal == SIGTERM || signal == SIGKILL || signal == SIGINT ||
		    signal == SIGHUP || signal == SIGQUIT;
	for (struct pv_process *process = calls->processes.first; process;
	     process = process->next) {
		if (group)
			pv_process_signal_group(process, signal);
		else if (!process->exited)
			kill(process->spawn.pid, signal);
		process->is_told |= ends && !process->exited;
	}
}

unsigned pv_processes_running(const struct pv_calls *calls, bool any)
{
	unsigned count = 0;
	const struct pv_process *process = calls->processes.first;
	for (; process; process = process->next)
		count += !process->exited && (any || process->is_told);
	return count;
}
