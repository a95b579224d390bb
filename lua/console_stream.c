/*
 * Streams of a console: a position in the VM's log. Script thread only.
 */
#include "lua/console_stream.h"

#include "lab/vm.h"
#include "lua/stream.h"

static int take(struct pv_lua_stream *stream, size_t max, int64_t deadline_ns, struct pv_bytes *out,
    struct pv_err *err)
{
	return pv_vm_console_take(stream->vm, &stream->console, max, deadline_ns, out, err);
}

static bool is_over(struct pv_lua_stream *stream)
{
	return pv_vm_console_is_over(stream->vm, &stream->console);
}

static void close_source(struct pv_lua_stream *stream)
{
}

static const struct pv_lua_stream_type type = {
    .name = "ConsoleStream",
    .noun = "console",
    .take = take,
    .is_over = is_over,
    .close = close_source,
};

void pv_lua_console_stream_push(lua_State *L, struct pv_vm *vm)
{
	struct pv_lua_stream *stream = pv_lua_stream_new(L, &type);
	pv_vm_console_reader_begin(vm, &stream->console);
	pv_lua_stream_begin(L, stream, vm, "console_read", pv_vm_name(vm));
}

void pv_lua_console_stream_open(lua_State *L)
{
	pv_lua_stream_open_type(L, &type);
	lua_pop(L, 1);
}
