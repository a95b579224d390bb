/*
 * vm:batch(fn): `fn` gets an object whose methods look like the VM's and only note what is asked;
 * when it has returned, all of it goes to the guest in one go (agent/host/batch.h). Arguments are
 * checked when they are noted, at the caller's line; what fails in the guest is an entry of the
 * result.
 *
 * The items are ours, what they point to belongs to values in the object's table. Script thread
 * only.
 */
#include "lua/batch.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/command.h"
#include "lua/guest.h"
#include "lua/principal.h"
#include "lua/run_result.h"
#include "lua/syscall.h"
#include "lua/type.h"

#define TYPE	  "Batch"
#define ITEMS_MAX (1u << 20)

struct batch {
	struct pv_agent_item *items;
	size_t count;
	size_t capacity;
	bool over; /* the function has returned */
};

static void release(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		pv_agent_item_release(&batch->items[i]);
	free(batch->items);
	batch->items = NULL;
	batch->count = batch->capacity = 0;
}

static int collect(lua_State *L)
{
	struct batch *batch = luaL_testudata(L, 1, TYPE);
	if (batch != NULL)
		release(batch);
	return 0;
}

/* --- noting: the object is at 1 --- */

static struct batch *check(lua_State *L, const char *function)
{
	return pv_lua_argument_self(L, 1, TYPE, function);
}

/* Adds a copy of the item; the values from 2 on are kept. */
static int note(
    lua_State *L, const char *function, struct batch *batch, const struct pv_agent_item *item)
{
	if (batch->over)
		return luaL_error(L, "%s: the batch is over, its function has returned", function);
	lua_getiuservalue(L, 1, 1);
	int table = lua_gettop(L);
	lua_Integer at = (lua_Integer)lua_rawlen(L, table);
	for (int i = 2; i < table; i++) {
		if (lua_isnoneornil(L, i))
			continue;
		lua_pushvalue(L, i);
		lua_rawseti(L, table, ++at);
	}
	if (batch->count == ITEMS_MAX)
		return luaL_error(L, "vm:batch: more than %d operations", (int)ITEMS_MAX);
	if (batch->count == batch->capacity) {
		size_t capacity = batch->capacity > 0 ? 2 * batch->capacity : 32;
		struct pv_agent_item *items = reallocarray(batch->items, capacity, sizeof(*items));
		if (items == NULL)
			return luaL_error(L, "not enough memory");
		batch->items = items;
		batch->capacity = capacity;
	}
	batch->items[batch->count++] = *item;
	return 0;
}

static int note_run(lua_State *L)
{
	struct batch *batch = check(L, "b:run");
	struct pv_agent_item item = {
	    .kind = PV_AGENT_ITEM_EXEC, .exec = {.timeout_ns = PV_CLOCK_NEVER}};
	pv_lua_command_read(L, 2, "b:run", true, &item.exec);
	return note(L, "b:run", batch, &item);
}

static int note_path(lua_State *L, const char *function, enum pv_agent_item_kind kind)
{
	struct batch *batch = check(L, function);
	struct pv_agent_item item = {
	    .kind = kind, .path = pv_lua_argument_name(L, 2, function, "path")};
	return note(L, function, batch, &item);
}

static int note_read_file(lua_State *L)
{
	return note_path(L, "b:read_file", PV_AGENT_ITEM_READ_FILE);
}

static int note_stat(lua_State *L)
{
	return note_path(L, "b:stat", PV_AGENT_ITEM_STAT);
}

static int note_listdir(lua_State *L)
{
	return note_path(L, "b:listdir", PV_AGENT_ITEM_LIST);
}

static int note_unlink(lua_State *L)
{
	return note_path(L, "b:unlink", PV_AGENT_ITEM_UNLINK);
}

static int note_write_file(lua_State *L)
{
	struct batch *batch = check(L, "b:write_file");
	struct pv_agent_item item = {.kind = PV_AGENT_ITEM_WRITE_FILE};
	item.path = pv_lua_argument_name(L, 2, "b:write_file", "path");
	item.data = pv_lua_argument_data(L, 3, "b:write_file", "data", &item.len);
	return note(L, "b:write_file", batch, &item);
}

/* b:mkdir(path, parents), b:mkdir(path, {parents = false, perm = 0755}) */
static int note_mkdir(lua_State *L)
{
	struct batch *batch = check(L, "b:mkdir");
	struct pv_agent_item item = {.kind = PV_AGENT_ITEM_MKDIR, .perm = 0755};
	item.path = pv_lua_argument_name(L, 2, "b:mkdir", "path");
	if (lua_isboolean(L, 3)) {
		item.parents = lua_toboolean(L, 3);
	} else if (pv_lua_argument_table(L, 3, "b:mkdir", "opts")) {
		item.parents = pv_lua_argument_flag(L, 3, "parents", false, "b:mkdir");
		item.perm = pv_lua_argument_perm(L, 3, "perm", item.perm, "b:mkdir");
	}
	return note(L, "b:mkdir", batch, &item);
}

static int note_rename(lua_State *L)
{
	struct batch *batch = check(L, "b:rename");
	struct pv_agent_item item = {.kind = PV_AGENT_ITEM_RENAME};
	item.path = pv_lua_argument_name(L, 2, "b:rename", "from");
	item.to = pv_lua_argument_name(L, 3, "b:rename", "to");
	return note(L, "b:rename", batch, &item);
}

static int note_syscall(lua_State *L)
{
	struct batch *batch = check(L, "b:syscall");
	struct pv_agent_item item = {.kind = PV_AGENT_ITEM_SYSCALL};
	struct pv_lua_syscall syscall;
	if (lua_istable(L, 3))
		return luaL_error(
		    L, "b:syscall: a batch takes integers only; buffers need vm:syscall");
	pv_lua_syscall_read(L, "b:syscall", &syscall);
	item.words[0] = syscall.call.nr;
	for (size_t i = 0; i < syscall.call.arg_count; i++)
		item.words[i + 1] = syscall.args[i];
	lua_settop(L, 1); /* nothing to keep */
	return note(L, "b:syscall", batch, &item);
}

/* --- results --- */

static void push_value(lua_State *L, struct pv_agent_item *item)
{
	struct pv_agent_exec_result *result;
	switch (item->kind) {
	case PV_AGENT_ITEM_EXEC:
		result = pv_lua_run_result_new(L);
		*result = item->exec_result; /* the collector's from now on */
		item->exec_result = (struct pv_agent_exec_result){0};
		pv_lua_run_result_push(L, result);
		lua_remove(L, -2);
		return;
	case PV_AGENT_ITEM_READ_FILE:
		lua_pushlstring(
		    L, item->out.len > 0 ? (const char *)item->out.data : "", item->out.len);
		return;
	case PV_AGENT_ITEM_STAT: pv_lua_guest_push_stat(L, &item->stat); return;
	case PV_AGENT_ITEM_LIST: pv_lua_guest_push_list(L, &item->out); return;
	case PV_AGENT_ITEM_SYSCALL: pv_lua_syscall_push(L, &item->syscall_result, NULL, 0); return;
	default: lua_pushnil(L); return;
	}
}

static void push_results(lua_State *L, const struct pv_vm *vm, struct batch *batch)
{
	lua_createtable(L, (int)batch->count, 0);
	for (size_t i = 0; i < batch->count; i++) {
		struct pv_agent_item *item = &batch->items[i];
		lua_createtable(L, 0, 1);
		if (item->error != NULL) {
			lua_pushfstring(L, "vm `%s`: %s", pv_vm_name(vm), item->error);
			lua_setfield(L, -2, "err");
		} else {
			push_value(L, item);
			lua_setfield(L, -2, "ok");
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
		pv_agent_item_release(item); /* as soon as it is in the table: it may be large */
	}
}

/* vm:batch(fn) */
int pv_lua_batch(lua_State *L)
{
	struct pv_lua_principal self;
	struct pv_err err = PV_ERR_INIT;
	pv_lua_principal_check(L, &self);
	pv_lua_argument_callable(L, 2, self.function, "fn");
	pv_lua_principal_reach(L, &self);
	lua_settop(L, 2);
	struct batch *batch = pv_lua_type_new(L, TYPE, sizeof(*batch), 1);
	lua_newtable(L);
	lua_setiuservalue(L, 3, 1);
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 3);
	lua_call(L, 1, 0);
	batch->over = true;
	/* The function may have waited, and the guest be gone. */
	pv_lua_principal_reach(L, &self);
	if (batch->count > 0 && pv_agent_batch(&self.by, batch->items, batch->count, &err) < 0)
		return pv_lua_principal_raise(L, &self, &err);
	push_results(L, self.vm, batch);
	release(batch);
	return 1;
}

static const luaL_Reg methods[] = {
    {"run",	    note_run	    },
    {"read_file",  note_read_file },
    {"write_file", note_write_file},
    {"stat",	     note_stat      },
    {"listdir",	note_listdir   },
    {"mkdir",      note_mkdir	},
    {"unlink",     note_unlink	  },
    {"rename",     note_rename	  },
    {"syscall",	note_syscall   },
    {NULL,	   NULL	       },
};

static const luaL_Reg metamethods[] = {
    {"__gc", collect},
    {NULL,   NULL   },
};

void pv_lua_batch_open(lua_State *L)
{
	luaL_newlib(L, methods);
	pv_lua_type_open(L, TYPE, metamethods, 0);
}
