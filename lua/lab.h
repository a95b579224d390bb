/* The type Lab of the test language, and the global `provium` (spec section 5). Internal to this
 * layer. */
#ifndef PV_LUA_LAB_H
#define PV_LUA_LAB_H

#include <lua.h>

/* Registers the type. May raise. */
void pv_lua_lab_open(lua_State *L);

/* Pushes a handle of the lab of the present scope: the test's while a body runs, else the file's.
 * May raise. */
void pv_lua_lab_push(lua_State *L);

#endif
