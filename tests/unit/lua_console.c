/*
 * lua/console.h: the console of a VM (spec section 14).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() local c = v:console() "

static void reading_and_expecting(void **state)
{
	rig_passes(BOOT "t:assert_eq(c:read_log(), 'boot of v\\r\\n') t:assert_eq(c:expect('boot "
			"of'), 'boot of') t:assert_eq(tostring(c), 'console(v)')");
	rig_passes("local c = provium:vm('v', 'tiny'):console() collectgarbage() "
		   "t:assert_eq(c:read_log(), '')");
	rig_passes("local c = provium:vm('v', 'tiny', {kernel_cmdline_append = "
		   "'binary'}):boot():console() t:assert_eq(c:read_log(), 'a\\0b\\xff\\xfe\\r\\n') "
		   "t:assert_eq(c:expect('\\0b'), '\\0b')");
	rig_fails(BOOT "c:expect('never', 0.01)",
	    "case.test.lua:1: console:expect timed out waiting for `never`");
	rig_fails(BOOT "c:expect('never', 0)", "console:expect timed out waiting for `never`");
	rig_passes(BOOT "c:close() c:close() t:assert_eq(c:expect('v', '1s'), 'v')");
}

static void writing(void **state)
{
	rig_passes(BOOT "c:write('ls\\n') c:write('', {}) c:write(5, {timeout = 0}) "
			"t:assert_contains(c:read_log(), 'ls\\n5')");
	rig_fails(BOOT "c:write('stuck')", "case.test.lua:1: console:write timed out: the guest of "
					   "vm `v` does not read its console");
	rig_fails(BOOT "c:write('x', {timeout_ms = 5})",
	    "console:write: timeout_ms is not known; use timeout");
}

static void bad_arguments_are_named(void **state)
{
	rig_fails(BOOT "c:expect()", "console:expect: pattern must be a string, got no value");
	rig_fails(BOOT "c:expect(5)", "console:expect: pattern must be a string, got number");
	rig_fails(BOOT "c:expect('')", "console:expect: pattern must not be empty");
	rig_fails(BOOT "c:expect('x', -1)",
	    "console:expect: timeout: duration: must be a finite, non-negative number (got -1)");
	rig_fails(BOOT "c:expect('x', {})",
	    "console:expect: timeout: duration: expected number|string, got table");
	rig_fails(BOOT "c:expect('x', 'x')", "console:expect: timeout: duration: cannot parse `x`");
	rig_fails(BOOT "c:write()", "console:write: data must be a string, got no value");
	rig_fails(BOOT "c:write({})", "console:write: data must be a string, got table");
	rig_fails(BOOT "c:write('x', 5)", "console:write: opts must be a table, got number");
	rig_fails(BOOT "c:write('x', {timeout = 'x'})",
	    "console:write: timeout: duration: cannot parse `x`");
	rig_fails(BOOT "c.expect('x')",
	    "console:expect: expected a Console before the arguments, got string");
	rig_fails(BOOT "c.read_log(v)",
	    "console:read_log: expected a Console before the arguments, got VM");
	rig_fails(BOOT "c.close()",
	    "console:close: expected a Console before the arguments, got no value");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reading_and_expecting),
	    cmocka_unit_test(writing),
	    cmocka_unit_test(bad_arguments_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
