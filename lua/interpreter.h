/*
 * The Lua state of one test file, from its making to its end. Internal to this layer; script thread
 * only.
 */
#ifndef PV_LUA_INTERPRETER_H
#define PV_LUA_INTERPRETER_H

struct pv_err;
struct pv_lua;
struct pv_run_file;

/*
 * Creates the state with all libraries, globals and types, and the root lab. Returns 0, or a
 * negative errno with a sentence in `err`; the caller destroys it. `file` must outlive it.
 */
int pv_lua_interpreter_create(
    struct pv_lua **out, const struct pv_run_file *file, struct pv_err *err);

/* Closes the root lab with all its VMs, runs the finalizers, frees everything. NULL is fine. */
void pv_lua_interpreter_destroy(struct pv_lua *lua);

#endif
