/*
 * The type Lab of the test language, and the global `provium` (spec section 5). Its methods stand
 * in several files, one table each. Internal to this layer.
 */
#ifndef PV_LUA_LAB_H
#define PV_LUA_LAB_H

#include <lauxlib.h>
#include <lua.h>

struct pv_lab;

#define PV_LUA_LAB_TYPE "Lab"

/* Registers the type, with the methods in the table on top, which is popped. May raise. */
void pv_lua_lab_open(lua_State *L);

/* Pushes a handle of the lab of the present scope: the test's while a body runs, else the file's.
 * May raise. */
void pv_lua_lab_push_scope(lua_State *L);

/* Makes that handle the global `provium`. To be called whenever the scope changes. May raise. */
void pv_lua_lab_set_scope(lua_State *L);

/* Pushes the handle of a lab; there is one at a time, so that handles compare equal. May raise. */
void pv_lua_lab_push(lua_State *L, struct pv_lab *lab);

/* The lab at `index`; raises when it is something else, or closed. `function` names the method in
 * errors. Valid while the value is. */
struct pv_lab *pv_lua_lab_check(lua_State *L, int index, const char *function);

/* vm, lab, include, remove and the questions (lua/lab_members.c). */
extern const luaL_Reg pv_lua_lab_member_methods[];
/* boot, shutdown, pause, resume, barrier (lua/lab_batch.c). */
extern const luaL_Reg pv_lua_lab_batch_methods[];

#endif
