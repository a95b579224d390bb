/*
 * vm:run: a shell text, a program with an array of arguments, or a program or shell text with an
 * options table. The arrays that the agent client wants live in userdata, their strings on the Lua
 * stack or in an anchor table, so that an error on the way frees everything. Script thread only.
 */
#include "lua/command.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/duration.h"
#include "lua/error.h"
#include "lua/run_result.h"
#include "lua/vm.h"

#define FUNCTION "vm:run"

static const char *const option_keys[] = {
    "args", "env", "env_clear", "cwd", "stdin", "timeout", "timeout_ms"};

/* True when the table at 3 has one of the option keys. */
static bool is_options(lua_State *L)
{
	for (size_t i = 0; i < sizeof(option_keys) / sizeof(option_keys[0]); i++) {
		bool found = lua_getfield(L, 3, option_keys[i]) != LUA_TNIL;
		lua_pop(L, 1);
		if (found)
			return true;
	}
	return false;
}

/* Refuses keys that are no positions: a misspelled option would otherwise be dropped without a
 * word. */
static void check_positions(lua_State *L, int index)
{
	lua_Integer count = (lua_Integer)lua_rawlen(L, index);
	lua_pushnil(L);
	while (lua_next(L, index) != 0) {
		lua_pop(L, 1);
		if (!lua_isinteger(L, -1))
			luaL_error(L,
			    FUNCTION ": unknown option `%s` (known: args, env, env_clear, cwd, "
				     "stdin, timeout, timeout_ms)",
			    luaL_tolstring(L, -1, NULL));
		if (lua_tointeger(L, -1) < 1 || lua_tointeger(L, -1) > count)
			luaL_error(L, FUNCTION ": args has holes (index %I beyond its length %I)",
			    (LUAI_UACINT)lua_tointeger(L, -1), (LUAI_UACINT)count);
	}
}

/* A string or number on top as text without NULs; anchors it in the table `anchor`. */
static const char *keep_text(lua_State *L, int anchor, const char *what, lua_Integer number)
{
	size_t len;
	if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, FUNCTION ": %s[%I] must be a string, got %s", what,
		    (LUAI_UACINT)number, pv_lua_argument_type(L, -1));
	const char *text = lua_tolstring(L, -1, &len);
	if (strlen(text) != len)
		luaL_error(
		    L, FUNCTION ": %s[%I] must not contain NUL bytes", what, (LUAI_UACINT)number);
	lua_rawseti(L, anchor, (lua_Integer)lua_rawlen(L, anchor) + 1);
	return text;
}

/* argv of a program: the command, then the array at `index`. Pushes what keeps it alive. */
static void take_args(lua_State *L, int index, const char *command, struct pv_agent_exec *exec)
{
	if (!lua_istable(L, index))
		luaL_error(L, FUNCTION ": args must be an array of strings, got %s",
		    pv_lua_argument_type(L, index));
	if (command[0] == '\0')
		luaL_error(L, FUNCTION ": the program's name must not be empty");
	check_positions(L, index);
	size_t count = lua_rawlen(L, index);
	const char **argv = lua_newuserdatauv(L, (count + 1) * sizeof(*argv), 0);
	lua_createtable(L, (int)(count < INT32_MAX ? count : 0), 0);
	int anchor = lua_gettop(L);
	argv[0] = command;
	for (size_t i = 1; i <= count; i++) {
		lua_rawgeti(L, index, (lua_Integer)i);
		argv[i] = keep_text(L, anchor, "args", (lua_Integer)i);
	}
	exec->argv = argv;
	exec->argc = count + 1;
}

static void take_shell(lua_State *L, const char *command, struct pv_agent_exec *exec)
{
	const char **argv = lua_newuserdatauv(L, 3 * sizeof(*argv), 0);
	argv[0] = "/bin/sh";
	argv[1] = "-c";
	argv[2] = command;
	exec->argv = argv;
	exec->argc = 3;
}

/* One pair of env: key at -2, value at -1; pushes "K=V". */
static void push_setting(lua_State *L)
{
	size_t key_len, value_len;
	if (lua_type(L, -2) != LUA_TSTRING)
		luaL_error(
		    L, FUNCTION ": env: keys must be strings, got %s", pv_lua_argument_type(L, -2));
	const char *key = lua_tolstring(L, -2, &key_len);
	if (key_len == 0 || strlen(key) != key_len || strchr(key, '=') != NULL)
		luaL_error(L,
		    FUNCTION
		    ": env: `%s` is no name of a variable (empty, or with `=` or NUL in it)",
		    key);
	if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, FUNCTION ": env.%s must be a string, got %s", key,
		    pv_lua_argument_type(L, -1));
	lua_pushvalue(L, -1); /* lua_tolstring changes numbers in place */
	const char *value = lua_tolstring(L, -1, &value_len);
	if (strlen(value) != value_len)
		luaL_error(L, FUNCTION ": env.%s must not contain NUL bytes", key);
	lua_pushfstring(L, "%s=%s", key, value);
	lua_remove(L, -2);
}

/* The table on top. Pushes what keeps the result alive. */
static void take_env(lua_State *L, struct pv_agent_exec *exec)
{
	if (!lua_istable(L, -1))
		luaL_error(
		    L, FUNCTION ": env must be a table, got %s", pv_lua_argument_type(L, -1));
	int table = lua_gettop(L);
	size_t count = 0;
	lua_newtable(L);
	int anchor = lua_gettop(L);
	lua_pushnil(L);
	while (lua_next(L, table) != 0) {
		push_setting(L);
		lua_rawseti(L, anchor, (lua_Integer)++count);
		lua_pop(L, 1);
	}
	const char **env = lua_newuserdatauv(L, (count + 1) * sizeof(*env), 0);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, anchor, (lua_Integer)i + 1);
		env[i] = lua_tostring(L, -1);
		lua_pop(L, 1); /* the anchor keeps it */
	}
	exec->env = env;
	exec->env_count = count;
}

static int64_t refuse_timeout(lua_State *L)
{
	return luaL_error(L, FUNCTION " timeout: must be a finite, non-negative number (got %s)",
	    luaL_tolstring(L, -1, NULL));
}

/* `timeout` (a duration) wins over `timeout_ms` (an integer). */
static int64_t read_timeout(lua_State *L)
{
	int64_t ns = 0;
	int type = lua_getfield(L, 3, "timeout");
	if (type != LUA_TNIL) {
		if (type == LUA_TNUMBER &&
		    !(isfinite(lua_tonumber(L, -1)) && lua_tonumber(L, -1) >= 0))
			refuse_timeout(L);
		ns = pv_lua_duration_get(L, -1, FUNCTION " timeout", 0);
		lua_pop(L, 1);
		return ns;
	}
	lua_pop(L, 1);
	type = lua_getfield(L, 3, "timeout_ms");
	if (type == LUA_TNIL) {
		lua_pop(L, 1);
		return PV_CLOCK_NEVER;
	}
	if (type != LUA_TNUMBER)
		luaL_error(L, FUNCTION ": timeout_ms must be a number, got %s",
		    pv_lua_argument_type(L, -1));
	double ms = lua_tonumber(L, -1);
	if (!(isfinite(ms) && ms >= 0))
		refuse_timeout(L);
	ns = ms >= 9e12 ? PV_CLOCK_NEVER : (int64_t)(ms * 1e6);
	lua_pop(L, 1);
	return ns;
}

/* The options table at 3. Leaves what it needs on the stack. */
static void read_options(lua_State *L, const char *command, struct pv_agent_exec *exec)
{
	exec->timeout_ns = read_timeout(L);
	exec->env_clear = pv_lua_argument_flag(L, 3, "env_clear", false, FUNCTION);
	if (lua_getfield(L, 3, "cwd") != LUA_TNIL)
		exec->cwd = pv_lua_argument_name(L, -1, FUNCTION, "cwd");
	if (lua_getfield(L, 3, "stdin") != LUA_TNIL)
		exec->input = pv_lua_argument_data(L, -1, FUNCTION, "stdin", &exec->input_len);
	if (lua_getfield(L, 3, "env") != LUA_TNIL)
		take_env(L, exec);
	if (lua_getfield(L, 3, "args") != LUA_TNIL)
		take_args(L, lua_gettop(L), command, exec);
	else
		take_shell(L, command, exec);
}

int pv_lua_command_run(lua_State *L)
{
	struct pv_agent_exec exec = {.timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent *agent = NULL;
	struct pv_err err = PV_ERR_INIT;
	struct pv_vm *vm = pv_lua_vm_check(L, FUNCTION);
	if (lua_isnone(L, 2))
		return luaL_error(L, FUNCTION ": missing command string");
	if (lua_gettop(L) > 3)
		return luaL_error(L,
		    FUNCTION ": expected a command and at most one table, got %d arguments",
		    lua_gettop(L) - 1);
	const char *command = pv_lua_argument_text(L, 2, FUNCTION, "command");
	luaL_checkstack(L, 32, FUNCTION);
	if (lua_isnoneornil(L, 3))
		take_shell(L, command, &exec);
	else if (!lua_istable(L, 3))
		return luaL_error(L,
		    FUNCTION
		    ": the second argument must be a table of arguments or options, got %s",
		    pv_lua_argument_type(L, 3));
	else if (is_options(L))
		read_options(L, command, &exec);
	else
		take_args(L, 3, command, &exec);
	struct pv_agent_exec_result *result = pv_lua_run_result_new(L);
	if (pv_vm_agent(vm, "run", &agent, &err) < 0)
		return pv_lua_error_raise(L, &err);
	if (pv_agent_exec(PV_PRINCIPAL(agent), &exec, result, &err) < 0) {
		pv_lua_run_result_release(result);
		return pv_lua_error_raise_guest(L, vm, &err);
	}
	pv_lua_run_result_push(L, result);
	return 1;
}
