/* The table `provium.sys`. Internal to this layer. */
#ifndef PV_LUA_SYS_H
#define PV_LUA_SYS_H

#include <lua.h>

/* Pushes a new table of it. */
void pv_lua_sys_push(lua_State *L);

#endif
