/*
 * One handle for each object: tables with weak values in the registry, from the object's address to
 * the userdata that scripts hold, so that handles of one object compare equal. Internal to this
 * layer; script thread only.
 */
#ifndef PV_LUA_HANDLE_H
#define PV_LUA_HANDLE_H

#include <lua.h>
#include <stdbool.h>

/* Makes the table that `key` (a constant, its address counts for nothing) names. May raise. */
void pv_lua_handle_open(lua_State *L, const char *key);

/* Pushes the handle of `object` and returns true, or pushes nothing when no script holds one. */
bool pv_lua_handle_push(lua_State *L, const char *key, const void *object);

/* Remembers the userdata on top of the stack as the handle of `object`; it stays there. May raise.
 */
void pv_lua_handle_keep(lua_State *L, const char *key, const void *object);

#endif
