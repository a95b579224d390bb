/*
 * Which methods the types have that several files give methods to: Lab, VM, Worker and File.
 * Internal to this layer.
 */
#ifndef PV_LUA_METHODS_H
#define PV_LUA_METHODS_H

#include <lua.h>

/* Registers these types; after pv_lua_legacy_open. May raise. */
void pv_lua_methods_open(lua_State *L);

#endif
