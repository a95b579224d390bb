/*
 * What stands behind the Lua state of one test file (lua/interpreter.h). Internal to this layer;
 * script thread only.
 */
#ifndef PV_LUA_STATE_H
#define PV_LUA_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "lab/verdict.h"
#include "lua/suite.h"

struct pv_host;
struct pv_lab;
struct pv_lab_reset;
struct pv_lua_resource;
struct pv_run_file;

struct pv_lua {
	lua_State *L;
	struct pv_host *host;
	const struct pv_run_file *file;
	bool is_interruptible; /* the script's code may be stopped; the harness' own may not */
	size_t memory_used;
	size_t memory_limit;
	/* Scopes: the file's lab, and during a test body the test's lab inside it. */
	struct pv_lab *root_lab;
	struct pv_lab *test_lab;
	/* Numbers the test bodies from 1; 0 while no body runs. Handles that belong to a body
	 * remember their number. */
	unsigned scope;
	struct pv_lua_resource *resources; /* open ones, lua/resource.h */
	struct pv_lua_suite suite;
	struct pv_lab_reset *reset; /* what tests begin with; NULL: with what the last one left */
	bool is_reset_due;	    /* a body has run since */
	/* Reports of guests' kernels; lua/guest_verdict.c. */
	struct pv_verdicts early_verdicts; /* came before the running body */
	bool expects_verdicts;		   /* the running body does */
	bool is_legacy;			   /* the file asked for a VM in the older spelling */
	/* A warning is collected here until its last piece came. */
	struct pv_bytes warning;
	bool warnings_off;
};

/* The context of a Lua thread, whichever coroutine it is. */
static inline struct pv_lua *pv_lua_state_of(lua_State *L)
{
	return *(struct pv_lua **)lua_getextraspace(L);
}

#endif
