/*
 * Isolation of workers. Theory: whatever a file of tests makes on the network is inside its own
 * namespace, so the kernel takes it back when the process ends and two runs cannot meet. Without
 * privilege the network namespace is made inside a new user namespace in which the user keeps its
 * own ids; file access, and with it /dev/kvm by group membership, is as before.
 */
#include "runner/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

static int write_map(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int status = pv_fd_write_all(fd, text, strlen(text));
	close(fd);
	return status;
}

/* Maps the user's own ids onto themselves. */
static int keep_ids(uid_t uid, gid_t gid)
{
	char map[64];
	snprintf(map, sizeof(map), "%u %u 1\n", (unsigned)uid, (unsigned)uid);
	int status = write_map("/proc/self/uid_map", map);
	if (status)
		return status;
	/* The kernel demands this before an unprivileged gid_map. */
	status = write_map("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1\n", (unsigned)gid, (unsigned)gid);
	return status ? status : write_map("/proc/self/gid_map", map);
}

static int loopback_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int status = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
	close(fd);
	return status;
}

int pv_isolate_worker(pid_t parent, struct pv_err *err)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The parent may have died before the line above. */
	if (getppid() != parent)
		_exit(1);
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (unshare(CLONE_NEWNET) < 0) {
		/* The mount namespace is for guest memory: vmm/ram.c makes a file system of its own
		 * there. */
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) < 0)
			return pv_err_system(err, errno, "cannot make a network namespace");
		int status = keep_ids(uid, gid);
		if (status)
			return pv_err_system(err, -status, "cannot map ids in the user namespace");
	}
	int status = loopback_up();
	return status ? pv_err_system(err, -status, "cannot bring lo up") : 0;
}
