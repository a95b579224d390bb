/*
 * An event loop, eventfds and a log of what timers do, for tests of the loop. Nothing here measures
 * time: waits have a generous end that only a failure reaches. Failures are cmocka's.
 */
#ifndef PV_TESTS_UNIT_LOOP_RIG_H
#define PV_TESTS_UNIT_LOOP_RIG_H

#include <stdint.h>

#include "base/clock.h"
#include "base/loop.h"

#define LOOP_RIG_LONG_ENOUGH (60 * PV_CLOCK_SECOND)
#define LOOP_RIG_MS	     INT64_C(1000000)

struct pv_loop *loop_rig_new(void);
/* The same, with its thread. */
struct pv_loop *loop_rig_start(void);

/* An eventfd, and counting it up by one. */
int loop_rig_event(unsigned count);
void loop_rig_ring(int fd);

/* [locked] Waits until `*value` is at least `want`. */
void loop_rig_wait(struct pv_loop *loop, const int *value, int want);

/* Watches for input. */
void loop_rig_watch(struct pv_loop *loop, struct pv_loop_watch *at, int fd,
    void (*ready)(void *, uint32_t), void *ctx);

struct loop_rig_log {
	struct pv_loop *loop;
	int entries[64];
	int count;
};

struct loop_rig_timer {
	struct pv_loop_timer timer;
	struct loop_rig_log *log;
	int mark;
	int quit_at; /* ends the loop when the log is this long */
};

/* What such a timer does, `ctx` being it: puts its mark into the log, and wakes. */
void loop_rig_note(void *ctx);

#endif
