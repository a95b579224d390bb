/*
 * wait_until polls a predicate of the test (spec 3.3). It sleeps on the loop's condition, so an
 * interrupt ends it at once, and so does a report of a guest's kernel, since what is waited for
 * will hardly come then. It keeps its state on the Lua stack, so that the predicate may
 * yield when all this happens in a coroutine. Script thread only.
 */
#include "lua/wait.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "lab/verdict.h"
#include "lua/argument.h"
#include "lua/duration.h"
#include "lua/interrupt.h"
#include "lua/state.h"

#define TIMEOUT_DEFAULT	 (10 * PV_CLOCK_SECOND)
#define INTERVAL_DEFAULT (PV_CLOCK_SECOND / 10)

/* Of a report, for people. */
#define NAME_SIZE 512

/* The slots of wait_until's frame. */
enum slot {
	SLOT_PREDICATE = 1,
	SLOT_OPTIONS,
	SLOT_TIMEOUT, /* integers, nanoseconds */
	SLOT_INTERVAL,
	SLOT_DEADLINE,
	SLOT_REPORTS, /* of guests' kernels, when it began */
	SLOT_DESC,
	SLOT_COUNT = SLOT_DESC,
};

/* Pushes an option that is a duration, as an integer. */
static void push_option(lua_State *L, const char *key, int64_t otherwise)
{
	int64_t ns = otherwise;
	if (lua_istable(L, SLOT_OPTIONS)) {
		int type = lua_getfield(L, SLOT_OPTIONS, key);
		size_t len;
		if (type == LUA_TSTRING) {
			const char *text = lua_tolstring(L, -1, &len);
			if (strlen(text) != len || pv_units_duration(text, &ns) < 0)
				luaL_error(L,
				    "wait_until: bad %s string `%s`: expected number with ms/s/m/h "
				    "suffix",
				    key, text);
		} else if (type == LUA_TNUMBER) {
			lua_pushfstring(L, "wait_until: %s", key);
			ns = pv_lua_duration_get(L, -2, lua_tostring(L, -1), otherwise);
			lua_pop(L, 1);
		} else if (type != LUA_TNIL) {
			luaL_error(L, "wait_until: %s must be a number or string, got %s", key,
			    pv_lua_argument_type(L, -1));
		}
		lua_pop(L, 1);
	}
	lua_pushinteger(L, ns);
}

static void push_desc(lua_State *L)
{
	if (lua_istable(L, SLOT_OPTIONS) && lua_getfield(L, SLOT_OPTIONS, "desc") != LUA_TNIL) {
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "wait_until: desc must be a string, got %s",
			    pv_lua_argument_type(L, -1));
	} else {
		lua_settop(L, SLOT_DESC - 1);
		lua_pushliteral(L, "condition");
	}
}

/* Raises when guests' kernels have reported something since there were `reports`. */
static void check_guests(lua_State *L, const char *function, unsigned reports)
{
	char name[NAME_SIZE];
	if (pv_verdict_since(pv_lua_state_of(L)->host, reports, name, sizeof(name)))
		luaL_error(L, "%s: %s", function, name);
}

/* After a call that gave nothing: sleeps, or raises at the deadline. */
static void sleep_or_give_up(lua_State *L)
{
	int64_t deadline = lua_tointeger(L, SLOT_DEADLINE);
	int64_t wake = pv_clock_deadline(lua_tointeger(L, SLOT_INTERVAL));
	const unsigned reports = (unsigned)lua_tointeger(L, SLOT_REPORTS);
	check_guests(L, "wait_until", reports);
	if (pv_clock_now() >= deadline) {
		pv_lua_duration_push_seconds(L, lua_tointeger(L, SLOT_TIMEOUT));
		luaL_error(L, "wait_until: %s not met within %ss", lua_tostring(L, SLOT_DESC),
		    lua_tostring(L, -1));
	}
	pv_lua_interrupt_sleep(L, wake < deadline ? wake : deadline, reports);
	check_guests(L, "wait_until", reports);
}

/* Runs from the start, and again after a predicate that yielded; then its result is on top. */
static int poll(lua_State *L, int status, lua_KContext has_result)
{
	for (;;) {
		if (has_result) {
			pv_lua_interrupt_check(L);
			if (lua_toboolean(L, -1))
				return 1;
			lua_settop(L, SLOT_COUNT);
			sleep_or_give_up(L);
		}
		lua_pushvalue(L, SLOT_PREDICATE);
		lua_callk(L, 0, 1, true, poll);
		has_result = true;
	}
}

static int wait_until(lua_State *L)
{
	pv_lua_argument_callable(L, SLOT_PREDICATE, "wait_until", "predicate");
	pv_lua_argument_table(L, SLOT_OPTIONS, "wait_until", "opts");
	lua_settop(L, SLOT_OPTIONS);
	push_option(L, "timeout", TIMEOUT_DEFAULT);
	push_option(L, "interval", INTERVAL_DEFAULT);
	lua_pushinteger(L, pv_clock_deadline(lua_tointeger(L, SLOT_TIMEOUT)));
	lua_pushinteger(L, pv_verdict_count(pv_lua_state_of(L)->host));
	push_desc(L);
	return poll(L, LUA_OK, false);
}

static int provium_sleep(lua_State *L)
{
	const unsigned reports = pv_verdict_count(pv_lua_state_of(L)->host);
	pv_lua_interrupt_sleep(
	    L, pv_clock_deadline(pv_lua_duration_get(L, 1, "_provium_sleep", 0)), reports);
	check_guests(L, "_provium_sleep", reports);
	return 0;
}

static int provium_now(lua_State *L)
{
	lua_pushnumber(L, (lua_Number)pv_clock_now() / 1e9);
	return 1;
}

void pv_lua_wait_open(lua_State *L)
{
	lua_register(L, "wait_until", wait_until);
	lua_register(L, "_provium_sleep", provium_sleep);
	lua_register(L, "_provium_now", provium_now);
}
