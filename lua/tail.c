/*
 * Tails: files by name, open files, and through pv_lua_tail_new the output of processes. That a
 * file was replaced (rotation) is no byte of the stream: `tail:notices()` tells where. Script
 * thread only.
 */
#include "lua/tail.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/file.h"
#include "lua/principal.h"
#include "lua/stream.h"

static int take(struct pv_lua_stream *stream, size_t max, int64_t deadline_ns, struct pv_bytes *out,
    struct pv_err *err)
{
	int status = pv_vm_stream_take(stream->vm, stream->agent, max, deadline_ns, out, err);
	if (status == 0 && pv_agent_stream_is_truncated(stream->agent))
		snprintf(stream->end, sizeof(stream->end), "the file was truncated");
	return status;
}

static bool is_over(struct pv_lua_stream *stream)
{
	return pv_agent_stream_is_over(stream->agent);
}

static void close_source(struct pv_lua_stream *stream)
{
	pv_agent_stream_close(stream->agent);
	stream->agent = NULL;
}

static const struct pv_lua_stream_type type = {
    .name = "Tail",
    .noun = "stream",
    .take = take,
    .is_over = is_over,
    .close = close_source,
};

struct pv_lua_stream *pv_lua_tail_new(lua_State *L)
{
	return pv_lua_stream_new(L, &type);
}

/* tail:notices() -> {{kind=, offset=}} */
static int tail_notices(lua_State *L)
{
	uint64_t offset;
	const struct pv_lua_stream *stream = pv_lua_argument_self(L, 1, type.name, "tail:notices");
	lua_newtable(L);
	for (size_t i = 0;
	     stream->agent != NULL && pv_agent_stream_rotation(stream->agent, i, &offset); i++) {
		lua_createtable(L, 0, 2);
		lua_pushliteral(L, "rotated");
		lua_setfield(L, -2, "kind");
		lua_pushinteger(L, (lua_Integer)offset);
		lua_setfield(L, -2, "offset");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* --- making --- */

static int raise_start(lua_State *L, const char *function)
{
	return luaL_error(L,
	    "%s: start must be \"end\", \"beginning\" (or \"start\"), or a byte offset (negative: "
	    "bytes before the end), got %s",
	    function, luaL_tolstring(L, -1, NULL));
}

/* The option `start` of the table at `index`. */
static int64_t check_start(
    lua_State *L, int index, const char *function, enum pv_agent_stream_from *from)
{
	lua_Integer offset = 0;
	*from = PV_AGENT_STREAM_FROM_END;
	if (!pv_lua_argument_table(L, index, function, "opts"))
		return 0;
	switch (lua_getfield(L, index, "start")) {
	case LUA_TNIL: break;
	case LUA_TSTRING: {
		const char *text = lua_tostring(L, -1);
		if (strcmp(text, "beginning") == 0 || strcmp(text, "start") == 0)
			*from = PV_AGENT_STREAM_FROM_START;
		else if (strcmp(text, "end") != 0)
			raise_start(L, function);
		break;
	}
	case LUA_TNUMBER: {
		/* A float is truncated. */
		lua_Number number = trunc(lua_tonumber(L, -1));
		if (lua_isinteger(L, -1))
			offset = lua_tointeger(L, -1);
		else if (!lua_numbertointeger(number, &offset))
			raise_start(L, function);
		*from = offset < 0 ? PV_AGENT_STREAM_FROM_END : PV_AGENT_STREAM_FROM_START;
		break;
	}
	default: raise_start(L, function);
	}
	lua_pop(L, 1);
	return offset;
}

/* vm:tail_file(path, {start = "end"}) */
int pv_lua_tail_file(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	enum pv_agent_stream_from from;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	int64_t offset = check_start(L, 3, self.function, &from);
	pv_lua_principal_reach(L, &self);
	struct pv_lua_stream *stream = pv_lua_tail_new(L);
	if (pv_agent_stream_tail(&self.by, path, from, offset, &stream->agent, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	pv_lua_stream_begin(L, stream, self.vm, "tail_file", path);
	return 1;
}

/* A stream of an open file; the userdata is left on top. */
static int follow(lua_State *L, const struct pv_principal *by, struct pv_vm *vm, int64_t handle,
    const char *function, const char *label, const char *detail)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_lua_stream *stream = pv_lua_tail_new(L);
	if (pv_agent_stream_handle(by, handle, &stream->agent, &err) < 0) {
		pv_err_prefix(&err, "%s `%.300s`", function, detail);
		return pv_lua_error_raise_guest(L, vm, &err);
	}
	pv_lua_stream_begin(L, stream, vm, label, detail);
	return 1;
}

/* vm:fd_stream(handle | File) */
int pv_lua_tail_fd_stream(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_lua_file_view file;
	char detail[32];
	pv_lua_principal_check(L, &self);
	lua_Integer handle = 0;
	if (pv_lua_file_is(L, 2)) {
		pv_lua_file_view(L, 2, self.function, "fd_stream", &file);
		if (file.vm != self.vm)
			return luaL_error(L, "%s: handle is a File of vm `%s`, not of vm `%s`",
			    self.function, pv_vm_name(file.vm), pv_vm_name(self.vm));
		self.by = file.by;
		handle = file.handle;
	} else if (!pv_lua_argument_whole(L, 2, &handle) || handle < 1) {
		return luaL_error(L,
		    "%s: handle must be a File, or the number that file:fd() gives, got %s",
		    self.function, pv_lua_argument_shown(L, 2));
	} else {
		pv_lua_principal_reach(L, &self);
	}
	snprintf(detail, sizeof(detail), "%lld", (long long)handle);
	return follow(L, &self.by, self.vm, handle, self.function, "fd_stream", detail);
}

int pv_lua_tail_of_file(lua_State *L)
{
	struct pv_lua_file_view file;
	pv_lua_argument_self(L, 1, PV_LUA_FILE_TYPE, "file:tail_stream");
	pv_lua_file_view(L, 1, "file:tail_stream", "tail_stream", &file);
	return follow(L, &file.by, file.vm, file.handle, "file:tail_stream", "file_tail_stream",
	    file.path != NULL ? file.path : "");
}

void pv_lua_tail_open(lua_State *L)
{
	pv_lua_stream_open_type(L, &type);
	lua_pushcfunction(L, tail_notices);
	lua_setfield(L, -2, "notices");
	lua_pop(L, 1);
}
