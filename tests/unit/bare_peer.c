/* See bare_peer.h. */
#include "tests/unit/bare_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/proto/reply.h"
#include "base/clock.h"
#include "base/err.h"

/* On the loop thread: what the client sent is answered, in pieces. */
static void answer_all(void *ctx)
{
	struct bare_peer *peer = ctx;
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	struct pv_bytes out = {0};
	while (pv_frame_next(&peer->requests, &payload, &err) == 1) {
		struct pv_request request;
		if (pv_request_decode(&request, payload.data, payload.len, &err) < 0)
			abort();
		peer->answer(peer, &request, &out);
		pv_request_finish(&request);
	}
	if (peer->stuck) {
		peer->stuck = false;
		pv_agent_writable(peer->agent);
	}
	unsigned closes = peer->closes;
	for (size_t at = 0; at < out.len && peer->closes == closes;) {
		size_t len = out.len - at < peer->piece ? out.len - at : peer->piece;
		peer->delivered += len;
		pv_agent_receive(peer->agent, out.data + at, len);
		at += len;
	}
	pv_bytes_finish(&out);
}

static size_t link_send(void *ctx, const void *data, size_t len)
{
	struct bare_peer *peer = ctx;
	size_t taken = len < peer->take ? len : peer->take;
	if (peer->stuck)
		return 0;
	peer->stuck = taken < len;
	pv_frame_feed(&peer->requests, data, taken);
	pv_loop_timer_set(peer->loop, &peer->timer, pv_clock_now(), answer_all, peer);
	return taken;
}

static void link_digested(void *ctx, size_t len)
{
	((struct bare_peer *)ctx)->digested += len;
}

static void link_close(void *ctx)
{
	((struct bare_peer *)ctx)->closes++;
}

const struct pv_agent_link_ops bare_peer_link = {
    .send = link_send,
    .digested = link_digested,
    .close = link_close,
};

void bare_peer_hello(struct pv_bytes *out, const struct pv_request *request)
{
	static const char *const capabilities[] = {"exec", "files"};
	pv_reply_put_hello(out, request->id, "6.1.0", 0, 0, capabilities, 2);
}

int bare_peer_setup(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct bare_peer *peer = calloc(1, sizeof(*peer));
	assert_non_null(peer);
	*state = peer;
	peer->take = peer->piece = SIZE_MAX;
	assert_int_equal(pv_loop_create(&peer->loop, &err), 0);
	assert_int_equal(pv_agent_create(&peer->agent, peer->loop, &err), 0);
	assert_int_equal(pv_loop_start(peer->loop, &err), 0);
	return 0;
}

int bare_peer_teardown(void **state)
{
	struct bare_peer *peer = *state;
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

void bare_peer_attach(struct bare_peer *peer)
{
	pv_loop_lock(peer->loop);
	unsigned closes = peer->closes;
	assert_true(pv_agent_attach(peer->agent, &bare_peer_link, peer));
	while (!pv_agent_is_ready(peer->agent) && peer->closes == closes)
		pv_loop_wait(peer->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(peer->loop);
}

int bare_peer_run_true(struct bare_peer *peer, struct pv_err *err)
{
	const char *argv[] = {"true"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 1, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result;
	int status = pv_agent_exec(PV_PRINCIPAL(peer->agent), &exec, &result, err);
	pv_bytes_finish(&result.out);
	pv_bytes_finish(&result.err);
	return status;
}
