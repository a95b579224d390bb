/*
 * Commands: a shell text, a program with an array of arguments, or a program or shell text with an
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
#include "lua/principal.h"
#include "lua/run_result.h"

/* What is being read: the arguments of `function` from `index` on. */
struct reader {
	const char *function;
	int index;
	bool waits; /* time limits are welcome */
	struct pv_agent_exec *exec;
};

static const char *const option_keys[] = {
    "args", "env", "env_clear", "cwd", "stdin", "timeout", "timeout_ms"};

/* True when the table at `index` has one of the option keys. */
static bool is_options(lua_State *L, int index)
{
	for (size_t i = 0; i < sizeof(option_keys) / sizeof(option_keys[0]); i++) {
		bool found = lua_getfield(L, index, option_keys[i]) != LUA_TNIL;
		lua_pop(L, 1);
		if (found)
			return true;
	}
	return false;
}

/* Refuses keys that are no positions: a misspelled option would otherwise be dropped without a
 * word. */
static void check_positions(lua_State *L, const struct reader *reader, int index)
{
	lua_Integer count = (lua_Integer)lua_rawlen(L, index);
	lua_pushnil(L);
	while (lua_next(L, index) != 0) {
		lua_pop(L, 1);
		if (!lua_isinteger(L, -1))
			luaL_error(L,
			    "%s: unknown option `%s` (known: args, env, env_clear, cwd, "
			    "stdin, timeout, timeout_ms)",
			    reader->function, luaL_tolstring(L, -1, NULL));
		if (lua_tointeger(L, -1) < 1 || lua_tointeger(L, -1) > count)
			luaL_error(L, "%s: args has holes (index %I beyond its length %I)",
			    reader->function, (LUAI_UACINT)lua_tointeger(L, -1),
			    (LUAI_UACINT)count);
	}
}

/* A string or number on top as text without NULs; anchors it in the table `anchor`. */
static const char *keep_text(
    lua_State *L, const struct reader *reader, int anchor, const char *what, lua_Integer number)
{
	size_t len;
	if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, "%s: %s[%I] must be a string, got %s", reader->function, what,
		    (LUAI_UACINT)number, pv_lua_argument_type(L, -1));
	const char *text = lua_tolstring(L, -1, &len);
	if (strlen(text) != len)
		luaL_error(L, "%s: %s[%I] must not contain NUL bytes", reader->function, what,
		    (LUAI_UACINT)number);
	lua_rawseti(L, anchor, (lua_Integer)lua_rawlen(L, anchor) + 1);
	return text;
}

/* argv of a program: the command, then the array at `index`. Pushes what keeps it alive. */
static void take_args(lua_State *L, const struct reader *reader, int index, const char *command)
{
	if (!lua_istable(L, index))
		luaL_error(L, "%s: args must be an array of strings, got %s", reader->function,
		    pv_lua_argument_type(L, index));
	if (command[0] == '\0')
		luaL_error(L, "%s: the program's name must not be empty", reader->function);
	check_positions(L, reader, index);
	size_t count = lua_rawlen(L, index);
	const char **argv = lua_newuserdatauv(L, (count + 1) * sizeof(*argv), 0);
	lua_createtable(L, (int)(count < INT32_MAX ? count : 0), 0);
	int anchor = lua_gettop(L);
	argv[0] = command;
	for (size_t i = 1; i <= count; i++) {
		lua_rawgeti(L, index, (lua_Integer)i);
		argv[i] = keep_text(L, reader, anchor, "args", (lua_Integer)i);
	}
	reader->exec->argv = argv;
	reader->exec->argc = count + 1;
}

static void take_shell(lua_State *L, const struct reader *reader, const char *command)
{
	const char **argv = lua_newuserdatauv(L, 3 * sizeof(*argv), 0);
	argv[0] = "/bin/sh";
	argv[1] = "-c";
	argv[2] = command;
	reader->exec->argv = argv;
	reader->exec->argc = 3;
}

/* One pair of env: key at -2, value at -1; pushes "K=V". */
static void push_setting(lua_State *L, const struct reader *reader)
{
	size_t key_len, value_len;
	if (lua_type(L, -2) != LUA_TSTRING)
		luaL_error(L, "%s: env: keys must be strings, got %s", reader->function,
		    pv_lua_argument_type(L, -2));
	const char *key = lua_tolstring(L, -2, &key_len);
	if (key_len == 0 || strlen(key) != key_len || strchr(key, '=') != NULL)
		luaL_error(L,
		    "%s: env: `%s` is no name of a variable (empty, or with `=` or NUL in it)",
		    reader->function, key);
	if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, "%s: env.%s must be a string, got %s", reader->function, key,
		    pv_lua_argument_type(L, -1));
	lua_pushvalue(L, -1); /* lua_tolstring changes numbers in place */
	const char *value = lua_tolstring(L, -1, &value_len);
	if (strlen(value) != value_len)
		luaL_error(L, "%s: env.%s must not contain NUL bytes", reader->function, key);
	lua_pushfstring(L, "%s=%s", key, value);
	lua_remove(L, -2);
}

/* The table on top. Pushes what keeps the result alive. */
static void take_env(lua_State *L, const struct reader *reader)
{
	if (!lua_istable(L, -1))
		luaL_error(L, "%s: env must be a table, got %s", reader->function,
		    pv_lua_argument_type(L, -1));
	int table = lua_gettop(L);
	size_t count = 0;
	lua_newtable(L);
	int anchor = lua_gettop(L);
	lua_pushnil(L);
	while (lua_next(L, table) != 0) {
		push_setting(L, reader);
		lua_rawseti(L, anchor, (lua_Integer)++count);
		lua_pop(L, 1);
	}
	const char **env = lua_newuserdatauv(L, (count + 1) * sizeof(*env), 0);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, anchor, (lua_Integer)i + 1);
		env[i] = lua_tostring(L, -1);
		lua_pop(L, 1); /* the anchor keeps it */
	}
	reader->exec->env = env;
	reader->exec->env_count = count;
}

static int64_t refuse_timeout(lua_State *L, const struct reader *reader)
{
	return luaL_error(L, "%s timeout: must be a finite, non-negative number (got %s)",
	    reader->function, luaL_tolstring(L, -1, NULL));
}

/* `timeout` (a duration) wins over `timeout_ms` (an integer). */
static int64_t read_timeout(lua_State *L, const struct reader *reader)
{
	int64_t ns = 0;
	int type = lua_getfield(L, reader->index + 1, "timeout");
	if (type != LUA_TNIL) {
		if (type == LUA_TNUMBER &&
		    !(isfinite(lua_tonumber(L, -1)) && lua_tonumber(L, -1) >= 0))
			refuse_timeout(L, reader);
		const char *what = lua_pushfstring(L, "%s timeout", reader->function);
		ns = pv_lua_duration_get(L, -2, what, 0);
		lua_pop(L, 2);
		return ns;
	}
	lua_pop(L, 1);
	type = lua_getfield(L, reader->index + 1, "timeout_ms");
	if (type == LUA_TNIL) {
		lua_pop(L, 1);
		return PV_CLOCK_NEVER;
	}
	if (type != LUA_TNUMBER)
		luaL_error(L, "%s: timeout_ms must be a number, got %s", reader->function,
		    pv_lua_argument_type(L, -1));
	double ms = lua_tonumber(L, -1);
	if (!(isfinite(ms) && ms >= 0))
		refuse_timeout(L, reader);
	ns = ms >= 9e12 ? PV_CLOCK_NEVER : (int64_t)(ms * 1e6);
	lua_pop(L, 1);
	return ns;
}

/* For commands that nobody waits for. */
static void refuse_limits(lua_State *L, const struct reader *reader)
{
	static const char *const keys[] = {"timeout", "timeout_ms"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (lua_getfield(L, reader->index + 1, keys[i]) != LUA_TNIL)
			luaL_error(L,
			    "%s: %s is not for a program that goes on in the background; "
			    "give the limit to proc:wait(timeout)",
			    reader->function, keys[i]);
		lua_pop(L, 1);
	}
}

/* The options table. Leaves what it needs on the stack. */
static void read_options(lua_State *L, const struct reader *reader, const char *command)
{
	struct pv_agent_exec *exec = reader->exec;
	int table = reader->index + 1;
	if (reader->waits)
		exec->timeout_ns = read_timeout(L, reader);
	else
		refuse_limits(L, reader);
	exec->env_clear = pv_lua_argument_flag(L, table, "env_clear", false, reader->function);
	if (lua_getfield(L, table, "cwd") != LUA_TNIL)
		exec->cwd = pv_lua_argument_name(L, -1, reader->function, "cwd");
	if (lua_getfield(L, table, "stdin") != LUA_TNIL)
		exec->input =
		    pv_lua_argument_data(L, -1, reader->function, "stdin", &exec->input_len);
	if (lua_getfield(L, table, "env") != LUA_TNIL)
		take_env(L, reader);
	if (lua_getfield(L, table, "args") != LUA_TNIL)
		take_args(L, reader, lua_gettop(L), command);
	else
		take_shell(L, reader, command);
}

void pv_lua_command_read(
    lua_State *L, int index, const char *function, bool waits, struct pv_agent_exec *exec)
{
	const struct reader reader = {
	    .function = function, .index = index, .waits = waits, .exec = exec};
	*exec = (struct pv_agent_exec){.timeout_ns = PV_CLOCK_NEVER};
	if (lua_isnone(L, index))
		luaL_error(L, "%s: missing command string", function);
	if (lua_gettop(L) > index + 1)
		luaL_error(L, "%s: expected a command and at most one table, got %d arguments",
		    function, lua_gettop(L) - index + 1);
	const char *command = pv_lua_argument_text(L, index, function, "command");
	luaL_checkstack(L, 32, function);
	if (lua_isnoneornil(L, index + 1))
		take_shell(L, &reader, command);
	else if (!lua_istable(L, index + 1))
		luaL_error(L,
		    "%s: the second argument must be a table of arguments or options, got %s",
		    function, pv_lua_argument_type(L, index + 1));
	else if (is_options(L, index + 1))
		read_options(L, &reader, command);
	else
		take_args(L, &reader, index + 1, command);
}

int pv_lua_command_run(lua_State *L)
{
	struct pv_agent_exec exec;
	struct pv_err err = PV_ERR_INIT;
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	pv_lua_command_read(L, 2, self.function, true, &exec);
	struct pv_agent_exec_result *result = pv_lua_run_result_new(L);
	pv_lua_principal_reach(L, &self);
	if (pv_agent_exec(&self.by, &exec, result, &err) < 0) {
		pv_lua_run_result_release(result);
		return pv_lua_principal_raise(L, &self, &err);
	}
	pv_lua_run_result_push(L, result);
	return 1;
}
