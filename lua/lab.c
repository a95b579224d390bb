/*
 * Lab userdata: the handle, and its dot access. A handle holds a reference on its lab, and there is
 * one handle per lab at a time (lua/handle.h). The lab of a test is closed with the test, and so
 * are the sub-labs made in it; a handle that a script kept then says so. A finalized handle holds
 * NULL. Rules about names are lab/lab.h's. Script thread only.
 */
#include "lua/lab.h"

#include <string.h>

#include "lab/lab.h"
#include "lua/argument.h"
#include "lua/handle.h"
#include "lua/lab_settings.h"
#include "lua/state.h"
#include "lua/type.h"
#include "lua/vm.h"

/* Registry: pv_lab (light userdata) -> handle. */
#define HANDLES_KEY "provium.labs"

struct handle {
	struct pv_lab *lab;
};

/* Raises when there is nothing more behind the handle. */
static struct pv_lab *check_open(lua_State *L, const struct handle *handle, const char *function)
{
	const struct pv_lua *lua = pv_lua_state_of(L);
	if (handle->lab == NULL || lua->root_lab == NULL)
		luaL_error(L, "%s: this lab is closed, its file is over", function);
	if (pv_lab_is_closed(handle->lab))
		luaL_error(L, "%s: this lab is closed, its test is over", function);
	return handle->lab;
}

struct pv_lab *pv_lua_lab_check(lua_State *L, int index, const char *function)
{
	struct handle *handle = pv_lua_argument_self(L, index, PV_LUA_LAB_TYPE, function);
	return check_open(L, handle, function);
}

static int lab_tostring(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, PV_LUA_LAB_TYPE, "tostring");
	const struct pv_lab *lab = handle->lab;
	if (lab == NULL || pv_lab_is_closed(lab))
		lua_pushliteral(L, "lab(closed)");
	else
		lua_pushfstring(
		    L, "lab(%s; %I vm(s))", pv_lab_name(lab), (LUAI_UACINT)pv_lab_vm_count(lab));
	return 1;
}

/* --- dot access --- */

/* Upvalue 1: the methods. Methods (`pack`, `unpack`, `sys` and the fixtures are among them),
 * settings, VMs and sub-labs, these of enclosing scopes, too (spec 5.2). */
static int lab_index(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, PV_LUA_LAB_TYPE, "lab");
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	if (lua_type(L, 2) != LUA_TSTRING)
		return 1; /* nil */
	const char *key = lua_tostring(L, 2);
	if (pv_lua_lab_settings_push(L, key))
		return 1;
	const struct pv_lab *lab = check_open(L, handle, key);
	struct pv_vm *vm = pv_lab_find_vm(lab, key);
	struct pv_lab *sub = vm == NULL ? pv_lab_find_lab(lab, key) : NULL;
	if (vm != NULL)
		pv_lua_vm_push(L, vm);
	else if (sub != NULL)
		pv_lua_lab_push(L, sub);
	else
		lua_pushnil(L);
	return 1;
}

static int lab_newindex(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, PV_LUA_LAB_TYPE, "lab");
	const struct pv_lua *lua = pv_lua_state_of(L);
	const struct pv_lab *lab = check_open(L, handle, "lab");
	if (lab != lua->root_lab && lab != lua->test_lab)
		return luaL_error(L,
		    "cannot set `%s` of lab `%s`: only the file's lab has settings; assign "
		    "`provium.%s` outside of tests",
		    luaL_tolstring(L, 2, NULL), pv_lab_name(lab), luaL_tolstring(L, 2, NULL));
	pv_lua_lab_settings_set(L, lab != lua->root_lab);
	return 0;
}

/* --- handles --- */

static int collect(lua_State *L)
{
	struct handle *handle = luaL_testudata(L, 1, PV_LUA_LAB_TYPE);
	if (handle != NULL) {
		pv_lab_unref(handle->lab);
		handle->lab = NULL;
	}
	return 0;
}

static const luaL_Reg metamethods[] = {
    {"__newindex", lab_newindex},
    {"__tostring", lab_tostring},
    {"__gc",	     collect	    },
    {NULL,	   NULL	       },
};

void pv_lua_lab_open(lua_State *L)
{
	lua_pushcclosure(L, lab_index, 1);
	pv_lua_type_open(L, PV_LUA_LAB_TYPE, metamethods, 0);
	pv_lua_handle_open(L, HANDLES_KEY);
}

void pv_lua_lab_push(lua_State *L, struct pv_lab *lab)
{
	if (pv_lua_handle_push(L, HANDLES_KEY, lab))
		return;
	struct handle *handle = pv_lua_type_new(L, PV_LUA_LAB_TYPE, sizeof(*handle), 0);
	handle->lab = pv_lab_ref(lab);
	pv_lua_handle_keep(L, HANDLES_KEY, lab);
}

void pv_lua_lab_push_scope(lua_State *L)
{
	const struct pv_lua *lua = pv_lua_state_of(L);
	pv_lua_lab_push(L, lua->test_lab != NULL ? lua->test_lab : lua->root_lab);
}

void pv_lua_lab_set_scope(lua_State *L)
{
	/* Raw: a script may have given the global table a metatable. */
	lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
	lua_pushliteral(L, "provium");
	pv_lua_lab_push_scope(L);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}
