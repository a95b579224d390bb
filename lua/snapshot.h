/*
 * Snapshot userdata, and the methods of VM that deal with them. Internal to this layer.
 */
#ifndef PV_LUA_SNAPSHOT_H
#define PV_LUA_SNAPSHOT_H

#include <lauxlib.h>
#include <lua.h>

/* Makes the type known to the state. */
void pv_lua_snapshot_open(lua_State *L);

struct pv_snapshot;

/* Takes the snapshot out of the Snapshot at `index`, whose handle is released by that; NULL when
 * that is something else, or released. The caller destroys it. */
struct pv_snapshot *pv_lua_snapshot_take(lua_State *L, int index);

/* snapshot, restore and fork of a VM. */
extern const luaL_Reg pv_lua_snapshot_methods[];

#endif
