/*
 * What scripts hold open in guests: streams, processes, files, workers. Each belongs to the scope
 * that made it and is closed with it at the latest (spec section 6.2); until then it is known here,
 * with where it was made, for those who must refuse something because of it. Internal to this
 * layer; script thread only.
 */
#ifndef PV_LUA_RESOURCE_H
#define PV_LUA_RESOURCE_H

#include <lua.h>
#include <stdbool.h>

struct pv_bytes;
struct pv_lua;
struct pv_vm;

/* In the order in which a scope closes them. */
enum pv_lua_resource_kind {
	PV_LUA_SYSCALL, /* in progress */
	PV_LUA_STREAM,
	PV_LUA_PROCESS,
	PV_LUA_FILE,
	PV_LUA_WORKER,
	PV_LUA_RESOURCE_KINDS,
};

/* The first member of a userdata's memory. Zeroed: not listed. */
struct pv_lua_resource {
	struct pv_lua_resource *next;
	enum pv_lua_resource_kind kind;
	const char *label; /* constant: "tail_file", "proc_stdout_stream", "file", ... */
	char *detail;	   /* path, command or number */
	struct pv_vm *vm;  /* held */
	unsigned scope;	   /* of struct pv_lua */
	char *file;	   /* of the test's or fixture's line that made it, or NULL */
	int line;
	char *test; /* or NULL */
	/* Ends it; called once, after it is off the list, with the userdata at 1 of a fresh stack.
	 * May raise. */
	void (*close)(lua_State *L, struct pv_lua_resource *resource);
};

/*
 * Lists the userdata on top of the stack, whose memory begins with `resource`, zeroed: fills in
 * everything from the arguments and the call that is under way. The list keeps it from the
 * collector until it is closed. May raise, and is not listed then.
 */
void pv_lua_resource_add(lua_State *L, struct pv_lua_resource *resource,
    enum pv_lua_resource_kind kind, const char *label, const char *detail, struct pv_vm *vm,
    void (*close)(lua_State *L, struct pv_lua_resource *resource));

/* True while it is on the list: open, as far as this end knows. */
bool pv_lua_resource_is_open(const struct pv_lua_resource *resource);

/* Takes it off the list and calls its `close`; nothing when it is closed already. May raise what
 * `close` raises. `index` is the userdata. */
void pv_lua_resource_close(lua_State *L, int index, struct pv_lua_resource *resource);

/* Closes all of a scope, whatever fails. Never raises. Outside of protected calls. */
void pv_lua_resource_close_scope(struct pv_lua *lua, unsigned scope);

/* How many of a kind are open on a VM; NULL for all VMs. */
unsigned pv_lua_resource_count(
    lua_State *L, enum pv_lua_resource_kind kind, const struct pv_vm *vm);

/* Appends a line for each of a kind on a VM (NULL: all): "\n  tail_file(/x) created at a.test.lua:3
 * (test "T")". Returns 0 or -ENOMEM. */
int pv_lua_resource_describe(
    lua_State *L, enum pv_lua_resource_kind kind, const struct pv_vm *vm, struct pv_bytes *out);

/* Pushes `{file=, line=}`, or nil when nothing of a test or fixture was on the stack. */
void pv_lua_resource_push_site(lua_State *L, const struct pv_lua_resource *resource);

#endif
