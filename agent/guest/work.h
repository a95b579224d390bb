/*
 * Calls whose work may block: each runs on a pool thread. Functions with a thread in their name's
 * comment say so; everything else needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_WORK_H
#define PV_AGENT_GUEST_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/guest/call.h"
#include "agent/guest/syscall.h"

struct pv_work {
	struct pv_call call; /* first: the ops get it */
	struct pv_pool_job job;
	/* Strings are in `memory`, spans of data are not valid. */
	struct pv_request request;
	void *memory;
	int (*run)(struct pv_work *work);
	/* The answer when `run` returned 0, set by it: numbers unless `is_stat`. */
	struct pv_reply_number numbers[PV_REPLY_NUMBERS_MAX];
	size_t count;
	struct pv_reply_stat stat;
	bool is_stat;
	char message[320];	   /* what goes with an error, when not empty */
	struct pv_open_file *file; /* held for the length of the call, or NULL */
	/* Under the loop lock: */
	struct pv_bytes input;
	bool input_ended;
	bool cancelled;
	uint64_t
	    window; /* bytes that the host has granted, of a call that it does not just collect */
	int cancel_fd;		     /* an eventfd that a cancellation makes readable; -1: none */
	struct pv_syscall_stop stop; /* by which a cancellation reaches the thread in the kernel */
};

/* What a request starts. */
struct pv_work_task {
	/* On a pool thread without the loop lock. Returns 0 with `numbers` or `stat` set, or a
	 * negative errno, which is the answer. */
	int (*run)(struct pv_work *work);
	struct pv_open_file *file; /* the work takes this reference over; NULL: none */
	bool takes_data;	   /* `data`, and then chunks if there is `more` */
	struct pv_span data;
	bool more;
};

/* Begins the call and hands it to the pool. Answers by itself when it cannot. */
void pv_work_start(
    struct pv_calls *calls, struct pv_request *request, const struct pv_work_task *task);

/* --- for `run`, on its thread, without the lock --- */

/* Queues data for the host, after waiting for room. Returns 0 or -ECANCELED. */
int pv_work_send(struct pv_work *work, const void *data, size_t len);
/* The same, as far as the host has granted it, for data that it may take slowly. */
int pv_work_send_granted(struct pv_work *work, const void *data, size_t len);
/* Tells the host that what was asked for begins: for calls that it follows as streams. */
void pv_work_begun(struct pv_work *work);
/* Waits for input and moves it to `piece`, whose content goes. Returns 1, 0 at its end, or
 * -ECANCELED. */
int pv_work_take(struct pv_work *work, struct pv_bytes *piece);
/* So much of the input has been digested. */
void pv_work_credit(struct pv_work *work, size_t len);
/* Adds a number to the answer. */
void pv_work_answer(struct pv_work *work, const char *key, int64_t value);
/* Waits until `fd` can be read, when that is something that one waits for. Returns 0 or
 * -ECANCELED. */
int pv_work_wait_readable(struct pv_work *work, int fd);

/*
 * System calls that may wait for somebody else for ever, such as a FIFO's other end. They go on
 * after signals, but a cancellation ends them. Each returns what its system call returns, or
 * -errno; -ECANCELED.
 */
int pv_work_open(struct pv_work *work, const char *path, int flags, unsigned mode);
ssize_t pv_work_read(struct pv_work *work, int fd, void *out, size_t len);
/* All of it. Returns 0, -errno or -ECANCELED. */
int pv_work_write_all(struct pv_work *work, int fd, const void *data, size_t len);

#endif
