/*
 * Clock userdata: vm:clock().
 */
#ifndef PV_LUA_CLOCK_H
#define PV_LUA_CLOCK_H

#include <lua.h>

/* Makes the type. May raise. */
void pv_lua_clock_open(lua_State *L);

/* Pushes the clock of the VM whose handle is at `vm_index`. */
void pv_lua_clock_push(lua_State *L, int vm_index);

#endif
