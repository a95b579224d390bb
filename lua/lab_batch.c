/*
 * Methods of Lab that deal with all its VMs at once (spec 5.3), and barriers (5.5). A batch that
 * failed raises its whole report, and for guests that did not come up their consoles. Script thread
 * only.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/utf8.h"
#include "lab/barrier.h"
#include "lab/lab.h"
#include "lab/lab_tree.h"
#include "lab/vm.h"
#include "lua/argument.h"
#include "lua/buffer.h"
#include "lua/duration.h"
#include "lua/error.h"
#include "lua/lab.h"
#include "lua/run.h"
#include "lua/state.h"

#define BARRIER_TIMEOUT (60 * PV_CLOCK_SECOND)

/* --- batches --- */

/*
 * Lists the VMs in the tree of a lab that are created now. Nobody takes them out of it while they
 * boot, so pointers will do. No call into Lua here, which could raise and lose the tree.
 */
static int list_created(struct pv_lab *lab, struct pv_bytes *list)
{
	struct pv_err ignored = PV_ERR_INIT; /* there is one way to fail */
	struct pv_lab_tree tree;
	int status = pv_lab_tree_init(&tree, lab, &ignored);
	for (size_t i = 0; i < tree.vm_count && status == 0; i++) {
		struct pv_vm *vm = tree.vms[i].vm;
		if (tree.vms[i].first == i && pv_vm_state(vm) == PV_VM_CREATED)
			status = pv_bytes_append(list, &vm, sizeof(struct pv_vm *));
	}
	pv_lab_tree_finish(&tree);
	return status;
}

/* Pushes the position and the report, or what there is of it. */
static void push_report(lua_State *L, struct pv_bytes *report, const struct pv_err *err)
{
	luaL_where(L, 1);
	if (report->len > 0)
		pv_lua_buffer_push(L, report);
	else
		lua_pushstring(L, err->text);
	lua_concat(L, 2);
}

/* Appends the consoles of listed VMs whose boot failed to the text on top. */
static void add_consoles(lua_State *L, const struct pv_bytes *list)
{
	struct pv_vm *vm;
	for (size_t at = 0; at + sizeof(struct pv_vm *) <= list->len;
	     at += sizeof(struct pv_vm *)) {
		memcpy(&vm, list->data + at, sizeof(struct pv_vm *));
		if (pv_vm_state(vm) != PV_VM_DEAD)
			continue;
		lua_pushfstring(L, "\nvm `%s`:", pv_vm_name(vm));
		pv_lua_error_push_console(L, vm);
		lua_concat(L, 3);
	}
}

static int lab_boot(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:boot");
	struct pv_err err = PV_ERR_INIT;
	lua_settop(L, 1);
	struct pv_bytes *list = pv_lua_buffer_new(L);
	struct pv_bytes *report = pv_lua_buffer_new(L);
	if (list_created(lab, list) < 0)
		return luaL_error(L, "lab:boot: not enough memory");
	if (pv_lab_boot(lab, report, &err) < 0) {
		push_report(L, report, &err);
		add_consoles(L, list);
		return lua_error(L);
	}
	lua_settop(L, 1);
	return 1;
}

static int batch(lua_State *L, const char *function,
    int (*act)(struct pv_lab *lab, struct pv_bytes *report, struct pv_err *err))
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, function);
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes *report = pv_lua_buffer_new(L);
	if (act(lab, report, &err) < 0) {
		push_report(L, report, &err);
		return lua_error(L);
	}
	return 0;
}

static int lab_pause(lua_State *L)
{
	return batch(L, "lab:pause", pv_lab_pause);
}

static int lab_resume(lua_State *L)
{
	return batch(L, "lab:resume", pv_lab_resume);
}

static int lab_shutdown(lua_State *L)
{
	return batch(L, "lab:shutdown", pv_lab_shutdown);
}

/* --- barriers --- */

/* Says that a test arrives with another count than the barrier has. */
static void warn_mismatch(lua_State *L, const char *name, lua_Integer count, lua_Integer fixed)
{
	const struct pv_run_file *file = pv_lua_state_of(L)->file;
	if (file->events == NULL || file->events->note == NULL)
		return;
	luaL_where(L, 1);
	lua_pushfstring(L,
	    "barrier `%s`: count %I does not match %I, which its first arrival fixed", name,
	    (LUAI_UACINT)count, (LUAI_UACINT)fixed);
	lua_concat(L, 2);
	size_t len;
	const char *text = lua_tolstring(L, -1, &len);
	struct pv_bytes *clean = pv_lua_buffer_new(L);
	if (pv_utf8_clean(clean, text, len) == 0 && pv_bytes_text(clean) != NULL)
		file->events->note(file->events_ctx, pv_bytes_text(clean));
	pv_bytes_finish(clean);
}

/* lab:barrier(name, count, timeout?) -> boolean */
static int lab_barrier(lua_State *L)
{
	struct pv_lab *lab = pv_lua_lab_check(L, 1, "lab:barrier");
	const char *name = pv_lua_argument_name(L, 2, "lab:barrier", "name");
	lua_Integer count;
	if (!pv_lua_argument_whole(L, 3, &count))
		return luaL_error(L, "lab:barrier: count must be a whole number, got %s",
		    pv_lua_argument_type(L, 3));
	if (count < 1)
		return luaL_error(
		    L, "lab:barrier: count must be at least 1, got %I", (LUAI_UACINT)count);
	if (!lua_isnoneornil(L, 4) && lua_type(L, 4) != LUA_TNUMBER)
		return luaL_error(L, "lab:barrier: timeout must be a number of seconds, got %s",
		    pv_lua_argument_type(L, 4));
	int64_t timeout = pv_lua_duration_get(L, 4, "lab:barrier: timeout", BARRIER_TIMEOUT);
	enum pv_barrier_outcome outcome = PV_BARRIER_LATE;
	struct pv_err err = PV_ERR_INIT;
	int64_t fixed = 0;
	if (pv_barrier_arrive(pv_lab_barriers(lab), pv_lab_host(lab), name, count, timeout,
		&outcome, &fixed, &err) < 0)
		return pv_lua_error_raise(L, &err);
	if (outcome == PV_BARRIER_MISMATCH)
		warn_mismatch(L, name, count, fixed);
	lua_pushboolean(L, outcome == PV_BARRIER_MET);
	return 1;
}

const luaL_Reg pv_lua_lab_batch_methods[] = {
    {"boot",     lab_boot    },
    {"shutdown", lab_shutdown},
    {"pause",    lab_pause   },
    {"resume",   lab_resume	 },
    {"barrier",	lab_barrier },
    {NULL,	   NULL	       },
};
