/*
 * The process of a worker. The loop has a thread of its own here, because the main thread is the
 * identity thread (agent/guest/identity.h): what has to have the worker's credentials, descriptors
 * and processors is done on it or on threads that it makes, and it may be blocked in the middle of
 * a system call for ever. The loop thread keeps the identity that the worker was born with, so
 * signals to its programs and its end do not depend on what the test has made of the other.
 *
 * Joining waits a moment for programs that were told to end, so that the worst exit status is
 * theirs, and then ends the process; what runs on is the init's.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/guest/call.h"
#include "base/clock.h"
#include "base/err.h"

/* How long programs that were told to end may take. */
#define END_GRACE (2 * PV_CLOCK_SECOND)

/* --- the end --- */

/* The one call that waits for it. */
struct pv_worker_join {
	struct pv_call call; /* first: the ops get it */
	struct pv_loop_timer timer;
	bool force;
};

static void finish_join(struct pv_worker_join *join)
{
	struct pv_calls *calls = join->call.calls;
	const struct pv_reply_number worst = {"worst", calls->processes.worst};
	pv_loop_timer_clear(&join->timer);
	calls->workers.join = NULL;
	calls->processes.exited = NULL;
	pv_call_end_numbers(&join->call, &worst, 1);
	free(join);
	pv_loop_quit(calls->loop);
}

static void time_out(void *ctx)
{
	struct pv_worker_join *join = ctx;
	if (join->force)
		pv_processes_signal(join->call.calls, SIGKILL, true);
	finish_join(join);
}

static void program_exited(struct pv_calls *calls)
{
	struct pv_worker_join *join = calls->workers.join;
	if (join && pv_processes_running(calls, join->force) == 0)
		finish_join(join);
}

static void cancel_join(struct pv_call *call)
{
	struct pv_worker_join *join = (struct pv_worker_join *)call;
	pv_loop_timer_clear(&join->timer);
	call->calls->workers.join = NULL;
	pv_call_fail(call, ECANCELED, NULL);
	free(join);
}

static const struct pv_call_ops join_ops = {.cancel = cancel_join};

static void begin_join(struct pv_calls *calls, const struct pv_request *request)
{
	struct pv_worker_join *join = calls->workers.join ? NULL : calloc(1, sizeof(*join));
	if (!join) {
		pv_call_answer(calls, request->id, calls->workers.join ? EBUSY : ENOMEM, NULL);
		return;
	}
	pv_call_begin(&join->call, calls, request->id, &join_ops);
	join->force = request->of_worker.force;
	calls->workers.join = join;
	calls->processes.exited = program_exited;
	if (join->force)
		pv_processes_signal(calls, SIGTERM, true);
	if (pv_processes_running(calls, join->force) == 0 ||
	    pv_loop_timer_set(
		calls->loop, &join->timer, pv_clock_deadline(END_GRACE), time_out, join) < 0)
		finish_join(join);
}

void pv_worker_request(struct pv_calls *calls, const struct pv_request *request)
{
	if (request->op == PV_REQUEST_WORKER_JOIN) {
		begin_join(calls, request);
		return;
	}
	pv_processes_signal(calls, (int)request->of_worker.signal, false);
	pv_call_answer(calls, request->id, 0, NULL);
}

/* --- the process --- */

static void *loop_main(void *ctx)
{
	struct pv_calls *calls = ctx;
	pv_loop_run(calls->loop);
	pv_loop_lock(calls->loop);
	pv_connection_drain(&calls->connection);
	/* Whatever the identity thread is doing. */
	_exit(0);
}

/* Signals are the identity thread's, except those of faults. */
static int start_loop(struct pv_calls *calls)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t all, before;
	pthread_t thread;
	sigfillset(&all);
	for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&thread, NULL, loop_main, calls);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -code;
}

int pv_worker_main(int fd)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_loop *loop;
	struct pv_calls *calls = calloc(1, sizeof(*calls));
	if (!calls || pv_loop_create(&loop, &err) < 0)
		return 1;
	pv_loop_lock(loop);
	pv_calls_init(calls, loop);
	calls->is_worker = true;
	pv_identity_init(&calls->identity, loop);
	pv_pool_adopt_identity(&calls->pool, &calls->identity, false);
	pv_pool_adopt_identity(&calls->asides, &calls->identity, false);
	pv_pool_adopt_identity(&calls->syscalls, &calls->identity, true);
	int status = pv_reaper_init(&calls->reaper, loop, NULL, NULL, &err);
	if (status == 0)
		status = pv_connection_adopt(&calls->connection, fd);
	pv_loop_unlock(loop);
	if (status == 0)
		status = start_loop(calls);
	if (status < 0) {
		fprintf(stderr, "provium-agent: a worker cannot start: %s\n", err.text);
		return 1;
	}
	pv_identity_serve(&calls->identity);
}
