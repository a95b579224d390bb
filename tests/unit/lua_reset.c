/*
 * provium.reset_between_tests (spec 6.4): when a file's guests go back, and what becomes of labs
 * and failures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "tests/unit/lua_rig.h"

#define RESET "provium.reset_between_tests = true\n"

static void every_test_begins_where_the_chunk_ended(void **state)
{
	rig_expect(RESET
	    "local a = provium:vm('a', 'tiny'):boot() local b = provium:vm('b', 'tiny')\n"
	    "a:write_file('/f', 'kept')\n"
	    "for i = 1, 5 do test('t' .. i, function(t)\n"
	    "  t:assert_eq(provium.a, a) t:assert_eq(a:state(), 'booted')\n"
	    "  t:assert_eq(b:state(), 'created') t:assert_eq(a:read_file('/f'), 'kept')\n"
	    "  t:assert(not pcall(a.read_file, a, '/g'))\n"
	    "  a:write_file('/f', 'changed') a:write_file('/g', 'new') b:boot()\n"
	    "  if i % 2 == 0 then a:shutdown() end if i == 3 then error('whatever') end\n"
	    "end) end",
	    "result: failed passed=4 failed=1", NULL);
	/* Without it guests keep what the last test left. */
	rig_expect("local a = provium:vm('a', 'tiny'):boot() a:write_file('/f', 'kept')\n"
		   "test('one', function(t) a:write_file('/f', 'changed') end)\n"
		   "test('two', function(t) t:assert_eq(a:read_file('/f'), 'changed') end)",
	    "passed=2 failed=0", NULL);
}

static void it_is_made_between_bodies_that_run_and_nowhere_else(void **state)
{
	rig_expect(RESET
	    "local a = provium:vm('a', 'tiny'):boot()\n"
	    "local function count() local _, n = a:console():read_log():gsub('rewound', "
	    "'') return n end\n"
	    "test('first', function(t) t:assert_eq(count(), 0) end)\n"
	    "test('skipped', {skip = 'why not'}, function(t) end)\n"
	    "test('slow', {slow = true}, function(t) end)\n"
	    "test('second', function(t) t:assert_eq(count(), 1) t:skip('enough') end)\n"
	    "test('third', function(t) t:assert_eq(count(), 2) end)\n",
	    "skipped=3", "passed=2 failed=0", NULL);
	/* A file of which nothing runs needs no baseline. */
	rig_expect(RESET "todo() provium:vm('a', 'tiny', {kernel_cmdline_append = 'busy'}):boot()\n"
			 "test('it', function() end)",
	    "skipped it", NULL);
	rig_expect(RESET "provium:vm('a', 'tiny', {kernel_cmdline_append = 'busy'}):boot()",
	    "result: passed", NULL);
}

static void what_a_test_made_in_the_scope_of_the_file_is_gone(void **state)
{
	rig_expect(RESET
	    "local root = provium local sub = root:lab('sub')\n"
	    "local inner = sub:vm('inner', 'tiny'):boot() local a = root:vm('a', 'tiny')\n"
	    "local late, late_lab\n"
	    "test('one', function(t)\n"
	    "  late = root:vm('late', 'tiny'):boot() late_lab = root:lab('late_lab')\n"
	    "  late_lab:vm('deep', 'tiny'):boot() sub:vm('other', 'tiny'):boot()\n"
	    "  root:remove('a') sub:include(a) inner:write_file('/f', 'x')\n"
	    "end)\n"
	    "test('two', function(t)\n"
	    "  t:assert_eq(root.late, nil) t:assert_eq(late:state(), 'shutdown')\n"
	    "  t:assert_eq(root.late_lab, nil) t:assert_eq(root.sub, sub)\n"
	    "  t:assert_eq(table.concat(root:vm_names(), ' '), 'a')\n"
	    "  t:assert_eq(table.concat(sub:vm_names(), ' '), 'inner')\n"
	    "  t:assert_eq(sub:vm('inner'), inner) t:assert_eq(inner:state(), 'booted')\n"
	    "  t:assert(not pcall(inner.read_file, inner, '/f'))\n"
	    "  t:assert_contains(select(2, pcall(late_lab.vm_names, late_lab)), 'closed')\n"
	    "end)\n"
	    "test('three', function(t) root:vm('late', 'tiny'):boot() end)",
	    "passed=3 failed=0", NULL);
}

static void a_failed_one_fails_the_tests_until_one_works(void **state)
{
	rig_expect(RESET
	    "local a = provium:vm('a', 'tiny'):boot() local b = provium:vm('b', "
	    "'tiny'):boot()\n"
	    "b:write_file('/f', 'kept')\n"
	    "test('one', function(t) a:write_file('/stuck', '') b:write_file('/f', 'x') "
	    "end)\n"
	    "test('two', function(t) t:log('ran') end)\n"
	    "test('three', function(t) t:assert_eq(a:state(), 'booted') "
	    "t:assert_eq(b:read_file('/f'), 'kept') end)\n",
	    "passed one\nstarted two\nfailed two: provium.reset_between_tests: this test was not "
	    "run, because its guests are not as the file left them: vm `a`: is stuck\n"
	    "started three\npassed three\n",
	    NULL);
}

static void one_that_cannot_be_prepared_is_a_chunk_error(void **state)
{
	rig_expect(RESET "provium:vm('a', 'tiny', {kernel_cmdline_append = 'busy'}):boot()\n"
			 "test('it', function() end)",
	    "chunk_error: case.test.lua: provium.reset_between_tests: the state before the tests "
	    "cannot be kept: vm `a`: it is busy\n",
	    "result: crashed", "not_run=1", NULL);
	rig_expect(RESET "provium:vm('a', 'tiny', {kernel_cmdline_append = 'streams'}):boot()\n"
			 "test('it', function() end)",
	    "it cannot be used with streams of the file's scope, and vm `a` has 2; open them in "
	    "the tests",
	    "result: crashed", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_test_begins_where_the_chunk_ended),
	    cmocka_unit_test(it_is_made_between_bodies_that_run_and_nowhere_else),
	    cmocka_unit_test(what_a_test_made_in_the_scope_of_the_file_is_gone),
	    cmocka_unit_test(a_failed_one_fails_the_tests_until_one_works),
	    cmocka_unit_test(one_that_cannot_be_prepared_is_a_chunk_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
