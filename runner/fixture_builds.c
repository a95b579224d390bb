/*
 * Builds of a run. Theory: one record for each key that was ever asked for. While its builder runs,
 * who asks is put on the list of the waiting; when it has ended, all are answered. What came of it
 * is kept for the run: a failure, so that ten files with the same broken fixture cost one build,
 * and the descriptor of a guest that could not be kept in the cache, or may not (those of the older
 * kind). A guest that is in the cache is asked for again only when it is gone from there.
 *
 * A builder may ask as well, and waits then. That makes a chain of builds, each waiting for the
 * next; one that would lead back is refused, as nobody in it could ever go on. Builders do not
 * count as running files: each has somebody who waits for it, so there is room for it.
 *
 * Answers, each with the number of the `request`: worker_fixture_ready {held} (with a descriptor
 * when `held` is 1) or worker_fixture_failed {text}.
 *
 * Events: who waits is told from here, because here it is certain that the build has not ended; and
 * a builder that dies has its fixture_build_done told for it.
 */
#include "runner/fixture_builds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/units.h"
#include "lab/fixture.h"
#include "runner/child.h"
#include "runner/event.h"
#include "runner/fixture_builder.h"
#include "runner/options.h"

/* How long after its limit a builder may take to unwind before it is killed. */
#define GRACE (5 * PV_CLOCK_SECOND)

/* Longest story that is passed on. */
#define FAILURE_MAX (48u << 10)

enum state {
	STATE_IDLE, /* not built yet, or its builder died: to be tried (again) */
	STATE_BUILDING,
	STATE_KEPT, /* in the cache */
	STATE_HELD, /* only here */
	STATE_FAILED,
};

struct build;

/* Somebody who waits. */
struct requester {
	struct requester *next;
	struct pv_child *child; /* or NULL: the command line */
	uint64_t request;	/* the child's number for it */
	struct build *of;	/* the build whose builder asks, or NULL */
	void (*told)(void *ctx, const struct pv_build_end *end);
	void *ctx;
};

struct build {
	struct pv_builds *builds;
	struct build *next;
	char *name;
	char *path;
	char key[PV_HASH_TEXT];
	bool legacy;
	bool again;
	enum state state;
	struct pv_child child;
	struct requester *requesters;
	char *held_by; /* the file that asked first */
	/* What the builder's own request waits for, or NULL. */
	struct build *waits_for;
	bool late;
	int64_t started_ns; /* fixture_build_started was told, _done was not; or 0 */
	bool answered;	    /* the builder has said what came of it */
	struct pv_build_end end;
	char *failure;
	int held;
};

struct pv_builds {
	struct pv_children *children;
	const struct pv_fixture_place *place;
	const struct pv_runner_options *options;
	void (*idle)(void *ctx);
	void *ctx;
	struct build *first;
	unsigned running;
};

/* --- answers --- */

static void send_answer(struct pv_child *child, struct pv_event_writer *writer, int fd)
{
	/* A child that cannot be answered would wait for ever. */
	if (pv_event_end(writer))
		pv_child_kill(child);
	else
		pv_child_send(child, writer->out->data, writer->out->len, fd);
	pv_bytes_finish(writer->out);
}

static void send_failure(const struct requester *requester, const char *text)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	pv_event_begin(&writer, &out, "worker_fixture_failed", 2);
	pv_event_uint(&writer, "request", requester->request);
	pv_event_str(&writer, "text", text);
	send_answer(requester->child, &writer, -1);
}

static void answer(const struct build *build, const struct requester *requester)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	if (!requester->child) {
		requester->told(requester->ctx, &build->end);
		return;
	}
	if (build->end.failure) {
		send_failure(requester, build->end.failure);
		return;
	}
	pv_event_begin(&writer, &out, "worker_fixture_ready", 2);
	pv_event_uint(&writer, "request", requester->request);
	pv_event_uint(&writer, "held", build->held >= 0);
	send_answer(requester->child, &writer, build->held);
}

static void answer_all(struct build *build)
{
	while (build->requesters) {
		struct requester *requester = build->requesters;
		build->requesters = requester->next;
		if (requester->of)
			requester->of->waits_for = NULL;
		answer(build, requester);
		free(requester);
	}
}

/* --- what a builder says --- */

static void set_failure(struct build *build, char *text)
{
	free(build->failure);
	build->failure = text;
	if (text && strlen(text) > FAILURE_MAX)
		strcpy(text + FAILURE_MAX, "\n[cut]");
	build->end.failure = text ? text : "not enough memory to say why it failed";
}

static void tell_waiting(const struct build *build)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	pv_event_begin(&writer, &out, "fixture_build_waiting", 2);
	pv_event_str(&writer, "path", build->name);
	pv_event_str(&writer, "held_by_file", build->held_by ? build->held_by : "");
	pv_event_tell_written(build->builds->options->outlet, &writer);
}

/* For a builder that cannot any more. */
static void tell_done(struct build *build)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	pv_event_begin(&writer, &out, "fixture_build_done", 3);
	pv_event_str(&writer, "path", build->name);
	pv_event_uint(&writer, "duration_ns", (uint64_t)(pv_clock_now() - build->started_ns));
	pv_event_uint(&writer, "snapshot_bytes", 0);
	pv_event_tell_written(build->builds->options->outlet, &writer);
	build->started_ns = 0;
}

static void show_done(const struct build *build)
{
	char span[32];
	const int64_t ms = (int64_t)build->end.duration_ns / 1000000;
	if (!build->builds->options->verbose || build->end.failure || build->end.cached)
		return;
	fprintf(stderr, "provium: fixture `%s`: built in %s, %.1f MiB\n", build->name,
	    pv_units_show_duration(ms * 1000000, span, sizeof(span)),
	    (double)build->end.bytes / (1 << 20));
}

static void on_frame(void *ctx, const struct pv_event *event)
{
	struct build *build = ctx;
	struct pv_builds *builds = build->builds;
	if (strcmp(event->kind, "worker_note") == 0) {
		char *text = pv_event_text(event, "text");
		fprintf(stderr, "provium: %s: %s\n", build->path, text ? text : "");
		free(text);
	} else if (strcmp(event->kind, "worker_fixture_wanted") == 0) {
		pv_builds_request(builds, &build->child, build->path, event);
	} else if (strcmp(event->kind, "fixture_build_started") == 0) {
		build->started_ns = pv_clock_now();
		if (builds->options->timeout_ns)
			pv_child_limit(&build->child, builds->options->timeout_ns + GRACE);
	} else if (strcmp(event->kind, "fixture_build_done") == 0) {
		build->started_ns = 0;
		build->end.bytes = pv_event_number(event, "snapshot_bytes");
		build->end.duration_ns = pv_event_number(event, "duration_ns");
	} else if (strcmp(event->kind, "worker_fixture_built") == 0) {
		build->answered = true;
		build->end.cached = pv_event_number(event, "cached") != 0;
		if (pv_event_number(event, "failed"))
			set_failure(build, pv_event_text(event, "text"));
		else if (pv_event_number(event, "held"))
			build->held = pv_child_take_fd(&build->child);
	}
	pv_event_tell(builds->options->outlet, event);
}

static void on_late(void *ctx)
{
	struct build *build = ctx;
	build->late = true;
}

/* The builder did not come to an answer. */
static void explain_end(struct build *build, int wait_status)
{
	char *text = NULL;
	char span[32];
	int printed;
	if (build->late)
		printed = asprintf(&text,
		    "fixture `%s`: timeout exceeded (%s); its script did not come back and its "
		    "builder was killed",
		    build->name,
		    pv_units_show_duration(build->builds->options->timeout_ns, span, sizeof(span)));
	else if (WIFSIGNALED(wait_status))
		printed = asprintf(&text, "fixture `%s`: its builder died by signal %d (%s)%s",
		    build->name, WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)),
		    pv_child_signal_hint(WTERMSIG(wait_status)));
	else
		printed =
		    asprintf(&text, "fixture `%s`: its builder ended early with exit status %d",
			build->name, WEXITSTATUS(wait_status));
	set_failure(build, printed < 0 ? NULL : text);
}

static void forget_requester(struct pv_builds *builds, const struct pv_child *child);

static void on_ended(void *ctx, int wait_status)
{
	struct build *build = ctx;
	struct pv_builds *builds = build->builds;
	builds->running--;
	forget_requester(builds, &build->child);
	build->waits_for = NULL;
	if (build->started_ns)
		tell_done(build);
	if (!build->answered)
		explain_end(build, wait_status);
	show_done(build);
	if (!build->answered)
		build->state = STATE_IDLE;
	else if (build->end.failure)
		build->state = STATE_FAILED;
	else
		build->state = build->held >= 0 ? STATE_HELD : STATE_KEPT;
	answer_all(build);
	if (builds->running == 0)
		builds->idle(builds->ctx);
}

static const struct pv_child_ops builder_ops = {
    .frame = on_frame, .ended = on_ended, .late = on_late};

/* --- requests --- */

static struct build *find(const struct pv_builds *builds, const char *key)
{
	struct build *build = builds->first;
	while (build && strcmp(build->key, key) != 0)
		build = build->next;
	return build;
}

static void free_build(struct build *build)
{
	pv_fd_close(&build->held);
	free(build->name);
	free(build->path);
	free(build->held_by);
	free(build->failure);
	free(build);
}

static struct build *add(struct pv_builds *builds, const struct pv_fixture_request *request)
{
	struct build *build = calloc(1, sizeof(*build));
	if (!build)
		return NULL;
	build->builds = builds;
	build->held = -1;
	build->name = strdup(request->name);
	build->path = strdup(request->path);
	build->legacy = request->legacy;
	snprintf(build->key, sizeof(build->key), "%s", request->key);
	if (!build->name || !build->path) {
		free_build(build);
		return NULL;
	}
	build->next = builds->first;
	builds->first = build;
	return build;
}

static int run_builder(void *arg, int fd, pid_t parent)
{
	const struct build *build = arg;
	const struct pv_fixture_request request = {
	    .name = build->name, .path = build->path, .key = build->key, .legacy = build->legacy};
	return pv_fixture_builder_main(
	    &request, build->again, build->builds->place, build->builds->options, fd, parent);
}

static void start(struct build *build, const char *file)
{
	struct pv_err err = PV_ERR_INIT;
	build->end = (struct pv_build_end){0};
	build->answered = build->late = false;
	free(build->held_by);
	build->held_by = strdup(file);
	if (pv_child_start(build->builds->children, &build->child, &builder_ops, build, run_builder,
		build, &err)) {
		set_failure(build, strdup(err.text));
		answer_all(build);
		return;
	}
	build->state = STATE_BUILDING;
	build->builds->running++;
}

/* The chain of the waiting from `build` leads to `end`. */
static bool leads_to(const struct build *build, const struct build *end)
{
	while (build && build != end)
		build = build->waits_for;
	return build != NULL;
}

/* "a -> b -> a" for the builder of `a` that asks for `b`. */
static void refuse_circle(const struct requester *requester, const struct build *build)
{
	struct pv_bytes text = {0};
	(void)pv_bytes_printf(
	    &text, "fixture `%s` needs itself: %s", requester->of->name, requester->of->name);
	for (const struct build *at = build; at && at != requester->of; at = at->waits_for)
		(void)pv_bytes_printf(&text, " -> %s", at->name);
	(void)pv_bytes_printf(&text, " -> %s", requester->of->name);
	const char *shown = pv_bytes_text(&text);
	send_failure(requester, shown ? shown : "this fixture needs itself");
	pv_bytes_finish(&text);
}

static void enlist(struct build *build, const struct requester *requester)
{
	struct requester *copy = malloc(sizeof(*copy));
	if (!copy) {
		if (requester->child)
			pv_child_kill(requester->child);
		return;
	}
	*copy = *requester;
	copy->next = build->requesters;
	build->requesters = copy;
	if (copy->of)
		copy->of->waits_for = build;
}

static void take_request(struct build *build, const struct requester *requester, const char *file)
{
	switch (build->state) {
	case STATE_BUILDING:
		if (requester->of && leads_to(build, requester->of)) {
			refuse_circle(requester, build);
			return;
		}
		enlist(build, requester);
		tell_waiting(build);
		break;
	case STATE_HELD:
	case STATE_FAILED: answer(build, requester); break;
	case STATE_KEPT:
	case STATE_IDLE:
		enlist(build, requester);
		start(build, file);
		break;
	}
}

/* The build whose builder `child` is, or NULL. */
static struct build *build_of(const struct pv_builds *builds, const struct pv_child *child)
{
	struct build *build = builds->first;
	while (build && &build->child != child)
		build = build->next;
	return build;
}

void pv_builds_request(
    struct pv_builds *builds, struct pv_child *from, const char *file, const struct pv_event *event)
{
	const struct requester requester = {.child = from,
	    .request = pv_event_number(event, "request"),
	    .of = build_of(builds, from)};
	char *name = pv_event_text(event, "name"), *path = pv_event_text(event, "path"),
	     *key = pv_event_text(event, "key");
	struct build *build = NULL;
	if (name && path && key && strlen(key) == PV_HASH_TEXT - 1) {
		const struct pv_fixture_request request = {.name = name,
		    .path = path,
		    .key = key,
		    .legacy = pv_event_number(event, "legacy") != 0};
		build = find(builds, key);
		build = build ? build : add(builds, &request);
	}
	if (build)
		take_request(build, &requester, file);
	else
		send_failure(&requester, "not enough memory to have a fixture built");
	free(name);
	free(path);
	free(key);
}

void pv_builds_order(struct pv_builds *builds, const struct pv_fixture_request *request, bool again,
    void (*told)(void *ctx, const struct pv_build_end *end), void *ctx)
{
	const struct requester requester = {.told = told, .ctx = ctx};
	struct build *build = add(builds, request);
	if (!build) {
		const struct pv_build_end end = {.failure = "not enough memory"};
		told(ctx, &end);
		return;
	}
	build->again = again;
	take_request(build, &requester, "provium fixture");
}

static void forget_requester(struct pv_builds *builds, const struct pv_child *child)
{
	for (struct build *build = builds->first; build; build = build->next) {
		struct requester **at = &build->requesters;
		while (*at) {
			struct requester *requester = *at;
			if (requester->child == child) {
				*at = requester->next;
				free(requester);
			} else {
				at = &requester->next;
			}
		}
	}
}

void pv_builds_forget(struct pv_builds *builds, const struct pv_child *child)
{
	forget_requester(builds, child);
}

unsigned pv_builds_running(const struct pv_builds *builds)
{
	return builds->running;
}

void pv_builds_kill(struct pv_builds *builds)
{
	for (struct build *build = builds->first; build; build = build->next)
		pv_child_kill(&build->child);
}

int pv_builds_create(struct pv_builds **out, struct pv_children *children,
    const struct pv_fixture_place *place, const struct pv_runner_options *options,
    void (*idle)(void *ctx), void *ctx, struct pv_err *err)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return pv_err_nomem(err, "the builds of fixtures");
	**out = (struct pv_builds){
	    .children = children, .place = place, .options = options, .idle = idle, .ctx = ctx};
	return 0;
}

void pv_builds_destroy(struct pv_builds *builds)
{
	if (!builds)
		return;
	while (builds->first) {
		struct build *build = builds->first;
		builds->first = build->next;
		while (build->requesters) {
			struct requester *requester = build->requesters;
			build->requesters = requester->next;
			free(requester);
		}
		free_build(build);
	}
	free(builds);
}
