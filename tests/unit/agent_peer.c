/*
 * See agent_peer.h. The client's link sends into a frame reader; a timer that is due at once
 * answers from the loop, so no answer comes from within the client's own call.
 */
#include "tests/unit/agent_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/proto/reply.h"
#include "base/clock.h"
#include "base/err.h"

/* On the loop thread. */
static void answer_all(void *ctx)
{
	struct agent_peer *peer = ctx;
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	struct pv_bytes out = {0};
	while (pv_frame_next(&peer->requests, &payload, &err) == 1) {
		struct pv_request request;
		if (pv_request_decode(&request, payload.data, payload.len, &err) < 0)
			abort();
		if (request.op == PV_REQUEST_HELLO && peer->hello)
			peer->hello(peer, &request, &out);
		else if (request.op == PV_REQUEST_HELLO)
			pv_reply_put_hello(&out, request.id, "6.1.0", 0, 0, NULL, 0);
		if (request.op == PV_REQUEST_GRANT)
			peer->granted += (uint64_t)request.grant;
		peer->cancels += request.op == PV_REQUEST_CANCEL;
		if (request.op != PV_REQUEST_HELLO)
			peer->answer(peer, &request, &out);
		pv_request_finish(&request);
	}
	if (out.len > 0)
		pv_agent_receive(peer->agent, out.data, out.len);
	pv_bytes_finish(&out);
}

static size_t link_send(void *ctx, const void *data, size_t len)
{
	struct agent_peer *peer = ctx;
	pv_frame_feed(&peer->requests, data, len);
	pv_loop_timer_set(peer->loop, &peer->timer, pv_clock_now(), answer_all, peer);
	return len;
}

static void link_digested(void *ctx, size_t len)
{
}

static void link_close(void *ctx)
{
	((struct agent_peer *)ctx)->closes++;
}

static const struct pv_agent_link_ops link_ops = {
    .send = link_send,
    .digested = link_digested,
    .close = link_close,
};

void agent_peer_attach(struct agent_peer *peer)
{
	const unsigned closes = peer->closes;
	pv_frame_reader_finish(&peer->requests);
	assert_true(pv_agent_attach(peer->agent, &link_ops, peer));
	while (!pv_agent_is_ready(peer->agent) && peer->closes == closes)
		pv_loop_wait(peer->loop, PV_CLOCK_NEVER);
}

int agent_peer_setup(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct agent_peer *peer = calloc(1, sizeof(*peer));
	assert_non_null(peer);
	*state = peer;
	assert_int_equal(pv_loop_create(&peer->loop, &err), 0);
	assert_int_equal(pv_agent_create(&peer->agent, peer->loop, &err), 0);
	assert_int_equal(pv_loop_start(peer->loop, &err), 0);
	pv_loop_lock(peer->loop);
	agent_peer_attach(peer);
	assert_true(pv_agent_is_ready(peer->agent));
	pv_loop_unlock(peer->loop);
	return 0;
}

int agent_peer_teardown(void **state)
{
	struct agent_peer *peer = *state;
	pv_agent_destroy(peer->agent);
	pv_loop_lock(peer->loop);
	pv_loop_timer_clear(&peer->timer);
	pv_loop_unlock(peer->loop);
	pv_loop_stop(peer->loop);
	pv_loop_destroy(peer->loop);
	pv_frame_reader_finish(&peer->requests);
	free(peer);
	return 0;
}
