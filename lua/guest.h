/* What a VM's methods do inside the guest through its agent (spec 7.4, 7.5). Internal to this
 * layer. */
#ifndef PV_LUA_GUEST_H
#define PV_LUA_GUEST_H

#include <lauxlib.h>
#include <lua.h>

struct pv_agent_stat;
struct pv_bytes;

/* Methods that VMs and workers share, for pv_lua_principal_setfuncs. */
extern const luaL_Reg pv_lua_guest_methods[];

/* Push a Stat, and a list of pv_agent_list as DirEntry[]. May raise. */
void pv_lua_guest_push_stat(lua_State *L, const struct pv_agent_stat *info);
void pv_lua_guest_push_list(lua_State *L, const struct pv_bytes *list);

#endif
