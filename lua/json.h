/* The global `json` (spec section 20). Internal to this layer. */
#ifndef PV_LUA_JSON_H
#define PV_LUA_JSON_H

#include <lua.h>

/* Makes the global table. May raise. */
void pv_lua_json_open(lua_State *L);

/* json.encode, in lua/json_encode.c. */
int pv_lua_json_encode(lua_State *L);

#endif
