/*
 * lua/testcase.h, lua/run.h: registration and the outcome rules of spec section 3.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/lua_rig.h"

static void passes_fails_and_goes_on(void **state)
{
	rig_expect("test('a', function(t) end)\n"
		   "test('b', function(t) error('boom') end)\n"
		   "test('c', {}, function(t) t:assert(true) end)\n",
	    "started a\npassed a\nstarted b\nfailed b: ",
	    "case.test.lua:2: boom\nstarted c\npassed c\n",
	    "result: failed passed=2 failed=1 skipped=0 not_run=0", NULL);
}

static void an_empty_file_passes(void **state)
{
	rig_expect("", "result: passed passed=0 failed=0", NULL);
	rig_expect("#!/usr/bin/env provium\nlocal x = 1", "result: passed", NULL);
}

static void bodies_run_after_the_whole_chunk(void **state)
{
	rig_expect("x = 1\ntest('a', function(t) t:log(x) end)\nx = 2\n", "log a: 2\n", NULL);
}

static void a_recorded_failure_cannot_be_hidden(void **state)
{
	rig_expect("test('a', function(t)\n pcall(function() t:assert(false, 'one') end)\n"
		   " pcall(function() t:fail('two') end)\n end)",
	    "failed a: ", "case.test.lua:2: one\n", NULL);
	/* A later error of the body has the last word. */
	rig_expect("test('a', function(t) pcall(t.assert, t, false, 'one') error('late', 0) end)",
	    "failed a: late\n", NULL);
}

static void skip_marks_win_over_failures(void **state)
{
	rig_expect("test('a', function(t) t:skip('no kvm') end)", "started a\nskipped a: no kvm\n",
	    "skipped=1", NULL);
	rig_expect("test('a', function(t) pcall(t.skip, t, 'why') end)", "skipped a: why\n", NULL);
	rig_expect("test('a', function(t) pcall(t.skip, t, 'why') error('x') end)",
	    "skipped a: why\n", NULL);
	rig_expect("test('a', function(t) error('__PROVIUM_SKIP__: by hand', 0) end)",
	    "skipped a: by hand\n", NULL);
	rig_expect("test('a', function(t) t:skip() end)", "skipped a: skipped\n", NULL);
}

static void error_objects_become_text(void **state)
{
	rig_fails("error()", "nil (error was called without a message)");
	rig_fails("error({})", "the error is a table without __tostring");
	rig_fails(
	    "error(setmetatable({}, {__tostring = function() return 'said' end}))", ": said\n");
	rig_fails("error(setmetatable({}, {__tostring = function() error('again') end}))",
	    "the error is a table whose __tostring failed");
	rig_fails("error(setmetatable({}, {__tostring = function() return {} end}))",
	    "whose __tostring failed");
	rig_fails("error(io.stdout)", ": file (");
	rig_fails("error(42)", ": 42\n");
	rig_fails("error(true)", ": true\n");
	rig_fails("error(print)", ": function: ");
	rig_fails("error(coroutine.create(print))", ": thread: ");
	rig_fails("error('a\\0b\\xffc', 0)", ": a\xef\xbf\xbd"
					     "b\xef\xbf\xbd"
					     "c\n");
}

static void deep_recursion_is_an_error(void **state)
{
	rig_fails("local function f() return 1 + f() end f()", "stack overflow");
	rig_fails("local function f() pcall(f) error('out of it') end f()", "out of it");
	rig_fails("local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return "
		  "t[k] end local x = t.a",
	    "overflow");
	rig_fails("local s = string.rep('(', 10000) error(select(2, pcall(string.find, s, s)))",
	    "too many captures");
	rig_fails("error(select(2, load(string.rep('(', 10000))))", "overflow");
	rig_passes("local f = function() end for i = 1, 300 do local g = f f = function() return "
		   "pcall(g) end end f()");
}

static void running_out_of_memory_is_an_error(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	rig.file.memory_limit = 32u << 20;
	const char *report = rig_run(&rig,
	    "test('big', function(t) local s = string.rep('x', 1 << 30) end)\n"
	    "test('many', function(t) local all = {} for i = 1, 1e9 do all[i] = {i} end end)\n"
	    "test('caught', function(t) local ok, e = pcall(string.rep, 'x', 1 << 30) t:assert(not "
	    "ok) t:log(e) end)\n"
	    "test('after', function(t) t:assert_eq(#string.rep('x', 1 << 20), 1 << 20) end)\n");
	assert_non_null(strstr(report, "failed big: not enough memory\n"));
	assert_non_null(strstr(report, "failed many: not enough memory\n"));
	assert_non_null(strstr(report, "log caught: not enough memory\n"));
	assert_non_null(strstr(report, "passed after\n"));
	rig_finish(&rig);
}

static void a_state_that_does_not_fit_is_a_chunk_error(void **state)
{
	/* Many sizes, so that memory ends in each step of the start and of a test. */
	struct lua_rig rig;
	rig_init(&rig);
	for (size_t limit = 1; limit < 300000; limit += 397) {
		rig.file.memory_limit = limit;
		rig_run(&rig, "test('a', {spec = {'x', 'y'}}, function(t) t:assert(true) "
			      "local v = provium:vm('v', 'tiny') end)");
		assert_true(rig.result.status == PV_RUN_CRASHED ||
			    rig.result.status == PV_RUN_FAILED ||
			    rig.result.status == PV_RUN_PASSED);
	}
	assert_int_equal(rig.result.status, PV_RUN_PASSED);
	rig_finish(&rig);
}

static void chunk_errors_run_no_test(void **state)
{
	rig_expect("test('a', function(t) end)\nerror('early')",
	    "chunk_error: ", "case.test.lua:2: early\n",
	    "result: crashed passed=0 failed=0 skipped=0 not_run=1", NULL);
	rig_expect(
	    "x = = 1", "chunk_error: ", ":1: unexpected symbol near '='", "result: crashed", NULL);
	rig_expect("error({})", "chunk_error: the error is a table", NULL);
	rig_expect("coroutine.yield()", "chunk_error: ", "outside a coroutine", NULL);
	rig_expect("\x1bLua", "chunk_error: ", "binary", NULL);
	struct lua_rig rig;
	rig_init(&rig);
	rig.file.path = "/nowhere/x.test.lua";
	pv_run_file(&rig.file, &rig.result);
	assert_int_equal(rig.result.status, PV_RUN_CRASHED);
	assert_non_null(strstr(pv_bytes_text(&rig.report), "cannot open /nowhere/x.test.lua"));
	rig_finish(&rig);
}

static void registration_is_checked(void **state)
{
	rig_expect("test('a', function() end)\ntest('a', function() end)",
	    "chunk_error: ", ":2: test: duplicate name `a` in this file", NULL);
	static const char *const wrong[] = {"test()", "test('a')", "test('a', {})",
	    "test(1, print)", "test(nil, print)", "test('a', nil, print)", "test('a', 'b', print)",
	    "test('a', {}, {})", "test('a', {}, print, 1)", "test({}, print)"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		rig_expect(wrong[i],
		    "chunk_error: ", "case.test.lua:1: test(name, [meta,] fn): bad arguments",
		    NULL);
	rig_expect("test('a\\0b', print)", "the name must be UTF-8 text without NUL bytes", NULL);
	rig_expect("test('a\\xff', print)", "the name must be UTF-8 text without NUL bytes", NULL);
	rig_expect("test('', function() end)", "passed \n", NULL);
	rig_expect("test('Gr\\u{fc}n', function() end)", "passed Gr\xc3\xbcn\n", NULL);
	rig_fails("test('b', print)", "comes too late");
	rig_fails("todo('b')", "outside of tests");
}

static void todo_skips_all_without_running(void **state)
{
	rig_expect("todo('later')\ntest('a', function() error() end)\ntest('b', {skip = 'own'}, "
		   "function() end)",
	    "skipped a: later\nskipped b: later\nresult: passed passed=0 failed=0 skipped=2", NULL);
	rig_expect("todo()\ntest('a', print)", "skipped a: todo\n", NULL);
	rig_expect("test('a', print)\ntodo(nil)", "skipped a: todo\n", NULL);
	rig_expect("todo(5)", "chunk_error: ", "todo: reason must be a string, got number", NULL);
	rig_expect("todo({})", "todo: reason must be a string, got table", NULL);
}

static void each_test_sees_its_own_lab(void **state)
{
	rig_expect(
	    "local root = provium\n"
	    "local outer = provium:vm('outer', 'tiny')\n"
	    "local kept\n"
	    "test('a', function(t)\n"
	    " t:assert(provium ~= root) t:assert_eq(provium:name(), 'test:a') "
	    "t:assert_eq(root:name(), 'provium')\n"
	    " t:assert_eq(provium:vm('outer'), outer) t:assert_eq(provium.outer, outer)\n"
	    " local v = provium:vm('v', 'tiny') t:assert_eq(provium.v, v) t:assert_eq(root.v, "
	    "nil)\n"
	    " kept = {lab = provium, vm = v, t = t}\n"
	    "end)\n"
	    "test('b', function(t)\n"
	    " t:assert_eq(provium.v, nil) provium:vm('v', 'tiny')\n"
	    " t:assert_eq(kept.vm:state(), 'shutdown') t:assert_eq(tostring(kept.lab), "
	    "'lab(closed)')\n"
	    " t:assert_contains(select(2, pcall(kept.lab.vm, kept.lab, 'v')), 'this lab is closed, "
	    "its test is over')\n"
	    " t:assert_contains(select(2, pcall(kept.t.log, kept.t, 'v')), 'is over')\n"
	    " t:assert(not pcall(kept.t.assert, kept.t, false))\n" /* raises, but is not ours */
	    " t:assert_eq(outer:state(), 'created')\n"
	    "end)\n"
	    "test('c', function(t) t:assert_eq(provium:name(), 'test:c') provium = nil end)\n"
	    "test('d', function(t) t:assert_eq(provium:name(), 'test:d') end)\n",
	    "passed a\n", "passed b\n", "passed c\n", "passed d\n", NULL);
}

static void finalizers_cannot_hurt(void **state)
{
	rig_expect(
	    "test('a', function(t) setmetatable({}, {__gc = function() error('in gc') end}) end)\n"
	    "test('b', function(t) end)\n",
	    "passed a\n", "note: lua warning: error in __gc (", "in gc)\n", "started b\npassed b\n",
	    NULL);
	rig_expect("x = setmetatable({}, {__gc = function() provium:vm('late', 'tiny') end})",
	    "this lab is closed", NULL);
	rig_expect("local v = provium:vm('v', 'tiny') x = setmetatable({}, {__gc = function() "
		   "io.stderr:write(v:name(), '\\n') end})",
	    "result: passed", NULL);
	/* Collected twice: what a finalizer lets go of is gone as well when the next test begins.
	 */
	rig_expect(
	    "local log = {}\n"
	    "test('a', function(t)\n"
	    " local inner = setmetatable({}, {__gc = function() log[#log + 1] = 'inner' end})\n"
	    " setmetatable({}, {__gc = function() log[#log + 1] = 'outer' local _ = inner end})\n "
	    "end)\n"
	    "test('b', function(t) t:assert_eq(#log, 2) end)\n",
	    "passed b\n", NULL);
	rig_expect("warn('@off') warn('unseen') warn('@on') warn('se', 'en')",
	    "note: lua warning: seen\n", NULL);
}

static void a_strange_global_table_does_not_disturb(void **state)
{
	rig_expect("setmetatable(_G, {__newindex = function() error('strict') end, __index = "
		   "function(_, k) error('no ' .. k) end})\n"
		   "test('a', function(t) t:assert_eq(provium:name(), 'test:a') end)\ntest('b', "
		   "function(t) end)",
	    "passed a\n", "passed b\n", NULL);
	rig_expect("test('a', function(t) _G.provium = 5 end)\ntest('b', function(t) "
		   "t:assert_eq(type(provium), 'userdata') end)",
	    "passed a\n", "passed b\n", NULL);
}

static void many_tests(void **state)
{
	rig_expect("for i = 1, 2000 do test('t' .. i, {n = i}, function(t) t:assert_eq(t.meta.n, "
		   "i) end) end",
	    "passed=2000", NULL);
}

static void status_names(void **state)
{
	assert_string_equal(pv_run_status_name(PV_RUN_PASSED), "passed");
	assert_string_equal(pv_run_status_name(PV_RUN_INTERRUPTED), "interrupted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(passes_fails_and_goes_on),
	    cmocka_unit_test(an_empty_file_passes),
	    cmocka_unit_test(bodies_run_after_the_whole_chunk),
	    cmocka_unit_test(a_recorded_failure_cannot_be_hidden),
	    cmocka_unit_test(skip_marks_win_over_failures),
	    cmocka_unit_test(error_objects_become_text),
	    cmocka_unit_test(deep_recursion_is_an_error),
	    cmocka_unit_test(running_out_of_memory_is_an_error),
	    cmocka_unit_test(a_state_that_does_not_fit_is_a_chunk_error),
	    cmocka_unit_test(chunk_errors_run_no_test),
	    cmocka_unit_test(registration_is_checked),
	    cmocka_unit_test(todo_skips_all_without_running),
	    cmocka_unit_test(each_test_sees_its_own_lab),
	    cmocka_unit_test(finalizers_cannot_hurt),
	    cmocka_unit_test(a_strange_global_table_does_not_disturb),
	    cmocka_unit_test(many_tests),
	    cmocka_unit_test(status_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
