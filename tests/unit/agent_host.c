/*
 * The client against a scripted peer over a link that is only memory: what it asks, what it makes
 * of good answers, and of links that come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/client.h"
#include "agent/proto/protocol.h"
#include "agent/proto/reply.h"
#include "agent/proto/request.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/loop.h"
#include "base/pack.h"
#include "tests/unit/bare_peer.h"

static void well_behaved(
    struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	static const struct pv_reply_stat stat = {
	    .size = 5, .mtime_ns = -1, .perm = 0640, .entry = PV_REPLY_FIFO};
	switch (request->op) {
	case PV_REQUEST_HELLO: bare_peer_hello(out, request); break;
	case PV_REQUEST_EXEC:
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_STDERR, "e1", 2);
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_STDOUT, "o1", 2);
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_STDOUT, "o2", 2);
		pv_reply_put_exit(out, request->id, PV_REPLY_SIGNALLED, 11);
		break;
	case PV_REQUEST_READ_FILE:
		pv_reply_put_error(out, request->id, EACCES, "no\x1b[1m\n\xff way");
		break;
	case PV_REQUEST_WRITE_FILE: peer->uploaded += request->file.data.len; break;
	case PV_REQUEST_CHUNK:
		peer->uploaded += request->chunk.len;
		pv_reply_put_credit(out, request->id, request->chunk.len);
		break;
	case PV_REQUEST_FINISH: pv_reply_put_size(out, request->id, peer->uploaded); break;
	case PV_REQUEST_STAT: pv_reply_put_stat(out, request->id, &stat); break;
	default: break;
	}
}

static int setup(void **state)
{
	const int status = bare_peer_setup(state);
	((struct bare_peer *)*state)->answer = well_behaved;
	return status;
}

/* Says hello and then nothing. */
static void silent(struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_HELLO)
		bare_peer_hello(out, request);
	else if (request->op == PV_REQUEST_EXEC)
		peer->exec_id = request->id;
	else if (request->op == PV_REQUEST_WRITE_FILE)
		peer->uploaded += request->file.data.len;
	else if (request->op == PV_REQUEST_CHUNK)
		peer->uploaded += request->chunk.len;
}

static uint64_t next_id(struct bare_peer *peer)
{
	pv_loop_lock(peer->loop);
	uint64_t id = pv_agent_next_id(peer->agent);
	pv_loop_unlock(peer->loop);
	return id;
}

static bool is_quiescent(struct bare_peer *peer)
{
	pv_loop_lock(peer->loop);
	bool quiescent = pv_agent_is_quiescent(peer->agent);
	pv_loop_unlock(peer->loop);
	return quiescent;
}

static bool adopt(struct bare_peer *peer, uint64_t id)
{
	pv_loop_lock(peer->loop);
	const struct pv_agent_mark mark = {.next_id = id, .boot = 77};
	bool adopted = pv_agent_adopt(peer->agent, &bare_peer_link, peer, &mark);
	pv_loop_unlock(peer->loop);
	return adopted;
}

/* --- good answers --- */

static void answers_are_taken_apart(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	bare_peer_attach(peer);
	const char *argv[] = {"x"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 1, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result;
	assert_int_equal(pv_agent_exec(PV_PRINCIPAL(peer->agent), &exec, &result, &err), 0);
	assert_int_equal(result.kind, PV_AGENT_SIGNALLED);
	assert_int_equal(result.code, 11);
	assert_string_equal(pv_bytes_text(&result.out), "o1o2");
	assert_string_equal(pv_bytes_text(&result.err), "e1");
	pv_bytes_finish(&result.out);
	pv_bytes_finish(&result.err);
	struct pv_agent_stat info;
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(peer->agent), "/x", false, &info, &err), 0);
	assert_int_equal(info.size, 5);
	assert_int_equal(info.mtime_ns, -1);
	assert_int_equal(info.perm, 0640);
	assert_int_equal(info.type, PV_AGENT_FIFO);
	assert_int_equal(pv_agent_in_flight(peer->agent), 0);
	assert_int_equal(peer->digested, peer->delivered);
}

static void answers_may_come_byte_by_byte(void **state)
{
	struct bare_peer *peer = *state;
	peer->piece = 1;
	answers_are_taken_apart(state);
}

static void text_from_the_guest_is_made_printable(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes content = {0};
	bare_peer_attach(peer);
	assert_int_equal(
	    pv_agent_read_file(PV_PRINCIPAL(peer->agent), "/x", &content, &err), -EACCES);
	assert_int_equal(err.kind, PV_ERR_GUEST);
	assert_string_equal(err.text, "read_file `/x`: no?[1m?? way");
}

static void uploads_pass_a_narrow_link(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	size_t len = 3 << 20;
	void *data = calloc(1, len);
	assert_non_null(data);
	peer->take = 100003;
	bare_peer_attach(peer);
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(peer->agent), "/x", data, len, 0644, &err), 0);
	assert_int_equal(peer->uploaded, len);
	free(data);
}

/* --- the link --- */

static void calls_without_a_link_fail(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(bare_peer_run_true(peer, &err), -ENOTCONN);
	assert_string_equal(
	    err.text, "exec `true`: the guest's agent cannot be reached: it has not connected yet");
}

static void a_second_link_is_refused_and_a_later_one_taken(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	bare_peer_attach(peer);
	pv_loop_lock(peer->loop);
	assert_false(pv_agent_attach(peer->agent, &bare_peer_link, peer));
	pv_agent_closed(peer->agent);
	pv_loop_unlock(peer->loop);
	assert_int_equal(bare_peer_run_true(peer, &err), -ENOTCONN);
	assert_int_equal(peer->closes, 0);
	bare_peer_attach(peer);
	assert_int_equal(bare_peer_run_true(peer, &err), 0);
}

static void what_another_life_of_the_agent_gave_is_refused(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	const char *argv[] = {"true"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 1, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result;
	bare_peer_attach(peer);
	pv_loop_lock(peer->loop);
	struct pv_principal by = {.agent = peer->agent, .boot = pv_agent_boot(peer->agent)};
	pv_loop_unlock(peer->loop);
	assert_int_equal(pv_agent_exec(&by, &exec, &result, &err), 0);
	pv_bytes_finish(&result.out);
	pv_bytes_finish(&result.err);
	pv_loop_lock(peer->loop);
	pv_agent_closed(peer->agent);
	pv_loop_unlock(peer->loop);
	bare_peer_attach(peer);
	assert_int_equal(pv_agent_exec(&by, &exec, &result, &err), -ESTALE);
	assert_string_equal(err.text, "exec `true`: the guest was rebooted since");
	assert_int_equal(bare_peer_run_true(peer, &err), 0);
}

static void wrong_version(
    struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	int64_t start = pv_frame_begin(out);
	struct pv_pack pack = {.out = out};
	pv_pack_map(&pack, 3);
	pv_pack_str(&pack, "id");
	pv_pack_uint(&pack, request->id);
	pv_pack_str(&pack, "kind");
	pv_pack_str(&pack, "result");
	pv_pack_str(&pack, "version");
	pv_pack_uint(&pack, PV_PROTOCOL_VERSION + 1);
	pv_frame_end(out, start);
}

static void an_agent_of_another_version_is_refused(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	peer->answer = wrong_version;
	assert_null(pv_agent_refusal(peer->agent));
	bare_peer_attach(peer);
	assert_string_equal(
	    pv_agent_refusal(peer->agent), "agent speaks protocol 5, this provium speaks 4");
	assert_int_equal(peer->closes, 1);
	assert_int_equal(bare_peer_run_true(peer, &err), -ENOTCONN);
	/* The right one may come after a reset. */
	peer->answer = well_behaved;
	bare_peer_attach(peer);
	assert_null(pv_agent_refusal(peer->agent));
}

/* Keeps the number of the last request, and fails the test when anybody says hello. */
static void restored(struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_HELLO)
		abort();
	peer->exec_id = request->id;
	well_behaved(peer, request, out);
}

static void an_adopted_link_is_ready_at_once_and_numbers_go_on(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	peer->answer = restored;
	assert_true(adopt(peer, 1000));
	pv_loop_lock(peer->loop);
	assert_true(pv_agent_is_ready(peer->agent));
	assert_int_equal(pv_agent_in_flight(peer->agent), 0);
	pv_loop_unlock(peer->loop);
	assert_true(is_quiescent(peer));
	assert_int_equal(next_id(peer), 1000);
	assert_int_equal(bare_peer_run_true(peer, &err), 0);
	assert_int_equal(peer->exec_id, 1000);
	assert_int_equal(next_id(peer), 1001);
	/* Back to an earlier state of the same guest, as a rewind does. */
	pv_loop_lock(peer->loop);
	pv_agent_drop(peer->agent, "rewound", true);
	pv_loop_unlock(peer->loop);
	assert_int_equal(bare_peer_run_true(peer, &err), -ENOTCONN);
	assert_true(adopt(peer, 7));
	assert_int_equal(bare_peer_run_true(peer, &err), 0);
	assert_int_equal(peer->exec_id, 7);
	assert_int_equal(peer->closes, 1);
}

static void adoption_is_refused_beside_a_link_and_for_impossible_numbers(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	assert_false(adopt(peer, 0));
	assert_false(adopt(peer, UINT64_MAX));
	assert_int_equal(bare_peer_run_true(peer, &err), -ENOTCONN);
	bare_peer_attach(peer);
	uint64_t id = next_id(peer);
	assert_false(adopt(peer, 1000));
	assert_int_equal(next_id(peer), id);
	assert_int_equal(bare_peer_run_true(peer, &err), 0);
}

static void keep_entropy(
    struct bare_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_SET_WALL && request->wall_ns == 1000000000)
		peer->wall_id = request->id;
	if (request->op == PV_REQUEST_RESEED) {
		peer->reseed_id = request->id;
		snprintf(peer->entropy, sizeof(peer->entropy), "%.*s", (int)request->entropy.len,
		    (const char *)request->entropy.data);
	}
	restored(peer, request, out);
}

static void entropy_and_time_go_ahead_of_the_first_call_and_nothing_waits_for_them(void **state)
{
	struct bare_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	peer->answer = keep_entropy;
	pv_loop_lock(peer->loop);
	pv_agent_reseed(peer->agent, "early", 5); /* there is no link: nothing happens */
	pv_loop_unlock(peer->loop);
	assert_int_equal(next_id(peer), 1);
	assert_true(adopt(peer, 50));
	pv_loop_lock(peer->loop);
	pv_agent_reseed(peer->agent, "dice", 4);
	pv_agent_set_wall(peer->agent, 1000000000);
	assert_int_equal(pv_agent_in_flight(peer->agent), 0);
	assert_true(pv_agent_is_quiescent(peer->agent));
	assert_int_equal(pv_agent_next_id(peer->agent), 52);
	pv_loop_unlock(peer->loop);
	assert_int_equal(bare_peer_run_true(peer, &err), 0);
	assert_int_equal(peer->reseed_id, 50);
	assert_string_equal(peer->entropy, "dice");
	assert_int_equal(peer->wall_id, 51);
	assert_int_equal(peer->exec_id, 52);
}

struct waiter {
	struct bare_peer *peer;
	pthread_t thread;
	int status;
	struct pv_err err;
};

static void *wait_for_exec(void *ctx)
{
	struct waiter *waiter = ctx;
	waiter->status = bare_peer_run_true(waiter->peer, &waiter->err);
	return NULL;
}

static void *wait_for_upload(void *ctx)
{
	struct waiter *waiter = ctx;
	size_t len = 4 * PV_PROTOCOL_WINDOW;
	void *data = calloc(1, len);
	waiter->status = pv_agent_write_file(
	    PV_PRINCIPAL(waiter->peer->agent), "/x", data, len, 0644, &waiter->err);
	free(data);
	return NULL;
}

/* Waits, with the lock held afterwards, until the peer has what it is to have. */
static void lock_when(struct bare_peer *peer, const uint64_t *number, uint64_t value)
{
	pv_loop_lock(peer->loop);
	while (*number < value) {
		pv_loop_unlock(peer->loop);
		sched_yield();
		pv_loop_lock(peer->loop);
	}
}

static void the_end_of_the_stream_fails_calls(void **state)
{
	struct waiter waiter = {.peer = *state};
	struct bare_peer *peer = *state;
	peer->answer = silent;
	bare_peer_attach(peer);
	pthread_create(&waiter.thread, NULL, wait_for_exec, &waiter);
	lock_when(peer, &peer->exec_id, 1);
	pv_agent_closed(peer->agent);
	pv_loop_unlock(peer->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, -ECONNRESET);
	assert_string_equal(waiter.err.text, "exec `true`: the agent connection was lost");
}

static void uploads_keep_to_the_credit(void **state)
{
	struct waiter waiter = {.peer = *state};
	struct bare_peer *peer = *state;
	peer->answer = silent;
	bare_peer_attach(peer);
	pthread_create(&waiter.thread, NULL, wait_for_upload, &waiter);
	lock_when(peer, &peer->uploaded, PV_PROTOCOL_WINDOW);
	assert_int_equal(peer->uploaded, PV_PROTOCOL_WINDOW);
	pv_agent_drop(peer->agent, "the VM was shut down", true);
	pv_loop_unlock(peer->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, -ECONNRESET);
	assert_int_equal(peer->uploaded, PV_PROTOCOL_WINDOW);
	assert_int_equal(peer->closes, 1);
}

static void late_answers_of_a_cancelled_call_are_ignored_once(void **state)
{
	struct waiter waiter = {.peer = *state};
	struct bare_peer *peer = *state;
	struct pv_bytes out = {0};
	peer->answer = silent;
	bare_peer_attach(peer);
	pthread_create(&waiter.thread, NULL, wait_for_exec, &waiter);
	lock_when(peer, &peer->exec_id, 1);
	pv_agent_cancel(peer->agent, "enough");
	pv_loop_unlock(peer->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, -ECANCELED);
	pv_reply_put_data(&out, peer->exec_id, PV_PROTOCOL_CHANNEL_STDOUT, "x", 1);
	pv_reply_put_exit(&out, peer->exec_id, PV_REPLY_EXITED, 0);
	pv_loop_lock(peer->loop);
	assert_int_equal(pv_agent_in_flight(peer->agent), 1);
	pv_agent_receive(peer->agent, out.data, out.len);
	assert_int_equal(pv_agent_in_flight(peer->agent), 0);
	assert_true(pv_agent_is_ready(peer->agent));
	/* Now the call is over, and a second last word is one too many. */
	pv_agent_receive(peer->agent, out.data, out.len);
	assert_false(pv_agent_is_ready(peer->agent));
	assert_int_equal(peer->closes, 1);
	pv_loop_unlock(peer->loop);
	pv_bytes_finish(&out);
}

static void a_client_is_quiescent_between_whole_frames_only(void **state)
{
	struct waiter waiter = {.peer = *state};
	struct bare_peer *peer = *state;
	struct pv_bytes out = {0};
	assert_false(is_quiescent(peer));
	peer->answer = silent;
	bare_peer_attach(peer);
	assert_true(is_quiescent(peer));
	pthread_create(&waiter.thread, NULL, wait_for_exec, &waiter);
	lock_when(peer, &peer->exec_id, 1);
	assert_false(pv_agent_is_quiescent(peer->agent));
	pv_reply_put_exit(&out, peer->exec_id, PV_REPLY_EXITED, 0);
	pv_agent_receive(peer->agent, out.data, out.len);
	assert_true(pv_agent_is_quiescent(peer->agent));
	/* The first bytes of a frame. */
	pv_agent_receive(peer->agent, "\0\0", 2);
	assert_false(pv_agent_is_quiescent(peer->agent));
	pv_agent_closed(peer->agent);
	assert_false(pv_agent_is_quiescent(peer->agent));
	pv_loop_unlock(peer->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, 0);
	pv_bytes_finish(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, bare_peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(answers_are_taken_apart),
	    TEST(answers_may_come_byte_by_byte),
	    TEST(text_from_the_guest_is_made_printable),
	    TEST(uploads_pass_a_narrow_link),
	    TEST(calls_without_a_link_fail),
	    TEST(a_second_link_is_refused_and_a_later_one_taken),
	    TEST(what_another_life_of_the_agent_gave_is_refused),
	    TEST(an_agent_of_another_version_is_refused),
	    TEST(an_adopted_link_is_ready_at_once_and_numbers_go_on),
	    TEST(entropy_and_time_go_ahead_of_the_first_call_and_nothing_waits_for_them),
	    TEST(adoption_is_refused_beside_a_link_and_for_impossible_numbers),
	    TEST(a_client_is_quiescent_between_whole_frames_only),
	    TEST(the_end_of_the_stream_fails_calls),
	    TEST(uploads_keep_to_the_credit),
	    TEST(late_answers_of_a_cancelled_call_are_ignored_once),
	};
	return cmocka_run_group_tests_name("agent_host", tests, NULL, NULL);
}
