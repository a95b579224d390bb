/*
 * Signals as readable events: a signalfd (signalfd(2)) for SIGCHLD and, in a PID 1, for the signals
 * that mean reboot and power-off. SIGCHLD coalesces, so each one takes away every child that has
 * ended.
 */
#include "agent/guest/reaper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"

static void reap(struct pv_reaper *reaper)
{
	pid_t pid;
	int status;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct pv_reaper_child *child = reaper->first;
		while (child && child->pid != pid)
			child = child->next;
		if (!child)
			continue;
		pv_reaper_remove(reaper, child);
		child->exited(child, status);
	}
}

static void ready(void *ctx, uint32_t events)
{
	struct pv_reaper *reaper = ctx;
	struct signalfd_siginfo info;
	while (read(reaper->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(reaper);
		else if (reaper->signalled)
			reaper->signalled(reaper->ctx, (int)info.ssi_signo);
	}
}

int pv_reaper_init(struct pv_reaper *reaper, struct pv_loop *loop,
    void (*signalled)(void *ctx, int signal), void *ctx, struct pv_err *err)
{
	static const int init_signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPWR};
	*reaper = (struct pv_reaper){.signalled = signalled, .ctx = ctx};
	sigset_t taken, blocked;
	sigemptyset(&taken);
	sigaddset(&taken, SIGCHLD);
	for (unsigned i = 0; signalled && i < sizeof(init_signals) / sizeof(init_signals[0]); i++)
		sigaddset(&taken, init_signals[i]);
	/*
	 * SIGPIPE is blocked rather than ignored, because programs that we start inherit what is
	 * ignored. Beside an init SIGTERM and SIGINT keep ending the agent.
	 */
	blocked = taken;
	sigaddset(&blocked, SIGPIPE);
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
	reaper->fd = signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC);
	if (reaper->fd < 0)
		return pv_err_system(err, errno, "cannot take signals");
	return pv_loop_watch_add(loop, &reaper->watch, reaper->fd, EPOLLIN, ready, reaper, err);
}

void pv_reaper_add(struct pv_reaper *reaper, struct pv_reaper_child *child)
{
	child->next = reaper->first;
	reaper->first = child;
}

void pv_reaper_remove(struct pv_reaper *reaper, struct pv_reaper_child *child)
{
	struct pv_reaper_child **at = &reaper->first;
	while (*at && *at != child)
		at = &(*at)->next;
	if (*at)
		*at = child->next;
}
