/*
 * What the kernels of the guests reported (lab/verdict.h), and whom it fails. Internal to this
 * layer; script thread only.
 */
#ifndef PV_LUA_GUEST_VERDICT_H
#define PV_LUA_GUEST_VERDICT_H

#include <stdbool.h>

#include "base/bytes.h"

struct pv_lua;
struct pv_run_test;

/* Right before the body of a test: what came since the last one will fail this test, also when it
 * expects reports itself. */
void pv_lua_guest_verdict_begin(struct pv_lua *lua, bool expected);

/*
 * When a body has ended, or a chunk, or the file: waits until guests have said what they were about
 * to say. Returns false when there is nothing to complain about. Otherwise true, and `reason` gets
 * the reports, the first line of the first one first, and then what else went wrong: `said`, with
 * `who` in front; NULL for nothing. Reports that were expected become lines of the log of `test`
 * (NULL when there is none).
 */
bool pv_lua_guest_verdict_end(struct pv_lua *lua, const struct pv_run_test *test, const char *who,
    const struct pv_bytes *said, struct pv_bytes *reason);

#endif
