/*
 * The process of a worker or builder. Theory: frames go out on a socket, in order, written before
 * the call returns; so when the process dies in the middle the dispatcher knows how far it came.
 * The time limit is a timer of the loop that interrupts the host: every wait fails, the script is
 * unwound, and the report is still complete. When even that does not help the dispatcher kills the
 * process.
 */
#include "runner/worker_process.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/units.h"
#include "lab/vm.h"
#include "runner/event.h"
#include "runner/isolate.h"
#include "runner/options.h"
#include "runner/signals.h"

/* Descriptors of a file with many guests; the table grows once, before there are threads. */
#define DESCRIPTORS 4096

/* --- frames --- */

void pv_worker_process_send(struct pv_worker_process *process, struct pv_event_writer *writer)
{
	/* A dispatcher that is gone means that nobody listens, and PDEATHSIG is on its way. */
	if (pv_event_end(writer) == 0)
		(void)pv_fd_write_all(process->fd, process->out.data, process->out.len);
	process->out.len = 0;
}

void pv_worker_process_send_text(
    struct pv_worker_process *process, const char *kind, const char *name, const char *text)
{
	struct pv_event_writer writer;
	pv_event_begin(&writer, &process->out, kind, name ? 2 : 1);
	if (name)
		pv_event_str(&writer, "name", name);
	pv_event_str(&writer, "text", text);
	pv_worker_process_send(process, &writer);
}

/* --- what the lab tells --- */

static void on_vm_spawned(void *ctx, const struct pv_vm *vm)
{
	struct pv_worker_process *process = ctx;
	struct pv_event_writer writer;
	pv_event_begin(&writer, &process->out, "vm_spawned", 5);
	pv_event_str(&writer, "file", process->file);
	pv_event_str(&writer, "vm_name", pv_vm_name(vm));
	pv_event_str(&writer, "profile", pv_vm_profile(vm));
	pv_event_uint(&writer, "memory_bytes", pv_vm_memory(vm));
	pv_event_uint(&writer, "cid", pv_vm_cid(vm));
	pv_worker_process_send(process, &writer);
}

static void on_vm_shutdown(void *ctx, const struct pv_vm *vm, int64_t uptime_ns)
{
	struct pv_worker_process *process = ctx;
	struct pv_event_writer writer;
	pv_event_begin(&writer, &process->out, "vm_shutdown", 3);
	pv_event_str(&writer, "file", process->file);
	pv_event_str(&writer, "vm_name", pv_vm_name(vm));
	pv_event_uint(&writer, "duration_ns", (uint64_t)uptime_ns);
	pv_worker_process_send(process, &writer);
}

static void on_note(void *ctx, const char *text)
{
	pv_worker_process_send_text(ctx, "worker_note", NULL, text);
}

static const struct pv_host_events host_events = {
    .vm_spawned = on_vm_spawned,
    .vm_shutdown = on_vm_shutdown,
    .note = on_note,
};

/* --- the time limit --- */

static void on_limit(void *ctx)
{
	struct pv_worker_process *process = ctx;
	atomic_store(&process->time_is_up, true);
	pv_host_interrupt_locked(&process->host, process->limit_text);
}

void pv_worker_process_arm(struct pv_worker_process *process, const char *what)
{
	const int64_t limit = process->options->timeout_ns;
	char span[32];
	if (limit == 0)
		return;
	snprintf(process->limit_text, sizeof(process->limit_text), "%s timeout exceeded (%s)", what,
	    pv_units_show_duration(limit, span, sizeof(span)));
	pv_loop_lock(process->host.loop);
	pv_loop_timer_set(
	    process->host.loop, &process->limit, pv_clock_deadline(limit), on_limit, process);
	pv_loop_unlock(process->host.loop);
}

void pv_worker_process_disarm(struct pv_worker_process *process)
{
	pv_loop_lock(process->host.loop);
	pv_loop_timer_clear(&process->limit);
	pv_loop_unlock(process->host.loop);
}

/* --- life --- */

int pv_worker_process_init(struct pv_worker_process *process, const char *file,
    const struct pv_config *config, const struct pv_runner_options *options, int fd, pid_t parent,
    struct pv_err *err)
{
	struct pv_err note = PV_ERR_INIT;
	*process = (struct pv_worker_process){.file = file, .options = options, .fd = fd};
	pv_signals_survive(SIGPIPE);
	/* A file that may not grow is an error of the write. */
	pv_signals_survive(SIGXFSZ);
	/* Ctrl-C is the dispatcher's business: it ends the workers. */
	pv_signals_survive(SIGINT);
	if (pv_isolate_worker(parent, &note) && options->verbose)
		on_note(process, note.text);
	pv_fd_presize_table(DESCRIPTORS);
	if (options->json) {
		/* What a script prints must not come between the JSON lines. */
		fflush(stdout);
		dup2(STDERR_FILENO, STDOUT_FILENO);
	}
	return pv_host_init(&process->host, config, &host_events, process, err);
}

void pv_worker_process_finish(struct pv_worker_process *process)
{
	pv_host_finish(&process->host);
	pv_bytes_finish(&process->out);
	fflush(stdout);
}
