/*
 * `provium.reset_between_tests` (spec 6.4): every test begins where the file's chunk ended.
 * Internal to this layer; script thread only.
 */
#ifndef PV_LUA_RESET_H
#define PV_LUA_RESET_H

struct pv_err;
struct pv_lua;

/* After the chunk: takes the baseline, if the script has asked for it. Returns 0, or -errno with
 * the sentence of a chunk error. */
int pv_lua_reset_begin(struct pv_lua *lua, struct pv_err *err);

/* Before a body: takes the guests back if another body ran since the baseline. Returns 0, or -errno
 * with the reason for which this test fails; the next one tries again. */
int pv_lua_reset_apply(struct pv_lua *lua, struct pv_err *err);

/* Before the file's lab is closed. */
void pv_lua_reset_finish(struct pv_lua *lua);

#endif
