/*
 * Saved states as documents, for tests: comparing them, and changing one value of one in every way
 * that a damaged or hostile file could be changed. Failures are cmocka's.
 */
#ifndef PV_TESTS_UNIT_STATE_DOC_H
#define PV_TESTS_UNIT_STATE_DOC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_err;
struct pv_pack;
struct pv_val;

/* A kind of device: how to save it and how to load it; `ctx` is the device. `sorts`: elements may
 * be in another order when they are saved again. */
struct state_kind {
	void (*save)(const void *ctx, struct pv_pack *pack);
	int (*load)(void *ctx, const struct pv_val *val, struct pv_err *err);
	bool sorts;
};

struct pv_bytes state_save(const struct state_kind *kind, const void *ctx);
/* Returns what the loader does. An error must come with a sentence. */
int state_load(const struct state_kind *kind, void *ctx, const struct pv_bytes *state);
/* The same, and the result must be 0. */
void state_restore(const struct state_kind *kind, void *ctx, const struct pv_bytes *state);
/* The device's state must be these bytes. */
void state_expect(const struct state_kind *kind, const void *ctx, const struct pv_bytes *state);

/* What can be done to one value. The first four leave no valid state, wherever they hit a map. */
enum change {
	CHANGE_TYPE, /* becomes another type */
	CHANGE_GONE, /* the field or element is left out */
	CHANGE_TWICE,
	CHANGE_STRANGER, /* a field that nobody knows joins a map */
	CHANGE_ZERO,
	CHANGE_ONE_MORE,
	CHANGE_ONE_LESS,
	CHANGE_HIGH_BIT, /* numbers: bit 31; binary data: of the first byte */
	CHANGE_LARGEST,
	CHANGE_COUNT,
};

enum changed {
	CHANGED,
	CHANGED_TO_NOTHING_NEW, /* the change does not apply to this value */
	CHANGED_NO_SUCH_VALUE,
};

/* Copies a state with one change to value number `index`, in the order of the document. `*field`
 * says whether the value is a field of a map. */
enum changed state_change(const struct pv_bytes *from, unsigned index, enum change change,
    struct pv_bytes *to, bool *field);

/*
 * All changes to all values of `state`: each is loaded into a device that `fresh` makes and `done`
 * ends. A refused state leaves the device as it was; one that is accepted is in it, and `done` may
 * drive it. What is no valid document of this kind in any case must be refused. So must every
 * beginning of the document.
 */
void state_change_everything(const struct state_kind *kind, const struct pv_bytes *state,
    void *(*fresh)(void), void (*done)(void *ctx, bool loaded));

/* Replaces the `nth` number (from 0) that belongs to field `key`, anywhere in the document. */
struct pv_bytes state_with(
    const struct pv_bytes *state, const char *key, unsigned nth, uint64_t value);

#endif
