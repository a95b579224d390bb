/*
 * Two ways, both by letting the kernel do the copy, so that a bad address is an error number and
 * not a signal. process_vm_readv(2) on ourselves is one system call, but the kernel may lack it,
 * and it cannot reach what a driver has mapped without pages behind it. A pipe can: write(2) and
 * read(2) take any address that this process could use. So what the first refuses, the second
 * decides.
 */
#include "agent/guest/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <unistd.h>

/* A pipe always takes this much without a reader. */
#define PIECE 4096u

static void *pointer(uint64_t addr)
{
	return (void *)(uintptr_t)addr; // NOLINT: any number may be asked for
}

/* Puts `len` bytes into the pipe and takes them out again. */
static int copy_piece(const int pipe_fds[2], void *to, const void *from, size_t len)
{
	size_t in = 0, out = 0;
	while (in < len) {
		ssize_t done = write(pipe_fds[1], (const char *)from + in, len - in);
		if (done < 0 && errno != EINTR)
			return -errno;
		in += done > 0 ? (size_t)done : 0;
	}
	while (out < len) {
		ssize_t done = read(pipe_fds[0], (char *)to + out, len - out);
		if (done < 0 && errno != EINTR)
			return -errno;
		out += done > 0 ? (size_t)done : 0;
	}
	return 0;
}

static int copy_by_pipe(void *to, const void *from, size_t len)
{
	int fds[2];
	int status = 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	for (size_t at = 0; at < len && status == 0; at += PIECE) {
		size_t piece = len - at < PIECE ? len - at : PIECE;
		status = copy_piece(fds, (char *)to + at, (const char *)from + at, piece);
	}
	close(fds[0]);
	close(fds[1]);
	return status;
}

int pv_memory_read(uint64_t addr, void *out, size_t len)
{
	struct iovec local = {.iov_base = out, .iov_len = len};
	struct iovec remote = {.iov_base = pointer(addr), .iov_len = len};
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)len)
		return 0;
	return copy_by_pipe(out, pointer(addr), len);
}

int pv_memory_write(uint64_t addr, const void *data, size_t len)
{
	struct iovec local = {.iov_base = (void *)data, .iov_len = len};
	struct iovec remote = {.iov_base = pointer(addr), .iov_len = len};
	if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)len)
		return 0;
	return copy_by_pipe(pointer(addr), data, len);
}
