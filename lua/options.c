/*
 * The options table of provium:vm and vm:boot. Types and ranges of the fields are checked here,
 * with texts that name the key; whether the sizes make sense for a machine is the lab's. Script
 * thread only.
 */
#include "lua/options.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/units.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/duration.h"
#include "lua/error.h"
#include "lua/type.h"

#define TYPE_NAME "provium.options"

/* A file of the host that is put into a guest. */
#define FILE_MAX (UINT64_C(1) << 30)

#define NS_PER_SECOND INT64_C(1000000000)

static int collect(lua_State *L)
{
	struct pv_options *options = luaL_testudata(L, 1, TYPE_NAME);
	if (options != NULL)
		pv_options_finish(options);
	return 0;
}

struct pv_options *pv_lua_options_new(lua_State *L)
{
	return pv_lua_type_box(L, TYPE_NAME, sizeof(struct pv_options), collect);
}

/* All readers below find the value on top, which is not nil, and leave it there. */

static void read_memory(lua_State *L, const char *function, struct pv_options *options)
{
	lua_Integer bytes = 0;
	if (lua_type(L, -1) == LUA_TSTRING) {
		size_t len;
		const char *text = lua_tolstring(L, -1, &len);
		if (strlen(text) != len || pv_units_size(text, false, &options->memory) < 0)
			luaL_error(L,
			    "%s: opts.memory: cannot parse `%s`; give bytes, or a size such as "
			    "\"512M\" or \"2G\"",
			    function, text);
		bytes = (lua_Integer)options->memory;
	} else if (!pv_lua_argument_whole(L, -1, &bytes)) {
		luaL_error(L, "%s: opts.memory must be int or string, got %s", function,
		    pv_lua_argument_shown(L, -1));
	}
	if (bytes <= 0)
		luaL_error(L, "%s: opts.memory: must be positive, got `%s`", function,
		    luaL_tolstring(L, -1, NULL));
	options->memory = (uint64_t)bytes;
	options->has_memory = true;
}

/* An integer in [least, most]; floats without a fraction are taken. */
static lua_Integer read_integer(
    lua_State *L, const char *function, const char *what, lua_Integer least, lua_Integer most)
{
	lua_Integer value = pv_lua_argument_integer(L, -1, function, what);
	if (value < least || value > most)
		luaL_error(L, "%s: %s: %I is out of range (%I to %I)", function, what,
		    (LUAI_UACINT)value, (LUAI_UACINT)least, (LUAI_UACINT)most);
	return value;
}

static void read_cpus(lua_State *L, const char *function, struct pv_options *options)
{
	options->cpus = (unsigned)read_integer(L, function, "opts.cpus", 1, INT_MAX);
	options->has_cpus = true;
}

/* A u64: a negative Lua integer is the same 64 bits. */
static void read_rng_seed(lua_State *L, const char *function, struct pv_options *options)
{
	options->rng_seed =
	    (uint64_t)read_integer(L, function, "opts.rng_seed", LUA_MININTEGER, LUA_MAXINTEGER);
	options->has_rng_seed = true;
}

static void read_initial_time(lua_State *L, const char *function, struct pv_options *options)
{
	int64_t seconds = 0, fraction = 0;
	if (lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L,
		    "%s: opts.initial_time must be a number of seconds since 1970, got %s",
		    function, pv_lua_argument_type(L, -1));
	if (lua_isinteger(L, -1)) {
		seconds = lua_tointeger(L, -1);
	} else {
		double value = lua_tonumber(L, -1);
		if (!isfinite(value))
			luaL_error(L, "%s: opts.initial_time: must be finite, got %s", function,
			    luaL_tolstring(L, -1, NULL));
		double whole = floor(value);
		/* Beyond this a double has no fraction, and the product below would not fit anyway.
		 */
		seconds = fabs(whole) < 9e18 ? (int64_t)whole : INT64_MAX;
		fraction = (int64_t)((value - whole) * 1e9 + 0.5);
	}
	if (__builtin_mul_overflow(seconds, NS_PER_SECOND, &options->initial_time_ns) ||
	    __builtin_add_overflow(options->initial_time_ns, fraction, &options->initial_time_ns))
		luaL_error(L, "%s: opts.initial_time: %s is out of range (years 1678 to 2262)",
		    function, luaL_tolstring(L, -1, NULL));
	options->has_initial_time = true;
}

static void read_agent_timeout(lua_State *L, const char *function, struct pv_options *options)
{
	lua_pushfstring(L, "%s: opts.agent_timeout", function);
	options->agent_timeout_ns = pv_lua_duration_get(L, -2, lua_tostring(L, -1), 0);
	lua_pop(L, 1);
	if (options->agent_timeout_ns <= 0)
		luaL_error(L, "%s: opts.agent_timeout: must be positive, got %s", function,
		    luaL_tolstring(L, -1, NULL));
	options->has_agent_timeout = true;
}

static void read_cmdline(lua_State *L, const char *function, const char *what, char **out)
{
	const char *text = pv_lua_argument_text(L, -1, function, what);
	free(*out);
	*out = strdup(text);
	if (*out == NULL)
		luaL_error(L, "not enough memory");
}

/* One entry {path, content, mode=0644} on top. */
static void read_file(
    lua_State *L, const char *function, lua_Integer number, struct pv_options *options)
{
	size_t len;
	unsigned mode = 0644;
	struct pv_err err = PV_ERR_INIT;
	if (!lua_istable(L, -1))
		luaL_error(L, "%s: opts.files[%I] must be a table {path=, content=, mode=}, got %s",
		    function, (LUAI_UACINT)number, pv_lua_argument_type(L, -1));
	int entry = lua_gettop(L);
	lua_pushfstring(L, "opts.files[%I].path", (LUAI_UACINT)number);
	lua_getfield(L, entry, "path");
	const char *path = pv_lua_argument_name(L, -1, function, lua_tostring(L, -2));
	lua_pushfstring(L, "opts.files[%I].content", (LUAI_UACINT)number);
	lua_getfield(L, entry, "content");
	const char *content = pv_lua_argument_data(L, -1, function, lua_tostring(L, -2), &len);
	lua_pushfstring(L, "opts.files[%I].mode", (LUAI_UACINT)number);
	if (lua_getfield(L, entry, "mode") != LUA_TNIL)
		mode = (unsigned)read_integer(L, function, lua_tostring(L, -2), 0, 07777);
	if (pv_options_add_file(options, path, content, len, mode, &err) < 0) {
		pv_err_prefix(&err, "%s", function);
		pv_lua_error_raise(L, &err);
	}
	lua_settop(L, entry);
}

/* One file: the guest's path at -2, the host's at -1. */
static void read_host_file(lua_State *L, const char *function, struct pv_options *options)
{
	struct stat status;
	struct pv_err err = PV_ERR_INIT;
	/* Somebody may have forgotten the braces around the only entry of an array. */
	if (lua_type(L, -2) != LUA_TSTRING || lua_tostring(L, -2)[0] != '/')
		luaL_error(L,
		    "%s: opts.files must be an array of {path=, content=, mode=}, or of "
		    "the older kind: {[\"/path/in/the/guest\"] = \"path of the host\"}",
		    function);
	lua_pushfstring(L, "opts.files[\"%s\"]", lua_tostring(L, -2));
	const char *host = pv_lua_argument_name(L, -2, function, lua_tostring(L, -1));
	struct pv_bytes *content = pv_lua_buffer_new(L);
	int result = pv_fd_slurp("host file", host, FILE_MAX, content, &err);
	if (result < 0) {
		pv_err_prefix(&err, "%s", lua_tostring(L, -2));
	} else {
		unsigned mode = stat(host, &status) == 0 ? status.st_mode & 0777 : 0644;
		result = pv_options_add_file(
		    options, lua_tostring(L, -4), content->data, content->len, mode, &err);
	}
	pv_bytes_finish(content);
	if (result < 0) {
		pv_err_prefix(&err, "%s", function);
		pv_lua_error_raise(L, &err);
	}
	lua_pop(L, 2);
}

/* The older kind: a map from paths in the guest to files of the host. */
static void read_host_files(lua_State *L, const char *function, struct pv_options *options)
{
	luaL_checkstack(L, 8, function);
	lua_pushnil(L);
	while (lua_next(L, -2) != 0) {
		read_host_file(L, function, options);
		lua_pop(L, 1);
	}
}

static void read_files(lua_State *L, const char *function, struct pv_options *options)
{
	pv_lua_argument_table(L, -1, function, "opts.files");
	lua_Integer count = luaL_len(L, -1);
	if (count == 0) {
		read_host_files(L, function, options);
	}
	for (lua_Integer i = 1; i <= count; i++) {
		lua_geti(L, -1, i);
		read_file(L, function, i, options);
		lua_pop(L, 1);
	}
	options->has_files = true;
}

static void read_disks(lua_State *L, const char *function, struct pv_options *options)
{
	pv_lua_argument_table(L, -1, function, "opts.disks");
	lua_pushnil(L);
	if (lua_next(L, -2) != 0)
		luaL_error(L, "%s: opts.disks: block devices are not available yet in this version",
		    function);
}

static void read_kernel_cmdline(lua_State *L, const char *function, struct pv_options *options)
{
	read_cmdline(L, function, "opts.kernel_cmdline", &options->kernel_cmdline);
}

static void read_kernel_cmdline_append(
    lua_State *L, const char *function, struct pv_options *options)
{
	read_cmdline(L, function, "opts.kernel_cmdline_append", &options->kernel_cmdline_append);
}

static const struct {
	const char *key;
	void (*read)(lua_State *L, const char *function, struct pv_options *options);
} readers[] = {
    {"memory",		read_memory		  },
    {"cpus",		  read_cpus		      },
    {"kernel_cmdline",	       read_kernel_cmdline	  },
    {"kernel_cmdline_append", read_kernel_cmdline_append},
    {"rng_seed",		 read_rng_seed	      },
    {"initial_time",	     read_initial_time	      },
    {"agent_timeout",	      read_agent_timeout	},
    {"files",		 read_files		},
    {"disks",		 read_disks		},
};

void pv_lua_options_read(lua_State *L, int index, const char *function, struct pv_options *options)
{
	index = lua_absindex(L, index);
	luaL_checkstack(L, 16, function);
	int top = lua_gettop(L);
	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		if (lua_getfield(L, index, readers[i].key) != LUA_TNIL)
			readers[i].read(L, function, options);
		lua_settop(L, top);
	}
}
