/*
 * From a path to a result: the state, the chunk, the tests in order, the end (spec section 3). Each
 * step that runs Lua code is a protected call, so whatever a script does ends in a report. Script
 * thread only.
 */
#include "lua/run.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/utf8.h"
#include "lab/host.h"
#include "lua/error.h"
#include "lua/guest_verdict.h"
#include "lua/interpreter.h"
#include "lua/reset.h"
#include "lua/state.h"
#include "lua/testcase.h"

/* `text` is any bytes and is freed. */
static void report_chunk_error(const struct pv_run_file *file, struct pv_bytes *text)
{
	struct pv_bytes clean = {0};
	const char *shown = NULL;
	if (pv_utf8_clean(&clean, (const char *)text->data, text->len) == 0)
		shown = pv_bytes_text(&clean);
	if (file->events != NULL && file->events->chunk_error != NULL)
		file->events->chunk_error(
		    file->events_ctx, shown != NULL ? shown : "not enough memory");
	pv_bytes_finish(&clean);
	pv_bytes_finish(text);
}

/* Protected. */
static int load_and_call(lua_State *L)
{
	/* Text only: the interpreter does not check precompiled code. */
	if (luaL_loadfilex(L, pv_lua_state_of(L)->file->path, "t") != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 0);
	return 0;
}

/* Runs the chunk, which registers the tests, and keeps the state that it leaves. Returns false, and
 * reports, when it failed. */
static bool run_chunk(struct pv_lua *lua)
{
	struct pv_bytes text = {0};
	lua_pushcfunction(lua->L, load_and_call);
	int status = lua_pcall(lua->L, 0, 0, 0);
	lua->suite.is_closed = true;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes reason = {0};
	if (status != LUA_OK)
		pv_lua_error_take(lua->L, &text);
	bool is_told = pv_lua_guest_verdict_end(lua, NULL, "the file", &text, &reason);
	if (status == LUA_OK && !is_told && pv_lua_reset_begin(lua, &err) == 0)
		return true;
	if (is_told) {
		pv_bytes_finish(&text);
		text = reason;
	} else if (status == LUA_OK) {
		pv_bytes_printf(&text, "%s", err.text);
	}
	report_chunk_error(lua->file, &text);
	return false;
}

static bool is_stopped(const struct pv_run_file *file)
{
	return atomic_load(&file->host->interrupted) ||
	       (file->stop != NULL && atomic_load(file->stop));
}

static void count(struct pv_run_result *result, enum pv_lua_outcome outcome)
{
	switch (outcome) {
	case PV_LUA_TEST_PASSED: result->passed++; break;
	case PV_LUA_TEST_SKIPPED: result->skipped++; break;
	case PV_LUA_TEST_INTERRUPTED:
		result->status = PV_RUN_INTERRUPTED;
		result->failed++;
		break;
	case PV_LUA_TEST_FAILED: result->failed++; break;
	}
}

static void run_tests(struct pv_lua *lua, struct pv_run_result *result)
{
	for (size_t i = 0; i < lua->suite.count; i++) {
		if (is_stopped(lua->file)) {
			result->status = PV_RUN_INTERRUPTED;
			result->not_run = (unsigned)(lua->suite.count - i);
			return;
		}
		count(result, pv_lua_testcase_run(lua, i));
	}
	if (result->status != PV_RUN_INTERRUPTED && result->failed > 0)
		result->status = PV_RUN_FAILED;
}

/* What guests reported after the last test has no test to fail. */
static void end_tests(struct pv_lua *lua, struct pv_run_result *result)
{
	struct pv_bytes reason = {0};
	if (!pv_lua_guest_verdict_end(lua, NULL, "the file", NULL, &reason))
		return;
	pv_bytes_printf(&reason, "\n(after the last test)");
	report_chunk_error(lua->file, &reason);
	if (result->status != PV_RUN_INTERRUPTED)
		result->status = PV_RUN_CRASHED;
}

void pv_run_file(const struct pv_run_file *file, struct pv_run_result *result)
{
	struct pv_lua *lua = NULL;
	struct pv_err err = PV_ERR_INIT;
	*result = (struct pv_run_result){.status = PV_RUN_PASSED};
	if (pv_lua_interpreter_create(&lua, file, &err) < 0) {
		struct pv_bytes text = {0};
		pv_bytes_printf(&text, "%s", err.text);
		report_chunk_error(file, &text);
		result->status = PV_RUN_CRASHED;
		return;
	}
	if (run_chunk(lua)) {
		run_tests(lua, result);
		end_tests(lua, result);
	} else {
		bool interrupted = is_stopped(file);
		/* Tests of the older kind have run while the chunk did. */
		for (size_t i = 0; i < lua->suite.count; i++) {
			if (lua->suite.cases[i].has_run)
				count(result, lua->suite.cases[i].outcome);
			else
				result->not_run++;
		}
		result->status = interrupted ? PV_RUN_INTERRUPTED : PV_RUN_CRASHED;
	}
	pv_lua_interpreter_destroy(lua);
}

const char *pv_run_status_name(enum pv_run_status status)
{
	switch (status) {
	case PV_RUN_PASSED: return "passed";
	case PV_RUN_FAILED: return "failed";
	case PV_RUN_CRASHED: return "crashed";
	case PV_RUN_INTERRUPTED: return "interrupted";
	}
	return "unknown";
}
