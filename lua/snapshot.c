/*
 * Snapshot userdata (spec section 19) and the ways of a VM through them (7.8): `vm:snapshot`,
 * `vm:restore`, `vm:fork`. What they do is lab's; here are arguments and results. Script
 * thread only.
 */
#include "lua/snapshot.h"

#include "base/err.h"
#include "lab/host.h"
#include "lab/lab.h"
#include "lab/snapshot.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/snapshot_handle.h"
#include "lua/state.h"
#include "lua/stream.h"
#include "lua/vm.h"

static int path(void *snapshot, const char **path, struct pv_err *err)
{
	return pv_snapshot_path(snapshot, path, err);
}

static int size(void *snapshot, uint64_t *size, struct pv_err *err)
{
	return pv_snapshot_size(snapshot, size, err);
}

static int delete (void *snapshot, struct pv_err *err)
{
	return pv_snapshot_delete(snapshot, err);
}

static void destroy(void *snapshot)
{
	pv_snapshot_destroy(snapshot);
}

static const struct pv_lua_snapshot_kind snapshots = {
    .type = "Snapshot",
    .wanted = "a Snapshot or a path",
    .path = path,
    .size = size,
    .remove = delete,
    .destroy = destroy,
};

void pv_lua_snapshot_open(lua_State *L)
{
	pv_lua_snapshot_handle_open(L, &snapshots);
}

struct pv_snapshot *pv_lua_snapshot_take(lua_State *L, int index)
{
	return pv_lua_snapshot_handle_take(L, index, &snapshots);
}

/* --- methods of VM --- */

/* vm:snapshot(path?) */
static int vm_snapshot(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:snapshot");
	const char *path = NULL;
	if (!lua_isnoneornil(L, 2))
		path = pv_lua_argument_name(L, 2, "vm:snapshot", "path");
	pv_lua_stream_refuse_snapshot(L, vm);
	void **kept = pv_lua_snapshot_handle_push(L, &snapshots);
	struct pv_snapshot *snapshot = NULL;
	struct pv_err err = PV_ERR_INIT;
	if (pv_vm_snapshot(vm, path, &snapshot, &err) < 0)
		return pv_lua_error_raise(L, &err);
	*kept = snapshot;
	return 1;
}

/* vm:restore(snapshot | path, opts?) */
static int vm_restore(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:restore");
	const char *path;
	struct pv_snapshot *snapshot =
	    pv_lua_snapshot_handle_argument(L, &snapshots, "vm:restore", "path", &path);
	const bool now = pv_lua_snapshot_handle_clock(L, 3, "vm:restore");
	struct pv_err err = PV_ERR_INIT;
	int status = path != NULL ? pv_vm_restore_file(vm, path, now, &err)
				  : pv_vm_restore(vm, snapshot, now, &err);
	if (status < 0)
		return pv_lua_error_raise(L, &err);
	lua_settop(L, 1);
	return 1;
}

/* vm:fork(n) -> VMs. What is made in a test ends with the test, so they go to the present lab. */
static int vm_fork(lua_State *L)
{
	struct pv_vm *vm = pv_lua_vm_check(L, "vm:fork");
	lua_Integer count;
	if (!pv_lua_argument_whole(L, 2, &count))
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
