/*
 * lab/fixture_scan.h: what counts as a reference, in Lua that is written to mislead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/fixture_scan.h"

/* Scans, and compares what was found with lines of "<letter of the kind> <text>". */
static void expect_sized(const char *text, size_t len, const char *expected)
{
	static const char letters[] = "FLMSHD";
	struct pv_fixture_refs refs;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes found = {0};
	assert_int_equal(pv_fixture_scan(&refs, text, len, &err), 0);
	for (size_t i = 0; i < refs.count; i++)
		pv_bytes_printf(&found, "%s%c %s", i ? "\n" : "", letters[refs.items[i].kind],
		    refs.items[i].text);
	if (strcmp(pv_bytes_text(&found), expected) != 0)
		fail_msg("`%s`: found `%s`, expected `%s`", text, (char *)found.data, expected);
	pv_bytes_finish(&found);
	pv_fixture_refs_finish(&refs);
	assert_null(refs.items);
}

static void expect(const char *text, const char *expected)
{
	expect_sized(text, strlen(text), expected);
}

static void calls_of_all_shapes_are_found(void **state)
{
	expect("", "");
	expect("local v = provium:vm_fixture(\"base\")", "F base");
	expect("provium.vm_fixture('a/b'):run('x')", "F a/b");
	expect("provium:lab_fixture \"pair\" lab.vm_fixture[[x]]", "F pair\nF x");
	expect("provium . vm_fixture\n(\n'a'\n)", "F a");
	expect("provium.fixture('old') provium:fixture 'older'", "L old\nL older");
	expect("local h = require('helpers.net') require\"b\"", "M helpers.net\nM b");
	expect("dofile('tests/h.lua') loadfile('x.lua', 't')", "S tests/h.lua\nS x.lua");
	expect("vm:push_file('a', '/a') provium:depends_on_file('b')", "H a\nH b");
	expect("local vm_fixture = provium.vm_fixture vm_fixture('a')", "F a");
	expect("f(vm:push_file('a', require('b')))", "H a\nM b");
	expect("vm:push_dir('a', '/a') vm:push_dir('b', '/b', {auto_dep = false})", "D a");
	expect("require(require('a'))", "M a");
	expect("#!/usr/bin/provium vm_fixture('a')\nvm_fixture('b')", "F b");
}

static void order_and_repetition_are_kept(void **state)
{
	expect("vm_fixture('b') require('a') vm_fixture('b')", "F b\nM a\nF b");
}

static void other_uses_of_the_names_are_not_found(void **state)
{
	expect("fixture('a') local fixture = 'b' {fixture = 'c'}", "");
	expect("my_vm_fixture('a') vm_fixture2('b') vm_fixtures('c')", "");
	expect("local vm_fixture = 'a' vm_fixture == 'b'", "");
	expect("vm_fixture {'a'} vm_fixture(1) vm_fixture() vm_fixture(", "");
	expect("vm_fixture('a'):x('b') print('vm_fixture')", "F a");
	expect("vm_fixture('a' + 1) vm_fixture('b' == x) vm_fixture('c' and d)", "");
	expect("vm_fixture('') vm_fixture('a\\0b')", "");
}

static void comments_are_passed_over(void **state)
{
	expect("-- vm_fixture('a')\nvm_fixture('b')", "F b");
	expect("--[[ vm_fixture('a') ]] vm_fixture('b')", "F b");
	expect("--[==[ vm_fixture('a') ]] ]=] ]==] vm_fixture('b')", "F b");
	expect("--[=x vm_fixture('a') ]=]\nvm_fixture('b')", "F b");
	expect("---[[ vm_fixture('a')\nvm_fixture('b') --]]", "F b");
	expect("vm_fixture(--[[x]] 'a' -- )\n )", "F a");
	expect("--[[ vm_fixture('a')", "");
	expect("a - - vm_fixture('a') --", "F a");
}

static void strings_are_passed_over(void **state)
{
	expect("x = \"vm_fixture('a')\" vm_fixture('b')", "F b");
	expect("x = 'it\\'s vm_fixture(\"a\")' vm_fixture('b')", "F b");
	expect("x = [[ vm_fixture('a') -- ]] vm_fixture('b')", "F b");
	expect("x = [==[ ]] ]=] vm_fixture('a') ]==] vm_fixture('b')", "F b");
	expect("x = t[vm_fixture('a')] y = t[ [[vm_fixture('c')]] ]", "F a");
	expect("x = '--' vm_fixture('a') y = '--[['", "F a");
	expect("x = '\\\\' vm_fixture('a')", "F a");
	expect("x = 'open vm_fixture(\"a\")\nvm_fixture('b')", "F b");
	expect("x = 'a\\\nvm_fixture(\"a\")' vm_fixture('b')", "F b");
	expect("x = [==[ vm_fixture('a') ]=]", "");
}

static void literals_are_read_as_lua_reads_them(void **state)
{
	expect("vm_fixture('\\97\\x62\\u{63}\\\n\\z  \n d')", "F abc\nd");
	expect(
	    "vm_fixture('\\u{e9}\\u{20ac}\\u{1F600}')", "F \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	expect("vm_fixture('\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\\'')", "F \a\b\f\n\r\t\v\\\"'");
	expect("vm_fixture([[\na]]) vm_fixture([=[\r\nb]]]=])", "F a\nF b]]");
	expect(
	    "vm_fixture('\\q') \nvm_fixture('\\300')\nvm_fixture('\\xg0')\nvm_fixture('a')", "F a");
	expect("vm_fixture('\\u{110000000000}')\nvm_fixture('\\u')\nvm_fixture('a')", "F a");
}

static void constant_concatenations_are_joined_and_others_ignored(void **state)
{
	expect("vm_fixture('a' .. 'b'..\"c\"..[[d]])", "F abcd");
	expect("vm_fixture('a' .. x) vm_fixture(x .. 'a') vm_fixture('a' .. 'b' .. 1)", "");
	expect("vm_fixture('a' .. x .. vm_fixture('b'))", "F b");
	expect("vm_fixture('a'...'b') vm_fixture(...)", "");
	expect("vm_fixture 'a' .. 'b'", "F a"); /* the result is joined, not the name */
	expect("x = 1..2 x = 0x1p-3 x = 3. .. vm_fixture('a')", "F a");
}

static void a_file_can_opt_out(void **state)
{
	expect("vm:push_file('a', '/a', {auto_dep = false}) vm:push_file('b', '/b')", "H b");
	expect("vm:push_file('a', '/a', {x = {1, f()}, [\"auto_dep\"] = false})", "");
	expect("vm:push_file('a', '/a', {auto_dep = true})", "H a");
	expect("vm:push_file('a', '/a', {auto_dep == false, x = 'auto_dep = false'})", "H a");
	expect("vm:push_file('a', '/a') local o = {auto_dep = false}", "H a");
	expect("vm:push_file('a', '/a', {auto_dep = no}) x = false", "H a");
	expect("provium:depends_on_file('a', {auto_dep = false})", "H a");
	expect("vm:push_file('a', vm_fixture('b'), {auto_dep = false})", "F b");
	expect("vm:push_file('a', '/a', {auto_dep = false", "");
}

static void text_that_is_no_lua_does_no_harm(void **state)
{
	static const char nul[] = "vm_fixture\0('a') vm_fixture('b')";
	static const char cut[] = "vm_fixture('a') --[[";
	expect_sized(nul, sizeof(nul) - 1, "F b");
	for (size_t len = 0; len < sizeof(cut); len++)
		expect_sized(cut, len, len >= 15 ? "F a" : "");
	expect("vm_fixture(((((((((((((((((((((((((((((", "");
	expect("]]]]]]}}}}'\\", "");
	expect("\xff\xfe vm_fixture('a') \x80", "F a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(calls_of_all_shapes_are_found),
	    cmocka_unit_test(order_and_repetition_are_kept),
	    cmocka_unit_test(other_uses_of_the_names_are_not_found),
	    cmocka_unit_test(comments_are_passed_over),
	    cmocka_unit_test(strings_are_passed_over),
	    cmocka_unit_test(literals_are_read_as_lua_reads_them),
	    cmocka_unit_test(constant_concatenations_are_joined_and_others_ignored),
	    cmocka_unit_test(a_file_can_opt_out),
	    cmocka_unit_test(text_that_is_no_lua_does_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
