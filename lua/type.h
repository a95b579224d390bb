/*
 * Userdata: types that scripts see, and boxes, which keep what C holds across calls into Lua from
 * leaking when one of them raises. Internal to this layer; script thread only.
 */
#ifndef PV_LUA_TYPE_H
#define PV_LUA_TYPE_H

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>

/*
 * Makes the type `name`. On top of the stack are its __index, mostly the table of its methods, and
 * above that `upvalues` values that each of `metamethods` gets; all are popped. Scripts that ask
 * for the metatable get the name. May raise.
 */
void pv_lua_type_open(lua_State *L, const char *name, const luaL_Reg *metamethods, int upvalues);

/* Pushes a userdata of a type that was made: `size` bytes, zeroed, and `user_values`. Returns its
 * memory, which the collector owns. May raise. */
void *pv_lua_type_new(lua_State *L, const char *name, size_t size, int user_values);

/* Pushes a userdata that no script sees: `size` bytes, zeroed, for which `collect` is called before
 * the collector takes them. `name` is that of one `size` and `collect` alone. May raise. */
void *pv_lua_type_box(lua_State *L, const char *name, size_t size, lua_CFunction collect);

#endif
