/*
 * lua/command.h, lua/run_result.h: the shapes of vm:run and its result (spec 7.4 and 8).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "tests/unit/lua_rig.h"

/* Calls v:run(ARGS) and compares what the fake guest was given. */
static void gives(const char *args, const char *expected)
{
	struct pv_bytes body = {0};
	pv_bytes_printf(&body,
	    "local v = provium:vm('v', 'tiny'):boot() t:assert_eq(v:run(%s).stdout, '%s')", args,
	    expected);
	rig_passes(pv_bytes_text(&body));
	pv_bytes_finish(&body);
}

static void refused(const char *args, const char *reason)
{
	struct pv_bytes body = {0};
	pv_bytes_printf(&body, "local v = provium:vm('v', 'tiny'):boot() v:run(%s)", args);
	rig_fails(pv_bytes_text(&body), reason);
	pv_bytes_finish(&body);
}

static void shapes(void **state)
{
	gives("'a | b'", "argv=[/bin/sh|-c|a | b]");
	gives("''", "argv=[/bin/sh|-c|]");
	gives("'a', nil", "argv=[/bin/sh|-c|a]");
	gives("'prog', {'x', 'y z', 5, ''}", "argv=[prog|x|y z|5|]");
	gives("'prog', {}", "argv=[prog]");
	gives("'prog', {args = {'x'}}", "argv=[prog|x]");
	gives("'prog', {args = {}}", "argv=[prog]");
	gives("'a | b', {cwd = '/tmp'}", "argv=[/bin/sh|-c|a | b] cwd=/tmp");
	gives("'p', {args = {'x'}, env = {K = 'v'}, env_clear = true, cwd = '/d', stdin = 'in', "
	      "timeout = 2}",
	    "argv=[p|x] env=[K=v] clear cwd=/d stdin=in timeout_ns=2000000000");
	gives("'p', {env = {K = 5}, stdin = 6}", "argv=[/bin/sh|-c|p] env=[K=5] stdin=6");
	gives("'p', {env = {}}", "argv=[/bin/sh|-c|p]");
	gives("'p', {timeout = '1.5s'}", "argv=[/bin/sh|-c|p] timeout_ns=1500000000");
	gives("'p', {timeout_ms = 250}", "argv=[/bin/sh|-c|p] timeout_ns=250000000");
	gives("'p', {timeout_ms = 250, timeout = 1}", "argv=[/bin/sh|-c|p] timeout_ns=1000000000");
	gives("'p', {timeout = 0}", "argv=[/bin/sh|-c|p] timeout_ns=0");
	gives("'p', {env_clear = false}", "argv=[/bin/sh|-c|p]");
	rig_passes("local v = provium:vm('v', 'tiny'):boot() t:assert_eq(v.run(v, 'x').stdout, "
		   "'argv=[/bin/sh|-c|x]') "
		   "local big = {} for i = 1, 5000 do big[i] = 'a' end t:assert_eq(#v:run('p', "
		   "big).stdout, 10008)");
}

static void bad_arguments_are_named(void **state)
{
	refused("", "vm:run: missing command string");
	refused("nil", "vm:run: command must be a string, got nil");
	refused("5", "vm:run: command must be a string, got number");
	refused("{}", "vm:run: command must be a string, got table");
	refused("'a\\0b'", "vm:run: command must not contain NUL bytes");
	refused("'a', 'b'",
	    "vm:run: the second argument must be a table of arguments or options, got string");
	refused("'a', {}, {}", "vm:run: expected a command and at most one table, got 3 arguments");
	refused("'', {'x'}", "vm:run: the program\'s name must not be empty");
	refused("'p', {{}}", "vm:run: args[1] must be a string, got table");
	refused("'p', {'a', true}", "vm:run: args[2] must be a string, got boolean");
	refused("'p', {'a', 'b\\0'}", "vm:run: args[2] must not contain NUL bytes");
	refused("'p', {[1] = 'a', [5] = 'b'}", "vm:run: args has holes");
	refused("'p', {tiemout = 5}", "vm:run: unknown option `tiemout`");
	refused("'p', {'x', check = true}", "vm:run: unknown option `check`");
	refused("'p', {args = 'x'}", "vm:run: args must be an array of strings, got string");
	refused("'p', {env = 'x'}", "vm:run: env must be a table, got string");
	refused("'p', {env = {'A=b'}}", "vm:run: env: keys must be strings, got number");
	refused("'p', {env = {['A=b'] = 'c'}}", "vm:run: env: `A=b` is no name of a variable");
	refused("'p', {env = {[''] = 'c'}}", "is no name of a variable");
	refused("'p', {env = {A = true}}", "vm:run: env.A must be a string, got boolean");
	refused("'p', {env = {A = 'x\\0'}}", "vm:run: env.A must not contain NUL bytes");
	refused("'p', {env_clear = 1}", "vm:run: env_clear must be true or false, got number");
	refused("'p', {cwd = ''}", "vm:run: cwd must not be empty");
	refused("'p', {cwd = 5}", "vm:run: cwd must be a string, got number");
	refused("'p', {stdin = {}}", "vm:run: stdin must be a string, got table");
	refused("'p', {timeout = -1}",
	    "vm:run timeout: must be a finite, non-negative number (got -1)");
	refused(
	    "'p', {timeout = 0/0}", "vm:run timeout: must be a finite, non-negative number (got ");
	refused("'p', {timeout = 1/0}",
	    "vm:run timeout: must be a finite, non-negative number (got inf)");
	refused("'p', {timeout = 'x'}", "vm:run timeout: duration: cannot parse `x`");
	refused(
	    "'p', {timeout = {}}", "vm:run timeout: duration: expected number|string, got table");
	refused("'p', {timeout_ms = -1}",
	    "vm:run timeout: must be a finite, non-negative number (got -1)");
	refused("'p', {timeout_ms = '5'}", "vm:run: timeout_ms must be a number, got string");
	refused(
	    "'missing', {}", "case.test.lua:1: vm `v`: run `missing`: No such file or directory");
	rig_fails("provium:vm('v', 'tiny'):run('x')", "vm `v`: not booted (cannot run)");
}

static void results(void **state)
{
	rig_passes("local v = provium:vm('v', 'tiny'):boot() local r = v:run('exit 0') "
		   "t:assert_eq(r.exit_code, 0) t:assert_eq(r.status, 'exited') "
		   "t:assert_eq(r.timed_out, false) t:assert_eq(r.signal, nil) "
		   "t:assert_eq(r.stdout, 'some out') t:assert_eq(r.stderr, 'some err') "
		   "t:assert_eq(r:ok(), true) t:assert_eq(r:assert_ok(), r) "
		   "t:assert_eq(tostring(r), 'result(status=exited code=0 stdout=8 bytes stderr=8 "
		   "bytes)')");
	rig_passes("local v = provium:vm('v', 'tiny'):boot() local r = v:run('exit 3') "
		   "t:assert_eq(r.exit_code, 3) t:assert_eq(r:ok(), false)");
	rig_passes("local v = provium:vm('v', 'tiny'):boot() local r = v:run('kill 9') "
		   "t:assert_eq(r.exit_code, -1) t:assert_eq(r.signal, 9) "
		   "t:assert_eq(r.status, 'signalled') t:assert(not r:ok())");
	rig_passes("local v = provium:vm('v', 'tiny'):boot() local r = v:run('wait', {timeout = "
		   "0.001}) t:assert_eq(r.exit_code, -2) "
		   "t:assert_eq(r.status, 'timed_out') t:assert(r.timed_out) t:assert_eq(r.stdout, "
		   "'so far')");
}

static void assert_ok_says_what_happened(void **state)
{
	rig_fails("provium:vm('v', 'tiny'):boot():run('exit 3'):assert_ok()",
	    "case.test.lua:1: command failed: status=exited code=3 stdout=\"some out\" "
	    "stderr=\"some err\"\n");
	rig_fails("provium:vm('v', 'tiny'):boot():run('kill 9'):assert_ok()",
	    "command failed: status=signalled signal=9 stdout=");
	rig_fails("provium:vm('v', 'tiny'):boot():run('wait', {timeout = 0}):assert_ok()",
	    "command failed: status=timed_out stdout=\"so far\"");
	rig_fails("local r = provium:vm('v', 'tiny'):boot():run('exit 1') r.stdout = "
		  "'a\\n\\t\"\\\\\\0\\xffgr\\u{fc}n' r:assert_ok()",
	    "stdout=\"a\\n\\t\\\"\\\\\\x00\\xffgr\xc3\xbcn\" stderr");
	rig_fails("local r = provium:vm('v', 'tiny'):boot():run('exit 1') r.stdout = "
		  "string.rep('x', 20000) r.stderr = nil r:assert_ok()",
	    "stdout=(3616 bytes before) \"xxx");
	rig_fails("local r = provium:vm('v', 'tiny'):boot():run('exit 1') r.assert_ok()",
	    "result:assert_ok: expected a RunResult");
	rig_fails("local r = provium:vm('v', 'tiny'):boot():run('exit 1') r.ok({})",
	    "result:ok: expected a RunResult before the arguments, got table");
	rig_fails("local r = provium:vm('v', 'tiny'):boot():run('exit 1') r.exit_code = 'x' "
		  "r.status = {} r.signal = {} r:assert_ok()",
	    "command failed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shapes),
	    cmocka_unit_test(bad_arguments_are_named),
	    cmocka_unit_test(results),
	    cmocka_unit_test(assert_ok_says_what_happened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
