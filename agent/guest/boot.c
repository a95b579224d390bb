/*
 * The first process. The kernel starts the agent by rdinit=/sbin/provium-agent, so it comes before
 * the guest's own init and can tell which guest this is:
 *
 * - There is an /init: a child serves, PID 1 becomes /init, with the arguments and environment that
 * the kernel gave, and mounts nothing: the guest runs as it would without us. Modules are loaded
 * before that, because an init that moves to another root deletes them. The child marks its
 * name with `@`: systemd spares such processes when it changes the root.
 * - There is none: the agent is the init. It mounts only what a guest program expects to find. /tmp
 * and /run get a file system of their own only when the archive has put nothing there.
 *
 * Start-up time is measured, so the order is: what the connection needs, the connection, all else,
 * which is done at the lowest priority beside the hello; requests wait for it (pv_calls_wait_for).
 */
#include "agent/guest/boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/modules.h"
#include "base/fd.h"

#define INIT	  "/init"
#define NICE_LAST 19

struct file_system {
	const char *type;
	const char *target;
	unsigned long flags;
	const char *options;
	mode_t mode; /* of the folder when it must be made */
	bool only_if_empty;
};

static const struct file_system file_systems[] = {
    {"proc",   "/proc",    MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,			      0555,  false},
    {"sysfs",  "/sys",     MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,			      0555,  false},
    {"tmpfs",  "/tmp",     MS_NOSUID | MS_NODEV,		    "mode=1777",			 01777, true },
    {"tmpfs",  "/run",     MS_NOSUID | MS_NODEV,		    "mode=0755",			 0755,  true },
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,		  "gid=5,mode=620,ptmxmode=666", 0755,  false},
    {"tmpfs",  "/dev/shm", MS_NOSUID | MS_NODEV,		"mode=1777",		     01777, false},
};

static const struct file_system devices = {"devtmpfs", "/dev", MS_NOSUID, "mode=0755", 0755, false};

static bool has_entries(const char *path)
{
	DIR *folder = opendir(path);
	if (!folder)
		return false;
	const struct dirent *entry;
	bool found = false;
	while (!found && (entry = readdir(folder)))
		found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(folder);
	return found;
}

static int mount_one(const struct file_system *what)
{
	if (mkdir(what->target, what->mode) == 0)
		chmod(what->target, what->mode);
	else if (what->only_if_empty && has_entries(what->target))
		return 0;
	if (mount(what->type, what->target, what->type, what->flags, what->options) == 0)
		return 0;
	return errno == EBUSY ? 0 : -errno;
}

static void complain(const char *what, int status)
{
	if (status < 0)
		fprintf(stderr, "provium-agent: %s: %s\n", what, strerror(-status));
}

/* A kernel without devtmpfs: the handful of nodes that every program expects. */
static void make_nodes(void)
{
	static const struct {
		const char *path;
		unsigned major, minor;
	} nodes[] = {
	    {"/dev/console", 5, 1 },
	    {"/dev/null",	  1, 3 },
	    {"/dev/zero",	  1, 5 },
	    {"/dev/full",	  1, 7 },
	    {"/dev/random",  1, 8 },
	    {"/dev/urandom", 1, 9 },
	    {"/dev/tty",	 5, 0 },
	    {"/dev/ptmx",	  5, 2 },
	    {"/dev/ttyS0",   4, 64},
	};
	for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor));
		chmod(nodes[i].path, 0666);
	}
}

/*
 * Nodes whose drivers are modules that load when the node is opened; devtmpfs has them only once
 * they are loaded. The numbers are fixed (Linux: Documentation/admin-guide/devices.txt).
 */
static void make_autoload_nodes(void)
{
	static const struct {
		const char *path;
		unsigned minor;
	} nodes[] = {
	    {"/dev/loop-control", 237},
	    {"/dev/fuse",	  229},
	    {"/dev/net/tun",	     200},
	};
	mkdir("/dev/net", 0755);
	/* A node that is there already stays as it is. */
	for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		mknod(nodes[i].path, S_IFCHR | 0660, makedev(10, nodes[i].minor));
}

static void mount_devices(void)
{
	if (mount_one(&devices) < 0)
		make_nodes();
	make_autoload_nodes();
	/* Shells reach their own descriptors this way. Present links are as good. */
	static const char *const links[][2] = {
	    {"/proc/self/fd", "/dev/fd"    },
	    {"fd/0",	     "/dev/stdin" },
	    {"fd/1",	     "/dev/stdout"},
	    {"fd/2",	     "/dev/stderr"},
	};
	for (unsigned i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			return;
	}
}

static int raise_loopback(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno == EAFNOSUPPORT ? 0
					     : -errno; /* a kernel without IPv4 is a guest too */
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
	int status = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
	close(fd);
	return status;
}

static void mount_all(void)
{
	for (unsigned i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++)
		complain(file_systems[i].target, mount_one(&file_systems[i]));
	complain("lo", raise_loopback());
}

void pv_boot_complete_process(void)
{
	static const char *const stand_ins[] = {"/dev/console", "/dev/null", "/"};
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number is `fd`, because those below are taken. */
		for (int i = 0; i < 3; i++) {
			if (open(stand_ins[i], (i < 2 ? O_RDWR : O_RDONLY) | O_NOCTTY) >= 0)
				break;
		}
	}
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
	setenv("HOME", "/", 0);
	setenv("TERM", "linux", 0);
}

/* There is an init, and it is not us under another name. */
static bool has_init(const char *self)
{
	struct stat init, own;
	if (access(INIT, X_OK) < 0 || stat(INIT, &init) < 0)
		return false;
	return stat(self, &own) < 0 || init.st_dev != own.st_dev || init.st_ino != own.st_ino;
}

/* The rest does not take the processor from the one who says hello. */
static void be_nice(int nice)
{
	/* Of this thread, although POSIX means the process. */
	setpriority(PRIO_PROCESS, (id_t)gettid(), nice);
}

/* Becomes the archive's init; returns when that is not to be. `child` serves. */
static void become_init(char **argv, pid_t child)
{
	int nice = getpriority(PRIO_PROCESS, 0);
	be_nice(NICE_LAST);
	pv_modules_load(PV_MODULES_LATER_LIST);
	be_nice(nice);
	char *name = argv[0];
	argv[0] = (char *)INIT;
	execve(INIT, argv, environ);
	fprintf(stderr, "provium-agent: %s cannot be executed (%s); going on without it\n", INIT,
	    strerror(errno));
	argv[0] = name;
	/* Two agents must not serve; the kernel's loader has refused, so nothing has run yet. */
	if (child > 0 && kill(child, SIGKILL) == 0)
		waitpid(child, NULL, 0);
}

bool pv_boot_begin(char **argv, int *rest_fd)
{
	bool beside = has_init(argv[0]);
	int ends[2] = {-1, -1};
	*rest_fd = -1;
	if (!beside) {
		mount_devices();
		pv_boot_complete_process();
	}
	pv_modules_load(PV_MODULES_LIST);
	if (!beside)
		return false;
	/* The other end closes when this process has become the init. */
	if (pipe2(ends, O_CLOEXEC) < 0)
		ends[0] = ends[1] = -1;
	pid_t child = fork();
	if (child == 0) {
		pv_fd_close(&ends[1]);
		*rest_fd = ends[0];
		setsid();
		argv[0][0] = '@';
		pv_boot_complete_process();
		return true;
	}
	pv_fd_close(&ends[0]);
	become_init(argv, child);
	pv_fd_close(&ends[1]);
	mount_devices();
	pv_boot_complete_process();
	return false;
}

static void *load_rest(void *end)
{
	int fd = (int)(intptr_t)end;
	be_nice(NICE_LAST);
	mount_all();
	pv_modules_load(PV_MODULES_LATER_LIST);
	close(fd);
	return NULL;
}

int pv_boot_rest(void)
{
	int ends[2];
	pthread_t thread;
	if (pipe2(ends, O_CLOEXEC) == 0) {
		if (pthread_create(&thread, NULL, load_rest, (void *)(intptr_t)ends[1]) == 0) {
			pthread_detach(thread);
			return ends[0];
		}
		close(ends[0]);
		close(ends[1]);
	}
	mount_all();
	pv_modules_load(PV_MODULES_LATER_LIST);
	return -1;
}
