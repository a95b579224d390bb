/*
 * lua/worker.h: vm:spawn_worker and the type Worker (spec 10) on a fake guest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

#define START "local v = provium:vm('v', 'tiny'):boot() local w = v:spawn_worker() "

static void a_worker_does_what_a_vm_does(void **state)
{
	rig_passes(START "local h = w:handle() t:assert(h > 0) "
			 "t:assert_eq(w:run('x').stdout, 'worker=' .. h .. ' argv=[/bin/sh|-c|x]') "
			 "t:assert_eq(w:run_async('x'):wait().stdout, 'worker=' .. h .. ' "
			 "argv=[/bin/sh|-c|x]') "
			 "w:write_file('/f', 'text') t:assert_eq(w:read_file('/f'), 'text') "
			 "t:assert_eq(w:stat('/f').size, 4) "
			 "t:assert(w:handle() ~= v:spawn_worker():handle())");
	rig_fails(START "w:run()", "worker:run: missing command string");
	rig_fails(START "w:read_file(5)", "worker:read_file: path must be a string, got number");
	rig_fails(START "v.run(w, 'x')", "vm:run: expected a VM before the arguments, got Worker");
	rig_fails(
	    START "w.run(v, 'x')", "worker:run: expected a Worker before the arguments, got VM");
	rig_fails(START "v:shutdown() w:run('x')", "vm `v`: not booted (cannot run)");
}

static void options(void **state)
{
	rig_passes("provium:vm('v', 'tiny'):boot():spawn_worker({thread = false}):close()");
	rig_fails("provium:vm('v', 'tiny'):boot():spawn_worker({thread = true})",
	    "vm:spawn_worker: thread = true is not yet supported");
	rig_fails("provium:vm('v', 'tiny'):boot():spawn_worker(5)",
	    "vm:spawn_worker: opts must be a table, got number");
	rig_fails("provium:vm('v', 'tiny'):spawn_worker()", "vm `v`: not booted");
}

static void killing_joining_closing(void **state)
{
	rig_passes(START "t:assert_eq(w:join(), 0) t:assert_contains(tostring(w), ' joined') "
			 "w:close()");
	rig_passes(START "w:kill() t:assert_eq(w:join(), 143)");
	rig_passes(START "w:kill('SIGKILL') t:assert_eq(w:join(), 137)");
	rig_fails(START "w:kill({})", "worker:kill: signal must be int or string, got table");
	rig_fails(START "w:kill('nope')", "worker:kill: unknown signal name `nope`");
	rig_fails(START "local h = w:handle() w:join() w:join()", " was joined");
	rig_fails(START "w:join() w:run('x')", "worker:run: worker ");
	rig_fails(START "w:close() w:close() w:stat('/')", " was closed");
	rig_passes(START "v:shutdown() w:close()");
	rig_passes(START "do local x <close> = w end t:assert(not pcall(w.run, w, 'x'))");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_worker_does_what_a_vm_does),
	    cmocka_unit_test(options),
	    cmocka_unit_test(killing_joining_closing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
