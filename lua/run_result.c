/*
 * RunResult: a table with plain fields and three methods in its metatable, so that scripts can look
 * at it, copy it, and change it as they like. The agent client's result travels in a userdata until
 * its bytes are Lua strings. Script thread only.
 */
#include "lua/run_result.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/utf8.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/type.h"

#define TYPE_NAME "RunResult"
#define BOX_NAME  "provium.exec_result"

/* How much of each output an assert_ok error shows: the end of it, because that is where programs
 * say what went wrong. */
#define SHOWN_MAX (16u << 10)

void pv_lua_run_result_release(struct pv_agent_exec_result *result)
{
	pv_bytes_finish(&result->out);
	pv_bytes_finish(&result->err);
}

static int collect(lua_State *L)
{
	struct pv_agent_exec_result *result = luaL_testudata(L, 1, BOX_NAME);
	if (result != NULL)
		pv_lua_run_result_release(result);
	return 0;
}

struct pv_agent_exec_result *pv_lua_run_result_new(lua_State *L)
{
	return pv_lua_type_box(L, BOX_NAME, sizeof(struct pv_agent_exec_result), collect);
}

static void set_outcome(lua_State *L, const struct pv_agent_exec_result *result)
{
	const char *status = "exited";
	lua_Integer exit_code = result->code;
	if (result->kind == PV_AGENT_SIGNALLED) {
		status = "signalled";
		exit_code = -1;
		lua_pushinteger(L, result->code);
		lua_setfield(L, -2, "signal");
	} else if (result->kind == PV_AGENT_TIMED_OUT) {
		status = "timed_out";
		exit_code = -2;
	}
	lua_pushinteger(L, exit_code);
	lua_setfield(L, -2, "exit_code");
	lua_pushstring(L, status);
	lua_setfield(L, -2, "status");
	lua_pushboolean(L, result->kind == PV_AGENT_TIMED_OUT);
	lua_setfield(L, -2, "timed_out");
}

void pv_lua_run_result_push(lua_State *L, struct pv_agent_exec_result *result)
{
	lua_createtable(L, 0, 6);
	set_outcome(L, result);
	pv_lua_buffer_push(L, &result->out);
	lua_setfield(L, -2, "stdout");
	pv_lua_buffer_push(L, &result->err);
	lua_setfield(L, -2, "stderr");
	luaL_setmetatable(L, TYPE_NAME);
}

/* Raises unless argument 1 is a RunResult. */
static void check_self(lua_State *L, const char *function)
{
	bool same = false;
	if (lua_istable(L, 1) && lua_getmetatable(L, 1)) {
		luaL_getmetatable(L, TYPE_NAME);
		same = lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	if (!same)
		luaL_error(L,
		    "%s: expected a RunResult before the arguments, got %s; call methods with a "
		    "colon",
		    function, pv_lua_argument_type(L, 1));
}

static bool is_ok(lua_State *L)
{
	lua_getfield(L, 1, "exit_code");
	bool ok = lua_isinteger(L, -1) && lua_tointeger(L, -1) == 0;
	lua_pop(L, 1);
	return ok;
}

static int result_ok(lua_State *L)
{
	check_self(L, "result:ok");
	lua_pushboolean(L, is_ok(L));
	return 1;
}

/* Adds `text` in double quotes with control characters and bytes that are no UTF-8 escaped. */
static void add_quoted(lua_State *L, struct pv_bytes *out, const char *text, size_t len)
{
	char escape[8];
	pv_lua_buffer_add(L, out, "\"", 1);
	for (size_t at = 0, step = 1; at < len; at += step) {
		uint8_t c = (uint8_t)text[at];
		step = pv_utf8_length(text + at, len - at);
		if (step > 1 || (step == 1 && c >= ' ' && c != 0x7f && c != '"' && c != '\\')) {
			pv_lua_buffer_add(L, out, text + at, step);
			continue;
		}
		step = 1;
		switch (c) {
		case '\n': lua_pushliteral(L, "\\n"); break;
		case '\r': lua_pushliteral(L, "\\r"); break;
		case '\t': lua_pushliteral(L, "\\t"); break;
		case '"': lua_pushliteral(L, "\\\""); break;
		case '\\': lua_pushliteral(L, "\\\\"); break;
		default:
			escape[0] = '\\';
			escape[1] = 'x';
			escape[2] = "0123456789abcdef"[c >> 4];
			escape[3] = "0123456789abcdef"[c & 15];
			lua_pushlstring(L, escape, 4);
		}
		size_t escape_len;
		const char *escaped = lua_tolstring(L, -1, &escape_len);
		pv_lua_buffer_add(L, out, escaped, escape_len);
		lua_pop(L, 1);
	}
	pv_lua_buffer_add(L, out, "\"", 1);
}

/* Adds ` stdout="..."` from a field of the result at 1. */
static void add_output(lua_State *L, struct pv_bytes *out, const char *field)
{
	size_t len = 0;
	lua_getfield(L, 1, field);
	const char *text = luaL_tolstring(L, -1, &len);
	lua_pushfstring(L, " %s=", field);
	size_t label_len;
	const char *label = lua_tolstring(L, -1, &label_len);
	pv_lua_buffer_add(L, out, label, label_len);
	if (len > SHOWN_MAX) {
		lua_pushfstring(L, "(%I bytes before) ", (LUAI_UACINT)(len - SHOWN_MAX));
		label = lua_tolstring(L, -1, &label_len);
		pv_lua_buffer_add(L, out, label, label_len);
		text += len - SHOWN_MAX;
		len = SHOWN_MAX;
		lua_pop(L, 1);
	}
	add_quoted(L, out, text, len);
	lua_pop(L, 3);
}

/* Pushes "status=exited code=N stdout="..." stderr="..."", or what the other endings have to say.
 */
static void push_summary(lua_State *L, bool with_output)
{
	struct pv_bytes *out = pv_lua_buffer_new(L);
	lua_getfield(L, 1, "status");
	lua_getfield(L, 1, "signal");
	lua_getfield(L, 1, "exit_code");
	const char *status = luaL_tolstring(L, -3, NULL);
	const char *code = luaL_tolstring(L, -2, NULL);
	const char *signal = luaL_tolstring(L, -4, NULL);
	int nomem;
	if (lua_type(L, -5) != LUA_TNIL)
		nomem = pv_bytes_printf(out, "status=%s signal=%s", status, signal);
	else if (lua_isinteger(L, -4) && lua_tointeger(L, -4) == -2)
		nomem = pv_bytes_printf(out, "status=%s", status);
	else
		nomem = pv_bytes_printf(out, "status=%s code=%s", status, code);
	if (nomem < 0)
		luaL_error(L, "not enough memory");
	if (with_output) {
		add_output(L, out, "stdout");
		add_output(L, out, "stderr");
	}
	pv_lua_buffer_push(L, out);
}

static int result_assert_ok(lua_State *L)
{
	check_self(L, "result:assert_ok");
	if (is_ok(L)) {
		lua_settop(L, 1);
		return 1;
	}
	luaL_where(L, 1);
	lua_pushliteral(L, "command failed: ");
	int first = lua_gettop(L);
	push_summary(L, true);
	lua_replace(L, first + 1);
	lua_settop(L, first + 1);
	lua_concat(L, 3);
	return lua_error(L);
}

static int result_tostring(lua_State *L)
{
	size_t out_len = 0, err_len = 0;
	check_self(L, "tostring");
	push_summary(L, false);
	int summary = lua_gettop(L);
	lua_getfield(L, 1, "stdout");
	lua_getfield(L, 1, "stderr");
	luaL_tolstring(L, -2, &out_len);
	luaL_tolstring(L, -2, &err_len);
	lua_pushfstring(L, "result(%s stdout=%I bytes stderr=%I bytes)", lua_tostring(L, summary),
	    (LUAI_UACINT)out_len, (LUAI_UACINT)err_len);
	return 1;
}

static const luaL_Reg methods[] = {
    {"ok",	   result_ok	    },
    {"assert_ok", result_assert_ok},
    {NULL,	   NULL	       },
};

void pv_lua_run_result_open(lua_State *L)
{
	luaL_newmetatable(L, TYPE_NAME);
	luaL_newlib(L, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, result_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pop(L, 1);
}
