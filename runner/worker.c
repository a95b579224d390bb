/*
 * The worker process (runner/worker_process.h) of a file of tests. Theory: what the test language
 * reports becomes event frames.
 *
 * Kinds between worker and dispatcher only: worker_log {name, text}, worker_chunk_error {text},
 * worker_note {text}, worker_done {status, passed, failed, skipped, not_run}; those about fixtures
 * are in runner/fixture_client.c.
 */
#include "runner/worker.h"

#include "base/err.h"
#include "lab/config.h"
#include "lab/fixture_key.h"
#include "lua/run.h"
#include "runner/discover.h"
#include "runner/event.h"
#include "runner/fixture_client.h"
#include "runner/options.h"
#include "runner/worker_process.h"

/* Begins a test's event with path, name and `extra` further fields, meta not counted. */
static void begin_test(struct pv_worker_process *process, struct pv_event_writer *writer,
    const char *kind, const struct pv_run_test *test, uint32_t extra)
{
	pv_event_begin(writer, &process->out, kind, 3 + extra);
	pv_event_str(writer, "path", process->file);
	pv_event_str(writer, "name", test->name);
}

static void end_test(struct pv_worker_process *process, struct pv_event_writer *writer,
    const struct pv_run_test *test)
{
	pv_event_raw(writer, "meta", test->meta, test->meta_len);
	pv_worker_process_send(process, writer);
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
	pv_worker_process_send_text(ctx, "worker_log", test->name, text);
}

static void on_chunk_error(void *ctx, const char *text)
{
	pv_worker_process_send_text(ctx, "worker_chunk_error", NULL, text);
}

static void on_note(void *ctx, const char *text)
{
	pv_worker_process_send_text(ctx, "worker_note", NULL, text);
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

/* --- the file --- */

static void send_done(struct pv_worker_process *process, const struct pv_run_result *result)
{
	struct pv_event_writer writer;
	pv_event_begin(&writer, &process->out, "worker_done", 5);
	pv_event_str(&writer, "status",
	    atomic_load(&process->time_is_up) ? "timed_out" : pv_run_status_name(result->status));
	pv_event_uint(&writer, "passed", result->passed);
	pv_event_uint(&writer, "failed", result->failed);
	pv_event_uint(&writer, "skipped", result->skipped);
	pv_event_uint(&writer, "not_run", result->not_run);
	pv_worker_process_send(process, &writer);
}

static void run_file(struct pv_worker_process *process, const char *path,
    const struct pv_config *config, const struct pv_fixtures *fixtures)
{
	struct pv_run_file file = {
	    .host = &process->host,
	    .path = path,
	    .name = process->file,
	    .roots = (const char *const *)config->roots,
	    .root_count = config->root_count,
	    .fixtures = fixtures,
	    .filter = {.include_slow = process->options->include_slow},
	    .stop = &process->time_is_up,
	    .events = &run_events,
	    .events_ctx = process,
	};
	struct pv_run_result result;
	pv_worker_process_arm(process, "file");
	pv_run_file(&file, &result);
	pv_worker_process_disarm(process);
	send_done(process, &result);
}

int pv_worker_main(const struct pv_test_file *file, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, int fd, pid_t parent)
{
	struct pv_worker_process process;
	struct pv_fixture_client client;
	struct pv_err err = PV_ERR_INIT;
	int status = pv_worker_process_init(
	    &process, file->relative, place->config, options, fd, parent, &err);
	if (!status)
		status = pv_fixture_client_init(&client, &process, place, &err);
	if (status) {
		pv_worker_process_send_text(&process, "worker_chunk_error", NULL, err.text);
	} else {
		run_file(&process, file->path, place->config, &client.fixtures);
		pv_fixture_client_finish(&client);
	}
	pv_worker_process_finish(&process);
	return status ? 1 : 0;
}
