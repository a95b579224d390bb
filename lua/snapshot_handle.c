/*
 * Handles of snapshots (spec section 19). A userdata holds one pointer and its metatable says of
 * which kind that is; the methods have the kind as an upvalue, so Snapshot and LabSnapshot share
 * them. A snapshot in memory is freed with its handle. Script thread only.
 */
#include "lua/snapshot_handle.h"

#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/type.h"

struct handle {
	void *snapshot; /* NULL when it was taken */
};

static const struct pv_lua_snapshot_kind *kind_of_method(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* The snapshot of the handle that `function`, a method, was called on. */
static void *check(lua_State *L, const char *function)
{
	const struct handle *handle = pv_lua_argument_self(L, 1, kind_of_method(L)->type, function);
	if (handle->snapshot == NULL)
		luaL_error(L, "%s: this handle is released, the file is over", function);
	return handle->snapshot;
}

static int path(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	const char *path;
	if (kind_of_method(L)->path(check(L, "snapshot:path"), &path, &err) < 0)
		return pv_lua_error_raise(L, &err);
	lua_pushstring(L, path);
	return 1;
}

static int size(lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	uint64_t size;
	if (kind_of_method(L)->size(check(L, "snapshot:size"), &size, &err) < 0)
		return pv_lua_error_raise(L, &err);
	lua_pushinteger(L, (lua_Integer)size);
	return 1;
}

static int delete (lua_State *L)
{
	struct pv_err err = PV_ERR_INIT;
	if (kind_of_method(L)->remove(check(L, "snapshot:delete"), &err) < 0)
		return pv_lua_error_raise(L, &err);
	return 0;
}

static int collect(lua_State *L)
{
	const struct pv_lua_snapshot_kind *kind = kind_of_method(L);
	kind->destroy(pv_lua_snapshot_handle_take(L, 1, kind));
	return 0;
}

static const luaL_Reg methods[] = {
    {"path",   path	 },
    {"size",   size	 },
    {"delete", delete},
    {NULL,	   NULL  },
};

static const luaL_Reg metamethods[] = {
    {"__gc", collect},
    {NULL,   NULL   },
};

static void push_kind(lua_State *L, const struct pv_lua_snapshot_kind *kind)
{
	/* Lua has no const; nobody writes to it. */
	lua_pushlightuserdata(L, (void *)(uintptr_t)kind);
}

void pv_lua_snapshot_handle_open(lua_State *L, const struct pv_lua_snapshot_kind *kind)
{
	luaL_newlibtable(L, methods);
	push_kind(L, kind);
	luaL_setfuncs(L, methods, 1);
	push_kind(L, kind);
	pv_lua_type_open(L, kind->type, metamethods, 1);
}

void **pv_lua_snapshot_handle_push(lua_State *L, const struct pv_lua_snapshot_kind *kind)
{
	struct handle *handle = pv_lua_type_new(L, kind->type, sizeof(*handle), 0);
	return &handle->snapshot;
}

void *pv_lua_snapshot_handle_take(lua_State *L, int index, const struct pv_lua_snapshot_kind *kind)
{
	struct handle *handle = luaL_testudata(L, index, kind->type);
	if (handle == NULL)
		return NULL;
	void *snapshot = handle->snapshot;
	handle->snapshot = NULL;
	return snapshot;
}

void *pv_lua_snapshot_handle_argument(lua_State *L, const struct pv_lua_snapshot_kind *kind,
    const char *function, const char *what, const char **path)
{
	const struct handle *handle = luaL_testudata(L, 2, kind->type);
	*path = NULL;
	if (handle != NULL && handle->snapshot == NULL)
		luaL_error(L, "%s: this snapshot is released, the file is over", function);
	if (handle != NULL)
		return handle->snapshot;
	if (lua_type(L, 2) != LUA_TSTRING)
		luaL_error(L, "%s: snapshot must be %s, got %s", function, kind->wanted,
		    pv_lua_argument_type(L, 2));
	*path = pv_lua_argument_name(L, 2, function, what);
	return NULL;
}

bool pv_lua_snapshot_handle_clock(lua_State *L, int index, const char *function)
{
	if (!pv_lua_argument_table(L, index, function, "opts"))
		return false;
	bool now = false;
	lua_pushliteral(L, "clock");
	lua_rawget(L, index);
	if (!lua_isnil(L, -1)) {
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "%s: opts.clock must be \"now\", got %s", function,
			    pv_lua_argument_type(L, -1));
		now = strcmp(lua_tostring(L, -1), "now") == 0;
		if (!now)
			luaL_error(L, "%s: opts.clock must be \"now\", got `%s`", function,
			    lua_tostring(L, -1));
	}
	lua_pop(L, 1);
	return now;
}
