/*
 * C memory that Lua errors cannot leak: a byte buffer owned by a userdata.
 */
#ifndef PV_LUA_BUFFER_H
#define PV_LUA_BUFFER_H

#include <lua.h>

#include "base/bytes.h"

/* Pushes a userdata that owns an empty buffer and returns the buffer: it is freed by the collector,
 * or earlier by pv_bytes_finish. May raise. */
struct pv_bytes *pv_lua_buffer_new(lua_State *L);

/* Appends or raises "not enough memory". */
void pv_lua_buffer_add(lua_State *L, struct pv_bytes *buffer, const void *data, size_t len);

/* Pushes the content as a string and frees it. */
void pv_lua_buffer_push(lua_State *L, struct pv_bytes *buffer);

#endif
