/*
 * vm:syscall: what a script passes becomes the lists of struct pv_agent_syscall, what comes back
 * becomes a table. Everything is looked at before the guest is asked: a wrong place in `nested`
 * would otherwise be somebody else's memory. Lists live in userdata, the content of one buffer in
 * its Lua string, of several in a buffer of ours. Script thread only.
 */
#include "lua/syscall.h"

#include <string.h>

#include "base/err.h"
#include "base/sys_names.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/error.h"
#include "lua/principal.h"

/* --- numbers --- */

/* The integer on top, or at `index`; `what` with its number names it. */
static int64_t integer_at(
    lua_State *L, int index, const char *function, const char *what, lua_Integer number)
{
	int whole;
	lua_Integer value = lua_tointegerx(L, index, &whole);
	if (lua_type(L, index) != LUA_TNUMBER)
		luaL_error(L, "%s: %s[%I] must be an integer, got %s", function, what,
		    (LUAI_UACINT)number, pv_lua_argument_type(L, index));
	if (!whole)
		luaL_error(L, "%s: %s[%I] must be an integer of 64 bits, got %s", function, what,
		    (LUAI_UACINT)number, luaL_tolstring(L, index, NULL));
	return value;
}

int64_t pv_lua_syscall_number(lua_State *L, int index, const char *function)
{
	int whole;
	int64_t number;
	struct pv_err err = PV_ERR_INIT;
	if (lua_type(L, index) == LUA_TSTRING) {
		const char *name = pv_lua_argument_name(L, index, function, "nr");
		if (pv_sys_names_call(name, &number, &err) < 0) {
			pv_err_prefix(&err, "%s: nr", function);
			pv_lua_error_raise(L, &err);
		}
		return number;
	}
	number = lua_tointegerx(L, index, &whole);
	if (lua_type(L, index) != LUA_TNUMBER)
		luaL_error(L, "%s: nr must be the number or the name of a system call, got %s",
		    function, pv_lua_argument_type(L, index));
	if (!whole)
		luaL_error(L, "%s: nr must be an integer, got %s", function,
		    luaL_tolstring(L, index, NULL));
	return number;
}

/* The arguments from 3 on. */
static void read_arguments(lua_State *L, const char *function, struct pv_lua_syscall *out)
{
	int count = lua_gettop(L) - 2;
	if (count > PV_LUA_SYSCALL_ARGS)
		luaL_error(L, "%s: a system call has at most 6 arguments, got %d", function, count);
	for (int i = 0; i < count; i++) {
		int whole;
		out->args[i] = lua_tointegerx(L, 3 + i, &whole);
		if (lua_type(L, 3 + i) != LUA_TNUMBER)
			luaL_error(L,
			    "%s: a%d must be an integer, got %s (buffers go into a table: {args, "
			    "bufs, ptrs, nested})",
			    function, i + 1, pv_lua_argument_type(L, 3 + i));
		if (!whole)
			luaL_error(L, "%s: a%d must be an integer of 64 bits, got %s", function,
			    i + 1, luaL_tolstring(L, 3 + i, NULL));
	}
	out->call.arg_count = (size_t)count;
}

/* --- the table at 3 --- */

static void refuse_unknown_keys(lua_State *L, const char *function)
{
	static const char *const known[] = {"args", "bufs", "ptrs", "nested"};
	lua_pushnil(L);
	while (lua_next(L, 3) != 0) {
		bool found = false;
		lua_pop(L, 1);
		for (int i = 0; i < 4 && lua_type(L, -1) == LUA_TSTRING; i++)
			found = found || strcmp(lua_tostring(L, -1), known[i]) == 0;
		if (!found)
			luaL_error(L, "%s: unknown key `%s` (known: args, bufs, ptrs, nested)",
			    function, luaL_tolstring(L, -1, NULL));
	}
}

/* Pushes the list `key` of the table at 3 and returns its length; nothing that is there is passed
 * over. Pushes nil for none. */
static size_t push_list(lua_State *L, const char *function, const char *key, size_t most)
{
	int type = lua_getfield(L, 3, key);
	if (type == LUA_TNIL)
		return 0;
	if (type != LUA_TTABLE)
		luaL_error(L, "%s: %s must be an array, got %s", function, key,
		    pv_lua_argument_type(L, -1));
	size_t length = lua_rawlen(L, -1), seen = 0;
	lua_pushnil(L);
	while (lua_next(L, -2) != 0) {
		lua_pop(L, 1);
		seen++;
		if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 ||
		    (size_t)lua_tointeger(L, -1) > length)
			luaL_error(L, "%s: %s must be an array without holes, it has the key `%s`",
			    function, key, luaL_tolstring(L, -1, NULL));
	}
	if (seen != length)
		luaL_error(L, "%s: %s must be an array without holes, %d of %d values are there",
		    function, key, (int)seen, (int)length);
	if (length > most)
		luaL_error(L, "%s: %s has %d values, at most %d are possible", function, key,
		    (int)length, (int)most);
	return length;
}

static int64_t *new_numbers(lua_State *L, size_t count)
{
	return lua_newuserdatauv(L, (count > 0 ? count : 1) * sizeof(int64_t), 0);
}

static void read_args(lua_State *L, const char *function, struct pv_lua_syscall *out)
{
	size_t count = push_list(L, function, "args", PV_LUA_SYSCALL_ARGS);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, -1, (lua_Integer)i + 1);
		out->args[i] = integer_at(L, -1, function, "args", (lua_Integer)i + 1);
		lua_pop(L, 1);
	}
	out->call.arg_count = count;
}

/* Copies all strings of the list at `list` behind one another. */
static void join(lua_State *L, int list, struct pv_agent_syscall *call)
{
	struct pv_bytes *joined = pv_lua_buffer_new(L);
	if (pv_bytes_reserve(joined, call->len) < 0)
		luaL_error(L, "not enough memory");
	for (size_t i = 0; i < call->buf_count; i++) {
		lua_rawgeti(L, list, (lua_Integer)i + 1);
		pv_lua_buffer_add(L, joined, lua_tostring(L, -1), (size_t)call->lens[i]);
		lua_pop(L, 1);
	}
	call->data = joined->data;
}

static void read_bufs(lua_State *L, const char *function, struct pv_agent_syscall *call)
{
	size_t count = push_list(L, function, "bufs", PV_AGENT_BUFFERS_MAX), len;
	int list = lua_gettop(L);
	int64_t *lens = new_numbers(L, count);
	for (size_t i = 0; i < count; i++) {
		if (lua_rawgeti(L, list, (lua_Integer)i + 1) != LUA_TSTRING)
			luaL_error(L, "%s: bufs[%I] must be a string, got %s", function,
			    (LUAI_UACINT)i + 1, pv_lua_argument_type(L, -1));
		call->data = lua_tolstring(L, -1, &len);
		lua_pop(L, 1); /* the list keeps it */
		lens[i] = (int64_t)len;
		call->len += len;
		if (call->len > PV_AGENT_MEMORY_MAX)
			luaL_error(L, "%s: bufs are longer than %I bytes together", function,
			    (LUAI_UACINT)PV_AGENT_MEMORY_MAX);
	}
	call->lens = lens;
	call->buf_count = count;
	if (count > 1)
		join(L, list, call);
}

static void read_ptrs(lua_State *L, const char *function, struct pv_agent_syscall *call)
{
	size_t count = push_list(L, function, "ptrs", PV_LUA_SYSCALL_ARGS);
	if (count > call->buf_count)
		luaL_error(L, "%s: ptrs[%d] has no buffer, there are only %d in bufs", function,
		    (int)call->buf_count + 1, (int)call->buf_count);
	int64_t *ptrs = new_numbers(L, count);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, -2, (lua_Integer)i + 1);
		ptrs[i] = integer_at(L, -1, function, "ptrs", (lua_Integer)i + 1);
		lua_pop(L, 1);
		if (ptrs[i] < 0 || ptrs[i] >= PV_LUA_SYSCALL_ARGS)
			luaL_error(L, "%s: ptrs[%I] must be an argument from 0 to 5, got %I",
			    function, (LUAI_UACINT)i + 1, (LUAI_UACINT)ptrs[i]);
	}
	call->ptrs = ptrs;
	call->ptr_count = count;
}

/* One number of the link on top: at its position, or by its name. */
static int64_t link_number(
    lua_State *L, const char *function, size_t link, int position, const char *key)
{
	if (lua_rawgeti(L, -1, position) == LUA_TNIL) {
		lua_pop(L, 1);
		lua_getfield(L, -1, key);
	}
	lua_Integer value;
	if (!pv_lua_argument_whole(L, -1, &value))
		luaL_error(L, "%s: nested[%d]: %s must be an integer, got %s", function,
		    (int)link + 1, key, luaL_tolstring(L, -1, NULL));
	lua_pop(L, 1);
	return value;
}

/* Checks and turns to counting from 0 the link at `at`. */
static void check_link(lua_State *L, const char *function, size_t link,
    const struct pv_agent_syscall *call, int64_t *at)
{
	static const char *const keys[] = {"parent", "child"};
	for (int i = 0; i < 2; i++) {
		if (at[i] < 1 || (uint64_t)at[i] > call->buf_count)
			luaL_error(L, "%s: nested[%d]: %s must be a buffer from 1 to %d, got %I",
			    function, (int)link + 1, keys[i], (int)call->buf_count,
			    (LUAI_UACINT)at[i]);
		at[i]--;
	}
	int64_t len = call->lens[at[0]];
	if (at[2] < 0 || len < 8 || at[2] > len - 8)
		luaL_error(L,
		    "%s: nested[%d]: offset %I: the 8 bytes of an address do not fit there, "
		    "bufs[%I] has %I bytes",
		    function, (int)link + 1, (LUAI_UACINT)at[2], (LUAI_UACINT)at[0] + 1,
		    (LUAI_UACINT)len);
}

static void read_nested(lua_State *L, const char *function, struct pv_agent_syscall *call)
{
	size_t count = push_list(L, function, "nested", PV_AGENT_NESTED_MAX);
	int list = lua_gettop(L);
	int64_t *nested = new_numbers(L, 3 * count);
	for (size_t i = 0; i < count; i++) {
		int64_t *at = &nested[3 * i];
		if (lua_rawgeti(L, list, (lua_Integer)i + 1) != LUA_TTABLE)
			luaL_error(L, "%s: nested[%d] must be {parent, child, offset}, got %s",
			    function, (int)i + 1, pv_lua_argument_type(L, -1));
		at[0] = link_number(L, function, i, 1, "parent");
		at[1] = link_number(L, function, i, 2, "child");
		at[2] = link_number(L, function, i, 3, "offset");
		lua_pop(L, 1);
		check_link(L, function, i, call, at);
	}
	call->nested = nested;
	call->nested_count = count;
}

void pv_lua_syscall_read(lua_State *L, const char *function, struct pv_lua_syscall *out)
{
	*out = (struct pv_lua_syscall){.call = {.nr = pv_lua_syscall_number(L, 2, function)}};
	luaL_checkstack(L, 24, function);
	if (lua_istable(L, 3)) {
		if (lua_gettop(L) > 3)
			luaL_error(L, "%s: nothing can follow the table, got %d more", function,
			    lua_gettop(L) - 3);
		refuse_unknown_keys(L, function);
		read_args(L, function, out);
		read_bufs(L, function, &out->call);
		read_ptrs(L, function, &out->call);
		read_nested(L, function, &out->call);
	} else {
		read_arguments(L, function, out);
	}
	out->call.args = out->args;
	const char *refusal = pv_agent_syscall_refusal(out->call.nr, out->args[0]);
	if (refusal != NULL)
		luaL_error(L, "%s: %s", function, refusal);
}

/* --- results --- */

void pv_lua_syscall_push(
    lua_State *L, const struct pv_agent_syscall_result *result, const int64_t *lens, size_t count)
{
	const char *at = (const char *)result->out.data;
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, result->ret);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "ret");
	lua_setfield(L, -2, "result");
	lua_pushinteger(L, result->code);
	lua_setfield(L, -2, "errno");
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_pushlstring(L, lens[i] > 0 ? at : "", (size_t)lens[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
		at += lens[i];
	}
	lua_setfield(L, -2, "out_bufs");
}

/* vm:syscall(nr, a1 ... a6), vm:syscall(nr, {args, bufs, ptrs, nested}) */
int pv_lua_syscall_now(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_lua_syscall syscall;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	pv_lua_syscall_read(L, self.function, &syscall);
	pv_lua_principal_reach(L, &self);
	const struct pv_agent_syscall *call = &syscall.call;
	struct pv_bytes *kept = call->buf_count > 0 ? pv_lua_buffer_new(L) : NULL;
	struct pv_agent_syscall_result result;
	if (pv_agent_syscall(&self.by, call, &result, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	if (kept != NULL)
		*kept = result.out; /* the collector's from now on */
	pv_lua_syscall_push(L, &result, call->lens, call->buf_count);
	if (kept != NULL)
		pv_bytes_finish(kept);
	return 1;
}
