/*
 * agent/host/syscall.h and batch.h against an agent that answers what it likes: less or more than
 * was asked for, at the wrong place, or without a result. That is an error of the call or costs the
 * link, and never more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/batch.h"
#include "agent/host/client.h"
#include "agent/host/syscall.h"
#include "agent/proto/protocol.h"
#include "agent/proto/reply.h"
#include "agent/proto/request.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/loop.h"
#include "tests/unit/agent_peer.h"

static void put_ret(struct pv_bytes *out, uint64_t id, int64_t ret)
{
	const struct pv_reply_number number = {"ret", ret};
	pv_reply_put_numbers(out, id, &number, 1);
}

/* With one buffer of four bytes. */
static int call(struct agent_peer *peer, struct pv_agent_syscall_result *result, struct pv_err *err)
{
	const int64_t len = 4, ptr = 0;
	struct pv_agent_syscall syscall = {.nr = 1,
	    .lens = &len,
	    .buf_count = 1,
	    .ptrs = &ptr,
	    .ptr_count = 1,
	    .data = "abcd",
	    .len = 4};
	return pv_agent_syscall(PV_PRINCIPAL(peer->agent), &syscall, result, err);
}

static void well(struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, "w", 1);
	pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, "xyz", 3);
	put_ret(out, request->id, -4095);
}

static void results_may_come_in_pieces(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	peer->answer = well;
	assert_int_equal(call(peer, &result, &err), 0);
	assert_int_equal(result.ret, -1);
	assert_int_equal(result.code, 4095);
	assert_int_equal(result.out.len, 4);
	assert_memory_equal(result.out.data, "wxyz", 4);
	pv_bytes_finish(&result.out);
}

static void large(struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, "wxyz", 4);
	put_ret(out, request->id, request->syscall.nr == 1 ? -4096 : INT64_MIN);
}

static void only_the_last_4095_numbers_are_errors(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	peer->answer = large;
	assert_int_equal(call(peer, &result, &err), 0);
	assert_int_equal(result.ret, -4096);
	assert_int_equal(result.code, 0);
	pv_bytes_finish(&result.out);
}

static void too_little(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, "xyz", 3);
	put_ret(out, request->id, 0);
}

static void too_much(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	static const char much[PV_PROTOCOL_CHUNK];
	pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, "wxyz", 4);
	for (int i = 0; i < 20; i++)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, much, sizeof(much));
	put_ret(out, request->id, 0);
}

static void elsewhere(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_FILE, "wxyz", 4);
	put_ret(out, request->id, 0);
}

static void buffers_of_another_length_are_an_error(void **state)
{
	struct agent_peer *peer = *state;
	void (*const answers[])(struct agent_peer * peer, const struct pv_request *request,
	    struct pv_bytes *out) = {too_little, too_much, elsewhere};
	struct pv_agent_syscall_result result;
	for (size_t i = 0; i < 3; i++) {
		struct pv_err err = PV_ERR_INIT;
		struct pv_bytes out = {0};
		int code;
		peer->answer = answers[i];
		assert_int_equal(call(peer, &result, &err), -EPROTO);
		assert_non_null(strstr(err.text, "where 4 were expected"));
		assert_int_equal(result.out.len, 0);
		assert_int_equal(
		    pv_agent_read_mem(PV_PRINCIPAL(peer->agent), 1, 4, &out, &code, &err), -EPROTO);
		assert_int_equal(out.len, 0);
	}
	/* The link is as good as before. */
	peer->answer = well;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(call(peer, &result, &err), 0);
	pv_bytes_finish(&result.out);
	assert_int_equal(peer->closes, 0);
}

static void nothing(struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	pv_reply_put_numbers(out, request->id, NULL, 0);
}

static void a_result_without_its_number_costs_the_link(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	peer->answer = nothing;
	assert_int_equal(call(peer, &result, &err), -ECONNRESET);
	assert_non_null(strstr(err.text, "breaks the protocol"));
	assert_int_equal(peer->closes, 1);
}

static void batch_errors(struct agent_peer *peer, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_item items[] = {
	    {.kind = PV_AGENT_ITEM_SYSCALL},
	     {			      .kind = PV_AGENT_ITEM_SYSCALL				   },
	    { .kind = PV_AGENT_ITEM_LIST,				 .path = "/x"}
	      };
	assert_int_equal(pv_agent_batch(PV_PRINCIPAL(peer->agent), items, 3, &err), 0);
	for (size_t i = 0; i < 3; i++) {
		if (!items[i].error)
			fail_msg("item %zu has no error", i);
		assert_non_null(strstr(items[i].error, i < 2 ? text : "no list of names"));
		pv_agent_item_release(&items[i]);
	}
}

static void batch_short(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_LIST)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_FILE, "\1a/b\0", 5);
	else
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, "12345678", 8);
	put_ret(out, request->id, 0);
}

static void batch_long(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	static const char much[24];
	if (request->op == PV_REQUEST_LIST)
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_FILE, "\1name", 5);
	else
		pv_reply_put_data(out, request->id, PV_PROTOCOL_CHANNEL_MEMORY, much, 24);
	put_ret(out, request->id, 0);
}

static void rows_of_another_length_are_errors_of_their_items(void **state)
{
	struct agent_peer *peer = *state;
	peer->answer = batch_short;
	batch_errors(peer, "2 system calls have 8 bytes of results");
	peer->answer = batch_long;
	batch_errors(peer, "2 system calls have 0 bytes of results and more");
	assert_int_equal(peer->closes, 0);
}

static void a_link_that_is_lost_ends_a_batch(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_item items[2000];
	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < 2000; i++) {
		items[i].kind = PV_AGENT_ITEM_STAT;
		items[i].path = "/x";
	}
	peer->answer = nothing;
	assert_int_equal(pv_agent_batch(PV_PRINCIPAL(peer->agent), items, 2000, &err), 0);
	for (size_t i = 0; i < 2000; i++) {
		assert_non_null(items[i].error);
		pv_agent_item_release(&items[i]);
	}
	assert_int_equal(pv_agent_in_flight(peer->agent), 0);
}

#define PEER_TEST(name) cmocka_unit_test_setup_teardown(name, agent_peer_setup, agent_peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    PEER_TEST(results_may_come_in_pieces),
	    PEER_TEST(only_the_last_4095_numbers_are_errors),
	    PEER_TEST(buffers_of_another_length_are_an_error),
	    PEER_TEST(a_result_without_its_number_costs_the_link),
	    PEER_TEST(rows_of_another_length_are_errors_of_their_items),
	    PEER_TEST(a_link_that_is_lost_ends_a_batch),
	};
	return cmocka_run_group_tests_name("agent_host_syscall", tests, NULL, NULL);
}
