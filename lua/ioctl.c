/*
 * vm:ioctl: a system call whose first argument is a file that the agent holds open for the script,
 * and whose third points to `data`. `data` is the first buffer of the call, what it refers to are
 * the others. Script thread only.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/file.h"
#include "lua/principal.h"
#include "lua/syscall.h"

#define ADDRESS_SIZE 8

/* What is being read; lists are in userdata on the stack. */
struct ioctl {
	const char *function;
	struct pv_agent_syscall call;
	int64_t args[3];
	int64_t ptr;
	bool has_data;
	char path[256]; /* of a File, for sentences */
};

/* The array `key` of the table at 5, or nil; pushed. */
static size_t push_array(lua_State *L, const char *function, const char *key)
{
	int type = lua_getfield(L, 5, key);
	if (type != LUA_TNIL && type != LUA_TTABLE)
		luaL_error(L, "%s: %s must be an array, got %s", function, key,
		    pv_lua_argument_type(L, -1));
	return type == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
}

static void refuse_unknown_keys(lua_State *L, const char *function)
{
	lua_pushnil(L);
	while (lua_next(L, 5) != 0) {
		lua_pop(L, 1);
		const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
		if (strcmp(key, "bufs") != 0 && strcmp(key, "ptr_offsets") != 0)
			luaL_error(L, "%s: unknown option `%s` (known: bufs, ptr_offsets)",
			    function, luaL_tolstring(L, -1, NULL));
	}
}

/* bufs[number] on top joins the content. */
static void add_buffer(
    lua_State *L, struct ioctl *ioctl, struct pv_bytes *content, int64_t *lens, size_t number)
{
	size_t len;
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "%s: bufs[%d] must be a string, got %s", ioctl->function, (int)number,
		    pv_lua_argument_type(L, -1));
	const char *data = lua_tolstring(L, -1, &len);
	if (content->len + len > PV_AGENT_MEMORY_MAX)
		luaL_error(L, "%s: bufs are longer than %I bytes together", ioctl->function,
		    (LUAI_UACINT)PV_AGENT_MEMORY_MAX);
	pv_lua_buffer_add(L, content, data, len);
	lens[number] = (int64_t)len;
}

static void check_offset(
    lua_State *L, const struct ioctl *ioctl, lua_Integer offset, int64_t len, int number)
{
	if (offset < 0 || len < ADDRESS_SIZE || offset > len - ADDRESS_SIZE)
		luaL_error(L,
		    "%s: ptr_offsets[%d]: the 8 bytes of an address do not fit at %I, data has %I "
		    "bytes",
		    ioctl->function, number, (LUAI_UACINT)offset, (LUAI_UACINT)len);
}

/* The bytes at 4 and the options at 5. */
static void read_data(lua_State *L, struct ioctl *ioctl)
{
	struct pv_agent_syscall *call = &ioctl->call;
	size_t len, count = 0, offsets = 0;
	const char *data = lua_tolstring(L, 4, &len);
	if (pv_lua_argument_table(L, 5, ioctl->function, "opts")) {
		refuse_unknown_keys(L, ioctl->function);
		count = push_array(L, ioctl->function, "bufs");
		offsets = push_array(L, ioctl->function, "ptr_offsets");
	}
	if (count != offsets)
		luaL_error(L, "%s: ptr_offsets has %d values for %d bufs", ioctl->function,
		    (int)offsets, (int)count);
	if (count >= PV_AGENT_NESTED_MAX || len > PV_AGENT_MEMORY_MAX)
		luaL_error(L, "%s: too many bufs, or data is too long", ioctl->function);
	int arrays = lua_gettop(L);
	struct pv_bytes *content = pv_lua_buffer_new(L);
	int64_t *lens = lua_newuserdatauv(L, (count + 1) * sizeof(*lens), 0);
	int64_t *nested = lua_newuserdatauv(L, (3 * count + 1) * sizeof(*nested), 0);
	pv_lua_buffer_add(L, content, data, len);
	lens[0] = (int64_t)len;
	for (size_t i = 1; i <= count; i++) {
		lua_rawgeti(L, arrays - 1, (lua_Integer)i);
		add_buffer(L, ioctl, content, lens, i);
		lua_rawgeti(L, arrays, (lua_Integer)i);
		lua_Integer offset = pv_lua_argument_integer(L, -1, ioctl->function, "ptr_offsets");
		check_offset(L, ioctl, offset, (int64_t)len, (int)i);
		memcpy(
		    &nested[3 * (i - 1)], (int64_t[]){0, (int64_t)i, offset}, 3 * sizeof(*nested));
		lua_pop(L, 2);
	}
	ioctl->has_data = true;
	ioctl->ptr = 2;
	call->lens = lens;
	call->buf_count = count + 1;
	call->ptrs = &ioctl->ptr;
	call->ptr_count = 1;
	call->nested = nested;
	call->nested_count = count;
	call->data = content->data;
	call->len = content->len;
}

static void read_arguments(lua_State *L, struct ioctl *ioctl)
{
	ioctl->args[1] = pv_lua_argument_integer(L, 3, ioctl->function, "cmd");
	int type = lua_type(L, 4);
	if (type == LUA_TSTRING)
		read_data(L, ioctl);
	else if (type == LUA_TNUMBER)
		ioctl->args[2] = pv_lua_argument_integer(L, 4, ioctl->function, "data");
	else if (!lua_isnoneornil(L, 4))
		luaL_error(L, "%s: data must be a string or an integer, got %s", ioctl->function,
		    pv_lua_argument_type(L, 4));
	if (!ioctl->has_data && pv_lua_argument_table(L, 5, ioctl->function, "opts"))
		luaL_error(L, "%s: opts need data that refers to bufs", ioctl->function);
	ioctl->call.nr = SYS_ioctl;
	ioctl->call.args = ioctl->args;
	ioctl->call.arg_count = 3;
}

/* The handle at 2 when that is no File, which has its own. */
static void read_handle(lua_State *L, struct ioctl *ioctl)
{
	if (pv_lua_file_is(L, 2))
		return;
	if (lua_type(L, 2) != LUA_TNUMBER)
		luaL_error(L, "%s: file must be a File or its handle, got %s", ioctl->function,
		    pv_lua_argument_type(L, 2));
	ioctl->call.handle = pv_lua_argument_integer(L, 2, ioctl->function, "file");
	if (ioctl->call.handle < 1)
		luaL_error(L, "%s: file: %I is no handle; give a File or file:fd()",
		    ioctl->function, (LUAI_UACINT)ioctl->call.handle);
}

/* The way to who has the file open. */
static void reach(lua_State *L, struct ioctl *ioctl, struct pv_lua_principal *self)
{
	struct pv_lua_file_view view;
	if (ioctl->call.handle != 0) {
		pv_lua_principal_reach(L, self);
		return;
	}
	pv_lua_file_view(L, 2, ioctl->function, "ioctl", &view);
	if (view.vm != self->vm)
		luaL_error(L, "%s: file is of another guest, vm `%s`", ioctl->function,
		    pv_vm_name(view.vm));
	self->by = view.by;
	ioctl->call.handle = view.handle;
	strncpy(ioctl->path, view.path, sizeof(ioctl->path) - 1);
}

static void push_result(
    lua_State *L, const struct ioctl *ioctl, const struct pv_agent_syscall_result *result)
{
	const char *at = (const char *)result->out.data;
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, result->ret);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "ret");
	lua_setfield(L, -2, "result");
	size_t len = ioctl->has_data ? (size_t)ioctl->call.lens[0] : 0;
	lua_pushlstring(L, len > 0 ? at : "", len);
	lua_setfield(L, -2, "out_data");
	lua_newtable(L);
	for (size_t i = 1; i < ioctl->call.buf_count; i++) {
		at += len;
		len = (size_t)ioctl->call.lens[i];
		lua_pushlstring(L, len > 0 ? at : "", len);
		lua_rawseti(L, -2, (lua_Integer)i);
	}
	lua_setfield(L, -2, "out_bufs");
}

/* vm:ioctl(file, cmd, data, {bufs, ptr_offsets}) */
int pv_lua_ioctl(lua_State *L)
{
	char text[256];
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	struct ioctl ioctl = {.function = self.function};
	read_handle(L, &ioctl);
	lua_settop(L, 5);
	luaL_checkstack(L, 16, self.function);
	read_arguments(L, &ioctl);
	reach(L, &ioctl, &self);
	struct pv_bytes *kept = pv_lua_buffer_new(L);
	struct pv_agent_syscall_result result;
	int status = pv_agent_syscall(&self.by, &ioctl.call, &result, &err);
	if (status == 0)
		*kept = result.out; /* the collector's from now on */
	if (status == 0 && result.code != 0)
		status = pv_err_set(&err, PV_ERR_GUEST, result.code, "%s",
		    strerror_r(result.code, text, sizeof(text)));
	if (status < 0) {
		pv_err_prefix(&err, ioctl.path[0] != '\0' ? "ioctl `%s`" : "ioctl%s", ioctl.path);
		return pv_lua_principal_raise(L, &self, &err);
	}
	push_result(L, &ioctl, &result);
	return 1;
}
