/*
 * Open files: `open`, `read`, `write`, `seek`, `close`, each as work on a pool thread. What waits
 * for somebody else (the other end of a FIFO, a terminal) can be cancelled in the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/open_file.h"
#include "agent/guest/work.h"
#include "base/fd.h"

/* --- open --- */

static int flags_of(int64_t flags)
{
	const bool writes = flags & (PV_PROTOCOL_OPEN_WRITE | PV_PROTOCOL_OPEN_APPEND);
	const bool reads = flags & PV_PROTOCOL_OPEN_READ;
	int result = writes ? (reads ? O_RDWR : O_WRONLY) : O_RDONLY;
	if (flags & PV_PROTOCOL_OPEN_CREATE)
		result |= O_CREAT;
	if (flags & PV_PROTOCOL_OPEN_TRUNCATE)
		result |= O_TRUNC;
	if (flags & PV_PROTOCOL_OPEN_APPEND)
		result |= O_APPEND;
	if (flags & PV_PROTOCOL_OPEN_EXCLUSIVE)
		result |= O_EXCL;
	return result;
}

/* A new file has exactly the permissions asked for, whatever the umask. */
static int open_path(struct pv_work *work)
{
	const struct pv_request_handle *handle = &work->request.handle;
	int flags = flags_of(handle->flags);
	mode_t mode = (mode_t)handle->mode;
	int fd = -EEXIST;
	if (!(flags & O_CREAT))
		return pv_work_open(work, handle->path, flags, 0);
	if (!(flags & O_EXCL))
		fd = pv_work_open(work, handle->path, flags & ~O_CREAT, 0);
	if (fd >= 0 || (!(flags & O_EXCL) && fd != -ENOENT))
		return fd;
	fd = pv_work_open(work, handle->path, flags | O_EXCL, mode);
	if (fd >= 0 && fchmod(fd, mode) < 0) {
		int status = -errno;
		close(fd);
		return status;
	}
	/* It appeared between the two, or it is a link to nowhere. */
	return fd == -EEXIST ? pv_work_open(work, handle->path, flags, mode) : fd;
}

static int open_file(struct pv_work *work)
{
	struct pv_calls *calls = work->call.calls;
	int fd = open_path(work);
	if (fd < 0)
		return fd;
	pv_loop_lock(calls->loop);
	/* Without a host there is nobody to whom the number could be told. */
	struct pv_open_file *file = NULL;
	if (!work->call.detached && !work->cancelled)
		file = pv_open_file_add(&calls->files, fd);
	if (file)
		pv_work_answer(work, "handle", file->number);
	int status = file ? 0 : work->cancelled ? -ECANCELED : -ENOMEM;
	pv_loop_unlock(calls->loop);
	if (!file)
		close(fd);
	return status;
}

/* --- read --- */

static bool is_regular(int fd)
{
	struct stat info;
	return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

/* Reads until there is enough; from what is no regular file what is there is enough, unless all is
 * wanted. */
static int read_pieces(struct pv_work *work, int fd, uint8_t *chunk)
{
	const int64_t wanted = work->request.handle.size;
	const bool waits = !is_regular(fd), all = wanted < 0;
	int64_t size = 0;
	while (all || size < wanted) {
		size_t len = PV_PROTOCOL_CHUNK;
		if (!all && wanted - size < (int64_t)len)
			len = (size_t)(wanted - size);
		int status = waits ? pv_work_wait_readable(work, fd) : 0;
		if (status < 0)
			return status;
		ssize_t got = pv_work_read(work, fd, chunk, len);
		if (got == -EAGAIN)
			continue;
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		status = pv_work_send(work, chunk, (size_t)got);
		if (status < 0)
			return status;
		size += got;
		if (waits && !all)
			break;
	}
	pv_work_answer(work, "size", size);
	return 0;
}

static int read_file(struct pv_work *work)
{
	/* poll(2) would wait for ever for input from the writing end. */
	int flags = fcntl(work->file->fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	uint8_t *chunk = malloc(PV_PROTOCOL_CHUNK);
	if (!chunk)
		return -ENOMEM;
	int status = read_pieces(work, work->file->fd, chunk);
	free(chunk);
	return status;
}

/* --- write, seek, close --- */

static int write_file(struct pv_work *work)
{
	struct pv_bytes piece = {0};
	int64_t size = 0;
	int status;
	while ((status = pv_work_take(work, &piece)) > 0) {
		status = pv_work_write_all(work, work->file->fd, piece.data, piece.len);
		if (status < 0)
			break;
		size += (int64_t)piece.len;
		pv_work_credit(work, piece.len);
	}
	pv_bytes_finish(&piece);
	pv_work_answer(work, "size", size);
	return status;
}

static int seek_file(struct pv_work *work)
{
	static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
	const struct pv_request_handle *handle = &work->request.handle;
	off_t at = lseek(work->file->fd, handle->offset, whences[handle->whence]);
	if (at < 0)
		return -errno;
	pv_work_answer(work, "offset", at);
	return 0;
}

static int close_file(struct pv_work *work)
{
	struct pv_calls *calls = work->call.calls;
	pv_loop_lock(calls->loop);
	int last = pv_open_file_unref(work->file);
	work->file = NULL;
	pv_loop_unlock(calls->loop);
	/* After EINTR the descriptor is gone all the same (close(2)). */
	return last >= 0 && close(last) < 0 && errno != EINTR ? -errno : 0;
}

static void refuse(struct pv_calls *calls, uint64_t id)
{
	static const struct pv_call_ops none;
	struct pv_call call;
	pv_call_begin(&call, calls, id, &none);
	pv_call_refuse(&call, PV_REPLY_UNKNOWN_HANDLE, "no open file has this number");
}

void pv_handles_start(struct pv_calls *calls, struct pv_request *request)
{
	static int (*const works[PV_REQUEST_OP_COUNT])(struct pv_work * work) = {
	    [PV_REQUEST_OPEN] = open_file,
	    [PV_REQUEST_READ] = read_file,
	    [PV_REQUEST_WRITE] = write_file,
	    [PV_REQUEST_SEEK] = seek_file,
	    [PV_REQUEST_CLOSE] = close_file,
	};
	struct pv_work_task task = {.run = works[request->op]};
	if (request->op == PV_REQUEST_CLOSE)
		task.file = pv_open_file_take(&calls->files, request->handle.handle);
	else if (request->op != PV_REQUEST_OPEN)
		task.file = pv_open_file_find(&calls->files, request->handle.handle);
	if (!task.file && request->op != PV_REQUEST_OPEN) {
		refuse(calls, request->id);
		return;
	}
	if (task.file && request->op != PV_REQUEST_CLOSE)
		pv_open_file_ref(task.file);
	if (request->op == PV_REQUEST_WRITE) {
		task.takes_data = true;
		task.data = request->handle.data;
		task.more = request->handle.more;
	}
	pv_work_start(calls, request, &task);
}
