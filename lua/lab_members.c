/*
 * Methods of Lab about its members: making, including, forgetting, asking (spec 5.2). Arguments and
 * results only; the rules are lab/lab.h's. Script thread only.
 */
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "lab/lab.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/lab.h"
#include "lua/options.h"
#include "lua/vm.h"

/* --- making and looking up --- */

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
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:vm");
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

/* lab:lab(name?) */
static int lab_lab(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:lab");
	const char *name = NULL;
	if (!lua_isnoneornil(L, 2))
		name = pv_lua_argument_name(L, 2, "lab:lab", "name");
	struct pv_err err = PV_ERR_INIT;
	struct pv_lab *sub = NULL;
	if (pv_lab_sub(lab, name, &sub, &err) < 0)
		return pv_lua_error_raise(L, &err);
	pv_lua_lab_push(L, sub);
	return 1;
}

static int lab_bridge(lua_State *L)
{
	pv_lua_lab_check(L, 1, "lab:bridge");
	return luaL_error(L, "lab:bridge: not available yet in this version; guests have no "
			     "network, talk to them through the methods of VM");
}

/* --- including and forgetting --- */

/* Whether the value at `index` can be a member. */
static bool is_resource(lua_State *L, int index)
{
	return luaL_testudata(L, index, PV_LUA_VM_TYPE) != NULL ||
	       luaL_testudata(L, index, PV_LUA_LAB_TYPE) != NULL;
}

/* Returns a negative errno with a sentence in `err`; raises only for handles that are released. */
static int include_one(lua_State *L, struct pv_lab *lab, int index, struct pv_err *err)
{
	if (luaL_testudata(L, index, PV_LUA_VM_TYPE) != NULL)
		return pv_lab_include_vm(lab, pv_lua_vm_check_at(L, index, "lab:include"), err);
	return pv_lab_include_lab(lab, pv_lua_lab_check(L, index, "lab:include"), err);
}

static void forget_one(lua_State *L, struct pv_lab *lab, int index)
{
	if (luaL_testudata(L, index, PV_LUA_VM_TYPE) != NULL)
		pv_lab_remove_vm(lab, pv_lua_vm_check_at(L, index, "lab:include"));
	else
		pv_lab_remove_lab(lab, pv_lua_lab_check(L, index, "lab:include"));
}

/* Pushes all entries of the array at 2 and checks them. Returns how many. */
static int push_entries(lua_State *L)
{
	lua_Unsigned count = lua_rawlen(L, 2);
	/* Names must differ, so there is no sense in more. */
	if (count > PV_LAB_SUBS_MAX)
		luaL_error(L, "lab:include: at most %d array entries at a time", PV_LAB_SUBS_MAX);
	luaL_checkstack(L, (int)count + LUA_MINSTACK, "lab:include");
	for (int i = 1; i <= (int)count; i++) {
		if (lua_rawgeti(L, 2, i) != LUA_TUSERDATA)
			luaL_error(L, "lab:include: array entries must be userdata, got %s at %d",
			    pv_lua_argument_type(L, -1), i);
		if (!is_resource(L, -1))
			luaL_error(L,
			    "lab:include: expected vm, bridge, or lab userdata, got %s at %d",
			    pv_lua_argument_type(L, -1), i);
		/* Raises now, and not half way through. */
		if (luaL_testudata(L, -1, PV_LUA_VM_TYPE) != NULL)
			pv_lua_vm_check_at(L, -1, "lab:include");
		else
			pv_lua_lab_check(L, -1, "lab:include");
	}
	return (int)count;
}

/* lab:include(resource | {resource, ...}): all or none. */
static int lab_include(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:include");
	struct pv_err err = PV_ERR_INIT;
	int status = 0, done = 0, count = 1;
	lua_settop(L, 2);
	if (lua_istable(L, 2))
		count = push_entries(L);
	else if (is_resource(L, 2))
		lua_pushvalue(L, 2);
	else
		return luaL_error(L, "lab:include: expected vm, bridge, or lab userdata, got %s",
		    pv_lua_argument_type(L, 2));
	while (done < count && status == 0) {
		status = include_one(L, lab, 3 + done, &err);
		done += status == 0;
	}
	if (status == 0)
		return 0;
	while (done-- > 0)
		forget_one(L, lab, 3 + done);
	pv_err_prefix(&err, "lab:include");
	return pv_lua_error_raise(L, &err);
}

static int remove_name(lua_State *L, struct pv_lab *lab, const char *name)
{
	/* VM, then bridge (there are none), then sub-lab; direct members only. */
	for (size_t i = 0; i < pv_lab_vm_count(lab); i++) {
		struct pv_vm *vm = pv_lab_vm_at(lab, i);
		if (strcmp(pv_vm_name(vm), name) == 0) {
			pv_lab_remove_vm(lab, vm);
			return 0;
		}
	}
	for (size_t i = 0; i < pv_lab_sub_count(lab); i++) {
		struct pv_lab *sub = pv_lab_sub_at(lab, i);
		if (strcmp(pv_lab_name(sub), name) == 0) {
			pv_lab_remove_lab(lab, sub);
			return 0;
		}
	}
	return luaL_error(
	    L, "lab:remove: no vm, bridge or sub-lab named `%s` directly in this lab", name);
}

/* lab:remove(name | resource) */
static int lab_remove(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:remove");
	if (lua_type(L, 2) == LUA_TSTRING)
		return remove_name(L, lab, pv_lua_argument_name(L, 2, "lab:remove", "name"));
	if (luaL_testudata(L, 2, PV_LUA_VM_TYPE) != NULL) {
		struct pv_vm *vm = pv_lua_vm_check_at(L, 2, "lab:remove");
		if (!pv_lab_remove_vm(lab, vm))
			return luaL_error(
			    L, "lab:remove: vm `%s` is not directly in this lab", pv_vm_name(vm));
		return 0;
	}
	if (luaL_testudata(L, 2, PV_LUA_LAB_TYPE) == NULL)
		return luaL_error(L,
		    "lab:remove: expected a name, or vm, bridge, or lab userdata, got %s",
		    pv_lua_argument_type(L, 2));
	struct pv_lab *sub = pv_lua_lab_check(L, 2, "lab:remove");
	if (!pv_lab_remove_lab(lab, sub))
		return luaL_error(
		    L, "lab:remove: lab `%s` is not directly in this lab", pv_lab_name(sub));
	return 0;
}

/* --- asking --- */

static int lab_name(lua_State *L)
{
	lua_pushstring(L, pv_lab_name(pv_lua_lab_check(L, 1, "lab:name")));
	return 1;
}

/* Puts `name` into its place of the sorted array on top, which holds `count` names. Insertion sort:
 * labs are small. */
static void insert_sorted(lua_State *L, size_t count, const char *name)
{
	lua_Integer at = (lua_Integer)count + 1;
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

static int lab_vm_names(lua_State *L)
{
	const struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:vm_names");
	lua_newtable(L);
	for (size_t i = 0; i < pv_lab_vm_count(lab); i++)
		insert_sorted(L, i, pv_vm_name(pv_lab_vm_at(lab, i)));
	return 1;
}

static int lab_bridge_names(lua_State *L)
{
	pv_lua_lab_check(L, 1, "lab:bridge_names");
	lua_newtable(L); /* bridges come later */
	return 1;
}

static int lab_sub_lab_names(lua_State *L)
{
	const struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:sub_lab_names");
	lua_newtable(L);
	for (size_t i = 0; i < pv_lab_sub_count(lab); i++)
		insert_sorted(L, i, pv_lab_name(pv_lab_sub_at(lab, i)));
	return 1;
}

/* Appends {kind, name} to the array on top. */
static void append_member(lua_State *L, const char *kind, const char *name)
{
	lua_createtable(L, 0, 2);
	lua_pushstring(L, kind);
	lua_setfield(L, -2, "kind");
	lua_pushstring(L, name);
	lua_setfield(L, -2, "name");
	lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int lab_members(lua_State *L)
{
	const struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:members");
	lua_newtable(L);
	for (size_t i = 0; i < pv_lab_vm_count(lab); i++)
		append_member(L, "vm", pv_vm_name(pv_lab_vm_at(lab, i)));
	for (size_t i = 0; i < pv_lab_sub_count(lab); i++)
		append_member(L, "sub_lab", pv_lab_name(pv_lab_sub_at(lab, i)));
	return 1;
}

/* Only the scanner of fixture keys reads it. */
static int lab_depends_on_file(lua_State *L)
{
	pv_lua_lab_check(L, 1, "lab:depends_on_file");
	pv_lua_argument_name(L, 2, "lab:depends_on_file", "path");
	return 0;
}

const luaL_Reg pv_lua_lab_member_methods[] = {
    {"vm",	      lab_vm		 },
    {"lab",	     lab_lab		   },
    {"bridge",	       lab_bridge	 },
    {"include",		lab_include	   },
    {"remove",	       lab_remove	 },
    {"name",	     lab_name	     },
    {"vm_names",	 lab_vm_names	     },
    {"bridge_names",    lab_bridge_names   },
    {"sub_lab_names",   lab_sub_lab_names  },
    {"members",		lab_members	   },
    {"depends_on_file", lab_depends_on_file},
    {NULL,	      NULL	       },
};
