/*
 * json.encode (spec section 20). A table whose keys are all positive integers is an array, holes
 * are null; the empty table is `{}`; other tables are objects with their keys as strings, in order.
 * NaN and the infinities are null. Floats keep a `.0` or an exponent, so that they come back as
 * floats. Strings are sent as they are, with each byte that is part of no UTF-8 character replaced
 * by U+FFFD: the result is valid JSON whatever the string holds. Raw access: metatables are not
 * asked. Script thread only.
 */
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "lua/buffer.h"
#include "lua/json.h"
#include "lua/keys.h"

/* Deeper than any sane document; a table that holds itself ends here. */
#define DEPTH_MAX 256

/* An array may have this many holes, and some more for every element. */
#define HOLES_MAX	  1024
#define HOLES_PER_ELEMENT 8

static void put(lua_State *L, struct pv_bytes *out, const char *text)
{
	pv_lua_buffer_add(L, out, text, strlen(text));
}

/* Adds one byte of a string that cannot stand for itself. */
static void put_escape(lua_State *L, struct pv_bytes *out, uint8_t c)
{
	char escape[8];
	switch (c) {
	case '"': put(L, out, "\\\""); return;
	case '\\': put(L, out, "\\\\"); return;
	case '\b': put(L, out, "\\b"); return;
	case '\f': put(L, out, "\\f"); return;
	case '\n': put(L, out, "\\n"); return;
	case '\r': put(L, out, "\\r"); return;
	case '\t': put(L, out, "\\t"); return;
	default: break;
	}
	if (c >= 0x80) {
		put(L, out, "\xef\xbf\xbd");
		return;
	}
	snprintf(escape, sizeof(escape), "\\u%04x", c);
	put(L, out, escape);
}

static void put_string(lua_State *L, struct pv_bytes *out, const char *text, size_t len)
{
	size_t good = 0; /* bytes at `text` that stand for themselves and are not yet added */
	put(L, out, "\"");
	while (good < len) {
		uint8_t c = (uint8_t)text[good];
		size_t step = pv_utf8_length(text + good, len - good);
		if (step > 1 || (step == 1 && c >= ' ' && c != '"' && c != '\\')) {
			good += step;
			continue;
		}
		pv_lua_buffer_add(L, out, text, good);
		put_escape(L, out, c);
		text += good + 1;
		len -= good + 1;
		good = 0;
	}
	pv_lua_buffer_add(L, out, text, good);
	put(L, out, "\"");
}

/* The shortest text that reads back as the same number. */
static void put_float(lua_State *L, struct pv_bytes *out, double value)
{
	char text[40];
	if (!isfinite(value)) {
		put(L, out, "null");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	/* os.setlocale may have changed the decimal point. */
	for (char *at = text; *at != '\0'; at++) {
		if (strchr("0123456789+-e", *at) == NULL)
			*at = '.';
	}
	put(L, out, text);
	if (strpbrk(text, ".e") == NULL)
		put(L, out, ".0");
}

static void put_value(lua_State *L, struct pv_bytes *out, int depth);

/* True when all keys of the table on top are positive integers and there is one; `*last` is the
 * largest, `*count` their number. */
static bool is_array(lua_State *L, lua_Integer *last, lua_Integer *count)
{
	*last = 0;
	*count = 0;
	lua_pushnil(L);
	while (lua_next(L, -2) != 0) {
		lua_pop(L, 1);
		if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1) {
			lua_pop(L, 1);
			return false;
		}
		if (lua_tointeger(L, -1) > *last)
			*last = lua_tointeger(L, -1);
		++*count;
	}
	return *last > 0;
}

static void put_array(
    lua_State *L, struct pv_bytes *out, lua_Integer last, lua_Integer count, int depth)
{
	if (last - count > HOLES_MAX && (last - count) / HOLES_PER_ELEMENT > count)
		luaL_error(L,
		    "json.encode: an array with %I elements has the index %I: too many holes",
		    (LUAI_UACINT)count, (LUAI_UACINT)last);
	for (lua_Integer i = 1; i <= last; i++) {
		put(L, out, i == 1 ? "[" : ",");
		lua_rawgeti(L, -1, i);
		put_value(L, out, depth + 1);
		lua_pop(L, 1);
	}
	put(L, out, "]");
}

static void put_object(lua_State *L, struct pv_bytes *out, int depth)
{
	const struct pv_lua_key *keys;
	int table = lua_gettop(L);
	size_t count = pv_lua_keys_sort(L, table, "json.encode", &keys);
	put(L, out, "{");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			put(L, out, ",");
		put_string(L, out, keys[i].text, keys[i].len);
		put(L, out, ":");
		pv_lua_keys_push_value(L, table, table + 1, &keys[i]);
		put_value(L, out, depth + 1);
		lua_pop(L, 1);
	}
	put(L, out, "}");
	lua_settop(L, table);
}

static void put_table(lua_State *L, struct pv_bytes *out, int depth)
{
	lua_Integer last, count;
	if (depth >= DEPTH_MAX)
		luaL_error(L,
		    "json.encode: nested deeper than %d levels (a table that holds itself?)",
		    DEPTH_MAX);
	luaL_checkstack(L, 16, "json.encode");
	if (is_array(L, &last, &count))
		put_array(L, out, last, count, depth);
	else
		put_object(L, out, depth);
}

/* The value on top. */
static void put_value(lua_State *L, struct pv_bytes *out, int depth)
{
	size_t len;
	const char *text;
	switch (lua_type(L, -1)) {
	case LUA_TNIL: put(L, out, "null"); break;
	case LUA_TBOOLEAN: put(L, out, lua_toboolean(L, -1) ? "true" : "false"); break;
	case LUA_TNUMBER:
		if (!lua_isinteger(L, -1)) {
			put_float(L, out, lua_tonumber(L, -1));
			break;
		}
		text = luaL_tolstring(L, -1, &len);
		pv_lua_buffer_add(L, out, text, len);
		lua_pop(L, 1);
		break;
	case LUA_TSTRING:
		text = lua_tolstring(L, -1, &len);
		put_string(L, out, text, len);
		break;
	case LUA_TTABLE: put_table(L, out, depth); break;
	default: luaL_error(L, "json.encode: unsupported value type `%s`", luaL_typename(L, -1));
	}
}

/* json.encode(value) */
int pv_lua_json_encode(lua_State *L)
{
	if (lua_isnone(L, 1))
		return luaL_error(L, "json.encode: value is missing");
	lua_settop(L, 1);
	struct pv_bytes *out = pv_lua_buffer_new(L);
	lua_insert(L, 1);
	put_value(L, out, 0);
	lua_settop(L, 1);
	pv_lua_buffer_push(L, out);
	return 1;
}
