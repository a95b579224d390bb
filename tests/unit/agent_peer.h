/*
 * The client of the agent with a scripted peer instead of a guest: what the peer says to a request
 * is up to the test. The peer lives on the client's loop.
 */
#ifndef PV_TESTS_AGENT_PEER_H
#define PV_TESTS_AGENT_PEER_H

#include <stdint.h>

#include "agent/host/client.h"
#include "agent/proto/request.h"
#include "base/frame.h"
#include "base/loop.h"

struct agent_peer;

/* Appends what the agent says to a request other than hello. On the loop thread. */
typedef void agent_peer_answer(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out);

struct agent_peer {
	struct pv_loop *loop;
	struct pv_agent *agent;
	struct pv_loop_timer timer;
	struct pv_frame_reader requests;
	agent_peer_answer *answer;
	agent_peer_answer *hello; /* for hello; NULL: without a session */
	uint64_t session;	  /* for `hello` */
	uint64_t granted;	  /* to streams */
	unsigned closes;
	unsigned cancels;
};

/* For cmocka: a peer in `*state`, attached, that has said hello; and its end. */
int agent_peer_setup(void **state);
int agent_peer_teardown(void **state);

/* [locked] The peer connects again; it has said hello, or was thrown out, when this returns. */
void agent_peer_attach(struct agent_peer *peer);

#endif
