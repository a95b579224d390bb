/*
 * lua/interrupt.h: scripts that would never end do, at their own limit and when the host is
 * interrupted from outside. Nothing here measures time; a script that is not stopped makes CTest's
 * limit fail the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/loop.h"
#include "tests/unit/lua_rig.h"

/* Bodies that would run for ever. */
static const char *const endless[] = {
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do pcall(error) end",
    "while true do xpcall(function() while true do end end, function(e) return e end) end",
    "local function f() while true do pcall(f) end end f()",
    "coroutine.wrap(function() while true do end end)()",
    "coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()",
    "while true do pcall(coroutine.wrap(function() while true do end end)) end",
    "while true do local co = coroutine.create(function() while true do end end) "
    "coroutine.resume(co) end",
    "local function nest(n) return function() while true do if n == 0 then while true do end end "
    "pcall(coroutine.wrap(nest(n - 1))) end end end nest(4)()",
    "local co = coroutine.create(function() while true do pcall(coroutine.yield) end end) while "
    "true do coroutine.resume(co) end",
    "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do "
    "pcall(co) end",
    "while true do local s = string.rep('x', 1 << 24) end",
    "while true do pcall(string.rep, 'x', 1 << 24) end",
    "while true do string.gsub(string.rep('x', 1000), '.', function(c) return c end) end",
    "string.gsub(string.rep('x', 1 << 20), '.', function(c) for i = 1, 1e6 do end end)",
    "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.sort(t, function(a, b) return "
    "a > b end) end",
    "while true do table.concat({string.rep('x', 1 << 22), string.rep('y', 1 << 22)}) end",
    "repeat until false",
    "::top:: goto top",
    "setmetatable({}, {__index = function(s, k) while true do end end}).x = 1 local y = "
    "setmetatable({}, {__index = function() while true do end end}).x",
    "wait_until(function() return false end, {timeout = 1e9, interval = 1e9})",
    "wait_until(function() return false end, {timeout = 1e9, interval = 0})",
    "while true do pcall(wait_until, function() return false end, {timeout = 1e9}) end",
    "wait_until(function() pcall(function() while true do end end) return false end, {timeout = "
    "1e9})",
    "_provium_sleep(1e9)",
    "while true do pcall(_provium_sleep, 1e9) end",
    "for _ in function() return true end do end",
    "t:assert_raises(function() while true do end end) while true do end",
    "while true do t:assert_raises(function() while true do end end) end",
    "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true "
    "do end",
    "local v = provium:vm('v', 'tiny'):boot() v:run('wait')",
    "local v = provium:vm('v', 'tiny'):boot() while true do pcall(v.run, v, 'wait') end",
    "local v = provium:vm('v', 'tiny'):boot() v:console():expect('never', 1e9)",
    "json.encode(string.rep('x', 10)) while true do json.encode({1, 2, 3}) end",
    "while true do load('return 1')() end",
    "while true do local ok = pcall(debug.sethook) end",
};

static void own_limit_ends_everything(void **state)
{
	for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
		struct pv_bytes script = {0};
		pv_bytes_printf(&script,
		    "test('loop', {timeout = '30ms'}, function(t) %s end)\ntest('after', "
		    "function(t) t:log(1 + 1) end)",
		    endless[i]);
		rig_expect(pv_bytes_text(&script), "failed loop: test timeout exceeded (30ms)",
		    "started after\nlog after: 2\npassed after\n",
		    "result: failed passed=1 failed=1", NULL);
		pv_bytes_finish(&script);
	}
}

struct bomb {
	struct lua_rig rig; /* first: light_fuse casts */
	struct pv_loop_timer timer;
	atomic_bool stop;
};

static void explode(void *ctx)
{
	struct bomb *bomb = ctx;
	atomic_store(&bomb->stop, true);
	pv_host_interrupt_locked(&bomb->rig.host, "file timeout exceeded (20ms)");
}

#define DELAY 20000000

static void light_fuse(struct lua_rig *rig)
{
	struct bomb *bomb = (struct bomb *)rig;
	pv_loop_lock(rig->host.loop);
	assert_int_equal(pv_loop_timer_set(
			     rig->host.loop, &bomb->timer, pv_clock_deadline(DELAY), explode, bomb),
	    0);
	pv_loop_unlock(rig->host.loop);
}

/* Runs a script in a run that is ended from outside, some milliseconds after its first test began,
 * or after its own begin. */
static const char *run_with_bomb(struct bomb *bomb, const char *script, bool in_test)
{
	*bomb = (struct bomb){0};
	rig_init(&bomb->rig);
	bomb->rig.file.stop = &bomb->stop;
	if (in_test)
		bomb->rig.on_started = light_fuse;
	else
		light_fuse(&bomb->rig);
	const char *report = rig_run(&bomb->rig, script);
	pv_loop_lock(bomb->rig.host.loop);
	pv_loop_timer_clear(&bomb->timer);
	pv_loop_unlock(bomb->rig.host.loop);
	return report;
}

static void an_interrupt_ends_the_run(void **state)
{
	for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
		struct bomb bomb;
		struct pv_bytes script = {0};
		pv_bytes_printf(&script,
		    "test('loop', function(t) %s end)\ntest('after', function(t) end)", endless[i]);
		const char *report = run_with_bomb(&bomb, pv_bytes_text(&script), true);
		if (strstr(report, "failed loop: file timeout exceeded (20ms)") == NULL ||
		    strstr(report, "after") != NULL ||
		    bomb.rig.result.status != PV_RUN_INTERRUPTED || bomb.rig.result.not_run != 1)
			fail_msg("%s\n%s", endless[i], report);
		/* The interrupt is the runner's to clear. */
		assert_true(atomic_load(&bomb.rig.host.interrupted));
		rig_finish(&bomb.rig);
		pv_bytes_finish(&script);
	}
}

static void an_endless_chunk_ends(void **state)
{
	struct bomb bomb;
	const char *report = run_with_bomb(&bomb,
	    "test('a', print) while true do pcall(function() while true do end end) end", false);
	assert_non_null(strstr(report, "chunk_error: "));
	assert_non_null(strstr(report, "stopped by the harness: file timeout exceeded (20ms)"));
	assert_non_null(
	    strstr(report, "result: interrupted passed=0 failed=0 skipped=0 not_run=1"));
	rig_finish(&bomb.rig);
}

static void the_op_that_was_unwound_is_named(void **state)
{
	rig_expect("test('a', {timeout = '200ms'}, function(t) provium:vm('v', "
		   "'tiny'):boot():run('wait') end)",
	    "failed a: test timeout exceeded (200ms): ",
	    "case.test.lua:1: vm `v`: run: test timeout exceeded (200ms)\n", NULL);
	rig_expect("test('a', {timeout = '200ms'}, function(t)\n pcall(t.fail, t, 'was wrong')\n "
		   "pcall(_provium_sleep, 10)\n end)",
	    "failed a: test timeout exceeded (200ms)", NULL);
}

static void limits_have_an_order(void **state)
{
	const char *loop = "function() while true do end end";
	struct pv_bytes script = {0};
	pv_bytes_printf(&script,
	    "provium.timeout = 0.015 test('a', %s) test('b', {timeout = '25ms'}, %s)", loop, loop);
	rig_expect(pv_bytes_text(&script), "failed a: test timeout exceeded (15ms)",
	    "failed b: test timeout exceeded (25ms)", NULL);
	script.len = 0;
	pv_bytes_printf(&script, "test('a', %s)", loop);
	struct lua_rig rig;
	rig_init(&rig);
	rig.file.default_timeout_ns = 35000000;
	assert_non_null(strstr(
	    rig_run(&rig, pv_bytes_text(&script)), "failed a: test timeout exceeded (35ms)"));
	rig_finish(&rig);
	pv_bytes_finish(&script);
	/* 0 is no limit. */
	rig_expect(
	    "provium.timeout = '1ms' test('a', {timeout = 0}, function() _provium_sleep(0.01) end)",
	    "passed a\n", NULL);
}

static void the_stop_flag_outlives_a_cleared_interrupt(void **state)
{
	struct lua_rig rig;
	atomic_bool stop = true;
	rig_init(&rig);
	rig.file.stop = &stop;
	rig_run(&rig, "test('a', print) test('b', print)");
	assert_int_equal(rig.result.status, PV_RUN_INTERRUPTED);
	assert_int_equal(rig.result.not_run, 2);
	rig_finish(&rig);
}

static void a_run_that_is_interrupted_before_it_begins(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	pv_host_interrupt(&rig.host, "Ctrl-C");
	rig_run(&rig, "for i = 1, 1e9 do end");
	assert_int_equal(rig.result.status, PV_RUN_INTERRUPTED);
	rig_finish(&rig);
}

static void the_hook_cannot_be_removed(void **state)
{
	rig_fails("debug.sethook()", "debug.sethook: not available");
	rig_fails("os.exit(0)", "os.exit: a test file cannot end the harness");
	rig_expect(
	    "os.exit(true)", "chunk_error: ", "os.exit: a test file cannot end the harness", NULL);
}

static void coroutines_still_work(void **state)
{
	rig_passes("local gen = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return "
		   "b * 2 end) "
		   "t:assert_eq(gen(1), 2) t:assert_eq(gen(5), 10) t:assert_raises(gen)");
	rig_passes("local co = coroutine.create(function(...) return select('#', ...), "
		   "coroutine.isyieldable() end) "
		   "local ok, n, y = coroutine.resume(co, nil, nil) t:assert(ok) t:assert_eq(n, 2) "
		   "t:assert(y) "
		   "t:assert_eq(coroutine.status(co), 'dead') t:assert(coroutine.close(co))");
	rig_fails("coroutine.create(5)",
	    "case.test.lua:1: bad argument #1 to 'create' (function expected, got number)");
	rig_fails("coroutine.resume(5)", "coroutine expected");
	rig_fails("coroutine.wrap()", "function expected");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(own_limit_ends_everything),
	    cmocka_unit_test(an_interrupt_ends_the_run),
	    cmocka_unit_test(an_endless_chunk_ends),
	    cmocka_unit_test(the_op_that_was_unwound_is_named),
	    cmocka_unit_test(limits_have_an_order),
	    cmocka_unit_test(the_stop_flag_outlives_a_cleared_interrupt),
	    cmocka_unit_test(a_run_that_is_interrupted_before_it_begins),
	    cmocka_unit_test(the_hook_cannot_be_removed),
	    cmocka_unit_test(coroutines_still_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
