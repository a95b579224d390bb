/*
 * The tests that a file registers, and running one of them. Internal to this layer; script thread
 * only.
 */
#ifndef PV_LUA_TESTCASE_H
#define PV_LUA_TESTCASE_H

#include <lua.h>
#include <stddef.h>

#include "lua/suite.h"

struct pv_lua;

/* Makes the globals `test` and `todo`. May raise. */
void pv_lua_testcase_open(lua_State *L);

/* Runs the case of that index, reports it, closes its scope; of one that has run already it only
 * gives the outcome. Never raises. */
enum pv_lua_outcome pv_lua_testcase_run(struct pv_lua *lua, size_t index);

/* Frees what the suite holds. */
void pv_lua_suite_finish(struct pv_lua_suite *suite);

#endif
