/*
 * The same C functions are methods of VM and of Worker. Each closure carries its full name as its
 * only upvalue, so sentences say what the script called; the userdata before the arguments says on
 * whose behalf. Script thread only.
 */
#include "lua/principal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "lab/vm.h"
#include "lua/error.h"
#include "lua/guest.h"
#include "lua/process.h"
#include "lua/syscall.h"
#include "lua/vm.h"
#include "lua/worker.h"

void pv_lua_principal_setfuncs(lua_State *L, const luaL_Reg *methods, const char *type)
{
	for (; methods->name != NULL; methods++) {
		lua_pushfstring(L, "%s:%s", type, methods->name);
		lua_pushcclosure(L, methods->func, 1);
		lua_setfield(L, -2, methods->name);
	}
}

void pv_lua_principal_share(lua_State *L, const char *type)
{
	pv_lua_principal_setfuncs(L, pv_lua_guest_methods, type);
	pv_lua_principal_setfuncs(L, pv_lua_process_methods, type);
	pv_lua_principal_setfuncs(L, pv_lua_syscall_methods, type);
}

void pv_lua_principal_check(lua_State *L, struct pv_lua_principal *out)
{
	*out = (struct pv_lua_principal){.function = lua_tostring(L, lua_upvalueindex(1))};
	if (strncmp(out->function, "worker:", 7) == 0)
		pv_lua_worker_check(L, out);
	else
		out->vm = pv_lua_vm_check(L, out->function);
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
