/*
 * A list in the order of arrival, and a request waits for one that came before it: so when the
 * first cannot begin yet, a later one seldom can, and only the first is looked at. Beginning is
 * left to the loop thread, by a timer that is due at once: a call ends on any thread, in the middle
 * of its own clean-up.
 */
#include "agent/guest/turns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct pv_turn {
	struct pv_turn *next;
	uint64_t id;
	uint64_t after;
	size_t len;
	uint8_t payload[];
};

int pv_turns_add(struct pv_turns *turns, uint64_t id, uint64_t after, struct pv_span payload)
{
	struct pv_turn *turn = malloc(sizeof(*turn) + payload.len);
	if (!turn)
		return -ENOMEM;
	*turn = (struct pv_turn){.id = id, .after = after, .len = payload.len};
	memcpy(turn->payload, payload.data, payload.len);
	if (turns->last)
		turns->last->next = turn;
	else
		turns->first = turn;
	turns->last = turn;
	turns->count++;
	return 0;
}

bool pv_turns_has(const struct pv_turns *turns, uint64_t id)
{
	/* Rows of requests name the latest. */
	if (turns->last && turns->last->id == id)
		return true;
	const struct pv_turn *turn = turns->first;
	while (turn && turn->id != id)
		turn = turn->next;
	return turn != NULL;
}

static struct pv_turn *take_first(struct pv_turns *turns)
{
	struct pv_turn *turn = turns->first;
	turns->first = turn->next;
	if (!turns->first)
		turns->last = NULL;
	turns->count--;
	return turn;
}

/* Begins all that can, in order. */
static void go_on(void *ctx)
{
	struct pv_turns *turns = ctx;
	while (turns->first && !turns->is_busy(turns->ctx, turns->first->after)) {
		struct pv_turn *turn = take_first(turns);
		turns->begin(turns->ctx, (struct pv_span){.data = turn->payload, .len = turn->len});
		free(turn);
	}
}

void pv_turns_ended(struct pv_turns *turns)
{
	if (turns->first)
		pv_loop_timer_set(turns->loop, &turns->timer, pv_clock_now(), go_on, turns);
}

bool pv_turns_remove(struct pv_turns *turns, uint64_t id)
{
	struct pv_turn *before = NULL, *turn = turns->first;
	while (turn && turn->id != id) {
		before = turn;
		turn = turn->next;
	}
	if (!turn)
		return false;
	if (before)
		before->next = turn->next;
	else
		turns->first = turn->next;
	if (turns->last == turn)
		turns->last = before;
	turns->count--;
	free(turn);
	pv_turns_ended(turns);
	return true;
}

void pv_turns_drop(struct pv_turns *turns)
{
	while (turns->first)
		free(take_first(turns));
	pv_loop_timer_clear(&turns->timer);
}
