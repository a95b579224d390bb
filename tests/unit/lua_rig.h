/*
 * Runs Lua text through lua/run.h on the fake lab and keeps what was reported as lines, so that a
 * test says what it expects as text:
 *
 *   started NAME / log NAME: TEXT / passed NAME / failed NAME: REASON / skipped NAME: REASON /
 * chunk_error: TEXT / note: TEXT result: STATUS passed=N failed=N skipped=N not_run=N
 */
#ifndef PV_TESTS_LUA_RIG_H
#define PV_TESTS_LUA_RIG_H

#include "base/bytes.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lua/run.h"

struct lua_rig {
	struct pv_config config;
	struct pv_host host;
	char dir[64]; /* a fresh directory; the file is DIR/case.test.lua */
	char path[128];
	void (*on_started)(struct lua_rig *rig); /* NULL, or told when a test begins */
	struct pv_run_file file;		 /* may be changed before rig_run */
	struct pv_run_result result;
	struct pv_bytes report;	 /* lines as above */
	struct pv_bytes console; /* the excerpt of the last failed test */
	struct pv_bytes meta;	 /* of the last reported test */
};

void rig_init(struct lua_rig *rig);
void rig_finish(struct lua_rig *rig);

/* Runs the text and returns the report. */
const char *rig_run(struct lua_rig *rig, const char *script);

/* Writes DIR/name. */
void rig_write(struct lua_rig *rig, const char *name, const char *content);

/* Runs the text in a rig of its own, and fails unless the report contains each of the following
 * texts, up to NULL. */
void rig_expect(const char *script, ...) __attribute__((sentinel));

/* Runs `body` as the body of one test, which must pass. */
void rig_passes(const char *body);

/* Runs `call` on `v`, a booted VM: `what` must be the system call that reaches the agent's client
 * (tests/unit/fake_syscall.h). */
void rig_asks(const char *call, const char *what);

/* Runs `body` as the body of one test, which must fail with a reason that contains `reason`. */
void rig_fails(const char *body, const char *reason);

#endif
