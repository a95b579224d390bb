/*
 * vm:read_mem and vm:write_mem: the memory of the process in the guest that serves the script,
 * typically what a system call has mapped there. An address that the guest's kernel does not allow
 * is a result, nil and the errno, because tests probe for it. Script thread only.
 */
#include "base/err.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/principal.h"
#include "lua/syscall.h"

static lua_Integer integer_argument(lua_State *L, int index, const char *function, const char *what)
{
	int whole;
	lua_Integer value = lua_tointegerx(L, index, &whole);
	if (lua_type(L, index) != LUA_TNUMBER)
		luaL_error(L, "%s: %s must be an integer, got %s", function, what,
		    pv_lua_argument_type(L, index));
	if (!whole)
		luaL_error(L, "%s: %s must be an integer of 64 bits, got %s", function, what,
		    luaL_tolstring(L, index, NULL));
	return value;
}

static int push_errno(lua_State *L, int code)
{
	lua_pushnil(L);
	lua_pushinteger(L, code);
	return 2;
}

/* vm:read_mem(addr, len) */
int pv_lua_memory_read(lua_State *L)
{
	int code = 0;
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	lua_Integer addr = integer_argument(L, 2, self.function, "addr");
	lua_Integer len = integer_argument(L, 3, self.function, "len");
	if (len < 0 || len > PV_AGENT_MEMORY_MAX)
		return luaL_error(L, "%s: len must be from 0 to %I, got %I", self.function,
		    (LUAI_UACINT)PV_AGENT_MEMORY_MAX, (LUAI_UACINT)len);
	pv_lua_principal_reach(L, &self);
	struct pv_bytes *content = pv_lua_buffer_new(L);
	if (pv_agent_read_mem(&self.by, (uint64_t)addr, (uint64_t)len, content, &code, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	if (code != 0)
		return push_errno(L, code);
	pv_lua_buffer_push(L, content);
	return 1;
}

/* vm:write_mem(addr, data) */
int pv_lua_memory_write(lua_State *L)
{
	size_t len;
	int code = 0;
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	lua_Integer addr = integer_argument(L, 2, self.function, "addr");
	const char *data = pv_lua_argument_data(L, 3, self.function, "data", &len);
	if (len > PV_AGENT_MEMORY_MAX)
		return luaL_error(L, "%s: data is longer than %I bytes", self.function,
		    (LUAI_UACINT)PV_AGENT_MEMORY_MAX);
	pv_lua_principal_reach(L, &self);
	if (pv_agent_write_mem(&self.by, (uint64_t)addr, data, len, &code, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	if (code != 0)
		return push_errno(L, code);
	lua_pushboolean(L, 1);
	return 1;
}
