/*
 * One request to the agent and what came back; private to agent/host. The operations (ops_*.c) are
 * written with this.
 */
#ifndef PV_AGENT_HOST_CALL_H
#define PV_AGENT_HOST_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/proto/link.h"
#include "agent/proto/protocol.h"
#include "agent/proto/reply.h"
#include "agent/proto/request.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/frame.h"

struct pv_agent;
struct pv_agent_link_ops;
struct pv_loop;
struct pv_principal;

/* On the heap: a call that its caller gave up stays known until the agent's last frame for it.
 * Under the loop lock. */
struct pv_agent_call {
	struct pv_agent *agent; /* NULL: not in its list, no frame comes any more */
	struct pv_agent_call *next;
	uint64_t id;
	enum pv_request_op op;
	bool done;	/* `status` and `err` hold */
	bool abandoned; /* nobody waits; freed with the last frame */
	bool lasts;	/* follows something: whoever waits for it ends, not the call */
	int status;
	struct pv_err err;
	uint64_t window;  /* bytes that may be sent without new credit */
	uint64_t unacked; /* sent, and no credit for them yet */
	/* Where data goes; data for a channel without one breaks the protocol. */
	struct pv_bytes *sinks[PV_PROTOCOL_CHANNEL_COUNT];
	/* Takes data of any channel instead of the sinks, when not NULL. Returns 0, -EBADMSG for
	 * data that breaks the protocol, or -ENOMEM which gives the call up. */
	int (*data)(void *ctx, enum pv_protocol_channel channel, struct pv_span data);
	/* Takes the result apart; false when it is not a result of this operation. */
	bool (*result)(void *ctx, const struct pv_reply *reply);
	void *ctx;
};

/* The client. Under the loop lock. */
struct pv_agent {
	struct pv_loop *loop;
	const struct pv_agent_link_ops *ops; /* NULL: no connection */
	void *ctx;
	bool ready;
	uint64_t hello; /* number of the hello under way, or 0 */
	uint64_t fresh; /* of the session that it proposes */
	uint64_t last_id;
	uint64_t boot; /* a random number for this life of the agent, pv_agent_boot */
	struct pv_agent_call *first;
	unsigned count;
	struct pv_link link; /* has a session without a connection while calls wait for the next */
	unsigned ends;	     /* of sessions, so far */
	bool corked;	     /* more is to go out with it soon: pv_agent_flush does nothing */
	bool refused;
	char refusal[256];
	char reason[256]; /* why there is no connection */
	char asleep[256]; /* why no answer comes until the next connection, or empty */
};

/* --- client.c --- */

/* Sends what the connection takes. */
void pv_agent_flush(struct pv_agent *agent);

/* Where frames for the agent are appended, before a flush. */
static inline struct pv_bytes *pv_agent_out(struct pv_agent *agent)
{
	return &agent->link.out;
}

/* --- call.c, all [locked] --- */

/* Makes a call whose fields the operation fills in. NULL when out of memory. */
struct pv_agent_call *pv_agent_call_create(enum pv_request_op op);

/*
 * Sends `request` (its number and its worker are set here) for `call`; `inline_len` bytes of bulk
 * data are in it. Returns 0, or -errno and the call is freed: no connection, too many calls,
 * arguments too long.
 */
int pv_agent_call_begin(const struct pv_principal *by, struct pv_agent_call *call,
    struct pv_request *request, size_t inline_len, struct pv_err *err);

/* Sends the rest of bulk data as credit comes in; stops early when the call ends. The call's own
 * error is reported by pv_agent_call_end. */
void pv_agent_call_upload(struct pv_agent_call *call, const void *data, size_t len);
/* The same in pieces, and then that this was all. */
void pv_agent_call_upload_piece(struct pv_agent_call *call, const void *data, size_t len);
void pv_agent_call_upload_end(struct pv_agent_call *call);

/* Waits for the answer and frees the call. Returns its status. While the guest sleeps
 * (pv_agent_sleep) nobody waits: the call is given up. */
int pv_agent_call_end(struct pv_agent_call *call, struct pv_loop *loop, struct pv_err *err);

/* Waits for the answer, at most until then; the call stays. Returns 0 or -ETIMEDOUT. */
int pv_agent_call_wait(struct pv_agent_call *call, struct pv_loop *loop, int64_t deadline_ns);

/* Frees a call whose answer nobody wants any more: sinks and ctx are not used after this. The agent
 * is asked to end it. NULL is fine. */
void pv_agent_call_drop(struct pv_agent_call *call);

/* Lets the agent send `bytes` more of a stream. */
void pv_agent_call_grant(struct pv_agent_call *call, uint64_t bytes);

/* A frame from the agent. Returns 0, or -EBADMSG with the reason when it breaks the protocol. */
int pv_agent_call_take(struct pv_agent *agent, const struct pv_reply *reply, struct pv_err *err);

/* Ends every call with -ECONNRESET and the reason. */
void pv_agent_call_fail_all(struct pv_agent *agent, const char *reason);

/* "the guest's agent is not connected: ...". */
int pv_agent_call_no_link(const struct pv_agent *agent, struct pv_err *err);

/*
 * Copies text from the guest: printable ASCII, anything else becomes `?`. Returns `out`.
 */
const char *pv_agent_call_clean(char *out, size_t size, struct pv_span text);

#endif
