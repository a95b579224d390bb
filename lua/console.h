/* The type Console of the test language (spec section 14). Internal to this layer. */
#ifndef PV_LUA_CONSOLE_H
#define PV_LUA_CONSOLE_H

#include <lua.h>

/* Registers the type. May raise. */
void pv_lua_console_open(lua_State *L);

/* vm:console() */
int pv_lua_console_of_vm(lua_State *L);

#endif
