/*
 * Lab userdata: names for VMs. A handle remembers the scope that it was made in, not a pointer: the
 * lab of a test ends with the test, and a handle that a script kept must then say so. Rules about
 * names are lab/lab.h's; here are only arguments and results. Script thread only.
 */
#include "lua/lab.h"

#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "lab/lab.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/lab_settings.h"
#include "lua/options.h"
#include "lua/state.h"
#include "lua/vm.h"

#define TYPE_NAME "Lab"

struct handle {
	unsigned scope; /* 0 for the file's lab */
};

/* The lab of a handle, or NULL when its scope is over. */
static struct pv_lab *lab_of(lua_State *L, const struct handle *handle)
{
	struct pv_lua *lua = pv_lua_state_of(L);
	if (handle->scope == 0)
		return lua->root_lab;
	return handle->scope == lua->scope ? lua->test_lab : NULL;
}

static struct pv_lab *check_lab(lua_State *L, const char *function)
{
	struct handle *handle = pv_lua_argument_self(L, 1, TYPE_NAME, function);
	struct pv_lab *lab = lab_of(L, handle);
	if (lab == NULL)
		luaL_error(L, "%s: this lab is closed, its test is over", function);
	return lab;
}

/* --- methods --- */

static int find_vm(lua_State *L, const struct pv_lab *lab, const char *name)
{
	struct pv_vm *vm = pv_lab_find_vm(lab, name);
	if (vm == NULL)
		return luaL_error(L, "no vm named `%s` in this lab", name);
	pv_lua_vm_push(L, vm);
	return 1;
}

/* lab:vm(name) and lab:vm(name, profile, opts?) */
static int lab_vm(lua_State *L)
{
	struct pv_lab *lab = check_lab(L, "lab:vm");
	int argc = lua_gettop(L) - 1;
	if (argc < 1 || argc > 3)
		return luaL_error(L, "lab:vm: expected 1, 2, or 3 args, got %d", argc);
	const char *name = pv_lua_argument_name(L, 2, "lab:vm", "name");
	if (argc == 1)
		return find_vm(L, lab, name);
	const char *profile = pv_lua_argument_name(L, 3, "lab:vm", "profile");
	struct pv_options *options = NULL;
	if (pv_lua_argument_table(L, 4, "lab:vm", "opts")) {
		options = pv_lua_options_new(L);
		pv_lua_options_read(L, 4, "lab:vm", options);
	}
	struct pv_err err = PV_ERR_INIT;
	struct pv_vm *vm = NULL;
	int status = pv_lab_add_vm(lab, name, profile, options, &vm, &err);
	pv_options_finish(options);
	if (status < 0)
		return pv_lua_error_raise(L, &err);
	pv_lua_vm_push(L, vm);
	return 1;
}

static int lab_name(lua_State *L)
{
	lua_pushstring(L, pv_lab_name(check_lab(L, "lab:name")));
	return 1;
}

/* lab:vm_names(), sorted. */
static int lab_vm_names(lua_State *L)
{
	const struct pv_lab *lab = check_lab(L, "lab:vm_names");
	size_t count = pv_lab_vm_count(lab);
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		/* Insertion sort: labs are small. */
		const char *name = pv_vm_name(pv_lab_vm_at(lab, i));
		lua_Integer at = (lua_Integer)i + 1;
		for (; at > 1; at--) {
			lua_rawgeti(L, -1, at - 1);
			if (strcmp(lua_tostring(L, -1), name) <= 0) {
				lua_pop(L, 1);
				break;
			}
			lua_rawseti(L, -2, at);
		}
		lua_pushstring(L, name);
		lua_rawseti(L, -2, at);
	}
	return 1;
}

static int lab_members(lua_State *L)
{
	const struct pv_lab *lab = check_lab(L, "lab:members");
	size_t count = pv_lab_vm_count(lab);
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_createtable(L, 0, 2);
		lua_pushliteral(L, "vm");
		lua_setfield(L, -2, "kind");
		lua_pushstring(L, pv_vm_name(pv_lab_vm_at(lab, i)));
		lua_setfield(L, -2, "name");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* Appends the consoles of the VMs whose boot failed to the text on top: `tried` says which were
 * still created before. */
static void add_consoles(lua_State *L, const struct pv_lab *lab, const bool *tried, size_t count)
{
	for (size_t i = 0; i < count && i < pv_lab_vm_count(lab); i++) {
		struct pv_vm *vm = pv_lab_vm_at(lab, i);
		if (!tried[i] || pv_vm_state(vm) != PV_VM_DEAD)
			continue;
		lua_pushfstring(L, "\nvm `%s`:", pv_vm_name(vm));
		pv_lua_error_push_console(L, vm);
		lua_concat(L, 3);
	}
}

static int lab_boot(lua_State *L)
{
	struct pv_lab *lab = check_lab(L, "lab:boot");
	size_t count = pv_lab_vm_count(lab);
	bool *tried = lua_newuserdatauv(L, count * sizeof(*tried), 0);
	for (size_t i = 0; i < count; i++)
		tried[i] = pv_vm_state(pv_lab_vm_at(lab, i)) == PV_VM_CREATED;
	struct pv_err err = PV_ERR_INIT;
	if (pv_lab_boot(lab, &err) < 0) {
		luaL_where(L, 1);
		lua_pushstring(L, err.text);
		lua_concat(L, 2);
		add_consoles(L, lab, tried, count);
		return lua_error(L);
	}
	lua_settop(L, 1);
	return 1;
}

/* Only the scanner of fixture keys reads it. */
static int lab_depends_on_file(lua_State *L)
{
	check_lab(L, "lab:depends_on_file");
	pv_lua_argument_name(L, 2, "lab:depends_on_file", "path");
	return 0;
}

static int lab_tostring(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, TYPE_NAME, "tostring");
	const struct pv_lab *lab = lab_of(L, handle);
	if (lab == NULL)
		lua_pushliteral(L, "lab(closed)");
	else
		lua_pushfstring(
		    L, "lab(%s; %I vm(s))", pv_lab_name(lab), (LUAI_UACINT)pv_lab_vm_count(lab));
	return 1;
}

/* string.pack or string.unpack (upvalue 1), with or without the lab before the arguments. */
static int forward_to_string(lua_State *L)
{
	if (luaL_testudata(L, 1, TYPE_NAME) != NULL)
		lua_remove(L, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* --- dot access --- */

/* Upvalue 1: the methods. Methods, then settings, then VMs of this and the enclosing scopes
 * (spec 5.2). */
static int lab_index(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, TYPE_NAME, "lab");
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	if (lua_type(L, 2) != LUA_TSTRING)
		return 1; /* nil */
	const char *key = lua_tostring(L, 2);
	if (pv_lua_lab_settings_push(L, key))
		return 1;
	const struct pv_lab *lab = lab_of(L, handle);
	struct pv_vm *vm = lab != NULL ? pv_lab_find_vm(lab, key) : NULL;
	if (vm == NULL)
		return 1;
	pv_lua_vm_push(L, vm);
	return 1;
}

static int lab_newindex(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, TYPE_NAME, "lab");
	pv_lua_lab_settings_set(L, handle->scope != 0);
	return 0;
}

static const luaL_Reg methods[] = {
    {"vm",	      lab_vm		 },
    {"boot",	     lab_boot	     },
    {"name",	     lab_name	     },
    {"vm_names",	 lab_vm_names	     },
    {"members",		lab_members	   },
    {"depends_on_file", lab_depends_on_file},
    {NULL,	      NULL	       },
};

void pv_lua_lab_open(lua_State *L)
{
	luaL_newmetatable(L, TYPE_NAME);
	luaL_newlib(L, methods);
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "pack");
	lua_pushcclosure(L, forward_to_string, 1);
	lua_setfield(L, -3, "pack");
	lua_getfield(L, -1, "unpack");
	lua_pushcclosure(L, forward_to_string, 1);
	lua_setfield(L, -3, "unpack");
	lua_pop(L, 1);
	lua_pushcclosure(L, lab_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, lab_newindex);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, lab_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pushliteral(L, TYPE_NAME);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

void pv_lua_lab_push(lua_State *L)
{
	struct handle *handle = lua_newuserdatauv(L, sizeof(*handle), 0);
	handle->scope = pv_lua_state_of(L)->scope;
	luaL_setmetatable(L, TYPE_NAME);
}
