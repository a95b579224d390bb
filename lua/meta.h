/*
 * The meta table of a test: shipped as msgpack, and read for the keys that the runner knows (spec
 * section 4).
 */
#ifndef PV_LUA_META_H
#define PV_LUA_META_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* Zeroed = an empty meta table that says nothing, apart from `timeout_ns`. */
struct pv_lua_meta {
	struct pv_bytes packed; /* one msgpack map */
	struct pv_bytes skip;	/* the reason to report; only with has_skip */
	bool has_skip;
	bool slow;
	bool expect_oops;
	int64_t timeout_ns; /* negative when not given, 0 for no limit */
};

/* A pv_lua_meta on the Lua stack that frees itself. Pushes one value. */
struct pv_lua_meta *pv_lua_meta_new(lua_State *L);

/* Reads the table at `index` (0 for none) into `meta`. Raises when a value cannot be shipped or a
 * known key is wrong. */
void pv_lua_meta_read(lua_State *L, int index, struct pv_lua_meta *meta);

void pv_lua_meta_finish(struct pv_lua_meta *meta);

#endif
