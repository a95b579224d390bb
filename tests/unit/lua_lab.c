/*
 * lua/lab.h, lua/vm.h: labs, names and scopes, the life of VMs, failed boots (spec sections 5 to
 * 7).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/lua_rig.h"

static void looking_up_and_creating(void **state)
{
	rig_passes(
	    "local v = provium:vm('v', 'tiny') t:assert_eq(v:name(), 'v') t:assert_eq(v:profile(), "
	    "'tiny') t:assert_eq(v:state(), 'created') "
	    "t:assert_eq(provium:vm('v'), v) t:assert_eq(provium.v, v) t:assert_eq(v:cid(), nil) "
	    "t:assert_eq(tostring(v), 'vm(v state=created cid=nil)')");
	rig_passes("t:assert_eq(provium.nothing, nil) t:assert_eq(provium[5], nil) "
		   "t:assert_eq(provium[{}], nil)");
	rig_passes("local v = provium:vm('boot', 'tiny', nil) t:assert_eq(type(provium.boot), "
		   "'function') t:assert_eq(provium:vm('boot'), v)");
	rig_fails("provium:vm('x')", "case.test.lua:1: no vm named `x` in this lab");
	rig_fails("provium:vm('x', 'nope')", "profile `nope` not in provium.toml");
	rig_fails("provium:vm('x', 'tiny') provium:vm('x', 'tiny')",
	    "vm name `x` already used in this lab");
	rig_fails("provium:vm('pack', 'tiny')", "vm name `pack` is reserved");
	rig_expect("provium:vm('x', 'tiny') test('a', function(t) provium:vm('x', 'tiny') end)",
	    "failed a: ", "name already declared at a parent scope (lab `provium`)", NULL);
}

static void arguments_of_vm(void **state)
{
	rig_fails("provium:vm()", "lab:vm: expected 1, 2, or 3 args, got 0");
	rig_fails("provium:vm('a', 'tiny', {}, 1)", "lab:vm: expected 1, 2, or 3 args, got 4");
	rig_fails("provium:vm(5)", "lab:vm: name must be a string, got number");
	rig_fails("provium:vm(nil, 'tiny')", "lab:vm: name must be a string, got nil");
	rig_fails("provium:vm('', 'tiny')", "lab:vm: name must not be empty");
	rig_fails("provium:vm('a\\0b', 'tiny')", "lab:vm: name must not contain NUL bytes");
	rig_fails("provium:vm('a', nil)", "lab:vm: profile must be a string, got nil");
	rig_fails("provium:vm('a', {})", "lab:vm: profile must be a string, got table");
	rig_fails("provium:vm('a', 'tiny', 'opts')", "lab:vm: opts must be a table, got string");
	rig_fails("provium:vm('a', 'tiny', provium)", "lab:vm: opts must be a table, got Lab");
	rig_fails("provium.vm('a', 'tiny')",
	    "lab:vm: expected a Lab before the arguments, got string; call methods with a colon");
	rig_fails("provium.boot()", "lab:boot: expected a Lab before the arguments, got no value");
	rig_fails("local v = provium:vm('v', 'tiny') provium.name(v)",
	    "lab:name: expected a Lab before the arguments, got VM");
}

static void members(void **state)
{
	rig_passes("provium:vm('b', 'tiny') provium:vm('a', 'tiny') provium:vm('c', 'tiny') "
		   "t:assert_eq(table.concat(provium:vm_names(), ' '), 'a b c') "
		   "local m = provium:members() t:assert_eq(#m, 3) t:assert_eq(m[1].name, 'b') "
		   "t:assert_eq(m[1].kind, 'vm') "
		   "t:assert_eq(tostring(provium), 'lab(test:it; 3 vm(s))')");
	rig_expect("provium:vm('out', 'tiny') test('a', function(t) "
		   "t:assert_eq(#provium:vm_names(), 0) t:assert_eq(#provium:members(), 0) end)",
	    "passed a\n", NULL);
	rig_passes("provium:depends_on_file('x')");
	rig_fails("provium:depends_on_file()",
	    "lab:depends_on_file: path must be a string, got no value");
}

static void settings(void **state)
{
	rig_expect("assert(provium.timeout == nil) provium.timeout = '5s' assert(provium.timeout "
		   "== '5s')\n"
		   "provium.timeout = 2.5 assert(provium.timeout == 2.5)\n"
		   "test('a', function(t) t:assert_eq(provium.timeout, 2.5) end)",
	    "passed a\n", NULL);
	rig_expect("provium.timeout = 5 provium.timeout = nil assert(provium.timeout == nil)",
	    "result: passed", NULL);
	rig_expect("provium.timeout = 'x'",
	    "chunk_error: ", ":1: provium.timeout: duration: cannot parse `x`", NULL);
	rig_expect("provium.timeout = -1",
	    "provium.timeout: duration: must be a finite, non-negative number (got -1)", NULL);
	rig_expect(
	    "provium.timeout = '-1s'", "must be a finite, non-negative number (got -1s)", NULL);
	rig_expect("provium.timeout = true",
	    "provium.timeout: duration: expected number|string, got boolean", NULL);
	rig_expect("provium.colour = 1",
	    "cannot set `provium.colour`: not a recognised file-scope config key. Known keys: "
	    "reset_between_tests, timeout",
	    NULL);
	rig_expect("provium[5] = 1", "cannot set `provium.5`: not a recognised", NULL);
	rig_fails("provium.timeout = 5", "cannot set `provium.timeout` in a test");
	rig_expect("assert(provium.reset_between_tests == nil) provium.reset_between_tests = true\n"
		   "assert(provium.reset_between_tests) provium.reset_between_tests = false\n"
		   "assert(provium.reset_between_tests == false)\n"
		   "provium.reset_between_tests = nil assert(provium.reset_between_tests == nil)",
	    "result: passed", NULL);
	rig_fails("provium.reset_between_tests = true",
	    "cannot set `provium.reset_between_tests` in a test");
	rig_expect("provium.reset_between_tests = 'yes'",
	    "provium.reset_between_tests: must be true or false, got string", NULL);
	rig_passes("t:assert_eq(provium.reset_between_tests, nil)");
}

static void pack_and_unpack(void **state)
{
	rig_passes("t:assert_eq(provium.pack('<I2', 258), '\\2\\1') "
		   "t:assert_eq(provium:pack('<I2', 258), '\\2\\1') "
		   "t:assert_eq(provium.unpack('<I2', '\\2\\1'), 258) t:assert_eq(select('#', "
		   "provium:unpack('bb', 'ab')), 3)");
	rig_fails("provium.pack()", "string expected");
}

static void life_of_a_vm(void **state)
{
	rig_passes("local v = provium:vm('v', 'tiny') t:assert_eq(v:boot(), v) "
		   "t:assert_eq(v:state(), 'booted') t:assert_eq(type(v:cid()), 'number') "
		   "v:pause() t:assert_eq(v:state(), 'paused') v:resume() v:reset() "
		   "t:assert(v:is_quiescent()) "
		   "t:assert_eq(v:open_file_count(), 0) t:assert_eq(v:open_stream_count(), 0) "
		   "v:power_button() t:assert_eq(v:state(), 'shutdown') v:shutdown() v:close() "
		   "t:assert_eq(v:state(), 'shutdown')");
	rig_passes("local v = provium:vm('v', 'tiny'):boot() do local w <close> = v end "
		   "t:assert_eq(v:state(), 'shutdown')");
	rig_fails("provium:vm('v', 'tiny'):pause()",
	    "case.test.lua:1: vm `v`: state is created (cannot pause)");
	rig_passes("local v = provium:vm('v', 'tiny') local ok, e = pcall(v.resume, v) "
		   "t:assert_contains(e, 'cannot resume')");
	static const char *const methods[] = {"boot", "pause", "resume", "reset", "power_button",
	    "shutdown", "close", "name", "profile", "state", "cid", "is_quiescent",
	    "open_file_count", "open_stream_count", "console", "run", "read_file", "write_file",
	    "push_file", "stat"};
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		struct pv_bytes body = {0}, want = {0};
		pv_bytes_printf(&body, "local v = provium:vm('v', 'tiny') v.%s('x')", methods[i]);
		pv_bytes_printf(&want,
		    "vm:%s: expected a VM before the arguments, got string; call methods with a "
		    "colon",
		    methods[i]);
		rig_fails(pv_bytes_text(&body), pv_bytes_text(&want));
		pv_bytes_finish(&body);
		pv_bytes_finish(&want);
	}
	rig_fails("provium:vm('v', 'tiny').colour = 1", "attempt to index a VM value");
	rig_passes("local v = provium:vm('v', 'tiny') t:assert_eq(getmetatable(v), 'VM') "
		   "t:assert(not pcall(setmetatable, v, {}))");
	/* A finalizer called by hand, twice, and on something else. */
	rig_passes("local v = provium:vm('v', 'tiny') local gc = debug.getmetatable(v).__gc gc(v) "
		   "gc(v) gc({}) gc() "
		   "t:assert_eq(tostring(v), 'vm(released)') t:assert_contains(select(2, "
		   "pcall(v.name, v)), 'this handle is released')");
}

static void handles_live_as_long_as_needed(void **state)
{
	rig_expect("local v\n"
		   "test('a', function(t) v = provium:vm('v', 'tiny'):boot() end)\n"
		   "test('b', function(t) t:assert_eq(v:state(), 'shutdown') v = nil "
		   "collectgarbage() end)\n"
		   "test('c', function(t) for i = 1, 50 do provium:vm('v' .. i, 'tiny') end "
		   "collectgarbage() t:assert_eq(provium.v7:name(), 'v7') end)\n",
	    "passed a\n", "passed b\n", "passed c\n", NULL);
}

static void batch_boot(void **state)
{
	rig_passes("provium:vm('a', 'tiny') provium:vm('b', 'tiny'):boot() "
		   "t:assert_eq(provium:boot(), provium) t:assert_eq(provium.a:state(), 'booted')");
	rig_fails("provium:vm('a', 'tiny') provium:vm('b', 'tiny', {kernel_cmdline_append = "
		  "'hang'}) provium:boot()",
	    "case.test.lua:1: batch `boot` failed: {b: vm `b`: agent did not come up within "
	    "12s}\nvm `b`:\n"
	    "--- guest console (last bytes) ---\nline 0 of");
	rig_passes("t:assert_eq(provium:boot(), provium)");
}

static void failed_boots_show_the_console(void **state)
{
	rig_fails("provium:vm('v', 'tiny'):boot({kernel_cmdline_append = 'hang'})",
	    "case.test.lua:1: vm `v`: agent did not come up within 12s\n--- guest console (last "
	    "bytes) ---\nline 0 of a console");
	rig_fails("provium:vm('v', 'tiny', {kernel_cmdline_append = 'hang'}):boot()",
	    "last words\n--- end guest console ---\n");
	rig_passes("local v = provium:vm('v', 'tiny', {kernel_cmdline_append = 'refuse'}) local "
		   "ok, e = pcall(v.boot, v) "
		   "t:assert_eq(e, 'vm `v`: kernel `/nowhere`: not there') t:assert_eq(v:state(), "
		   "'dead')");
	rig_passes("local v = provium:vm('v', 'tiny', {kernel_cmdline_append = 'hang'}) "
		   "pcall(v.boot, v) t:assert_contains(v:console():read_log(), 'last words')");
	rig_passes("local v = provium:vm('v', 'tiny'):boot() local ok, e = pcall(v.boot, v) "
		   "t:assert_eq(e:find('guest console', 1, true), nil)");
}

static void excerpts(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	rig_run(&rig, "provium:vm('root', 'tiny'):boot() provium:vm('never', 'tiny')\n"
		      "test('a', function(t) provium:vm('mine', 'tiny', {kernel_cmdline_append = "
		      "'binary'}):boot() error('x') end)");
	assert_string_equal(pv_bytes_text(&rig.console),
	    "---- vm mine (last 7 bytes) ----\na\xef\xbf\xbd"
	    "b\xef\xbf\xbd\xef\xbf\xbd\r\n---- vm root (last 14 bytes) ----\nboot of root\r\n");
	rig_finish(&rig);
	rig_init(&rig);
	rig_run(&rig, "test('a', function(t) local v = provium:vm('v', 'tiny') pcall(v.boot, v, "
		      "{kernel_cmdline_append = 'hang'}) v:shutdown() t:fail() end)");
	const char *text = pv_bytes_text(&rig.console);
	assert_non_null(strstr(text, "---- vm v (last 4096 bytes) ----\n"));
	assert_non_null(strstr(text, "last words\n"));
	assert_int_equal(strlen(text), strlen("---- vm v (last 4096 bytes) ----\n") + 4096 + 1);
	rig_finish(&rig);
	rig_init(&rig);
	rig_run(&rig, "test('a', function(t) error('x') end)");
	assert_string_equal(pv_bytes_text(&rig.console), "");
	rig_finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(looking_up_and_creating),
	    cmocka_unit_test(arguments_of_vm),
	    cmocka_unit_test(members),
	    cmocka_unit_test(settings),
	    cmocka_unit_test(pack_and_unpack),
	    cmocka_unit_test(life_of_a_vm),
	    cmocka_unit_test(handles_live_as_long_as_needed),
	    cmocka_unit_test(batch_boot),
	    cmocka_unit_test(failed_boots_show_the_console),
	    cmocka_unit_test(excerpts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
