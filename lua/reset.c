/*
 * Resets between tests. Theory: the baseline is lab's (lab/lab_reset.h); here is when. A reset is
 * due once a body has run, and is made right before the next body, after the lab of the test and
 * its own limit are gone. So it is in nobody's duration, none is made after the last test, and one
 * that fails has a test to fail.
 */
#include "lua/reset.h"

#include <errno.h>

#include "base/err.h"
#include "lab/lab_reset.h"
#include "lua/resource.h"
#include "lua/run.h"
#include "lua/state.h"

/* Says which streams of the file's scope are in the way. */
static int refuse_streams(struct pv_lua *lua, struct pv_err *err)
{
	struct pv_bytes lines = {0};
	(void)pv_lua_resource_describe(lua->L, PV_LUA_STREAM, NULL, &lines);
	const char *text = pv_bytes_text(&lines);
	int status = pv_err_set(err, PV_ERR_STATE, EBUSY,
	    "%s: reset_between_tests cannot be used with file-scope streams: %.800s\nopen them in "
	    "the tests, or set provium.reset_between_tests = false",
	    lua->file->name, text != NULL ? text : "");
	pv_bytes_finish(&lines);
	return status;
}

int pv_lua_reset_begin(struct pv_lua *lua, struct pv_err *err)
{
	if (!lua->suite.resets || lua->suite.count == 0 || lua->suite.is_todo)
		return 0;
	if (pv_lua_resource_count(lua->L, PV_LUA_STREAM, NULL) > 0)
		return refuse_streams(lua, err);
	int status = pv_lab_reset_create(&lua->reset, lua->root_lab, err);
	return status < 0 ? pv_err_prefix(err,
				"%s: provium.reset_between_tests: the state before the tests "
				"cannot be kept",
				lua->file->name)
			  : 0;
}

int pv_lua_reset_apply(struct pv_lua *lua, struct pv_err *err)
{
	if (lua->reset == NULL || !lua->is_reset_due)
		return 0;
	int status = pv_lab_reset_apply(lua->reset, err);
	if (status < 0)
		return pv_err_prefix(err, "provium.reset_between_tests: this test was not run, "
					  "because its guests are not as the file left them");
	lua->is_reset_due = false;
	return 0;
}

void pv_lua_reset_finish(struct pv_lua *lua)
{
	pv_lab_reset_destroy(lua->reset);
	lua->reset = NULL;
}
