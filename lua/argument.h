/*
 * Checking what a script passed. Errors name the function and the argument: "vm:read_file: path
 * must be a string, got nil". All may raise, with the position of the caller.
 */
#ifndef PV_LUA_ARGUMENT_H
#define PV_LUA_ARGUMENT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* What to call the type of a value: `VM` and the like for ours, else Lua's word ("no value" when
 * there is none). Valid while the value is. */
const char *pv_lua_argument_type(lua_State *L, int index);

/* What to call a value that is not what was wanted: a number by its text, others by their type. May
 * push that text. */
const char *pv_lua_argument_shown(lua_State *L, int index);

/* True for a number without a fraction, of 64 bits, which goes to `value`; strings are not taken
 * for one. Does not raise. */
bool pv_lua_argument_whole(lua_State *L, int index, lua_Integer *value);

/* Such a number; raises for others. */
lua_Integer pv_lua_argument_integer(
    lua_State *L, int index, const char *function, const char *what);

/* A string (numbers are not taken for one) that is not empty and has no NUL in it: names and paths.
 */
const char *pv_lua_argument_name(lua_State *L, int index, const char *function, const char *what);

/* A string that may be empty but has no NUL in it: commands. */
const char *pv_lua_argument_text(lua_State *L, int index, const char *function, const char *what);

/* Any bytes; numbers are turned into strings in place. */
const char *pv_lua_argument_data(
    lua_State *L, int index, const char *function, const char *what, size_t *len);

/* True when there is a table, false for nil or nothing; raises for others. */
bool pv_lua_argument_table(lua_State *L, int index, const char *function, const char *what);

/* The boolean field of the table at `index`, `otherwise` when it is nil. */
bool pv_lua_argument_flag(
    lua_State *L, int index, const char *key, bool otherwise, const char *function);

/* The permission bits (0 to 07777) in a field of the table at `index`, `otherwise` when it is nil.
 */
unsigned pv_lua_argument_perm(
    lua_State *L, int index, const char *key, unsigned otherwise, const char *function);

/* Raises unless the value at `index` can be called. */
void pv_lua_argument_callable(lua_State *L, int index, const char *function, const char *what);

/* The userdata of type `type` at `index`; raises with advice about the colon when it is something
 * else. */
void *pv_lua_argument_self(lua_State *L, int index, const char *type, const char *function);

#endif
