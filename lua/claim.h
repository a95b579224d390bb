/* lab:claim (lua/claim.c). */
#ifndef PV_LUA_CLAIM_H
#define PV_LUA_CLAIM_H

#include <lauxlib.h>

extern const luaL_Reg pv_lua_claim_methods[];

#endif
