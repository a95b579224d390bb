/* The type Worker of the test language (spec section 10). Internal to this layer. */
#ifndef PV_LUA_WORKER_H
#define PV_LUA_WORKER_H

#include <lauxlib.h>

#include "lua/principal.h"

#define PV_LUA_WORKER_TYPE "Worker"

/* Registers the type, with the methods that it shares with VM. May raise. */
void pv_lua_worker_open(lua_State *L);

/* What a VM has of it, for pv_lua_principal_setfuncs: spawn_worker. */
extern const luaL_Reg pv_lua_worker_methods[];

/* The worker at argument 1 of `out->function` as a principal, without its agent. Raises when it is
 * something else, or has ended. */
void pv_lua_worker_check(lua_State *L, struct pv_lua_principal *out);

#endif
