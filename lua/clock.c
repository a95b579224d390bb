/*
 * Clock userdata: a view (lua/vm_view.h) on the clocks of a VM. The wall clock is set inside the
 * guest, by its agent; monotonic time is moved by the VM, together with everything else that
 * counts. Script thread only.
 */
#include "lua/clock.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/units.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/duration.h"
#include "lua/error.h"
#include "lua/vm.h"
#include "lua/vm_view.h"

#define TYPE_NAME "Clock"

/* The VM behind the clock at 1. */
static struct pv_vm *check_vm(lua_State *L, const char *function)
{
	return pv_lua_vm_view_check(L, TYPE_NAME, function);
}

/* The way to the guest, after the arguments have been looked at. */
static struct pv_principal reach(lua_State *L, struct pv_vm *vm, const char *action)
{
	struct pv_principal by = {0};
	struct pv_err err = PV_ERR_INIT;
	if (pv_vm_agent(vm, action, &by.agent, &err) < 0)
		pv_lua_error_raise(L, &err);
	return by;
}

static int64_t get(lua_State *L, const char *function)
{
	struct pv_vm *vm = check_vm(L, function);
	const struct pv_principal by = reach(L, vm, "clock");
	struct pv_err err = PV_ERR_INIT;
	int64_t ns = 0;
	if (pv_agent_clock_get(&by, &ns, &err) < 0)
		pv_lua_error_raise_guest(L, vm, &err);
	return ns;
}

static int clock_get(lua_State *L)
{
	lua_pushnumber(L, (lua_Number)get(L, "clock:get") / 1e9);
	return 1;
}

static int clock_get_ns(lua_State *L)
{
	lua_pushinteger(L, get(L, "clock:get_ns"));
	return 1;
}

static int set(lua_State *L, struct pv_vm *vm, int64_t ns)
{
	const struct pv_principal by = reach(L, vm, "clock");
	struct pv_err err = PV_ERR_INIT;
	return pv_agent_clock_set(&by, ns, &err) < 0 ? pv_lua_error_raise_guest(L, vm, &err) : 0;
}

/* Seconds to nanoseconds, with a sign; false beyond 64 bits, for NaN and the infinities. */
static bool to_ns(double seconds, int64_t *ns)
{
	if (!isfinite(seconds) || fabs(seconds) >= 9.2e9)
		return false;
	/* Whole seconds first: a date times a billion has no room for its fraction in a double. */
	const double whole = floor(seconds);
	*ns = (int64_t)whole * PV_CLOCK_SECOND + (int64_t)((seconds - whole) * 1e9 + 0.5);
	return true;
}

/* clock:set(seconds) */
static int clock_set(lua_State *L)
{
	struct pv_vm *vm = check_vm(L, "clock:set");
	int64_t ns;
	if (lua_type(L, 2) != LUA_TNUMBER || !isfinite(lua_tonumber(L, 2)))
		return luaL_error(L, "clock:set: value must be a finite number");
	if (lua_isinteger(L, 2) ? __builtin_mul_overflow(lua_tointeger(L, 2), PV_CLOCK_SECOND, &ns)
				: !to_ns(lua_tonumber(L, 2), &ns))
		return luaL_error(L, "clock:set: value must be within 292 years of 1970");
	return set(L, vm, ns);
}

/* clock:set_ns(nanoseconds) */
static int clock_set_ns(lua_State *L)
{
	struct pv_vm *vm = check_vm(L, "clock:set_ns");
	lua_Integer ns;
	if (!pv_lua_argument_whole(L, 2, &ns))
		return luaL_error(L, "clock:set_ns: value must be an integer");
	return set(L, vm, ns);
}

/* clock:sleep(duration) */
static int clock_sleep(lua_State *L)
{
	struct pv_vm *vm = check_vm(L, "clock:sleep");
	if (lua_isnoneornil(L, 2))
		return luaL_error(L, "clock:sleep: duration: expected number|string, got %s",
		    pv_lua_argument_type(L, 2));
	const int64_t ns = pv_lua_duration_get(L, 2, "clock:sleep", 0);
	const struct pv_principal by = reach(L, vm, "clock");
	struct pv_err err = PV_ERR_INIT;
	return pv_agent_clock_sleep(&by, ns, &err) < 0 ? pv_lua_error_raise_guest(L, vm, &err) : 0;
}

/* A duration that may be negative. */
static int64_t signed_duration(lua_State *L, int index)
{
	int64_t ns = 0;
	size_t len;
	if (lua_type(L, index) == LUA_TNUMBER) {
		const double seconds = lua_tonumber(L, index);
		if (!isfinite(seconds))
			luaL_error(L, "clock:advance: must be finite");
		if (!to_ns(seconds, &ns))
			luaL_error(L, "clock:advance: must be finite and within 291 years");
		return ns;
	}
	if (lua_type(L, index) != LUA_TSTRING)
		luaL_error(L, "clock:advance: expected number|string, got %s",
		    pv_lua_argument_type(L, index));
	const char *text = lua_tolstring(L, index, &len);
	const bool negative = text[0] == '-';
	if (strlen(text) != len || pv_units_duration(text + (negative || text[0] == '+'), &ns) < 0)
		luaL_error(L,
		    "clock:advance: cannot parse `%s`; give seconds as a number, or a string such "
		    "as \"500ms\", \"-2s\" or \"1h\"",
		    text);
	return negative ? -ns : ns;
}

static bool is_monotonic(lua_State *L)
{
	return pv_lua_argument_table(L, 3, "clock:advance", "opts") &&
	       pv_lua_argument_flag(L, 3, "monotonic", false, "clock:advance");
}

/* clock:advance(duration, {monotonic = false}) */
static int clock_advance(lua_State *L)
{
	struct pv_vm *vm = check_vm(L, "clock:advance");
	const int64_t ns = signed_duration(L, 2);
	struct pv_err err = PV_ERR_INIT;
	if (is_monotonic(L))
		return pv_vm_advance(vm, ns, &err) < 0 ? pv_lua_error_raise(L, &err) : 0;
	const struct pv_principal by = reach(L, vm, "clock");
	return pv_agent_clock_step(&by, ns, &err) < 0 ? pv_lua_error_raise_guest(L, vm, &err) : 0;
}

static const luaL_Reg methods[] = {
    {"get",	    clock_get    },
    {"get_ns",  clock_get_ns },
    {"set",	    clock_set    },
    {"set_ns",  clock_set_ns },
    {"sleep",   clock_sleep	 },
    {"advance", clock_advance},
    {NULL,	   NULL	       },
};

void pv_lua_clock_open(lua_State *L)
{
	pv_lua_vm_view_open(L, TYPE_NAME, "clock", methods);
}

int pv_lua_clock_of_vm(lua_State *L)
{
	pv_lua_vm_check(L, "vm:clock");
	pv_lua_vm_view_push(L, TYPE_NAME, 1);
	return 1;
}
