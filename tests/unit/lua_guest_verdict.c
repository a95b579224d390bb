/*
 * lua/guest_verdict.h: whom a report of a guest's kernel fails, and with which words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "lab/verdict.h"
#include "tests/unit/lua_rig.h"

#define VM "local a = provium:vm('a', 'tiny'):boot()\n"

static void a_report_fails_the_test_whose_body_returned(void **state)
{
	rig_expect(VM "test('x', function() a:run('quietly BUG: bad') end)",
	    "failed x: guest `a`: kernel oops: BUG: bad\n    [    1.000001] Call Trace:\n",
	    "result: failed passed=0 failed=1", NULL);
	/* Also what was being printed when it returned. */
	rig_expect(VM "test('x', function() a:run('settling BUG: bad') end)",
	    "failed x: guest `a`: kernel oops: BUG: bad\n", NULL);
	/* And when it caught the error, or skipped itself, or failed for its own reason. */
	rig_expect(VM
	    "test('x', function(t)\n"
	    "  t:assert_contains(t:assert_raises(function() a:run('oops BUG: bad') end),\n"
	    "    'kernel oops: BUG: bad') end)",
	    "failed x: guest `a`: kernel oops: BUG: bad\n", NULL);
	rig_expect(VM "test('x', function(t) a:run('quietly BUG: bad') t:skip('no') end)",
	    "failed x: guest `a`: kernel oops: BUG: bad\n", "the test was skipped: no\n", NULL);
	rig_expect(VM "test('x', function(t) a:run('quietly BUG: bad') t:fail('mine') end)",
	    "failed x: guest `a`: kernel oops: BUG: bad\n", "the test: ", "2: mine\n", NULL);
}

static void an_error_that_tells_the_report_again_is_cut(void **state)
{
	rig_expect(VM "test('x', function() a:run('panic Kernel panic - not syncing: x') end)",
	    "failed x: guest `a`: kernel panic: Kernel panic - not syncing: x\n"
	    "    [    1.000001] Call Trace:\nthe test: ",
	    "vm `a`: run: kernel panic: Kernel panic - not syncing: x\nresult", NULL);
}

static void a_test_may_expect_it(void **state)
{
	rig_expect(VM
	    "test('x', {expect_oops = true}, function(t)\n"
	    "  t:assert(a:run('oops BUG: bad'):ok())\n"
	    "  t:assert_raises(function() a:run('panic Kernel panic - not syncing') end)\n"
	    "end)\n"
	    "test('y', function() end)",
	    "log x: guest `a`: kernel oops: BUG: bad (expected)\n",
	    "log x: guest `a`: kernel panic: Kernel panic - not syncing (expected)\n", "passed x\n",
	    "passed y\n", NULL);
	/* Its own mistakes fail it all the same, and expecting is no demand. */
	rig_expect(VM
	    "test('x', {expect_oops = true}, function(t) a:run('oops b') t:fail('f') end)\n"
	    "test('y', {expect_oops = true}, function() end)\n"
	    "test('z', {expect_oops = false}, function() a:run('quietly bad') end)",
	    "failed x: ", "2: f\n", "passed y\n", "failed z: guest `a`: kernel oops: bad\n", NULL);
	rig_expect("test('x', {expect_oops = 1}, function() end)",
	    "1: test: meta.expect_oops must be a boolean, got number\n", NULL);
}

static void all_guests_are_listed(void **state)
{
	rig_expect(VM "test('x', function()\n"
		      "  local b = provium:vm('b', 'tiny'):boot()\n"
		      "  a:run('quietly one') b:run('quietly two') a:run('quietly three') end)",
	    "failed x: guest `a`: kernel oops: one\n", "\nguest `b`: kernel oops: two\n",
	    "\nguest `a`: kernel oops: three\n", NULL);
	/* So many that they are only counted. */
	rig_expect(VM
	    "test('x', function() for i = 1, 20 do a:run('quietly n' .. i .. '.') end end)",
	    "kernel oops: n16.\n", "\n4 more report(s) of guests' kernels\n", NULL);
}

static void one_at_file_scope_fails_the_chunk(void **state)
{
	rig_expect(VM "a:run('settling BUG: bad') test('x', function() end)",
	    "chunk_error: guest `a`: kernel oops: BUG: bad\n",
	    "result: crashed passed=0 failed=0 skipped=0 not_run=1", NULL);
	rig_expect(VM "a:run('quietly BUG: bad') error('mine')",
	    "chunk_error: guest `a`: kernel oops: BUG: bad\n", "the file: ", "2: mine\n", NULL);
	/* A guest of the chunk that is long gone. */
	rig_expect("do local v <close> = provium:vm('v', 'tiny'):boot() v:run('quietly bad') end\n"
		   "test('x', function() end)",
	    "chunk_error: guest `v`: kernel oops: bad\n", NULL);
}

static void report(struct lua_rig *rig)
{
	struct pv_kernel_report said = {.kind = PV_KERNEL_REPORT_HUNG_TASK, .head = "INFO: task x"};
	pv_loop_lock(rig->host.loop);
	if (rig->host.unexpected_reports == 0)
		pv_verdict_add(&rig->host, "w", &said);
	pv_loop_unlock(rig->host.loop);
}

static void one_between_tests_fails_the_next_one_that_runs(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	rig.on_started = report;
	/* Expected or not: it was not this test that expected it. */
	const char *text = rig_run(&rig, "test('s', {skip = 'x'}, function() end)\n"
					 "test('x', {expect_oops = true}, function() end)\n"
					 "test('y', function() end)");
	assert_non_null(strstr(
	    text, "failed x: guest `w`: hung task: INFO: task x (before this test began)\n"));
	assert_non_null(strstr(text, "passed y\n"));
	rig_finish(&rig);
}

static void one_after_the_last_test_fails_the_file(void **state)
{
	rig_expect(VM
	    "test('x', function()\n"
	    "  local late = setmetatable({}, {__gc = function() a:run('quietly bad') end})\n"
	    "end)",
	    "passed x\n", "chunk_error: guest `a`: kernel oops: bad\n", "(after the last test)",
	    "result: crashed passed=1", NULL);
	/* With another test to come it is that one's. */
	rig_expect(VM
	    "test('x', function()\n"
	    "  local late = setmetatable({}, {__gc = function() a:run('quietly bad') end})\n"
	    "end)\n"
	    "test('y', function() end)",
	    "passed x\n", "failed y: guest `a`: kernel oops: bad (before this test began)\n",
	    "result: failed passed=1 failed=1", NULL);
}

static void waiting_ends_with_it(void **state)
{
	rig_expect(VM "test('x', {timeout = 60}, function() a:run('soon bad')\n"
		      "  wait_until(function() end, {timeout = 1000, interval = 500}) end)",
	    "failed x: guest `a`: kernel oops: bad\n",
	    "3: wait_until: guest `a`: kernel oops: bad\n", NULL);
	rig_expect(VM "test('x', {timeout = 60}, function() a:run('soon bad')\n"
		      "  _provium_sleep(1000) end)",
	    "3: _provium_sleep: guest `a`: kernel oops: bad\n", NULL);
	/* A predicate that swallows the error of its own operation. */
	rig_expect(VM "test('x', {timeout = 60}, function()\n"
		      "  wait_until(function() return pcall(a.run, a, 'oops bad') end, "
		      "{timeout = 1000, interval = 500}) end)",
	    "wait_until: guest `a`: kernel oops: bad\n", NULL);
	/* Who expects it goes on waiting. */
	rig_expect(VM
	    "test('x', {expect_oops = true}, function() a:run('soon bad')\n"
	    "  local n = 0\n"
	    "  wait_until(function() n = n + 1 return n == 20 end, {interval = 0.01}) end)",
	    "passed x\n", NULL);
	/* What came before the wait does not end it. */
	rig_expect(VM "test('x', function() a:run('quietly bad')\n"
		      "  local n = 0\n"
		      "  wait_until(function() n = n + 1 return n == 3 end, {interval = 0.01})\n"
		      "  error('got here') end)",
	    "got here", NULL);
}

static void a_time_limit_is_told_behind_it(void **state)
{
	rig_expect(VM "test('x', {timeout = '50ms'}, function()\n"
		      "  a:run('quietly bad') while true do end end)\n"
		      "test('y', function() end)",
	    "failed x: guest `a`: kernel oops: bad\n", "the test: test timeout exceeded (50ms)",
	    "passed y\n", NULL);
}

static void a_fixture_with_one_is_none(void **state)
{
	struct lua_rig rig;
	struct pv_run_fixture result;
	rig_init(&rig);
	rig_write(&rig, "case.test.lua",
	    "local a = provium:vm('a', 'tiny'):boot() a:run('settling bad') return a:snapshot()");
	pv_run_fixture(&rig.file, false, &result);
	assert_null(result.snapshot);
	assert_non_null(strstr(pv_bytes_text(&result.failure), "guest `a`: kernel oops: bad\n"));
	assert_non_null(strstr(pv_bytes_text(&result.failure), "---- vm a (last "));
	pv_run_fixture_finish(&result);
	rig_finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_report_fails_the_test_whose_body_returned),
	    cmocka_unit_test(an_error_that_tells_the_report_again_is_cut),
	    cmocka_unit_test(a_test_may_expect_it),
	    cmocka_unit_test(all_guests_are_listed),
	    cmocka_unit_test(one_at_file_scope_fails_the_chunk),
	    cmocka_unit_test(one_between_tests_fails_the_next_one_that_runs),
	    cmocka_unit_test(one_after_the_last_test_fails_the_file),
	    cmocka_unit_test(waiting_ends_with_it),
	    cmocka_unit_test(a_time_limit_is_told_behind_it),
	    cmocka_unit_test(a_fixture_with_one_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
