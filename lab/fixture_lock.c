/*
 * Locks of the fixture cache. Theory: flock on a file beside the entry. Its content is for people
 * and for events; what counts is the lock, which dies with its holder. The holder removes the file
 * when it is done, so whoever got a lock looks whether its file is still the one in the folder, and
 * begins again when it is not. Builders call this on their only thread, which may block.
 */
#include "lab/fixture_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"

#define HOLDER_MAX 1024

static char *path_of(const char *dir, const char *key)
{
	char *path;
	return asprintf(&path, "%s/%s.lock", dir, key) < 0 ? NULL : path;
}

/* The arguments of this process with blanks between them. */
static void read_arguments(char *out, size_t size)
{
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, out, size - 1);
	pv_fd_close(&fd);
	out[len < 0 ? 0 : len] = '\0';
	for (ssize_t i = 0; i + 1 < len; i++) {
		if (out[i] == '\0' || out[i] == '\n')
			out[i] = ' ';
	}
}

/* A lock without text is a lock as well, so trouble is ignored. */
static void sign(int fd)
{
	struct pv_bytes text = {0};
	char host[256] = "", arguments[512];
	gethostname(host, sizeof(host) - 1);
	read_arguments(arguments, sizeof(arguments));
	if (ftruncate(fd, 0) == 0 &&
	    pv_bytes_printf(&text, "pid=%d host=%s started=%lld argv=%s\n", (int)getpid(), host,
		(long long)time(NULL), arguments) == 0)
		(void)pv_fd_write_all(fd, text.data, text.len);
	pv_bytes_finish(&text);
}

static bool is_in_folder(int fd, const char *path)
{
	struct stat ours, there;
	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
}

/* Returns 0, -errno, or -EAGAIN to begin again. */
static int try_file(struct pv_fixture_lock *lock, bool wait)
{
	lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	if (lock->fd < 0)
		return -errno;
	int code = 0;
	while (flock(lock->fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0 && !code)
		code = errno == EINTR ? 0 : errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (!code && !is_in_folder(lock->fd, lock->path))
		code = -EAGAIN;
	if (code)
		pv_fd_close(&lock->fd);
	return code;
}

int pv_fixture_lock_take(
    struct pv_fixture_lock *lock, const char *dir, const char *key, bool wait, struct pv_err *err)
{
	int code;
	*lock = (struct pv_fixture_lock){.fd = -1, .path = path_of(dir, key)};
	if (!lock->path)
		return pv_err_nomem(err, "the lock of a fixture");
	do {
		code = try_file(lock, wait);
	} while (code == -EAGAIN);
	if (!code) {
		sign(lock->fd);
		return 0;
	}
	if (code == -EBUSY)
		code = -EWOULDBLOCK;
	pv_err_system(err, -code, "fixture cache `%s`: cannot take the lock of an entry", dir);
	free(lock->path);
	lock->path = NULL;
	return code;
}

void pv_fixture_lock_release(struct pv_fixture_lock *lock)
{
	/* Removed first: who waits for it finds out and makes a new one. */
	if (lock->fd >= 0)
		unlink(lock->path);
	pv_fd_close(&lock->fd);
	free(lock->path);
	lock->path = NULL;
}

char *pv_fixture_lock_holder(const char *dir, const char *key)
{
	char text[HOLDER_MAX];
	char *path = path_of(dir, key);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW) : -1;
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	pv_fd_close(&fd);
	free(path);
	if (len <= 0)
		return NULL;
	text[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strdup(text);
}
