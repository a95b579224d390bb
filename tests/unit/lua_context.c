/*
 * lua/context.h: the assertions of spec 3.4, their texts, and what is recorded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/lua_rig.h"

static void name_and_meta(void **state)
{
	rig_expect(
	    "local m = {spec = 'x'}\n"
	    "test('a b', m, function(t) t:assert_eq(t.name, 'a b') t:assert_eq(t.meta, m) end)\n"
	    "test('c', function(t) t:assert_eq(type(t.meta), 'table') t:assert_eq(next(t.meta), "
	    "nil) end)\n",
	    "passed a b\n", "passed c\n", NULL);
}

static void default_texts(void **state)
{
	rig_fails("t:assert(false)", "case.test.lua:1: assertion failed\n");
	rig_fails("t:assert()", ": assertion failed\n");
	rig_fails("t:assert(nil, 'two words')", "case.test.lua:1: two words\n");
	rig_fails("t:assert(false, 42)", ": 42\n");
	rig_fails("t:assert(false, setmetatable({}, {__tostring = function() return 'lazy' end}))",
	    ": lazy\n");
	rig_fails("t:assert_eq(1, 2)", ": assert_eq failed: 1 ~= 2\n");
	rig_fails("t:assert_eq('a', nil, 'letters')", ": letters: a ~= nil\n");
	rig_fails("t:assert_eq(1, '1')", ": assert_eq failed: 1 ~= 1 (a number and a string)\n");
	rig_fails("t:assert_eq(0.1 + 0.2, 0.3)",
	    ": assert_eq failed: 0.3 ~= 0.3 (0.30000000000000004 and 0.29999999999999999)\n");
	rig_fails("t:assert_eq(false)", ": assert_eq failed: false ~= nil\n");
	rig_fails("t:assert_neq(3, 3)", ": assert_neq failed: 3 == 3\n");
	rig_fails("t:assert_neq(3, 3, 'num')", ": num: 3 == 3\n");
	rig_fails("t:assert_contains('hay', 'pin')",
	    ": assert_contains failed: `pin` not found in `hay`\n");
	rig_fails(
	    "t:assert_contains('hay', 'pin', 'stack')", ": stack: `pin` not found in `hay`\n");
	rig_fails(
	    "t:assert_contains('hay', 5)", "both arguments must be strings, got string and number");
	rig_fails(
	    "t:assert_contains(nil, 'x')", "both arguments must be strings, got nil and string");
	rig_fails("t:assert_raises(function() end)", ": assert_raises failed: expected to raise\n");
	rig_fails("t:assert_raises(function() end, 'quiet')", ": quiet: expected to raise\n");
	rig_fails("t:assert_raises(5)", "t:assert_raises: fn must be a function, got number");
	rig_fails("t:assert_raises()", "t:assert_raises: fn must be a function, got nil");
	rig_fails("t:fail()", ": explicit failure (t:fail)\n");
	rig_fails("t:fail('done')", ": done\n");
	rig_fails("t:assert_eq('a\\0b', 'c')", ": assert_eq failed: a\xef\xbf\xbd"
					       "b ~= c\n");
}

static void what_holds_passes(void **state)
{
	rig_passes("t:assert(true) t:assert(0) t:assert('') t:assert(true, error)");
	rig_passes("t:assert_eq(1, 1.0) t:assert_eq('a\\0b', 'a\\0b') t:assert_eq(nil, nil) local "
		   "x = {} t:assert_eq(x, x)");
	rig_passes("t:assert_eq(setmetatable({}, {__eq = function() return true end}), {})");
	rig_passes("t:assert_neq({}, {}) t:assert_neq(1, '1')");
	rig_passes("t:assert_contains('hay', '') t:assert_contains('', '') "
		   "t:assert_contains('a.b', '.') t:assert_contains('x\\0y', '\\0')");
	rig_passes(
	    "local e = t:assert_raises(function() error({code = 7}) end) t:assert_eq(e.code, 7)");
	rig_passes("t:assert_eq(t:assert_raises(function() error() end), nil)");
}

static void failures_in_assert_raises_are_forgotten(void **state)
{
	rig_passes("local e = t:assert_raises(function() t:assert(false, 'inner') end) "
		   "t:assert_contains(e, 'inner')");
	/* But not those from before, and not those that did not raise. */
	rig_fails("pcall(t.fail, t, 'before') t:assert_raises(function() t:fail('inner') end)",
	    "before\n");
	rig_fails(
	    "t:assert_raises(function() pcall(t.fail, t, 'inner') end)", "expected to raise\n");
	rig_fails(
	    "t:assert_raises(function() t:assert_raises(function() end) end) t:fail('still works')",
	    "still works\n");
}

static void positions_are_the_callers(void **state)
{
	rig_expect("local function helper(t)\n t:assert(false, 'deep')\nend\ntest('a', "
		   "function(t)\n helper(t)\nend)",
	    "case.test.lua:2: deep\n", NULL);
	rig_fails("pcall(t.assert, t, false, 'bare')", "failed it: bare\n");
}

static void logs_are_reported_at_once(void **state)
{
	rig_expect("test('a', function(t) t:log('x') t:log(nil) t:log(5) t:log('\\xff\\0') "
		   "t:assert_contains(tostring(t.log), 'function') "
		   "error('y', 0) end)",
	    "started a\nlog a: x\nlog a: nil\nlog a: 5\nlog a: \xef\xbf\xbd\xef\xbf\xbd\nfailed a: "
	    "y\n",
	    NULL);
	rig_fails("t:log()", "t:log: value is missing");
}

static void a_forgotten_colon_is_named(void **state)
{
	static const char *const names[] = {"assert", "assert_eq", "assert_neq", "assert_contains",
	    "assert_raises", "fail", "skip", "log"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct pv_bytes body = {0}, want = {0};
		pv_bytes_printf(&body, "t.%s(true, 'x')", names[i]);
		pv_bytes_printf(&want,
		    "t:%s: expected the test's context before the arguments, got boolean; call "
		    "methods with a colon",
		    names[i]);
		rig_fails(pv_bytes_text(&body), pv_bytes_text(&want));
		body.len = 0;
		pv_bytes_printf(&body, "t.%s()", names[i]);
		rig_fails(pv_bytes_text(&body), "call methods with a colon");
		body.len = 0;
		pv_bytes_printf(&body, "t.%s({}, 1)", names[i]);
		rig_fails(pv_bytes_text(&body), "got table; call methods with a colon");
		pv_bytes_finish(&body);
		pv_bytes_finish(&want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(name_and_meta),
	    cmocka_unit_test(default_texts),
	    cmocka_unit_test(what_holds_passes),
	    cmocka_unit_test(failures_in_assert_raises_are_forgotten),
	    cmocka_unit_test(positions_are_the_callers),
	    cmocka_unit_test(logs_are_reported_at_once),
	    cmocka_unit_test(a_forgotten_colon_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
