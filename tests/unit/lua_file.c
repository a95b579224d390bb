/*
 * lua/file.h: files that scripts hold open (spec 12).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "
#define OPEN BOOT "local f = v:open_file('/f', {read = true, write = true}) "

static void reading_writing_and_moving(void **state)
{
	rig_passes(OPEN "t:assert_eq(f:read(2), '12') t:assert_eq(f:tell(), 2) "
			"t:assert_eq(f:read_all(), '345') t:assert_eq(f:read(1), '') "
			"t:assert_eq(f:read(0), '') t:assert_eq(f:seek(1), 1) "
			"t:assert_eq(f:write('\\0x'), 2) t:assert_eq(f:seek(-1, 'cur'), 2) "
			"t:assert_eq(f:seek(0, 'end'), 3) t:assert_eq(f:seek(0, 'set'), 0) "
			"t:assert_eq(f:read_all(), '1\\0x')");
	rig_fails(OPEN "f:seek(-1)", "vm `v`: file:seek `/f`: Invalid argument");
	rig_fails(OPEN "f:write('full')", "vm `v`: file:write `/f`: No space left on device");
	rig_fails(OPEN "pcall(f.write, f, 'full') f:close()",
	    "vm `v`: file:close `/f`: No space left on device");
	rig_fails(BOOT "v:open_file('/nope', {read = true})",
	    "vm `v`: open `/nope`: No such file or directory");
}

static void the_mode_is_checked(void **state)
{
	rig_fails(BOOT "v:open_file('/f', {})",
	    "vm:open_file: mode must have at least one of read, write, append");
	rig_fails(BOOT "v:open_file('/f')", "vm:open_file: mode must be a table");
	rig_fails(BOOT "v:open_file('/f', {read = 1})", "vm:open_file: read must be true or false");
	rig_fails(BOOT "v:open_file('/f', {read = true, truncate = true})",
	    "vm:open_file: mode.truncate changes the file");
	rig_fails(BOOT "v:open_file('/f', {write = true, perm = -1})",
	    "vm:open_file: perm must be permission bits");
	rig_fails(
	    OPEN "f:seek(0, 'middle')", "file:seek: whence must be set/cur/end, got `middle`");
	rig_fails(OPEN "f:read()", "file:read: n must be a number of bytes, got no value");
	rig_fails(OPEN "f:read(-1)", "file:read: n must be a number of bytes, got -1");
}

static void a_closed_file_says_so(void **state)
{
	rig_passes(OPEN "t:assert(f:fd() > 0) f:close() f:close() t:assert_eq(f:fd(), 0) "
			"t:assert_eq(tostring(f), 'file(closed)')");
	const char *const calls[] = {"read(1)", "read_all()", "write('x')", "seek(0)", "tell()"};
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		char script[200];
		snprintf(script, sizeof(script), OPEN "f:close() f:%s", calls[i]);
		rig_fails(script, "file is closed");
	}
	rig_passes(BOOT "local g do local f <close> = v:open_file('/f', {read = true}) g = f end "
			"t:assert_eq(g:fd(), 0)");
}

static void open_files_are_counted_and_closed_with_their_scope(void **state)
{
	struct lua_rig rig;
	rig_passes(OPEN
	    "t:assert_eq(v:open_file_count(), 1) t:assert(not v:is_quiescent()) "
	    "local g = v:open_file('/g', {append = true}) t:assert_eq(v:open_file_count(), 2) "
	    "local w = provium:vm('w', 'tiny'):boot() t:assert_eq(w:open_file_count(), 0) "
	    "f:close() g:close() t:assert_eq(v:open_file_count(), 0) t:assert(v:is_quiescent())");
	rig_init(&rig);
	const char *report = rig_run(&rig, BOOT
	    "local all = v:open_file('/f', {read = true}) local one "
	    "test('a', function(t) one = v:open_file('/f', {read = true}) "
	    "t:assert_eq(v:open_file_count(), 2) end) "
	    "test('b', function(t) t:assert_eq(one:fd(), 0) t:assert_eq(v:open_file_count(), 1) "
	    "t:assert_eq(all:read(1), '1') end)");
	if (strstr(report, "passed b\n") == NULL)
		fail_msg("%s", report);
	rig_finish(&rig);
}

static void the_state_of_the_vm_is_told(void **state)
{
	rig_fails(OPEN "v:pause() f:read(1)", "(cannot read)");
	rig_fails(
	    OPEN "v:shutdown() f:tell()", "(cannot tell)");
	rig_passes(OPEN "v:shutdown() f:close()");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reading_writing_and_moving),
	    cmocka_unit_test(the_mode_is_checked),
	    cmocka_unit_test(a_closed_file_says_so),
	    cmocka_unit_test(open_files_are_counted_and_closed_with_their_scope),
	    cmocka_unit_test(the_state_of_the_vm_is_told),
	};
	return cmocka_run_group_tests_name("lua_file", tests, NULL, NULL);
}
