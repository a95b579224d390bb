/*
 * Running the source of a fixture: the same state and globals as a file of tests has, one chunk,
 * and the snapshot that it returns (or, of the older kind, one of the VM that it made last). When
 * there is none the story is told: the error with its place, and what the consoles of its guests
 * said last. Script thread only.
 */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/utf8.h"
#include "lab/lab.h"
#include "lab/lab_snapshot.h"
#include "lab/snapshot.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/excerpt.h"
#include "lua/guest_verdict.h"
#include "lua/interpreter.h"
#include "lua/interrupt.h"
#include "lua/lab_snapshot.h"
#include "lua/run.h"
#include "lua/snapshot.h"
#include "lua/state.h"

/* What a chunk is called with. */
struct call {
	bool legacy;
	struct pv_run_fixture *result;
};

/* The result of a chunk that returned a value, which is on top. */
static void take_returned(lua_State *L, struct pv_run_fixture *result)
{
	result->snapshot = pv_lua_snapshot_take(L, -1);
	result->lab_snapshot = pv_lua_lab_snapshot_take(L, -1);
	if (result->snapshot == NULL && result->lab_snapshot == NULL)
		luaL_error(L, "%s: fixture must return vm:snapshot() or provium:snapshot(); got %s",
		    pv_lua_state_of(L)->file->path, pv_lua_argument_type(L, -1));
}

/* The VM that was made last, by whatever way. */
static void snapshot_last(lua_State *L, struct pv_run_fixture *result)
{
	struct pv_lab *lab = pv_lua_state_of(L)->root_lab;
	const size_t count = pv_lab_made_count(lab);
	struct pv_err err = PV_ERR_INIT;
	if (count == 0)
		luaL_error(L, "%s: this fixture made no VM; make one and leave it running",
		    pv_lua_state_of(L)->file->path);
	if (pv_vm_snapshot(pv_lab_made_at(lab, count - 1), NULL, &result->snapshot, &err) < 0)
		luaL_error(L, "%s", err.text);
}

/* Protected; its argument is a struct call. */
static int load_and_call(lua_State *L)
{
	const struct call *call = lua_touserdata(L, 1);
	const struct pv_lua *lua = pv_lua_state_of(L);
	if (luaL_loadfilex(L, lua->file->path, "t") != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	/* A chunk that swallowed the error that was to end it. */
	pv_lua_interrupt_check(L);
	if (lua->suite.count > 0)
		luaL_error(L,
		    "%s: test `%s` stands in a fixture and would never run; move it to a "
		    "*.test.lua file",
		    lua->file->path, lua->suite.cases[0].name);
	if (call->legacy)
		snapshot_last(L, call->result);
	else
		take_returned(L, call->result);
	return 0;
}

/* Appends to the story what guests said. A failed boot has its console with it already. */
static void add_consoles(struct pv_lua *lua, struct pv_bytes *text)
{
	static const char mark[] = "--- guest console (last bytes) ---";
	struct pv_bytes excerpt = {0};
	if (text->len > 0 && memmem(text->data, text->len, mark, strlen(mark)) != NULL)
		return;
	if (pv_lua_excerpt_write(lua, &excerpt) == 0 && excerpt.len > 0 &&
	    pv_bytes_append(text, "\n", 1) == 0)
		(void)pv_bytes_append(text, excerpt.data, excerpt.len);
	pv_bytes_finish(&excerpt);
}

/* Frees the text. */
static void explain(struct pv_lua *lua, struct pv_run_fixture *result, struct pv_bytes *text)
{
	add_consoles(lua, text);
	if (pv_utf8_clean(&result->failure, (const char *)text->data, text->len) < 0 ||
	    pv_bytes_text(&result->failure) == NULL) {
		pv_bytes_finish(&result->failure);
		(void)pv_bytes_printf(&result->failure, "not enough memory");
	}
	pv_bytes_finish(text);
}

/* The chunk's error is on the stack when it failed. A guest whose kernel reported trouble is no
 * fixture either. */
static void take_end(struct pv_lua *lua, struct pv_run_fixture *result, bool failed)
{
	struct pv_bytes text = {0}, reason = {0};
	if (failed)
		pv_lua_error_take(lua->L, &text);
	if (pv_lua_guest_verdict_end(lua, NULL, "the fixture", &text, &reason)) {
		pv_run_fixture_finish(result);
		explain(lua, result, &reason);
	} else if (failed) {
		explain(lua, result, &text);
	}
	pv_bytes_finish(&text);
}

void pv_run_fixture(const struct pv_run_file *file, bool legacy, struct pv_run_fixture *result)
{
	struct pv_lua *lua = NULL;
	struct pv_err err = PV_ERR_INIT;
	*result = (struct pv_run_fixture){0};
	if (pv_lua_interpreter_create(&lua, file, &err) < 0) {
		(void)pv_bytes_printf(&result->failure, "%s", err.text);
		return;
	}
	struct call call = {.legacy = legacy, .result = result};
	lua_pushcfunction(lua->L, load_and_call);
	lua_pushlightuserdata(lua->L, &call);
	take_end(lua, result, lua_pcall(lua->L, 1, 0, 0) != LUA_OK);
	pv_lua_interpreter_destroy(lua);
}

void pv_run_fixture_finish(struct pv_run_fixture *result)
{
	pv_snapshot_destroy(result->snapshot);
	pv_lab_snapshot_destroy(result->lab_snapshot);
	pv_bytes_finish(&result->failure);
	*result = (struct pv_run_fixture){0};
}
