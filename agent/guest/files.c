/*
 * Whole files: `read_file`, `write_file`, each as work on a pool thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/work.h"
#include "base/fd.h"

/* --- read_file --- */

static int read_pieces(struct pv_work *work, int fd, uint8_t *chunk)
{
	int64_t size = 0;
	for (;;) {
		ssize_t got = pv_work_read(work, fd, chunk, PV_PROTOCOL_CHUNK);
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		int status = pv_work_send(work, chunk, (size_t)got);
		if (status < 0)
			return status;
		size += got;
	}
	pv_work_answer(work, "size", size);
	return 0;
}

static int read_file(struct pv_work *work)
{
	uint8_t *chunk = malloc(PV_PROTOCOL_CHUNK);
	if (!chunk)
		return -ENOMEM;
	int fd = pv_work_open(work, work->request.file.path, O_RDONLY, 0);
	int status = fd < 0 ? fd : read_pieces(work, fd, chunk);
	pv_fd_close(&fd);
	free(chunk);
	return status;
}

/* --- write_file --- */

/* Opens for replacing. The permissions of a new file are exactly those asked for, whatever the
 * umask. */
static int open_to_write(struct pv_work *work)
{
	const char *path = work->request.file.path;
	const mode_t mode = (mode_t)work->request.file.mode;
	int fd = pv_work_open(work, path, O_WRONLY | O_TRUNC, 0);
	if (fd != -ENOENT)
		return fd;
	fd = pv_work_open(work, path, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (fd >= 0 && fchmod(fd, mode) < 0) {
		int status = -errno;
		close(fd);
		return status;
	}
	/* It appeared between the two, or it is a link to nowhere. */
	if (fd == -EEXIST)
		fd = pv_work_open(work, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	return fd;
}

static int write_file(struct pv_work *work)
{
	int fd = open_to_write(work);
	if (fd < 0)
		return fd;
	struct pv_bytes piece = {0};
	int64_t size = 0;
	int status;
	while ((status = pv_work_take(work, &piece)) > 0) {
		status = pv_work_write_all(work, fd, piece.data, piece.len);
		if (status < 0)
			break;
		size += (int64_t)piece.len;
		pv_work_credit(work, piece.len);
	}
	pv_bytes_finish(&piece);
	if (close(fd) < 0 && status == 0 && errno != EINTR)
		status = -errno;
	pv_work_answer(work, "size", size);
	return status;
}

void pv_files_start(struct pv_calls *calls, struct pv_request *request)
{
	struct pv_work_task task = {.run = read_file};
	if (request->op == PV_REQUEST_WRITE_FILE)
		task = (struct pv_work_task){
		    .run = write_file,
		    .takes_data = true,
		    .data = request->file.data,
		    .more = request->file.more,
		};
	pv_work_start(calls, request, &task);
}
