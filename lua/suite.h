/*
 * The tests of a file, as they are kept; lua/testcase.h fills and runs them. Internal to this
 * layer; script thread only.
 */
#ifndef PV_LUA_SUITE_H
#define PV_LUA_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "lua/meta.h"

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

#endif
