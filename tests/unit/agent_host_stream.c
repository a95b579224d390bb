/*
 * Streams of the client against a scripted peer: grants are given as bytes are taken, and an agent
 * that sends what it may not costs the link, never memory or the process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/client.h"
#include "agent/host/stream.h"
#include "agent/host/tree.h"
#include "agent/proto/protocol.h"
#include "agent/proto/reply.h"
#include "agent/proto/request.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/loop.h"
#include "tests/unit/agent_peer.h"

static int follow(struct agent_peer *peer, struct pv_agent_stream **stream, struct pv_err *err)
{
	return pv_agent_stream_tail(
	    PV_PRINCIPAL(peer->agent), "/x", PV_AGENT_STREAM_FROM_END, 0, stream, err);
}

/* Takes one piece, waiting for it. */
static int take(struct agent_peer *peer, struct pv_agent_stream *stream, struct pv_bytes *out,
    struct pv_err *err)
{
	int count;
	pv_loop_lock(peer->loop);
	while ((count = pv_agent_stream_take(stream, out, 64 << 10, err)) == -EAGAIN)
		pv_loop_wait(peer->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(peer->loop);
	return count;
}

static void begin(const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_TAIL || request->op == PV_REQUEST_GET_TREE)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_NOTICE, NULL, 0);
}

/* --- a good agent --- */

/* Sends exactly what it is granted, each byte a number. */
static void sends_what_is_granted(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	static uint8_t next;
	uint8_t piece[4096];
	begin(request, out);
	if (request->op == PV_REQUEST_CANCEL)
		pv_reply_put_error(out, request->id, ECANCELED, "cancelled");
	if (request->op != PV_REQUEST_GRANT)
		return;
	for (int64_t left = request->grant; left > 0;) {
		size_t len = left < 4096 ? (size_t)left : 4096;
		for (size_t i = 0; i < len; i++)
			piece[i] = next++;
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_FILE, piece, len);
		left -= (int64_t)len;
	}
}

static void bytes_are_granted_as_they_are_taken(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_agent_stream *stream;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	peer->answer = sends_what_is_granted;
	assert_int_equal(follow(peer, &stream, &err), 0);
	size_t total = 0;
	uint8_t next = 0;
	while (total < 5u << 20) {
		bytes.len = 0;
		int count = take(peer, stream, &bytes, &err);
		assert_true(count > 0 && count == (int)bytes.len);
		for (size_t i = 0; i < bytes.len; i++)
			assert_int_equal(bytes.data[i], next++);
		total += bytes.len;
		pv_loop_lock(peer->loop);
		assert_true(peer->granted <= total + PV_AGENT_STREAM_WINDOW);
		pv_loop_unlock(peer->loop);
	}
	pv_bytes_finish(&bytes);
	pv_agent_stream_close(stream);
	pv_loop_lock(peer->loop);
	while (pv_agent_in_flight(peer->agent) > 0)
		pv_loop_wait(peer->loop, PV_CLOCK_NEVER);
	assert_int_equal(peer->cancels, 1);
	assert_int_equal(peer->closes, 0);
	pv_loop_unlock(peer->loop);
}

static void says_no(struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_TAIL)
		pv_reply_put_error(out, request->id, ENOENT, "No such file or directory");
}

static void one_that_cannot_begin_is_an_error(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_agent_stream *stream;
	struct pv_err err = PV_ERR_INIT;
	peer->answer = says_no;
	assert_int_equal(follow(peer, &stream, &err), -ENOENT);
	assert_null(stream);
	assert_string_equal(err.text, "tail `/x`: No such file or directory");
	assert_int_equal(peer->closes, 0);
}

static void ends_at_once(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	static const struct pv_reply_number truncated = {"truncated", 1};
	if (request->op == PV_REQUEST_TAIL)
		pv_reply_put_numbers(out, request->id, &truncated, 1);
}

static void one_that_ends_before_it_begins_is_at_its_end(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_agent_stream *stream;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	peer->answer = ends_at_once;
	assert_int_equal(follow(peer, &stream, &err), 0);
	assert_int_equal(take(peer, stream, &bytes, &err), 0);
	assert_true(pv_agent_stream_is_truncated(stream));
	pv_agent_stream_close(stream);
}

/* --- hostile ones --- */

static void sends_too_much(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	static const uint8_t piece[64 << 10];
	begin(request, out);
	for (int i = 0; i < 5 && request->op == PV_REQUEST_GRANT; i++)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_FILE, piece, sizeof(piece));
}

static void sends_a_wrong_notice(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	begin(request, out);
	if (request->op == PV_REQUEST_GRANT)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_NOTICE, "\x7f", 1);
}

static void sends_a_long_notice(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	begin(request, out);
	if (request->op == PV_REQUEST_GRANT)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_NOTICE, "\0\0", 2);
}

static void what_it_may_not_send_costs_the_link(void **state)
{
	static agent_peer_answer *const answers[] = {
	    sends_too_much, sends_a_wrong_notice, sends_a_long_notice};
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		void *other;
		agent_peer_setup(&other);
		struct agent_peer *peer = other;
		struct pv_agent_stream *stream;
		struct pv_err err = PV_ERR_INIT;
		struct pv_bytes bytes = {0};
		peer->answer = answers[i];
		int status = follow(peer, &stream, &err), count = status;
		while (status == 0 && (count = take(peer, stream, &bytes, &err)) > 0)
			;
		assert_int_equal(count, -ECONNRESET);
		assert_non_null(strstr(err.text, "the guest's agent breaks the protocol"));
		assert_true(bytes.len <= PV_AGENT_STREAM_WINDOW);
		assert_int_equal(peer->closes, 1);
		pv_bytes_finish(&bytes);
		pv_agent_stream_close(stream);
		agent_peer_teardown(&other);
	}
}

static void notes_for_ever(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	begin(request, out);
	for (int i = 0; i < 5000 && request->op == PV_REQUEST_GRANT; i++)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_NOTICE, "\0", 1);
	if (request->op == PV_REQUEST_GRANT)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_FILE, "x", 1);
}

static void rotations_are_remembered_up_to_a_limit(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_agent_stream *stream;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	uint64_t offset;
	peer->answer = notes_for_ever;
	assert_int_equal(follow(peer, &stream, &err), 0);
	assert_int_equal(take(peer, stream, &bytes, &err), 1);
	pv_loop_lock(peer->loop);
	assert_true(pv_agent_stream_rotation(stream, 1000, &offset));
	assert_false(pv_agent_stream_rotation(stream, 4999, &offset));
	pv_loop_unlock(peer->loop);
	pv_bytes_finish(&bytes);
	pv_agent_stream_close(stream);
}

static void sends_no_tree(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	begin(request, out);
	if (request->op == PV_REQUEST_GRANT) {
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_FILE, "nonsense", 8);
		pv_reply_put_numbers(out, request->id, NULL, 0);
	}
}

static void a_pull_of_no_tree_is_an_error(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	peer->answer = sends_no_tree;
	assert_int_equal(
	    pv_agent_pull(PV_PRINCIPAL(peer->agent), "/g", "/nowhere/at/all", true, &err),
	    -EBADMSG);
	assert_string_equal(err.text, "pull `/g`: the guest's agent sent no tree of files");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_peer_setup, agent_peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(bytes_are_granted_as_they_are_taken),
	    TEST(one_that_cannot_begin_is_an_error),
	    TEST(one_that_ends_before_it_begins_is_at_its_end),
	    cmocka_unit_test(what_it_may_not_send_costs_the_link),
	    TEST(rotations_are_remembered_up_to_a_limit),
	    TEST(a_pull_of_no_tree_is_an_error),
	};
	return cmocka_run_group_tests_name("agent_host_stream", tests, NULL, NULL);
}
