/*
 * lua/snapshot.h: snapshots, restores and forks (spec 7.8, 19), on the fake lab.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "

static void snapshots_are_handles(void **state)
{
	rig_passes(BOOT "local s = v:snapshot('/tmp/a.snap') t:assert_eq(s:path(), '/tmp/a.snap') "
			"t:assert_eq(s:size(), 4096) s:delete() s:delete() "
			"t:assert_eq(s:size(), 0) t:assert_eq(v:state(), 'booted')");
	rig_passes(BOOT "t:assert_contains(v:snapshot():path(), '/proc/')");
	rig_passes(BOOT "v:pause() v:snapshot() t:assert_eq(v:state(), 'paused')");
	rig_fails("provium:vm('v', 'tiny'):snapshot()",
	    "case.test.lua:1: vm `v`: not booted (cannot snapshot)");
	rig_fails(BOOT "v:snapshot(1)", "vm:snapshot: path must be a string, got number");
	rig_fails(BOOT "v:snapshot('')", "vm:snapshot: path");
	rig_fails(BOOT "v:snapshot().path()", "snapshot:path");
}

static void restores_take_a_snapshot_or_a_path(void **state)
{
	rig_passes(BOOT "local s = v:snapshot() v:shutdown() t:assert_eq(v:restore(s), v) "
			"t:assert_eq(v:state(), 'booted') "
			"local w = provium:vm('w', 'tiny'):restore('/a', {clock = 'now'}) "
			"t:assert_eq(w:console():read_log(), 'restored from /a now') "
			"local x = provium:vm('x', 'tiny'):restore('/a', {}) "
			"t:assert_eq(x:console():read_log(), 'restored from /a')");
	rig_fails(BOOT "v:restore('/a')", "vm `v`: already booted (cannot restore)");
	rig_fails("provium:vm('v', 'tiny'):restore('/nowhere')",
	    "case.test.lua:1: vm `v`: cannot restore: snapshot `/nowhere`: not there");
	rig_fails("provium:vm('v', 'tiny'):restore()",
	    "vm:restore: snapshot must be a Snapshot or a path, got no value");
	rig_fails("provium:vm('v', 'tiny'):restore(provium)",
	    "vm:restore: snapshot must be a Snapshot or a path, got Lab");
	rig_fails("provium:vm('v', 'tiny'):restore('/a', 1)", "vm:restore: opts must be a table");
	rig_fails("provium:vm('v', 'tiny'):restore('/a', {clock = 'then'})",
	    "vm:restore: opts.clock must be \"now\", got `then`");
	rig_fails("provium:vm('v', 'tiny'):restore('/a', {clock = 1})",
	    "vm:restore: opts.clock must be \"now\", got number");
}

static void forks_are_named_vms_of_the_present_scope(void **state)
{
	rig_passes(BOOT "local f = v:fork(3) t:assert_eq(#f, 3) for i = 1, 3 do "
			"t:assert_eq(f[i]:name(), 'v#' .. i) "
			"t:assert_eq(f[i]:state(), 'booted') t:assert_eq(provium['v#' .. i], f[i]) "
			"end t:assert_eq(v:fork(1)[1]:name(), 'v#4') "
			"t:assert_eq(f[2]:fork(1)[1]:name(), 'v#2#1')");
	rig_passes(BOOT "provium:vm('v#1', 'tiny') t:assert_eq(v:fork(1)[1]:name(), 'v#2')");
	rig_expect("local v = provium:vm('v', 'tiny'):boot() "
		   "test('a', function(t) v:fork(2) t:assert_eq(#provium:vm_names(), 2) end) "
		   "test('b', function(t) t:assert_eq(provium['v#1'], nil) "
		   "t:assert_eq(v:fork(1)[1]:name(), 'v#1') end)",
	    "passed a", "passed b", NULL);
	rig_fails(BOOT "v:fork(0)", "vm:fork: n must be 1 to 256, got 0");
	rig_fails(BOOT "v:fork(257)", "vm:fork: n must be 1 to 256, got 257");
	rig_fails(BOOT "v:fork(1.5)", "vm:fork: n must be a whole number, got number");
	rig_fails(BOOT "v:fork('2')", "vm:fork: n must be a whole number, got string");
	rig_fails("provium:vm('v', 'tiny'):fork(1)", "vm `v`: not booted (cannot snapshot)");
}

static void a_fork_that_fails_leaves_nothing(void **state)
{
	rig_passes(
	    "local v = provium:vm('v', 'tiny', {kernel_cmdline_append = 'third fails'}):boot() "
	    "local ok, e = pcall(v.fork, v, 4) t:assert(not ok) "
	    "t:assert_contains(tostring(e), 'vm `v#3`: no more') "
	    "t:assert_eq(table.concat(provium:vm_names(), ' '), 'v')");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(snapshots_are_handles),
	    cmocka_unit_test(restores_take_a_snapshot_or_a_path),
	    cmocka_unit_test(forks_are_named_vms_of_the_present_scope),
	    cmocka_unit_test(a_fork_that_fails_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
