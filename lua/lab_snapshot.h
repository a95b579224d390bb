/*
 * LabSnapshot userdata, and the methods of Lab that deal with them. Internal to this layer.
 */
#ifndef PV_LUA_LAB_SNAPSHOT_H
#define PV_LUA_LAB_SNAPSHOT_H

#include <lauxlib.h>
#include <lua.h>

struct pv_lab_snapshot;

/* Makes the type known to the state. */
void pv_lua_lab_snapshot_open(lua_State *L);

/* Takes what is behind the LabSnapshot at `index`, whose handle is released by that; NULL when that
 * is something else, or released. The caller destroys it. */
struct pv_lab_snapshot *pv_lua_lab_snapshot_take(lua_State *L, int index);

/* snapshot and restore of a Lab. */
extern const luaL_Reg pv_lua_lab_snapshot_methods[];

#endif
