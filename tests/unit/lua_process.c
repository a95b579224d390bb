/*
 * lua/process.h: vm:run_async and the type Process (spec 7.4 and 9) on a fake guest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "

static void commands_have_the_shapes_of_run(void **state)
{
	rig_passes(
	    BOOT "t:assert_eq(v:run_async('a | b'):wait().stdout, 'argv=[/bin/sh|-c|a | b]') "
		 "t:assert_eq(v:run_async('p', {'x', 5}):wait().stdout, 'argv=[p|x|5]') "
		 "t:assert_eq(v:run_async('p', {args = {'x'}, env = {K = 1}, cwd = '/d', stdin = "
		 "'in'}):wait().stdout, 'argv=[p|x] env=[K=1] cwd=/d stdin=in')");
	rig_fails(BOOT "v:run_async()", "vm:run_async: missing command string");
	rig_fails(BOOT "v:run_async('p', {tiemout = 1})", "vm:run_async: unknown option `tiemout`");
	rig_fails(BOOT "v:run_async('p', {timeout = 1})",
	    "vm:run_async: timeout is not for a program that goes on in the background; give the "
	    "limit to proc:wait(timeout)");
	rig_fails(BOOT "v:run_async('p', {timeout_ms = 1})", "vm:run_async: timeout_ms is not for");
	rig_fails(BOOT "v:run_async('missing', {})", "No such file or directory");
	rig_fails(
	    "provium:vm('v', 'tiny'):run_async('x')", "vm `v`: not booted (cannot run_async)");
}

static void waiting_gives_the_result_once(void **state)
{
	rig_passes(BOOT "local p = v:run_async('exit 3') local r = p:wait() "
			"t:assert_eq(r.exit_code, 3) t:assert_eq(r.status, 'exited') "
			"t:assert_eq(r.stderr, 'some err') t:assert_eq(p:status(), 'unknown') "
			"t:assert(p:handle() > 0) t:assert(p:pid() >= 100) p:close() "
			"t:assert_contains(tostring(p), ' waited')");
	rig_passes(BOOT "t:assert_contains(v:run_async('x'):wait('1.5s').stderr, "
			"'timeout_ns=1500000000')");
	rig_fails(BOOT "local p = v:run_async('x') p:wait() p:wait()",
	    "proc:wait: process 1 was waited for already; wait is one-shot");
	rig_fails(BOOT "local p = v:run_async('x') p:wait() p:kill()",
	    "proc:kill: process 1 was waited for already");
	rig_fails(BOOT "v:run_async('x'):wait(0)", "a timeout of 0 would SIGKILL");
	rig_fails(BOOT "v:run_async('x'):wait('0ms')", "proc:status() tells whether it runs");
	rig_fails(BOOT "v:run_async('x'):wait(-1)",
	    "proc:wait timeout: duration: must be a finite, non-negative number (got -1)");
	rig_fails(BOOT "v:run_async('x').wait(v)", "proc:wait: expected a Process before the "
						   "arguments, got VM; call methods with a colon");
}

static void signals_and_input_reach_the_program(void **state)
{
	rig_passes(
	    BOOT "local p = v:run_async('x') t:assert_eq(p:status(), 'running') p:kill() "
		 "t:assert_eq(p:status(), 'exited') p:kill('SigUsr1') p:signal(9) "
		 "p:signal('rtmin') t:assert_eq(p:stdin_write('ab'), 2) p:close_stdin() "
		 "t:assert_eq(p:wait().stderr, ' signal=15 signal=10 signal=9 signal=34 write=ab "
		 "close_input')");
	rig_fails(BOOT "v:run_async('x'):kill('nope')", "proc:kill: unknown signal name `nope`");
	rig_fails(BOOT "v:run_async('x'):signal()", "proc:signal: signal must be int or string");
	rig_fails(
	    BOOT "v:run_async('x'):kill({})", "proc:kill: signal must be int or string, got table");
	rig_fails(BOOT "v:run_async('x'):stdin_write()",
	    "proc:stdin_write: data must be a string, got no value");
}

static void output_can_be_followed(void **state)
{
	rig_passes(
	    BOOT "local p = v:run_async('x') local o, e = p:stdout_stream(), "
		 "p:stderr_stream() t:assert_eq(o:next(), 'its out') "
		 "t:assert_eq(e:next(), 'its err') t:assert_eq(o:next(), nil) t:assert(o:eof()) "
		 "t:assert_eq(v:open_stream_count(), 2) p:wait() o:close() e:close()");
	rig_fails(BOOT "local p = v:run_async('x') p:wait() p:stdout_stream()",
	    "proc:stdout_stream: process 1 was waited for already");
	rig_fails(
	    BOOT "v:run_async('x'):stderr_stream() v:snapshot()", "proc_stderr_stream(process 1)");
}

static void what_is_open_is_closed(void **state)
{
	rig_passes(
	    BOOT "local p = v:run_async('x') p:close() p:close() "
		 "t:assert_eq(p:status(), 'unknown') t:assert_contains(tostring(p), ' closed') "
		 "local ok, why = pcall(p.wait, p) "
		 "t:assert_contains(why, 'proc:wait: process 1 was closed')");
	rig_passes(BOOT "local kept do local p <close> = v:run_async('x') kept = p end "
			"t:assert_eq(kept:status(), 'unknown')");
	/* The handle is free again: the scope has closed the one before. */
	rig_expect("local v = provium:vm('v', 'tiny'):boot()\n"
		   "test('a', function(t) p = v:run_async('x') t:assert_eq(p:handle(), 1) end)\n"
		   "test('b', function(t) t:assert_eq(p:status(), 'unknown') "
		   "t:assert_eq(v:run_async('x'):handle(), 1) end)",
	    "passed a\n", "passed b\n", NULL);
	rig_passes(BOOT "local p = v:run_async('x') v:shutdown() p:close()");
	/* A guest that stands still can end nothing: it stays open. */
	rig_passes(BOOT "local p = v:run_async('x') v:pause() t:assert(not pcall(p.close, p)) "
			"v:resume() t:assert_eq(p:status(), 'running') p:close()");
}

static void a_reboot_is_told(void **state)
{
	rig_fails(BOOT "v:run_async('old', {}):status()", ": the guest was rebooted since");
	rig_passes(BOOT "v:run_async('old', {}):close()");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(commands_have_the_shapes_of_run),
	    cmocka_unit_test(waiting_gives_the_result_once),
	    cmocka_unit_test(signals_and_input_reach_the_program),
	    cmocka_unit_test(output_can_be_followed),
	    cmocka_unit_test(what_is_open_is_closed),
	    cmocka_unit_test(a_reboot_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
