/* The type Tail of the test language (spec section 13): streams that the guest's agent feeds.
 * Internal to this layer. */
#ifndef PV_LUA_TAIL_H
#define PV_LUA_TAIL_H

#include <lua.h>

struct pv_agent_stream;
struct pv_lua_stream;

/* Registers the type. May raise. */
void pv_lua_tail_open(lua_State *L);

/* Pushes a Tail without a source. The caller sets `agent` by an operation that gives a stream, and
 * calls pv_lua_stream_begin (lua/stream.h). */
struct pv_lua_stream *pv_lua_tail_new(lua_State *L);

/* vm:tail_file and vm:fd_stream, as methods made by pv_lua_principal_setfuncs. */
int pv_lua_tail_file(lua_State *L);
int pv_lua_tail_fd_stream(lua_State *L);

/* file:tail_stream() */
int pv_lua_tail_of_file(lua_State *L);

#endif
