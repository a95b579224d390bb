/*
 * Building a fixture. Theory: take the lock of its key, which may wait for a builder of another
 * run; look again whether the entry is there; run the source as a worker runs a file of tests;
 * write the snapshot into the cache. When the cache cannot be written the snapshot goes into a file
 * without a name, whose descriptor the dispatcher keeps for the run; that is also the way of
 * fixtures of the older kind. Nothing is in the way of the next run, whenever this process ends:
 * the lock goes with it, and unfinished files are removed by who gets the lock next.
 *
 * The last frame is worker_fixture_built {cached, held, failed, text}, with a descriptor when
 * `held` is 1.
 */
#include "runner/fixture_builder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "lab/fixture.h"
#include "lab/fixture_lock.h"
#include "lab/lab_snapshot.h"
#include "lab/snapshot.h"
#include "lua/run.h"
#include "runner/event.h"
#include "runner/fixture_client.h"
#include "runner/passing.h"
#include "runner/worker_process.h"
#include "vmm/template.h"

struct builder {
	struct pv_worker_process process;
	struct pv_fixture_client client;
	const struct pv_fixture_request *request;
	const struct pv_fixture_place *place;
	bool again;
	struct pv_fixture_lock lock; /* not held: the result cannot be kept */
	/* What came of it. */
	bool cached;
	int held;
	uint64_t bytes;
	struct pv_bytes failure; /* empty: it is there */
};

/* --- telling --- */

static void note(struct builder *builder, const char *text)
{
	pv_worker_process_send_text(&builder->process, "worker_note", NULL, text);
}

static void on_note(void *ctx, const char *text)
{
	note(ctx, text);
}

static const struct pv_run_events run_events = {.note = on_note};

/* Sets the failure: "fixture `x` could not be built: <reason>". */
static void fail(struct builder *builder, const char *reason)
{
	if (pv_bytes_printf(&builder->failure, "fixture `%s` could not be built: %s",
		builder->request->name, reason))
		pv_bytes_finish(&builder->failure);
	if (!pv_bytes_text(&builder->failure))
		(void)pv_bytes_append(&builder->failure, "not enough memory", 18);
}

static void tell_waiting(struct builder *builder)
{
	struct pv_event_writer writer;
	char *holder =
	    pv_fixture_lock_holder(builder->place->config->cache_dir, builder->request->key);
	pv_event_begin(&writer, &builder->process.out, "fixture_build_waiting", 2);
	pv_event_str(&writer, "path", builder->request->name);
	pv_event_str(&writer, "held_by_file", holder ? holder : "another process");
	pv_worker_process_send(&builder->process, &writer);
	free(holder);
}

static void tell_started(struct builder *builder)
{
	struct pv_event_writer writer;
	pv_event_begin(&writer, &builder->process.out, "fixture_build_started", 1);
	pv_event_str(&writer, "path", builder->request->name);
	pv_worker_process_send(&builder->process, &writer);
}

static void tell_done(struct builder *builder, int64_t duration_ns)
{
	struct pv_event_writer writer;
	pv_event_begin(&writer, &builder->process.out, "fixture_build_done", 3);
	pv_event_str(&writer, "path", builder->request->name);
	pv_event_uint(&writer, "duration_ns", (uint64_t)duration_ns);
	pv_event_uint(&writer, "snapshot_bytes", builder->bytes);
	pv_worker_process_send(&builder->process, &writer);
}

static void tell_result(struct builder *builder)
{
	struct pv_worker_process *process = &builder->process;
	struct pv_event_writer writer;
	pv_event_begin(&writer, &process->out, "worker_fixture_built", 4);
	pv_event_uint(&writer, "cached", builder->cached);
	pv_event_uint(&writer, "held", builder->held >= 0);
	pv_event_uint(&writer, "failed", builder->failure.len > 0);
	pv_event_str(&writer, "text", pv_bytes_text(&builder->failure));
	if (pv_event_end(&writer) == 0)
		(void)pv_passing_send(
		    process->fd, process->out.data, process->out.len, builder->held, 0);
	process->out.len = 0;
}

/* --- the entry --- */

/* Takes the lock, or notes why the result cannot be kept. */
static void take_lock(struct builder *builder)
{
	const char *dir = builder->place->config->cache_dir;
	struct pv_err err = PV_ERR_INIT;
	int status = pv_fixture_cache_prepare(dir, &err);
	if (!status)
		status =
		    pv_fixture_lock_take(&builder->lock, dir, builder->request->key, false, &err);
	if (status == -EWOULDBLOCK) {
		tell_waiting(builder);
		status =
		    pv_fixture_lock_take(&builder->lock, dir, builder->request->key, true, &err);
	}
	if (status) {
		pv_err_prefix(&err, "the fixture is built for this run only");
		note(builder, err.text);
	}
}

/* True when nothing needs to be built. */
static bool is_there(struct builder *builder)
{
	const char *dir = builder->place->config->cache_dir, *key = builder->request->key;
	struct pv_template *template = NULL;
	struct pv_lab_snapshot *lab_snapshot = NULL;
	struct pv_err ignored = PV_ERR_INIT;
	if (builder->again) {
		(void)pv_fixture_cache_evict(dir, key, &ignored);
		return false;
	}
	const bool lab = pv_fixture_cache_has(dir, key, PV_FIXTURE_LAB);
	char *path = pv_fixture_cache_path(dir, key, lab ? PV_FIXTURE_LAB : PV_FIXTURE_VM);
	const bool there = path && (lab ? pv_lab_snapshot_open(&lab_snapshot, path, false, &ignored)
					: pv_template_open(&template, path, false, &ignored)) == 0;
	pv_lab_snapshot_destroy(lab_snapshot);
	pv_template_unref(template);
	free(path);
	/* What is no snapshot of a lab would not be replaced by one. */
	if (lab && !there)
		(void)pv_fixture_cache_evict(dir, key, &ignored);
	return there;
}

/* Writes the snapshot into a file without a name. Returns 0 or -errno. */
static int hold_vm(struct builder *builder, struct pv_snapshot *snapshot, struct pv_err *err)
{
	const char *path;
	struct stat info;
	const int status = pv_snapshot_path(snapshot, &path, err);
	if (status)
		return status;
	builder->held = open(path, O_RDONLY | O_CLOEXEC);
	if (builder->held < 0)
		return pv_err_system(err, errno, "its snapshot `%s` cannot be opened", path);
	builder->bytes = fstat(builder->held, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
	return 0;
}

/* Writes it into a file system that nobody else has. Returns 0 or -errno. */
static int hold_lab(struct builder *builder, struct pv_lab_snapshot *snapshot, struct pv_err *err)
{
	struct statfs info;
	const int status = pv_lab_snapshot_descriptor(snapshot, &builder->held, err);
	if (!status && fstatfs(builder->held, &info) == 0)
		builder->bytes = (info.f_blocks - info.f_bfree) * (uint64_t)info.f_bsize;
	return status;
}

/* What was built is only worth something under a key that is still true. */
static bool is_unchanged(struct builder *builder)
{
	char key[PV_HASH_TEXT];
	struct pv_err err = PV_ERR_INIT;
	if (builder->request->legacy)
		return true;
	if (pv_fixture_key(builder->place, builder->request->path, key, &err)) {
		fail(builder, err.text);
		return false;
	}
	if (strcmp(key, builder->request->key) == 0)
		return true;
	fail(builder, "files that it depends on changed meanwhile; run it again");
	return false;
}

/* Returns 0, or -errno when the cache cannot be written. */
static int install(struct builder *builder, const struct pv_run_fixture *result, struct pv_err *err)
{
	const char *dir = builder->place->config->cache_dir, *key = builder->request->key;
	if (builder->lock.fd < 0)
		return pv_err_set(err, PV_ERR_STATE, EROFS, "the cache cannot be written");
	return result->lab_snapshot
		   ? pv_fixture_cache_install_lab(
			 dir, key, result->lab_snapshot, &builder->bytes, err)
		   : pv_fixture_cache_install(dir, key, result->snapshot, &builder->bytes, err);
}

static void keep(struct builder *builder, const struct pv_run_fixture *result)
{
	struct pv_err err = PV_ERR_INIT;
	if (!is_unchanged(builder) || install(builder, result, &err) == 0)
		return;
	/* Why there is no lock was said when it could not be taken. */
	if (builder->lock.fd >= 0) {
		pv_err_prefix(&err, "the fixture cannot be kept and lives for this run only");
		note(builder, err.text);
	}
	const int status = result->lab_snapshot ? hold_lab(builder, result->lab_snapshot, &err)
						: hold_vm(builder, result->snapshot, &err);
	if (status)
		fail(builder, err.text);
}

/* --- the build --- */

static void run(struct builder *builder)
{
	const struct pv_config *config = builder->place->config;
	const struct pv_run_file file = {
	    .host = &builder->process.host,
	    .path = builder->request->path,
	    .name = builder->request->path,
	    .roots = (const char *const *)config->roots,
	    .root_count = config->root_count,
	    .fixtures = &builder->client.fixtures,
	    .stop = &builder->process.time_is_up,
	    .events = &run_events,
	    .events_ctx = builder,
	};
	struct pv_run_fixture result;
	const int64_t start = pv_clock_now();
	tell_started(builder);
	pv_worker_process_arm(&builder->process, "fixture");
	pv_run_fixture(&file, builder->request->legacy, &result);
	pv_worker_process_disarm(&builder->process);
	if (result.snapshot || result.lab_snapshot)
		keep(builder, &result);
	else
		fail(builder, pv_bytes_text(&result.failure));
	pv_run_fixture_finish(&result);
	tell_done(builder, pv_clock_now() - start);
}

static void work(struct builder *builder)
{
	if (!builder->request->legacy)
		take_lock(builder);
	builder->cached = builder->lock.fd >= 0 && is_there(builder);
	if (!builder->cached)
		run(builder);
	tell_result(builder);
	pv_fixture_lock_release(&builder->lock);
	pv_fd_close(&builder->held);
	pv_bytes_finish(&builder->failure);
}

int pv_fixture_builder_main(const struct pv_fixture_request *request, bool again,
    const struct pv_fixture_place *place, const struct pv_runner_options *options, int fd,
    pid_t parent)
{
	struct builder builder = {.request = request,
	    .place = place,
	    .again = again,
	    .lock = PV_FIXTURE_LOCK_INIT,
	    .held = -1};
	struct pv_err err = PV_ERR_INIT;
	int status = pv_worker_process_init(
	    &builder.process, request->path, place->config, options, fd, parent, &err);
	if (!status)
		status = pv_fixture_client_init(&builder.client, &builder.process, place, &err);
	if (status) {
		fail(&builder, err.text);
		tell_result(&builder);
	} else {
		work(&builder);
		pv_fixture_client_finish(&builder.client);
	}
	pv_worker_process_finish(&builder.process);
	return 0;
}
