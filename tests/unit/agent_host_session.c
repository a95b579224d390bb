/*
 * The client and an agent that lies about sessions: which one it is in, and what it has of it. Each
 * lie costs the connection and the calls, is told in a sentence, and an agent that begins anew is
 * served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto/link.h"
#include "agent/proto/reply.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/unit/agent_peer.h"

/* --- what peers say to hello --- */

static void put(
    struct pv_bytes *out, const struct pv_request *request, uint64_t session, uint64_t received)
{
	pv_reply_put_hello(out, request->id, "6.1.0", session, received, NULL, 0);
}

/* Begins the session that is proposed. */
static void begin(struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	peer->session = request->hello.session;
	put(out, request, peer->session, 0);
}

/* The numbers that a lie is made of. */
struct lie {
	bool fresh;   /* says that it begins the one that is proposed */
	bool foreign; /* or one that nobody knows */
	int64_t more; /* bytes than it has */
};
static struct lie the_lie;

/* The client sent one request, and all of it came. */
static uint64_t first_len;

static void lie(struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	uint64_t session = the_lie.fresh ? request->hello.session : peer->session;
	if (the_lie.foreign)
		session = request->hello.session ^ 12345;
	put(out, request, session, first_len + (uint64_t)the_lie.more);
}

static void count_only(
    struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	/* Nobody is answered. */
}

static void answer(struct agent_peer *peer, const struct pv_request *request, struct pv_bytes *out)
{
	if (request->op == PV_REQUEST_EXEC)
		pv_reply_put_exit(out, request->id, PV_REPLY_EXITED, 0);
}

/* --- a call that is open --- */

struct waiter {
	struct agent_peer *peer;
	pthread_t thread;
	int status;
	struct pv_err err;
};

static int run_true(struct agent_peer *peer, size_t argument, struct pv_err *err)
{
	char *text = calloc(1, argument + 1);
	assert_non_null(text);
	memset(text, 'x', argument);
	const char *argv[] = {"true", text};
	struct pv_agent_exec exec = {.argv = argv, .argc = 2, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result;
	int status = pv_agent_exec(PV_PRINCIPAL(peer->agent), &exec, &result, err);
	pv_bytes_finish(&result.out);
	pv_bytes_finish(&result.err);
	free(text);
	return status;
}

static void *wait_for_exec(void *ctx)
{
	struct waiter *waiter = ctx;
	waiter->status = run_true(waiter->peer, 1, &waiter->err);
	return NULL;
}

/* In a session of its own a call is open that was interrupted. With the lock held afterwards. */
static void interrupt(struct waiter *waiter)
{
	struct agent_peer *peer = waiter->peer;
	pv_loop_lock(peer->loop);
	pv_agent_drop(peer->agent, "once more", true);
	peer->hello = begin;
	peer->answer = count_only;
	agent_peer_attach(peer);
	pv_loop_unlock(peer->loop);
	assert_int_equal(pthread_create(&waiter->thread, NULL, wait_for_exec, waiter), 0);
	pv_loop_lock(peer->loop);
	while (pv_agent_in_flight(peer->agent) == 0) {
		pv_loop_unlock(peer->loop);
		sched_yield();
		pv_loop_lock(peer->loop);
	}
	first_len = pv_agent_mark(peer->agent).sent;
	assert_true(first_len > 20);
	pv_agent_interrupt(peer->agent, "interrupted");
	assert_true(pv_agent_is_interrupted(peer->agent));
	assert_int_equal(pv_agent_in_flight(peer->agent), 1);
}

static void an_interrupted_call_is_answered_later(void **state)
{
	struct agent_peer *peer = *state;
	struct waiter waiter = {.peer = peer};
	interrupt(&waiter);
	uint64_t boot = pv_agent_boot(peer->agent);
	/* It has nothing of the request: all of that comes again. */
	the_lie = (struct lie){.more = -(int64_t)first_len};
	peer->hello = lie;
	peer->answer = answer;
	const unsigned closes = peer->closes;
	agent_peer_attach(peer);
	assert_true(pv_agent_is_ready(peer->agent));
	assert_int_equal(pv_agent_boot(peer->agent), boot);
	pv_loop_unlock(peer->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, 0);
	assert_int_equal(peer->closes, closes);
}

static void an_agent_without_the_session_fails_what_was_open(void **state)
{
	struct agent_peer *peer = *state;
	struct waiter waiter = {.peer = peer};
	struct pv_err err = PV_ERR_INIT;
	interrupt(&waiter);
	uint64_t boot = pv_agent_boot(peer->agent);
	peer->hello = begin;
	peer->answer = answer;
	agent_peer_attach(peer);
	assert_true(pv_agent_is_ready(peer->agent));
	assert_true(pv_agent_boot(peer->agent) != boot);
	pv_loop_unlock(peer->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, -ECONNRESET);
	assert_string_equal(waiter.err.text, "exec `true`: interrupted");
	assert_int_equal(run_true(peer, 1, &err), 0);
}

static void lies_cost_the_connection(void **state)
{
	static const struct {
		struct lie lie;
		const char *sentence;
	} lies[] = {
	    {{.more = 1},	  "that were sent"		  },
	    {{.more = INT64_MAX}, "that were sent"		  },
	    {{.foreign = true},	"a session that it is not in"},
	    {{.fresh = true},     "a session that it is not in"},
	};
	struct agent_peer *peer = *state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct waiter waiter = {.peer = peer};
		struct pv_err err = PV_ERR_INIT;
		interrupt(&waiter);
		the_lie = lies[i].lie;
		peer->hello = lie;
		const unsigned closes = peer->closes;
		agent_peer_attach(peer);
		assert_int_equal(peer->closes, closes + 1);
		assert_false(pv_agent_is_ready(peer->agent));
		/* The session is over, so it cannot be resumed a second time. */
		the_lie = (struct lie){0};
		agent_peer_attach(peer);
		assert_int_equal(peer->closes, closes + 2);
		peer->hello = begin;
		peer->answer = answer;
		agent_peer_attach(peer);
		assert_true(pv_agent_is_ready(peer->agent));
		pv_loop_unlock(peer->loop);
		pthread_join(waiter.thread, NULL);
		assert_int_equal(waiter.status, -ECONNRESET);
		if (!strstr(waiter.err.text, "breaks the protocol") ||
		    !strstr(waiter.err.text, lies[i].sentence))
			fail_msg("%s", waiter.err.text);
		assert_int_equal(run_true(peer, 1, &err), 0);
	}
}

static void the_end_of_the_guest_fails_what_was_interrupted(void **state)
{
	struct agent_peer *peer = *state;
	struct waiter waiter = {.peer = peer};
	interrupt(&waiter);
	pv_agent_drop(peer->agent, "the guest rebooted", true);
	assert_false(pv_agent_is_interrupted(peer->agent));
	pv_loop_unlock(peer->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, -ECONNRESET);
	assert_string_equal(waiter.err.text, "exec `true`: the guest rebooted");
}

static void an_agent_that_never_acknowledges_is_given_up(void **state)
{
	struct agent_peer *peer = *state;
	struct pv_err err = PV_ERR_INIT;
	pv_loop_lock(peer->loop);
	pv_agent_drop(peer->agent, "once more", true);
	peer->hello = begin;
	peer->answer = answer;
	agent_peer_attach(peer);
	pv_loop_unlock(peer->loop);
	unsigned calls = 0;
	while (run_true(peer, 1 << 20, &err) == 0)
		calls++;
	assert_int_equal(calls, (PV_LINK_KEPT_MAX >> 20) - 1);
	assert_non_null(strstr(err.text, "acknowledges nothing"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_peer_setup, agent_peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_interrupted_call_is_answered_later),
	    TEST(an_agent_without_the_session_fails_what_was_open),
	    TEST(lies_cost_the_connection),
	    TEST(the_end_of_the_guest_fails_what_was_interrupted),
	    TEST(an_agent_that_never_acknowledges_is_given_up),
	};
	return cmocka_run_group_tests_name("agent_host_session", tests, NULL, NULL);
}
