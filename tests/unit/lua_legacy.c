/*
 * lua/legacy.h: the older spelling, on the fake lab. What guests do is said by a `run` written in
 * the test, which takes the place of VM's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_lab.h"
#include "tests/unit/fake_syscall.h"
#include "tests/unit/lua_rig.h"

/* A VM `v`, and `answer`, which makes its next commands give that; `asked` has them. */
#define ANSWERS                                                                       \
	"local v = provium:vm('v', 'tiny'):boot()\n"                                  \
	"local methods, asked, real = debug.getmetatable(v).__index, {}, nil\n"       \
	"local function answer(out, code) methods.run = function(self, command)\n"    \
	" asked[#asked + 1] = command local r = real(self, 'exit ' .. (code or 0))\n" \
	" r.stdout = out return r end end real = methods.run\n"

static void vms_are_created_with_names_of_their_own(void **state)
{
	rig_passes("local a, b = provium.create('tiny'), provium:create('tiny')\n"
		   "t:assert_eq(a:name(), 'tiny#1') t:assert_eq(b:name(), 'tiny#2')\n"
		   "t:assert_eq(a:profile(), 'tiny') t:assert_eq(a:state(), 'created')\n"
		   "t:assert_eq(provium:vm('tiny#2'), b)\n");
	rig_fails("provium.create('none')", "case.test.lua:1: profile `none` not in provium.toml");
	rig_fails("provium.create()",
	    "case.test.lua:1: provium.create: profile must be a string, got nil");
}

static void all_are_shut_down(void **state)
{
	rig_expect("local a = provium:vm('a', 'tiny'):boot()\n"
		   "local b = provium:lab('s'):vm('b', 'tiny'):boot()\n"
		   "test('x', function(t) local c = provium.create('tiny'):boot()\n"
		   "provium.shutdown_all() for _, vm in ipairs({a, b, c}) do\n"
		   "t:assert_eq(vm:state(), 'shutdown') end end)",
	    "passed x\n", NULL);
	rig_passes("local v = provium.create('tiny'):boot() v:kill() t:assert_eq(v:state(), "
		   "'shutdown')");
}

static void exec_has_ok_as_a_field(void **state)
{
	rig_passes(ANSWERS
	    "local r = v:exec('exit 0') t:assert_eq(r.ok, true) t:assert_eq(r.exit_code, 0)\n"
	    "r = v:exec('exit 3') t:assert_eq(r.ok, false) t:assert_eq(r.exit_code, 3)\n"
	    "r = v:exec('kill 9') t:assert_eq(r.signal, 9) t:assert_eq(r.ok, false)\n"
	    "t:assert_eq(v:exec('p', {'x'}).stdout.value, 'argv=[p|x]')\n");
	rig_fails("provium.create('tiny'):exec('x')", "case.test.lua:1: vm `tiny#1`");
	rig_fails("provium.create('tiny'):exec(5)",
	    "case.test.lua:1: vm:exec: command must be a string, got number");
	rig_fails("provium.create('tiny').exec('x')",
	    "case.test.lua:1: vm:exec: expected a VM before the arguments, got string");
}

static void outputs_are_strings_with_methods(void **state)
{
	rig_passes(ANSWERS
	    "answer('  a%b\\n') local out = v:exec('x').stdout\n"
	    "t:assert_eq(out.value, '  a%b\\n') t:assert_eq(tostring(out), '  a%b\\n')\n"
	    "t:assert_eq(out:trim(), 'a%b') t:assert_eq(out.trim(), 'a%b')\n"
	    "t:assert(out:contains('a%b') and out.contains('a%b') and not out:contains('c'))\n"
	    "t:assert(out:starts_with('  a') and not out.starts_with('a'))\n"
	    "t:assert(out:ends_with('\\n') and out.ends_with('') and not out:ends_with('a'))\n"
	    "t:assert_eq(out:match('%a'), 'a') t:assert_eq(out.upper(), '  A%B\\n')\n"
	    "t:assert_eq(#out, 6) t:assert_eq('<' .. out .. '>', '<  a%b\\n>')\n"
	    "t:assert_eq(out, v:exec('y').stdout) t:assert_eq(out.nothing, nil)\n"
	    "assert_eq('  a%b\\n', out) assert_contains(out, 'a%b')\n");
}

static void json_decodes(void **state)
{
	rig_passes(ANSWERS "answer('{\"a\": [1, 2]}') t:assert_eq(v:json('cat x').a[2], 2)\n"
			   "t:assert_eq(asked[1], 'cat x')");
	rig_fails(ANSWERS "answer('{') v:json('cat x')",
	    "case.test.lua:6: vm:json: the output of `cat x` is no JSON: ");
	rig_fails(ANSWERS "answer('{}', 2) v:json('cat x')",
	    "case.test.lua:6: command failed: status=exited code=2");
}

/* `calls` has the system calls of v as text; `give` makes the next ones end so. */
#define CALLS                                                                                     \
	"local v, calls, give = provium:vm('v', 'tiny'):boot(), {}, {ret = 0, errno = 0}\n"       \
	"debug.getmetatable(v).__index.syscall = function(self, nr, a, ...)\n"                    \
	" if type(a) == 'table' then calls[#calls + 1] = nr .. ' ' .. table.concat(a.bufs, "      \
	"'|'):gsub('%z', '0') else calls[#calls + 1] = nr end\n"                                  \
	" return {ret = give.ret, errno = give.errno, out_bufs = give.out or type(a) == 'table' " \
	"and a.bufs} end\n"

static void filesystems_are_mounted_by_system_calls(void **state)
{
	rig_passes(CALLS
	    "v:mount_vfs() give.errno = provium.sys.EBUSY v:mount_vfs()\n"
	    "local all = table.concat(calls, '; '):gsub('00+', '')\n"
	    "t:assert_contains(all, 'mkdir /proc0; statfs /proc0|; mount proc0|/proc0|proc0; '\n"
	    " .. 'mkdir /sys0; statfs /sys0|; mount sysfs0|/sys0|sysfs0; ') t:assert_eq(#calls, "
	    "24)");
	/* Where statfs finds it already, nothing is mounted. */
	rig_passes(CALLS "give.out = {'', string.pack('<i8', provium.sys.PROC_SUPER_MAGIC)}\n"
			 "v:mount_vfs() t:assert_eq(#calls, 11)");
	rig_fails(CALLS "give.errno = 1 v:mount_vfs()",
	    "case.test.lua:5: vm:mount_vfs: mount `proc` at `/proc`: Operation not permitted "
	    "(EPERM)");
	rig_fails("provium:vm('v', 'tiny'):mount_vfs()", "case.test.lua:1: vm `v`: ");
}

static void the_log_is_filtered(void **state)
{
	rig_passes(
	    CALLS "give.out = {'<6>a 1\\n<14>b [x] 2\\n<6>b 33\\n<6>cut'} give.ret = 27\n"
		  "t:assert_eq(v:dmesg(), 'a 1\\nb [x] 2\\nb 33\\n')\n"
		  "t:assert_eq(table.concat(calls, '; '), 'syslog; syslog ' .. ('0'):rep(27))\n"
		  "t:assert_eq(v:dmesg('b'), 'b [x] 2\\nb 33\\n')\n"
		  "t:assert_eq(v:dmesg('[x]'), 'b [x] 2\\n')\n"
		  "t:assert_eq(v:dmesg('%d%d'), 'b 33\\n')\n"
		  "t:assert_eq(v:dmesg('[x'), 'b [x] 2\\n')\n"
		  "t:assert_eq(v:dmesg('[['), '')\n");
	rig_fails(
	    CALLS "give.errno = 1 v:dmesg()", "case.test.lua:5: vm:dmesg: Operation not permitted");
}

/* The fake agent makes letters of call 1001 capitals, and call 1000 fails with its first argument.
 */
static void buffers_by_places_of_arguments(void **state)
{
	rig_passes(
	    "local v = provium:vm('v', 'tiny'):boot()\n"
	    "local ret, out = v:syscall_buf(1001, {5, 0}, 1, 'abc')\n"
	    "t:assert_eq(ret, 1001) t:assert_eq(out, 'ABC')\n"
	    "t:assert_eq(select(2, v:syscall_buf('read', {0, 0, 3}, 1, 3)), '\\0\\0\\0')\n"
	    "t:assert_eq(v:syscall_buf(1000, {provium.sys.EPERM}, 1, ''), -1)\n"
	    "t:assert_eq(v:syscall_buf(1000, {provium.sys.ENOENT}, 1, ''), -2)\n"
	    "ret, out = v:syscall_bufs(1001, {}, {[0] = 'a', [2] = 'c', [5] = 'f'})\n"
	    "t:assert_eq(ret, 1001) t:assert_eq(out[0] .. out[2] .. out[5], 'ACF')\n"
	    "local data, behind ret, data, behind = v:syscall_ptr(1001, {0}, 0, ('x'):rep(24), "
	    "{[0] = 'abc', [16] = 'de'})\n"
	    "t:assert_eq(ret, 1001) t:assert_eq(#data, 24)\n"
	    "t:assert_eq(behind[0], 'ABC') t:assert_eq(behind[16], 'DE')\n");
	rig_passes("local v = provium:vm('v', 'tiny'):boot()\n"
		   "local ret, out = v:ioctl_buf(3, 0x5413, 8)\n"
		   "t:assert_eq(ret, 16) t:assert_eq(out, ('\\0'):rep(8))");
	assert_string_equal(fake_syscall_last, "16 args=[3,21523,0] lens=[8] ptrs=[2] data=");
	rig_fails("provium:vm('v', 'tiny'):boot():syscall_buf('opneat', {}, 0, '')",
	    "case.test.lua:1: vm:syscall_buf: nr: unknown system call `opneat`; did you mean "
	    "`openat`");
	rig_fails("provium:vm('v', 'tiny'):boot():syscall_ptr(1, {}, 0, '', {[0] = 'x'})",
	    "case.test.lua:1: vm:syscall: nested[1]: offset 0");
	rig_fails("provium:vm('v', 'tiny'):boot():syscall_buf(1, {}, 6, '')",
	    "case.test.lua:1: vm:syscall_buf: index must be from 0 to 5, got 6");
	rig_fails("provium:vm('v', 'tiny'):boot():syscall_buf(1, {}, 0, -1)",
	    "vm:syscall_buf: data must be a string, or a number of zeros up to 67108864");
}

static void jobs_run_in_the_background(void **state)
{
	rig_passes(
	    "local v = provium:vm('v', 'tiny'):boot() local job = v:background('exit 3')\n"
	    "t:assert_eq(math.type(job.id), 'integer') t:assert_eq(math.type(job.pid), 'integer')\n"
	    "local other = v:background('x')\n"
	    "local r = v:job_wait(job, 5) t:assert_eq(r.ok, false) t:assert_eq(r.exit_code, 3)\n"
	    "t:assert_eq(v:job_wait(other.id).stdout:match('^argv'), 'argv')\n");
	rig_passes("local v = provium:vm('v', 'tiny'):boot() v:job_kill(v:background('x'))");
	assert_non_null(strstr(fake_syscall_last, "62 args=[-"));
	rig_fails("local v = provium:vm('v', 'tiny'):boot() v:job_wait({id = 99})",
	    "case.test.lua:1: vm:job_wait: job must be one that vm:background of this VM "
	    "returned, got table");
	rig_fails("local v, w = provium:vm('v', 'tiny'):boot(), provium:vm('w', 'tiny'):boot()\n"
		  "w:job_kill(v:background('x'))",
	    "case.test.lua:2: vm:job_kill: job must be");
	rig_fails("local v = provium:vm('v', 'tiny'):boot() local job = v:background('x')\n"
		  "v:job_wait(job) v:job_wait(job)",
	    "case.test.lua:2: proc:wait: ");
}

static void workers_have_the_older_methods(void **state)
{
	rig_passes("local v = provium:vm('v', 'tiny'):boot() local w = v:spawn()\n"
		   "t:assert_eq(w:exec('exit 3').exit_code, 3)\n"
		   "t:assert_eq(w:job_wait(w:background('exit 4')).exit_code, 4)\n"
		   "t:assert_eq(select(2, w:syscall_buf(1001, {}, 0, 'a')), 'A')\n"
		   "t:assert_eq(w.spawn, nil) t:assert_neq(w.kill, v.kill) w:kill() w:join()");
}

static void waiting(void **state)
{
	rig_passes("local v, n = provium:vm('v', 'tiny'), 0\n"
		   "t:assert_eq(v:wait_until(function() n = n + 1 return n == 2 and 'there' end, "
		   "{interval = 0}), 'there')");
	rig_fails("provium:vm('v', 'tiny'):wait_until(function() end, {timeout = 0, desc = 'it'})",
	    "case.test.lua:1: wait_until: it not met within 0s");
	rig_fails("provium:vm('v', 'tiny'):wait_until(function()\n error('of its own') end)",
	    "case.test.lua:2: of its own");
}

static void formats_of_the_older_kind(void **state)
{
	rig_passes("local s = provium.pack('u32 u32 u64', 1, 0xffffffff, -1)\n"
		   "t:assert_eq(s, '\\1\\0\\0\\0\\255\\255\\255\\255' .. ('\\255'):rep(8))\n"
		   "local a, b, c, d = provium.unpack('u32 u32 u64', s)\n"
		   "t:assert_eq(a, 1) t:assert_eq(b, 0xffffffff) t:assert_eq(c, -1)\n"
		   "t:assert_eq(d, nil)\n"
		   "t:assert_eq(provium:pack('i16 u8', -2, 3), '\\xfe\\xff\\3')\n"
		   "t:assert_eq(provium:unpack('i32', '\\xfe\\xff\\xff\\xff'), -2)\n"
		   "t:assert_eq(provium.unpack('u8', 'abc', 2), 98)\n"
		   "t:assert_eq(provium.pack('i16', 1), string.pack('i16', 1))\n"
		   "t:assert_eq(select('#', provium.unpack('<I4', 'abcd')), 2)\n"
		   "t:assert_eq(provium.pack('z', 'a'), 'a\\0')\n");
	rig_fails("provium.pack('u32', -1)", "case.test.lua:1: ");
	rig_fails("provium.unpack('u32', 'abc')", "case.test.lua:1: ");
	rig_fails("provium.pack('u33', 1)", "case.test.lua:1: ");
}

static void bare_assertions(void **state)
{
	rig_passes("assert_eq(1, 1) assert_contains('abc', 'b')\n"
		   "t:assert_eq(select('#', assert(1, nil, 3)), 3)\n"
		   "local ok, e = pcall(assert, false, 'm') t:assert_eq(e, 'm')\n"
		   "ok, e = pcall(assert, nil, {1}) t:assert_eq(e[1], 1)\n"
		   "ok, e = pcall(assert) t:assert_contains(e, 'value expected')");
	rig_fails("assert_eq(1, 2)", "case.test.lua:1: expected `1`, got `2`");
	rig_fails("assert_eq(1, 2, 'why')", "case.test.lua:1: why: expected `1`, got `2`");
	rig_fails(
	    "assert_contains('abc', 'd', 'why')", "case.test.lua:1: why: `d` not found in `abc`");
	rig_fails("\nassert(false)", "case.test.lua:2: assertion failed!");
	rig_fails("assert(nil, 'said')", "said");
}

static void files_are_a_map_to_host_files(void **state)
{
	struct lua_rig rig;
	char script[512];
	rig_init(&rig);
	rig_write(&rig, "tool", "12345");
	snprintf(script, sizeof(script),
	    "provium.create('tiny'):boot({memory = '512M', cpus = 1, "
	    "files = {['/bin/tool'] = '%s/tool'}})",
	    rig.dir);
	const char *report = rig_run(&rig, script);
	if (strstr(report, "result: passed") == NULL)
		fail_msg("%s", report);
	assert_string_equal(fake_lab_last_boot, "memory=536870912 cpus=1 file=bin/tool:640:5 ");
	rig_finish(&rig);
}

static void tests_of_older_files_run_where_they_stand(void **state)
{
	rig_expect(
	    "local v = provium.create('tiny') v:boot()\n"
	    "local order = ''\n"
	    "test('now', function() order = order .. 'a' assert_eq('booted', v:state()) end)\n"
	    "test('wrong', function() assert_eq(1, 2) end)\n"
	    "test('later', function() todo('not yet') error('no') end)\n"
	    "test('with t', function(t) t:assert_eq(order, 'ab') end)\n"
	    "order = order .. 'b' v:shutdown()",
	    "started now\npassed now\nstarted wrong\nfailed wrong: ",
	    "started later\nskipped later: not yet\nstarted with t\npassed with t\n",
	    "result: failed passed=2 failed=1 skipped=1 not_run=0", NULL);
}

static void tests_of_other_files_wait(void **state)
{
	rig_expect("local order = '' test('x', function() assert(order == 'b') end) order = 'b'",
	    "result: passed passed=1", NULL);
	rig_expect("test('x', function() todo('r') end)",
	    "failed x: ", "todo: it concerns the whole file", NULL);
}

static void a_file_that_breaks_later_keeps_its_results(void **state)
{
	rig_expect("provium.create('tiny') test('a', function() end)\n"
		   "test('b', function(t) end) error('broken')",
	    "passed a\n", "chunk_error: ", "result: crashed passed=1 failed=0 skipped=0 not_run=1",
	    NULL);
}

static void tests_do_not_nest(void **state)
{
	rig_expect("provium.create('tiny')\n"
		   "test('a', function() test('b', function() end) end)",
	    "failed a: ", "test: `b` stands in a test; tests do not nest", NULL);
	rig_expect("provium.create('tiny')\n"
		   "coroutine.wrap(function() test('a', function() end) end)()",
	    "result: passed passed=1", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vms_are_created_with_names_of_their_own),
	    cmocka_unit_test(all_are_shut_down),
	    cmocka_unit_test(exec_has_ok_as_a_field),
	    cmocka_unit_test(outputs_are_strings_with_methods),
	    cmocka_unit_test(json_decodes),
	    cmocka_unit_test(filesystems_are_mounted_by_system_calls),
	    cmocka_unit_test(the_log_is_filtered),
	    cmocka_unit_test(buffers_by_places_of_arguments),
	    cmocka_unit_test(jobs_run_in_the_background),
	    cmocka_unit_test(workers_have_the_older_methods),
	    cmocka_unit_test(waiting),
	    cmocka_unit_test(formats_of_the_older_kind),
	    cmocka_unit_test(bare_assertions),
	    cmocka_unit_test(files_are_a_map_to_host_files),
	    cmocka_unit_test(tests_of_older_files_run_where_they_stand),
	    cmocka_unit_test(tests_of_other_files_wait),
	    cmocka_unit_test(a_file_that_breaks_later_keeps_its_results),
	    cmocka_unit_test(tests_do_not_nest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
