/*
 * The agent's stream to the host: made, kept up, framed, with a bounded queue of answers.
 * Everything here is called with the loop lock held.
 */
#ifndef PV_AGENT_GUEST_CONNECTION_H
#define PV_AGENT_GUEST_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/proto/link.h"
#include "base/bytes.h"
#include "base/loop.h"

struct pv_connection_ops {
	/* A whole frame came. Negative: the host does not speak our protocol, give the stream up.
	 */
	int (*frame)(void *ctx, struct pv_span payload);
	/* The queue has room again after pv_connection_has_room was false. */
	void (*room)(void *ctx);
	/* The session ended with its stream; what was queued is gone. */
	void (*lost)(void *ctx);
};

struct pv_connection {
	struct pv_loop *loop;
	const struct pv_connection_ops *ops;
	void *ctx;
	int fd;
	const char *path; /* of a socket in this machine that is the host; NULL: vsock */
	bool up;	  /* connected; else connecting, or waiting to try again */
	bool adopted;	  /* given by the caller: its end ends the process */
	bool joined;	  /* given by the caller, who hears of its end */
	bool broken;	  /* a write failed; the loop thread will notice soon */
	bool spoiled;	  /* the session ends with this stream */
	bool told;	  /* why there is no connection has been printed */
	struct pv_loop_watch watch;
	uint32_t events; /* of `watch` */
	struct pv_loop_timer timer;
	int64_t backoff_ns;
	struct pv_link link;
	bool full; /* somebody was told that there is no room */
	bool held; /* no frames are taken */
};

void pv_connection_init(struct pv_connection *connection, struct pv_loop *loop,
    const struct pv_connection_ops *ops, void *ctx);

/* Begins to connect to the host's vsock port, and goes on until it works, now and whenever the
 * stream ends. With a `path` (lent) to the UNIX socket that is there, for tests. */
void pv_connection_start(struct pv_connection *connection, const char *path);

/* Serves a connected socket instead; the loop quits when it ends. Takes the descriptor over.
 * Returns 0 or -errno. */
int pv_connection_adopt(struct pv_connection *connection, int fd);

/* Serves a connected socket instead; its end is told by `lost` and nothing more, in which the
 * connection may be given up. Takes the descriptor over. Returns 0 or -errno. */
int pv_connection_join(struct pv_connection *connection, int fd);

/* Ends the stream without telling anybody, if there is one. */
void pv_connection_finish(struct pv_connection *connection);

/*
 * The first frame of a stream that was not joined is the host's handshake, and `frame` answers it
 * by one of these, then appends its answer to the result and flushes. `resume` says whether the
 * session of this number goes on, in which the host has `received` bytes of ours; if not, `begin`
 * after all of it is ended. NULL: out of memory, give the stream up.
 */
bool pv_connection_is_greeted(const struct pv_connection *connection);
struct pv_bytes *pv_connection_resume(
    struct pv_connection *connection, uint64_t session, uint64_t received);
struct pv_bytes *pv_connection_begin(struct pv_connection *connection, uint64_t session);

/* Where the next frame is to be appended. NULL when there is no session. Call pv_connection_flush
 * after a row of them. */
struct pv_bytes *pv_connection_out(struct pv_connection *connection);

/* Sends what the socket takes now; the rest follows by itself. Never calls back. */
void pv_connection_flush(struct pv_connection *connection);

/* Takes no more frames of this stream until the release; they wait in the socket. Both may be
 * called from `frame` and at any other time. */
void pv_connection_hold(struct pv_connection *connection);
void pv_connection_release(struct pv_connection *connection);

/* Sends all that is queued, however long the other end takes: for a process that is about to end.
 */
void pv_connection_drain(struct pv_connection *connection);

/* Gives stream and session up soon (from the loop, not from within this call). */
void pv_connection_break(struct pv_connection *connection);

/* False while so much is queued that producers should pause until `room`; waiters in pv_loop_wait
 * are woken then too. */
bool pv_connection_has_room(struct pv_connection *connection);

#endif
