/*
 * Durations as scripts write them: a number of seconds, or "500ms", "1.5s", "2m", "1h" (spec 2.1).
 */
#ifndef PV_LUA_DURATION_H
#define PV_LUA_DURATION_H

#include <lua.h>
#include <stdint.h>

/*
 * The duration at `index` in nanoseconds, saturated; `otherwise` for nil or nothing. Raises
 * "<what>: duration: ..." for anything that is none.
 */
int64_t pv_lua_duration_get(lua_State *L, int index, const char *what, int64_t otherwise);

/* Pushes seconds the way people read them: 10, 0.2. */
void pv_lua_duration_push_seconds(lua_State *L, int64_t ns);

#endif
