/*
 * The JSON writer: commas by themselves, escapes, bytes that are no text, numbers, and running out
 * of memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"

/* Compares what was written, and empties it for the next case. */
static void expect(struct pv_json *json, const char *text)
{
	assert_int_equal(json->status, 0);
	assert_string_equal(pv_bytes_text(json->out), text);
	pv_bytes_finish(json->out);
	json->after_value = false;
}

static void every_kind_of_value_is_spelled(void **state)
{
	struct pv_bytes out = {0};
	struct pv_json json = {.out = &out};
	pv_json_null(&json);
	expect(&json, "null");
	pv_json_bool(&json, true);
	expect(&json, "true");
	pv_json_bool(&json, false);
	expect(&json, "false");
	pv_json_int(&json, INT64_MIN);
	expect(&json, "-9223372036854775808");
	pv_json_int(&json, INT64_MAX);
	expect(&json, "9223372036854775807");
	pv_json_str(&json, NULL);
	expect(&json, "null");
	pv_json_str(&json, "");
	expect(&json, "\"\"");
	pv_json_strn(&json, "abc", 2);
	expect(&json, "\"ab\"");
}

static void numbers_come_back_as_they_were(void **state)
{
	static const double numbers[] = {
	    0, -0.0, 1, 0.1, -1.5, 1e300, 5e-324, 1.0 / 3, 9007199254740993.0};
	struct pv_bytes out = {0};
	struct pv_json json = {.out = &out};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		pv_json_float(&json, numbers[i]);
		assert_true(strtod(pv_bytes_text(&out), NULL) == numbers[i]);
		pv_bytes_finish(&out);
		json.after_value = false;
	}
	pv_json_float(&json, NAN);
	expect(&json, "null");
	pv_json_float(&json, -INFINITY);
	expect(&json, "null");
}

static void commas_and_colons_come_by_themselves(void **state)
{
	struct pv_bytes out = {0};
	struct pv_json json = {.out = &out};
	pv_json_object_begin(&json);
	pv_json_key(&json, "a");
	pv_json_array_begin(&json);
	pv_json_int(&json, 1);
	pv_json_array_begin(&json);
	pv_json_array_end(&json);
	pv_json_object_begin(&json);
	pv_json_object_end(&json);
	pv_json_str(&json, "x");
	pv_json_array_end(&json);
	pv_json_keyn(&json, "bcd", 1);
	pv_json_null(&json);
	pv_json_key(&json, "");
	pv_json_object_begin(&json);
	pv_json_key(&json, "q\"");
	pv_json_bool(&json, true);
	pv_json_object_end(&json);
	pv_json_object_end(&json);
	expect(&json, "{\"a\":[1,[],{},\"x\"],\"b\":null,\"\":{\"q\\\"\":true}}");
}

static void what_json_forbids_is_escaped(void **state)
{
	struct pv_bytes out = {0};
	struct pv_json json = {.out = &out};
	pv_json_strn(&json, "\"\\/\b\f\n\r\t\0\x01\x1f\x7f", 12);
	expect(&json, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u0001\\u001f\\u007f\"");
	pv_json_str(&json,
	    "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf");
	expect(&json, "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xee\x80\x80 "
		      "\xf4\x8f\xbf\xbf\"");
}

#define BAD "\xef\xbf\xbd"

static void bytes_that_are_no_text_are_replaced_one_by_one(void **state)
{
	static const struct {
		const char *bytes;
		const char *text;
	} cases[] = {
	    {"a\xff"
	     "b",	"\"a" BAD "b\""	       },
	    {"\x80",	     "\"" BAD "\""		  },
	    {"\xc3",	     "\"" BAD "\""		  },
	    {"\xc3(",	      "\"" BAD "(\""	    },
	    {"\xc0\xaf",	 "\"" BAD BAD "\""	  }, /* longer than need be */
	    {"\xe0\x80\xaf",     "\"" BAD BAD BAD "\""	  },
	    {"\xed\xa0\x80",     "\"" BAD BAD BAD "\""	  }, /* half of a pair */
	    {"\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""}, /* above U+10FFFF */
	    {"\xf5\x80\x80\x80", "\"" BAD BAD BAD BAD "\""},
	    {"\xe2\x82",	 "\"" BAD BAD "\""	  }, /* cut */
	    {"\xe2\x82\xac\xe2", "\"\xe2\x82\xac" BAD "\""},
	};
	struct pv_bytes out = {0};
	struct pv_json json = {.out = &out};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* An exact copy, so that a sanitizer sees a read behind the end. */
		size_t len = strlen(cases[i].bytes);
		char *copy = malloc(len);
		memcpy(copy, cases[i].bytes, len);
		pv_json_strn(&json, copy, len);
		free(copy);
		expect(&json, cases[i].text);
	}
}

static void a_failure_sticks(void **state)
{
	struct pv_bytes out = {0};
	struct pv_json json = {.out = &out, .status = -ENOMEM};
	pv_json_object_begin(&json);
	pv_json_key(&json, "a");
	pv_json_str(&json, "b");
	pv_json_object_end(&json);
	assert_int_equal(json.status, -ENOMEM);
	assert_int_equal(out.len, 0);
	pv_bytes_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_of_value_is_spelled),
	    cmocka_unit_test(numbers_come_back_as_they_were),
	    cmocka_unit_test(commas_and_colons_come_by_themselves),
	    cmocka_unit_test(what_json_forbids_is_escaped),
	    cmocka_unit_test(bytes_that_are_no_text_are_replaced_one_by_one),
	    cmocka_unit_test(a_failure_sticks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
