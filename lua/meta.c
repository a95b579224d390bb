/*
 * Meta tables (spec section 4; events-and-protocol section 3). They are converted once, when the
 * test is registered, so that a mistake in one is reported with the line of its test(), and what
 * the events carry cannot change later. Raw access: metatables of the values are not asked. Script
 * thread only.
 */
#include "lua/meta.h"

#include <lauxlib.h>
#include <string.h>

#include "base/pack.h"
#include "base/utf8.h"
#include "lua/duration.h"
#include "lua/keys.h"
#include "lua/type.h"

#define TYPE_NAME "provium.meta"

/* An event nests this in a few levels of its own, and readers stop at 32. */
#define DEPTH_MAX 16

static int collect(lua_State *L)
{
	pv_lua_meta_finish(luaL_testudata(L, 1, TYPE_NAME));
	return 0;
}

struct pv_lua_meta *pv_lua_meta_new(lua_State *L)
{
	struct pv_lua_meta *meta = pv_lua_type_box(L, TYPE_NAME, sizeof(*meta), collect);
	meta->timeout_ns = -1;
	return meta;
}

void pv_lua_meta_finish(struct pv_lua_meta *meta)
{
	if (meta == NULL)
		return;
	pv_bytes_finish(&meta->packed);
	pv_bytes_finish(&meta->skip);
	*meta = (struct pv_lua_meta){.timeout_ns = -1};
}

static void pack_value(lua_State *L, struct pv_pack *pack, int depth);

/* The table on top, as an array of its elements 1 to #t. */
static void pack_array(lua_State *L, struct pv_pack *pack, lua_Unsigned count, int depth)
{
	if (count > UINT32_MAX)
		luaL_error(
		    L, "test: meta: an array of %I elements is too long", (LUAI_UACINT)count);
	pv_pack_array(pack, (uint32_t)count);
	for (lua_Unsigned i = 1; i <= count; i++) {
		lua_rawgeti(L, -1, (lua_Integer)i);
		pack_value(L, pack, depth + 1);
		lua_pop(L, 1);
	}
}

/* Map keys are text for readers. */
static void pack_key(lua_State *L, struct pv_pack *pack, const struct pv_lua_key *key)
{
	if (pv_utf8_is_valid(key->text, key->len))
		pv_pack_strn(pack, key->text, key->len);
	else
		luaL_error(L, "test: meta: a key is not valid UTF-8");
}

/* The table on top, as a map. */
static void pack_map(lua_State *L, struct pv_pack *pack, int depth)
{
	const struct pv_lua_key *keys;
	int table = lua_gettop(L);
	size_t count = pv_lua_keys_sort(L, table, "test: meta", &keys);
	pv_pack_map(pack, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		pack_key(L, pack, &keys[i]);
		pv_lua_keys_push_value(L, table, table + 1, &keys[i]);
		pack_value(L, pack, depth + 1);
		lua_pop(L, 1);
	}
	lua_settop(L, table);
}

static void pack_string(lua_State *L, struct pv_pack *pack)
{
	size_t len;
	const char *text = lua_tolstring(L, -1, &len);
	if (pv_utf8_is_valid(text, len))
		pv_pack_strn(pack, text, len);
	else
		pv_pack_bin(pack, text, len);
}

/* The value on top. */
static void pack_value(lua_State *L, struct pv_pack *pack, int depth)
{
	if (depth > DEPTH_MAX)
		luaL_error(L,
		    "test: meta: nested deeper than %d levels (a table that holds itself?)",
		    DEPTH_MAX);
	luaL_checkstack(L, 4, "meta");
	switch (lua_type(L, -1)) {
	case LUA_TNIL: pv_pack_nil(pack); break;
	case LUA_TBOOLEAN: pv_pack_bool(pack, lua_toboolean(L, -1)); break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, -1))
			pv_pack_int(pack, lua_tointeger(L, -1));
		else
			pv_pack_float(pack, lua_tonumber(L, -1));
		break;
	case LUA_TSTRING: pack_string(L, pack); break;
	case LUA_TTABLE:
		if (depth > 0 && lua_rawlen(L, -1) > 0)
			pack_array(L, pack, lua_rawlen(L, -1), depth);
		else
			pack_map(L, pack, depth);
		break;
	default:
		luaL_error(L,
		    "test: meta: cannot ship a %s; use booleans, numbers, strings and tables of "
		    "these",
		    luaL_typename(L, -1));
	}
}

/* True, or a number that is not 0. */
static bool is_on(lua_State *L)
{
	if (lua_type(L, -1) == LUA_TNUMBER)
		return lua_tonumber(L, -1) != 0;
	return lua_toboolean(L, -1);
}

static void read_skip(lua_State *L, struct pv_lua_meta *meta)
{
	size_t len;
	lua_pushliteral(L, "skip");
	lua_rawget(L, -2);
	meta->has_skip = is_on(L);
	int status = 0;
	if (lua_type(L, -1) == LUA_TSTRING) {
		const char *text = lua_tolstring(L, -1, &len);
		status = pv_bytes_append(&meta->skip, "skipped: ", 9);
		if (status == 0)
			status = pv_utf8_clean(&meta->skip, text, len);
	} else if (meta->has_skip) {
		status = pv_bytes_append(&meta->skip, "skipped (meta.skip)", 19);
	}
	if (status < 0)
		luaL_error(L, "not enough memory");
	lua_pop(L, 1);
}

static void read_slow(lua_State *L, struct pv_lua_meta *meta)
{
	lua_pushliteral(L, "slow");
	lua_rawget(L, -2);
	meta->slow = (lua_isboolean(L, -1) || lua_type(L, -1) == LUA_TNUMBER) && is_on(L);
	lua_pop(L, 1);
}

static void read_expect_oops(lua_State *L, struct pv_lua_meta *meta)
{
	lua_pushliteral(L, "expect_oops");
	lua_rawget(L, -2);
	if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
		luaL_error(
		    L, "test: meta.expect_oops must be a boolean, got %s", luaL_typename(L, -1));
	meta->expect_oops = lua_toboolean(L, -1);
	lua_pop(L, 1);
}

static void read_timeout(lua_State *L, struct pv_lua_meta *meta)
{
	lua_pushliteral(L, "timeout");
	lua_rawget(L, -2);
	meta->timeout_ns = pv_lua_duration_get(L, -1, "test: meta.timeout", -1);
	lua_pop(L, 1);
}

void pv_lua_meta_read(lua_State *L, int index, struct pv_lua_meta *meta)
{
	struct pv_pack pack = {.out = &meta->packed};
	if (index == 0) {
		pv_pack_map(&pack, 0);
	} else {
		lua_pushvalue(L, index);
		read_skip(L, meta);
		read_slow(L, meta);
		read_expect_oops(L, meta);
		read_timeout(L, meta);
		pack_value(L, &pack, 0);
		lua_pop(L, 1);
	}
	if (pack.status < 0)
		luaL_error(L, "not enough memory");
}
