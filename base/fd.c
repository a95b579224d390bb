/*
 * Files and descriptors for every layer: whole transfers that survive signals, files into memory
 * with a limit, and files that appear at once or not at all. Nothing here keeps state; any thread.
 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"

#define SLURP_STEP     65536
#define TEMPNAME_TRIES 100

void pv_fd_close(int *fd)
{
	/*
	 * Not retried on EINTR: Linux has released the number by then, and another thread may own
	 * it already.
	 */
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int pv_fd_write_all(int fd, const void *data, size_t len)
{
	const char *at = data;
	while (len > 0) {
		ssize_t done = write(fd, at, len);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		len -= (size_t)done;
	}
	return 0;
}

/* From `*offset`, or from where the descriptor stands. */
static int read_whole(int fd, void *data, size_t len, off_t *offset)
{
	char *at = data;
	while (len > 0) {
		ssize_t done = offset ? pread(fd, at, len, *offset) : read(fd, at, len);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -ENODATA;
		at += done;
		len -= (size_t)done;
		if (offset)
			*offset += done;
	}
	return 0;
}

int pv_fd_read_all(int fd, void *data, size_t len)
{
	return read_whole(fd, data, len, NULL);
}

int pv_fd_pread_all(int fd, void *data, size_t len, uint64_t offset)
{
	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EINVAL;
	off_t from = (off_t)offset;
	return read_whole(fd, data, len, &from);
}

int pv_fd_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* Opens a regular file of at most `limit` bytes. Returns the descriptor or -errno. */
static int open_regular(
    const char *what, const char *path, size_t limit, size_t *size, struct pv_err *err)
{
	/* O_NONBLOCK: a FIFO at the path must not hang us; it means nothing for regular files. */
	int fd;
	do {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return pv_err_system(err, errno, "%s `%s`", what, path);
	struct stat info;
	int status;
	if (fstat(fd, &info) < 0) {
		status = pv_err_system(err, errno, "%s `%s`", what, path);
		goto fail;
	}
	if (!S_ISREG(info.st_mode)) {
		int code = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
		status = pv_err_set(err, PV_ERR_INPUT, code, "%s `%s`: this is a %s; give a file",
		    what, path, S_ISDIR(info.st_mode) ? "folder" : "device, pipe or socket");
		goto fail;
	}
	if ((uint64_t)info.st_size > limit) {
		status = pv_err_set(err, PV_ERR_LIMIT, EFBIG,
		    "%s `%s`: %lld bytes, more than the limit of %zu", what, path,
		    (long long)info.st_size, limit);
		goto fail;
	}
	*size = (size_t)info.st_size;
	return fd;
fail:
	close(fd);
	return status;
}

int pv_fd_slurp(
    const char *what, const char *path, size_t limit, struct pv_bytes *out, struct pv_err *err)
{
	size_t size = 0, start = out->len;
	int fd = open_regular(what, path, limit, &size, err);
	if (fd < 0)
		return fd;
	int status = 0;
	/*
	 * The file may grow while we read, and files of /proc say 0: the end is where read says so.
	 * One byte more shows it at once.
	 */
	size_t step = size + 1;
	for (;;) {
		if (pv_bytes_reserve(out, step) < 0) {
			status = pv_err_nomem(err, path);
			break;
		}
		ssize_t done = read(fd, out->data + out->len, step);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			status = pv_err_system(err, errno, "%s `%s`", what, path);
		if (done <= 0)
			break;
		out->len += (size_t)done;
		if (out->len - start > limit) {
			status = pv_err_set(err, PV_ERR_LIMIT, EFBIG,
			    "%s `%s`: more than the limit of %zu bytes", what, path, limit);
			break;
		}
		step = SLURP_STEP;
	}
	if (status < 0)
		out->len = start;
	close(fd);
	return status;
}

/* Creates a file beside `path` under a name that nobody has. Returns the descriptor or -errno. */
static int open_beside(const char *path, mode_t mode, char *name, size_t size)
{
	for (int i = 0; i < TEMPNAME_TRIES; i++) {
		uint32_t salt;
		if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
			return -EIO;
		if ((size_t)snprintf(name, size, "%s.%08x.tmp", path, salt) >= size)
			return -ENAMETOOLONG;
		/*
		 * Not mkostemp: this way the umask applies, as for any file that a command writes.
		 */
		int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST && errno != EINTR)
			return -errno;
	}
	return -EEXIST;
}

/* Makes the folder that `path` is in. */
static int make_parent(const char *path, struct pv_err *err)
{
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return 0;
	char *parent = strndup(path, (size_t)(slash - path));
	if (!parent)
		return pv_err_nomem(err, path);
	int status = pv_fd_make_dirs(parent, err);
	free(parent);
	return status;
}

int pv_fd_replace_file(
    const char *path, const void *data, size_t len, mode_t mode, struct pv_err *err)
{
	char name[PATH_MAX];
	int fd = open_beside(path, mode, name, sizeof(name));
	if (fd == -ENOENT) {
		int status = make_parent(path, err);
		if (status < 0)
			return status;
		fd = open_beside(path, mode, name, sizeof(name));
	}
	if (fd < 0)
		return pv_err_system(err, -fd, "cannot write `%s`", path);
	/*
	 * No fsync: the promise is for concurrent readers and a killed writer, not for a power cut.
	 */
	int status = pv_fd_write_all(fd, data, len);
	if (close(fd) < 0 && status == 0)
		status = -errno;
	if (status == 0 && rename(name, path) < 0)
		status = -errno;
	if (status < 0) {
		unlink(name);
		return pv_err_system(err, -status, "cannot write `%s`", path);
	}
	return 0;
}

/* Makes one folder; one that is there already is fine. Returns 0 or -errno. */
static int make_dir(const char *path)
{
	if (mkdir(path, 0777) == 0)
		return 0;
	int code = errno;
	struct stat info;
	/*
	 * A read-only parent says EROFS or EACCES before EEXIST, so look rather than trust the
	 * code.
	 */
	if (stat(path, &info) < 0)
		return -code;
	return S_ISDIR(info.st_mode) ? 0 : -ENOTDIR;
}

int pv_fd_make_dirs(const char *path, struct pv_err *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	if (len >= sizeof(part))
		return pv_err_system(err, ENAMETOOLONG, "cannot make folder `%.64s...`", path);
	memcpy(part, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		char kept = part[i];
		part[i] = '\0';
		int status = make_dir(part);
		if (status < 0)
			return pv_err_system(err, -status, "cannot make folder `%s`", part);
		part[i] = kept;
	}
	return 0;
}

void pv_fd_presize_table(unsigned count)
{
	struct rlimit limit;
	if (count == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur < count) {
		limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) < 0)
			return;
	}
	/* The kernel grows the table to hold the highest number ever used and never shrinks it. */
	rlim_t top = count < limit.rlim_cur ? count : limit.rlim_cur;
	int probe = eventfd(0, EFD_CLOEXEC);
	if (probe < 0)
		return;
	int high = top > 0 && top <= INT_MAX ? fcntl(probe, F_DUPFD_CLOEXEC, (int)top - 1) : -1;
	pv_fd_close(&high);
	pv_fd_close(&probe);
}
