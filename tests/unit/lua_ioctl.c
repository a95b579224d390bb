/*
 * lua/ioctl.c: ioctls on open files of the guest (spec 7.6).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_syscall.h"
#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "
#define FILE BOOT "v:write_file('/x', '') local f = v:open_file('/x', {read = true}) "

static void the_call_reaches_the_guest(void **state)
{
	rig_asks("v:ioctl(7, 0x5401)", "16 args=[0,21505,0] handle=7");
	rig_asks("v:ioctl(7, 0x5401, 99)", "16 args=[0,21505,99] handle=7");
	rig_asks("v:ioctl(7, 1, 'data')", "16 args=[0,1,0] lens=[4] ptrs=[2] data=data handle=7");
	rig_asks("v:ioctl(7, 1, '0123456789abcdef', {bufs = {'x', 'yz'}, ptr_offsets = {8, 0}})",
	    "16 args=[0,1,0] lens=[16,1,2] ptrs=[2] nested=[0,1,8,0,2,0] "
	    "data=0123456789abcdefxyz handle=7");
	rig_passes(FILE "v:ioctl(f, 1)");
	rig_passes(FILE "v:ioctl(f:fd(), 1)");
}

static void results_are_tables(void **state)
{
	rig_passes(BOOT "local r = v:ioctl(1, 2, '12345678', {bufs = {'a\\0', ''}, ptr_offsets = "
			"{0, 0}}) t:assert_eq(r.ret, 16) t:assert_eq(r.result, 16) "
			"t:assert_eq(r.out_data, '12345678') t:assert_eq(#r.out_bufs, 2) "
			"t:assert_eq(r.out_bufs[1], 'a\\0') t:assert_eq(r.out_bufs[2], '')");
	rig_passes(BOOT "local r = v:ioctl(1, 2) t:assert_eq(r.out_data, '') "
			"t:assert_eq(#r.out_bufs, 0)");
	fake_syscall_errno = 25;
	rig_fails(
	    BOOT "v:ioctl(1, 2)", "case.test.lua:1: vm `v`: ioctl: Inappropriate ioctl for device");
	rig_fails(FILE "v:ioctl(f, 2)", "vm `v`: ioctl `/x`: Inappropriate ioctl for device");
	fake_syscall_errno = 0;
}

#define DATA BOOT "v:ioctl(1, 2, '0123456789', "

static void wrong_arguments_are_named(void **state)
{
	rig_fails(BOOT "v:ioctl()", "vm:ioctl: file must be a File or its handle, got no value");
	rig_fails(BOOT "v:ioctl(v, 1)", "vm:ioctl: file must be a File or its handle, got VM");
	rig_fails(BOOT "v:ioctl(0, 1)", "vm:ioctl: file: 0 is no handle; give a File or file:fd()");
	rig_fails(FILE "f:close() v:ioctl(f, 1)", "vm:ioctl: file is closed");
	rig_fails(FILE "provium:vm('w', 'tiny'):boot():ioctl(f, 1)",
	    "vm:ioctl: file is of another guest, vm `v`");
	rig_fails(BOOT "v:ioctl(1, 'x')", "vm:ioctl: cmd must be an integer, got string");
	rig_fails(BOOT "v:ioctl(1, 2, true)", "vm:ioctl: data must be a string or an integer");
	rig_fails(BOOT "v:ioctl(1, 2, nil, {})", "vm:ioctl: opts need data that refers to bufs");
	rig_fails(DATA "5)", "vm:ioctl: opts must be a table, got number");
	rig_fails(DATA "{buf = {}})", "vm:ioctl: unknown option `buf` (known: bufs, ptr_offsets)");
	rig_fails(DATA "{bufs = 'x'})", "vm:ioctl: bufs must be an array, got string");
	rig_fails(DATA "{bufs = {'x'}})", "vm:ioctl: ptr_offsets has 0 values for 1 bufs");
	rig_fails(DATA "{bufs = {5}, ptr_offsets = {0}})", "bufs[1] must be a string, got number");
	rig_fails(DATA "{bufs = {'x'}, ptr_offsets = {'0'}})", "ptr_offsets must be an integer");
	rig_fails(DATA "{bufs = {'x'}, ptr_offsets = {3}})",
	    "ptr_offsets[1]: the 8 bytes of an address do not fit at 3, data has 10 bytes");
	rig_fails(DATA "{bufs = {'x'}, ptr_offsets = {-1}})", "do not fit at -1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_call_reaches_the_guest),
	    cmocka_unit_test(results_are_tables),
	    cmocka_unit_test(wrong_arguments_are_named),
	};
	return cmocka_run_group_tests_name("lua_ioctl", tests, NULL, NULL);
}
