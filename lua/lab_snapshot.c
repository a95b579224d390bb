/*
 * LabSnapshot userdata (spec section 19), `lab:snapshot` and `lab:restore` (5.6). What they do is
 * lab's; here are arguments and results. A saved lab in memory is freed with its handle. Script
 * thread only.
 */
#include "lua/lab_snapshot.h"

#include "base/err.h"
#include "lab/lab_snapshot.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/lab.h"

struct handle {
	struct pv_lab_snapshot *snapshot;
};

static struct pv_lab_snapshot *check(lua_State *L, const char *function)
{
	struct handle *handle = pv_lua_argument_self(L, 1, PV_LUA_LAB_SNAPSHOT_TYPE, function);
	if (handle->snapshot == NULL)
		luaL_error(L, "%s: this handle is released, the file is over", function);
	return handle->snapshot;
}

/* --- methods of LabSnapshot --- */

static int snapshot_path(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	const char *path;
	if (pv_lab_snapshot_path(check(L, "snapshot:path"), &path, &err) < 0)
		return pv_lua_error_raise(L, &err);
	lua_pushstring(L, path);
	return 1;
}

static int snapshot_size(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	uint64_t size;
	if (pv_lab_snapshot_size(check(L, "snapshot:size"), &size, &err) < 0)
		return pv_lua_error_raise(L, &err);
	lua_pushinteger(L, (lua_Integer)size);
	return 1;
}

static int snapshot_delete(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_lab_snapshot_delete(check(L, "snapshot:delete"), &err) < 0)
		return pv_lua_error_raise(L, &err);
	return 0;
}

static int collect(lua_State *L)
{
	pv_lab_snapshot_destroy(pv_lua_lab_snapshot_take(L, 1));
	return 0;
}

static const luaL_Reg methods[] = {
    {"path",   snapshot_path  },
    {"size",   snapshot_size  },
    {"delete", snapshot_delete},
    {NULL,	   NULL	       },
};

void pv_lua_lab_snapshot_open(lua_State *L)
{
	luaL_newmetatable(L, PV_LUA_LAB_SNAPSHOT_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pushliteral(L, PV_LUA_LAB_SNAPSHOT_TYPE);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

struct pv_lab_snapshot *pv_lua_lab_snapshot_take(lua_State *L, int index)
{
	struct handle *handle = luaL_testudata(L, index, PV_LUA_LAB_SNAPSHOT_TYPE);
	if (handle == NULL)
		return NULL;
	struct pv_lab_snapshot *snapshot = handle->snapshot;
	handle->snapshot = NULL;
	return snapshot;
}

/* --- methods of Lab --- */

/* lab:snapshot() -> LabSnapshot, lab:snapshot(dir) -> dir */
static int lab_snapshot(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:snapshot");
	const char *directory = NULL;
	if (!lua_isnoneornil(L, 2))
		directory = pv_lua_argument_name(L, 2, "lab:snapshot", "directory");
	/* A handle in any case: errors cannot lose what it holds. */
	struct handle *handle = lua_newuserdatauv(L, sizeof(*handle), 0);
	handle->snapshot = NULL;
	luaL_setmetatable(L, PV_LUA_LAB_SNAPSHOT_TYPE);
	struct pv_err err = PV_ERR_INIT;
	int status = pv_lab_snapshot_take(&handle->snapshot, lab, &err);
	if (status == 0 && directory != NULL) {
		status = pv_lab_snapshot_write(handle->snapshot, directory, NULL, &err);
		pv_lab_snapshot_destroy(handle->snapshot);
		handle->snapshot = NULL;
		lua_pushvalue(L, 2);
	}
	if (status < 0) {
		pv_err_prefix(&err, "lab:snapshot");
		return pv_lua_error_raise(L, &err);
	}
	return 1;
}

/* lab:restore(LabSnapshot | dir) -> lab */
static int lab_restore(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:restore");
	const struct handle *handle = luaL_testudata(L, 2, PV_LUA_LAB_SNAPSHOT_TYPE);
	struct pv_lab_snapshot *opened = NULL;
	struct pv_err err = PV_ERR_INIT;
	int status = 0;
	if (handle != NULL && handle->snapshot == NULL)
		return luaL_error(L, "lab:restore: this snapshot is released, the file is over");
	if (handle == NULL && lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L,
		    "lab:restore: snapshot must be a LabSnapshot or a directory, got %s",
		    pv_lua_argument_type(L, 2));
	if (handle == NULL)
		status = pv_lab_snapshot_open(
		    &opened, pv_lua_argument_name(L, 2, "lab:restore", "directory"), false, &err);
	if (status == 0)
		status = pv_lab_snapshot_restore(
		    handle != NULL ? handle->snapshot : opened, lab, false, &err);
	pv_lab_snapshot_destroy(opened);
	if (status < 0) {
		pv_err_prefix(&err, "lab:restore");
		return pv_lua_error_raise(L, &err);
	}
	lua_settop(L, 1);
	return 1;
}

const luaL_Reg pv_lua_lab_snapshot_methods[] = {
    {"snapshot", lab_snapshot},
    {"restore",	lab_restore },
    {NULL,	   NULL	       },
};
