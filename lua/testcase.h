/*
 * The tests that a file registers, and running one of them. Internal to this layer; script thread
 * only.
 */
#ifndef PV_LUA_TESTCASE_H
#define PV_LUA_TESTCASE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "lua/meta.h"

struct pv_lua;

enum pv_lua_outcome {
	PV_LUA_TEST_PASSED,
	PV_LUA_TEST_FAILED,
	PV_LUA_TEST_SKIPPED,
	PV_LUA_TEST_INTERRUPTED, /* failed, because the whole run was interrupted */
};

struct pv_lua_testcase {
	char *name;
	struct pv_lua_meta meta;
	bool has_run; /* while the file was loaded (lua/legacy.h) */
	enum pv_lua_outcome outcome;
};

/* What the running test has said about itself. */
struct pv_lua_verdict {
	bool failed;
	struct pv_bytes failure; /* the first recorded failure */
	bool skipped;
	struct pv_bytes skip_reason;
};

struct pv_lua_suite {
	struct pv_lua_testcase *cases;
	size_t count;
	size_t capacity;
	struct pv_bytes todo; /* reason; only with is_todo */
	bool is_todo;
	bool is_closed;	  /* the chunk is over */
	bool is_poisoned; /* the harness failed between two tests */
	/* `provium.timeout`, negative while unset. */
	int64_t timeout_ns;
	bool resets; /* `provium.reset_between_tests` */
	const struct pv_lua_testcase *current;
	struct pv_lua_verdict verdict;
};

/* Makes the globals `test` and `todo`. May raise. */
void pv_lua_testcase_open(lua_State *L);

/* Runs the case of that index, reports it, closes its scope; of one that has run already it only
 * gives the outcome. Never raises. */
enum pv_lua_outcome pv_lua_testcase_run(struct pv_lua *lua, size_t index);

/* Frees what the suite holds. */
void pv_lua_suite_finish(struct pv_lua_suite *suite);

#endif
