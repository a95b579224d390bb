/*
 * Event frames: what happened, as one msgpack map {ts, kind, payload} behind a length (spec
 * events-and-protocol, sections 1 to 4). Workers send them to the dispatcher; the same bytes are
 * what users get. Kinds that begin with "worker_" stay between the two.
 */
#ifndef PV_RUNNER_EVENT_H
#define PV_RUNNER_EVENT_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/pack.h"

struct pv_err;

/* Begins an event of `fields` payload fields in `out`; the caller packs key and value of each, then
 * ends it. */
struct pv_event_writer {
	struct pv_bytes *out;
	struct pv_pack pack;
	int64_t start;
};

void pv_event_begin(
    struct pv_event_writer *writer, struct pv_bytes *out, const char *kind, uint32_t fields);
void pv_event_str(
    struct pv_event_writer *writer, const char *key, const char *value); /* NULL becomes nil */
void pv_event_uint(struct pv_event_writer *writer, const char *key, uint64_t value);
/* A value that is encoded already. */
void pv_event_raw(struct pv_event_writer *writer, const char *key, const void *encoded, size_t len);
/* Returns 0, or -ENOMEM/-EMSGSIZE and then `out` is as before. */
int pv_event_end(struct pv_event_writer *writer);

/* A received event; strings are looked up in the payload. */
struct pv_event {
	struct pv_doc *doc;
	char kind[48];
	const struct pv_val *payload;
};

/* Parses a frame's payload (kept by reference). Returns 0 or -EBADMSG; the caller finishes the
 * event. */
int pv_event_parse(struct pv_event *event, const void *data, size_t len, struct pv_err *err);
void pv_event_finish(struct pv_event *event);

/* Who hears the events of a run as users get them. On the dispatcher's thread. */
struct pv_event_outlet {
	void (*take)(void *ctx, const struct pv_event *event);
	void *ctx;
};

/* Tells it of an event, unless that stays between a worker and the dispatcher. NULL is fine. */
void pv_event_tell(const struct pv_event_outlet *outlet, const struct pv_event *event);
/* Ends an event and tells of it; `out` is empty afterwards. What there is no memory for is lost. */
void pv_event_tell_written(const struct pv_event_outlet *outlet, struct pv_event_writer *writer);

/* The string of a payload key as a new NUL-terminated string, or NULL when it is absent or no
 * string. The caller frees it. */
char *pv_event_text(const struct pv_event *event, const char *key);
/* The integer of a payload key, or 0. */
uint64_t pv_event_number(const struct pv_event *event, const char *key);

#endif
