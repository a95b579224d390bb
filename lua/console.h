/* The type Console of the test language (spec section 14). Internal to this layer. */
#ifndef PV_LUA_CONSOLE_H
#define PV_LUA_CONSOLE_H

#include <lua.h>

/* Registers the type. May raise. */
void pv_lua_console_open(lua_State *L);

/* Pushes the console of the VM whose handle is at `vm_index`. May raise. */
void pv_lua_console_push(lua_State *L, int vm_index);

#endif
