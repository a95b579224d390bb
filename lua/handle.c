/*
 * Weak tables of handles. The collector may take a handle at any time when no script holds it; its
 * entry is gone before its finalizer runs, so what is found here is alive. An object whose address
 * is used anew by another must have lost its handle first: handles hold a reference on their
 * object. Script thread only.
 */
#include "lua/handle.h"

#include <lauxlib.h>

void pv_lua_handle_open(lua_State *L, const char *key)
{
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "v");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, key);
}

bool pv_lua_handle_push(lua_State *L, const char *key, const void *object)
{
	lua_getfield(L, LUA_REGISTRYINDEX, key);
	if (lua_rawgetp(L, -1, object) == LUA_TUSERDATA) {
		lua_remove(L, -2);
		return true;
	}
	lua_pop(L, 2);
	return false;
}

void pv_lua_handle_keep(lua_State *L, const char *key, const void *object)
{
	lua_getfield(L, LUA_REGISTRYINDEX, key);
	lua_pushvalue(L, -2);
	lua_rawsetp(L, -2, object);
	lua_pop(L, 1);
}
