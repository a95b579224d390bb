/*
 * A userdata's type is its metatable, which the registry has by the type's name; that is how
 * luaL_testudata knows one. Memory is zeroed before it gets its metatable, so a finalizer finds
 * either what was put there or nothing. The types of boxes are made with the first of them. Script
 * thread only.
 */
#include "lua/type.h"

#include <string.h>

void pv_lua_type_open(lua_State *L, const char *name, const luaL_Reg *metamethods, int upvalues)
{
	luaL_newmetatable(L, name);
	lua_insert(L, -1 - upvalues);
	luaL_setfuncs(L, metamethods, upvalues);
	lua_pushstring(L, name);
	lua_setfield(L, -2, "__metatable");
	lua_insert(L, -2);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

void *pv_lua_type_new(lua_State *L, const char *name, size_t size, int user_values)
{
	void *memory = lua_newuserdatauv(L, size, user_values);
	memset(memory, 0, size);
	luaL_setmetatable(L, name);
	return memory;
}

void *pv_lua_type_box(lua_State *L, const char *name, size_t size, lua_CFunction collect)
{
	void *memory = lua_newuserdatauv(L, size, 0);
	memset(memory, 0, size);
	if (luaL_newmetatable(L, name)) {
		lua_pushcfunction(L, collect);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	return memory;
}
