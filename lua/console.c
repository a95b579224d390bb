/*
 * Console userdata: a view (lua/vm_view.h) on the console of a VM. Script thread only.
 */
#include "lua/console.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/err.h"
#include "lab/host.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/console_stream.h"
#include "lua/duration.h"
#include "lua/error.h"
#include "lua/state.h"
#include "lua/vm.h"
#include "lua/vm_view.h"

#define TYPE_NAME "Console"

#define EXPECT_DEFAULT (30 * PV_CLOCK_SECOND)
#define WRITE_DEFAULT  (30 * PV_CLOCK_SECOND)

/* The VM behind the console at 1. */
static struct pv_vm *check_vm(lua_State *L, const char *function)
{
	return pv_lua_vm_view_check(L, TYPE_NAME, function);
}

static int console_read_log(lua_State *L)
{
	struct pv_vm *vm = check_vm(L, "console:read_log");
	struct pv_bytes *log = pv_lua_buffer_new(L);
	if (pv_vm_console_log(vm, log) < 0)
		return luaL_error(L, "not enough memory");
	pv_lua_buffer_push(L, log);
	return 1;
}

/* True when the error is only the deadline, not the end of the run. */
static bool is_late(lua_State *L, int status)
{
	return status == -ETIMEDOUT && !atomic_load(&pv_lua_state_of(L)->host->interrupted);
}

/* console:expect(pattern, timeout = 30) */
static int console_expect(lua_State *L)
{
	size_t len;
	struct pv_vm *vm = check_vm(L, "console:expect");
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "console:expect: pattern must be a string, got %s",
		    pv_lua_argument_type(L, 2));
	const char *pattern = lua_tolstring(L, 2, &len);
	if (len == 0)
		return luaL_error(L, "console:expect: pattern must not be empty");
	int64_t span = pv_lua_duration_get(L, 3, "console:expect: timeout", EXPECT_DEFAULT);
	struct pv_err err = PV_ERR_INIT;
	int status = pv_vm_console_expect(vm, pattern, len, pv_clock_deadline(span), &err);
	if (is_late(L, status))
		return luaL_error(L,
		    "console:expect timed out waiting for `%s` on the console of vm `%s`", pattern,
		    pv_vm_name(vm));
	if (status < 0)
		return pv_lua_error_raise(L, &err);
	lua_pushvalue(L, 2);
	return 1;
}

/* console:write(data, {timeout = 30}) */
static int console_write(lua_State *L)
{
	size_t len;
	int64_t span = WRITE_DEFAULT;
	struct pv_vm *vm = check_vm(L, "console:write");
	const char *data = pv_lua_argument_data(L, 2, "console:write", "data", &len);
	if (pv_lua_argument_table(L, 3, "console:write", "opts")) {
		if (lua_getfield(L, 3, "timeout_ms") != LUA_TNIL)
			return luaL_error(L, "console:write: timeout_ms is not known; use timeout "
					     "(seconds, or a string such as \"500ms\")");
		lua_getfield(L, 3, "timeout");
		span = pv_lua_duration_get(L, -1, "console:write: timeout", WRITE_DEFAULT);
	}
	struct pv_err err = PV_ERR_INIT;
	int64_t deadline = span == 0 ? PV_CLOCK_NEVER : pv_clock_deadline(span);
	int status = pv_vm_console_write(vm, data, len, deadline, &err);
	if (is_late(L, status))
		return luaL_error(L,
		    "console:write timed out: the guest of vm `%s` does not read its console",
		    pv_vm_name(vm));
	return status < 0 ? pv_lua_error_raise(L, &err) : 0;
}

/* console:read() */
static int console_read(lua_State *L)
{
	pv_lua_console_stream_push(L, check_vm(L, "console:read"));
	return 1;
}

static int console_close(lua_State *L)
{
	pv_lua_argument_self(L, 1, TYPE_NAME, "console:close");
	return 0;
}

static const luaL_Reg methods[] = {
    {"read",     console_read	 },
    {"read_log", console_read_log},
    {"expect",   console_expect  },
    {"write",    console_write   },
    {"close",    console_close   },
    {NULL,	   NULL	       },
};

void pv_lua_console_open(lua_State *L)
{
	pv_lua_vm_view_open(L, TYPE_NAME, "console", methods);
}

int pv_lua_console_of_vm(lua_State *L)
{
	pv_lua_vm_check(L, "vm:console");
	pv_lua_vm_view_push(L, TYPE_NAME, 1);
	return 1;
}
