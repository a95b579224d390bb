/*
 * The same C functions are methods of VM and of Worker. Each closure carries its full name, so
 * sentences say what the script called, and what it is a method of; the userdata before the
 * arguments says on whose behalf. Script thread only.
 */
#include "lua/principal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "lab/vm.h"
#include "lua/error.h"

void pv_lua_principal_setfuncs(
    lua_State *L, const luaL_Reg *methods, const struct pv_lua_principal_kind *kind)
{
	for (; methods->name != NULL; methods++) {
		lua_pushfstring(L, "%s:%s", kind->word, methods->name);
		/* Lua has no const; nobody writes to it. */
		lua_pushlightuserdata(L, (void *)(uintptr_t)kind);
		lua_pushcclosure(L, methods->func, 2);
		lua_setfield(L, -2, methods->name);
	}
}

void pv_lua_principal_check(lua_State *L, struct pv_lua_principal *out)
{
	const struct pv_lua_principal_kind *kind = lua_touserdata(L, lua_upvalueindex(2));
	*out = (struct pv_lua_principal){.function = lua_tostring(L, lua_upvalueindex(1))};
	kind->check(L, out);
}

void pv_lua_principal_reach(lua_State *L, struct pv_lua_principal *principal)
{
	struct pv_err err = PV_ERR_INIT;
	const char *action = strchr(principal->function, ':') + 1;
	if (pv_vm_agent(principal->vm, action, &principal->by.agent, &err) < 0)
		pv_lua_error_raise(L, &err);
}

int pv_lua_principal_raise(
    lua_State *L, const struct pv_lua_principal *principal, struct pv_err *err)
{
	if (principal->by.worker != 0 && err->code == ESTALE)
		pv_err_prefix(err, "worker %" PRIu64, principal->by.worker);
	return pv_lua_error_raise_guest(L, principal->vm, err);
}
