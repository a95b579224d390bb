/* The type Process of the test language (spec section 9). Internal to this layer. */
#ifndef PV_LUA_PROCESS_H
#define PV_LUA_PROCESS_H

#include <lauxlib.h>

#include "lua/principal.h"

#define PV_LUA_PROCESS_TYPE "Process"

/* Registers the type. May raise. */
void pv_lua_process_open(lua_State *L);

/* What VM and Worker have of it, for pv_lua_principal_setfuncs: run_async. */
extern const luaL_Reg pv_lua_process_methods[];

/*
 * For functions that use the process at argument 1: who it is to be asked from, and its handle.
 * Raises when it was waited for or closed, and when its guest cannot be reached; `action` says what
 * for. `function` is the called one.
 */
uint64_t pv_lua_process_reach(
    lua_State *L, const char *function, const char *action, struct pv_lua_principal *out);

#endif
