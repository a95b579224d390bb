/*
 * lua/stream.h: streams of any source (spec 13), tails, console streams, and the refusals that name
 * them (spec 6.4, 7.8).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_stream.h"
#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "

static void pieces_come_one_by_one(void **state)
{
	rig_passes(BOOT "local s = v:tail_file('one|two|three|EOF') t:assert_eq(s:next(), 'one') "
			"t:assert_eq(s:next(1), 'two') t:assert(not s:eof()) "
			"t:assert_eq(s:next('1s'), 'three') t:assert_eq(s:next(), nil) "
			"t:assert(s:eof())");
	rig_passes(
	    BOOT "local s, all = v:tail_file('a|b|EOF'), '' "
		 "while true do local p = s:next() if not p then break end all = all .. p end "
		 "t:assert_eq(all, 'ab')");
	rig_passes(BOOT "local s = v:tail_file('only') t:assert_eq(s:next(), 'only') "
			"t:assert_eq(s:next(0), nil) t:assert(not s:eof())");
	rig_passes(BOOT "local s = v:tail_file(('x'):rep(100000)) t:assert_eq(#s:next(), 65536) "
			"t:assert_eq(#s:next(), 100000 - 65536)");
}

static void searches_keep_what_they_do_not_use(void **state)
{
	rig_passes(BOOT
	    "local s = v:tail_file('hello wor|ld and |more|EOF') "
	    "t:assert_eq(s:read_until('o'), 'hello') t:assert_eq(s:read_until('world'), ' world') "
	    "t:assert_eq(select('#', s:expect('d m')), 0) t:assert_eq(s:next(), 'ore') "
	    "t:assert_eq(s:next(), nil)");
	/* A match over three pieces, and one that begins as another. */
	rig_passes(BOOT "local s = v:tail_file('aab|aa|bc|d') t:assert_eq(s:read_until('aabc'), "
			"'aabaabc') t:assert_eq(s:next(), 'd')");
	rig_passes(BOOT "local s = v:tail_file('a.*b|%d+') t:assert_eq(s:read_until('.*'), 'a.*') "
			"t:assert_eq(s:read_until('%d'), 'b%d')");
	/* After a failure nothing is lost. */
	rig_passes(BOOT "local s = v:tail_file('one|two') t:assert(not pcall(s.expect, s, 'x', 0)) "
			"t:assert_eq(s:next(), 'onetwo')");
	rig_passes(
	    BOOT "local s = v:tail_file('one|two|EOF') t:assert(not pcall(s.expect, s, 'x')) "
		 "t:assert(not s:eof()) t:assert_eq(s:next(), 'onetwo') t:assert(s:eof())");
	rig_passes(BOOT "local s = v:tail_file('ab|cd|ef') s:expect('a') "
			"t:assert_eq(table.concat(s:drain(), ','), 'b,cd,ef') "
			"t:assert_eq(#s:drain(0), 0)");
}

static void failures_name_what_was_waited_for(void **state)
{
	rig_fails(BOOT "v:tail_file('abc'):read_until('xyz')",
	    "case.test.lua:1: read_until timed out waiting for `xyz` on tail_file(abc) of vm `v`");
	rig_fails(BOOT "v:tail_file('abc'):expect('xyz', '1s')",
	    "expect timed out waiting for `xyz` on tail_file(abc) of vm `v`");
	rig_fails(BOOT "v:tail_file('abc|EOF'):expect('xyz')",
	    "stream EOF waiting for `xyz` on tail_file(abc|EOF) of vm `v`");
	rig_fails(BOOT "v:tail_file('abc|LOST'):expect('xyz')",
	    "stream EOF waiting for `xyz` on tail_file(abc|LOST) of vm `v`: the VM was reset");
	rig_fails(BOOT "v:tail_file('abc|CUT'):expect('xyz')", ": the file was truncated");
	rig_passes(BOOT "local s = v:tail_file('abc|LOST') t:assert_eq(s:next(), 'abc') "
			"t:assert_eq(s:next(), nil) t:assert(s:eof())");
	rig_fails(BOOT "v:tail_file('FAIL'):next()", "vm `v`: Input/output error");
	rig_fails(BOOT "v:tail_file('/nope')", "vm `v`: tail `/nope`: No such file");
	rig_fails(BOOT "v:tail_file('x').next()", "stream:next: expected a stream before");
	rig_fails(BOOT "v:tail_file('x').next(v)", "stream:next: expected a stream before");
}

static void a_closed_stream_is_over(void **state)
{
	rig_passes(BOOT "local s = v:tail_file('one|two') s:expect('o') s:close() s:close() "
			"t:assert_eq(s:next(), nil) t:assert_eq(#s:drain(), 0) t:assert(s:eof()) "
			"t:assert_eq(s:creation_site().line, 1) t:assert_eq(#s:notices(), 0) "
			"t:assert_eq(tostring(s), 'stream(closed)')");
	rig_fails(BOOT "local s = v:tail_file('x') s:close() s:read_until('x')", "stream closed");
	rig_fails(BOOT "local s = v:tail_file('x') s:close() s:expect('x')", "stream closed");
	rig_passes(BOOT "local k do local s <close> = v:tail_file('x') k = s end "
			"t:assert_eq(k:next(), nil) t:assert_eq(v:open_stream_count(), 0)");
	assert_int_equal(fake_streams_open, 0);
}

static void a_tail_tells_where_it_was_made_and_what_happened(void **state)
{
	rig_passes(
	    BOOT "local s = v:tail_file('ab|ROTATED|cd') local c = s:creation_site() "
		 "t:assert_contains(c.file, 'case.test.lua') t:assert_eq(c.line, 1) "
		 "t:assert_eq(#s:notices(), 0) s:drain() local n = s:notices() t:assert_eq(#n, 1) "
		 "t:assert_eq(n[1].kind, 'rotated') t:assert_eq(n[1].offset, 2) "
		 "t:assert_eq(tostring(s), 'tail_file(ab|ROTATED|cd)')");
}

static void where_a_tail_starts(void **state)
{
	static const char *const starts[][2] = {
	    {"nil",	    "end+0"   },
	    {"'end'",	      "end+0"   },
	    {"'beginning'", "start+0" },
	    {"'start'",	"start+0" },
	    {"17",	   "start+17"},
	    {"-3",	   "end-3"	  },
	    {"2.9",	    "start+2" },
	    {"-2.9",	     "end-2"   },
	};
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		char script[200];
		snprintf(script, sizeof(script),
		    BOOT "t:assert_eq(v:tail_file('/where', {start = %s}):next(), '%s')",
		    starts[i][0], starts[i][1]);
		rig_passes(script);
	}
	static const char *const bad[] = {"'middle'", "0/0", "1/0", "{}", "true", "2^70"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char script[200];
		snprintf(
		    script, sizeof(script), BOOT "v:tail_file('/where', {start = %s})", bad[i]);
		rig_fails(script, "vm:tail_file: start must be \"end\", \"beginning\"");
	}
}

static void open_files_are_followed(void **state)
{
	rig_passes(
	    BOOT "local f = v:open_file('/f', {read = true}) local n = 'handle ' .. f:fd() "
		 "t:assert_eq(v:fd_stream(f):next(), n) t:assert_eq(v:fd_stream(f:fd()):next(), n) "
		 "local s = f:tail_stream() t:assert_eq(s:next(), n) "
		 "t:assert_eq(tostring(s), 'file_tail_stream(/f)')");
	rig_fails(BOOT "v:fd_stream(0)", "vm:fd_stream: handle must be a File, or the number");
	rig_fails(BOOT "v:fd_stream(4711)", "vm `v`: vm:fd_stream `4711`: no open file");
	rig_fails(BOOT "local f = v:open_file('/f', {read = true}) f:close() f:tail_stream()",
	    "file is closed");
	rig_fails(BOOT "local f = v:open_file('/f', {read = true}) "
		       "provium:vm('w', 'tiny'):boot():fd_stream(f)",
	    "vm:fd_stream: handle is a File of vm `v`, not of vm `w`");
}

static void consoles_are_streams(void **state)
{
	rig_passes(BOOT "local c = v:console() local s = c:read() t:assert_eq(s:next(), nil) "
			"c:write('typed') t:assert_eq(s:read_until('ty'), 'ty') "
			"t:assert_eq(s:next(), 'ped') t:assert_eq(v:open_stream_count(), 1) "
			"v:shutdown() t:assert_eq(s:next(), nil) t:assert(s:eof())");
	rig_fails(BOOT "local s = v:console():read() v:shutdown() s:expect('x')",
	    "console EOF waiting for `x` on console_read(v) of vm `v`");
	rig_fails(BOOT "local s = v:console():read() s:close() s:expect('x')", "console closed");
	rig_fails(BOOT "v:console():read():expect('x')", "expect timed out waiting for `x`");
}

static void open_streams_are_counted_and_closed_with_their_scope(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	const char *report = rig_run(&rig,
	    BOOT "local s test('a', function(t) s = v:tail_file('x') v:console():read() "
		 "t:assert_eq(v:open_stream_count(), 2) t:assert(not v:is_quiescent()) end) "
		 "test('b', function(t) t:assert_eq(v:open_stream_count(), 0) "
		 "t:assert_eq(s:next(), nil) t:assert(v:is_quiescent()) end)");
	if (strstr(report, "passed b\n") == NULL)
		fail_msg("%s", report);
	rig_finish(&rig);
	assert_int_equal(fake_streams_open, 0);
}

static void streams_forbid_snapshots_and_are_named(void **state)
{
	rig_fails(BOOT "local f = v:open_file('/f', {read = true}) v:tail_file('/x') "
		       "v:console():read() v:snapshot()",
	    "vm:snapshot() failed for `v`: 1 open file handle(s), 2 open stream(s)\n"
	    "  tail_file(/x) created at ");
	rig_fails(
	    BOOT "v:tail_file('/x') v:snapshot()", "case.test.lua:1 (test \"it\")\nclose the");
	rig_fails(BOOT "v:tail_file('/x') provium:snapshot()", "\n  tail_file(/x) created at ");
	rig_passes(BOOT "v:tail_file('/x'):close() v:snapshot()");
	/* Those of another VM do not matter. */
	rig_passes(BOOT "provium:vm('w', 'tiny'):boot():tail_file('/x') v:snapshot()");
}

static void streams_of_the_file_forbid_resets(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	const char *report =
	    rig_run(&rig, "provium.reset_between_tests = true\n" BOOT "v:tail_file('/x')\n"
			  "test('a', function(t) end)");
	if (strstr(report, "reset_between_tests cannot be used with file-scope streams: \n"
			   "  tail_file(/x) created at ") == NULL ||
	    strstr(report, "case.test.lua:2\nopen them in the tests, or set") == NULL)
		fail_msg("%s", report);
	rig_finish(&rig);
}

static void bad_arguments_are_named(void **state)
{
	rig_fails(BOOT "v:tail_file('x'):expect('')", "stream:expect: pattern must not be empty");
	rig_fails(BOOT "v:tail_file('x'):read_until(5)",
	    "stream:read_until: pattern must be a string, got number");
	rig_fails(BOOT "v:tail_file('x'):next(-1)", "stream:next: timeout: duration:");
	rig_fails(BOOT "v:tail_file('x'):drain('soon')", "stream:drain: timeout: duration:");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pieces_come_one_by_one),
	    cmocka_unit_test(searches_keep_what_they_do_not_use),
	    cmocka_unit_test(failures_name_what_was_waited_for),
	    cmocka_unit_test(a_closed_stream_is_over),
	    cmocka_unit_test(a_tail_tells_where_it_was_made_and_what_happened),
	    cmocka_unit_test(where_a_tail_starts),
	    cmocka_unit_test(open_files_are_followed),
	    cmocka_unit_test(consoles_are_streams),
	    cmocka_unit_test(open_streams_are_counted_and_closed_with_their_scope),
	    cmocka_unit_test(streams_forbid_snapshots_and_are_named),
	    cmocka_unit_test(streams_of_the_file_forbid_resets),
	    cmocka_unit_test(bad_arguments_are_named),
	};
	return cmocka_run_group_tests_name("lua_stream", tests, NULL, NULL);
}
