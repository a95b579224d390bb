/* System calls and memory from the test language (spec sections 7.6, 11). Internal to this layer;
 * script thread only. */
#ifndef PV_LUA_SYSCALL_H
#define PV_LUA_SYSCALL_H

#include <lauxlib.h>
#include <lua.h>

#include "lab/vm.h"

#define PV_LUA_SYSCALL_ARGS 6

/* A call as a script gave it. Lists belong to values on the Lua stack. */
struct pv_lua_syscall {
	struct pv_agent_syscall call;
	int64_t args[PV_LUA_SYSCALL_ARGS];
};

/* The number or the name of a call at `index`; raises for others. */
int64_t pv_lua_syscall_number(lua_State *L, int index, const char *function);

/*
 * Reads a call whose number is at 2: integers behind it, or a table. Leaves what it needs on the
 * stack, as long as `out` is in use; `out` stays where it is. Raises for what is wrong, and for
 * calls that would end the process that issues them.
 */
void pv_lua_syscall_read(lua_State *L, const char *function, struct pv_lua_syscall *out);

/* Pushes `{ret=, result=, errno=, out_bufs=}`; `lens` are those of the call. May raise. */
void pv_lua_syscall_push(
    lua_State *L, const struct pv_agent_syscall_result *result, const int64_t *lens, size_t count);

/* vm:syscall; this and the following are for pv_lua_principal_setfuncs. */
int pv_lua_syscall_now(lua_State *L);

/* vm:syscall_async and the type of its handles (lua/syscall_handle.c). */
int pv_lua_syscall_async(lua_State *L);
void pv_lua_syscall_open(lua_State *L);

/* vm:read_mem, vm:write_mem (lua/memory.c). */
int pv_lua_memory_read(lua_State *L);
int pv_lua_memory_write(lua_State *L);

/* vm:ioctl (lua/ioctl.c). */
int pv_lua_ioctl(lua_State *L);

#endif
