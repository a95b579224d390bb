/* The context `t` that a test's body gets (spec 3.4). Internal to this layer. */
#ifndef PV_LUA_CONTEXT_H
#define PV_LUA_CONTEXT_H

#include <lua.h>

/* In the text of the error that t:skip raises. */
#define PV_LUA_CONTEXT_SKIP "__PROVIUM_SKIP__"

/* Pushes a new context for the test of the present scope; its `meta` is the table at `meta_index`.
 * May raise. */
void pv_lua_context_push(lua_State *L, const char *name, int meta_index);

/* Ends the body that runs as t:skip does. Does not return. */
int pv_lua_context_raise_skip(lua_State *L, const char *reason, size_t len);

#endif
