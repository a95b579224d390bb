/*
 * Input that comes with the start is kept in a file (agent/guest/spool.h), because the start does
 * not wait for a program that reads late or never. Later writes wait for the program and so bound
 * themselves. On the loop thread, and on the identity thread of a worker.
 */
#include "agent/guest/process_input.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/guest/spool.h"
#include "base/err.h"
#include "base/fd.h"

#define PIECE (64u << 10)

int pv_process_input_init(struct pv_process_input *input, struct pv_loop *loop, int *fd)
{
	*input = (struct pv_process_input){.loop = loop, .fd = fd};
	input->kept = pv_spool_create();
	return input->kept ? 0 : -ENOMEM;
}

void pv_process_input_finish(struct pv_process_input *input)
{
	pv_loop_watch_remove(&input->watch);
	pv_bytes_finish(&input->bytes);
	pv_spool_unref(input->kept);
	input->kept = NULL;
}

int pv_process_input_keep(struct pv_process_input *input, struct pv_span data)
{
	return pv_spool_append(input->kept, data.data, data.len);
}

static void shut(struct pv_process_input *input, int error)
{
	pv_loop_watch_remove(&input->watch);
	pv_fd_close(input->fd);
	input->error = error;
	input->kept_done = input->kept->size;
	input->bytes.len = 0;
}

/* Writes once. Returns the number of bytes, or 0 when the pipe is full or broken. */
static size_t put(struct pv_process_input *input, const void *data, size_t len)
{
	ssize_t done;
	do {
		done = write(*input->fd, data, len);
	} while (done < 0 && errno == EINTR);
	if (done >= 0)
		return (size_t)done;
	if (errno != EAGAIN)
		shut(input, errno);
	return 0;
}

/* One step through what came with the start. */
static size_t put_kept(struct pv_process_input *input)
{
	uint8_t piece[PIECE];
	ssize_t got = pread(input->kept->fd, piece, sizeof(piece), (off_t)input->kept_done);
	if (got <= 0) {
		shut(input, got < 0 ? errno : EIO);
		return 0;
	}
	size_t done = put(input, piece, (size_t)got);
	input->kept_done += *input->fd >= 0 ? done : 0;
	return done;
}

static void ready(void *ctx, uint32_t events)
{
	(void)events;
	pv_process_input_feed(ctx);
}

/* Waits for room in the pipe exactly while something waits to be written. */
static void watch(struct pv_process_input *input)
{
	struct pv_err err = PV_ERR_INIT;
	bool waits = input->kept_done < input->kept->size || input->bytes.len > 0;
	if (!waits)
		pv_loop_watch_remove(&input->watch);
	else if (!input->watch.loop && pv_loop_watch_add(input->loop, &input->watch, *input->fd,
					   EPOLLOUT, ready, input, &err) < 0)
		shut(input, ENOMEM);
	else
		return;
	if (input->closing && *input->fd >= 0)
		shut(input, 0);
}

void pv_process_input_feed(struct pv_process_input *input)
{
	size_t taken = 0, done = 1;
	while (*input->fd >= 0 && done > 0 && input->kept_done < input->kept->size)
		done = put_kept(input);
	while (*input->fd >= 0 && done > 0 && input->bytes.len > 0) {
		done = put(input, input->bytes.data, input->bytes.len);
		pv_bytes_consume(&input->bytes, done);
		taken += done;
	}
	if (*input->fd >= 0)
		watch(input);
	if (input->moved && (taken > 0 || *input->fd < 0))
		input->moved(input->ctx, taken);
}

void pv_process_input_close(struct pv_process_input *input)
{
	input->closing = true;
	if (*input->fd >= 0)
		pv_process_input_feed(input);
}
