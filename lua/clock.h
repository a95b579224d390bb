/*
 * Clock userdata: vm:clock().
 */
#ifndef PV_LUA_CLOCK_H
#define PV_LUA_CLOCK_H

#include <lua.h>

/* Makes the type. May raise. */
void pv_lua_clock_open(lua_State *L);

/* vm:clock() */
int pv_lua_clock_of_vm(lua_State *L);

#endif
