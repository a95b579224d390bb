/*
 * What all streams of the test language have in common (spec section 13): Tail, Capture and
 * ConsoleStream are this over different sources. Internal to this layer; script thread only.
 */
#ifndef PV_LUA_STREAM_H
#define PV_LUA_STREAM_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "lab/vm.h"
#include "lua/resource.h"

struct pv_err;
struct pv_lua_stream;

/* A kind of source; constant. */
struct pv_lua_stream_type {
	const char *name; /* of the Lua type: "Tail" */
	const char *noun; /* in sentences: "stream", "capture", "console" */
	/* Moves up to `max` bytes to the end of `out`, waiting until the deadline. Returns their
	 * number, 0 at the end, -ETIMEDOUT, -ECONNRESET with the reason when the source was lost,
	 * or another error. */
	int (*take)(struct pv_lua_stream *stream, size_t max, int64_t deadline_ns,
	    struct pv_bytes *out, struct pv_err *err);
	/* Nothing will come any more. */
	bool (*is_over)(struct pv_lua_stream *stream);
	/* Lets go of the source. Called once, also for one that never began. */
	void (*close)(struct pv_lua_stream *stream);
};

/* The userdata; user value 1 is its creation site. */
struct pv_lua_stream {
	struct pv_lua_resource resource; /* first */
	const struct pv_lua_stream_type *type;
	struct pv_vm *vm; /* as resource.vm, for the source */
	struct pv_bytes pending;
	char end[256]; /* why it ended, when that is not natural */
	/* For the source: one of them. */
	struct pv_agent_stream *agent;
	struct pv_vm_console_reader console;
	void *other;
};

/* Registers a type with the common methods; leaves the table of methods on the stack, to be
 * extended and popped by the caller. May raise. */
void pv_lua_stream_open_type(lua_State *L, const struct pv_lua_stream_type *type);

/*
 * Pushes a stream without a source. The caller gives it one and then calls pv_lua_stream_begin,
 * with the userdata on top: from then on it is open, a resource of its scope, and counted by its
 * VM. May raise; what the source holds by then is let go of.
 */
struct pv_lua_stream *pv_lua_stream_new(lua_State *L, const struct pv_lua_stream_type *type);
void pv_lua_stream_begin(lua_State *L, struct pv_lua_stream *stream, struct pv_vm *vm,
    const char *label, const char *detail);

/* The stream at 1, of any type; raises when it is something else. */
struct pv_lua_stream *pv_lua_stream_check(lua_State *L, const char *function);

/* Raises `err`, with a line for each open stream behind it when `listed`. */
int pv_lua_stream_raise_listed(lua_State *L, const struct pv_err *err, bool listed);

/* Raises the refusal of spec 7.8 when streams of a VM are open; nothing otherwise. */
void pv_lua_stream_refuse_snapshot(lua_State *L, struct pv_vm *vm);

#endif
