/*
 * Errors between C and Lua.
 */
#ifndef PV_LUA_ERROR_H
#define PV_LUA_ERROR_H

#include <lua.h>

struct pv_bytes;
struct pv_err;
struct pv_vm;

/* Raises the sentence of `err` with the position of the caller before it. Does not return; `return
 * pv_lua_error_raise(...)` reads well. */
int pv_lua_error_raise(lua_State *L, const struct pv_err *err);

/* The same for an error of the agent client, which does not know whose agent it is: "vm `NAME`: "
 * comes before. */
int pv_lua_error_raise_guest(lua_State *L, const struct pv_vm *vm, struct pv_err *err);

/* How much of a failed boot's console goes into the error. */
#define PV_LUA_ERROR_CONSOLE_MAX (64u << 10)

/* Pushes "\n--- guest console (last bytes) ---\n<tail>\n--- end guest console ---" for a VM. */
void pv_lua_error_push_console(lua_State *L, struct pv_vm *vm);

/* Replaces the error value on top of the stack by its text, whatever it is and whatever its
 * __tostring does. Does not raise but for lack of memory. */
void pv_lua_error_stringify(lua_State *L);

/*
 * Appends the text of the error value on top of the stack to `out` and pops it. Never raises: for
 * use outside of a protected call. Out of memory leaves `out` shorter.
 */
void pv_lua_error_take(lua_State *L, struct pv_bytes *out);

#endif
