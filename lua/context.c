/*
 * The context `t`: a fresh table per test with `name` and `meta`, whose methods assert, fail, skip
 * and log. A failure is recorded in the suite's verdict before it is raised, so that a pcall in the
 * test cannot hide it. A context that was kept beyond its test still raises, but has nothing to
 * record in: which test it belongs to stands in a table in the registry with the contexts as weak
 * keys. Script thread only.
 */
#include "lua/context.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/error.h"
#include "lua/interrupt.h"
#include "lua/run.h"
#include "lua/state.h"

#define TYPE_NAME "Test"

/* Registry: context -> number of its scope. */
#define CONTEXTS_KEY "provium.contexts"

/* The verdict of the context at 1, or NULL when its test is over. Raises when 1 is no context. */
static struct pv_lua_verdict *verdict_of(lua_State *L, const char *function)
{
	struct pv_lua *lua = pv_lua_state_of(L);
	lua_getfield(L, LUA_REGISTRYINDEX, CONTEXTS_KEY);
	lua_pushvalue(L, 1);
	if (lua_isnoneornil(L, 1) || lua_rawget(L, -2) != LUA_TNUMBER)
		luaL_error(L,
		    "%s: expected the test's context before the arguments, got %s; call methods "
		    "with a colon",
		    function, pv_lua_argument_type(L, 1));
	unsigned scope = (unsigned)lua_tointeger(L, -1);
	lua_pop(L, 2);
	return scope == lua->scope ? &lua->suite.verdict : NULL;
}

/* Raises the text on top with the caller's position, after recording it. */
static int fail(lua_State *L, struct pv_lua_verdict *verdict)
{
	size_t len;
	luaL_where(L, 1);
	lua_insert(L, -2);
	lua_concat(L, 2);
	const char *text = lua_tolstring(L, -1, &len);
	if (verdict != NULL && !verdict->failed) {
		verdict->failed = true;
		pv_bytes_append(
		    &verdict->failure, text, len); /* without memory the fallback text is shown */
	}
	return lua_error(L);
}

/* Pushes the message argument as a string, or `otherwise`. */
static const char *push_message(lua_State *L, int index, const char *otherwise)
{
	if (lua_isnoneornil(L, index))
		return lua_pushstring(L, otherwise);
	return luaL_tolstring(L, index, NULL);
}

/* t:assert(cond, msg?) */
static int context_assert(lua_State *L)
{
	struct pv_lua_verdict *verdict = verdict_of(L, "t:assert");
	if (lua_toboolean(L, 2))
		return 0;
	push_message(L, 3, "assertion failed");
	return fail(L, verdict);
}

/* Pushes what tells two values apart whose texts are the same, or an empty string. */
static void push_difference(lua_State *L, const char *left, const char *right)
{
	char text[80] = "";
	if (strcmp(left, right) == 0 && lua_type(L, 2) != lua_type(L, 3))
		snprintf(text, sizeof(text), " (a %s and a %s)", luaL_typename(L, 2),
		    luaL_typename(L, 3));
	else if (strcmp(left, right) == 0 && lua_type(L, 2) == LUA_TNUMBER)
		snprintf(text, sizeof(text), " (%.17g and %.17g)", lua_tonumber(L, 2),
		    lua_tonumber(L, 3));
	lua_pushstring(L, text);
}

/* "<msg>: <a> <sign> <b>" */
static int fail_comparison(
    lua_State *L, struct pv_lua_verdict *verdict, const char *otherwise, bool wanted_equal)
{
	push_message(L, 4, otherwise);
	lua_pushliteral(L, ": ");
	const char *left = luaL_tolstring(L, 2, NULL);
	lua_pushstring(L, wanted_equal ? " ~= " : " == ");
	const char *right = luaL_tolstring(L, 3, NULL);
	if (wanted_equal)
		push_difference(L, left, right);
	else
		lua_pushliteral(L, "");
	lua_concat(L, 6);
	return fail(L, verdict);
}

static int context_assert_eq(lua_State *L)
{
	struct pv_lua_verdict *verdict = verdict_of(L, "t:assert_eq");
	lua_settop(L, 4);
	if (lua_compare(L, 2, 3, LUA_OPEQ))
		return 0;
	return fail_comparison(L, verdict, "assert_eq failed", true);
}

static int context_assert_neq(lua_State *L)
{
	struct pv_lua_verdict *verdict = verdict_of(L, "t:assert_neq");
	lua_settop(L, 4);
	if (!lua_compare(L, 2, 3, LUA_OPEQ))
		return 0;
	return fail_comparison(L, verdict, "assert_neq failed", false);
}

static int context_assert_contains(lua_State *L)
{
	struct pv_lua_verdict *verdict = verdict_of(L, "t:assert_contains");
	size_t hay_len, needle_len;
	lua_settop(L, 4);
	if (lua_type(L, 2) != LUA_TSTRING || lua_type(L, 3) != LUA_TSTRING)
		return luaL_error(L,
		    "t:assert_contains: both arguments must be strings, got %s and %s",
		    pv_lua_argument_type(L, 2), pv_lua_argument_type(L, 3));
	const char *hay = lua_tolstring(L, 2, &hay_len);
	const char *needle = lua_tolstring(L, 3, &needle_len);
	if (needle_len == 0 || memmem(hay, hay_len, needle, needle_len) != NULL)
		return 0;
	push_message(L, 4, "assert_contains failed");
	lua_pushliteral(L, ": `");
	lua_pushvalue(L, 3);
	lua_pushliteral(L, "` not found in `");
	lua_pushvalue(L, 2);
	lua_pushliteral(L, "`");
	lua_concat(L, 6);
	return fail(L, verdict);
}

/* t:assert_raises(fn, msg?): what fails inside is expected, so its record is taken back when it
 * raised. */
static int context_assert_raises(lua_State *L)
{
	struct pv_lua_verdict *verdict = verdict_of(L, "t:assert_raises");
	bool failed_before = verdict != NULL && verdict->failed;
	lua_settop(L, 3);
	pv_lua_argument_callable(L, 2, "t:assert_raises", "fn");
	lua_pushvalue(L, 2);
	int status = lua_pcall(L, 0, 0, 0);
	pv_lua_interrupt_check(L);
	if (status == LUA_OK) {
		push_message(L, 3, "assert_raises failed");
		lua_pushliteral(L, ": expected to raise");
		lua_concat(L, 2);
		return fail(L, verdict);
	}
	if (verdict != NULL && !failed_before) {
		verdict->failed = false;
		pv_bytes_finish(&verdict->failure);
	}
	return 1;
}

static int context_fail(lua_State *L)
{
	struct pv_lua_verdict *verdict = verdict_of(L, "t:fail");
	push_message(L, 2, "explicit failure (t:fail)");
	return fail(L, verdict);
}

/* Raises the sentinel with `reason`, after recording it. */
static int skip(lua_State *L, struct pv_lua_verdict *verdict, const char *reason, size_t len)
{
	if (verdict != NULL && !verdict->skipped) {
		verdict->skipped = true;
		pv_bytes_append(&verdict->skip_reason, reason, len);
	}
	lua_pushliteral(L, PV_LUA_CONTEXT_SKIP ": ");
	lua_pushlstring(L, reason, len);
	lua_concat(L, 2);
	return lua_error(L);
}

static int context_skip(lua_State *L)
{
	struct pv_lua_verdict *verdict = verdict_of(L, "t:skip");
	size_t len;
	push_message(L, 2, "skipped");
	const char *reason = lua_tolstring(L, -1, &len);
	return skip(L, verdict, reason, len);
}

int pv_lua_context_raise_skip(lua_State *L, const char *reason, size_t len)
{
	return skip(L, &pv_lua_state_of(L)->suite.verdict, reason, len);
}

static int context_log(lua_State *L)
{
	struct pv_lua *lua = pv_lua_state_of(L);
	const struct pv_run_events *events = lua->file->events;
	struct pv_lua_verdict *verdict = verdict_of(L, "t:log");
	size_t len;
	if (lua_isnone(L, 2))
		return luaL_error(L, "t:log: value is missing");
	if (verdict == NULL)
		return luaL_error(L, "t:log: the test of this context is over");
	const char *text = luaL_tolstring(L, 2, &len);
	struct pv_bytes *line = pv_lua_buffer_new(L);
	if (pv_utf8_clean(line, text, len) < 0 || pv_bytes_text(line) == NULL)
		return luaL_error(L, "not enough memory");
	const struct pv_lua_testcase *testcase = lua->suite.current;
	struct pv_run_test report = {.name = testcase->name,
	    .meta = testcase->meta.packed.data,
	    .meta_len = testcase->meta.packed.len};
	if (events != NULL && events->test_log != NULL)
		events->test_log(lua->file->events_ctx, &report, pv_bytes_text(line));
	pv_bytes_finish(line);
	return 0;
}

static const luaL_Reg methods[] = {
    {"assert",	       context_assert	     },
    {"assert_eq",	  context_assert_eq	   },
    {"assert_neq",	   context_assert_neq     },
    {"assert_contains", context_assert_contains},
    {"assert_raises",   context_assert_raises  },
    {"fail",	     context_fail		 },
    {"skip",	     context_skip		 },
    {"log",	     context_log	       },
    {NULL,	      NULL		   },
};

void pv_lua_context_push(lua_State *L, const char *name, int meta_index)
{
	meta_index = lua_absindex(L, meta_index);
	lua_createtable(L, 0, 2);
	lua_pushstring(L, name);
	lua_setfield(L, -2, "name");
	lua_pushvalue(L, meta_index);
	lua_setfield(L, -2, "meta");
	if (luaL_newmetatable(L, TYPE_NAME)) {
		luaL_newlib(L, methods);
		lua_setfield(L, -2, "__index");
	}
	lua_setmetatable(L, -2);
	if (!luaL_getsubtable(L, LUA_REGISTRYINDEX, CONTEXTS_KEY)) {
		lua_createtable(L, 0, 1);
		lua_pushliteral(L, "k");
		lua_setfield(L, -2, "__mode");
		lua_setmetatable(L, -2);
	}
	lua_pushvalue(L, -2);
	lua_pushinteger(L, (lua_Integer)pv_lua_state_of(L)->scope);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}
