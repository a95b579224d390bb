/*
 * File operations: `read_file`, `write_file`, `stat`. Each runs on a pool thread, because any of
 * them may block for ever (a FIFO, a hung disk), and takes the loop lock only to take data in and
 * to answer.
 *
 * Reading pauses while the queue to the host is full. Content to write waits in `input`, at most
 * PV_PROTOCOL_WINDOW bytes of it, and what has been written is credit for the host. A call whose
 * stream ended lives on until its thread comes back from the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/call.h"
#include "base/clock.h"
#include "base/fd.h"

struct file_call {
	struct pv_call call; /* first: the ops get it */
	struct pv_pool_job job;
	enum pv_request_op op;
	struct pv_request_file file; /* `path` is in `memory`, `data` is not valid */
	void *memory;
	/* Under the loop lock: */
	struct pv_bytes input;
	bool input_ended;
	bool cancelled;
};

static struct file_call *file_call_of(struct pv_call *call)
{
	return (struct file_call *)call;
}

static void lock(struct file_call *file)
{
	pv_loop_lock(file->call.calls->loop);
}

static void unlock(struct file_call *file)
{
	pv_loop_unlock(file->call.calls->loop);
}

static void destroy(struct file_call *file)
{
	pv_bytes_finish(&file->input);
	free(file->memory);
	free(file);
}

/* Open, and again when a signal came between. */
static int open_file(const char *path, int flags, mode_t mode)
{
	int fd;
	do {
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

/* --- read_file --- */

/* Queues a piece, after waiting for room. Returns 0 or -ECANCELED. */
static int send_piece(struct file_call *file, const void *data, size_t len)
{
	lock(file);
	while (!file->cancelled && !pv_call_has_room(&file->call))
		pv_loop_wait(file->call.calls->loop, PV_CLOCK_NEVER);
	int status = file->cancelled ? -ECANCELED : 0;
	if (status == 0) {
		pv_call_data(&file->call, PV_PROTOCOL_CHANNEL_FILE, data, len);
		pv_call_flush(&file->call);
	}
	unlock(file);
	return status;
}

static int read_pieces(struct file_call *file, int fd, uint8_t *chunk, uint64_t *size)
{
	for (;;) {
		ssize_t got = read(fd, chunk, PV_PROTOCOL_CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		int status = send_piece(file, chunk, (size_t)got);
		if (status < 0)
			return status;
		*size += (uint64_t)got;
	}
}

static int read_file(struct file_call *file, uint64_t *size)
{
	uint8_t *chunk = malloc(PV_PROTOCOL_CHUNK);
	if (!chunk)
		return -ENOMEM;
	int fd = open_file(file->file.path, O_RDONLY, 0);
	int status = fd < 0 ? fd : read_pieces(file, fd, chunk, size);
	pv_fd_close(&fd);
	free(chunk);
	return status;
}

/* --- write_file --- */

/* Opens for replacing. The permissions of a new file are exactly those asked for, whatever the
 * umask. */
static int open_to_write(const char *path, mode_t mode)
{
	int fd = open_file(path, O_WRONLY | O_TRUNC, 0);
	if (fd != -ENOENT)
		return fd;
	fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (fd >= 0 && fchmod(fd, mode) < 0) {
		int status = -errno;
		close(fd);
		return status;
	}
	/* It appeared between the two, or it is a link to nowhere. */
	if (fd == -EEXIST)
		fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	return fd;
}

/* Waits for content and moves it to `piece`. Returns 1, 0 at its end, -ECANCELED. */
static int take_input(struct file_call *file, struct pv_bytes *piece)
{
	piece->len = 0;
	lock(file);
	while (!file->cancelled && !file->input_ended && file->input.len == 0)
		pv_loop_wait(file->call.calls->loop, PV_CLOCK_NEVER);
	int status = file->cancelled ? -ECANCELED : file->input.len > 0;
	if (status > 0) {
		struct pv_bytes empty = *piece;
		*piece = file->input;
		file->input = empty;
	}
	unlock(file);
	return status;
}

static void give_credit(struct file_call *file, size_t len)
{
	lock(file);
	if (!file->input_ended) {
		pv_call_credit(&file->call, len);
		pv_call_flush(&file->call);
	}
	unlock(file);
}

static int write_file(struct file_call *file, uint64_t *size)
{
	int fd = open_to_write(file->file.path, file->file.mode);
	if (fd < 0)
		return fd;
	struct pv_bytes piece = {0};
	int status;
	while ((status = take_input(file, &piece)) > 0) {
		status = pv_fd_write_all(fd, piece.data, piece.len);
		if (status < 0)
			break;
		*size += piece.len;
		give_credit(file, piece.len);
	}
	pv_bytes_finish(&piece);
	if (close(fd) < 0 && status == 0 && errno != EINTR)
		status = -errno;
	return status;
}

/* --- stat --- */

static enum pv_reply_entry entry_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return PV_REPLY_FILE;
	case S_IFDIR: return PV_REPLY_DIRECTORY;
	case S_IFLNK: return PV_REPLY_SYMLINK;
	case S_IFIFO: return PV_REPLY_FIFO;
	case S_IFSOCK: return PV_REPLY_SOCKET;
	case S_IFBLK: return PV_REPLY_BLOCK_DEVICE;
	case S_IFCHR: return PV_REPLY_CHAR_DEVICE;
	default: return PV_REPLY_OTHER;
	}
}

static int stat_file(const struct file_call *file, struct pv_reply_stat *out)
{
	struct stat info;
	int flags = file->file.follow ? 0 : AT_SYMLINK_NOFOLLOW;
	if (fstatat(AT_FDCWD, file->file.path, &info, flags) < 0)
		return -errno;
	int64_t mtime;
	if (__builtin_mul_overflow((int64_t)info.st_mtim.tv_sec, PV_CLOCK_SECOND, &mtime) ||
	    __builtin_add_overflow(mtime, (int64_t)info.st_mtim.tv_nsec, &mtime))
		mtime = info.st_mtim.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	*out = (struct pv_reply_stat){
	    .size = (uint64_t)info.st_size,
	    .mtime_ns = mtime,
	    .perm = info.st_mode & 07777,
	    .entry = entry_of(info.st_mode),
	};
	return 0;
}

/* --- the call --- */

static void run(struct pv_pool_job *job)
{
	struct file_call *file =
	    (struct file_call *)((char *)job - offsetof(struct file_call, job));
	struct pv_calls *calls = file->call.calls;
	struct pv_reply_stat stat;
	uint64_t size = 0;
	int status;
	if (file->op == PV_REQUEST_READ_FILE)
		status = read_file(file, &size);
	else if (file->op == PV_REQUEST_WRITE_FILE)
		status = write_file(file, &size);
	else
		status = stat_file(file, &stat);
	pv_loop_lock(calls->loop);
	if (status < 0)
		pv_call_fail(&file->call, -status, NULL);
	else if (file->op == PV_REQUEST_STAT)
		pv_call_end_stat(&file->call, &stat);
	else
		pv_call_end_size(&file->call, size);
	pv_loop_unlock(calls->loop);
	destroy(file);
}

static void take_chunk(struct pv_call *call, struct pv_span data)
{
	struct file_call *file = file_call_of(call);
	if (file->input_ended || file->op != PV_REQUEST_WRITE_FILE)
		return;
	if (file->input.len + data.len > PV_PROTOCOL_WINDOW ||
	    pv_bytes_append(&file->input, data.data, data.len) < 0) {
		/* The host ignores the credit rule, or there is no memory: the stream is no use. */
		pv_connection_break(&call->calls->connection);
		return;
	}
	pv_loop_wake(call->calls->loop);
}

static void take_finish(struct pv_call *call)
{
	file_call_of(call)->input_ended = true;
	pv_loop_wake(call->calls->loop);
}

static void cancel(struct pv_call *call)
{
	file_call_of(call)->cancelled = true;
	pv_loop_wake(call->calls->loop);
}

static const struct pv_call_ops ops = {
    .chunk = take_chunk,
    .finish = take_finish,
    .cancel = cancel,
};

void pv_files_start(struct pv_calls *calls, struct pv_request *request)
{
	struct file_call *file = calloc(1, sizeof(*file));
	struct pv_call failed;
	static const struct pv_call_ops none;
	if (!file) {
		pv_call_begin(&failed, calls, request->id, &none);
		pv_call_refuse(&failed, PV_REPLY_INTERNAL, "out of memory (a file operation)");
		return;
	}
	pv_call_begin(&file->call, calls, request->id, &ops);
	file->op = request->op;
	file->file = request->file;
	file->memory = request->memory;
	request->memory = NULL;
	file->input_ended = !request->file.more;
	file->job.run = run;
	int status = 0;
	if (request->op == PV_REQUEST_WRITE_FILE)
		status =
		    pv_bytes_append(&file->input, request->file.data.data, request->file.data.len);
	if (status == 0)
		status = pv_pool_run(&calls->pool, &file->job);
	if (status < 0) {
		pv_call_fail(&file->call, -status, NULL);
		destroy(file);
	}
}
