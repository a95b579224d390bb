/*
 * The worker process. Theory: what the test language reports becomes event frames on a socket, in
 * order, written before the call returns; so when the worker dies in the middle the dispatcher
 * knows how far it came. The file's time limit is a timer of the loop that interrupts the host:
 * every wait fails, the script is unwound, and the report is still complete. When even that does
 * not help the dispatcher kills the process.
 *
 * Kinds between worker and dispatcher only: worker_log {name, text}, worker_chunk_error {text},
 * worker_note {text}, worker_done {status, passed, failed, skipped, not_run}.
 */
#include "runner/worker.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/units.h"
#include "lab/host.h"
#include "lab/vm.h"
#include "lua/run.h"
#include "runner/discover.h"
#include "runner/event.h"
#include "runner/isolate.h"
#include "runner/options.h"

/* Descriptors of a file with many guests; the table grows once, before there are threads. */
#define DESCRIPTORS 4096

struct worker {
	const struct pv_test_file *file;
	const struct pv_runner_options *options;
	int fd;
	struct pv_bytes out;
	struct pv_host host;
	struct pv_loop_timer limit;
	atomic_bool time_is_up;
	char limit_text[64];
};

/* --- frames --- */

/* Sends the frame just written; a dispatcher that is gone means that nobody listens, and PDEATHSIG
 * is on its way. */
static void send_frame(struct worker *worker, struct pv_event_writer *writer)
{
	if (pv_event_end(writer) == 0)
		(void)pv_fd_write_all(worker->fd, worker->out.data, worker->out.len);
	worker->out.len = 0;
}

static void send_text(struct worker *worker, const char *kind, const char *name, const char *text)
{
	struct pv_event_writer writer;
	pv_event_begin(&writer, &worker->out, kind, name ? 2 : 1);
	if (name)
		pv_event_str(&writer, "name", name);
	pv_event_str(&writer, "text", text);
	send_frame(worker, &writer);
}

/* Begins a test's event with path, name and `extra` further fields, meta not counted. */
static void begin_test(struct worker *worker, struct pv_event_writer *writer, const char *kind,
    const struct pv_run_test *test, uint32_t extra)
{
	pv_event_begin(writer, &worker->out, kind, 3 + extra);
	pv_event_str(writer, "path", worker->file->relative);
	pv_event_str(writer, "name", test->name);
}

static void end_test(
    struct worker *worker, struct pv_event_writer *writer, const struct pv_run_test *test)
{
	pv_event_raw(writer, "meta", test->meta, test->meta_len);
	send_frame(worker, writer);
}

/* --- what the test language tells --- */

static void on_started(void *ctx, const struct pv_run_test *test)
{
	struct pv_event_writer writer;
	begin_test(ctx, &writer, "test_started", test, 0);
	end_test(ctx, &writer, test);
}

static void on_passed(void *ctx, const struct pv_run_test *test, int64_t duration_ns)
{
	struct pv_event_writer writer;
	begin_test(ctx, &writer, "test_passed", test, 1);
	pv_event_uint(&writer, "duration_ns", (uint64_t)duration_ns);
	end_test(ctx, &writer, test);
}

static void on_failed(void *ctx, const struct pv_run_test *test, int64_t duration_ns,
    const char *reason, const char *console)
{
	struct pv_event_writer writer;
	begin_test(ctx, &writer, "test_failed", test, 3);
	pv_event_uint(&writer, "duration_ns", (uint64_t)duration_ns);
	pv_event_str(&writer, "reason", reason);
	pv_event_str(&writer, "console_excerpt", console);
	end_test(ctx, &writer, test);
}

static void on_skipped(void *ctx, const struct pv_run_test *test, const char *reason)
{
	struct pv_event_writer writer;
	begin_test(ctx, &writer, "test_skipped", test, 1);
	pv_event_str(&writer, "reason", reason);
	end_test(ctx, &writer, test);
}

static void on_log(void *ctx, const struct pv_run_test *test, const char *text)
{
	send_text(ctx, "worker_log", test->name, text);
}

static void on_chunk_error(void *ctx, const char *text)
{
	send_text(ctx, "worker_chunk_error", NULL, text);
}

static void on_note(void *ctx, const char *text)
{
	send_text(ctx, "worker_note", NULL, text);
}

static const struct pv_run_events run_events = {
    .test_started = on_started,
    .test_log = on_log,
    .test_passed = on_passed,
    .test_failed = on_failed,
    .test_skipped = on_skipped,
    .chunk_error = on_chunk_error,
    .note = on_note,
};

/* --- what the lab tells --- */

static void on_vm_spawned(void *ctx, const struct pv_vm *vm)
{
	struct worker *worker = ctx;
	struct pv_event_writer writer;
	pv_event_begin(&writer, &worker->out, "vm_spawned", 5);
	pv_event_str(&writer, "file", worker->file->relative);
	pv_event_str(&writer, "vm_name", pv_vm_name(vm));
	pv_event_str(&writer, "profile", pv_vm_profile(vm));
	pv_event_uint(&writer, "memory_bytes", pv_vm_memory(vm));
	pv_event_uint(&writer, "cid", pv_vm_cid(vm));
	send_frame(worker, &writer);
}

static void on_vm_shutdown(void *ctx, const struct pv_vm *vm, int64_t uptime_ns)
{
	struct worker *worker = ctx;
	struct pv_event_writer writer;
	pv_event_begin(&writer, &worker->out, "vm_shutdown", 3);
	pv_event_str(&writer, "file", worker->file->relative);
	pv_event_str(&writer, "vm_name", pv_vm_name(vm));
	pv_event_uint(&writer, "duration_ns", (uint64_t)uptime_ns);
	send_frame(worker, &writer);
}

static const struct pv_host_events host_events = {
    .vm_spawned = on_vm_spawned,
    .vm_shutdown = on_vm_shutdown,
    .note = on_note,
};

/* --- the file --- */

static void on_limit(void *ctx)
{
	struct worker *worker = ctx;
	atomic_store(&worker->time_is_up, true);
	pv_host_interrupt_locked(&worker->host, worker->limit_text);
}

static void arm_limit(struct worker *worker)
{
	int64_t limit = worker->options->timeout_ns;
	if (limit == 0)
		return;
	char span[32];
	snprintf(worker->limit_text, sizeof(worker->limit_text), "file timeout exceeded (%s)",
	    pv_units_show_duration(limit, span, sizeof(span)));
	pv_loop_lock(worker->host.loop);
	pv_loop_timer_set(
	    worker->host.loop, &worker->limit, pv_clock_deadline(limit), on_limit, worker);
	pv_loop_unlock(worker->host.loop);
}

static void send_done(struct worker *worker, const struct pv_run_result *result)
{
	struct pv_event_writer writer;
	pv_event_begin(&writer, &worker->out, "worker_done", 5);
	pv_event_str(&writer, "status",
	    atomic_load(&worker->time_is_up) ? "timed_out" : pv_run_status_name(result->status));
	pv_event_uint(&writer, "passed", result->passed);
	pv_event_uint(&writer, "failed", result->failed);
	pv_event_uint(&writer, "skipped", result->skipped);
	pv_event_uint(&writer, "not_run", result->not_run);
	send_frame(worker, &writer);
}

static void run_file(struct worker *worker, const struct pv_config *config)
{
	struct pv_run_file file = {
	    .host = &worker->host,
	    .path = worker->file->path,
	    .name = worker->file->relative,
	    .roots = (const char *const *)config->roots,
	    .root_count = config->root_count,
	    .filter = {.include_slow = worker->options->include_slow},
	    .stop = &worker->time_is_up,
	    .events = &run_events,
	    .events_ctx = worker,
	};
	struct pv_run_result result;
	arm_limit(worker);
	pv_run_file(&file, &result);
	pv_loop_lock(worker->host.loop);
	pv_loop_timer_clear(&worker->limit);
	pv_loop_unlock(worker->host.loop);
	send_done(worker, &result);
}

int pv_worker_main(const struct pv_test_file *file, const struct pv_config *config,
    const struct pv_runner_options *options, int fd, pid_t parent)
{
	struct worker worker = {.file = file, .options = options, .fd = fd};
	struct pv_err err = PV_ERR_INIT;
	signal(SIGPIPE, SIG_IGN);
	/* Ctrl-C is the dispatcher's business: it ends the workers. */
	signal(SIGINT, SIG_IGN);
	if (pv_isolate_worker(parent, &err) && options->verbose)
		send_text(&worker, "worker_note", NULL, err.text);
	pv_fd_presize_table(DESCRIPTORS);
	if (options->json) {
		/* What a script prints must not come between the JSON lines. */
		fflush(stdout);
		dup2(STDERR_FILENO, STDOUT_FILENO);
	}
	int status = pv_host_init(&worker.host, config, &host_events, &worker, &err);
	if (status) {
		send_text(&worker, "worker_chunk_error", NULL, err.text);
		pv_bytes_finish(&worker.out);
		return 1;
	}
	run_file(&worker, config);
	pv_host_finish(&worker.host);
	pv_bytes_finish(&worker.out);
	fflush(stdout);
	return 0;
}
