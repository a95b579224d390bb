/*
 * json.decode: parsed by jansson, which gives positions, then turned into Lua values. Objects and
 * arrays become tables, null becomes nil (a member vanishes, an array element leaves a hole),
 * integers that fit 64 bits become Lua integers, other numbers floats. jansson refuses integers
 * that do not fit, so a text with one is parsed a second time with ".0" behind each such integer;
 * the position of another error in such a text is then off by these bytes. Script thread only.
 */
#include "lua/json.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/type.h"

#define TYPE_NAME "provium.json"

#define FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

/* Fewer digits than these always fit. */
#define DIGITS_FIT 18

static int collect(lua_State *L)
{
	json_t **root = luaL_testudata(L, 1, TYPE_NAME);
	if (root != NULL) {
		json_decref(*root);
		*root = NULL;
	}
	return 0;
}

/* Pushes a userdata that owns a parsed document, empty at first. */
static json_t **new_root(lua_State *L)
{
	return pv_lua_type_box(L, TYPE_NAME, sizeof(json_t *), collect);
}

/* Pushes the Lua value of a JSON value. jansson limits the depth to 2048. */
static void push_value(lua_State *L, const json_t *value)
{
	luaL_checkstack(L, 4, "json.decode");
	switch (json_typeof(value)) {
	case JSON_OBJECT: {
		const char *key;
		json_t *member,
		    *object = (json_t *)value; /* the macro wants it so; nothing is changed */
		lua_createtable(L, 0, 0);
		json_object_foreach(object, key, member)
		{
			lua_pushstring(L, key);
			push_value(L, member);
			lua_rawset(L, -3);
		}
		break;
	}
	case JSON_ARRAY:
		lua_newtable(L);
		for (size_t i = 0; i < json_array_size(value); i++) {
			push_value(L, json_array_get(value, i));
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
		break;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER: lua_pushinteger(L, json_integer_value(value)); break;
	case JSON_REAL: lua_pushnumber(L, json_real_value(value)); break;
	case JSON_TRUE: lua_pushboolean(L, true); break;
	case JSON_FALSE: lua_pushboolean(L, false); break;
	default: lua_pushnil(L);
	}
}

/* The end of the string whose opening quote is at `at`. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
	for (at++; at < len && text[at] != '"'; at++) {
		if (text[at] == '\\')
			at++;
	}
	return at < len ? at + 1 : len;
}

/* True when the integer token [begin, end) does not fit a Lua integer. */
static bool is_too_big(const char *text, size_t begin, size_t end)
{
	char digits[24] = {0};
	size_t count = end - begin;
	if (count <= DIGITS_FIT)
		return false;
	if (count >= sizeof(digits))
		return true;
	memcpy(digits, text + begin, count);
	errno = 0;
	strtoll(digits, NULL, 10);
	return errno == ERANGE;
}

/* Pushes a buffer with a copy of the text in which integers that are too big are floats. */
static struct pv_bytes *push_with_floats(lua_State *L, const char *text, size_t len)
{
	struct pv_bytes *out = pv_lua_buffer_new(L);
	for (size_t at = 0, end; at < len; at = end) {
		end = at + 1;
		if (text[at] == '"') {
			end = skip_string(text, len, at);
		} else if (text[at] == '-' || isdigit((unsigned char)text[at])) {
			while (end < len && isdigit((unsigned char)text[end]))
				end++;
			bool big = is_too_big(text, at, end);
			bool real =
			    end < len && strchr(".eE", text[end]) != NULL && text[end] != '\0';
			/* The rest of a real is digits behind `.`, which must not be looked at
			 * again. */
			while (real && end < len &&
			       (isdigit((unsigned char)text[end]) ||
				   strchr(".eE+-", text[end]) != NULL) &&
			       text[end] != '\0')
				end++;
			if (big && !real) {
				pv_lua_buffer_add(L, out, text + at, end - at);
				pv_lua_buffer_add(L, out, ".0", 2);
				continue;
			}
		}
		pv_lua_buffer_add(L, out, text + at, end - at);
	}
	return out;
}

/* json.decode(text) */
static int decode(lua_State *L)
{
	size_t len;
	json_error_t error;
	if (lua_type(L, 1) != LUA_TSTRING)
		return luaL_error(
		    L, "json.decode: text must be a string, got %s", pv_lua_argument_type(L, 1));
	const char *text = lua_tolstring(L, 1, &len);
	json_t **root = new_root(L);
	*root = json_loadb(text, len, FLAGS, &error);
	if (*root == NULL && json_error_code(&error) == json_error_numeric_overflow) {
		struct pv_bytes *copy = push_with_floats(L, text, len);
		*root = json_loadb((const char *)copy->data, copy->len, FLAGS, &error);
		pv_bytes_finish(copy);
	}
	if (*root == NULL)
		return luaL_error(L, "json.decode: line %d, column %d (byte %d): %s", error.line,
		    error.column, error.position, error.text);
	push_value(L, *root);
	json_decref(*root);
	*root = NULL;
	return 1;
}

static const luaL_Reg functions[] = {
    {"decode", decode	     },
    {"encode", pv_lua_json_encode},
    {NULL,	   NULL	       },
};

void pv_lua_json_open(lua_State *L)
{
	luaL_newlib(L, functions);
	lua_setglobal(L, "json");
}
