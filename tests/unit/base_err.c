/*
 * Error records: what a person reads is whole, in order and cut at a character.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void set_fills_the_record_and_returns_the_code(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(err.kind, PV_ERR_NONE);
	assert_int_equal(
	    pv_err_set(&err, PV_ERR_INPUT, EINVAL, "kernel `%s`: %d", "/boot/x", 7), -EINVAL);
	assert_int_equal(err.kind, PV_ERR_INPUT);
	assert_int_equal(err.code, EINVAL);
	assert_string_equal(err.text, "kernel `/boot/x`: 7");
}

static void system_appends_the_text_of_errno(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_err_system(&err, ENOENT, "disk `%s`", "a.img"), -ENOENT);
	assert_int_equal(err.kind, PV_ERR_SYSTEM);
	assert_string_equal(err.text, "disk `a.img`: No such file or directory");
}

static void prefix_keeps_kind_and_code_and_goes_in_front(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	pv_err_set(&err, PV_ERR_GUEST, EPIPE, "gone");
	assert_int_equal(pv_err_prefix(&err, "vm `%s`", "a"), -EPIPE);
	assert_int_equal(pv_err_prefix(&err, "lab"), -EPIPE);
	assert_int_equal(err.kind, PV_ERR_GUEST);
	assert_string_equal(err.text, "lab: vm `a`: gone");
}

static void arguments_may_point_into_the_record(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	pv_err_set(&err, PV_ERR_INPUT, EINVAL, "inner");
	pv_err_set(&err, PV_ERR_STATE, EBUSY, "outer (%s)", err.text);
	assert_string_equal(err.text, "outer (inner)");
	pv_err_prefix(&err, "%s", err.text);
	assert_string_equal(err.text, "outer (inner): outer (inner)");
}

static void nomem_says_what(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_err_nomem(&err, "a disk"), -ENOMEM);
	assert_int_equal(err.code, ENOMEM);
	assert_string_equal(err.text, "out of memory (a disk)");
}

static void long_text_is_cut(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	char text[3 * PV_ERR_TEXT_MAX];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	pv_err_set(&err, PV_ERR_INPUT, EINVAL, "%s", text);
	assert_int_equal(strlen(err.text), PV_ERR_TEXT_MAX - 1);
	pv_err_prefix(&err, "front");
	assert_int_equal(strlen(err.text), PV_ERR_TEXT_MAX - 1);
	assert_memory_equal(err.text, "front: xxx", 10);
	pv_err_system(&err, ENOENT, "%s", text);
	assert_int_equal(strlen(err.text), PV_ERR_TEXT_MAX - 1);
}

/* Puts `character` at each distance from the cut and expects it whole or not at all. */
static void cut_through(const char *character)
{
	size_t width = strlen(character);
	for (size_t before = 1; before <= 6; before++) {
		struct pv_err err = PV_ERR_INIT;
		char text[2 * PV_ERR_TEXT_MAX];
		memset(text, 'x', sizeof(text));
		size_t at = PV_ERR_TEXT_MAX - 1 - before;
		memcpy(text + at, character, width);
		text[at + width] = '\0';
		pv_err_set(&err, PV_ERR_INPUT, EINVAL, "%s", text);
		assert_int_equal(strlen(err.text), before >= width ? at + width : at);
	}
}

static void text_is_cut_between_characters(void **state)
{
	cut_through("y");
	cut_through("\xc3\xa4");
	cut_through("\xe2\x82\xac");
	cut_through("\xf0\x9f\x98\x80");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(set_fills_the_record_and_returns_the_code),
	    cmocka_unit_test(system_appends_the_text_of_errno),
	    cmocka_unit_test(prefix_keeps_kind_and_code_and_goes_in_front),
	    cmocka_unit_test(arguments_may_point_into_the_record),
	    cmocka_unit_test(nomem_says_what),
	    cmocka_unit_test(long_text_is_cut),
	    cmocka_unit_test(text_is_cut_between_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
