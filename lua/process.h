/* The type Process of the test language (spec section 9). Internal to this layer. */
#ifndef PV_LUA_PROCESS_H
#define PV_LUA_PROCESS_H

#include <lauxlib.h>

#include "lua/principal.h"

#define PV_LUA_PROCESS_TYPE "Process"

/* Registers the type. May raise. */
void pv_lua_process_open(lua_State *L);

/* vm:run_async and worker:run_async, for pv_lua_principal_setfuncs. */
int pv_lua_process_run_async(lua_State *L);

/*
 * For functions that use the process at argument 1: who it is to be asked from, and its handle.
 * Raises when it was waited for or closed, and when its guest cannot be reached; `action` says what
 * for. `function` is the called one.
 */
uint64_t pv_lua_process_reach(
    lua_State *L, const char *function, const char *action, struct pv_lua_principal *out);

#endif
