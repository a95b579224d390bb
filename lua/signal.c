/*
 * From a Lua value to the number of a signal of the guest. Script thread only.
 */
#include "lua/signal.h"

#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "base/sys_names.h"
#include "lua/argument.h"

static int get_number(lua_State *L, int index, const char *function)
{
	int is_integer;
	lua_Integer number = lua_tointegerx(L, index, &is_integer);
	if (!is_integer || number < 0 || number > PV_SYS_NAMES_SIGNAL_MAX)
		luaL_error(L, "%s: signal %s is out of range (0 to %d)", function,
		    luaL_tolstring(L, index, NULL), PV_SYS_NAMES_SIGNAL_MAX);
	return (int)number;
}

int pv_lua_signal_get(lua_State *L, int index, const char *function, int otherwise)
{
	size_t len;
	int number = 0;
	struct pv_err err = PV_ERR_INIT;
	if (lua_isnoneornil(L, index) && otherwise >= 0)
		return otherwise;
	if (lua_type(L, index) == LUA_TNUMBER)
		return get_number(L, index, function);
	if (lua_type(L, index) != LUA_TSTRING)
		return luaL_error(L, "%s: signal must be int or string, got %s", function,
		    pv_lua_argument_type(L, index));
	const char *name = lua_tolstring(L, index, &len);
	if (strlen(name) != len)
		return luaL_error(L, "%s: unknown signal name (it has a NUL byte in it)", function);
	if (pv_sys_names_signal_number(name, &number, &err) < 0)
		return luaL_error(L, "%s: %s", function, err.text);
	return number;
}
