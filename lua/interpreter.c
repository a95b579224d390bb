/*
 * One fresh Lua 5.4 state per test file (spec section 1): the whole standard library, our globals
 * and types, the roots in package.path, a limit on memory, warnings that reach the report, and the
 * hook of lua/interrupt.c. The context is found from any coroutine through Lua's extra space.
 *
 * All calls into Lua that can raise are made inside protected calls, so the panic function is never
 * reached. Script thread only.
 */
#include "lua/interpreter.h"

#include <errno.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "lab/lab.h"
#include "lua/batch.h"
#include "lua/clock.h"
#include "lua/console.h"
#include "lua/console_stream.h"
#include "lua/error.h"
#include "lua/interrupt.h"
#include "lua/json.h"
#include "lua/lab.h"
#include "lua/lab_snapshot.h"
#include "lua/legacy.h"
#include "lua/methods.h"
#include "lua/process.h"
#include "lua/reset.h"
#include "lua/resource.h"
#include "lua/run.h"
#include "lua/run_result.h"
#include "lua/snapshot.h"
#include "lua/state.h"
#include "lua/syscall.h"
#include "lua/tail.h"
#include "lua/testcase.h"
#include "lua/wait.h"

#define ROOT_NAME "provium"

/* lua_Alloc */
static void *allocate(void *ctx, void *old, size_t old_size, size_t size)
{
	struct pv_lua *lua = ctx;
	size_t held = old != NULL ? old_size : 0;
	if (size == 0) {
		lua->memory_used -= held;
		free(old);
		return NULL;
	}
	pv_lua_interrupt_hurry(lua);
	if (size > held && size - held > lua->memory_limit - lua->memory_used)
		return NULL;
	void *block = realloc(old, size);
	if (block == NULL)
		return NULL;
	lua->memory_used = lua->memory_used - held + size;
	if (size > held)
		pv_bytes_expect_much(block, size);
	return block;
}

static void emit_warning(struct pv_lua *lua)
{
	const struct pv_run_events *events = lua->file->events;
	struct pv_bytes text = {0};
	if (pv_bytes_printf(&text, "lua warning: ") == 0 &&
	    pv_utf8_clean(&text, (const char *)lua->warning.data, lua->warning.len) == 0 &&
	    pv_bytes_text(&text) != NULL && events != NULL && events->note != NULL)
		events->note(lua->file->events_ctx, pv_bytes_text(&text));
	pv_bytes_finish(&text);
	pv_bytes_finish(&lua->warning);
}

/* lua_WarnFunction: warn() of the script, and errors in finalizers. */
static void take_warning(void *ctx, const char *text, int to_be_continued)
{
	struct pv_lua *lua = ctx;
	if (lua->warning.len == 0 && !to_be_continued && text[0] == '@') {
		if (strcmp(text, "@on") == 0 || strcmp(text, "@off") == 0)
			lua->warnings_off = strcmp(text, "@off") == 0;
		return;
	}
	pv_bytes_append(&lua->warning, text, strlen(text));
	if (to_be_continued)
		return;
	if (lua->warnings_off)
		pv_bytes_finish(&lua->warning);
	else
		emit_warning(lua);
}

/* `<root>/?.lua;<root>/?/init.lua;` for every root, before what is there. */
static void extend_package_path(lua_State *L, const struct pv_run_file *file)
{
	luaL_Buffer path;
	lua_getglobal(L, "package");
	luaL_buffinit(L, &path);
	for (size_t i = 0; i < file->root_count; i++) {
		luaL_addstring(&path, file->roots[i]);
		luaL_addstring(&path, "/?.lua;");
		luaL_addstring(&path, file->roots[i]);
		luaL_addstring(&path, "/?/init.lua;");
	}
	luaL_pushresult(&path);
	lua_getfield(L, -2, "path");
	lua_concat(L, 2);
	lua_setfield(L, -2, "path");
	lua_pop(L, 1);
}

/* Protected. */
static int open_all(lua_State *L)
{
	luaL_openlibs(L);
	extend_package_path(L, pv_lua_state_of(L)->file);
	pv_lua_testcase_open(L);
	pv_lua_wait_open(L);
	pv_lua_json_open(L);
	pv_lua_legacy_open(L);
	pv_lua_methods_open(L);
	pv_lua_process_open(L);
	pv_lua_syscall_open(L);
	pv_lua_batch_open(L);
	pv_lua_snapshot_open(L);
	pv_lua_lab_snapshot_open(L);
	pv_lua_run_result_open(L);
	pv_lua_console_open(L);
	pv_lua_clock_open(L);
	pv_lua_tail_open(L);
	pv_lua_console_stream_open(L);
	pv_lua_lab_set_scope(L);
	pv_lua_interrupt_open(L);
	return 0;
}

static int start(struct pv_lua *lua, struct pv_err *err)
{
	lua->L = lua_newstate(allocate, lua);
	if (lua->L == NULL)
		return pv_err_nomem(err, "the Lua state");
	*(struct pv_lua **)lua_getextraspace(lua->L) = lua;
	lua_setwarnf(lua->L, take_warning, lua);
	int status = pv_lab_create(&lua->root_lab, lua->host, ROOT_NAME, NULL, err);
	if (status < 0)
		return status;
	lua_pushcfunction(lua->L, open_all);
	if (lua_pcall(lua->L, 0, 0, 0) == LUA_OK)
		return 0;
	struct pv_bytes text = {0};
	pv_lua_error_take(lua->L, &text);
	const char *reason = pv_bytes_text(&text);
	status = pv_err_set(err, PV_ERR_INTERNAL, ENOMEM, "start Lua: %s",
	    reason != NULL ? reason : "not enough memory");
	pv_bytes_finish(&text);
	return status;
}

int pv_lua_interpreter_create(
    struct pv_lua **out, const struct pv_run_file *file, struct pv_err *err)
{
	struct pv_lua *lua = calloc(1, sizeof(*lua));
	if (lua == NULL)
		return pv_err_nomem(err, "the Lua state");
	lua->file = file;
	lua->host = file->host;
	lua->memory_limit = file->memory_limit > 0 ? file->memory_limit : PV_RUN_MEMORY_DEFAULT;
	lua->suite.timeout_ns = -1;
	int status = start(lua, err);
	if (status < 0) {
		pv_lua_interpreter_destroy(lua);
		return status;
	}
	*out = lua;
	return 0;
}

void pv_lua_interpreter_destroy(struct pv_lua *lua)
{
	if (lua == NULL)
		return;
	/* VMs go first; handles that finalizers still hold are then of VMs that are shut down, and
	 * the lab's say that it is closed. */
	pv_lua_reset_finish(lua);
	if (lua->L != NULL)
		pv_lua_resource_close_scope(lua, 0);
	struct pv_lab *root = lua->root_lab;
	lua->root_lab = NULL;
	pv_lab_destroy(root);
	if (lua->L != NULL)
		lua_close(lua->L);
	pv_lua_suite_finish(&lua->suite);
	pv_verdicts_finish(&lua->early_verdicts);
	pv_bytes_finish(&lua->warning);
	free(lua);
}
