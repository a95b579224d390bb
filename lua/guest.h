/* What a VM's methods do inside the guest through its agent (spec 7.4, 7.5). Internal to this
 * layer. */
#ifndef PV_LUA_GUEST_H
#define PV_LUA_GUEST_H

#include <lauxlib.h>

/* Methods of the type VM, for luaL_setfuncs. */
extern const luaL_Reg pv_lua_guest_methods[];

#endif
