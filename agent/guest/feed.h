/*
 * Calls that follow something: what their source has goes to the host, as much as the host granted,
 * for as long as the host wants it. Reading is done on a pool thread, because it may block; between
 * reads a feed is nothing but memory and watches on the loop.
 */
#ifndef PV_AGENT_GUEST_FEED_H
#define PV_AGENT_GUEST_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/guest/call.h"

struct pv_feed;

struct pv_feed_ops {
	/* On a pool thread, without the lock, never twice at once: sends until the source or the
	 * room has come to its end. Returns PV_FEED_WAIT, PV_FEED_END, or a negative errno which
	 * ends the call. */
	int (*pump)(struct pv_feed *feed);
	/* [locked] The pump waits: watch for what could make it go on. NULL: nothing to do. */
	void (*idle)(struct pv_feed *feed);
	/* [locked] The call is over; frees the feed. What may block is `pump`'s to do. */
	void (*destroy)(struct pv_feed *feed);
};

enum { PV_FEED_WAIT, PV_FEED_END };

/* The first member of what the operation needs. */
struct pv_feed {
	struct pv_call call; /* first */
	struct pv_pool_job job;
	const struct pv_feed_ops *ops;
	bool truncated; /* set by the pump before PV_FEED_END */
	/* Under the loop lock: */
	uint64_t window;
	bool running; /* the pump has a thread */
	bool again;   /* something has changed since it began */
	bool cancelled;
};

/* [locked] Begins the call and runs the pump. From here on `destroy` frees the feed. */
void pv_feed_start(
    struct pv_feed *feed, struct pv_calls *calls, uint64_t id, const struct pv_feed_ops *ops);

/* [locked] There may be something to read. */
void pv_feed_kick(struct pv_feed *feed);

/* --- for the pump, without the lock --- */

/* Tells the host that the source is followed from now on. */
void pv_feed_begun(struct pv_feed *feed);
void pv_feed_notice(struct pv_feed *feed, enum pv_protocol_notice notice);
/* How many bytes may be sent now, at most PV_PROTOCOL_CHUNK; after 0 the pump should return
 * PV_FEED_WAIT: it is run again when there is room. */
size_t pv_feed_room(struct pv_feed *feed);
/* At most what pv_feed_room allowed. */
void pv_feed_send(struct pv_feed *feed, const void *data, size_t len);

#endif
