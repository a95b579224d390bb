/* vm:batch (spec section 7.9). Internal to this layer; script thread only. */
#ifndef PV_LUA_BATCH_H
#define PV_LUA_BATCH_H

#include <lua.h>

/* Registers the type of what vm:batch passes to the function. May raise. */
void pv_lua_batch_open(lua_State *L);

/* The method `batch` of VM and Worker. */
int pv_lua_batch(lua_State *L);

#endif
