/* The type Worker of the test language (spec section 10). Internal to this layer. */
#ifndef PV_LUA_WORKER_H
#define PV_LUA_WORKER_H

#include <lua.h>

struct pv_lua_principal_kind;

#define PV_LUA_WORKER_TYPE "Worker"

/* Registers the type, with its own methods and those in the table on top, which is popped. May
 * raise. */
void pv_lua_worker_open(lua_State *L);

/* A worker as whoever acts in its guest. */
extern const struct pv_lua_principal_kind pv_lua_worker_principal;

/* vm:spawn_worker, for pv_lua_principal_setfuncs. */
int pv_lua_worker_spawn(lua_State *L);

#endif
