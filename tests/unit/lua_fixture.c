/*
 * lua/fixture.h and pv_run_fixture of lua/run.h, on the fake lab and fake fixtures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lab/fixture.h"
#include "lab/snapshot.h"
#include "tests/unit/lua_rig.h"

static const struct pv_fixtures fixtures;

/* Runs the text with fixtures and expects each of the following texts, up to NULL, in the report.
 */
static void expect(const char *script, ...)
{
	struct lua_rig rig;
	va_list texts;
	rig_init(&rig);
	rig.file.fixtures = &fixtures;
	const char *report = rig_run(&rig, script);
	va_start(texts, script);
	for (const char *text; (text = va_arg(texts, const char *)) != NULL;) {
		if (strstr(report, text) == NULL)
			fail_msg("the report lacks `%s`:\n%s", text, report);
	}
	va_end(texts);
	rig_finish(&rig);
}

static void fixtures_are_vms_of_the_file(void **state)
{
	expect("local v = provium:vm_fixture('base') "
	       "test('a', function(t) t:assert_eq(v:name(), 'fixture:base') "
	       "local w = provium.vm_fixture('x/y') t:assert_eq(w:state(), 'booted') "
	       "local o = provium.fixture('old') t:assert_eq(o:name(), 'old:old') end) "
	       "test('b', function(t) "
	       "t:assert_eq(provium:vm('fixture:x/y'):state(), 'booted') "
	       "t:assert_eq(provium:vm('old:old'):state(), 'booted') end)",
	    "passed a\n", "passed b\n", NULL);
}

static void lab_fixtures_are_labs_of_the_file(void **state)
{
	expect("test('a', function(t) local lab = provium.lab_fixture('pair') "
	       "t:assert_eq(lab:name(), 'pair') lab:vm('v', 'tiny') end) "
	       "test('b', function(t) t:assert_eq(provium.pair:vm('v'):name(), 'v') end) "
	       "test('c', function(t) provium:lab_fixture('missing') end)",
	    "passed a\n", "passed b\n", "case.test.lua:1: fixture `missing` not found", NULL);
}

static void failures_are_told_whole(void **state)
{
	expect("test('a', function(t) provium:vm_fixture('missing') end) "
	       "test('b', function(t) provium:vm_fixture('broken') end)",
	    "failed a: ", "case.test.lua:1: fixture `missing` not found\n",
	    "case.test.lua:1: fixture `broken` could not be built: x.fixture.lua:3: boom\n"
	    "---- vm v (last 5 bytes) ----\nhello\n",
	    NULL);
}

static void wrong_names_are_refused(void **state)
{
	expect("test('a', function(t) provium:vm_fixture() end) "
	       "test('b', function(t) provium.vm_fixture(1) end) "
	       "test('c', function(t) provium.fixture('') end)",
	    "lab:vm_fixture: path must be a string, got no value",
	    "lab:vm_fixture: path must be a string, got number", "provium.fixture: name", NULL);
	rig_fails("provium:vm_fixture('base')", "there are no fixtures where this runs");
}

/* --- sources --- */

/* Runs the text as the source of a fixture; NULL `expected`: it must give a snapshot. */
static void source(const char *script, bool legacy, const char *expected)
{
	struct lua_rig rig;
	struct pv_run_fixture result;
	rig_init(&rig);
	rig.file.fixtures = &fixtures;
	rig_write(&rig, "case.test.lua", script);
	pv_run_fixture(&rig.file, legacy, &result);
	if (expected == NULL) {
		if (result.snapshot == NULL && result.lab_snapshot == NULL)
			fail_msg("`%s`: %s", script, (const char *)result.failure.data);
		assert_int_equal(result.failure.len, 0);
	} else {
		assert_null(result.snapshot);
		assert_non_null(result.failure.data);
		if (strstr((const char *)result.failure.data, expected) == NULL)
			fail_msg(
			    "`%s` is not in `%s`", expected, (const char *)result.failure.data);
	}
	pv_run_fixture_finish(&result);
	rig_finish(&rig);
}

#define BOOT "local v = provium:vm('v', 'tiny'):boot() "

static void a_source_returns_its_snapshot(void **state)
{
	source(BOOT "return v:snapshot()", false, NULL);
	source("return provium:vm_fixture('base'):snapshot()", false, NULL);
	source(BOOT "local s = v:snapshot() collectgarbage() return s", false, NULL);
	source(BOOT "return provium:snapshot()", false, NULL);
	source(BOOT "assert(json and wait_until and test and package.path) return v:snapshot()",
	    false, NULL);
}

static void other_results_are_refused(void **state)
{
	static const char must[] =
	    "case.test.lua: fixture must return vm:snapshot() or provium:snapshot(); got ";
	char expected[128];
	static const char *const cases[][2] = {
	    {"",		 "nil"   },
	    {"return 1",	 "number"},
	    {"return 'x'",	   "string"},
	    {BOOT "return v",  "VM"	  },
	    {"return provium", "Lab"   },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(expected, sizeof(expected), "%s%s", must, cases[i][1]);
		source(cases[i][0], false, expected);
	}
	source(BOOT "v:snapshot()", false, "got nil");
	source("test('x', print)", false, "test `x` stands in a fixture and would never run");
}

static void errors_say_where_and_show_the_consoles(void **state)
{
	source("error('boom')", false, "case.test.lua:1: boom");
	source("local function", false, "case.test.lua:1: ");
	source("error({})", false, "the error is a table");
	source(BOOT "error('boom')", false, "case.test.lua:1: boom\n---- vm v (last ");
	source(BOOT "error('boom')", false, "boot of v");
	source(
	    "provium:vm_fixture('broken')", false, "case.test.lua:1: fixture `broken` could not");
	source("provium:vm('v', 'tiny'):boot{kernel_cmdline_append = 'hang'}", false,
	    "--- guest console (last bytes) ---");
}

static void the_older_kind_takes_the_vm_made_last(void **state)
{
	source(BOOT, true, NULL);
	source(BOOT "return 1", true, NULL);
	source(BOOT "provium.fixture('old')", true, NULL);
	source("", true, "case.test.lua: this fixture made no VM");
	source(BOOT "provium:vm('w', 'tiny')", true, "vm `w`");
	source(BOOT "error('boom')", true, "case.test.lua:1: boom");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fixtures_are_vms_of_the_file),
	    cmocka_unit_test(lab_fixtures_are_labs_of_the_file),
	    cmocka_unit_test(failures_are_told_whole),
	    cmocka_unit_test(wrong_names_are_refused),
	    cmocka_unit_test(a_source_returns_its_snapshot),
	    cmocka_unit_test(other_results_are_refused),
	    cmocka_unit_test(errors_say_where_and_show_the_consoles),
	    cmocka_unit_test(the_older_kind_takes_the_vm_made_last),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
