/*
 * Argument checks. Stricter than Lua's own, because a number given as a path or a nil given as a
 * command is a mistake in the test, and the sentence that says so should name the argument as the
 * documentation does. Script thread only.
 */
#include "lua/argument.h"

#include <lauxlib.h>
#include <string.h>

const char *pv_lua_argument_type(lua_State *L, int index)
{
	if (lua_type(L, index) == LUA_TUSERDATA &&
	    luaL_getmetafield(L, index, "__name") == LUA_TSTRING) {
		const char *name = lua_tostring(L, -1);
		lua_pop(L, 1); /* the metatable keeps it */
		return name;
	}
	return luaL_typename(L, index);
}

const char *pv_lua_argument_shown(lua_State *L, int index)
{
	return lua_type(L, index) == LUA_TNUMBER ? luaL_tolstring(L, index, NULL)
						 : pv_lua_argument_type(L, index);
}

bool pv_lua_argument_whole(lua_State *L, int index, lua_Integer *value)
{
	int is_integer;
	if (lua_type(L, index) != LUA_TNUMBER)
		return false;
	lua_Integer number = lua_tointegerx(L, index, &is_integer);
	if (is_integer)
		*value = number;
	return is_integer;
}

lua_Integer pv_lua_argument_integer(lua_State *L, int index, const char *function, const char *what)
{
	lua_Integer value = 0;
	if (!pv_lua_argument_whole(L, index, &value))
		luaL_error(L, "%s: %s must be an integer, got %s", function, what,
		    pv_lua_argument_shown(L, index));
	return value;
}

const char *pv_lua_argument_text(lua_State *L, int index, const char *function, const char *what)
{
	size_t len;
	if (lua_type(L, index) != LUA_TSTRING)
		luaL_error(L, "%s: %s must be a string, got %s", function, what,
		    pv_lua_argument_type(L, index));
	const char *text = lua_tolstring(L, index, &len);
	if (strlen(text) != len)
		luaL_error(L, "%s: %s must not contain NUL bytes", function, what);
	return text;
}

const char *pv_lua_argument_name(lua_State *L, int index, const char *function, const char *what)
{
	const char *text = pv_lua_argument_text(L, index, function, what);
	if (text[0] == '\0')
		luaL_error(L, "%s: %s must not be empty", function, what);
	return text;
}

const char *pv_lua_argument_data(
    lua_State *L, int index, const char *function, const char *what, size_t *len)
{
	int type = lua_type(L, index);
	if (type != LUA_TSTRING && type != LUA_TNUMBER)
		luaL_error(L, "%s: %s must be a string, got %s", function, what,
		    pv_lua_argument_type(L, index));
	return lua_tolstring(L, index, len);
}

bool pv_lua_argument_table(lua_State *L, int index, const char *function, const char *what)
{
	if (lua_isnoneornil(L, index))
		return false;
	if (!lua_istable(L, index))
		luaL_error(L, "%s: %s must be a table, got %s", function, what,
		    pv_lua_argument_type(L, index));
	return true;
}

bool pv_lua_argument_flag(
    lua_State *L, int index, const char *key, bool otherwise, const char *function)
{
	bool value = otherwise;
	int type = lua_getfield(L, index, key);
	if (type == LUA_TBOOLEAN)
		value = lua_toboolean(L, -1);
	else if (type != LUA_TNIL)
		luaL_error(L, "%s: %s must be true or false, got %s", function, key,
		    pv_lua_argument_type(L, -1));
	lua_pop(L, 1);
	return value;
}

unsigned pv_lua_argument_perm(
    lua_State *L, int index, const char *key, unsigned otherwise, const char *function)
{
	lua_Integer value = otherwise;
	if (lua_getfield(L, index, key) != LUA_TNIL) {
		if (!pv_lua_argument_whole(L, -1, &value) || value < 0 || value > 07777)
			luaL_error(L,
			    "%s: %s must be permission bits from 0 to 4095 (07777 in octal, "
			    "tonumber(\"755\", 8)), got %s",
			    function, key, pv_lua_argument_shown(L, -1));
	}
	lua_pop(L, 1);
	return (unsigned)value;
}

void pv_lua_argument_callable(lua_State *L, int index, const char *function, const char *what)
{
	if (lua_isfunction(L, index))
		return;
	if (luaL_getmetafield(L, index, "__call") != LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	luaL_error(
	    L, "%s: %s must be a function, got %s", function, what, pv_lua_argument_type(L, index));
}

void *pv_lua_argument_self(lua_State *L, int index, const char *type, const char *function)
{
	void *self = luaL_testudata(L, index, type);
	if (self == NULL)
		luaL_error(L,
		    "%s: expected a %s before the arguments, got %s; call methods with a colon",
		    function, type, pv_lua_argument_type(L, index));
	return self;
}
