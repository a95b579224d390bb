/*
 * Streams. A source gives bytes in pieces; what a search has read beyond its match, or without
 * finding it, is pending and comes first in whatever is called next, so no byte is lost. A source
 * that has gone with its guest has ended: `next` and `drain` see the end, a search says why.
 *
 * A stream is a resource of its scope from its begin to its close, and counted by its VM. Script
 * thread only.
 */
#include "lua/stream.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/duration.h"
#include "lua/error.h"
#include "lua/type.h"

/* One piece, at most. */
#define PIECE_MAX     (64u << 10)
#define WAIT_DEFAULT  (10 * PV_CLOCK_SECOND)
#define DRAIN_DEFAULT (PV_CLOCK_SECOND / 2)

/* In a stream's metatable: its type (light userdata). */
#define TYPE_FIELD "provium.stream"

struct pv_lua_stream *pv_lua_stream_check(lua_State *L, const char *function)
{
	if (luaL_getmetafield(L, 1, TYPE_FIELD) == LUA_TLIGHTUSERDATA) {
		lua_pop(L, 1);
		return lua_touserdata(L, 1);
	}
	luaL_error(L,
	    "%s: expected a stream before the arguments, got %s; call methods with a colon",
	    function, pv_lua_argument_type(L, 1));
	return NULL;
}

static bool is_open(const struct pv_lua_stream *stream)
{
	return pv_lua_resource_is_open(&stream->resource);
}

/* Takes the next piece to the end of what is pending. Returns true, or false at the end and at the
 * deadline; raises errors. */
static bool take(lua_State *L, struct pv_lua_stream *stream, int64_t deadline_ns, bool *ended)
{
	struct pv_err err = PV_ERR_INIT;
	int status = stream->type->take(stream, PIECE_MAX, deadline_ns, &stream->pending, &err);
	*ended = status == 0 || status == -ECONNRESET;
	if (status == -ECONNRESET)
		snprintf(stream->end, sizeof(stream->end), "%.250s", err.text);
	if (status < 0 && status != -ECONNRESET && status != -ETIMEDOUT)
		pv_lua_error_raise(L, &err);
	return status > 0;
}

/* Pushes the first `len` pending bytes and drops them. */
static void push_pending(lua_State *L, struct pv_lua_stream *stream, size_t len)
{
	lua_pushlstring(L, len > 0 ? (const char *)stream->pending.data : "", len);
	pv_bytes_consume(&stream->pending, len);
}

static size_t piece_of(const struct pv_lua_stream *stream)
{
	return stream->pending.len < PIECE_MAX ? stream->pending.len : PIECE_MAX;
}

/* --- methods --- */

static int stream_next(lua_State *L)
{
	bool ended;
	struct pv_lua_stream *stream = pv_lua_stream_check(L, "stream:next");
	int64_t span = pv_lua_duration_get(L, 2, "stream:next: timeout", WAIT_DEFAULT);
	if (!is_open(stream)) {
		lua_pushnil(L);
		return 1;
	}
	if (stream->pending.len > 0 || take(L, stream, pv_clock_deadline(span), &ended))
		push_pending(L, stream, piece_of(stream));
	else
		lua_pushnil(L);
	return 1;
}

/* "read_until timed out waiting for `X` on tail_file(/x) of vm `v`" */
static int raise_missing(lua_State *L, const struct pv_lua_stream *stream, const char *what,
    const char *pattern, bool ended)
{
	if (ended)
		lua_pushfstring(L, "%s EOF", stream->type->noun);
	else
		lua_pushfstring(L, "%s timed out", what);
	return luaL_error(L, "%s waiting for `%s` on %s(%s) of vm `%s`%s%s", lua_tostring(L, -1),
	    pattern, stream->resource.label,
	    stream->resource.detail != NULL ? stream->resource.detail : "", pv_vm_name(stream->vm),
	    ended && stream->end[0] != '\0' ? ": " : "", ended ? stream->end : "");
}

/* Reads until the pattern at 2 is pending; returns where it ends. Raises when it does not come. */
static size_t search(lua_State *L, struct pv_lua_stream *stream, const char *what)
{
	size_t len, from = 0;
	bool ended = false;
	char text[64];
	snprintf(text, sizeof(text), "stream:%s: timeout", what);
	if (lua_type(L, 2) != LUA_TSTRING)
		luaL_error(L, "stream:%s: pattern must be a string, got %s", what,
		    pv_lua_argument_type(L, 2));
	const char *pattern = lua_tolstring(L, 2, &len);
	if (len == 0)
		luaL_error(L, "stream:%s: pattern must not be empty", what);
	int64_t deadline = pv_clock_deadline(pv_lua_duration_get(L, 3, text, WAIT_DEFAULT));
	if (!is_open(stream))
		luaL_error(L, "stream:%s: %s closed", what, stream->type->noun);
	struct pv_err err = PV_ERR_INIT;
	const unsigned endings = pv_vm_endings(stream->vm);
	for (;;) {
		const struct pv_bytes *pending = &stream->pending;
		const uint8_t *at =
		    pending->len - from >= len
			? memmem(pending->data + from, pending->len - from, pattern, len)
			: NULL;
		if (at != NULL)
			return (size_t)(at - pending->data) + len;
		/* The next piece may end a match that has begun. */
		if (pending->len >= len)
			from = pending->len - (len - 1);
		/* A report may have come while we looked at its text. */
		if (pv_vm_check_endings(stream->vm, endings, what, &err) < 0)
			pv_lua_error_raise(L, &err);
		if (!take(L, stream, deadline, &ended))
			raise_missing(L, stream, what, pattern, ended);
	}
}

static int stream_read_until(lua_State *L)
{
	struct pv_lua_stream *stream = pv_lua_stream_check(L, "stream:read_until");
	push_pending(L, stream, search(L, stream, "read_until"));
	return 1;
}

static int stream_expect(lua_State *L)
{
	struct pv_lua_stream *stream = pv_lua_stream_check(L, "stream:expect");
	pv_bytes_consume(&stream->pending, search(L, stream, "expect"));
	return 0;
}

static int stream_drain(lua_State *L)
{
	lua_Integer count = 0;
	bool ended = false;
	struct pv_lua_stream *stream = pv_lua_stream_check(L, "stream:drain");
	int64_t deadline =
	    pv_clock_deadline(pv_lua_duration_get(L, 2, "stream:drain: timeout", DRAIN_DEFAULT));
	lua_newtable(L);
	if (!is_open(stream))
		return 1;
	while (stream->pending.len > 0 || take(L, stream, deadline, &ended)) {
		push_pending(L, stream, piece_of(stream));
		lua_rawseti(L, -2, ++count);
	}
	return 1;
}

static int stream_eof(lua_State *L)
{
	struct pv_lua_stream *stream = pv_lua_stream_check(L, "stream:eof");
	lua_pushboolean(
	    L, !is_open(stream) || (stream->pending.len == 0 && stream->type->is_over(stream)));
	return 1;
}

static int stream_creation_site(lua_State *L)
{
	pv_lua_stream_check(L, "stream:creation_site");
	lua_getiuservalue(L, 1, 1);
	return 1;
}

static int stream_close(lua_State *L)
{
	struct pv_lua_stream *stream = pv_lua_stream_check(L, "stream:close");
	pv_lua_resource_close(L, 1, &stream->resource);
	return 0;
}

static int stream_tostring(lua_State *L)
{
	const struct pv_lua_stream *stream = pv_lua_stream_check(L, "tostring");
	if (is_open(stream))
		lua_pushfstring(L, "%s(%s)", stream->resource.label,
		    stream->resource.detail != NULL ? stream->resource.detail : "");
	else
		lua_pushfstring(L, "%s(closed)", stream->type->noun);
	return 1;
}

/* --- life --- */

/* The end of the resource. */
static void end(lua_State *L, struct pv_lua_resource *resource)
{
	struct pv_lua_stream *stream = (struct pv_lua_stream *)resource;
	pv_bytes_finish(&stream->pending);
	stream->type->close(stream);
	pv_vm_stream_closed(resource->vm);
	stream->vm = NULL;
}

/* Of one that never began; others were closed by their scope at the latest. */
static int collect(lua_State *L)
{
	struct pv_lua_stream *stream = lua_touserdata(L, 1);
	if (stream->type != NULL && stream->resource.label == NULL)
		stream->type->close(stream);
	stream->type = NULL;
	return 0;
}

static const luaL_Reg methods[] = {
    {"next",	     stream_next		},
    {"read_until",	   stream_read_until   },
    {"expect",	       stream_expect	    },
    {"drain",	      stream_drain	  },
    {"eof",	    stream_eof	      },
    {"creation_site", stream_creation_site},
    {"close",	      stream_close	  },
    {NULL,	    NULL		},
};

static const luaL_Reg metamethods[] = {
    {"__gc",	     collect	    },
    {"__close",	stream_close   },
    {"__tostring", stream_tostring},
    {NULL,	   NULL	       },
};

void pv_lua_stream_open_type(lua_State *L, const struct pv_lua_stream_type *type)
{
	luaL_newlib(L, methods);
	lua_pushvalue(L, -1);
	pv_lua_type_open(L, type->name, metamethods, 0);
	luaL_getmetatable(L, type->name);
	lua_pushlightuserdata(L, (void *)(uintptr_t)type);
	lua_setfield(L, -2, TYPE_FIELD);
	lua_pop(L, 1);
}

struct pv_lua_stream *pv_lua_stream_new(lua_State *L, const struct pv_lua_stream_type *type)
{
	struct pv_lua_stream *stream = pv_lua_type_new(L, type->name, sizeof(*stream), 1);
	stream->type = type;
	return stream;
}

void pv_lua_stream_begin(lua_State *L, struct pv_lua_stream *stream, struct pv_vm *vm,
    const char *label, const char *detail)
{
	pv_lua_resource_add(L, &stream->resource, PV_LUA_STREAM, label, detail, vm, end);
	pv_vm_stream_opened(vm);
	stream->vm = vm;
	pv_lua_resource_push_site(L, &stream->resource);
	lua_setiuservalue(L, -2, 1);
}

int pv_lua_stream_raise_listed(lua_State *L, const struct pv_err *err, bool listed)
{
	struct pv_bytes *lines = pv_lua_buffer_new(L);
	if (listed && pv_lua_resource_describe(L, PV_LUA_STREAM, NULL, lines) < 0)
		luaL_error(L, "not enough memory");
	luaL_where(L, 1);
	lua_pushstring(L, err->text);
	pv_lua_buffer_push(L, lines);
	lua_concat(L, 3);
	return lua_error(L);
}

void pv_lua_stream_refuse_snapshot(lua_State *L, struct pv_vm *vm)
{
	unsigned streams = pv_lua_resource_count(L, PV_LUA_STREAM, vm);
	if (streams == 0)
		return;
	struct pv_bytes *lines = pv_lua_buffer_new(L);
	if (pv_lua_resource_describe(L, PV_LUA_STREAM, vm, lines) < 0)
		luaL_error(L, "not enough memory");
	lua_pushfstring(L,
	    "vm:snapshot() failed for `%s`: %d open file handle(s), %d open stream(s)",
	    pv_vm_name(vm), (int)pv_lua_resource_count(L, PV_LUA_FILE, vm), (int)streams);
	luaL_where(L, 1);
	lua_insert(L, -2);
	pv_lua_buffer_push(L, lines);
	lua_pushliteral(L, "\nclose the stream(s) before the snapshot, with stream:close()");
	lua_concat(L, 4);
	lua_error(L);
}
