/*
 * Lua leaves C functions by longjmp when memory runs out or a metamethod raises, so C memory held
 * across calls into Lua must belong to the collector. A byte buffer in a userdata serves all cases
 * here. Script thread only.
 */
#include "lua/buffer.h"

#include <lauxlib.h>

#include "lua/type.h"

#define TYPE_NAME "provium.buffer"

static int collect(lua_State *L)
{
	struct pv_bytes *buffer = luaL_testudata(L, 1, TYPE_NAME);
	pv_bytes_finish(buffer);
	return 0;
}

struct pv_bytes *pv_lua_buffer_new(lua_State *L)
{
	return pv_lua_type_box(L, TYPE_NAME, sizeof(struct pv_bytes), collect);
}

void pv_lua_buffer_add(lua_State *L, struct pv_bytes *buffer, const void *data, size_t len)
{
	if (pv_bytes_append(buffer, data, len) < 0)
		luaL_error(L, "not enough memory");
}

void pv_lua_buffer_push(lua_State *L, struct pv_bytes *buffer)
{
	lua_pushlstring(L, buffer->data != NULL ? (const char *)buffer->data : "", buffer->len);
	pv_bytes_finish(buffer);
}
