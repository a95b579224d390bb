/*
 * Snapshot userdata, and the methods of VM that deal with them. Internal to this layer.
 */
#ifndef PV_LUA_SNAPSHOT_H
#define PV_LUA_SNAPSHOT_H

#include <lauxlib.h>
#include <lua.h>

#define PV_LUA_SNAPSHOT_TYPE "Snapshot"

/* Makes the type known to the state. */
void pv_lua_snapshot_open(lua_State *L);

/* snapshot, restore and fork of a VM. */
extern const luaL_Reg pv_lua_snapshot_methods[];

#endif
