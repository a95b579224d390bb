/*
 * lab:claim (spec 5.4): a file says how much memory and how many processors its guests will have at
 * most. There is no pool of them yet, in which files would wait for each other, so what holds
 * without one is all: the claim is checked, and a file has one. Script thread only.
 */
#include "lua/claim.h"

#include <string.h>

#include "base/units.h"
#include "lua/argument.h"
#include "lua/lab.h"

/* Registry: true once the file has its claim. */
#define CLAIM_KEY "provium.claim"

static void check_memory(lua_State *L)
{
	uint64_t bytes;
	size_t len;
	int is_integer = 0;
	if (lua_isnil(L, -1))
		return;
	if (lua_type(L, -1) == LUA_TSTRING) {
		const char *text = lua_tolstring(L, -1, &len);
		if (strlen(text) != len || pv_units_size(text, false, &bytes) < 0)
			luaL_error(L,
			    "lab:claim: opts.memory: cannot parse `%s`; give bytes, or a size such "
			    "as \"512M\" or \"2G\"",
			    text);
		return;
	}
	lua_Integer number = 0;
	if (lua_type(L, -1) == LUA_TNUMBER)
		number = lua_tointegerx(L, -1, &is_integer);
	if (!is_integer || number < 0)
		luaL_error(L, "lab:claim: opts.memory must be int or string, got %s",
		    lua_type(L, -1) == LUA_TNUMBER ? luaL_tolstring(L, -1, NULL)
						   : pv_lua_argument_type(L, -1));
}

static void check_cpus(lua_State *L)
{
	int is_integer = 0;
	lua_Integer number = 0;
	if (lua_isnil(L, -1))
		return;
	if (lua_type(L, -1) == LUA_TNUMBER)
		number = lua_tointegerx(L, -1, &is_integer);
	if (!is_integer || number < 0)
		luaL_error(L, "lab:claim: opts.cpus must be a whole number of processors, got %s",
		    lua_type(L, -1) == LUA_TNUMBER ? luaL_tolstring(L, -1, NULL)
						   : pv_lua_argument_type(L, -1));
}

/* lab:claim(opts) */
static int lab_claim(lua_State *L)
{
	pv_lua_lab_check(L, 1, "lab:claim");
	if (!lua_istable(L, 2))
		return luaL_error(L, "lab:claim: opts must be a table {memory=, cpus=}, got %s",
		    pv_lua_argument_type(L, 2));
	lua_getfield(L, 2, "memory");
	check_memory(L);
	lua_getfield(L, 2, "cpus");
	check_cpus(L);
	if (lua_getfield(L, LUA_REGISTRYINDEX, CLAIM_KEY) != LUA_TNIL)
		return luaL_error(L,
		    "lab:claim: claim already held; it is one-shot: claim once what the file needs "
		    "at its peak");
	lua_pushboolean(L, true);
	lua_setfield(L, LUA_REGISTRYINDEX, CLAIM_KEY);
	return 0;
}

const luaL_Reg pv_lua_claim_methods[] = {
    {"claim", lab_claim},
    {NULL,	   NULL     },
};
