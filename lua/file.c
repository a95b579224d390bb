/*
 * File userdata: a number that the guest's agent gave, for a principal, in one life of the agent.
 * It is a resource of its scope (lua/resource.h). Each method is one request and waits for its
 * answer. Script thread only.
 */
#include "lua/file.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/error.h"
#include "lua/principal.h"
#include "lua/resource.h"
#include "lua/type.h"

struct file {
	struct pv_lua_resource resource; /* first */
	struct pv_principal by;
	int64_t handle;
};

bool pv_lua_file_is(lua_State *L, int index)
{
	return luaL_testudata(L, index, PV_LUA_FILE_TYPE) != NULL;
}

static struct file *check_open(lua_State *L, int index, const char *function)
{
	struct file *file = pv_lua_argument_self(L, index, PV_LUA_FILE_TYPE, function);
	if (!pv_lua_resource_is_open(&file->resource))
		luaL_error(L, "%s: file is closed", function);
	return file;
}

/* Raises the state's sentence when the guest cannot be reached. */
static void reach(lua_State *L, const struct file *file, const char *action)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent *agent;
	if (pv_vm_agent(file->resource.vm, action, &agent, &err) < 0)
		pv_lua_error_raise(L, &err);
}

/* Raises "vm `N`: <function>: file `P`: ...". */
static int raise(lua_State *L, const struct file *file, const char *function, struct pv_err *err)
{
	pv_err_prefix(err, "%s `%.400s`", function, file->resource.detail);
	return pv_lua_error_raise_guest(L, file->resource.vm, err);
}

void pv_lua_file_view(
    lua_State *L, int index, const char *function, const char *action, struct pv_lua_file_view *out)
{
	const struct file *file = check_open(L, index, function);
	reach(L, file, action);
	*out = (struct pv_lua_file_view){
	    .vm = file->resource.vm,
	    .by = file->by,
	    .handle = file->handle,
	    .path = file->resource.detail,
	};
}

/* --- reading and writing --- */

static int read_into(lua_State *L, const struct file *file, const char *function, int64_t size)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes *content = pv_lua_buffer_new(L);
	if (pv_agent_handle_read(&file->by, file->handle, size, content, &err) < 0)
		return raise(L, file, function, &err);
	pv_lua_buffer_push(L, content);
	return 1;
}

/* file:read(n) */
static int file_read(lua_State *L)
{
	const struct file *file = check_open(L, 1, "file:read");
	lua_Integer size;
	if (!pv_lua_argument_whole(L, 2, &size) || size < 0)
		return luaL_error(L,
		    "file:read: n must be a number of bytes, got %s; use read_all() for the rest "
		    "of the file",
		    pv_lua_argument_shown(L, 2));
	reach(L, file, "read");
	return read_into(L, file, "file:read", size);
}

/* file:read_all() */
static int file_read_all(lua_State *L)
{
	const struct file *file = check_open(L, 1, "file:read_all");
	reach(L, file, "read_all");
	return read_into(L, file, "file:read_all", -1);
}

/* file:write(data) */
static int file_write(lua_State *L)
{
	size_t len;
	struct pv_err err = PV_ERR_INIT;
	const struct file *file = check_open(L, 1, "file:write");
	const char *data = pv_lua_argument_data(L, 2, "file:write", "data", &len);
	reach(L, file, "write");
	if (pv_agent_handle_write(&file->by, file->handle, data, len, &err) < 0)
		return raise(L, file, "file:write", &err);
	lua_pushinteger(L, (lua_Integer)len);
	return 1;
}

/* --- position --- */

static int move(lua_State *L, const struct file *file, const char *function, int64_t offset,
    enum pv_agent_whence whence)
{
	struct pv_err err = PV_ERR_INIT;
	int64_t at = 0;
	if (pv_agent_handle_seek(&file->by, file->handle, offset, whence, &at, &err) < 0)
		return raise(L, file, function, &err);
	lua_pushinteger(L, at);
	return 1;
}

static enum pv_agent_whence check_whence(lua_State *L, int index)
{
	static const char *const names[] = {"set", "cur", "end"};
	if (lua_isnoneornil(L, index))
		return PV_AGENT_SEEK_SET;
	const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
	for (int i = 0; text != NULL && i < 3; i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum pv_agent_whence)i;
	}
	return (enum pv_agent_whence)luaL_error(L,
	    "file:seek: whence must be set/cur/end, got `%s`",
	    text != NULL ? text : pv_lua_argument_type(L, index));
}

/* file:seek(offset, whence = "set") */
static int file_seek(lua_State *L)
{
	const struct file *file = check_open(L, 1, "file:seek");
	lua_Integer offset = pv_lua_argument_integer(L, 2, "file:seek", "offset");
	enum pv_agent_whence whence = check_whence(L, 3);
	reach(L, file, "seek");
	return move(L, file, "file:seek", offset, whence);
}

/* file:tell() */
static int file_tell(lua_State *L)
{
	const struct file *file = check_open(L, 1, "file:tell");
	reach(L, file, "tell");
	return move(L, file, "file:tell", 0, PV_AGENT_SEEK_CUR);
}

/* --- life --- */

/* file:fd() */
static int file_fd(lua_State *L)
{
	const struct file *file = pv_lua_argument_self(L, 1, PV_LUA_FILE_TYPE, "file:fd");
	lua_pushinteger(L, pv_lua_resource_is_open(&file->resource) ? file->handle : 0);
	return 1;
}

/* The end of the resource: tells the guest, when that is there and knows the number. */
static void end(lua_State *L, struct pv_lua_resource *resource)
{
	struct file *file = (struct file *)resource;
	struct pv_err err = PV_ERR_INIT;
	if (pv_vm_state(resource->vm) != PV_VM_BOOTED)
		return;
	int status = pv_agent_handle_close(&file->by, file->handle, &err);
	/* Only what the guest's kernel says about the file is news (a full disk, at last); with the
	 * agent's life its files have ended as well. */
	if (status == -EIO || status == -ENOSPC || status == -EDQUOT)
		raise(L, file, "file:close", &err);
}

static int file_close(lua_State *L)
{
	struct file *file = pv_lua_argument_self(L, 1, PV_LUA_FILE_TYPE, "file:close");
	pv_lua_resource_close(L, 1, &file->resource);
	return 0;
}

static int file_tostring(lua_State *L)
{
	const struct file *file = pv_lua_argument_self(L, 1, PV_LUA_FILE_TYPE, "tostring");
	if (pv_lua_resource_is_open(&file->resource))
		lua_pushfstring(
		    L, "file(%s handle=%I)", file->resource.detail, (LUAI_UACINT)file->handle);
	else
		lua_pushliteral(L, "file(closed)");
	return 1;
}

/* --- opening --- */

static void check_mode(lua_State *L, int index, const char *function, struct pv_agent_open *out)
{
	if (!pv_lua_argument_table(L, index, function, "mode"))
		luaL_error(L, "%s: mode must be a table with read, write or append, got %s",
		    function, pv_lua_argument_type(L, index));
	out->read = pv_lua_argument_flag(L, index, "read", false, function);
	out->write = pv_lua_argument_flag(L, index, "write", false, function);
	out->append = pv_lua_argument_flag(L, index, "append", false, function);
	out->create = pv_lua_argument_flag(L, index, "create", false, function);
	out->truncate = pv_lua_argument_flag(L, index, "truncate", false, function);
	out->exclusive = pv_lua_argument_flag(L, index, "exclusive", false, function);
	out->perm = pv_lua_argument_perm(L, index, "perm", 0644, function);
	if (!out->read && !out->write && !out->append)
		luaL_error(L, "%s: mode must have at least one of read, write, append", function);
	if (out->truncate && !out->write && !out->append)
		luaL_error(L, "%s: mode.truncate changes the file; give write or append as well",
		    function);
	out->create = out->create || out->exclusive;
}

int pv_lua_file_open_file(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_agent_open how = {0};
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	const char *path = pv_lua_argument_name(L, 2, self.function, "path");
	check_mode(L, 3, self.function, &how);
	pv_lua_principal_reach(L, &self);
	struct file *file = pv_lua_type_new(L, PV_LUA_FILE_TYPE, sizeof(*file), 0);
	file->by = self.by;
	if (pv_agent_open_file(&self.by, path, &how, &file->handle, &file->by.boot, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	pv_lua_resource_add(L, &file->resource, PV_LUA_FILE, "file", path, self.vm, end);
	return 1;
}

static const luaL_Reg methods[] = {
    {"read",     file_read    },
    {"read_all", file_read_all},
    {"write",    file_write	},
    {"seek",     file_seek    },
    {"tell",     file_tell    },
    {"fd",	   file_fd	  },
    {"close",    file_close	},
    {NULL,	   NULL	       },
};

static const luaL_Reg metamethods[] = {
    {"__close",	file_close	  },
    {"__tostring", file_tostring},
    {NULL,	   NULL	       },
};

void pv_lua_file_open(lua_State *L)
{
	luaL_setfuncs(L, methods, 0);
	pv_lua_type_open(L, PV_LUA_FILE_TYPE, metamethods, 0);
}
