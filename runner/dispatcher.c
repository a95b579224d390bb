/*
 * The dispatcher. Theory: one thread and one event loop (base/loop.h). A slot is a running worker:
 * its process, its end of a socket pair, and the result that grows from its frames. A file is over
 * when the socket has ended and the process was reaped; only then is it reported, so a crash in the
 * very last moment is not missed.
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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/frame.h"
#include "base/loop.h"
#include "base/units.h"
#include "runner/discover.h"
#include "runner/event.h"
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
	pid_t pid;
	int fd;
	struct pv_loop_watch watch;
	struct pv_loop_timer limit;
	struct pv_frame_reader frames;
	struct pv_file_result result;
	bool killed_for_time;
};

struct dispatcher {
	const struct pv_discovery *discovery;
	const struct pv_config *config;
	const struct pv_runner_options *options;
	struct pv_report *report;
	struct pv_loop *loop;
	struct pv_loop_watch signals;
	int signal_fd;
	sigset_t old_mask;
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
		snprintf(why, size, "the worker process died by signal %d (%s)",
		    WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
	} else {
		snprintf(why, size, "the worker process ended early with exit status %d",
		    WEXITSTATUS(wait_status));
	}
}

static void finish_slot(struct slot *slot)
{
	struct dispatcher *dispatcher = slot->dispatcher;
	int wait_status = 0;
	pv_loop_watch_remove(&slot->watch);
	pv_loop_timer_clear(&slot->limit);
	while (waitpid(slot->pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	if (!slot->result.done) {
		char why[256];
		explain_end(slot, wait_status, why, sizeof(why));
		slot->result.timed_out = slot->killed_for_time;
		pv_file_result_cut_off(&slot->result, why);
	}
	pv_report_file(dispatcher->report, &slot->result);
	pv_file_result_finish(&slot->result);
	pv_frame_reader_finish(&slot->frames);
	pv_fd_close(&slot->fd);
	slot->used = false;
	dispatcher->running--;
	start_more(dispatcher);
}

/* --- frames of a worker --- */

static void take_frame(struct slot *slot, const struct pv_span *payload)
{
	struct pv_event event;
	struct pv_err err = PV_ERR_INIT;
	if (pv_event_parse(&event, payload->data, payload->len, &err))
		return;
	if (strcmp(event.kind, "worker_note") == 0) {
		char *text = pv_event_text(&event, "text");
		fprintf(stderr, "provium: %s: %s\n", slot->result.relative, text ? text : "");
		free(text);
	}
	pv_file_result_take(&slot->result, &event);
	pv_event_finish(&event);
}

/* Reads what is there. Returns false when the worker's end is closed. */
static bool read_frames(struct slot *slot)
{
	char buffer[65536];
	ssize_t got = read(slot->fd, buffer, sizeof(buffer));
	if (got < 0)
		return errno == EINTR || errno == EAGAIN;
	struct pv_span payload;
	struct pv_err err = PV_ERR_INIT;
	if (got == 0 || pv_frame_feed(&slot->frames, buffer, (size_t)got))
		return false;
	int more;
	while ((more = pv_frame_next(&slot->frames, &payload, &err)) > 0)
		take_frame(slot, &payload);
	return more == 0;
}

static void on_worker(void *ctx, uint32_t events)
{
	struct slot *slot = ctx;
	if (!read_frames(slot)) {
		/* Whatever it still does, nobody can hear it. */
		if (!slot->result.done)
			kill(slot->pid, SIGKILL);
		finish_slot(slot);
	}
}

static void on_limit(void *ctx)
{
	struct slot *slot = ctx;
	slot->killed_for_time = true;
	kill(slot->pid, SIGKILL);
}

/* --- starting --- */

static int start_worker(
    struct dispatcher *dispatcher, struct slot *slot, const struct pv_test_file *file)
{
	int pair[2];
	struct pv_err *err = &dispatcher->err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return pv_err_system(err, errno, "cannot make a socket pair for a worker");
	pid_t self = getpid();
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0) {
		int code = errno;
		close(pair[0]);
		close(pair[1]);
		return pv_err_system(err, code, "cannot start a worker process");
	}
	if (pid == 0) {
		/* Ends of other workers' pairs must not live on here, or their end of file would
		 * not be seen. */
		for (unsigned i = 0; i < dispatcher->slot_count; i++)
			pv_fd_close(&dispatcher->slots[i].fd);
		close(pair[0]);
		pv_fd_close(&dispatcher->signal_fd);
		sigprocmask(SIG_SETMASK, &dispatcher->old_mask, NULL);
		_exit(pv_worker_main(file, dispatcher->config, dispatcher->options, pair[1], self));
	}
	close(pair[1]);
	*slot = (struct slot){
	    .dispatcher = dispatcher,
	    .used = true,
	    .pid = pid,
	    .fd = pair[0],
	    .result = {.path = file->path, .relative = file->relative}
	      };
	dispatcher->running++;
	if (dispatcher->options->timeout_ns)
		pv_loop_timer_set(dispatcher->loop, &slot->limit,
		    pv_clock_deadline(dispatcher->options->timeout_ns + GRACE), on_limit, slot);
	return pv_loop_watch_add(
	    dispatcher->loop, &slot->watch, slot->fd, EPOLLIN, on_worker, slot, err);
}

static void start_more(struct dispatcher *dispatcher)
{
	for (unsigned i = 0; i < dispatcher->slot_count && !dispatcher->status; i++) {
		if (dispatcher->slots[i].used || dispatcher->next == dispatcher->discovery->count)
			continue;
		const struct pv_test_file *file = &dispatcher->discovery->files[dispatcher->next++];
		dispatcher->status = start_worker(dispatcher, &dispatcher->slots[i], file);
	}
	if (dispatcher->running == 0)
		pv_loop_quit(dispatcher->loop);
}

/* --- signals --- */

static void on_signal(void *ctx, uint32_t events)
{
	struct dispatcher *dispatcher = ctx;
	struct signalfd_siginfo info;
	if (read(dispatcher->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	dispatcher->status = -EINTR;
	pv_err_set(&dispatcher->err, PV_ERR_SYSTEM, EINTR, "stopped by signal %u (%s)",
	    info.ssi_signo, strsignal((int)info.ssi_signo));
	for (unsigned i = 0; i < dispatcher->slot_count; i++) {
		if (dispatcher->slots[i].used)
			kill(dispatcher->slots[i].pid, SIGKILL);
	}
	if (dispatcher->running == 0)
		pv_loop_quit(dispatcher->loop);
}

static int watch_signals(struct dispatcher *dispatcher)
{
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, &dispatcher->old_mask);
	dispatcher->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (dispatcher->signal_fd < 0)
		return pv_err_system(&dispatcher->err, errno, "cannot watch for signals");
	return pv_loop_watch_add(dispatcher->loop, &dispatcher->signals, dispatcher->signal_fd,
	    EPOLLIN, on_signal, dispatcher, &dispatcher->err);
}

static unsigned processors(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return count < 1 ? 1 : count > SLOTS_MAX ? SLOTS_MAX : (unsigned)count;
}

int pv_dispatcher_run(const struct pv_discovery *discovery, const struct pv_config *config,
    const struct pv_runner_options *options, struct pv_report *report, struct pv_err *err)
{
	struct dispatcher *dispatcher = calloc(1, sizeof(*dispatcher));
	if (!dispatcher)
		return pv_err_nomem(err, "dispatcher");
	*dispatcher = (struct dispatcher){.discovery = discovery,
	    .config = config,
	    .options = options,
	    .report = report,
	    .signal_fd = -1,
	    .slot_count = processors()};
	for (unsigned i = 0; i < dispatcher->slot_count; i++)
		dispatcher->slots[i].fd = -1;
	int status = pv_loop_create(&dispatcher->loop, &dispatcher->err);
	if (!status) {
		pv_loop_lock(dispatcher->loop);
		status = watch_signals(dispatcher);
		if (!status)
			start_more(dispatcher);
		pv_loop_unlock(dispatcher->loop);
		if (!status)
			pv_loop_run(dispatcher->loop);
		pv_loop_lock(dispatcher->loop);
		pv_loop_watch_remove(&dispatcher->signals);
		pv_loop_unlock(dispatcher->loop);
		sigprocmask(SIG_SETMASK, &dispatcher->old_mask, NULL);
		status = status ? status : dispatcher->status;
	}
	if (status)
		*err = dispatcher->err;
	pv_loop_destroy(dispatcher->loop);
	pv_fd_close(&dispatcher->signal_fd);
	free(dispatcher);
	return status;
}
