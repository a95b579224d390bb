/*
 * provium.sys and signals as scripts see them. The names themselves are tested in
 * tests/unit/base_sys_names.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

static void names_are_numbers(void **state)
{
	rig_passes("local sys = provium.sys\n"
		   "t:assert_eq(sys.openat, 257) t:assert_eq(sys.nr.openat, 257)\n"
		   "t:assert_eq(sys.SYS_openat, 257) t:assert_eq(sys.nr.__NR_openat, 257)\n"
		   "t:assert_eq(sys.O_CREAT | sys.O_EXCL, 0x40 | 0x80)\n"
		   "t:assert_eq(math.type(sys.EPOLLET), 'integer')\n"
		   "t:assert_eq(sys.EPOLLET, 1 << 31) t:assert_eq(sys.AT_FDCWD, -100)\n");
}

static void unknown_names_raise_at_the_caller(void **state)
{
	rig_fails("local x = provium.sys.O_CRAET",
	    "case.test.lua:1: provium.sys: unknown name `O_CRAET`; did you mean `O_CREAT`");
	rig_fails("local x = provium.sys.nr.opneat",
	    "case.test.lua:1: provium.sys.nr: unknown system call `opneat`; did you mean `openat`");
	rig_fails("local x = provium.sys.nr.O_CREAT", "unknown system call `O_CREAT`");
	rig_fails("local x = provium.sys[1]", "provium.sys: names are strings, got number");
	rig_fails("local x = provium.sys['a\\0b']", "provium.sys: a name has no NUL bytes in it");
}

static void the_table_is_read_only(void **state)
{
	rig_fails("provium.sys.O_CREAT = 1",
	    "case.test.lua:1: cannot set `provium.sys.O_CREAT`: the table is read-only");
	rig_fails("provium.sys.errno_name = print", "the table is read-only");
	rig_fails("provium.sys.nr.mine = 1", "cannot set `provium.sys.nr.mine`");
	rig_fails("setmetatable(provium.sys, {})", "protected metatable");
}

static void pairs_walks_all_names(void **state)
{
	rig_passes("local names, calls, last = 0, 0, ''\n"
		   "for name, value in pairs(provium.sys) do names = names + 1\n"
		   "t:assert(last < name) last = name\n"
		   "t:assert_eq(provium.sys[name], value, name) end\n"
		   "for name, value in pairs(provium.sys.nr) do calls = calls + 1\n"
		   "t:assert_eq(provium.sys.nr[name], value, name) end\n"
		   "t:assert(names > 5000) t:assert(calls > 300)\n"
		   "t:assert_contains(tostring(provium.sys), names .. ' names')\n");
}

static void numbers_have_names(void **state)
{
	rig_passes("local sys = provium.sys\n"
		   "t:assert_eq(sys.errno_name(2), 'ENOENT') t:assert_eq(sys.errno_name(-2), "
		   "'ENOENT')\n"
		   "t:assert_eq(sys.errno_name(0), '0') t:assert_eq(sys.errno_name(4711), '4711')\n"
		   "t:assert_eq(sys.errno_text(2), 'No such file or directory')\n"
		   "t:assert_eq(sys.errno_text(0), 'Success')\n"
		   "t:assert_eq(sys.errno_text(4711), 'Unknown error 4711')\n"
		   "t:assert_eq(sys.errno_name(math.mininteger), '-9223372036854775808')\n"
		   "t:assert_eq(sys.signal_name(15), 'SIGTERM')\n"
		   "t:assert_eq(sys.signal_name(34), 'SIGRTMIN')\n"
		   "t:assert_eq(sys.signal_name(35), 'SIGRTMIN+1')\n"
		   "t:assert_eq(sys.signal_name(99), '99')\n");
	rig_fails("provium.sys.errno_name()",
	    "provium.sys.errno_name: number must be an integer, got no value");
	rig_fails("provium.sys.errno_text('2')", "number must be an integer, got string");
	rig_fails("provium.sys.signal_name(1.5)", "number must be an integer, got 1.5");
}

static void signals(void **state)
{
	rig_passes("local n = provium.sys.signal_number\n"
		   "t:assert_eq(n('term'), 15) t:assert_eq(n('SIGTERM'), 15) t:assert_eq(n(9), 9)\n"
		   "t:assert_eq(n('9'), 9) t:assert_eq(n('RTMIN+1'), 35) t:assert_eq(n(3.0), 3)\n");
	rig_fails("provium.sys.signal_number('tern')",
	    "provium.sys.signal_number: unknown signal name `tern`");
	rig_fails("provium.sys.signal_number('a\\0b')", "unknown signal name");
	rig_fails("provium.sys.signal_number(65)", "signal 65 is out of range (0 to 64)");
	rig_fails("provium.sys.signal_number(-1)", "signal -1 is out of range");
	rig_fails("provium.sys.signal_number(0/0)", "nan is out of range");
	rig_fails("provium.sys.signal_number(true)", "signal must be int or string, got boolean");
	rig_fails("provium.sys.signal_number()", "signal must be int or string, got no value");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_numbers),
	    cmocka_unit_test(unknown_names_raise_at_the_caller),
	    cmocka_unit_test(the_table_is_read_only),
	    cmocka_unit_test(pairs_walks_all_names),
	    cmocka_unit_test(numbers_have_names),
	    cmocka_unit_test(signals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
