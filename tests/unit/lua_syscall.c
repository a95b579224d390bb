/*
 * lua/syscall.h, lua/memory.c: system calls and memory of the guest (spec 7.6, 11).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/fake_syscall.h"
#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "

static void integers_reach_the_guest(void **state)
{
	rig_asks("v:syscall(39)", "39");
	rig_asks("v:syscall(257, -100, 0x7fffffffffffffff, math.mininteger, 4.0, 5, 6)",
	    "257 args=[-100,9223372036854775807,-9223372036854775808,4,5,6]");
	rig_asks("v:syscall('openat', 1)", "257 args=[1]");
	rig_asks("v:syscall('SYS_getpid')", "39");
	rig_asks("v:syscall(-1)", "-1");
}

static void buffers_reach_the_guest(void **state)
{
	rig_asks("v:syscall(1, {args = {3, 0, 5}, bufs = {'hello'}, ptrs = {1}})",
	    "1 args=[3,0,5] lens=[5] ptrs=[1] data=hello");
	rig_asks("v:syscall(1, {bufs = {'........', '', 'xyz'}, ptrs = {0}, "
		 "nested = {{1, 3, 0}, {parent = 1, child = 2, offset = 0}}})",
	    "1 lens=[8,0,3] ptrs=[0] nested=[0,2,0,0,1,0] data=........xyz");
	rig_asks("v:syscall(1, {})", "1");
}

static void results_are_tables(void **state)
{
	rig_passes(BOOT "local r = v:syscall(7) t:assert_eq(r.ret, 7) t:assert_eq(r.result, 7) "
			"t:assert_eq(r.errno, 0) t:assert_eq(#r.out_bufs, 0)");
	rig_passes(BOOT "local r = v:syscall(1000, 13) t:assert_eq(r.ret, -1) "
			"t:assert_eq(r.result, -1) t:assert_eq(r.errno, 13)");
	rig_passes(BOOT "local r = v:syscall(1001, {bufs = {'ab', '', 'c\\0d'}}) "
			"t:assert_eq(#r.out_bufs, 3) t:assert_eq(r.out_bufs[1], 'AB') "
			"t:assert_eq(r.out_bufs[2], '') t:assert_eq(r.out_bufs[3], 'C\\0D')");
	rig_passes(BOOT "local b = {} for i = 1, 20000 do b[i] = 'x' .. i end "
			"local r = v:syscall(1001, {bufs = b}) t:assert_eq(#r.out_bufs, 20000) "
			"t:assert_eq(r.out_bufs[20000], 'X20000')");
}

static void wrong_numbers_are_named(void **state)
{
	rig_fails(BOOT "v:syscall()", "case.test.lua:1: vm:syscall: nr must be the number or the "
				      "name of a system call, got no value");
	rig_fails(BOOT "v:syscall(1.5)", "vm:syscall: nr must be an integer, got 1.5");
	rig_fails(BOOT "v:syscall('opnat')", "vm:syscall: nr: ");
	rig_fails(BOOT "v:syscall(1, 2, nil, 3)", "vm:syscall: a2 must be an integer, got nil");
	rig_fails(BOOT "v:syscall(1, 'x')", "vm:syscall: a1 must be an integer, got string");
	rig_fails(BOOT "v:syscall(1, 2^63)", "vm:syscall: a1 must be an integer of 64 bits, got 9");
	rig_fails(BOOT "v:syscall(1, 0/0)", "vm:syscall: a1 must be an integer of 64 bits");
	rig_fails(BOOT "v:syscall(1, 1, 2, 3, 4, 5, 6, 7)", "at most 6 arguments, got 7");
	rig_fails(BOOT "v:syscall(60, 1)", "case.test.lua:1: vm:syscall: exit would end it");
	rig_fails("provium:vm('v', 'tiny'):syscall(39)", "vm `v`: not booted (cannot syscall)");
}

static void wrong_tables_are_named(void **state)
{
	rig_fails(BOOT "v:syscall(1, {}, 2)", "vm:syscall: nothing can follow the table, got 1");
	rig_fails(BOOT "v:syscall(1, {buf = {}})", "vm:syscall: unknown key `buf` (known: args,");
	rig_fails(BOOT "v:syscall(1, {1, 2})", "vm:syscall: unknown key `1`");
	rig_fails(BOOT "v:syscall(1, {args = 1})", "vm:syscall: args must be an array, got number");
	rig_fails(BOOT "v:syscall(1, {args = {1, nil, 3, x = 1}})", "vm:syscall: args must be an");
	rig_fails(BOOT "v:syscall(1, {args = {[2] = 1}})", "vm:syscall: args must be an array");
	rig_fails(BOOT "v:syscall(1, {args = {1, '2'}})", "args[2] must be an integer, got string");
	rig_fails(BOOT "v:syscall(1, {args = {1.5}})", "args[1] must be an integer of 64 bits, got "
						       "1.5");
	rig_fails(BOOT "v:syscall(1, {args = {1,2,3,4,5,6,7}})", "args has 7 values, at most 6");
	rig_fails(BOOT "v:syscall(1, {bufs = {'a', 2}})", "bufs[2] must be a string, got number");
	rig_fails(BOOT "v:syscall(1, {ptrs = {0}})", "ptrs[1] has no buffer, there are only 0");
	rig_fails(BOOT "v:syscall(1, {bufs = {'a'}, ptrs = {6}})",
	    "ptrs[1] must be an argument from 0 to 5, got 6");
	rig_fails(BOOT "v:syscall(1, {bufs = {'a'}, ptrs = {-1}})", "from 0 to 5, got -1");
	rig_fails(BOOT "v:syscall(1, {bufs = {'a'}, ptrs = {'0'}})", "ptrs[1] must be an integer");
}

#define NESTED(links) \
	BOOT "v:syscall(1, {bufs = {'12345678', '1234567'}, ptrs = {0}, nested = {" links "}})"

static void wrong_links_are_named(void **state)
{
	rig_fails(NESTED("1"), "nested[1] must be {parent, child, offset}, got number");
	rig_fails(NESTED("{1, 2, 0}, {0, 2, 0}"), "nested[2]: parent must be a buffer from 1 to 2, "
						  "got 0");
	rig_fails(NESTED("{1, 3, 0}"), "nested[1]: child must be a buffer from 1 to 2, got 3");
	rig_fails(NESTED("{1, 2}"), "nested[1]: offset must be an integer, got nil");
	rig_fails(NESTED("{1, 2, 1}"), "nested[1]: offset 1: the 8 bytes of an address do not fit "
				       "there, bufs[1] has 8 bytes");
	rig_fails(NESTED("{2, 1, 0}"), "nested[1]: offset 0: the 8 bytes");
	rig_fails(NESTED("{1, 2, -1}"), "nested[1]: offset -1");
	rig_fails(NESTED("{1, 2, math.maxinteger}"), "nested[1]: offset 9223372036854775807");
	rig_passes(NESTED("{1, 2, 0}"));
}

static void handles_are_awaited_once(void **state)
{
	rig_asks("v:syscall_async(1, {bufs = {'hello'}, ptrs = {1}}):await()",
	    "1 lens=[5] ptrs=[1] data=hello aside");
	rig_passes(BOOT "local a, b = v:syscall_async(1001, {bufs = {'x', 'yz'}}), "
			"v:syscall_async(9) "
			"t:assert_eq(b:await().ret, 9) local r = a:await() "
			"t:assert_eq(r.out_bufs[1], 'X') t:assert_eq(r.out_bufs[2], 'YZ') "
			"t:assert_eq(r.errno, 0)");
	rig_fails(BOOT "local h = v:syscall_async(9) h:await() h:await()",
	    "case.test.lua:1: syscall_async: handle already awaited");
	rig_fails(BOOT "local h = v:syscall_async(1002) h:await()",
	    "case.test.lua:1: vm `v`: syscall_async: the guest was shut down");
	rig_fails(BOOT "local h = v:syscall_async(1002) pcall(h.await, h) h:await()",
	    "syscall_async: handle already awaited");
	rig_fails(BOOT "v:syscall_async(1, true)", "vm:syscall_async: a1 must be an integer");
	rig_fails(BOOT "v:syscall_async(1).await()", "handle:await: expected a SyscallHandle");
	assert_int_equal(fake_syscall_pending, 0);
}

static void handles_of_a_paused_guest_say_so(void **state)
{
	rig_fails(BOOT "local h = v:syscall_async(1002) v:pause() h:await()",
	    "case.test.lua:1: vm `v`: not booted (cannot await)");
	/* What has ended before has its result, and after the pause all goes on. */
	rig_passes(BOOT "local done, h = v:syscall_async(9), v:syscall_async(1002) v:pause() "
			"t:assert_eq(done:await().ret, 9) pcall(h.await, h) v:resume() "
			"t:assert_contains(select(2, pcall(h.await, h)), 'was shut down')");
	assert_int_equal(fake_syscall_pending, 0);
}

static void handles_end_with_their_scope(void **state)
{
	rig_expect("local h test('a', function(t) " BOOT "h = v:syscall_async(5) "
		   "t:assert_contains(tostring(h), 'in flight') "
		   "for i = 61, 160 do v:syscall_async(i) end collectgarbage() end) "
		   "test('b', function(t) t:assert_contains(tostring(h), 'dropped') "
		   "h:await() end)",
	    "passed a\n", "failed b: ", "the scope of this handle has ended", NULL);
	assert_int_equal(fake_syscall_pending, 0);
}

static void memory_is_read_and_written(void **state)
{
	rig_passes(BOOT "t:assert_eq(v:write_mem(4100, 'a\\0b'), true) "
			"t:assert_eq(v:read_mem(4099, 5), '\\0a\\0b\\0') "
			"t:assert_eq(v:read_mem(4096, 0), '')");
	rig_passes(BOOT "local data, e = v:read_mem(0, 8) t:assert_eq(data, nil) "
			"t:assert_eq(e, 14) local ok, e = v:write_mem(-1, 'x') "
			"t:assert_eq(ok, nil) t:assert_eq(e, 14)");
	rig_fails(BOOT "v:read_mem()", "vm:read_mem: addr must be an integer, got no value");
	rig_fails(BOOT "v:read_mem(1.5, 1)", "vm:read_mem: addr must be an integer of 64 bits");
	rig_fails(BOOT "v:read_mem(1)", "vm:read_mem: len must be an integer, got no value");
	rig_fails(BOOT "v:read_mem(1, -1)", "vm:read_mem: len must be from 0 to 1073741824, got "
					    "-1");
	rig_fails(BOOT "v:read_mem(1, 1 << 40)", "vm:read_mem: len must be from 0 to");
	rig_fails(BOOT "v:write_mem('1', 'x')", "vm:write_mem: addr must be an integer, got "
						"string");
	rig_fails(BOOT "v:write_mem(1)", "vm:write_mem: data must be a string, got no value");
	rig_fails("provium:vm('v', 'tiny'):read_mem(1, 1)", "not booted (cannot read_mem)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_reach_the_guest),
	    cmocka_unit_test(buffers_reach_the_guest),
	    cmocka_unit_test(results_are_tables),
	    cmocka_unit_test(wrong_numbers_are_named),
	    cmocka_unit_test(wrong_tables_are_named),
	    cmocka_unit_test(wrong_links_are_named),
	    cmocka_unit_test(handles_are_awaited_once),
	    cmocka_unit_test(handles_of_a_paused_guest_say_so),
	    cmocka_unit_test(handles_end_with_their_scope),
	    cmocka_unit_test(memory_is_read_and_written),
	};
	return cmocka_run_group_tests_name("lua_syscall", tests, NULL, NULL);
}
