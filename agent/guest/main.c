/*
 * provium-agent: the daemon in the guest. One thread runs the loop (connection, children, timers),
 * a pool runs what may block.
 *
 *   rdinit=/sbin/provium-agent   PID 1 of an initramfs: serves beside the archive's /init, or is
 * the init (guest/boot.c) provium-agent --serve        started by the init of a guest image; serves
 * in the foreground provium-agent --serve-fd N   serves the connected socket N and ends with it;
 * for tests on the host
 *   provium-agent --serve-at PATH connects to a UNIX socket as it does to the host; for tests, too
 *   provium-agent --worker N     started by an agent: its worker process, on the connected socket N
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/guest/boot.h"
#include "agent/guest/call.h"
#include "agent/guest/entropy.h"
#include "agent/guest/modules.h"
#include "agent/guest/power.h"
#include "base/err.h"

/* How the process was started. */
struct role {
	bool init;	  /* nobody else is PID 1 */
	bool beside;	  /* of an initramfs' own init */
	int fd;		  /* a socket to serve, or -1 */
	const char *path; /* a socket to connect to, or NULL */
	int rest_fd;	  /* what reads as ended when all is loaded, or -1 */
	int entropy_fd;	  /* of pv_entropy_open */
};

/*
 * Whoever started us may have ignored signals, and programs would inherit that. The kernel is asked
 * directly, because the C library refuses to touch the two that it uses itself.
 */
static void reset_signals(void)
{
	static const unsigned long
	    by_default[4]; /* struct sigaction of the kernel: handler, flags, restorer, mask */
	for (int number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, by_default, NULL, sizeof(unsigned long));
}

static int serve(const struct role *role)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_loop *loop;
	/* One of each for the life of the process; too large for a stack of habit. */
	struct pv_calls *calls = calloc(1, sizeof(*calls));
	struct pv_power power;
	if (!calls || pv_loop_create(&loop, &err) < 0)
		goto fail;
	pv_loop_lock(loop);
	pv_calls_init(calls, loop);
	calls->entropy_fd = role->entropy_fd;
	int status = pv_reaper_init(
	    &calls->reaper, loop, role->init ? pv_power_signalled : NULL, NULL, &err);
	if (status == 0 && role->fd >= 0)
		status = pv_connection_adopt(&calls->connection, role->fd);
	else if (status == 0)
		pv_connection_start(&calls->connection, role->path);
	if (role->beside)
		pv_root_init(&calls->root);
	int rest_fd = role->rest_fd;
	if (role->init) {
		/* The host's answer is on its way meanwhile. */
		rest_fd = pv_boot_rest();
		pv_power_init(&power, loop);
	}
	if (rest_fd >= 0)
		pv_calls_wait_for(calls, rest_fd);
	pv_loop_unlock(loop);
	if (status < 0)
		goto fail;
	pv_loop_run(loop);
	return 0;
fail:
	fprintf(stderr, "provium-agent: cannot start: %s\n",
	    err.kind == PV_ERR_NONE ? "out of memory" : err.text);
	/* A PID 1 that ends panics the kernel, which is what the host can see best. */
	return 1;
}

static int usage(void)
{
	fprintf(
	    stderr, "usage: provium-agent --serve | --serve-fd N | --serve-at PATH | --version\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct role role = {.fd = -1, .rest_fd = -1, .entropy_fd = -1};
	umask(022);
	if (getpid() == 1 && !(argc > 1 && strncmp(argv[1], "--", 2) == 0)) {
		role.entropy_fd = pv_entropy_open();
		/* The kernel passes its own words as arguments; they are for an init. */
		role.beside = pv_boot_begin(argv, &role.rest_fd);
		role.init = !role.beside;
		return serve(&role);
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("provium-agent %s\n", PV_VERSION);
		return 0;
	}
	reset_signals();
	pv_boot_complete_process();
	bool is_worker = argc == 3 && strcmp(argv[1], "--worker") == 0;
	if (is_worker || (argc == 3 && strcmp(argv[1], "--serve-fd") == 0)) {
		char *end;
		long number = strtol(argv[2], &end, 10);
		if (*end || end == argv[2] || number < 0 || number > 1 << 20)
			return usage();
		role.fd = (int)number;
		fcntl(role.fd, F_SETFD, FD_CLOEXEC);
		return is_worker ? pv_worker_main(role.fd) : serve(&role);
	}
	if (argc == 3 && strcmp(argv[1], "--serve-at") == 0) {
		role.path = argv[2];
		return serve(&role);
	}
	if (argc != 2 || strcmp(argv[1], "--serve") != 0)
		return usage();
	pv_modules_load(PV_MODULES_LIST);
	pv_modules_load(PV_MODULES_LATER_LIST);
	return serve(&role);
}
