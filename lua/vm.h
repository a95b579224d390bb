/* The type VM of the test language (spec section 7). Internal to this layer. */
#ifndef PV_LUA_VM_H
#define PV_LUA_VM_H

#include <lua.h>

struct pv_lua_principal_kind;
struct pv_vm;

#define PV_LUA_VM_TYPE "VM"

/* Registers the type, with its own methods and those in the table on top, which is popped. May
 * raise. */
void pv_lua_vm_open(lua_State *L);

/* A VM as whoever acts in its guest. */
extern const struct pv_lua_principal_kind pv_lua_vm_principal;

/* Pushes the handle of a VM, the same one as long as it is in use; it holds a reference. May raise.
 */
void pv_lua_vm_push(lua_State *L, struct pv_vm *vm);

/* The VM of the handle at argument 1; raises when that is something else. */
struct pv_vm *pv_lua_vm_check(lua_State *L, const char *function);
/* The same for an argument at `index`. */
struct pv_vm *pv_lua_vm_check_at(lua_State *L, int index, const char *function);

#endif
