/*
 * Snapshot userdata (spec section 19) and the ways of a VM through them (7.8): `vm:snapshot`,
 * `vm:restore`, `vm:fork`. What they do is lab's; here are arguments and results. A snapshot in
 * memory is freed with its handle. Script thread only.
 */
#include "lua/snapshot.h"

#include <string.h>

#include "base/err.h"
#include "lab/host.h"
#include "lab/lab.h"
#include "lab/snapshot.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/state.h"
#include "lua/vm.h"

struct handle {
	struct pv_snapshot *snapshot;
};

static struct pv_snapshot *check(lua_State *L, const char *function)
{
	struct handle *handle = pv_lua_argument_self(L, 1, PV_LUA_SNAPSHOT_TYPE, function);
	if (handle->snapshot == NULL)
		luaL_error(L, "%s: this handle is released, the file is over", function);
	return handle->snapshot;
}

/* --- methods of Snapshot --- */

static int snapshot_path(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	const char *path;
	if (pv_snapshot_path(check(L, "snapshot:path"), &path, &err) < 0)
		return pv_lua_error_raise(L, &err);
	lua_pushstring(L, path);
	return 1;
}

static int snapshot_size(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	uint64_t size;
	if (pv_snapshot_size(check(L, "snapshot:size"), &size, &err) < 0)
		return pv_lua_error_raise(L, &err);
	lua_pushinteger(L, (lua_Integer)size);
	return 1;
}

static int snapshot_delete(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_snapshot_delete(check(L, "snapshot:delete"), &err) < 0)
		return pv_lua_error_raise(L, &err);
	return 0;
}

static int collect(lua_State *L)
{
	struct handle *handle = luaL_testudata(L, 1, PV_LUA_SNAPSHOT_TYPE);
	if (handle != NULL) {
		pv_snapshot_destroy(handle->snapshot);
		handle->snapshot = NULL;
	}
	return 0;
}

static const luaL_Reg methods[] = {
    {"path",   snapshot_path  },
    {"size",   snapshot_size  },
    {"delete", snapshot_delete},
    {NULL,	   NULL	       },
};

void pv_lua_snapshot_open(lua_State *L)
{
	luaL_newmetatable(L, PV_LUA_SNAPSHOT_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pushliteral(L, PV_LUA_SNAPSHOT_TYPE);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

struct pv_snapshot *pv_lua_snapshot_take(lua_State *L, int index)
{
	struct handle *handle = luaL_testudata(L, index, PV_LUA_SNAPSHOT_TYPE);
	if (handle == NULL)
		return NULL;
	struct pv_snapshot *snapshot = handle->snapshot;
	handle->snapshot = NULL;
	return snapshot;
}

/* --- methods of VM --- */

/* vm:snapshot(path?) */
static int vm_snapshot(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:snapshot");
	const char *path = NULL;
	if (!lua_isnoneornil(L, 2))
		path = pv_lua_argument_name(L, 2, "vm:snapshot", "path");
	struct handle *handle = lua_newuserdatauv(L, sizeof(*handle), 0);
	handle->snapshot = NULL;
	luaL_setmetatable(L, PV_LUA_SNAPSHOT_TYPE);
	struct pv_err err = PV_ERR_INIT;
	if (pv_vm_snapshot(vm, path, &handle->snapshot, &err) < 0)
		return pv_lua_error_raise(L, &err);
	return 1;
}

/* The one option: `clock = "now"`. */
static bool read_clock(lua_State *L, int index)
{
	if (!pv_lua_argument_table(L, index, "vm:restore", "opts"))
		return false;
	bool now = false;
	lua_pushliteral(L, "clock");
	lua_rawget(L, index);
	if (!lua_isnil(L, -1)) {
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "vm:restore: opts.clock must be \"now\", got %s",
			    pv_lua_argument_type(L, -1));
		now = strcmp(lua_tostring(L, -1), "now") == 0;
		if (!now)
			luaL_error(L, "vm:restore: opts.clock must be \"now\", got `%s`",
			    lua_tostring(L, -1));
	}
	lua_pop(L, 1);
	return now;
}

/* vm:restore(snapshot | path, opts?) */
static int vm_restore(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:restore");
	struct handle *handle = luaL_testudata(L, 2, PV_LUA_SNAPSHOT_TYPE);
	const char *path = NULL;
	if (handle != NULL && handle->snapshot == NULL)
		return luaL_error(L, "vm:restore: this snapshot is released, the file is over");
	if (handle == NULL && lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "vm:restore: snapshot must be a Snapshot or a path, got %s",
		    pv_lua_argument_type(L, 2));
	if (handle == NULL)
		path = pv_lua_argument_name(L, 2, "vm:restore", "path");
	bool now = read_clock(L, 3);
	struct pv_err err = PV_ERR_INIT;
	int status = handle != NULL ? pv_vm_restore(vm, handle->snapshot, now, &err)
				    : pv_vm_restore_file(vm, path, now, &err);
	if (status < 0)
		return pv_lua_error_raise(L, &err);
	lua_settop(L, 1);
	return 1;
}

/* vm:fork(n) -> VMs. What is made in a test ends with the test, so they go to the present lab. */
static int vm_fork(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:fork");
	int exact = 0;
	lua_Integer count = lua_tointegerx(L, 2, &exact);
	if (!exact || lua_type(L, 2) != LUA_TNUMBER)
		return luaL_error(
		    L, "vm:fork: n must be a whole number, got %s", pv_lua_argument_type(L, 2));
	if (count < 1 || count > PV_HOST_VMS_MAX)
		return luaL_error(
		    L, "vm:fork: n must be 1 to %d, got %I", PV_HOST_VMS_MAX, (LUAI_UACINT)count);
	struct pv_lua *lua = pv_lua_state_of(L);
	struct pv_lab *lab = lua->test_lab != NULL ? lua->test_lab : lua->root_lab;
	if (lab == NULL)
		return luaL_error(L, "vm:fork: the file is over");
	struct pv_err err = PV_ERR_INIT;
	if (pv_lab_fork_vm(lab, vm, (unsigned)count, &err) < 0)
		return pv_lua_error_raise(L, &err);
	size_t first = pv_lab_vm_count(lab) - (size_t)count;
	lua_createtable(L, (int)count, 0);
	for (lua_Integer i = 1; i <= count; i++) {
		pv_lua_vm_push(L, pv_lab_vm_at(lab, first + (size_t)i - 1));
		lua_rawseti(L, -2, i);
	}
	return 1;
}

const luaL_Reg pv_lua_snapshot_methods[] = {
    {"snapshot", vm_snapshot},
    {"restore",	vm_restore },
    {"fork",     vm_fork    },
    {NULL,	   NULL       },
};
