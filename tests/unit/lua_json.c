/*
 * lua/json.h: reading and writing JSON (spec section 20).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/lua_rig.h"

static void encodes(const char *value, const char *expected)
{
	struct pv_bytes script = {0}, want = {0};
	pv_bytes_printf(&script, "test('a', function(t) t:log(json.encode(%s)) end)", value);
	pv_bytes_printf(&want, "log a: %s\n", expected);
	rig_expect(pv_bytes_text(&script), pv_bytes_text(&want), NULL);
	pv_bytes_finish(&script);
	pv_bytes_finish(&want);
}

static void values_are_encoded(void **state)
{
	encodes("nil", "null");
	encodes("true", "true");
	encodes("false", "false");
	encodes("42", "42");
	encodes("math.mininteger", "-9223372036854775808");
	encodes("1.0", "1.0");
	encodes("0.1", "0.1");
	encodes("1/3", "0.3333333333333333");
	encodes("1e300", "1e+300");
	encodes("-0.0", "-0.0");
	encodes("0/0", "null");
	encodes("1/0", "null");
	encodes("-1/0", "null");
	encodes("'x'", "\"x\"");
	encodes("''", "\"\"");
	encodes("'\"\\\\/\\b\\f\\n\\r\\t\\1\\0'", "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u0000\"");
	encodes("'gr\\u{fc}n \\u{1F600}'", "\"gr\xc3\xbcn \xf0\x9f\x98\x80\"");
	encodes("'a\\xffb\\xed\\xa0\\x80'", "\"a\xef\xbf\xbd"
					    "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void tables_are_encoded(void **state)
{
	encodes("{}", "{}");
	encodes("{1, 2, 3}", "[1,2,3]");
	encodes("{1, nil, 3}", "[1,null,3]");
	encodes("{[3] = 'c'}", "[null,null,\"c\"]");
	encodes("{[1.0] = 'a'}", "[\"a\"]");
	encodes("{b = 1, a = {x = {}}}", "{\"a\":{\"x\":{}},\"b\":1}");
	encodes("{1, x = 2}", "{\"1\":1,\"x\":2}");
	encodes("{[0] = 'z'}", "{\"0\":\"z\"}");
	encodes("{[1.5] = true, [true] = 1}", "{\"1.5\":true,\"true\":1}");
	encodes("{{}, {{}}}", "[{},[{}]]");
	encodes("setmetatable({1}, {__index = error, __len = error, __pairs = error})", "[1]");
	encodes("{a = 0/0}", "{\"a\":null}");
	rig_passes("local t1 = {} for i = 1, 5000 do t1[i] = i end "
		   "t:assert_eq(#json.decode(json.encode(t1)), 5000)");
}

static void what_cannot_be_encoded(void **state)
{
	rig_fails("json.encode(print)",
	    "case.test.lua:1: json.encode: unsupported value type `function`");
	rig_fails("json.encode({x = provium})", "json.encode: unsupported value type `userdata`");
	rig_fails("json.encode({coroutine.create(print)})",
	    "json.encode: unsupported value type `thread`");
	rig_fails("json.encode({[{}] = 1})", "json.encode: unsupported key type `table`");
	rig_fails("json.encode()", "json.encode: value is missing");
	rig_fails(
	    "local x = {} x.x = x json.encode(x)", "json.encode: nested deeper than 256 levels");
	rig_fails(
	    "local x = {} x[1] = x json.encode(x)", "json.encode: nested deeper than 256 levels");
	rig_fails("json.encode({[1 << 40] = 1})",
	    "json.encode: an array with 1 elements has the index 1099511627776: too many holes");
	rig_fails("json.encode({[math.maxinteger] = 1})", "too many holes");
}

static void values_are_decoded(void **state)
{
	rig_passes(
	    "t:assert_eq(json.decode('5'), 5) t:assert_eq(math.type(json.decode('5')), 'integer') "
	    "t:assert_eq(math.type(json.decode('5.0')), 'float') t:assert_eq(json.decode('1e2'), "
	    "100.0) "
	    "t:assert_eq(json.decode('\"x\"'), 'x') t:assert_eq(json.decode('true'), true) "
	    "t:assert_eq(json.decode('false'), false) "
	    "t:assert_eq(json.decode('null'), nil) t:assert_eq(json.decode(' \\n 7 '), 7)");
	rig_passes("local d = json.decode('{\"a\": [1, null, {\"b\": null, \"c\": "
		   "\"\\\\u00fc\\\\u0000\"}]}') "
		   "t:assert_eq(d.a[1], 1) t:assert_eq(d.a[2], nil) t:assert_eq(d.a[3].b, nil) "
		   "t:assert_eq(d.a[3].c, '\\u{fc}\\0')");
	rig_passes("t:assert_eq(next(json.decode('{}')), nil) t:assert_eq(#json.decode('[]'), 0) "
		   "t:assert_eq(json.decode('{\"a\":1,\"a\":2}').a, 2)");
}

static void big_numbers_are_decoded(void **state)
{
	rig_passes("t:assert_eq(json.decode('9223372036854775807'), math.maxinteger) "
		   "t:assert_eq(json.decode('-9223372036854775808'), math.mininteger) "
		   "t:assert_eq(json.decode('9223372036854775808'), 2^63) "
		   "t:assert_eq(math.type(json.decode('9223372036854775808')), 'float') "
		   "t:assert_eq(json.decode('-9223372036854775809'), -2^63) "
		   "t:assert_eq(json.decode('18446744073709551615'), 2^64)");
	rig_passes(
	    "local d = json.decode('{\"18446744073709551615\": \"18446744073709551615\\\\\"\", "
	    "\"n\": [18446744073709551615,1.18446744073709551615, "
	    "184467440737095516150000000000000e-3, 1]}') t:assert_eq(d['18446744073709551615'], "
	    "'18446744073709551615\"') "
	    "t:assert_eq(d.n[1], 2^64) t:assert(d.n[2] < 2) t:assert_eq(d.n[4], 1) "
	    "t:assert_eq(#d.n, 4)");
	rig_fails("json.decode('[1e999]')", "real number overflow");
}

static void errors_give_the_position(void **state)
{
	rig_fails(
	    "json.decode('{\"a\":\\n  oops}')", "case.test.lua:1: json.decode: line 2, column ");
	rig_fails("json.decode('')", "json.decode: line 1, column 0 (byte 0): ");
	rig_fails("json.decode('[1, 2')", "json.decode: line 1, column 5 (byte 5): ");
	rig_fails("json.decode('1 2')", "end of file expected");
	rig_fails("json.decode('\"\\xff\"')", "unable to decode byte 0xff");
	rig_fails("json.decode('[18446744073709551615, oops]')", "json.decode: line 1");
	rig_fails("json.decode(string.rep('[', 100000))", "maximum parsing depth reached");
	rig_passes("local d = json.decode(string.rep('[', 2000) .. string.rep(']', 2000)) "
		   "t:assert_eq(type(d), 'table')");
	rig_fails("json.decode()", "json.decode: text must be a string, got no value");
	rig_fails("json.decode(nil)", "json.decode: text must be a string, got nil");
	rig_fails("json.decode(5)", "json.decode: text must be a string, got number");
	rig_fails("json.decode({})", "json.decode: text must be a string, got table");
}

static void a_locale_changes_nothing(void **state)
{
	/* Where this locale is not installed, setlocale returns nil and the rest still holds. */
	rig_passes("os.setlocale('de_DE.UTF-8') local e, d = json.encode(1.5), json.decode('1.5') "
		   "os.setlocale('C') t:assert_eq(e, '1.5') t:assert_eq(d, 1.5)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_are_encoded),
	    cmocka_unit_test(tables_are_encoded),
	    cmocka_unit_test(what_cannot_be_encoded),
	    cmocka_unit_test(values_are_decoded),
	    cmocka_unit_test(big_numbers_are_decoded),
	    cmocka_unit_test(errors_give_the_position),
	    cmocka_unit_test(a_locale_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
