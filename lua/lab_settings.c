/*
 * Settings of the file (spec 5.1): `provium.timeout` and `provium.reset_between_tests`. Theory:
 * assignments come here from the lab's __newindex and reads from its __index, before members are
 * looked at. What was assigned is kept in the registry, as it was, for the script to read back;
 * what it means goes into the suite. Script thread only.
 */
#include "lua/lab_settings.h"

#include <lauxlib.h>
#include <string.h>

#include "lua/argument.h"
#include "lua/duration.h"
#include "lua/state.h"

/* Registry: what the script assigned to provium.timeout. */
#define TIMEOUT_KEY "provium.timeout"

/* Registry: what the script assigned to provium.reset_between_tests. */
#define RESET_KEY "provium.reset_between_tests"

#define KNOWN_SETTINGS "reset_between_tests, timeout"

bool pv_lua_lab_settings_push(lua_State *L, const char *key)
{
	if (strcmp(key, "timeout") == 0) {
		lua_getfield(L, LUA_REGISTRYINDEX, TIMEOUT_KEY);
		return true;
	}
	if (strcmp(key, "reset_between_tests") != 0)
		return false;
	lua_getfield(L, LUA_REGISTRYINDEX, RESET_KEY);
	return true;
}

static void set_timeout(lua_State *L)
{
	struct pv_lua *lua = pv_lua_state_of(L);
	int64_t ns = pv_lua_duration_get(L, 3, "provium.timeout", -1);
	lua_pushvalue(L, 3);
	lua_setfield(L, LUA_REGISTRYINDEX, TIMEOUT_KEY);
	lua->suite.timeout_ns = ns;
}

static void set_reset_between_tests(lua_State *L)
{
	if (!lua_isnil(L, 3) && !lua_isboolean(L, 3))
		luaL_error(L, "provium.reset_between_tests: must be true or false, got %s",
		    pv_lua_argument_type(L, 3));
	lua_pushvalue(L, 3);
	lua_setfield(L, LUA_REGISTRYINDEX, RESET_KEY);
	pv_lua_state_of(L)->suite.resets = lua_toboolean(L, 3);
}

void pv_lua_lab_settings_set(lua_State *L, bool in_test)
{
	const char *key = luaL_tolstring(L, 2, NULL);
	bool is_timeout = strcmp(key, "timeout") == 0;
	if (!is_timeout && strcmp(key, "reset_between_tests") != 0)
		luaL_error(L,
		    "cannot set `provium.%s`: not a recognised file-scope config key. Known "
		    "keys: " KNOWN_SETTINGS,
		    key);
	if (in_test)
		luaL_error(L,
		    "cannot set `provium.%s` in a test: it is a setting of the file, assign it "
		    "outside of tests",
		    key);
	if (is_timeout)
		set_timeout(L);
	else
		set_reset_between_tests(L);
}
