/*
 * vm:syscall_async and its handles: a call is on its way when the function returns, and
 * handle:await waits for its end. Until then the handle is an open thing of its scope
 * (lua/resource.h), which drops it when it ends; the guest's kernel is then interrupted in it.
 * Script thread only.
 */
#include <string.h>

#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/error.h"
#include "lua/principal.h"
#include "lua/resource.h"
#include "lua/syscall.h"
#include "lua/type.h"

#define TYPE "SyscallHandle"

struct handle {
	struct pv_lua_resource resource; /* first */
	struct pv_agent_syscall_pending *pending;
	bool awaited;
	size_t count;
	int64_t lens[]; /* of the buffers */
};

static void drop(struct handle *handle)
{
	pv_agent_syscall_drop(handle->pending);
	handle->pending = NULL;
}

static void close_handle(lua_State *L, struct pv_lua_resource *resource)
{
	drop((struct handle *)resource);
}

static int collect(lua_State *L)
{
	struct handle *handle = luaL_testudata(L, 1, TYPE);
	if (handle != NULL)
		drop(handle);
	return 0;
}

/* A guest that stands still ends no call, and only this script could let it go on. The handle stays
 * good. */
static void refuse_while_still(lua_State *L, const struct handle *handle)
{
	struct pv_vm *vm = handle->resource.vm;
	struct pv_agent *agent;
	struct pv_err err = PV_ERR_INIT;
	const bool stands_still = pv_vm_state(vm) == PV_VM_PAUSED || pv_vm_is_suspended(vm);
	if (stands_still && !pv_agent_syscall_is_over(handle->pending) &&
	    pv_vm_agent(vm, "await", &agent, &err) < 0)
		pv_lua_error_raise(L, &err);
}

/* handle:await() */
static int handle_await(lua_State *L)
{
	struct handle *handle = pv_lua_argument_self(L, 1, TYPE, "handle:await");
	struct pv_agent_syscall_result result;
	struct pv_err err = PV_ERR_INIT;
	if (handle->awaited)
		return luaL_error(L, "syscall_async: handle already awaited");
	if (handle->pending == NULL)
		return luaL_error(
		    L, "syscall_async: the scope of this handle has ended, and with it the call");
	refuse_while_still(L, handle);
	struct pv_bytes *kept = pv_lua_buffer_new(L);
	struct pv_agent_syscall_pending *pending = handle->pending;
	struct pv_lua_principal self = {.vm = pv_vm_ref(handle->resource.vm)};
	handle->pending = NULL;
	handle->awaited = true;
	int status = pv_agent_syscall_end(pending, &result, &err);
	*kept = result.out; /* the collector's from now on */
	pv_lua_resource_close(L, 1, &handle->resource);
	if (status < 0)
		pv_err_prefix(&err, "vm `%s`: syscall_async", pv_vm_name(self.vm));
	pv_vm_unref(self.vm);
	if (status < 0)
		return luaL_error(L, "%s", err.text);
	pv_lua_syscall_push(L, &result, handle->lens, handle->count);
	pv_bytes_finish(kept);
	return 1;
}

static int handle_tostring(lua_State *L)
{
	const struct handle *handle = pv_lua_argument_self(L, 1, TYPE, "tostring");
	lua_pushfstring(L, "syscall(%s)",
	    handle->pending != NULL ? "in flight"
	    : handle->awaited	    ? "awaited"
				    : "dropped");
	return 1;
}

/* vm:syscall_async(...): the arguments of vm:syscall */
int pv_lua_syscall_async(lua_State *L)
{
	char detail[32];
	struct pv_lua_principal self;
	struct pv_lua_syscall syscall;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	pv_lua_syscall_read(L, self.function, &syscall);
	pv_lua_principal_reach(L, &self);
	struct pv_agent_syscall *call = &syscall.call;
	call->aside = true;
	size_t size = call->buf_count * sizeof(int64_t);
	struct handle *handle = pv_lua_type_new(L, TYPE, sizeof(*handle) + size, 0);
	handle->count = call->buf_count;
	if (size > 0)
		memcpy(handle->lens, call->lens, size);
	if (pv_agent_syscall_begin(&self.by, call, &handle->pending, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	lua_Integer number = (lua_Integer)call->nr;
	lua_pushinteger(L, number);
	strncpy(detail, lua_tostring(L, -1), sizeof(detail) - 1);
	detail[sizeof(detail) - 1] = '\0';
	lua_pop(L, 1);
	pv_lua_resource_add(
	    L, &handle->resource, PV_LUA_SYSCALL, "syscall_async", detail, self.vm, close_handle);
	return 1;
}

static const luaL_Reg methods[] = {
    {"await", handle_await},
    {NULL,	   NULL	       },
};

static const luaL_Reg metamethods[] = {
    {"__gc",	     collect	    },
    {"__tostring", handle_tostring},
    {NULL,	   NULL	       },
};

void pv_lua_syscall_open(lua_State *L)
{
	luaL_newlib(L, methods);
	pv_lua_type_open(L, TYPE, metamethods, 0);
}
