/*
 * `provium.sys`: the kernel's names as guests see them, so that tests need no magic numbers.
 *
 *   provium.sys.O_CREAT, provium.sys.openat    a constant, the number of a system call
 *   provium.sys.nr.openat                      system calls alone
 *   provium.sys.errno_name(2)                  and the other functions below
 *
 * Both tables are empty proxies: reading goes to base/sys_names.h, writing raises, and so does an
 * unknown name, because a nil that travels on as an argument would be a zero in the guest. pairs()
 * walks the names in order. Script thread only.
 */
#include "lua/sys.h"

#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "base/sys_names.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/signal.h"

/* The names of one table. */
struct names {
	const char *title;
	int (*find)(const char *name, int64_t *value, struct pv_err *err);
	const struct pv_sys_names_entry *(*all)(size_t *count);
};

static const struct names constants = {"provium.sys", pv_sys_names_value, pv_sys_names_constants};
static const struct names calls = {"provium.sys.nr", pv_sys_names_call, pv_sys_names_calls};

/* Upvalue 1: the functions and sub-tables. Upvalue 2: the names. */
static int index_names(lua_State *L)
{
	size_t len;
	int64_t value = 0;
	struct pv_err err = PV_ERR_INIT;
	const struct names *names = lua_touserdata(L, lua_upvalueindex(2));
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(
		    L, "%s: names are strings, got %s", names->title, pv_lua_argument_type(L, 2));
	const char *name = lua_tolstring(L, 2, &len);
	if (strlen(name) != len)
		return luaL_error(L, "%s: a name has no NUL bytes in it", names->title);
	if (names->find(name, &value, &err) < 0) {
		pv_err_prefix(&err, "%s", names->title);
		return pv_lua_error_raise(L, &err);
	}
	lua_pushinteger(L, value);
	return 1;
}

/* Upvalue 1: the names. */
static int refuse_write(lua_State *L)
{
	const struct names *names = lua_touserdata(L, lua_upvalueindex(1));
	return luaL_error(L, "cannot set `%s.%s`: the table is read-only", names->title,
	    luaL_tolstring(L, 2, NULL));
}

/* The iterator of pairs(). Upvalue 1: the names; 2: how many were given. */
static int next_name(lua_State *L)
{
	size_t count;
	const struct names *names = lua_touserdata(L, lua_upvalueindex(1));
	const struct pv_sys_names_entry *entries = names->all(&count);
	size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(2));
	if (at >= count)
		return 0;
	lua_pushinteger(L, (lua_Integer)at + 1);
	lua_replace(L, lua_upvalueindex(2));
	lua_pushstring(L, entries[at].name);
	lua_pushinteger(L, entries[at].value);
	return 2;
}

static int pairs_of_names(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, next_name, 2);
	return 1;
}

static int names_tostring(lua_State *L)
{
	size_t count;
	const struct names *names = lua_touserdata(L, lua_upvalueindex(1));
	names->all(&count);
	lua_pushfstring(L, "%s(x86-64; %I names)", names->title, (LUAI_UACINT)count);
	return 1;
}

/* Each has the names as upvalue 1. */
static const luaL_Reg metamethods[] = {
    {"__newindex", refuse_write  },
    {"__pairs",	pairs_of_names},
    {"__tostring", names_tostring},
    {NULL,	   NULL	       },
};

/* Replaces the table on top, whose fields are found before the names, by the proxy. */
static void push_proxy(lua_State *L, const struct names *names)
{
	lua_newtable(L); /* the proxy */
	lua_newtable(L); /* its metatable */
	lua_rotate(L, -3, -1);
	lua_pushlightuserdata(L, (void *)(uintptr_t)names);
	lua_pushcclosure(L, index_names, 2);
	lua_setfield(L, -2, "__index");
	lua_pushlightuserdata(L, (void *)(uintptr_t)names);
	luaL_setfuncs(L, metamethods, 1);
	lua_pushstring(L, names->title);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
}

/* --- functions --- */

/* The name, or the number as text: good enough for a message in any case. */
static int push_name(lua_State *L, const char *name, lua_Integer number)
{
	if (name != NULL)
		lua_pushstring(L, name);
	else
		lua_pushfstring(L, "%I", (LUAI_UACINT)number);
	return 1;
}

static int sys_errno_name(lua_State *L)
{
	lua_Integer number = pv_lua_argument_integer(L, 1, "provium.sys.errno_name", "number");
	return push_name(L, pv_sys_names_errno(number), number);
}

static int sys_errno_text(lua_State *L)
{
	lua_Integer number = pv_lua_argument_integer(L, 1, "provium.sys.errno_text", "number");
	const char *text = NULL;
	if (number == 0 || pv_sys_names_errno(number) != NULL)
		text = strerrordesc_np((int)(number < 0 ? -number : number));
	if (text != NULL)
		lua_pushstring(L, text);
	else
		lua_pushfstring(L, "Unknown error %I", (LUAI_UACINT)number);
	return 1;
}

static int sys_signal_name(lua_State *L)
{
	lua_Integer number = pv_lua_argument_integer(L, 1, "provium.sys.signal_name", "number");
	if (number >= PV_SYS_NAMES_RTMIN && number <= PV_SYS_NAMES_SIGNAL_MAX) {
		lua_pushfstring(L, number == PV_SYS_NAMES_RTMIN ? "SIGRTMIN" : "SIGRTMIN+%d",
		    (int)number - PV_SYS_NAMES_RTMIN);
		return 1;
	}
	return push_name(L, pv_sys_names_signal(number), number);
}

static int sys_signal_number(lua_State *L)
{
	lua_pushinteger(L, pv_lua_signal_get(L, 1, "provium.sys.signal_number", -1));
	return 1;
}

static const luaL_Reg functions[] = {
    {"errno_name",	   sys_errno_name	 },
    {"errno_text",	   sys_errno_text	 },
    {"signal_name",   sys_signal_name  },
    {"signal_number", sys_signal_number},
    {NULL,	    NULL	       },
};

void pv_lua_sys_push(lua_State *L)
{
	luaL_newlib(L, functions);
	lua_newtable(L);
	push_proxy(L, &calls);
	lua_setfield(L, -2, "nr");
	push_proxy(L, &constants);
}
