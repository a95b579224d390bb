/*
 * test() and todo() collect; after the chunk the runner goes through the cases (spec section 3). A
 * body runs in a scope of its own: a lab whose enclosing lab is the file's, the global `provium`
 * points at it, and a timer for the test's limit that interrupts the host. What the body said about
 * itself (a recorded failure, the skip mark) is the suite's verdict; how it ended (returned,
 * raised, was interrupted) decides together with that. Reports are made while the VMs still live,
 * so that the excerpt of their consoles is there. Script thread; only the timer's callback runs on
 * the loop thread.
 */
#include "lua/testcase.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/units.h"
#include "base/utf8.h"
#include "lab/host.h"
#include "lab/lab.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/context.h"
#include "lua/error.h"
#include "lua/excerpt.h"
#include "lua/guest_verdict.h"
#include "lua/interrupt.h"
#include "lua/lab.h"
#include "lua/legacy.h"
#include "lua/reset.h"
#include "lua/resource.h"
#include "lua/run.h"
#include "lua/state.h"

/* Registry: an array of {function, meta table}, and name -> true. */
#define TESTS_KEY "provium.tests"

#define REASON_MAX 512

/* --- registration --- */

/* Adds a case without a name and without meta; the caller fills them in. Returns NULL when out of
 * memory. */
static struct pv_lua_testcase *grow(struct pv_lua_suite *suite)
{
	if (suite->count == suite->capacity) {
		size_t capacity = suite->capacity > 0 ? 2 * suite->capacity : 16;
		struct pv_lua_testcase *cases =
		    reallocarray(suite->cases, capacity, sizeof(*cases));
		if (cases == NULL)
			return NULL;
		suite->cases = cases;
		suite->capacity = capacity;
	}
	struct pv_lua_testcase *testcase = &suite->cases[suite->count++];
	*testcase = (struct pv_lua_testcase){0};
	return testcase;
}

static const char *check_name(lua_State *L)
{
	size_t len;
	const char *name = lua_tolstring(L, 1, &len);
	if (strlen(name) != len || !pv_utf8_is_valid(name, len))
		luaL_error(L, "test: the name must be UTF-8 text without NUL bytes");
	lua_getfield(L, LUA_REGISTRYINDEX, TESTS_KEY);
	lua_pushvalue(L, 1);
	if (lua_rawget(L, -2) != LUA_TNIL)
		luaL_error(L, "test: duplicate name `%s` in this file", name);
	lua_pop(L, 1);
	return name; /* leaves the tests table on top */
}

/* A test of the older kind, the last one, while the file is loaded. */
static void run_now(lua_State *L)
{
	struct pv_lua *lua = pv_lua_state_of(L);
	size_t index = lua->suite.count - 1;
	luaL_checkstack(L, LUA_MINSTACK, "test");
	enum pv_lua_outcome outcome = pv_lua_testcase_run(lua, index);
	lua->suite.cases[index].has_run = true;
	lua->suite.cases[index].outcome = outcome;
	pv_lua_interrupt_check(L);
}

/* test(name, [meta,] fn) */
static int test(lua_State *L)
{
	struct pv_lua_suite *suite = &pv_lua_state_of(L)->suite;
	int argc = lua_gettop(L);
	if (argc < 2 || argc > 3 || lua_type(L, 1) != LUA_TSTRING || !lua_isfunction(L, argc) ||
	    (argc == 3 && !lua_istable(L, 2)))
		return luaL_error(L, "test(name, [meta,] fn): bad arguments (%s, %s%s%s)",
		    luaL_typename(L, 1), luaL_typename(L, 2), argc > 2 ? ", " : "",
		    argc > 2 ? luaL_typename(L, 3) : "");
	if (suite->is_closed)
		return luaL_error(L,
		    "test: `%s` comes too late, tests are registered while the file is loaded",
		    lua_tostring(L, 1));
	if (suite->current != NULL)
		return luaL_error(
		    L, "test: `%s` stands in a test; tests do not nest", lua_tostring(L, 1));
	const char *name = check_name(L);
	int tests = lua_gettop(L);
	struct pv_lua_meta *meta = pv_lua_meta_new(L);
	pv_lua_meta_read(L, argc == 3 ? 2 : 0, meta);
	lua_createtable(L, 2, 0);
	lua_pushvalue(L, argc);
	lua_rawseti(L, -2, 1);
	if (argc == 3)
		lua_pushvalue(L, 2);
	else
		lua_newtable(L);
	lua_rawseti(L, -2, 2);
	lua_rawseti(L, tests, (lua_Integer)suite->count + 1);
	lua_pushvalue(L, 1);
	lua_pushboolean(L, true);
	lua_rawset(L, tests);
	char *copy = strdup(name);
	struct pv_lua_testcase *testcase = copy != NULL ? grow(suite) : NULL;
	if (testcase == NULL) {
		free(copy);
		return luaL_error(L, "not enough memory");
	}
	testcase->name = copy;
	testcase->meta = *meta;
	*meta = (struct pv_lua_meta){.timeout_ns = -1};
	lua_settop(L, argc);
	if (pv_lua_legacy_runs_now(L))
		run_now(L);
	return 0;
}

static int todo(lua_State *L)
{
	struct pv_lua_suite *suite = &pv_lua_state_of(L)->suite;
	size_t len = 4;
	const char *reason = "todo";
	if (suite->is_closed)
		return luaL_error(L, "todo: it concerns the whole file, call it outside of tests; "
				     "in a test use t:skip(reason)");
	if (!lua_isnoneornil(L, 1)) {
		pv_lua_argument_text(L, 1, "todo", "reason");
		reason = lua_tolstring(L, 1, &len);
	}
	if (suite->current != NULL)
		pv_lua_context_raise_skip(L, reason, len);
	pv_bytes_finish(&suite->todo);
	if (pv_utf8_clean(&suite->todo, reason, len) < 0)
		return luaL_error(L, "not enough memory");
	suite->is_todo = true;
	return 0;
}

void pv_lua_testcase_open(lua_State *L)
{
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, TESTS_KEY);
	lua_register(L, "test", test);
	lua_register(L, "todo", todo);
}

static void verdict_finish(struct pv_lua_verdict *verdict)
{
	pv_bytes_finish(&verdict->failure);
	pv_bytes_finish(&verdict->skip_reason);
	*verdict = (struct pv_lua_verdict){0};
}

void pv_lua_suite_finish(struct pv_lua_suite *suite)
{
	for (size_t i = 0; i < suite->count; i++) {
		free(suite->cases[i].name);
		pv_lua_meta_finish(&suite->cases[i].meta);
	}
	free(suite->cases);
	pv_bytes_finish(&suite->todo);
	verdict_finish(&suite->verdict);
	*suite = (struct pv_lua_suite){0};
}

/* --- time limit --- */

struct limit {
	struct pv_host *host;
	struct pv_loop_timer timer;
	bool expired;	 /* the timer came first: the interrupt is ours */
	int64_t span_ns; /* 0 for none */
	char reason[64];
};

/* On the loop thread, under the lock. */
static void expire(void *ctx)
{
	struct limit *limit = ctx;
	if (limit->host->interrupt != NULL)
		return; /* somebody else ends the whole run */
	limit->expired = true;
	pv_host_interrupt_locked(limit->host, limit->reason);
}

static int64_t span_of(const struct pv_lua *lua, const struct pv_lua_testcase *testcase)
{
	if (testcase->meta.timeout_ns >= 0)
		return testcase->meta.timeout_ns;
	if (lua->suite.timeout_ns >= 0)
		return lua->suite.timeout_ns;
	return lua->file->default_timeout_ns;
}

static int limit_start(
    struct limit *limit, struct pv_lua *lua, const struct pv_lua_testcase *testcase)
{
	char span[32];
	int status = 0;
	*limit = (struct limit){.host = lua->host, .span_ns = span_of(lua, testcase)};
	if (limit->span_ns <= 0)
		return 0;
	snprintf(limit->reason, sizeof(limit->reason), "test timeout exceeded (%s)",
	    pv_units_show_duration(limit->span_ns, span, sizeof(span)));
	pv_loop_lock(lua->host->loop);
	status = pv_loop_timer_set(
	    lua->host->loop, &limit->timer, pv_clock_deadline(limit->span_ns), expire, limit);
	pv_loop_unlock(lua->host->loop);
	return status;
}

static void limit_stop(struct limit *limit)
{
	pv_loop_lock(limit->host->loop);
	pv_loop_timer_clear(&limit->timer);
	pv_loop_unlock(limit->host->loop);
}

/* --- running --- */

/* Protected: argument 1 is the number of the case. */
static int run_body(lua_State *L)
{
	struct pv_lua *lua = pv_lua_state_of(L);
	lua_Integer number = lua_tointeger(L, 1);
	pv_lua_lab_set_scope(L);
	lua_getfield(L, LUA_REGISTRYINDEX, TESTS_KEY);
	lua_rawgeti(L, -1, number);
	lua_rawgeti(L, -1, 1);
	lua_rawgeti(L, -2, 2);
	pv_lua_context_push(L, lua->suite.current->name, -1);
	lua_remove(L, -2);
	lua_call(L, 1, 0);
	return 0;
}

/* Protected: the script may not see the test's lab any more. */
static int leave_scope(lua_State *L)
{
	pv_lua_lab_set_scope(L);
	lua_gc(L, LUA_GCCOLLECT);
	lua_gc(L, LUA_GCCOLLECT);
	return 0;
}

static struct pv_run_test report_of(const struct pv_lua_testcase *testcase)
{
	return (struct pv_run_test){.name = testcase->name,
	    .meta = testcase->meta.packed.data,
	    .meta_len = testcase->meta.packed.len};
}

static void report_skipped(
    struct pv_lua *lua, const struct pv_lua_testcase *testcase, const char *reason)
{
	const struct pv_run_events *events = lua->file->events;
	struct pv_run_test test_report = report_of(testcase);
	if (events != NULL && events->test_skipped != NULL)
		events->test_skipped(lua->file->events_ctx, &test_report, reason);
}

/* `reason` is any bytes and is freed. */
static void report_failed(struct pv_lua *lua, const struct pv_lua_testcase *testcase,
    int64_t duration_ns, struct pv_bytes *reason)
{
	const struct pv_run_events *events = lua->file->events;
	struct pv_run_test test_report = report_of(testcase);
	struct pv_bytes text = {0}, excerpt = {0};
	const char *shown = NULL, *console = NULL;
	if (pv_utf8_clean(&text, (const char *)reason->data, reason->len) == 0)
		shown = pv_bytes_text(&text);
	if (pv_lua_excerpt_write(lua, &excerpt) == 0)
		console = pv_bytes_text(&excerpt);
	if (events != NULL && events->test_failed != NULL)
		events->test_failed(lua->file->events_ctx, &test_report, duration_ns,
		    shown != NULL ? shown : "not enough memory", console != NULL ? console : "");
	pv_bytes_finish(&text);
	pv_bytes_finish(&excerpt);
	pv_bytes_finish(reason);
}

/* The reason to skip without running, or NULL. Order: spec 3.2, 4. */
static const char *reason_to_skip(struct pv_lua *lua, struct pv_lua_testcase *testcase)
{
	const char *text;
	if (lua->suite.is_todo) {
		text = pv_bytes_text(&lua->suite.todo);
		return text != NULL ? text : "todo";
	}
	if (testcase->meta.has_skip) {
		text = pv_bytes_text(&testcase->meta.skip);
		return text != NULL ? text : "skipped (meta.skip)";
	}
	if (testcase->meta.slow && !lua->file->filter.include_slow)
		return "filtered: slow tests skipped (pass --include-slow)";
	return NULL;
}

/* How a body ended. */
struct ending {
	bool raised;
	struct pv_bytes error; /* text of what it raised */
	bool expired;	       /* its own limit */
	bool interrupted;      /* the whole run */
	int64_t duration_ns;
};

static void call_body(struct pv_lua *lua, size_t index, struct ending *ending)
{
	struct limit limit;
	int64_t begin = pv_clock_now();
	int status = limit_start(&limit, lua, &lua->suite.cases[index]);
	if (status < 0) {
		ending->raised = true;
		pv_bytes_printf(&ending->error, "cannot set the time limit: not enough memory");
		return;
	}
	lua_pushcfunction(lua->L, run_body);
	lua_pushinteger(lua->L, (lua_Integer)index + 1);
	ending->raised = lua_pcall(lua->L, 1, 0, 0) != LUA_OK;
	ending->duration_ns = pv_clock_now() - begin;
	limit_stop(&limit);
	ending->expired = limit.expired;
	ending->interrupted = !limit.expired && atomic_load(&lua->host->interrupted);
	if (ending->raised)
		pv_lua_error_take(lua->L, &ending->error);
}

/* "<why the host is interrupted>: <what else went wrong>" */
static void explain_interrupt(
    struct pv_lua *lua, const struct ending *ending, struct pv_bytes *reason)
{
	char text[REASON_MAX];
	const struct pv_bytes *more = ending->raised ? &ending->error : &lua->suite.verdict.failure;
	pv_lua_interrupt_reason(lua, text, sizeof(text));
	pv_bytes_printf(reason, "%s", text);
	if (more->len > 0) {
		pv_bytes_printf(reason, ": ");
		pv_bytes_append(reason, more->data, more->len);
	}
}

static bool has_skip_sentinel(const struct pv_bytes *error)
{
	return error->len > 0 && memmem(error->data, error->len, PV_LUA_CONTEXT_SKIP,
				     strlen(PV_LUA_CONTEXT_SKIP)) != NULL;
}

/* The reason of t:skip, or what stands behind the sentinel. Text is freed with `out`. */
static const char *explain_skip(
    struct pv_lua *lua, const struct ending *ending, struct pv_bytes *out)
{
	const struct pv_bytes *said = &lua->suite.verdict.skip_reason;
	const char *from = (const char *)said->data;
	size_t len = said->len;
	if (!lua->suite.verdict.skipped) {
		size_t mark = strlen(PV_LUA_CONTEXT_SKIP);
		const char *end = (const char *)ending->error.data + ending->error.len;
		from = (const char *)memmem(
			   ending->error.data, ending->error.len, PV_LUA_CONTEXT_SKIP, mark) +
		       mark;
		while (from < end && (*from == ':' || *from == ' '))
			from++;
		len = (size_t)(end - from);
	}
	if (len == 0 || pv_utf8_clean(out, from, len) < 0)
		return "skipped";
	from = pv_bytes_text(out);
	return from != NULL ? from : "skipped";
}

/* The outcome rules of spec 3.1. `text` gets the reason, or stays empty. */
static enum pv_lua_outcome judge(struct pv_lua *lua, struct ending *ending, struct pv_bytes *text)
{
	const struct pv_lua_verdict *verdict = &lua->suite.verdict;
	struct pv_bytes kept = {0};
	if (ending->expired || ending->interrupted) {
		explain_interrupt(lua, ending, text);
		return ending->interrupted ? PV_LUA_TEST_INTERRUPTED : PV_LUA_TEST_FAILED;
	}
	if (verdict->skipped || (ending->raised && has_skip_sentinel(&ending->error))) {
		(void)pv_bytes_printf(text, "%s", explain_skip(lua, ending, &kept));
		pv_bytes_finish(&kept);
		return PV_LUA_TEST_SKIPPED;
	}
	if (ending->raised) {
		*text = ending->error;
		ending->error = (struct pv_bytes){0};
		return PV_LUA_TEST_FAILED;
	}
	if (!verdict->failed)
		return PV_LUA_TEST_PASSED;
	const struct pv_bytes *said = &verdict->failure;
	if (said->len == 0 || pv_bytes_append(text, said->data, said->len) < 0)
		pv_bytes_printf(text, "assertion failed but caught by pcall");
	return PV_LUA_TEST_FAILED;
}

/* A report of a guest's kernel fails the test whatever the rules say, and is the first reason. */
static enum pv_lua_outcome judge_guests(struct pv_lua *lua, const struct pv_lua_testcase *testcase,
    enum pv_lua_outcome outcome, struct pv_bytes *text)
{
	const struct pv_run_test test_report = report_of(testcase);
	struct pv_bytes reason = {0};
	const char *who = outcome == PV_LUA_TEST_SKIPPED ? "the test was skipped" : "the test";
	if (!pv_lua_guest_verdict_end(lua, &test_report, who, text, &reason))
		return outcome;
	pv_bytes_finish(text);
	*text = reason;
	return outcome == PV_LUA_TEST_INTERRUPTED ? outcome : PV_LUA_TEST_FAILED;
}

/* Frees what the ending holds. */
static enum pv_lua_outcome judge_and_report(
    struct pv_lua *lua, const struct pv_lua_testcase *testcase, struct ending *ending)
{
	const struct pv_run_events *events = lua->file->events;
	const struct pv_run_test test_report = report_of(testcase);
	struct pv_bytes text = {0};
	enum pv_lua_outcome outcome = judge(lua, ending, &text);
	outcome = judge_guests(lua, testcase, outcome, &text);
	if (outcome == PV_LUA_TEST_SKIPPED) {
		const char *why = pv_bytes_text(&text);
		report_skipped(lua, testcase, why != NULL ? why : "skipped");
	} else if (outcome != PV_LUA_TEST_PASSED) {
		report_failed(lua, testcase, ending->duration_ns, &text);
	} else if (events != NULL && events->test_passed != NULL) {
		events->test_passed(lua->file->events_ctx, &test_report, ending->duration_ns);
	}
	pv_bytes_finish(&text);
	pv_bytes_finish(&ending->error);
	return outcome;
}

/* Closes the test's lab, and lets the script see the file's again. */
static void close_scope(struct pv_lua *lua)
{
	struct pv_bytes text = {0};
	pv_lua_resource_close_scope(lua, lua->scope);
	pv_lab_destroy(lua->test_lab);
	lua->test_lab = NULL;
	lua->scope = 0;
	lua_pushcfunction(lua->L, leave_scope);
	if (lua_pcall(lua->L, 0, 0, 0) != LUA_OK) {
		lua->suite.is_poisoned = true;
		pv_lua_error_take(lua->L, &text);
		pv_bytes_finish(&text);
	}
}

static enum pv_lua_outcome run_in_scope(struct pv_lua *lua, size_t index)
{
	struct pv_lua_testcase *testcase = &lua->suite.cases[index];
	struct ending ending = {0};
	struct pv_err err = PV_ERR_INIT;
	char *name = NULL;
	if (asprintf(&name, "test:%s", testcase->name) < 0)
		name = NULL;
	int status = name == NULL
			 ? pv_err_nomem(&err, "the test's lab")
			 : pv_lab_create(&lua->test_lab, lua->host, name, lua->root_lab, &err);
	free(name);
	if (status < 0) {
		pv_bytes_printf(&ending.error, "%s", err.text);
		report_failed(lua, testcase, 0, &ending.error);
		return PV_LUA_TEST_FAILED;
	}
	lua->scope = (unsigned)index + 1;
	lua->suite.current = testcase;
	lua->is_reset_due = true;
	pv_lua_guest_verdict_begin(lua, testcase->meta.expect_oops);
	call_body(lua, index, &ending);
	bool expired = ending.expired;
	enum pv_lua_outcome outcome = judge_and_report(lua, testcase, &ending);
	verdict_finish(&lua->suite.verdict);
	lua->suite.current = NULL;
	close_scope(lua);
	if (expired)
		pv_host_clear_interrupt(lua->host);
	return outcome;
}

/* A test whose body is not run. */
static enum pv_lua_outcome fail_unrun(
    struct pv_lua *lua, const struct pv_lua_testcase *testcase, const char *why)
{
	struct pv_bytes text = {0};
	pv_bytes_printf(&text, "%s", why);
	report_failed(lua, testcase, 0, &text);
	return atomic_load(&lua->host->interrupted) ? PV_LUA_TEST_INTERRUPTED : PV_LUA_TEST_FAILED;
}

enum pv_lua_outcome pv_lua_testcase_run(struct pv_lua *lua, size_t index)
{
	const struct pv_run_events *events = lua->file->events;
	struct pv_lua_testcase *testcase = &lua->suite.cases[index];
	if (testcase->has_run)
		return testcase->outcome;
	struct pv_run_test test_report = report_of(testcase);
	const char *skip = reason_to_skip(lua, testcase);
	if (skip != NULL) {
		report_skipped(lua, testcase, skip);
		return PV_LUA_TEST_SKIPPED;
	}
	struct pv_err err = PV_ERR_INIT;
	int reset = lua->suite.is_poisoned ? 0 : pv_lua_reset_apply(lua, &err);
	if (events != NULL && events->test_started != NULL)
		events->test_started(lua->file->events_ctx, &test_report);
	if (reset < 0)
		return fail_unrun(lua, testcase, err.text);
	if (lua->suite.is_poisoned)
		return fail_unrun(lua, testcase,
		    "failed-due-to-poisoned-state: the harness failed after an earlier test of "
		    "this file");
	return run_in_scope(lua, index);
}
