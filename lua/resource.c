/*
 * The list of open resources. It hangs on the state's context in order of creation; a table in the
 * registry holds the userdata, so an open one is never collected: what a script has forgotten is
 * closed by its scope, in the order of the specification, and not at a moment that the collector
 * chooses, because closing may ask the guest and wait. Script thread only.
 */
#include "lua/resource.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lab/vm.h"
#include "lua/error.h"
#include "lua/state.h"

/* Registry: resource (light userdata) -> its userdata. */
#define HELD_KEY "provium.resources"

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);
	return len >= tail && strcmp(text + len - tail, end) == 0;
}

/* The innermost line of a test or fixture file on the stack. */
static void find_site(lua_State *L, struct pv_lua_resource *resource)
{
	lua_Debug activation;
	for (int level = 1; lua_getstack(L, level, &activation); level++) {
		if (!lua_getinfo(L, "Sl", &activation) || activation.source[0] != '@')
			continue;
		const char *file = activation.source + 1;
		if (!ends_with(file, ".test.lua") && !ends_with(file, ".fixture.lua"))
			continue;
		resource->file = strdup(file);
		resource->line = activation.currentline;
		return;
	}
}

static void release(struct pv_lua_resource *resource)
{
	pv_vm_unref(resource->vm);
	resource->vm = NULL;
	free(resource->detail);
	free(resource->file);
	free(resource->test);
	resource->detail = resource->file = resource->test = NULL;
}

/* Holds the userdata on top, or lets go of it when that is nil. */
static void hold(lua_State *L, const struct pv_lua_resource *resource)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, HELD_KEY);
	lua_insert(L, -2);
	lua_rawsetp(L, -2, resource);
	lua_pop(L, 1);
}

void pv_lua_resource_add(lua_State *L, struct pv_lua_resource *resource,
    enum pv_lua_resource_kind kind, const char *label, const char *detail, struct pv_vm *vm,
    void (*close)(lua_State *L, struct pv_lua_resource *resource))
{
	struct pv_lua *lua = pv_lua_state_of(L);
	lua_pushvalue(L, -1);
	hold(L, resource);
	resource->kind = kind;
	resource->label = label;
	resource->detail = strdup(detail);
	resource->scope = lua->scope;
	if (lua->suite.current != NULL)
		resource->test = strdup(lua->suite.current->name);
	find_site(L, resource);
	resource->vm = pv_vm_ref(vm);
	resource->close = close;
	struct pv_lua_resource **at = &lua->resources;
	while (*at != NULL)
		at = &(*at)->next;
	*at = resource;
}

static struct pv_lua_resource **find(struct pv_lua *lua, const struct pv_lua_resource *resource)
{
	struct pv_lua_resource **at = &lua->resources;
	while (*at != NULL && *at != resource)
		at = &(*at)->next;
	return at;
}

bool pv_lua_resource_is_open(const struct pv_lua_resource *resource)
{
	return resource->close != NULL;
}

/* Protected or not, with the userdata at 1. */
static int call_close(lua_State *L)
{
	struct pv_lua_resource *resource = lua_touserdata(L, 1);
	void (*close)(lua_State * L, struct pv_lua_resource * resource) = resource->close;
	resource->close = NULL;
	close(L, resource);
	return 0;
}

void pv_lua_resource_close(lua_State *L, int index, struct pv_lua_resource *resource)
{
	if (resource->close == NULL)
		return;
	struct pv_lua_resource **at = find(pv_lua_state_of(L), resource);
	if (*at != NULL)
		*at = resource->next;
	index = lua_absindex(L, index);
	lua_pushcfunction(L, call_close);
	lua_pushvalue(L, index);
	int status = lua_pcall(L, 1, 0, 0);
	lua_pushnil(L);
	hold(L, resource);
	release(resource);
	if (status != LUA_OK)
		lua_error(L);
}

/* Protected: closes the resource at 1. */
static int close_one(lua_State *L)
{
	struct pv_lua_resource *resource = lua_touserdata(L, 1);
	luaL_getsubtable(L, LUA_REGISTRYINDEX, HELD_KEY);
	lua_rawgetp(L, -1, resource);
	pv_lua_resource_close(L, -1, resource);
	return 0;
}

static struct pv_lua_resource *first_of(
    const struct pv_lua *lua, unsigned scope, enum pv_lua_resource_kind kind)
{
	struct pv_lua_resource *at = lua->resources;
	while (at != NULL && (at->scope != scope || at->kind != kind))
		at = at->next;
	return at;
}

void pv_lua_resource_close_scope(struct pv_lua *lua, unsigned scope)
{
	struct pv_bytes ignored = {0};
	struct pv_lua_resource *at;
	for (int kind = 0; kind < PV_LUA_RESOURCE_KINDS; kind++) {
		while ((at = first_of(lua, scope, (enum pv_lua_resource_kind)kind)) != NULL) {
			lua_pushcfunction(lua->L, close_one);
			lua_pushlightuserdata(lua->L, at);
			if (lua_pcall(lua->L, 1, 0, 0) != LUA_OK)
				pv_lua_error_take(lua->L, &ignored);
			/* Without memory for the attempt it is still there: forget it, the guest
			 * ends it with itself. */
			struct pv_lua_resource **left = find(lua, at);
			if (*left != NULL)
				*left = at->next;
		}
	}
	pv_bytes_finish(&ignored);
}

static bool matches(
    const struct pv_lua_resource *resource, enum pv_lua_resource_kind kind, const struct pv_vm *vm)
{
	return resource->kind == kind && (vm == NULL || resource->vm == vm);
}

unsigned pv_lua_resource_count(lua_State *L, enum pv_lua_resource_kind kind, const struct pv_vm *vm)
{
	unsigned count = 0;
	const struct pv_lua_resource *at = pv_lua_state_of(L)->resources;
	for (; at != NULL; at = at->next)
		count += matches(at, kind, vm);
	return count;
}

int pv_lua_resource_describe(
    lua_State *L, enum pv_lua_resource_kind kind, const struct pv_vm *vm, struct pv_bytes *out)
{
	const struct pv_lua_resource *at = pv_lua_state_of(L)->resources;
	int status = 0;
	for (; at != NULL && status == 0; at = at->next) {
		if (!matches(at, kind, vm))
			continue;
		status =
		    pv_bytes_printf(out, "\n  %s(%s)", at->label, at->detail ? at->detail : "");
		if (status == 0 && at->file != NULL)
			status = pv_bytes_printf(out, " created at %s:%d", at->file, at->line);
		if (status == 0 && at->test != NULL)
			status = pv_bytes_printf(out, " (test \"%s\")", at->test);
	}
	return status;
}

void pv_lua_resource_push_site(lua_State *L, const struct pv_lua_resource *resource)
{
	if (resource->file == NULL) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, 0, 2);
	lua_pushstring(L, resource->file);
	lua_setfield(L, -2, "file");
	lua_pushinteger(L, resource->line);
	lua_setfield(L, -2, "line");
}
