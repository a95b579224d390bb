/*
 * An init that finds its real root (switch_root(8)) mounts it over `/` and changes into it;
 * processes that run already stay behind in the emptied initramfs. The agent looks at /proc/1/root
 * before each operation and follows. It may not mount anything that the guest sees and /proc may
 * not be there yet, or have moved, so it has a proc of its own that is attached nowhere: fsmount(2)
 * gives just a descriptor.
 */
#include "agent/guest/root.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

#define INIT_ROOT "1/root"

void pv_root_init(struct pv_root *root)
{
	root->proc = -1;
	int context = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
	if (context >= 0 && syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		root->proc = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	pv_fd_close(&context);
}

static bool look(int folder, const char *path, struct statx *out)
{
	return statx(folder, path, AT_STATX_DONT_SYNC, STATX_INO, out) == 0;
}

void pv_root_follow(struct pv_root *root)
{
	struct statx own, init;
	if (root->proc < 0 || !look(AT_FDCWD, "/", &own) || !look(root->proc, INIT_ROOT, &init))
		return;
	if (own.stx_ino == init.stx_ino && own.stx_dev_major == init.stx_dev_major &&
	    own.stx_dev_minor == init.stx_dev_minor)
		return;
	int fd = openat(root->proc, INIT_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* chroot(2) of one thread holds for all of the process. */
	if (fd >= 0 && fchdir(fd) == 0 && chroot(".") < 0)
		(void)!chdir("/");
	pv_fd_close(&fd);
}
