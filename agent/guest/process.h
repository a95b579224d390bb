/*
 * Programs that go on by themselves: each with a handle, its output kept until somebody waits for
 * it. Everything here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_PROCESS_H
#define PV_AGENT_GUEST_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/guest/process_input.h"
#include "agent/guest/reaper.h"
#include "agent/guest/spawn.h"
#include "base/loop.h"

struct pv_calls;
struct pv_outlet;
struct pv_process;
struct pv_process_end;
struct pv_request;
struct pv_spool;

/* Those of this agent or worker. Zeroed: none. */
struct pv_processes {
	struct pv_process *first;
	uint64_t last; /* handle */
	int worst; /* largest exit status of all that ended; 128 and the signal for killed ones */
	void (*exited)(struct pv_calls *calls); /* one has; NULL: nobody wants to know */
};

struct pv_process_output {
	struct pv_process *process;
	struct pv_outlet *outlet; /* NULL before the start and after its end */
	struct pv_spool *spool;
};

struct pv_process {
	struct pv_process *next;
	struct pv_calls *calls;
	uint64_t handle; /* 0: not in the list */
	struct pv_spawn spawn;
	struct pv_reaper_child child;
	bool exited;
	bool is_told;	 /* pv_processes_signal asked it to end */
	bool left_group; /* others of its group were there when it had ended */
	int status;	 /* waitpid's */
	struct pv_process_output outputs[2];
	struct pv_process_input input;
	struct pv_loop_timer timer; /* of `end` */
	struct pv_process_end *end; /* who waits for its end, or NULL */
};

/* The operations `process_*`. */
void pv_process_start(struct pv_calls *calls, struct pv_request *request);

/* --- for them --- */

/* Memory for one that is to be started. NULL when there is none. */
struct pv_process *pv_process_create(struct pv_calls *calls);

/* Starts the program and keeps what it writes. Returns 0 or -errno. On the thread whose identity
 * the program is to have. */
int pv_process_spawn(struct pv_process *process, const struct pv_request_exec *exec);

/* Gives it a handle. */
void pv_process_list(struct pv_process *process);

/* The one of a handle, or NULL. */
struct pv_process *pv_process_find(struct pv_calls *calls, uint64_t handle);

/* Signals its group, or what is left of it. */
void pv_process_signal_group(const struct pv_process *process, int signal);

/* Keeps what its pipes hold now, and no more. False: that takes a while; pv_process_end_settle is
 * called then. */
bool pv_process_end_output(struct pv_process *process);
/* The same without what is not there yet. */
void pv_process_cut_output(struct pv_process *process);

/* Frees it. A program that runs on is nobody's any more. NULL is fine. */
void pv_process_destroy(struct pv_process *process);

/* --- in agent/guest/process_end.c --- */

/* The operations `process_wait` and `process_close`. */
void pv_process_end_start(struct pv_process *process, const struct pv_request *request);
/* The program has ended, or after that its output. */
void pv_process_end_settle(struct pv_process_end *end);

/* --- for the end of all --- */

/* Kills the groups of all and forgets them: nobody can name them any more. */
void pv_processes_drop(struct pv_calls *calls);
/* Signals each that runs, its group when `group`. */
void pv_processes_signal(struct pv_calls *calls, int signal, bool group);
/* How many that were asked to end still run; `any`: how many run. */
unsigned pv_processes_running(const struct pv_calls *calls, bool any);

#endif
