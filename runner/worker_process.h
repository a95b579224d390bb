/*
 * What the processes that run Lua have in common, workers for tests and builders for fixtures: the
 * channel to the dispatcher, the host of the guests, the time limit.
 */
#ifndef PV_RUNNER_WORKER_PROCESS_H
#define PV_RUNNER_WORKER_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "lab/host.h"

struct pv_config;
struct pv_err;
struct pv_event_writer;
struct pv_runner_options;

/* Script thread, but for `time_is_up`. */
struct pv_worker_process {
	const char *file; /* what is run, for events */
	const struct pv_runner_options *options;
	int fd;
	struct pv_bytes out; /* the frame that is being written */
	struct pv_host host;
	struct pv_loop_timer limit;
	atomic_bool time_is_up;
	char limit_text[64];
};

/*
 * Called first in a new process with one thread, forked from `parent`; frames go to `fd`. Guests'
 * lives and notes are told from now on. Returns 0 or -errno; the caller finishes the process in
 * both cases.
 */
int pv_worker_process_init(struct pv_worker_process *process, const char *file,
    const struct pv_config *config, const struct pv_runner_options *options, int fd, pid_t parent,
    struct pv_err *err);
void pv_worker_process_finish(struct pv_worker_process *process);

/* Sends the frame that `writer` has written into `process->out`. */
void pv_worker_process_send(struct pv_worker_process *process, struct pv_event_writer *writer);
/* A frame of {text}, or {name, text} unless `name` is NULL. */
void pv_worker_process_send_text(
    struct pv_worker_process *process, const char *kind, const char *name, const char *text);

/* Interrupts the host with "`what` timeout exceeded" when the time limit of the options is over. */
void pv_worker_process_arm(struct pv_worker_process *process, const char *what);
void pv_worker_process_disarm(struct pv_worker_process *process);

#endif
