/*
 * Starting a program: fork, wire up, execute; and saying why it did not work.
 */
#ifndef PV_AGENT_GUEST_SPAWN_H
#define PV_AGENT_GUEST_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "base/bytes.h"

struct pv_request_exec;

struct pv_spawn {
	pid_t pid;
	int input; /* write end of standard input, not blocking; -1 when the program reads nothing
		    */
	int out;   /* read ends of its output, not blocking */
	int err;
	int report; /* says why the program could not be executed, pv_spawn_failure */
};

/*
 * Starts the program in a process group of its own, with default signals. `piped_input`: give it a
 * pipe rather than an empty input. Returns 0 or -errno when nothing was started; that the program
 * cannot be executed shows later, when the child has ended. Loop thread.
 */
int pv_spawn_start(struct pv_spawn *spawn, const struct pv_request_exec *exec, int piped_input);

/*
 * Why the ended child never became the program: a positive errno and a sentence in `message`, or 0
 * when it did become it.
 */
int pv_spawn_failure(struct pv_spawn *spawn, char *message, size_t size);

/* Closes the descriptors. */
void pv_spawn_finish(struct pv_spawn *spawn);

#endif
