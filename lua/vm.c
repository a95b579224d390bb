/*
 * VM userdata: life and questions; what is done inside the guest is in lua/guest.c, saving and
 * restoring in lua/snapshot.c. A handle holds
 * a reference on its VM, and there is one handle per VM at a time (lua/handle.h). A finalized
 * handle (when the state closes, finalizers of the script may still see it) holds NULL and says so.
 * Script thread only.
 */
#include "lua/vm.h"

#include <lauxlib.h>

#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/handle.h"
#include "lua/options.h"
#include "lua/principal.h"
#include "lua/resource.h"
#include "lua/type.h"

/* Registry: pv_vm (light userdata) -> handle. */
#define HANDLES_KEY "provium.vms"

struct handle {
	struct pv_vm *vm;
};

struct pv_vm *pv_lua_vm_check(lua_State *L, const char *function)
{
	return pv_lua_vm_check_at(L, 1, function);
}

struct pv_vm *pv_lua_vm_check_at(lua_State *L, int index, const char *function)
{
	struct handle *handle = pv_lua_argument_self(L, index, PV_LUA_VM_TYPE, function);
	if (handle->vm == NULL)
		luaL_error(L, "%s: this handle is released, the file is over", function);
	return handle->vm;
}

static void check_principal(lua_State *L, struct pv_lua_principal *out)
{
	out->vm = pv_lua_vm_check(L, out->function);
}

const struct pv_lua_principal_kind pv_lua_vm_principal = {"vm", check_principal};

/* --- life --- */

/* Raises a failed boot, with the console when a guest had started. */
static int raise_boot(lua_State *L, struct pv_vm *vm, const struct pv_err *err, bool was_created)
{
	struct pv_bytes probe = {0};
	luaL_where(L, 1);
	lua_pushstring(L, err->text);
	lua_concat(L, 2);
	bool said = pv_vm_console_tail(vm, 1, &probe) == 0 && probe.len > 0;
	pv_bytes_finish(&probe);
	bool started = err->kind == PV_ERR_GUEST || err->kind == PV_ERR_TIMEOUT;
	if (was_created && pv_vm_state(vm) == PV_VM_DEAD && (said || started)) {
		pv_lua_error_push_console(L, vm);
		lua_concat(L, 2);
	}
	return lua_error(L);
}

static int vm_boot(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:boot");
	struct pv_options *options = NULL;
	if (pv_lua_argument_table(L, 2, "vm:boot", "opts")) {
		options = pv_lua_options_new(L);
		pv_lua_options_read(L, 2, "vm:boot", options);
	}
	struct pv_err err = PV_ERR_INIT;
	bool was_created = pv_vm_state(vm) == PV_VM_CREATED;
	int status = pv_vm_boot(vm, options, &err);
	pv_options_finish(options);
	if (status < 0)
		return raise_boot(L, vm, &err, was_created);
	lua_settop(L, 1);
	return 1;
}

/* An action without arguments and results. */
static int act(
    lua_State *L, const char *function, int (*action)(struct pv_vm *vm, struct pv_err *err))
{
	struct pv_vm *vm = pv_lua_vm_check(L, function);
	struct pv_err err = PV_ERR_INIT;
	if (action(vm, &err) < 0)
		return pv_lua_error_raise(L, &err);
	return 0;
}

static int vm_pause(lua_State *L)
{
	return act(L, "vm:pause", pv_vm_pause);
}

static int vm_resume(lua_State *L)
{
	return act(L, "vm:resume", pv_vm_resume);
}

static int vm_reset(lua_State *L)
{
	return act(L, "vm:reset", pv_vm_reset);
}

static int vm_wakeup(lua_State *L)
{
	return act(L, "vm:wakeup", pv_vm_wakeup);
}

static int vm_power_button(lua_State *L)
{
	return act(L, "vm:power_button", pv_vm_power_button);
}

static int vm_shutdown(lua_State *L)
{
	pv_vm_shutdown(pv_lua_vm_check(L, "vm:shutdown"));
	return 0;
}

static int vm_close(lua_State *L)
{
	pv_vm_shutdown(pv_lua_vm_check(L, "vm:close"));
	return 0;
}

/* --- questions --- */

static int vm_name(lua_State *L)
{
	lua_pushstring(L, pv_vm_name(pv_lua_vm_check(L, "vm:name")));
	return 1;
}

static int vm_profile(lua_State *L)
{
	lua_pushstring(L, pv_vm_profile(pv_lua_vm_check(L, "vm:profile")));
	return 1;
}

static int vm_state(lua_State *L)
{
	lua_pushstring(L, pv_vm_state_name(pv_vm_state(pv_lua_vm_check(L, "vm:state"))));
	return 1;
}

static void push_cid(lua_State *L, const struct pv_vm *vm)
{
	uint32_t cid = pv_vm_cid(vm);
	if (cid != 0)
		lua_pushinteger(L, cid);
	else
		lua_pushnil(L);
}

static int vm_cid(lua_State *L)
{
	push_cid(L, pv_lua_vm_check(L, "vm:cid"));
	return 1;
}

static int vm_is_quiescent(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:is_quiescent");
	lua_pushboolean(L, pv_vm_in_flight(vm) == 0 &&
			       pv_lua_resource_count(L, PV_LUA_FILE, vm) == 0 &&
			       pv_lua_resource_count(L, PV_LUA_STREAM, vm) == 0);
	return 1;
}

static int count(lua_State *L, const char *function, enum pv_lua_resource_kind kind)
{
	lua_pushinteger(L, pv_lua_resource_count(L, kind, pv_lua_vm_check(L, function)));
	return 1;
}

static int vm_open_file_count(lua_State *L)
{
	return count(L, "vm:open_file_count", PV_LUA_FILE);
}

static int vm_open_stream_count(lua_State *L)
{
	return count(L, "vm:open_stream_count", PV_LUA_STREAM);
}

static int vm_tostring(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, PV_LUA_VM_TYPE, "tostring");
	if (handle->vm == NULL) {
		lua_pushliteral(L, "vm(released)");
		return 1;
	}
	push_cid(L, handle->vm);
	lua_pushfstring(L, "vm(%s state=%s cid=%s)", pv_vm_name(handle->vm),
	    pv_vm_state_name(pv_vm_state(handle->vm)), luaL_tolstring(L, -1, NULL));
	return 1;
}

/* --- handles --- */

static int collect(lua_State *L)
{
	struct handle *handle = luaL_testudata(L, 1, PV_LUA_VM_TYPE);
	if (handle != NULL) {
		pv_vm_unref(handle->vm);
		handle->vm = NULL;
	}
	return 0;
}

/* `local vm <close> = ...` */
static int leave_block(lua_State *L)
{
	struct handle *handle = luaL_testudata(L, 1, PV_LUA_VM_TYPE);
	if (handle != NULL && handle->vm != NULL)
		pv_vm_shutdown(handle->vm);
	return 0;
}

static const luaL_Reg methods[] = {
    {"boot",	      vm_boot		    },
    {"pause",	      vm_pause	      },
    {"resume",	       vm_resume		},
    {"reset",	      vm_reset	      },
    {"wakeup",	       vm_wakeup		},
    {"power_button",	     vm_power_button	    },
    {"shutdown",		 vm_shutdown	    },
    {"close",	      vm_close	      },
    {"name",	      vm_name		    },
    {"profile",		vm_profile	  },
    {"state",	      vm_state	      },
    {"cid",	       vm_cid		  },
    {"is_quiescent",	     vm_is_quiescent	    },
    {"open_file_count",	vm_open_file_count  },
    {"open_stream_count", vm_open_stream_count},
    {NULL,		NULL		},
};

static const luaL_Reg metamethods[] = {
    {"__gc",	     collect    },
    {"__close",	leave_block},
    {"__tostring", vm_tostring},
    {NULL,	   NULL       },
};

void pv_lua_vm_open(lua_State *L)
{
	luaL_setfuncs(L, methods, 0);
	pv_lua_type_open(L, PV_LUA_VM_TYPE, metamethods, 0);
	pv_lua_handle_open(L, HANDLES_KEY);
}

void pv_lua_vm_push(lua_State *L, struct pv_vm *vm)
{
	if (pv_lua_handle_push(L, HANDLES_KEY, vm))
		return;
	struct handle *handle = pv_lua_type_new(L, PV_LUA_VM_TYPE, sizeof(*handle), 0);
	handle->vm = pv_vm_ref(vm);
	pv_lua_handle_keep(L, HANDLES_KEY, vm);
}
