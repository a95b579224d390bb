/*
 * The dispatcher. Theory: one thread and one event loop (base/loop.h). A slot is a running worker:
 * its process (runner/child.h) and the result that grows from its frames. A file is reported when
 * its process was reaped, so a crash in the very last moment is not missed. Fixtures that workers
 * ask for are built beside them (runner/fixture_builds.h).
 *
 * A worker keeps its own time limit; the dispatcher's is the last resort behind it and kills.
 * SIGINT and SIGTERM kill all workers: guests, taps and memory go with the processes.
 */
#include "runner/dispatcher.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/units.h"
#include "runner/child.h"
#include "runner/discover.h"
#include "runner/event.h"
#include "runner/fixture_builds.h"
#include "runner/options.h"
#include "runner/report.h"
#include "runner/result.h"
#include "runner/worker.h"

#define SLOTS_MAX 64
/* How long after the file's limit a worker may take to unwind before it is killed. */
#define GRACE (5 * PV_CLOCK_SECOND)

struct dispatcher;

struct slot {
	struct dispatcher *dispatcher;
	bool used;
	struct pv_child child;
	const struct pv_test_file *file;
	struct pv_file_result result;
	bool killed_for_time;
};

struct dispatcher {
	const struct pv_discovery *discovery; /* NULL: only a fixture is built */
	const struct pv_fixture_place *place;
	const struct pv_runner_options *options;
	struct pv_report *report;
	struct pv_loop *loop;
	struct pv_children children;
	struct pv_builds *builds;
	struct pv_loop_watch signals;
	struct slot slots[SLOTS_MAX];
	unsigned slot_count;
	size_t next; /* file to start */
	unsigned running;
	int status;
	struct pv_err err;
};

static void start_more(struct dispatcher *dispatcher);

/* --- the end of a worker --- */

/* Says how the process ended when its report is not complete. */
static void explain_end(const struct slot *slot, int wait_status, char *why, size_t size)
{
	if (slot->killed_for_time) {
		char span[32];
		snprintf(why, size,
		    "file timeout exceeded (%s); the script did not come back and its worker was "
		    "killed",
		    pv_units_show_duration(
			slot->dispatcher->options->timeout_ns, span, sizeof(span)));
	} else if (slot->dispatcher->status == -EINTR) {
		snprintf(why, size, "interrupted");
	} else if (WIFSIGNALED(wait_status)) {
		snprintf(why, size, "the worker process died by signal %d (%s)%s",
		    WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)),
		    pv_child_signal_hint(WTERMSIG(wait_status)));
	} else {
		snprintf(why, size, "the worker process ended early with exit status %d",
		    WEXITSTATUS(wait_status));
	}
}

static void on_ended(void *ctx, int wait_status)
{
	struct slot *slot = ctx;
	struct dispatcher *dispatcher = slot->dispatcher;
	pv_builds_forget(dispatcher->builds, &slot->child);
	if (!slot->result.done) {
		char why[256];
		explain_end(slot, wait_status, why, sizeof(why));
		slot->result.timed_out = slot->killed_for_time;
		pv_file_result_cut_off(&slot->result, why);
	}
	pv_report_file(dispatcher->report, &slot->result);
	pv_file_result_finish(&slot->result);
	slot->used = false;
	dispatcher->running--;
	start_more(dispatcher);
}

static void on_late(void *ctx)
{
	struct slot *slot = ctx;
	slot->killed_for_time = true;
}

/* --- frames of a worker --- */

static void on_frame(void *ctx, const struct pv_event *event)
{
	struct slot *slot = ctx;
	if (strcmp(event->kind, "worker_note") == 0) {
		char *text = pv_event_text(event, "text");
		fprintf(stderr, "provium: %s: %s\n", slot->result.relative, text ? text : "");
		free(text);
	} else if (strcmp(event->kind, "worker_fixture_wanted") == 0) {
		pv_builds_request(
		    slot->dispatcher->builds, &slot->child, slot->result.relative, event);
	}
	pv_file_result_take(&slot->result, event);
	pv_event_tell(slot->dispatcher->options->outlet, event);
}

static const struct pv_child_ops worker_ops = {
    .frame = on_frame, .ended = on_ended, .late = on_late};

/* --- starting --- */

static int run_worker(void *arg, int fd, pid_t parent)
{
	const struct slot *slot = arg;
	return pv_worker_main(
	    slot->file, slot->dispatcher->place, slot->dispatcher->options, fd, parent);
}

static int start_worker(
    struct dispatcher *dispatcher, struct slot *slot, const struct pv_test_file *file)
{
	*slot = (struct slot){
	    .dispatcher = dispatcher,
	    .file = file,
	    .result = {.path = file->path, .relative = file->relative}
	      };
	const int status = pv_child_start(&dispatcher->children, &slot->child, &worker_ops, slot,
	    run_worker, slot, &dispatcher->err);
	if (status)
		return status;
	slot->used = true;
	dispatcher->running++;
	if (dispatcher->options->timeout_ns)
		pv_child_limit(&slot->child, dispatcher->options->timeout_ns + GRACE);
	return 0;
}

static void quit_when_idle(void *ctx)
{
	struct dispatcher *dispatcher = ctx;
	if (dispatcher->running == 0 && pv_builds_running(dispatcher->builds) == 0)
		pv_loop_quit(dispatcher->loop);
}

static void start_more(struct dispatcher *dispatcher)
{
	const size_t count = dispatcher->discovery ? dispatcher->discovery->count : 0;
	for (unsigned i = 0; i < dispatcher->slot_count && !dispatcher->status; i++) {
		if (dispatcher->slots[i].used || dispatcher->next == count)
			continue;
		const struct pv_test_file *file = &dispatcher->discovery->files[dispatcher->next++];
		dispatcher->status = start_worker(dispatcher, &dispatcher->slots[i], file);
	}
	if (dispatcher->running > 0)
		return;
	/* What is still being built is of no use to anybody here. */
	pv_builds_kill(dispatcher->builds);
	quit_when_idle(dispatcher);
}

/* --- signals --- */

static void on_signal(void *ctx, uint32_t events)
{
	struct dispatcher *dispatcher = ctx;
	struct signalfd_siginfo info;
	if (read(dispatcher->children.signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	dispatcher->status = -EINTR;
	pv_err_set(&dispatcher->err, PV_ERR_SYSTEM, EINTR, "stopped by signal %u (%s)",
	    info.ssi_signo, strsignal((int)info.ssi_signo));
	for (unsigned i = 0; i < dispatcher->slot_count; i++)
		pv_child_kill(&dispatcher->slots[i].child);
	pv_builds_kill(dispatcher->builds);
	quit_when_idle(dispatcher);
}

static int watch_signals(struct dispatcher *dispatcher)
{
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, &dispatcher->children.old_mask);
	dispatcher->children.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (dispatcher->children.signal_fd < 0)
		return pv_err_system(&dispatcher->err, errno, "cannot watch for signals");
	return pv_loop_watch_add(dispatcher->loop, &dispatcher->signals,
	    dispatcher->children.signal_fd, EPOLLIN, on_signal, dispatcher, &dispatcher->err);
}

static unsigned processors(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return count < 1 ? 1 : count > SLOTS_MAX ? SLOTS_MAX : (unsigned)count;
}

/* Runs the loop until all is done. `begin` starts the work. */
static int run(struct dispatcher *dispatcher, void (*begin)(void *ctx), void *ctx)
{
	int status = pv_loop_create(&dispatcher->loop, &dispatcher->err);
	if (!status)
		status =
		    pv_builds_create(&dispatcher->builds, &dispatcher->children, dispatcher->place,
			dispatcher->options, quit_when_idle, dispatcher, &dispatcher->err);
	if (status)
		return status;
	dispatcher->children.loop = dispatcher->loop;
	pv_loop_lock(dispatcher->loop);
	status = watch_signals(dispatcher);
	if (!status)
		begin(ctx);
	pv_loop_unlock(dispatcher->loop);
	if (!status)
		pv_loop_run(dispatcher->loop);
	pv_loop_lock(dispatcher->loop);
	pv_loop_watch_remove(&dispatcher->signals);
	pv_loop_unlock(dispatcher->loop);
	sigprocmask(SIG_SETMASK, &dispatcher->children.old_mask, NULL);
	return status ? status : dispatcher->status;
}

static int dispatch(
    struct dispatcher *dispatcher, void (*begin)(void *ctx), void *ctx, struct pv_err *err)
{
	dispatcher->children.signal_fd = -1;
	dispatcher->slot_count = processors();
	const int status = run(dispatcher, begin, ctx);
	if (status)
		*err = dispatcher->err;
	pv_builds_destroy(dispatcher->builds);
	pv_loop_destroy(dispatcher->loop);
	pv_fd_close(&dispatcher->children.signal_fd);
	return status;
}

static void begin_files(void *ctx)
{
	start_more(ctx);
}

int pv_dispatcher_run(const struct pv_discovery *discovery, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, struct pv_report *report, struct pv_err *err)
{
	struct dispatcher *dispatcher = calloc(1, sizeof(*dispatcher));
	if (!dispatcher)
		return pv_err_nomem(err, "dispatcher");
	dispatcher->discovery = discovery;
	dispatcher->place = place;
	dispatcher->options = options;
	dispatcher->report = report;
	const int status = dispatch(dispatcher, begin_files, dispatcher, err);
	free(dispatcher);
	return status;
}

/* --- a fixture alone --- */

struct order {
	struct dispatcher *dispatcher;
	const struct pv_fixture_request *request;
	bool again;
	void (*told)(void *ctx, const struct pv_build_end *end);
	void *ctx;
};

static void begin_order(void *ctx)
{
	const struct order *order = ctx;
	pv_builds_order(
	    order->dispatcher->builds, order->request, order->again, order->told, order->ctx);
	quit_when_idle(order->dispatcher);
}

int pv_dispatcher_build(const struct pv_fixture_request *request, bool again,
    const struct pv_fixture_place *place, const struct pv_runner_options *options,
    void (*told)(void *ctx, const struct pv_build_end *end), void *ctx, struct pv_err *err)
{
	struct dispatcher *dispatcher = calloc(1, sizeof(*dispatcher));
	if (!dispatcher)
		return pv_err_nomem(err, "dispatcher");
	dispatcher->place = place;
	dispatcher->options = options;
	struct order order = {
	    .dispatcher = dispatcher, .request = request, .again = again, .told = told, .ctx = ctx};
	const int status = dispatch(dispatcher, begin_order, &order, err);
	free(dispatcher);
	return status;
}
