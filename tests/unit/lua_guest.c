/*
 * lua/guest.h: files of the guest (spec 7.5).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "

static void reading_and_writing(void **state)
{
	rig_passes(
	    BOOT "v:write_file('/x', 'a\\0\\xff') t:assert_eq(v:read_file('/x'), 'a\\0\\xff')");
	rig_passes(BOOT "v:write_file('/x', '') t:assert_eq(v:read_file('/x'), '') "
			"v:write_file('/x', 42) t:assert_eq(v:read_file('/x'), '42')");
	rig_passes(BOOT "local big = string.rep('x', 5000000) v:write_file('/x', big) "
			"t:assert(v:read_file('/x') == big)");
	rig_fails(BOOT "v:read_file('/nope')",
	    "case.test.lua:1: vm `v`: read_file `/nope`: No such file or directory");
	rig_passes(BOOT "local ok, e = pcall(v.read_file, v, '/nope') t:assert(not ok) "
			"t:assert_contains(tostring(e), 'No such file')");
	rig_fails(
	    "provium:vm('v', 'tiny'):read_file('/x')", "vm `v`: not booted (cannot read_file)");
}

static void stat_of_a_file(void **state)
{
	rig_passes(
	    BOOT "v:write_file('/x', 'abc') local s = v:stat('/x') t:assert_eq(s.size, 3) "
		 "t:assert_eq(s.mtime, 1500000000.25) "
		 "t:assert_eq(s.mtime_ns, 1500000000250000000) t:assert_eq(math.type(s.mtime_ns), "
		 "'integer') "
		 "t:assert_eq(s.perm, tonumber('644', 8)) t:assert_eq(s.entry_type, 'file')");
	rig_fails(BOOT "v:stat('/nope')", "No such file or directory");
}

static void pushing_files(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	rig_write(&rig, "data.txt", "content");
	rig_write(
	    &rig, "sub/module.lua", "return function(v) v:push_file('near.txt', '/near') end");
	rig_write(&rig, "sub/near.txt", "near");
	rig.file.roots = (const char *const[]){rig.dir};
	rig.file.root_count = 1;
	const char *report = rig_run(&rig,
	    "test('a', function(t) " BOOT
	    "v:push_file('data.txt', '/d') t:assert_eq(v:read_file('/d'), 'content') "
	    "t:assert_eq(v:stat('/d').perm, tonumber('640', 8)) "
	    "require('sub.module')(v) t:assert_eq(v:read_file('/near'), 'near') "
	    "pcall(v.push_file, v, 'data.txt', '/e') t:assert_eq(v:read_file('/e'), 'content') "
	    "v:push_file('/etc/passwd', '/f', {auto_dep = false}) v:push_file('data.txt', '/g', "
	    "{}) end)");
	if (strstr(report, "passed a\n") == NULL)
		fail_msg("%s", report);
	rig_finish(&rig);
	rig_fails(
	    BOOT "v:push_file('nope.txt', '/d')", "/nope.txt` failed: No such file or directory");
	rig_fails(BOOT "v:push_file('/', '/d')", "vm:push_file: read `/` failed: ");
}

static void trees(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	rig_write(&rig, "folder/x", "content");
	const char *report = rig_run(&rig,
	    "test('a', function(t) " BOOT
	    "v:push_dir('folder', '/d') v:pull_file('/f', 'out/f') v:pull_dir('/d', 'out/d') end)");
	if (strstr(report, "passed a\n") == NULL)
		fail_msg("%s", report);
	char command[300];
	snprintf(command, sizeof(command), "cd %s/out && test $(cat f)$(cat d) = filedir", rig.dir);
	assert_int_equal(system(command), 0);
	rig_finish(&rig);
	rig_fails(
	    BOOT "v:push_dir('/nope', '/d')", "vm:push_dir: read `/nope` failed: Not a directory");
	rig_fails(BOOT "v:push_dir('/', '/nope')", "vm `v`: push `/nope`: No such file");
	rig_fails(BOOT "v:pull_file('/nope', 'x')", "vm `v`: pull `/nope`: No such file");
	rig_fails(BOOT "v:pull_dir('/nope', 'x')", "vm `v`: pull `/nope`: No such file");
}

static void names(void **state)
{
	rig_passes(
	    BOOT "local l = v:listdir('/full') t:assert_eq(#l, 3) t:assert_eq(l[1].name, 'a') "
		 "t:assert_eq(l[1].entry_type, 'file') t:assert_eq(l[2].name, 'd') "
		 "t:assert_eq(l[2].entry_type, 'directory') t:assert_eq(l[3].name, "
		 "'odd\\xff\\n') t:assert_eq(l[3].entry_type, 'symlink')");
	rig_passes(BOOT "t:assert_eq(#v:listdir('/empty'), 0)");
	rig_fails(BOOT "v:listdir('/nope')", "vm `v`: list `/nope`: No such file or directory");
	rig_passes(BOOT "v:mkdir('/new') v:mkdir('/full', {parents = true}) v:unlink('/new') "
			"v:rename('/a', '/b')");
	rig_fails(BOOT "v:mkdir('/full')", "vm `v`: mkdir `/full`: File exists");
	rig_fails(
	    BOOT "v:mkdir('/new', {perm = 0})", "vm `v`: mkdir `/new`: Operation not permitted");
	rig_fails(BOOT "v:mkdir('/new', {perm = '755'})",
	    "vm:mkdir: perm must be permission bits from 0 to 4095 (07777 in octal, "
	    "tonumber(\"755\", 8)), got string");
	rig_fails(BOOT "v:mkdir('/new', {perm = 4096})", "vm:mkdir: perm must be permission bits");
	rig_fails(BOOT "v:mkdir('/new', {parents = 1})", "vm:mkdir: parents must be true or false");
	rig_fails(BOOT "v:unlink('/full')", "vm `v`: unlink `/full`: Directory not empty");
	rig_fails(BOOT "v:rename('/nope', '/x')", "vm `v`: rename `/nope`: No such file");
	rig_fails("provium:vm('v', 'tiny'):listdir('/x')", "vm `v`: not booted (cannot listdir)");
}

static void bad_arguments_are_named(void **state)
{
	rig_fails(BOOT "v:read_file()", "vm:read_file: path must be a string, got no value");
	rig_fails(BOOT "v:read_file(nil)", "vm:read_file: path must be a string, got nil");
	rig_fails(BOOT "v:read_file(5)", "vm:read_file: path must be a string, got number");
	rig_fails(BOOT "v:read_file('')", "vm:read_file: path must not be empty");
	rig_fails(BOOT "v:read_file('a\\0')", "vm:read_file: path must not contain NUL bytes");
	rig_fails(BOOT "v:write_file({}, '')", "vm:write_file: path must be a string, got table");
	rig_fails(BOOT "v:write_file('/x')", "vm:write_file: data must be a string, got no value");
	rig_fails(
	    BOOT "v:write_file('/x', true)", "vm:write_file: data must be a string, got boolean");
	rig_fails(BOOT "v:stat(v)", "vm:stat: path must be a string, got VM");
	rig_fails(
	    BOOT "v:push_file(nil, '/x')", "vm:push_file: host path must be a string, got nil");
	rig_fails(
	    BOOT "v:push_file('x', nil)", "vm:push_file: guest path must be a string, got nil");
	rig_fails(BOOT "v:push_file('x', '')", "vm:push_file: guest path must not be empty");
	rig_fails(
	    BOOT "v:push_file('x', '/x', 5)", "vm:push_file: opts must be a table, got number");
	rig_fails(BOOT "v:push_file('x', '/x', {auto_dep = 'no'})",
	    "vm:push_file: auto_dep must be true or false, got string");
	rig_fails(BOOT "v:read_file(string.rep('a', 100000))", "vm `v`: read_file `aaaa");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reading_and_writing),
	    cmocka_unit_test(stat_of_a_file),
	    cmocka_unit_test(pushing_files),
	    cmocka_unit_test(names),
	    cmocka_unit_test(trees),
	    cmocka_unit_test(bad_arguments_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
