/*
 * A stream of frames between host and agent that outlives the connection which carries it: both
 * ends count, keep what the other has not acknowledged, and go on in the middle over the next
 * connection. The owner moves the bytes; nothing here calls anybody. One owner, no lock of its own.
 */
#ifndef PV_AGENT_PROTO_LINK_H
#define PV_AGENT_PROTO_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/frame.h"

struct pv_err;

/* What is received is acknowledged whenever so many more bytes have come. */
#define PV_LINK_ACK_EVERY (256u << 10)
/* Sent and not acknowledged: more than this cannot be on its way to an end that keeps the rule. */
#define PV_LINK_KEPT_MAX (4u << 20)
/* A stream does not get longer; leaves room for all sums. */
#define PV_LINK_COUNT_MAX (UINT64_C(1) << 62)

struct pv_link {
	/* Which conversation this is; 0: one that ends with its connection, of which nothing is
	 * kept and nothing acknowledged. */
	uint64_t session;
	uint64_t received;     /* bytes of the other end's stream, in whole frames or not */
	uint64_t acknowledged; /* bytes of our stream that the other end has */
	struct pv_bytes
	    out; /* our stream from some place on: `done` bytes of it are acknowledged */
	size_t done;
	size_t sent; /* and so many are given to the connection */
	struct pv_frame_reader reader;
	/* The present connection begins with a handshake of one frame each way, outside the
	 * streams. */
	bool open; /* that is over */
	struct pv_frame_reader greeting;
	struct pv_bytes hail;
	size_t hailed; /* bytes of `hail` that are given to the connection */
};

/* No session, no connection. `frame_max` limits the frames of the other end. */
void pv_link_init(struct pv_link *link, size_t frame_max);

/* Ends the session, if there is one, and forgets all that was on its way; as after init. */
void pv_link_finish(struct pv_link *link);

/* The connection is gone, and the next begins with a handshake. What the session keeps stays. */
void pv_link_cut(struct pv_link *link);

/* Where the frame of the handshake is to be appended. It goes out before anything else. */
struct pv_bytes *pv_link_hail(struct pv_link *link);

/*
 * The handshake has ended. Exactly one of the first two before it: another session begins, and both
 * streams with it; or the present one goes on where the other end has `received` bytes of our
 * stream: 0, or -EBADMSG with a sentence when we cannot have sent so many, or do not have the rest
 * any more (the session is as before then).
 */
void pv_link_begin(struct pv_link *link, uint64_t session);
int pv_link_resume(struct pv_link *link, uint64_t received, struct pv_err *err);
/* From now on the streams flow; what came behind the other end's handshake is part of its stream.
 * Returns 0 or -ENOMEM. */
int pv_link_open(struct pv_link *link, struct pv_err *err);

/* Takes over a connection in the middle of a session, after so many bytes each way, with nothing
 * kept. */
void pv_link_adopt(struct pv_link *link, uint64_t session, uint64_t sent, uint64_t received);

/* What is to be given to the connection next, and that so many bytes of it are, or may be. Empty
 * without a connection. */
struct pv_span pv_link_unsent(const struct pv_link *link);
/* That is of the handshake. */
bool pv_link_is_hailing(const struct pv_link *link);
void pv_link_mark_sent(struct pv_link *link, size_t len);

/* Length of our stream so far as it was given to connections. */
uint64_t pv_link_sent(const struct pv_link *link);
/* Bytes of our stream in memory: acknowledged by nobody, sent or not. */
size_t pv_link_kept(const struct pv_link *link);
/* More than PV_LINK_KEPT_MAX are sent and not acknowledged. */
bool pv_link_is_overdue(const struct pv_link *link);

/* Bytes came. An acknowledgement that is due is queued in our stream. Returns 0 or -ENOMEM. */
int pv_link_feed(struct pv_link *link, const void *data, size_t len, struct pv_err *err);

/*
 * The next whole frame: that of the handshake, until pv_link_open, and then those of the stream
 * but for acknowledgements. Returns as pv_frame_next; -EBADMSG also for an acknowledgement that
 * cannot be.
 */
int pv_link_next(struct pv_link *link, struct pv_span *payload, struct pv_err *err);

/* Nothing to be sent, and no part of a frame has come. */
bool pv_link_is_idle(const struct pv_link *link);

#endif
