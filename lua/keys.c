/*
 * Sorted keys. The first value pushed is an anchor table that holds each key and its text (slots
 * 2n-1 and 2n), the second a userdata with the array. Script thread only.
 */
#include "lua/keys.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	const struct pv_lua_key *left = a, *right = b;
	size_t len = left->len < right->len ? left->len : right->len;
	int order = memcmp(left->text, right->text, len);
	if (order != 0)
		return order;
	return left->len < right->len ? -1 : left->len > right->len;
}

/* Pushes the text of the key on top. */
static void push_text(lua_State *L, const char *what)
{
	switch (lua_type(L, -1)) {
	case LUA_TSTRING:
	case LUA_TNUMBER:
	case LUA_TBOOLEAN: luaL_tolstring(L, -1, NULL); return;
	default: luaL_error(L, "%s: unsupported key type `%s`", what, luaL_typename(L, -1));
	}
}

size_t pv_lua_keys_sort(lua_State *L, int index, const char *what, const struct pv_lua_key **out)
{
	size_t count = 0;
	index = lua_absindex(L, index);
	luaL_checkstack(L, 8, "too many nested tables");
	lua_newtable(L);
	int anchor = lua_gettop(L);
	lua_pushnil(L);
	while (lua_next(L, index) != 0) {
		lua_pop(L, 1);
		count++;
		push_text(L, what);
		lua_rawseti(L, anchor, (lua_Integer)(2 * count));
		lua_pushvalue(L, -1);
		lua_rawseti(L, anchor, (lua_Integer)(2 * count - 1));
	}
	struct pv_lua_key *keys = lua_newuserdatauv(L, (count > 0 ? count : 1) * sizeof(*keys), 0);
	for (size_t i = 0; i < count; i++) {
		keys[i].slot = (lua_Integer)(2 * i + 1);
		lua_rawgeti(L, anchor, keys[i].slot + 1);
		keys[i].text = lua_tolstring(L, -1, &keys[i].len);
		lua_pop(L, 1); /* the anchor keeps it */
	}
	qsort(keys, count, sizeof(*keys), compare);
	*out = keys;
	return count;
}

void pv_lua_keys_push_value(lua_State *L, int table, int anchor, const struct pv_lua_key *key)
{
	table = lua_absindex(L, table);
	lua_rawgeti(L, anchor, key->slot);
	lua_rawget(L, table);
}
