/* vm:run in all its shapes (spec 7.4). Internal to this layer. */
#ifndef PV_LUA_COMMAND_H
#define PV_LUA_COMMAND_H

#include <lua.h>

/* The method vm:run. */
int pv_lua_command_run(lua_State *L);

#endif
