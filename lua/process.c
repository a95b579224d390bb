/*
 * Process: a program in the background of a guest, started by a VM or by a Worker. It is known by a
 * handle of that life of the guest's agent; after a reboot every call says so. It is open (and
 * closed with its scope, lua/resource.h) until somebody has waited for it. Script thread only.
 */
#include "lua/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "lua/argument.h"
#include "lua/command.h"
#include "lua/duration.h"
#include "lua/error.h"
#include "lua/resource.h"
#include "lua/run_result.h"
#include "lua/signal.h"
#include "lua/stream.h"
#include "lua/tail.h"
#include "lua/type.h"

struct process {
	struct pv_lua_resource resource; /* first: it is listed by its address */
	uint64_t worker;		 /* that started it; 0: the agent */
	struct pv_agent_process id;
	bool waited; /* its result was handed out */
};

static struct process *check(lua_State *L, const char *function)
{
	return pv_lua_argument_self(L, 1, PV_LUA_PROCESS_TYPE, function);
}

static struct pv_principal principal_of(const struct process *process, struct pv_agent *agent)
{
	return (struct pv_principal){
	    .agent = agent, .worker = process->worker, .boot = process->id.boot};
}

uint64_t pv_lua_process_reach(
    lua_State *L, const char *function, const char *action, struct pv_lua_principal *out)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent *agent = NULL;
	struct process *process = check(L, function);
	if (!pv_lua_resource_is_open(&process->resource))
		luaL_error(L, "%s: process %I was %s", function, (LUAI_UACINT)process->id.handle,
		    process->waited ? "waited for already; wait is one-shot" : "closed");
	*out = (struct pv_lua_principal){.function = function, .vm = process->resource.vm};
	if (pv_vm_agent(out->vm, action, &agent, &err) < 0)
		pv_lua_error_raise(L, &err);
	out->by = principal_of(process, agent);
	return process->id.handle;
}

/* --- its end --- */

/* Zero is refused: it would kill without looking. */
static int64_t get_timeout(lua_State *L, int index)
{
	int64_t ns = pv_lua_duration_get(L, index, "proc:wait timeout", PV_CLOCK_NEVER);
	if (ns == 0)
		luaL_error(L, "proc:wait: a timeout of 0 would SIGKILL the process group at once; "
			      "proc:status() tells whether it runs");
	return ns;
}

static int process_wait(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	struct process *process = check(L, "proc:wait");
	int64_t timeout_ns = get_timeout(L, 2);
	uint64_t handle = pv_lua_process_reach(L, "proc:wait", "wait", &self);
	struct pv_agent_exec_result *result = pv_lua_run_result_new(L);
	if (pv_agent_process_wait(&self.by, handle, timeout_ns, result, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	process->waited = true;
	pv_lua_resource_close(L, 1, &process->resource);
	pv_lua_run_result_push(L, result);
	return 1;
}

/* There is nothing to end any more. */
static bool is_gone(int status)
{
	return status == -ESTALE || status == -ESRCH || status == -ECONNRESET ||
	       status == -ENOTCONN;
}

/* The resource's close: it is off the list. */
static void end(lua_State *L, struct pv_lua_resource *resource)
{
	struct process *process = (struct process *)resource;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent *agent = NULL;
	enum pv_vm_state state = pv_vm_state(resource->vm);
	if (process->waited || (state != PV_VM_BOOTED && state != PV_VM_PAUSED))
		return;
	if (pv_vm_agent(resource->vm, "close a process", &agent, &err) < 0)
		pv_lua_error_raise(L, &err);
	struct pv_principal by = principal_of(process, agent);
	int status = pv_agent_process_close(&by, process->id.handle, &err);
	if (status < 0 && !is_gone(status))
		pv_lua_error_raise_guest(L, resource->vm, &err);
}

static int process_close(lua_State *L)
{
	struct process *process = check(L, "proc:close");
	struct pv_lua_principal self;
	/* A guest that stands still can end nothing: the process stays open. */
	if (pv_lua_resource_is_open(&process->resource) &&
	    pv_vm_state(process->resource.vm) == PV_VM_PAUSED)
		pv_lua_process_reach(L, "proc:close", "close a process", &self);
	pv_lua_resource_close(L, 1, &process->resource);
	return 0;
}

/* `local p <close> = ...` */
static int leave_block(lua_State *L)
{
	struct process *process = luaL_testudata(L, 1, PV_LUA_PROCESS_TYPE);
	if (process != NULL)
		pv_lua_resource_close(L, 1, &process->resource);
	return 0;
}

/* --- signals --- */

static int send_signal(lua_State *L, const char *function, int otherwise)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	check(L, function);
	int signal = pv_lua_signal_get(L, 2, function, otherwise);
	uint64_t handle = pv_lua_process_reach(L, function, "signal a process", &self);
	if (pv_agent_process_signal(&self.by, handle, signal, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	return 0;
}

static int process_kill(lua_State *L)
{
	return send_signal(L, "proc:kill", 15);
}

static int process_signal(lua_State *L)
{
	return send_signal(L, "proc:signal", -1);
}

/* --- questions --- */

static int process_pid(lua_State *L)
{
	lua_pushinteger(L, check(L, "proc:pid")->id.pid);
	return 1;
}

static int process_handle(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)check(L, "proc:handle")->id.handle);
	return 1;
}

static int process_status(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	bool running = false;
	struct process *process = check(L, "proc:status");
	if (!pv_lua_resource_is_open(&process->resource)) {
		lua_pushliteral(L, "unknown");
		return 1;
	}
	uint64_t handle = pv_lua_process_reach(L, "proc:status", "look at a process", &self);
	if (pv_agent_process_status(&self.by, handle, &running, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	lua_pushstring(L, running ? "running" : "exited");
	return 1;
}

/* --- input --- */

static int process_stdin_write(lua_State *L)
{
	size_t len;
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	check(L, "proc:stdin_write");
	const char *data = pv_lua_argument_data(L, 2, "proc:stdin_write", "data", &len);
	uint64_t handle = pv_lua_process_reach(L, "proc:stdin_write", "write to a process", &self);
	if (pv_agent_process_write(&self.by, handle, data, len, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	lua_pushinteger(L, (lua_Integer)len);
	return 1;
}

static int process_close_stdin(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	uint64_t handle =
	    pv_lua_process_reach(L, "proc:close_stdin", "close the input of a process", &self);
	if (pv_agent_process_close_input(&self.by, handle, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	return 0;
}

/* --- output --- */

static int open_stream(lua_State *L, const char *function, bool from_err)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	char detail[32];
	uint64_t handle = pv_lua_process_reach(L, function, "follow a process", &self);
	snprintf(detail, sizeof(detail), "process %" PRIu64, handle);
	struct pv_lua_stream *stream = pv_lua_tail_new(L);
	if (pv_agent_process_stream(&self.by, handle, from_err, &stream->agent, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	pv_lua_stream_begin(
	    L, stream, self.vm, from_err ? "proc_stderr_stream" : "proc_stdout_stream", detail);
	return 1;
}

static int process_stdout_stream(lua_State *L)
{
	return open_stream(L, "proc:stdout_stream", false);
}

static int process_stderr_stream(lua_State *L)
{
	return open_stream(L, "proc:stderr_stream", true);
}

/* --- the type --- */

/* vm:run_async(command, args_or_opts?), worker:run_async */
int pv_lua_process_run_async(lua_State *L)
{
	struct pv_agent_exec exec;
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	pv_lua_command_read(L, 2, self.function, false, &exec);
	struct process *process = pv_lua_type_new(L, PV_LUA_PROCESS_TYPE, sizeof(*process), 0);
	process->worker = self.by.worker;
	pv_lua_principal_reach(L, &self);
	if (pv_agent_process_start(&self.by, &exec, &process->id, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	pv_lua_resource_add(
	    L, &process->resource, PV_LUA_PROCESS, "proc", lua_tostring(L, 2), self.vm, end);
	return 1;
}

static int process_tostring(lua_State *L)
{
	const struct process *process = check(L, "tostring");
	lua_pushfstring(L, "process(%I pid=%I%s)", (LUAI_UACINT)process->id.handle,
	    (LUAI_UACINT)process->id.pid,
	    pv_lua_resource_is_open(&process->resource) ? ""
	    : process->waited				? " waited"
							: " closed");
	return 1;
}

static const luaL_Reg methods[] = {
    {"wait",	     process_wait	 },
    {"close",	      process_close	   },
    {"kill",	     process_kill	 },
    {"signal",	       process_signal	     },
    {"pid",	    process_pid	       },
    {"handle",	       process_handle	     },
    {"status",	       process_status	     },
    {"stdin_write",   process_stdin_write  },
    {"close_stdin",   process_close_stdin  },
    {"stdout_stream", process_stdout_stream},
    {"stderr_stream", process_stderr_stream},
    {NULL,	    NULL		 },
};

static const luaL_Reg metamethods[] = {
    {"__close",	leave_block	   },
    {"__tostring", process_tostring},
    {NULL,	   NULL	       },
};

void pv_lua_process_open(lua_State *L)
{
	luaL_newlib(L, methods);
	pv_lua_type_open(L, PV_LUA_PROCESS_TYPE, metamethods, 0);
}
