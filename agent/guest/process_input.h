/*
 * Standard input of a program that goes on by itself: first what came with its start, however much,
 * then what is written later, piece by piece. Everything here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_PROCESS_INPUT_H
#define PV_AGENT_GUEST_PROCESS_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/loop.h"

struct pv_spool;

struct pv_process_input {
	struct pv_loop *loop;
	int *fd; /* the write end, -1 when it is closed */
	struct pv_loop_watch watch;
	struct pv_spool *kept; /* what came with the start */
	uint64_t kept_done;
	struct pv_bytes bytes; /* what was written later and waits */
	bool closing;	       /* close it when all is written */
	int error;	       /* why no more can be written, a positive errno, or 0 */
	/* `taken` of the later bytes have gone, or there is an error; may be NULL. Called from
	 * pv_process_input_feed and from the loop. */
	void (*moved)(void *ctx, size_t taken);
	void *ctx;
};

/* Returns 0 or -ENOMEM. pv_process_input_finish in every case. */
int pv_process_input_init(struct pv_process_input *input, struct pv_loop *loop, int *fd);
void pv_process_input_finish(struct pv_process_input *input);

/* Adds to what comes with the start. Returns 0 or -errno. */
int pv_process_input_keep(struct pv_process_input *input, struct pv_span data);

/* Writes what the program takes now; the rest follows by itself. */
void pv_process_input_feed(struct pv_process_input *input);

/* The program sees the end of its input when it has read all. */
void pv_process_input_close(struct pv_process_input *input);

#endif
