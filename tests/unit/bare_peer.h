/*
 * The client of the agent against a peer over a link that is only memory and takes and gives as
 * little at once as a test wants. Unlike tests/unit/agent_peer.h it is not attached at first, and
 * answers nothing by itself, hello neither.
 */
#ifndef PV_TESTS_UNIT_BARE_PEER_H
#define PV_TESTS_UNIT_BARE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/host/client.h"
#include "agent/proto/request.h"
#include "base/frame.h"
#include "base/loop.h"

struct bare_peer;

/* Appends the answer to one request. */
typedef void bare_peer_answer(
    struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out);

struct bare_peer {
	struct pv_loop *loop;
	struct pv_agent *agent;
	struct pv_loop_timer timer;
	struct pv_frame_reader requests;
	bare_peer_answer *answer;
	size_t take;  /* bytes that the link takes at once */
	size_t piece; /* bytes that the client gets at once */
	unsigned closes;
	size_t digested;
	size_t delivered;
	uint64_t uploaded; /* bulk bytes that came */
	uint64_t exec_id;
	uint64_t reseed_id;
	uint64_t wall_id;
	char entropy[8];
	bool stuck; /* the link takes no more until somebody calls writable */
	const void *hostile;
	size_t hostile_len;
};

/* For cmocka: a peer in `*state`, not attached, without an answer; and its end. */
int bare_peer_setup(void **state);
int bare_peer_teardown(void **state);

/* Its side of the link; the context is the peer. */
extern const struct pv_agent_link_ops bare_peer_link;

/* Attaches and waits for the end of the handshake, good or bad. */
void bare_peer_attach(struct bare_peer *peer);

/* Appends a good hello. */
void bare_peer_hello(struct pv_bytes *out, const struct pv_request *request);

/* Runs `true`; returns what the client does. */
int bare_peer_run_true(struct bare_peer *peer, struct pv_err *err);

#endif
