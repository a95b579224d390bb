/*
 * The VM's handle is the user value of each view, so that the VM lives as long as what looks at it.
 * Script thread only.
 */
#include "lua/vm_view.h"

#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/type.h"
#include "lua/vm.h"

struct pv_vm *pv_lua_vm_view_check(lua_State *L, const char *type, const char *function)
{
	pv_lua_argument_self(L, 1, type, function);
	lua_getiuservalue(L, 1, 1);
	lua_insert(L, 1);
	struct pv_vm *vm = pv_lua_vm_check(L, function);
	lua_remove(L, 1);
	return vm;
}

/* Upvalues: the type and the word for it. */
static int to_text(lua_State *L)
{
	const char *type = lua_tostring(L, lua_upvalueindex(1));
	const char *word = lua_tostring(L, lua_upvalueindex(2));
	lua_pushfstring(L, "%s(%s)", word, pv_vm_name(pv_lua_vm_view_check(L, type, "tostring")));
	return 1;
}

static const luaL_Reg metamethods[] = {
    {"__tostring", to_text},
    {NULL,	   NULL   },
};

void pv_lua_vm_view_open(lua_State *L, const char *type, const char *word, const luaL_Reg *methods)
{
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_pushstring(L, type);
	lua_pushstring(L, word);
	pv_lua_type_open(L, type, metamethods, 2);
}

void pv_lua_vm_view_push(lua_State *L, const char *type, int vm_index)
{
	vm_index = lua_absindex(L, vm_index);
	pv_lua_type_new(L, type, 0, 1);
	lua_pushvalue(L, vm_index);
	lua_setiuservalue(L, -2, 1);
}
