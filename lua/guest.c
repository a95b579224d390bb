/*
 * Files of the guest by their names: read_file, write_file, stat, listdir, mkdir,
 * unlink, rename. (run is in lua/command.c.) Each call waits for the agent's answer on the script
 * thread; an interrupt or the guest's end makes the agent client fail it. Script thread only.
 */
#include "lua/guest.h"

#include "base/bytes.h"
#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/error.h"
#include "lua/principal.h"

#define NS_PER_SECOND INT64_C(1000000000)

/* vm:read_file(path) */
static int vm_read_file(lua_State *L)
{
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	pv_lua_principal_reach(L, &self);
	struct pv_bytes *content = pv_lua_buffer_new(L);
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_read_file(&self.by, path, content, &err) < 0) {
		pv_bytes_finish(content);
		return pv_lua_principal_raise(L, &self, &err);
	}
	pv_lua_buffer_push(L, content);
	return 1;
}

/* vm:write_file(path, data) */
static int vm_write_file(lua_State *L)
{
	size_t len;
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	const char *data = pv_lua_argument_data(L, 3, self.function, "data", &len);
	pv_lua_principal_reach(L, &self);
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_write_file(&self.by, path, data, len, 0644, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	return 0;
}

void pv_lua_guest_push_stat(lua_State *L, const struct pv_agent_stat *info)
{
	lua_createtable(L, 0, 5);
	lua_pushinteger(L, (lua_Integer)info->size);
	lua_setfield(L, -2, "size");
	/* In two parts: nanoseconds since 1970 do not fit a double. */
	lua_pushnumber(L, (lua_Number)(info->mtime_ns / NS_PER_SECOND) +
			      (lua_Number)(info->mtime_ns % NS_PER_SECOND) / 1e9);
	lua_setfield(L, -2, "mtime");
	lua_pushinteger(L, info->mtime_ns);
	lua_setfield(L, -2, "mtime_ns");
	lua_pushinteger(L, info->perm);
	lua_setfield(L, -2, "perm");
	lua_pushstring(L, pv_agent_entry_name(info->type));
	lua_setfield(L, -2, "entry_type");
}

/* vm:stat(path) */
static int vm_stat(lua_State *L)
{
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	pv_lua_principal_reach(L, &self);
	struct pv_agent_stat stat_result = {0};
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_stat(&self.by, path, true, &stat_result, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	pv_lua_guest_push_stat(L, &stat_result);
	return 1;
}

void pv_lua_guest_push_list(lua_State *L, const struct pv_bytes *list)
{
	const char *name;
	enum pv_agent_entry_type type;
	lua_newtable(L);
	lua_Integer index = 0;
	for (size_t at = 0; pv_agent_list_next(list, &at, &name, &type);) {
		lua_createtable(L, 0, 2);
		lua_pushstring(L, name);
		lua_setfield(L, -2, "name");
		lua_pushstring(L, pv_agent_entry_name(type));
		lua_setfield(L, -2, "entry_type");
		lua_rawseti(L, -2, ++index);
	}
}

/* vm:listdir(path) */
static int vm_listdir(lua_State *L)
{
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	pv_lua_principal_reach(L, &self);
	struct pv_bytes *list = pv_lua_buffer_new(L);
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_list(&self.by, path, list, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	pv_lua_guest_push_list(L, list);
	pv_bytes_finish(list);
	return 1;
}

/* vm:mkdir(path, {parents = false, perm = 0755}) */
static int vm_mkdir(lua_State *L)
{
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	bool parents = false;
	unsigned perm = 0755;
	if (pv_lua_argument_table(L, 3, self.function, "opts")) {
		parents = pv_lua_argument_flag(L, 3, "parents", false, self.function);
		perm = pv_lua_argument_perm(L, 3, "perm", perm, self.function);
	}
	pv_lua_principal_reach(L, &self);
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_mkdir(&self.by, path, parents, perm, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	return 0;
}

/* vm:unlink(path) */
static int vm_unlink(lua_State *L)
{
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	pv_lua_principal_reach(L, &self);
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_unlink(&self.by, path, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	return 0;
}

/* vm:rename(from, to) */
static int vm_rename(lua_State *L)
{
	struct pv_lua_principal self;
	pv_lua_principal_check(L, &self);
	const char *from = pv_lua_argument_name(L, 2, self.function, "from");
	const char *to = pv_lua_argument_name(L, 3, self.function, "to");
	pv_lua_principal_reach(L, &self);
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_rename(&self.by, from, to, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	return 0;
}

const luaL_Reg pv_lua_guest_methods[] = {
    {"read_file",  vm_read_file },
    {"write_file", vm_write_file},
    {"stat",	     vm_stat	    },
    {"listdir",	vm_listdir	  },
    {"mkdir",      vm_mkdir     },
    {"unlink",     vm_unlink	},
    {"rename",     vm_rename	},
    {NULL,	   NULL	       },
};
