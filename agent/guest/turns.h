/*
 * Requests that wait for their turn: each begins when the call that it names has ended. Everything
 * here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_TURNS_H
#define PV_AGENT_GUEST_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/loop.h"

struct pv_turn;

struct pv_turns {
	struct pv_loop *loop;
	/* True while the call of that number is under way. */
	bool (*is_busy)(void *ctx, uint64_t id);
	/* It is the turn of this request: the payload of its frame. On the loop thread. */
	void (*begin)(void *ctx, struct pv_span payload);
	void *ctx;
	struct pv_turn *first; /* in the order in which they came */
	struct pv_turn *last;
	unsigned count;
	struct pv_loop_timer timer;
};

/* Keeps a copy of the request `id` until the call `after`, which is under way or waits here itself,
 * has ended. Returns 0 or -ENOMEM. */
int pv_turns_add(struct pv_turns *turns, uint64_t id, uint64_t after, struct pv_span payload);

/* True when a request of that number waits here. */
bool pv_turns_has(const struct pv_turns *turns, uint64_t id);

/* A call has ended: what waits for it begins soon, on the loop thread. */
void pv_turns_ended(struct pv_turns *turns);

/* Forgets a request; what waits for it has its turn then. False when it does not wait here. */
bool pv_turns_remove(struct pv_turns *turns, uint64_t id);

/* Forgets all. */
void pv_turns_drop(struct pv_turns *turns);

#endif
