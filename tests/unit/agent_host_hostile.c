/*
 * The client against an agent that breaks the protocol: it costs the link and fails the calls,
 * never more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto/protocol.h"
#include "agent/proto/reply.h"
#include "base/err.h"
#include "tests/unit/bare_peer.h"

static void hostile(struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_HELLO)
		bare_peer_hello(out, request);
	else
		pv_bytes_append(out, peer->hostile, peer->hostile_len);
}

/* The client must drop the link, say so in the call's error, and be fit for a new link. */
static void check_hostile(struct bare_peer *peer, const void *frames, size_t len, const char *why)
{
	struct pv_err err = PV_ERR_INIT;
	unsigned closes = peer->closes;
	peer->answer = hostile;
	peer->hostile = frames;
	peer->hostile_len = len;
	bare_peer_attach(peer);
	assert_int_equal(bare_peer_run_true(peer, &err), -ECONNRESET);
	if (!strstr(err.text, "breaks the protocol") || !strstr(err.text, why))
		fail_msg("`%s` does not say `%s`", err.text, why);
	assert_int_equal(peer->closes, closes + 1);
	assert_int_equal(pv_agent_in_flight(peer->agent), 0);
	assert_int_equal(bare_peer_run_true(peer, &err), -ENOTCONN);
}

/* Numbers go up by one for each hello and each call that was sent. */
static void frames_that_break_the_protocol_cost_the_link(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_bytes out = {0};
	uint64_t id = 2;
#define CHECK(put, why)                                      \
	do {                                                 \
		out.len = 0;                                 \
		put;                                         \
		check_hostile(peer, out.data, out.len, why); \
		id += 2;                                     \
	} while (0)
	CHECK(pv_reply_put_exit(&out, id + 1, PV_REPLY_EXITED, 0), "not open");
	CHECK(pv_reply_put_exit(&out, id - 1, PV_REPLY_EXITED, 0), "not open");
	CHECK(pv_reply_put_exit(&out, 0, PV_REPLY_EXITED, 0), "call number");
	CHECK(pv_reply_put_exit(&out, id, PV_REPLY_EXITED, 256), "wrong fields");
	CHECK(pv_reply_put_size(&out, id, 1), "wrong fields");
	CHECK(pv_reply_put_data(&out, id, PV_PROTOCOL_CHANNEL_FILE, "x", 1), "nobody asked");
	CHECK(pv_reply_put_data(&out, id, PV_PROTOCOL_CHANNEL_COUNT, "x", 1), "wrong fields");
	CHECK(pv_reply_put_credit(&out, id, 1), "credit");
	CHECK(pv_reply_put_credit(&out, id, UINT64_MAX), "credit");
	CHECK(pv_reply_put_error(&out, id, 0, "fine"), "wrong fields");
	CHECK(pv_reply_put_error(&out, id, 5000, "odd"), "wrong fields");
	CHECK(pv_reply_put_error(&out, id, EIO, NULL), "wrong fields");
	CHECK(pv_bytes_append(&out, "\xff\xff\xff\xff", 4), "is announced");
	CHECK(pv_bytes_append(&out, "\0\0\0\0", 4), "message");
	CHECK(pv_bytes_append(&out, "\0\0\0\1\xc0", 5), "call number");
	CHECK(pv_bytes_append(&out, "\0\0\0\1\xc1", 5), "message");
	CHECK(pv_bytes_append(&out, "\0\0\0\5\x81\xa2id\x02", 9), "unknown kind");
#undef CHECK
	pv_bytes_finish(&out);
}

static void too_much_data_in_one_frame_costs_the_link(void **state)
{
	struct pv_bytes out = {0};
	size_t len = PV_PROTOCOL_CHUNK_MAX + 1;
	void *data = calloc(1, len);
	assert_non_null(data);
	pv_reply_put_data(&out, 2, PV_PROTOCOL_CHANNEL_STDOUT, data, len);
	check_hostile(*state, out.data, out.len, "wrong fields");
	free(data);
	pv_bytes_finish(&out);
}

static void chatter(struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	pv_reply_put_data(out, request->id + 1, PV_PROTOCOL_CHANNEL_STDOUT, "x", 1);
}

static void answers_before_the_handshake_cost_the_link(void **state)
{
	struct bare_peer *peer = *state;
	peer->answer = chatter;
	bare_peer_attach(peer);
	assert_int_equal(peer->closes, 1);
	assert_null(pv_agent_refusal(peer->agent));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_peer_setup, bare_peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(frames_that_break_the_protocol_cost_the_link),
	    TEST(too_much_data_in_one_frame_costs_the_link),
	    TEST(answers_before_the_handshake_cost_the_link),
	};
	return cmocka_run_group_tests_name("agent_host_hostile", tests, NULL, NULL);
}
