/*
 * Copies between host and guest: push_file, push_dir, pull_file, pull_dir. A relative host path
 * starts at the directory of the Lua file that contains the call, so a test finds its files
 * wherever it is run from. Script thread only.
 */
#include "lua/tree.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/principal.h"

/* Pushes `path`, resolved against the directory of the Lua file that contains the call. */
static const char *push_host_path(lua_State *L, const char *path)
{
	lua_Debug activation;
	if (path[0] == '/')
		return lua_pushstring(L, path);
	for (int level = 1; lua_getstack(L, level, &activation); level++) {
		if (!lua_getinfo(L, "S", &activation) || activation.source[0] != '@')
			continue;
		const char *file = activation.source + 1;
		const char *slash = strrchr(file, '/');
		if (slash == NULL)
			break;
		lua_pushlstring(L, file, (size_t)(slash - file) + 1);
		lua_pushstring(L, path);
		lua_concat(L, 2);
		return lua_tostring(L, -1);
	}
	return lua_pushstring(L, path);
}

/* What is wrong on this side begins with the method's name, what is wrong there with the VM's. */
static int raise(lua_State *L, const struct pv_lua_principal *self, struct pv_err *err)
{
	if (err->kind != PV_ERR_INPUT)
		return pv_lua_principal_raise(L, self, err);
	pv_err_prefix(err, "%s", self->function);
	return pv_lua_error_raise(L, err);
}

/* vm:push_*(host, guest, {auto_dep=true}) */
static int push(lua_State *L, bool is_directory)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	const char *host = pv_lua_argument_name(L, 2, self.function, "host path");
	const char *guest = pv_lua_argument_name(L, 3, self.function, "guest path");
	if (pv_lua_argument_table(L, 4, self.function, "opts"))
		pv_lua_argument_flag(
		    L, 4, "auto_dep", true, self.function); /* for the scanner of fixture keys */
	pv_lua_principal_reach(L, &self);
	host = push_host_path(L, host);
	if (pv_agent_push(&self.by, host, guest, is_directory, &err) < 0)
		return raise(L, &self, &err);
	return 0;
}

/* vm:pull_*(guest, host) */
static int pull(lua_State *L, bool is_directory)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	const char *guest = pv_lua_argument_name(L, 2, self.function, "guest path");
	const char *host = pv_lua_argument_name(L, 3, self.function, "host path");
	pv_lua_principal_reach(L, &self);
	host = push_host_path(L, host);
	if (pv_agent_pull(&self.by, guest, host, is_directory, &err) < 0)
		return raise(L, &self, &err);
	return 0;
}

int pv_lua_tree_push_file(lua_State *L)
{
	return push(L, false);
}

int pv_lua_tree_push_dir(lua_State *L)
{
	return push(L, true);
}

int pv_lua_tree_pull_file(lua_State *L)
{
	return pull(L, false);
}

int pv_lua_tree_pull_dir(lua_State *L)
{
	return pull(L, true);
}
