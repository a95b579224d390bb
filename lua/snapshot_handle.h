/*
 * What Snapshot and LabSnapshot have in common: the userdata, its methods, and how `restore` takes
 * one and its options. Internal to this layer; script thread.
 */
#ifndef PV_LUA_SNAPSHOT_HANDLE_H
#define PV_LUA_SNAPSHOT_HANDLE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct pv_err;

/* A type of snapshots. The functions get what the handle holds, and return 0 or -errno. */
struct pv_lua_snapshot_kind {
	const char *type;   /* of the userdata */
	const char *wanted; /* what `restore` takes, for its error: "a Snapshot or a path" */
	int (*path)(void *snapshot, const char **path, struct pv_err *err);
	int (*size)(void *snapshot, uint64_t *size, struct pv_err *err);
	int (*remove)(void *snapshot, struct pv_err *err);
	void (*destroy)(void *snapshot); /* NULL is fine */
};

/* Makes the type known to the state: path, size, delete. `kind` stays valid as long as the state.
 */
void pv_lua_snapshot_handle_open(lua_State *L, const struct pv_lua_snapshot_kind *kind);

/* Pushes a handle and returns where it keeps its snapshot, now NULL. What is put there is destroyed
 * with the handle. May raise. */
void **pv_lua_snapshot_handle_push(lua_State *L, const struct pv_lua_snapshot_kind *kind);

/* Takes what is behind the handle at `index`, which is released by that; NULL when that is
 * something else, or released. The caller destroys it. */
void *pv_lua_snapshot_handle_take(lua_State *L, int index, const struct pv_lua_snapshot_kind *kind);

/* The first argument of `function`, a restore: the snapshot of a handle, or NULL when it is a path
 * (of a `what`), which goes to `path`. Raises for others. */
void *pv_lua_snapshot_handle_argument(lua_State *L, const struct pv_lua_snapshot_kind *kind,
    const char *function, const char *what, const char **path);

/* The options of `function`, a restore, at `index`: true for `clock = "now"`. Raises for what they
 * cannot be. */
bool pv_lua_snapshot_handle_clock(lua_State *L, int index, const char *function);

#endif
