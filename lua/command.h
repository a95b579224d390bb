/* Commands in all their shapes (spec 7.4), and vm:run. Internal to this layer. */
#ifndef PV_LUA_COMMAND_H
#define PV_LUA_COMMAND_H

#include <lua.h>
#include <stdbool.h>

struct pv_agent_exec;

/*
 * Reads a command at `index`, the last but one argument or the last, and the table that may follow
 * it. `function` is what the script called. With `waits` time limits are taken, else they are
 * refused. What the result points to is on the stack above the arguments. May raise.
 */
void pv_lua_command_read(
    lua_State *L, int index, const char *function, bool waits, struct pv_agent_exec *exec);

/* The method `run` of VM and Worker. */
int pv_lua_command_run(lua_State *L);

#endif
