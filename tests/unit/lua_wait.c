/*
 * lua/wait.h: wait_until and its options (spec 3.3).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

static void the_value_is_returned(void **state)
{
	rig_passes("t:assert_eq(wait_until(function() return 'v' end), 'v')");
	rig_passes("local n = 0 t:assert_eq(wait_until(function() n = n + 1 return n >= 3 and n "
		   "end, {interval = 0.001}), 3)");
	rig_passes("t:assert_eq(select('#', wait_until(function() return 1, 2, 3 end)), 1)");
	rig_passes("local f = setmetatable({}, {__call = function() return 0 end}) "
		   "t:assert_eq(wait_until(f), 0)");
	rig_expect("local v = wait_until(function() return 'at file scope' end) test('a', "
		   "function(t) t:log(v) end)",
	    "log a: at file scope\n", NULL);
}

static void it_runs_at_least_once_and_once_more(void **state)
{
	rig_passes("local n = 0 t:assert_raises(function() wait_until(function() n = n + 1 end, "
		   "{timeout = 0}) end) t:assert_eq(n, 1)");
	rig_passes("local n = 0 t:assert_raises(function() wait_until(function() n = n + 1 end, "
		   "{timeout = 0.02, interval = 10}) end) t:assert_eq(n, 2)");
}

static void time_is_up(void **state)
{
	rig_fails("wait_until(function() end, {timeout = 0.02, interval = 0.01})",
	    "case.test.lua:1: wait_until: condition not met within 0.02s\n");
	rig_fails(
	    "wait_until(function() end, {timeout = '30ms', interval = '10ms', desc = 'the mark'})",
	    "wait_until: the mark not met within 0.03s\n");
	rig_fails("wait_until(function() end, {timeout = 0})", "not met within 0s\n");
	rig_fails("wait_until(function() end, {timeout = 1e-9, interval = 0})",
	    "not met within 1e-09s\n");
}

static void errors_of_the_predicate_pass(void **state)
{
	rig_fails("wait_until(function() error('inner', 0) end)", "failed it: inner\n");
	rig_passes("local e = t:assert_raises(function() wait_until(function() error({code = 1}) "
		   "end) end) t:assert_eq(e.code, 1)");
}

static void the_predicate_may_yield(void **state)
{
	rig_passes(
	    "local co = coroutine.wrap(function() return wait_until(function() return "
	    "coroutine.yield('ask') end, {interval = 0}) end) "
	    "t:assert_eq(co(), 'ask') t:assert_eq(co(false), 'ask') t:assert_eq(co('yes'), 'yes')");
}

static void bad_arguments_are_named(void **state)
{
	rig_fails("wait_until()", "wait_until: predicate must be a function, got no value");
	rig_fails("wait_until(nil)", "wait_until: predicate must be a function, got nil");
	rig_fails("wait_until(5)", "wait_until: predicate must be a function, got number");
	rig_fails("wait_until(print, 5)", "wait_until: opts must be a table, got number");
	rig_fails("wait_until(print, {timeout = 'soon'})",
	    "wait_until: bad timeout string `soon`: expected number with ms/s/m/h suffix");
	rig_fails("wait_until(print, {timeout = '5'})", "wait_until: bad timeout string `5`");
	rig_fails("wait_until(print, {interval = ''})", "wait_until: bad interval string ``");
	rig_fails("wait_until(print, {interval = '5s\\0'})", "wait_until: bad interval string `5s");
	rig_fails("wait_until(print, {timeout = true})",
	    "wait_until: timeout must be a number or string, got boolean");
	rig_fails("wait_until(print, {interval = {}})",
	    "wait_until: interval must be a number or string, got table");
	rig_fails("wait_until(print, {timeout = -1})",
	    "wait_until: timeout: duration: must be a finite, non-negative number (got -1)");
	rig_fails("wait_until(print, {timeout = 1/0})",
	    "must be a finite, non-negative number (got inf)");
	rig_fails("wait_until(print, {interval = 0/0})",
	    "wait_until: interval: duration: must be a finite, non-negative number (got ");
	rig_fails("wait_until(print, {desc = {}})", "wait_until: desc must be a string, got table");
	rig_passes("wait_until(function() return true end, {timeout = 1e300, interval = "
		   "math.maxinteger})");
}

static void sleep_and_now(void **state)
{
	rig_passes(
	    "local a = _provium_now() _provium_sleep(0.01) t:assert(_provium_now() - a >= 0.01)");
	rig_passes("_provium_sleep('1ms')");
	rig_fails("_provium_sleep(-1)",
	    "_provium_sleep: duration: must be a finite, non-negative number (got -1)");
	rig_fails(
	    "_provium_sleep({})", "_provium_sleep: duration: expected number|string, got table");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_value_is_returned),
	    cmocka_unit_test(it_runs_at_least_once_and_once_more),
	    cmocka_unit_test(time_is_up),
	    cmocka_unit_test(errors_of_the_predicate_pass),
	    cmocka_unit_test(the_predicate_may_yield),
	    cmocka_unit_test(bad_arguments_are_named),
	    cmocka_unit_test(sleep_and_now),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
