/*
 * Worker: a second process of the guest's agent, with the methods of a VM that act in the guest and
 * a few of its own. It is known by a number of that life of the agent; after a reboot every call
 * says so. Script thread only.
 */
#include "lua/worker.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "lua/argument.h"
#include "lua/error.h"
#include "lua/principal.h"
#include "lua/resource.h"
#include "lua/signal.h"
#include "lua/type.h"

struct worker {
	struct pv_lua_resource resource; /* first: it is listed by its address */
	struct pv_agent_worker id;
	bool joined;
};

static struct worker *check(lua_State *L, const char *function)
{
	return pv_lua_argument_self(L, 1, PV_LUA_WORKER_TYPE, function);
}

static void check_principal(lua_State *L, struct pv_lua_principal *out)
{
	struct worker *worker = check(L, out->function);
	if (!pv_lua_resource_is_open(&worker->resource))
		luaL_error(L, "%s: worker %I was %s", out->function, (LUAI_UACINT)worker->id.number,
		    worker->joined ? "joined" : "closed");
	out->vm = worker->resource.vm;
	out->by = (struct pv_principal){.worker = worker->id.number, .boot = worker->id.boot};
}

const struct pv_lua_principal_kind pv_lua_worker_principal = {"worker", check_principal};

static int worker_kill(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	int signal = pv_lua_signal_get(L, 2, self.function, 15);
	pv_lua_principal_reach(L, &self);
	if (pv_agent_worker_signal(&self.by, signal, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	return 0;
}

static int worker_join(lua_State *L)
{
	int64_t worst = 0;
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	struct worker *worker = check(L, self.function);
	pv_lua_principal_reach(L, &self);
	if (pv_agent_worker_join(&self.by, false, &worst, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	worker->joined = true;
	pv_lua_resource_close(L, 1, &worker->resource);
	lua_pushinteger(L, worst);
	return 1;
}

/* The resource's close: it is off the list. Never raises; a guest that is gone has taken the worker
 * along. */
static void end(lua_State *L, struct pv_lua_resource *resource)
{
	int64_t worst;
	struct worker *worker = (struct worker *)resource;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent *agent = NULL;
	(void)L;
	if (worker->joined || pv_vm_state(resource->vm) != PV_VM_BOOTED ||
	    pv_vm_agent(resource->vm, "close a worker", &agent, &err) < 0)
		return;
	struct pv_principal by = {
	    .agent = agent, .worker = worker->id.number, .boot = worker->id.boot};
	pv_agent_worker_join(&by, true, &worst, &err);
}

static int worker_close(lua_State *L)
{
	struct worker *worker = check(L, "worker:close");
	pv_lua_resource_close(L, 1, &worker->resource);
	return 0;
}

static int worker_handle(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)check(L, "worker:handle")->id.number);
	return 1;
}

static int worker_tostring(lua_State *L)
{
	const struct worker *worker = check(L, "tostring");
	lua_pushfstring(L, "worker(%I pid=%I%s)", (LUAI_UACINT)worker->id.number,
	    (LUAI_UACINT)worker->id.pid,
	    pv_lua_resource_is_open(&worker->resource) ? ""
	    : worker->joined			       ? " joined"
						       : " closed");
	return 1;
}

/* vm:spawn_worker({thread = false}) */
int pv_lua_worker_spawn(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	if (pv_lua_argument_table(L, 2, self.function, "opts") &&
	    pv_lua_argument_flag(L, 2, "thread", false, self.function))
		return luaL_error(L,
		    "%s: thread = true is not yet supported; without it the "
		    "worker is a process of its own",
		    self.function);
	struct worker *worker = pv_lua_type_new(L, PV_LUA_WORKER_TYPE, sizeof(*worker), 0);
	pv_lua_principal_reach(L, &self);
	if (pv_agent_worker_start(&self.by, &worker->id, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	lua_pushfstring(L, "%I", (LUAI_UACINT)worker->id.number);
	lua_insert(L, -2);
	pv_lua_resource_add(
	    L, &worker->resource, PV_LUA_WORKER, "worker", lua_tostring(L, -2), self.vm, end);
	return 1;
}

/* With their full names, so that their sentences begin with them. */
static const luaL_Reg methods[] = {
    {"kill", worker_kill},
    {"join", worker_join},
    {NULL,   NULL       },
};

static const luaL_Reg plain_methods[] = {
    {"close",  worker_close },
    {"handle", worker_handle},
    {NULL,	   NULL	       },
};

static const luaL_Reg metamethods[] = {
    {"__close",	worker_close   },
    {"__tostring", worker_tostring},
    {NULL,	   NULL	       },
};

void pv_lua_worker_open(lua_State *L)
{
	luaL_setfuncs(L, plain_methods, 0);
	pv_lua_principal_setfuncs(L, methods, &pv_lua_worker_principal);
	pv_lua_type_open(L, PV_LUA_WORKER_TYPE, metamethods, 0);
}
