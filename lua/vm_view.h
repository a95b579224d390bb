/*
 * Types that are only a view of a VM (its console, its clock): userdata without a state of their
 * own that keep the VM's handle alive. Internal to this layer; script thread only.
 */
#ifndef PV_LUA_VM_VIEW_H
#define PV_LUA_VM_VIEW_H

#include <lauxlib.h>
#include <lua.h>

struct pv_vm;

/* Registers the type `type` with its methods; its text is "WORD(NAME OF THE VM)". The strings are
 * constants. May raise. */
void pv_lua_vm_view_open(lua_State *L, const char *type, const char *word, const luaL_Reg *methods);

/* Pushes the view of the VM whose handle is at `vm_index`. May raise. */
void pv_lua_vm_view_push(lua_State *L, const char *type, int vm_index);

/* The VM behind the view at argument 1; raises when that is something else. */
struct pv_vm *pv_lua_vm_view_check(lua_State *L, const char *type, const char *function);

#endif
