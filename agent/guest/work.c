/*
 * Work on pool threads, because any of it may block for ever (a FIFO, a hung disk). A thread takes
 * the loop lock only to take data in and to answer.
 *
 * Sending pauses while the queue to the host is full. Input waits in `input`, at most
 * PV_PROTOCOL_WINDOW bytes of it, and what has been digested is credit for the host. A call whose
 * stream ended lives on until its thread comes back from the kernel.
 *
 * A cancellation calls the thread back: from a wait of ours by a wake, from poll(2) by an eventfd,
 * from a call that waits for somebody else (the other end of a FIFO) by agent/guest/syscall.h,
 * which cannot come too early. Whatever else may hang (a dead disk) gets the same signal, too, and
 * comes back if the kernel lets it.
 */
#include "agent/guest/work.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/guest/open_file.h"
#include "base/clock.h"
#include "base/fd.h"

static struct pv_work *work_of(struct pv_call *call)
{
	return (struct pv_work *)call;
}

static void lock(struct pv_work *work)
{
	pv_loop_lock(work->call.calls->loop);
}

static void unlock(struct pv_work *work)
{
	pv_loop_unlock(work->call.calls->loop);
}

static void destroy(struct pv_work *work)
{
	pv_bytes_finish(&work->input);
	pv_fd_close(&work->cancel_fd);
	free(work->memory);
	free(work);
}

int pv_work_send(struct pv_work *work, const void *data, size_t len)
{
	lock(work);
	while (!work->cancelled && !pv_call_has_room(&work->call))
		pv_loop_wait(work->call.calls->loop, PV_CLOCK_NEVER);
	int status = work->cancelled ? -ECANCELED : 0;
	if (status == 0) {
		pv_call_data(&work->call, PV_PROTOCOL_CHANNEL_FILE, data, len);
		pv_call_flush(&work->call);
	}
	unlock(work);
	return status;
}

int pv_work_send_granted(struct pv_work *work, const void *data, size_t len)
{
	const uint8_t *at = data;
	int status = 0;
	lock(work);
	while (status == 0 && len > 0) {
		while (!work->cancelled && (work->window == 0 || !pv_call_has_room(&work->call)))
			pv_loop_wait(work->call.calls->loop, PV_CLOCK_NEVER);
		size_t piece = len < PV_PROTOCOL_CHUNK ? len : PV_PROTOCOL_CHUNK;
		if (piece > work->window)
			piece = (size_t)work->window;
		status = work->cancelled ? -ECANCELED : 0;
		if (status == 0) {
			pv_call_data(&work->call, PV_PROTOCOL_CHANNEL_FILE, at, piece);
			pv_call_flush(&work->call);
			work->window -= piece;
			at += piece;
			len -= piece;
		}
	}
	unlock(work);
	return status;
}

void pv_work_begun(struct pv_work *work)
{
	lock(work);
	pv_call_data(&work->call, PV_PROTOCOL_CHANNEL_NOTICE, NULL, 0);
	pv_call_flush(&work->call);
	unlock(work);
}

int pv_work_take(struct pv_work *work, struct pv_bytes *piece)
{
	piece->len = 0;
	lock(work);
	while (!work->cancelled && !work->input_ended && work->input.len == 0)
		pv_loop_wait(work->call.calls->loop, PV_CLOCK_NEVER);
	int status = work->cancelled ? -ECANCELED : work->input.len > 0;
	if (status > 0) {
		struct pv_bytes empty = *piece;
		*piece = work->input;
		work->input = empty;
	}
	unlock(work);
	return status;
}

void pv_work_credit(struct pv_work *work, size_t len)
{
	lock(work);
	if (!work->input_ended) {
		pv_call_credit(&work->call, len);
		pv_call_flush(&work->call);
	}
	unlock(work);
}

void pv_work_answer(struct pv_work *work, const char *key, int64_t value)
{
	if (work->count < PV_REPLY_NUMBERS_MAX)
		work->numbers[work->count++] = (struct pv_reply_number){key, value};
}

/* Makes the descriptor by which a cancellation wakes poll(2). Returns 0 or -errno. */
static int watch_cancel(struct pv_work *work)
{
	if (work->cancel_fd >= 0)
		return 0;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	lock(work);
	work->cancel_fd = fd;
	int status = work->cancelled ? -ECANCELED : 0;
	unlock(work);
	return status;
}

int pv_work_wait_readable(struct pv_work *work, int fd)
{
	int status = watch_cancel(work);
	if (status < 0)
		return status;
	struct pollfd waits[] = {
	    {.fd = fd,	       .events = POLLIN},
	    {.fd = work->cancel_fd, .events = POLLIN},
	};
	while (poll(waits, 2, -1) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return waits[1].revents != 0 ? -ECANCELED : 0;
}

/* Goes on after signals that are nobody's, and stops for ours. */
static int64_t enter_kernel(struct pv_work *work, const int64_t words[PV_PROTOCOL_SYSCALL_WORDS])
{
	int64_t ret;
	do {
		ret = pv_syscall_execute_words(words, &work->stop);
	} while (ret == -EINTR && !atomic_load(&work->stop.wanted));
	return ret == -EINTR ? -ECANCELED : ret;
}

int pv_work_open(struct pv_work *work, const char *path, int flags, unsigned mode)
{
	const int64_t words[PV_PROTOCOL_SYSCALL_WORDS] = {
	    SYS_openat, AT_FDCWD, (intptr_t)path, flags | O_CLOEXEC | O_NOCTTY, mode};
	return (int)enter_kernel(work, words);
}

ssize_t pv_work_read(struct pv_work *work, int fd, void *out, size_t len)
{
	const int64_t words[PV_PROTOCOL_SYSCALL_WORDS] = {
	    SYS_read, fd, (intptr_t)out, (int64_t)len};
	return enter_kernel(work, words);
}

int pv_work_write_all(struct pv_work *work, int fd, const void *data, size_t len)
{
	const char *at = data;
	while (len > 0) {
		const int64_t words[PV_PROTOCOL_SYSCALL_WORDS] = {
		    SYS_write, fd, (intptr_t)at, (int64_t)len};
		int64_t done = enter_kernel(work, words);
		if (done < 0)
			return (int)done;
		at += done;
		len -= (size_t)done;
	}
	return 0;
}

static void run(struct pv_pool_job *job)
{
	struct pv_work *work = (struct pv_work *)((char *)job - offsetof(struct pv_work, job));
	struct pv_calls *calls = work->call.calls;
	atomic_store(&work->stop.thread, pthread_self());
	int status = work->run(work);
	pv_loop_lock(calls->loop);
	/* From here on nobody calls this thread back: it is about to do something else. */
	atomic_store(&work->stop.thread, 0);
	int last = pv_open_file_unref(work->file);
	if (status < 0)
		pv_call_fail(&work->call, -status, work->message[0] ? work->message : NULL);
	else if (work->is_stat)
		pv_call_end_stat(&work->call, &work->stat);
	else
		pv_call_end_numbers(&work->call, work->numbers, work->count);
	pv_loop_unlock(calls->loop);
	pv_fd_close(&last); /* may block */
	destroy(work);
}

static void take_chunk(struct pv_call *call, struct pv_span data)
{
	struct pv_work *work = work_of(call);
	if (work->input_ended || !pv_call_take_input(call, &work->input, data))
		return;
	pv_loop_wake(call->calls->loop);
}

static void take_grant(struct pv_call *call, uint64_t bytes)
{
	struct pv_work *work = work_of(call);
	if (__builtin_add_overflow(work->window, bytes, &work->window))
		work->window = UINT64_MAX;
	pv_loop_wake(call->calls->loop);
}

static void take_finish(struct pv_call *call)
{
	work_of(call)->input_ended = true;
	pv_loop_wake(call->calls->loop);
}

static void cancel(struct pv_call *call)
{
	struct pv_work *work = work_of(call);
	work->cancelled = true;
	if (work->cancel_fd >= 0)
		(void)!eventfd_write(work->cancel_fd, 1);
	pv_syscall_interrupt(&work->stop);
	pv_loop_wake(call->calls->loop);
}

static const struct pv_call_ops ops = {
    .chunk = take_chunk,
    .grant = take_grant,
    .finish = take_finish,
    .cancel = cancel,
};

static void refuse(struct pv_calls *calls, uint64_t id)
{
	static const struct pv_call_ops none;
	struct pv_call call;
	pv_call_begin(&call, calls, id, &none);
	pv_call_refuse(&call, PV_REPLY_INTERNAL, "out of memory (a file operation)");
}

/* Gives back what a work that never ran would have given back. */
static void give_back(struct pv_open_file *file)
{
	int last = pv_open_file_unref(file);
	pv_fd_close(&last);
}

void pv_work_start(
    struct pv_calls *calls, struct pv_request *request, const struct pv_work_task *task)
{
	struct pv_work *work = calloc(1, sizeof(*work));
	if (!work) {
		refuse(calls, request->id);
		give_back(task->file);
		return;
	}
	pv_call_begin(&work->call, calls, request->id, &ops);
	work->request = *request;
	work->request.doc = NULL;
	work->memory = request->memory;
	request->memory = NULL;
	work->cancel_fd = -1;
	work->run = task->run;
	work->file = task->file;
	work->input_ended = !task->takes_data || !task->more;
	work->job.run = run;
	int status = 0;
	if (task->takes_data)
		status = pv_bytes_append(&work->input, task->data.data, task->data.len);
	if (status == 0)
		status = pv_pool_run(&calls->pool, &work->job);
	if (status == 0)
		return;
	pv_call_fail(&work->call, -status, NULL);
	give_back(task->file);
	destroy(work);
}
