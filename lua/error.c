/*
 * From struct pv_err to a Lua error and back to text. Lua errors may be any value: strings with a
 * position before them by our own functions, nil, tables and userdata by scripts, and turning one
 * of these into text may raise again. Script thread only.
 */
#include "lua/error.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/vm.h"
#include "lua/buffer.h"

int pv_lua_error_raise(lua_State *L, const struct pv_err *err)
{
	luaL_where(L, 1);
	lua_pushstring(L, err->text[0] != '\0' ? err->text : "unknown error");
	lua_concat(L, 2);
	return lua_error(L);
}

int pv_lua_error_raise_guest(lua_State *L, const struct pv_vm *vm, struct pv_err *err)
{
	pv_err_prefix(err, "vm `%s`", pv_vm_name(vm));
	return pv_lua_error_raise(L, err);
}

void pv_lua_error_push_console(lua_State *L, struct pv_vm *vm)
{
	struct pv_bytes *tail = pv_lua_buffer_new(L);
	if (pv_vm_console_tail(vm, PV_LUA_ERROR_CONSOLE_MAX, tail) < 0)
		luaL_error(L, "not enough memory");
	bool ends_line = tail->len > 0 && tail->data[tail->len - 1] == '\n';
	lua_pushliteral(L, "\n--- guest console (last bytes) ---\n");
	pv_lua_buffer_push(L, tail);
	lua_pushstring(L, ends_line ? "--- end guest console ---" : "\n--- end guest console ---");
	lua_concat(L, 3);
	lua_remove(L, -2); /* the buffer */
}

/* The text of the value at 1, by its __tostring when it has one. */
static int to_text(lua_State *L)
{
	luaL_tolstring(L, 1, NULL);
	return 1;
}

void pv_lua_error_stringify(lua_State *L)
{
	switch (lua_type(L, -1)) {
	case LUA_TSTRING: return;
	case LUA_TNIL:
		lua_pop(L, 1);
		lua_pushliteral(L, "nil (error was called without a message)");
		return;
	default: break;
	}
	const char *type = luaL_typename(L, -1);
	bool has_text = luaL_getmetafield(L, -1, "__tostring") != LUA_TNIL;
	if (has_text)
		lua_pop(L, 1);
	if (!has_text && (lua_istable(L, -1) || lua_isuserdata(L, -1))) {
		lua_pop(L, 1);
		lua_pushfstring(L, "the error is a %s without __tostring", type);
		return;
	}
	lua_pushcfunction(L, to_text);
	lua_insert(L, -2);
	if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
		lua_pop(L, 1);
		lua_pushfstring(L, "the error is a %s whose __tostring failed", type);
	}
}

/* A protected call: 1 is the error, 2 the buffer to fill. */
static int take(lua_State *L)
{
	size_t len;
	struct pv_bytes *out = lua_touserdata(L, 2);
	lua_settop(L, 1);
	pv_lua_error_stringify(L);
	const char *text = lua_tolstring(L, -1, &len);
	if (pv_bytes_append(out, text, len) < 0)
		luaL_error(L, "not enough memory");
	return 0;
}

void pv_lua_error_take(lua_State *L, struct pv_bytes *out)
{
	if (!lua_checkstack(L, 4)) {
		lua_pop(L, 1);
		pv_bytes_append(out, "not enough memory", 17);
		return;
	}
	lua_pushcfunction(L, take);
	lua_insert(L, -2);
	lua_pushlightuserdata(L, out);
	if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
		lua_pop(L, 1);
		pv_bytes_append(out, "not enough memory", 17);
	}
}
