/*
 * The keys of a Lua table as strings in a fixed order, so that what is written from tables (meta,
 * JSON) is the same in every run.
 */
#ifndef PV_LUA_KEYS_H
#define PV_LUA_KEYS_H

#include <lua.h>
#include <stddef.h>

struct pv_lua_key {
	const char *text;
	size_t len;
	lua_Integer slot;
};

/*
 * Sorts the keys of the table at `index` by bytes. Pushes exactly two values that keep the result
 * alive; `*out` is valid as long as they are on the stack. Numbers and booleans become their
 * tostring text; other keys raise "<what>: unsupported key type `T`".
 */
size_t pv_lua_keys_sort(lua_State *L, int index, const char *what, const struct pv_lua_key **out);

/* Pushes the value of a key; `anchor` is the first of the two pushed values, `table` the table.
 * Raw. */
void pv_lua_keys_push_value(lua_State *L, int table, int anchor, const struct pv_lua_key *key);

#endif
