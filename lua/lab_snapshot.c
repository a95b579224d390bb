/*
 * LabSnapshot userdata (spec section 19), `lab:snapshot` and `lab:restore` (5.6). What they do is
 * lab's; here are arguments and results. Script thread only.
 */
#include "lua/lab_snapshot.h"

#include <errno.h>

#include "base/err.h"
#include "lab/lab_snapshot.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/lab.h"
#include "lua/snapshot_handle.h"
#include "lua/stream.h"

static int path(void *snapshot, const char **path, struct pv_err *err)
{
	return pv_lab_snapshot_path(snapshot, path, err);
}

static int size(void *snapshot, uint64_t *size, struct pv_err *err)
{
	return pv_lab_snapshot_size(snapshot, size, err);
}

static int delete (void *snapshot, struct pv_err *err)
{
	return pv_lab_snapshot_delete(snapshot, err);
}

static void destroy(void *snapshot)
{
	pv_lab_snapshot_destroy(snapshot);
}

static const struct pv_lua_snapshot_kind lab_snapshots = {
    .type = "LabSnapshot",
    .wanted = "a LabSnapshot or a directory",
    .path = path,
    .size = size,
    .remove = delete,
    .destroy = destroy,
};

void pv_lua_lab_snapshot_open(lua_State *L)
{
	pv_lua_snapshot_handle_open(L, &lab_snapshots);
}

struct pv_lab_snapshot *pv_lua_lab_snapshot_take(lua_State *L, int index)
{
	return pv_lua_snapshot_handle_take(L, index, &lab_snapshots);
}

/* --- methods of Lab --- */

/* lab:snapshot() -> LabSnapshot, lab:snapshot(dir) -> dir */
static int lab_snapshot(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:snapshot");
	const char *directory = NULL;
	if (!lua_isnoneornil(L, 2))
		directory = pv_lua_argument_name(L, 2, "lab:snapshot", "directory");
	void **kept = pv_lua_snapshot_handle_push(L, &lab_snapshots);
	struct pv_lab_snapshot *snapshot = NULL;
	struct pv_err err = PV_ERR_INIT;
	int status = pv_lab_snapshot_take(&snapshot, lab, &err);
	if (status == 0 && directory != NULL) {
		status = pv_lab_snapshot_write(snapshot, directory, NULL, &err);
		pv_lab_snapshot_destroy(snapshot);
		lua_pushvalue(L, 2);
	} else {
		*kept = snapshot;
	}
	if (status < 0) {
		pv_err_prefix(&err, "lab:snapshot");
		return pv_lua_stream_raise_listed(L, &err, status == -EBUSY);
	}
	return 1;
}

/* lab:restore(LabSnapshot | dir, opts?) -> lab */
static int lab_restore(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:restore");
	const char *directory;
	struct pv_lab_snapshot *snapshot = pv_lua_snapshot_handle_argument(
	    L, &lab_snapshots, "lab:restore", "directory", &directory);
	const bool now = pv_lua_snapshot_handle_clock(L, 3, "lab:restore");
	struct pv_lab_snapshot *opened = NULL;
	struct pv_err err = PV_ERR_INIT;
	int status = 0;
	if (directory != NULL)
		status = pv_lab_snapshot_open(&opened, directory, false, &err);
	if (status == 0)
		status =
		    pv_lab_snapshot_restore(opened != NULL ? opened : snapshot, lab, now, &err);
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
