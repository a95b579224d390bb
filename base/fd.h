/*
 * Descriptors: whole reads and writes, files into memory, and the few flags that we set. All functions retry EINTR.
 */
#ifndef PV_BASE_FD_H
#define PV_BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pv_bytes;
struct pv_err;

/* Closes `*fd` when it is not negative and sets it to -1. */
void pv_fd_close(int *fd);

/* Writes all of `data` to a blocking descriptor. Returns 0 or -errno. */
int pv_fd_write_all(int fd, const void *data, size_t len);

/* Reads exactly `len` bytes; a shorter file is -ENODATA. Returns 0 or -errno. */
int pv_fd_read_all(int fd, void *data, size_t len);

/* The same at an offset, without moving the file position. */
int pv_fd_pread_all(int fd, void *data, size_t len, uint64_t offset);

/* Sets O_NONBLOCK. Returns 0 or -errno. */
int pv_fd_set_nonblocking(int fd);

/*
 * Reads a whole regular file of at most `limit` bytes and appends it to `out`. `what` names the thing in the error
 * (`kernel`, `initrd`): "<what> `<path>`: ...". Returns 0 or -errno.
 */
int pv_fd_slurp(const char *what, const char *path, size_t limit, struct pv_bytes *out, struct pv_err *err);

/*
 * Writes a file through a temporary name beside it and renames it, so that readers see the old content or all of the new.
 * Missing parent directories are created. The umask applies to `mode`. Not synced to the disk. Returns 0 or -errno.
 */
int pv_fd_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct pv_err *err);

/* mkdir -p. Returns 0 or -errno. */
int pv_fd_make_dirs(const char *path, struct pv_err *err);

/*
 * Makes room for at least `count` descriptors before threads exist: raises the soft limit and grows the kernel's table in one step,
 * because growing it later stalls a threaded process for milliseconds. Failure is harmless and not reported.
 */
void pv_fd_presize_table(unsigned count);

#endif
