/* Signals as tests give them (spec 2.4). Internal to this layer. */
#ifndef PV_LUA_SIGNAL_H
#define PV_LUA_SIGNAL_H

#include <lua.h>

/*
 * The number of the signal at `index`: an integer of 0 to 64, or a name (base/sys_names.h);
 * `otherwise` when there is nil or nothing, which is an error when `otherwise` is negative. Raises
 * errors that begin with `function`.
 */
int pv_lua_signal_get(lua_State *L, int index, const char *function, int otherwise);

#endif
