/* The type RunResult of the test language (spec section 8). Internal to this layer. */
#ifndef PV_LUA_RUN_RESULT_H
#define PV_LUA_RUN_RESULT_H

#include <lua.h>

struct pv_agent_exec_result;

/* Registers the type. May raise. */
void pv_lua_run_result_open(lua_State *L);

/* Pushes a userdata that owns an empty result of the agent client. May raise. */
struct pv_agent_exec_result *pv_lua_run_result_new(lua_State *L);

/* Frees its buffers early. */
void pv_lua_run_result_release(struct pv_agent_exec_result *result);

/* Pushes the RunResult that the script sees, and releases `result`. May raise. */
void pv_lua_run_result_push(lua_State *L, struct pv_agent_exec_result *result);

#endif
