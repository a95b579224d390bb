/*
 * When time is up, somebody interrupts the host (lab/host.h): operations that wait fail by
 * themselves, and Lua code is stopped here.
 *
 * A count hook runs every PERIOD instructions in every Lua thread (coroutines inherit it) and looks
 * at one atomic flag. When the flag is up it raises an error and lowers the period of its thread to
 * one instruction, so that a script that catches the error with pcall is stopped again at the first
 * instruction outside of that pcall, and so on to the bottom. A coroutine that catches it all and
 * starts others is stopped because the coroutine functions check the flag, too. C functions of
 * Lua's library are not interruptible, but most heavy ones allocate, and the allocator then lowers
 * the period of the main thread. What remains (one very long string.find, a loop in a finalizer,
 * where Lua turns hooks off) is for the runner, which kills the worker in the end.
 */
#include "lua/interrupt.h"

#include <lauxlib.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/loop.h"
#include "lab/host.h"
#include "lua/state.h"

/* Some ten microseconds of Lua; short because one instruction may be a call of a slow C function.
 */
#define PERIOD 1000

#define REASON_MAX 512

static bool is_interrupted(struct pv_lua *lua)
{
	return atomic_load_explicit(&lua->host->interrupted, memory_order_relaxed);
}

void pv_lua_interrupt_reason(struct pv_lua *lua, char *out, size_t size)
{
	out[0] = '\0';
	pv_loop_lock(lua->host->loop);
	if (lua->host->interrupt != NULL)
		strncat(out, lua->host->interrupt, size - 1);
	pv_loop_unlock(lua->host->loop);
}

static void hook(lua_State *L, lua_Debug *activation);

static int stop(lua_State *L, int level)
{
	char reason[REASON_MAX];
	lua_sethook(L, hook, LUA_MASKCOUNT, 1);
	pv_lua_interrupt_reason(pv_lua_state_of(L), reason, sizeof(reason));
	luaL_where(L, level);
	lua_pushfstring(L, "stopped by the harness: %s", reason);
	lua_concat(L, 2);
	return lua_error(L);
}

static void hook(lua_State *L, lua_Debug *activation)
{
	if (is_interrupted(pv_lua_state_of(L)))
		stop(L, 0);
	else if (lua_gethookcount(L) != PERIOD)
		lua_sethook(L, hook, LUA_MASKCOUNT, PERIOD);
}

void pv_lua_interrupt_check(lua_State *L)
{
	if (is_interrupted(pv_lua_state_of(L)))
		stop(L, 1);
}

void pv_lua_interrupt_hurry(struct pv_lua *lua)
{
	/* Safe inside an allocation as it is safe in a signal handler: only fields of the thread
	 * and its live call records change. */
	if (lua->is_interruptible && is_interrupted(lua) && lua_gethookcount(lua->L) != 1)
		lua_sethook(lua->L, hook, LUA_MASKCOUNT, 1);
}

void pv_lua_interrupt_sleep(lua_State *L, int64_t deadline_ns, unsigned reports)
{
	struct pv_host *host = pv_lua_state_of(L)->host;
	pv_loop_lock(host->loop);
	while (host->interrupt == NULL && host->unexpected_reports == reports &&
	       pv_clock_now() < deadline_ns)
		pv_loop_wait(host->loop, deadline_ns);
	pv_loop_unlock(host->loop);
	pv_lua_interrupt_check(L);
}

/* Calls the original function (upvalue 1) unless the host is interrupted before or after it. */
static int checked_call(lua_State *L)
{
	pv_lua_interrupt_check(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	pv_lua_interrupt_check(L);
	return lua_gettop(L);
}

/* The three below check their argument themselves, for its error to name the function. */

static int checked_create(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	return checked_call(L);
}

/* The function that coroutine.wrap returns is checked as well. */
static int checked_wrap(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	checked_call(L);
	lua_settop(L, 1);
	lua_pushcclosure(L, checked_call, 1);
	return 1;
}

static int checked_resume(lua_State *L)
{
	luaL_argexpected(L, lua_isthread(L, 1), 1, "coroutine");
	return checked_call(L);
}

static int refuse_exit(lua_State *L)
{
	return luaL_error(L, "os.exit: a test file cannot end the harness; use error(), t:fail() "
			     "or t:skip(reason), or return from the function");
}

static int refuse_hook(lua_State *L)
{
	return luaL_error(
	    L, "debug.sethook: not available, the harness needs the hook to end tests in time");
}

/* Replaces the field `name` of the table at -1 by `function`, with the original as upvalue. */
static void replace(lua_State *L, const char *name, lua_CFunction function)
{
	lua_getfield(L, -1, name);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, name);
}

void pv_lua_interrupt_open(lua_State *L)
{
	lua_getglobal(L, "coroutine");
	replace(L, "create", checked_create);
	replace(L, "resume", checked_resume);
	replace(L, "wrap", checked_wrap);
	lua_pop(L, 1);
	lua_getglobal(L, "os");
	replace(L, "exit", refuse_exit);
	lua_pop(L, 1);
	lua_getglobal(L, "debug");
	replace(L, "sethook", refuse_hook);
	lua_pop(L, 1);
	pv_lua_state_of(L)->is_interruptible = true;
	lua_sethook(L, hook, LUA_MASKCOUNT, PERIOD);
}
