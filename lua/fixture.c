/*
 * `provium:vm_fixture(path)`, `provium:lab_fixture(path)` and `provium.fixture(name)`. Rules are
 * lab/fixture.h's; here are arguments and results. Whoever asks, the result belongs to the file: it
 * is a member of the file's lab.
 * Script thread only.
 */
#include "lua/fixture.h"

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/fixture.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/error.h"
#include "lua/lab.h"
#include "lua/run.h"
#include "lua/state.h"
#include "lua/vm.h"

/* Leaves the name at 1, with or without a lab before it. */
static const char *check_name(lua_State *L, const char *function, const char *what)
{
	if (luaL_testudata(L, 1, PV_LUA_LAB_TYPE) != NULL)
		lua_remove(L, 1);
	const char *name = pv_lua_argument_name(L, 1, function, what);
	const struct pv_lua *lua = pv_lua_state_of(L);
	if (lua->root_lab == NULL)
		luaL_error(L, "%s: the file is over", function);
	if (lua->file->fixtures == NULL)
		luaL_error(L, "%s: there are no fixtures where this runs", function);
	return name;
}

/* The whole story when there is one, else the sentence. */
static int raise(lua_State *L, struct pv_bytes *why, const struct pv_err *err)
{
	if (why->len == 0)
		return pv_lua_error_raise(L, err);
	luaL_where(L, 1);
	pv_lua_buffer_push(L, why);
	lua_concat(L, 2);
	return lua_error(L);
}

static int get_vm(lua_State *L, const char *function, const char *what, bool legacy)
{
	const char *name = check_name(L, function, what);
	const struct pv_lua *lua = pv_lua_state_of(L);
	struct pv_bytes *why = pv_lua_buffer_new(L);
	struct pv_err err = PV_ERR_INIT;
	struct pv_vm *vm = NULL;
	if (pv_fixture_vm(lua->file->fixtures, lua->root_lab, name, legacy, &vm, why, &err) < 0)
		return raise(L, why, &err);
	pv_lua_vm_push(L, vm);
	return 1;
}

static int lab_vm_fixture(lua_State *L)
{
	return get_vm(L, "lab:vm_fixture", "path", false);
}

static int lab_fixture_of_run(lua_State *L)
{
	pv_lua_state_of(L)->is_legacy = true;
	return get_vm(L, "provium.fixture", "name", true);
}

/* lab:lab_fixture(path) */
static int lab_lab_fixture(lua_State *L)
{
	const char *name = check_name(L, "lab:lab_fixture", "path");
	const struct pv_lua *lua = pv_lua_state_of(L);
	struct pv_bytes *why = pv_lua_buffer_new(L);
	struct pv_err err = PV_ERR_INIT;
	struct pv_lab *lab = NULL;
	if (pv_fixture_lab(lua->file->fixtures, lua->root_lab, name, &lab, why, &err) < 0)
		return raise(L, why, &err);
	pv_lua_lab_push(L, lab);
	return 1;
}

const luaL_Reg pv_lua_fixture_methods[] = {
    {"vm_fixture",  lab_vm_fixture	 },
    {"lab_fixture", lab_lab_fixture   },
    {"fixture",	lab_fixture_of_run},
    {NULL,	   NULL	       },
};
