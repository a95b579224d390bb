/*
 * Ending scripts whose time is up: the host's interrupt reaches Lua code here.
 */
#ifndef PV_LUA_INTERRUPT_H
#define PV_LUA_INTERRUPT_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

struct pv_lua;

/* Sets the hook and replaces the library functions that could hide from it (coroutine.*,
 * debug.sethook, os.exit). May raise. */
void pv_lua_interrupt_open(lua_State *L);

/* Raises when the host is interrupted; also makes the thread's hook fire at once from now on. */
void pv_lua_interrupt_check(lua_State *L);

/* To be called by the allocator: when the host is interrupted, the main thread's hook fires as soon
 * as Lua code runs. */
void pv_lua_interrupt_hurry(struct pv_lua *lua);

/* Copies why the host is interrupted into `out` (cut to `size`, at least one byte). Empty when it
 * is not. */
void pv_lua_interrupt_reason(struct pv_lua *lua, char *out, size_t size);

/* Sleeps until the deadline (pv_clock_now's scale), or until there were other reports of guests'
 * kernels than `reports` (pv_verdict_count of lab/verdict.h); raises when the host is interrupted
 * before or meanwhile. */
void pv_lua_interrupt_sleep(lua_State *L, int64_t deadline_ns, unsigned reports);

#endif
