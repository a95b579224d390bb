/* The older spelling of the language (docs/legacy.md). Internal to this layer; script thread only.
 */
#ifndef PV_LUA_LEGACY_H
#define PV_LUA_LEGACY_H

#include <lua.h>
#include <stdbool.h>

/* Loads it, and makes its globals. To be called before the types are opened. May raise. */
void pv_lua_legacy_open(lua_State *L);

/* Adds what is for `part` ("lab", "vm", "worker") to the table on top of the stack. May raise. */
void pv_lua_legacy_add(lua_State *L, const char *part);

/*
 * Whether a test with the body on top runs while the file is loaded, as it did once: in a file that
 * has asked for its VMs in the older spelling, when the body takes no context.
 */
bool pv_lua_legacy_runs_now(lua_State *L);

#endif
