/* Waiting in scripts: the globals `wait_until`, `_provium_sleep` and `_provium_now`. Internal to
 * this layer. */
#ifndef PV_LUA_WAIT_H
#define PV_LUA_WAIT_H

#include <lua.h>

void pv_lua_wait_open(lua_State *L);

#endif
