/*
 * Durations from Lua values, with the texts of spec 2.1. The parsing itself is base/units.h. Script
 * thread only.
 */
#include "lua/duration.h"

#include <lauxlib.h>
#include <string.h>

#include "base/units.h"
#include "lua/argument.h"

#define ACCEPTED \
	"give seconds as a number, or a string such as \"500ms\", \"1.5s\", \"2m\" or \"1h\""

static int refuse_number(lua_State *L, int index, const char *what)
{
	return luaL_error(L, "%s: duration: must be a finite, non-negative number (got %s)", what,
	    luaL_tolstring(L, index, NULL));
}

static int64_t from_string(lua_State *L, int index, const char *what)
{
	int64_t ns = 0;
	size_t len;
	const char *text = lua_tolstring(L, index, &len);
	if (strlen(text) == len && pv_units_duration(text, &ns) == 0)
		return ns;
	if (text[0] == '-' && strlen(text) == len && pv_units_duration(text + 1, &ns) == 0)
		refuse_number(L, index, what);
	return luaL_error(L, "%s: duration: cannot parse `%s`; " ACCEPTED, what, text);
}

int64_t pv_lua_duration_get(lua_State *L, int index, const char *what, int64_t otherwise)
{
	int64_t ns = 0;
	switch (lua_type(L, index)) {
	case LUA_TNONE:
	case LUA_TNIL: return otherwise;
	case LUA_TNUMBER:
		if (!pv_units_seconds(lua_tonumber(L, index), &ns))
			refuse_number(L, index, what);
		return ns;
	case LUA_TSTRING: return from_string(L, index, what);
	default:
		return luaL_error(L, "%s: duration: expected number|string, got %s", what,
		    pv_lua_argument_type(L, index));
	}
}

void pv_lua_duration_push_seconds(lua_State *L, int64_t ns)
{
	if (ns % 1000000000 == 0)
		lua_pushfstring(L, "%I", (LUAI_UACINT)(ns / 1000000000));
	else
		lua_pushfstring(L, "%f", (LUAI_UACNUMBER)ns / 1e9);
}
