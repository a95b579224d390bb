/*
 * Methods that a VM and a Worker share: who is to do it in the guest. Internal to this layer;
 * script thread only.
 */
#ifndef PV_LUA_PRINCIPAL_H
#define PV_LUA_PRINCIPAL_H

#include <lauxlib.h>
#include <lua.h>

#include "lab/vm.h"

struct pv_lua_principal {
	const char *function; /* "vm:run" or "worker:run", for sentences; the method keeps it */
	struct pv_vm *vm;     /* alive as long as argument 1 is open */
	struct pv_principal by;
};

/* What they are methods of. */
struct pv_lua_principal_kind {
	const char *word; /* "vm" or "worker" */
	/* Fills in who argument 1 of `out->function` is, but for its agent; raises when that is
	 * something else, or has ended. */
	void (*check)(lua_State *L, struct pv_lua_principal *out);
};

/* Adds methods to the table on top of the stack. `kind` stays valid. May raise. */
void pv_lua_principal_setfuncs(
    lua_State *L, const luaL_Reg *methods, const struct pv_lua_principal_kind *kind);

/* In such a method: its name and the VM or worker of argument 1; raises when that is something
 * else, or a worker that was joined. */
void pv_lua_principal_check(lua_State *L, struct pv_lua_principal *out);

/* Then, after the arguments have been looked at: the way to the guest. Raises the state's sentence
 * when there is none. */
void pv_lua_principal_reach(lua_State *L, struct pv_lua_principal *principal);

/* Raises an error of the agent client, with the VM's name before it. */
int pv_lua_principal_raise(
    lua_State *L, const struct pv_lua_principal *principal, struct pv_err *err);

#endif
