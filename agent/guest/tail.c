/*
 * `tail`, `tail_handle`: what is in a file and what comes to it.
 *
 * A regular file is read from an offset of our own; what tells of more is inotify (agent/guest/
 * tail_path.h). A file that has become shorter ends the stream. Anything else (a FIFO, a terminal,
 * a device) is read as bytes come, which epoll tells, until its end; what epoll does not know is
 * always ready.
 *
 * The descriptors are opened and read by the pump; the loop tells it of news, and watches what is
 * no regular file while the pump waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/guest/feed.h"
#include "agent/guest/tail_path.h"
#include "base/err.h"
#include "base/fd.h"

struct tail {
	struct pv_feed feed; /* first */
	struct pv_request_tail request;
	void *memory;
	int from_handle; /* the descriptor to begin with; -1: open the path */
	int fd;
	bool is_regular;
	int64_t offset; /* of the next byte to read */
	struct pv_tail_path path;
	struct pv_loop_watch source; /* of what is no regular file */
	uint8_t *chunk;
};

static struct tail *tail_of(struct pv_feed *feed)
{
	return (struct tail *)feed;
}

/* --- opening, on the pump's thread --- */

static int64_t start_of(const struct tail *tail, int64_t size)
{
	int64_t base = tail->request.from == 0 ? 0 : size, offset;
	if (__builtin_add_overflow(base, tail->request.offset, &offset))
		return tail->request.offset < 0 ? 0 : INT64_MAX;
	return offset < 0 ? 0 : offset;
}

static int open_source(struct tail *tail)
{
	tail->fd = tail->from_handle;
	tail->from_handle = -1;
	if (tail->fd >= 0)
		return 0;
	/* Without O_NONBLOCK a FIFO would wait for its writer. */
	tail->fd = open(tail->request.path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return tail->fd < 0 ? -errno : 0;
}

/* Everything that happens to the file from here on is seen. */
static int begin(struct tail *tail)
{
	struct stat info;
	int status = open_source(tail);
	if (status == 0 && fstat(tail->fd, &info) < 0)
		status = -errno;
	if (status < 0)
		return status;
	if (S_ISDIR(info.st_mode))
		return -EISDIR;
	tail->chunk = malloc(PV_PROTOCOL_CHUNK);
	if (!tail->chunk)
		return -ENOMEM;
	tail->is_regular = S_ISREG(info.st_mode);
	if (tail->is_regular) {
		status = pv_tail_path_watch(&tail->path, tail->request.path, tail->fd);
		/* The size after the watch is there, so that no byte is missed. */
		if (status == 0 && fstat(tail->fd, &info) < 0)
			status = -errno;
		tail->offset = tail->request.path ? start_of(tail, info.st_size)
						  : lseek(tail->fd, 0, SEEK_CUR);
	}
	if (status == 0)
		pv_feed_begun(&tail->feed);
	return status;
}

/* --- reading, on the pump's thread --- */

static bool is_readable(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	return poll(&wait, 1, 0) > 0;
}

/* Returns what read(2) says, -EAGAIN when there is nothing now. */
static ssize_t read_piece(struct tail *tail, size_t len)
{
	ssize_t got;
	if (!tail->is_regular && !is_readable(tail->fd))
		return -EAGAIN;
	do {
		got = tail->is_regular ? pread(tail->fd, tail->chunk, len, tail->offset)
				       : read(tail->fd, tail->chunk, len);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* File systems whose files have no true size. */
static bool has_size(int fd)
{
	static const unsigned without[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC,
	    TRACEFS_MAGIC, SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC};
	struct statfs info;
	if (fstatfs(fd, &info) < 0)
		return false;
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		if ((unsigned)info.f_type == without[i])
			return false;
	}
	return true;
}

static bool is_truncated(const struct tail *tail)
{
	struct stat info;
	return fstat(tail->fd, &info) == 0 && info.st_size < tail->offset && has_size(tail->fd);
}

/* At the end of a regular file: may there be more to read? 1, 0, or an end of the stream. */
static int look_further(struct tail *tail, bool *more)
{
	*more = false;
	if (tail->feed.truncated || is_truncated(tail)) {
		tail->feed.truncated = true;
		return PV_FEED_END;
	}
	if (!tail->request.path)
		return PV_FEED_WAIT;
	switch (pv_tail_path_next(&tail->path, tail->request.path, &tail->fd)) {
	case PV_TAIL_PATH_SAME: return PV_FEED_WAIT;
	case PV_TAIL_PATH_LOOK: break;
	case PV_TAIL_PATH_SWITCHED:
		pv_feed_notice(&tail->feed, PV_PROTOCOL_NOTICE_ROTATED);
		tail->offset = 0;
		break;
	}
	*more = true;
	return PV_FEED_WAIT;
}

static int pump(struct pv_feed *feed)
{
	struct tail *tail = tail_of(feed);
	int status = tail->chunk ? 0 : begin(tail);
	size_t room;
	bool more = true;
	while (status == PV_FEED_WAIT && more && (room = pv_feed_room(feed)) > 0) {
		ssize_t got = read_piece(tail, room);
		if (got > 0) {
			pv_feed_send(feed, tail->chunk, (size_t)got);
			tail->offset += got;
		} else if (got < 0) {
			return got == -EAGAIN ? PV_FEED_WAIT : (int)got;
		} else if (tail->is_regular) {
			status = look_further(tail, &more);
		} else {
			return PV_FEED_END;
		}
	}
	return status;
}

/* --- waiting, on the loop --- */

static void source_stirs(void *ctx, uint32_t events)
{
	struct tail *tail = ctx;
	/* It would stir on and on until it is read. */
	pv_loop_watch_remove(&tail->source);
	pv_feed_kick(&tail->feed);
}

/* Whatever the news is: the pump looks. */
static void news_came(void *ctx)
{
	struct tail *tail = ctx;
	pv_feed_kick(&tail->feed);
}

static void idle(struct pv_feed *feed)
{
	struct tail *tail = tail_of(feed);
	struct pv_loop *loop = feed->call.calls->loop;
	struct pv_err err = PV_ERR_INIT;
	/* Without a grant it may wait; the grant runs the pump. */
	if (!tail->is_regular && feed->window > 0 && !tail->source.loop)
		pv_loop_watch_add(loop, &tail->source, tail->fd, EPOLLIN, source_stirs, tail, &err);
}

static void destroy(struct pv_feed *feed)
{
	struct tail *tail = tail_of(feed);
	pv_loop_watch_remove(&tail->source);
	pv_tail_path_finish(&tail->path);
	pv_fd_close(&tail->fd);
	pv_fd_close(&tail->from_handle);
	free(tail->chunk);
	free(tail->memory);
	free(tail);
}

static const struct pv_feed_ops ops = {
    .pump = pump,
    .idle = idle,
    .destroy = destroy,
};

static void refuse(
    struct pv_calls *calls, uint64_t id, enum pv_reply_reason reason, const char *message)
{
	static const struct pv_call_ops none;
	struct pv_call call;
	pv_call_begin(&call, calls, id, &none);
	pv_call_refuse(&call, reason, message);
}

void pv_tail_start(struct pv_calls *calls, struct pv_request *request)
{
	int fd = -1;
	if (request->op == PV_REQUEST_TAIL_HANDLE) {
		struct pv_open_file *file = pv_open_file_find(&calls->files, request->tail.handle);
		if (!file) {
			refuse(calls, request->id, PV_REPLY_UNKNOWN_HANDLE,
			    "no open file has this number");
			return;
		}
		request->tail.path = NULL;
		fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	}
	struct tail *tail = calloc(1, sizeof(*tail));
	if (!tail || (request->op == PV_REQUEST_TAIL_HANDLE && fd < 0)) {
		refuse(calls, request->id, PV_REPLY_INTERNAL, "out of memory (a stream)");
		pv_fd_close(&fd);
		free(tail);
		return;
	}
	tail->from_handle = fd;
	tail->fd = -1;
	pv_tail_path_init(&tail->path, &calls->news, calls->loop, news_came, tail);
	tail->request = request->tail;
	tail->memory = request->memory;
	request->memory = NULL;
	pv_feed_start(&tail->feed, calls, request->id, &ops);
}
