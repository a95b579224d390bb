/*
 * lua/batch.h: operations noted and done in one go (spec 7.9).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

#define BOOT	    "local v = provium:vm('v', 'tiny'):boot() "
#define BATCH(body) BOOT "local r = v:batch(function(b) " body " end) "

static void results_are_in_order(void **state)
{
	rig_passes(BATCH(
	    "b:write_file('/x', 'abc') b:read_file('/x') b:stat('/x') b:syscall(7) "
	    "b:read_file('/nope') b:syscall(1000, 13) b:run('exit 3')") "t:assert_eq(#r, 7) "
									"t:assert_eq(next(r[1]), "
									"nil) t:assert_eq(r[2].ok, "
									"'abc') "
									"t:assert_eq(r[3].ok.size, "
									"3) "
									"t:assert_eq(r[3].ok.entry_"
									"type, 'file') "
									"t:assert_eq(r[4].ok.ret, "
									"7) t:assert_eq(r[5].ok, "
									"nil) "
									"t:assert_eq(r[5].err, 'vm "
									"`v`: read_file `/nope`: "
									"No such file or "
									"directory') "
									"t:assert_eq(r[6].ok.errno,"
									" 13) "
									"t:assert_eq(r[7].ok.exit_"
									"code, 3) "
									"t:assert_eq(r[7].ok."
									"stdout, 'some out')");
	rig_passes(BATCH("") "t:assert_eq(#r, 0)");
	rig_passes(BATCH(
	    "for i = 1, 5000 do b:syscall(i + 2000, i) end") "t:assert_eq(#r, 5000) "
							     "t:assert_eq(r[5000].ok.ret, 7000)");
}

static void commands_have_all_shapes(void **state)
{
	rig_passes(BATCH(
	    "b:run('a | b') b:run('prog', {'x', 'y'}) "
	    "b:run('prog', {args = {'z'}, env = {K = 'v'}, stdin = 'in', cwd = '/d', "
	    "timeout = 2}) collectgarbage()") "t:assert_eq(r[1].ok.stdout, 'argv=[/bin/sh|-c|a | "
					      "b]') "
					      "t:assert_eq(r[2].ok.stdout, 'argv=[prog|x|y]') "
					      "t:assert_eq(r[3].ok.stdout, 'argv=[prog|z] "
					      "env=[K=v] cwd=/d stdin=in "
					      "timeout_ns=2000000000')");
}

static void wrong_arguments_raise_and_nothing_is_sent(void **state)
{
	rig_fails(BATCH("b:read_file(5)"), "case.test.lua:1: b:read_file: path must be a string");
	rig_fails(BATCH("b:write_file('/x')"), "b:write_file: data must be a string");
	rig_fails(BATCH("b:mkdir('/x', 5)"), "b:mkdir: opts must be a table, got number");
	rig_fails(BATCH("b:mkdir('/x', {perm = -1})"), "b:mkdir: perm");
	rig_fails(BATCH("b:rename('/x')"), "b:rename: to must be a string, got no value");
	rig_fails(BATCH("b:run()"), "b:run: missing command string");
	rig_fails(BATCH("b:syscall(1, {bufs = {'x'}})"),
	    "b:syscall: a batch takes integers only; buffers need vm:syscall");
	rig_fails(BATCH("b:syscall(1, 'x')"), "b:syscall: a1 must be an integer, got string");
	rig_fails(BATCH("b:syscall(60)"), "b:syscall: exit would end it");
	rig_passes(BOOT "pcall(v.batch, v, function(b) b:write_file('/x', '') error('no') end) "
			"t:assert(not pcall(v.read_file, v, '/x'))");
}

static void a_batch_is_over_when_its_function_returns(void **state)
{
	rig_fails(BOOT "local kept v:batch(function(b) kept = b end) kept:stat('/x')",
	    "b:stat: the batch is over, its function has returned");
	rig_fails(BOOT "v:batch()", "vm:batch: fn must be a function, got no value");
	rig_fails(BOOT "v:batch({})", "vm:batch: fn must be a function, got table");
	rig_fails(BOOT "v:batch(function(b) b.stat('/x') end)", "b:stat: expected a Batch");
	rig_fails(BOOT "v:batch(function(b) b:syscall(1) v:shutdown() end)",
	    "vm `v`: not booted (cannot batch)");
	rig_fails("provium:vm('v', 'tiny'):batch(print)", "vm `v`: not booted (cannot batch)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(results_are_in_order),
	    cmocka_unit_test(commands_have_all_shapes),
	    cmocka_unit_test(wrong_arguments_raise_and_nothing_is_sent),
	    cmocka_unit_test(a_batch_is_over_when_its_function_returns),
	};
	return cmocka_run_group_tests_name("lua_batch", tests, NULL, NULL);
}
