/*
 * The console log: searching text as it arrives, boots, and what a guest that prints for
 * ever costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lab/console_log.h"

static void append(struct pv_console_log *log, const char *text)
{
	pv_console_log_append(log, text, strlen(text));
}

static bool find(const struct pv_console_log *log, const char *pattern, uint64_t *from)
{
	return pv_console_log_find(log, pattern, strlen(pattern), from);
}

static void a_pattern_in_pieces_is_found(void **state)
{
	static const char pattern[] = "login: ";
	for (size_t cut = 0; cut < sizeof(pattern); cut++) {
		struct pv_console_log log = {0};
		uint64_t from = 0;
		append(&log, "some text lo");
		assert_false(find(&log, pattern, &from));
		pv_console_log_append(&log, "\n", 1);
		pv_console_log_append(&log, pattern, cut);
		assert_int_equal(find(&log, pattern, &from), cut == sizeof(pattern) - 1);
		append(&log, pattern + cut);
		assert_true(find(&log, pattern, &from));
		pv_console_log_finish(&log);
	}
}

static void each_search_goes_on_where_the_last_one_stopped(void **state)
{
	struct pv_console_log log = {0};
	uint64_t from = 0;
	append(&log, "0123456789");
	assert_false(find(&log, "abc", &from));
	assert_int_equal(from, 8);
	assert_false(find(&log, "abc", &from));
	assert_int_equal(from, 8);
	append(&log, "a");
	assert_false(find(&log, "abc", &from));
	assert_int_equal(from, 9);
	append(&log, "bc");
	assert_true(find(&log, "abc", &from));
	pv_console_log_finish(&log);
}

static void an_empty_log_and_an_empty_pattern_are_fine(void **state)
{
	struct pv_console_log log = {0};
	uint64_t from = 0;
	assert_false(find(&log, "x", &from));
	assert_true(find(&log, "", &from));
	pv_console_log_append(&log, NULL, 0);
	append(&log, "x");
	assert_true(find(&log, "x", &from));
	pv_console_log_finish(&log);
	pv_console_log_finish(&log);
}

static void bytes_that_are_no_text_are_found_too(void **state)
{
	struct pv_console_log log = {0};
	uint64_t from = 0;
	pv_console_log_append(&log, "a\0\xff\0b", 5);
	assert_true(pv_console_log_find(&log, "\0\xff\0", 3, &from));
	pv_console_log_finish(&log);
}

static void only_the_latest_boot_is_searched(void **state)
{
	struct pv_console_log log = {0};
	uint64_t from = 0;
	append(&log, "one\nready");
	pv_console_log_mark_boot(&log);
	assert_false(find(&log, "ready", &from));
	/* Halves of two boots are no match. */
	append(&log, "dy");
	from = 0;
	assert_false(find(&log, "ready", &from));
	append(&log, " ready");
	assert_true(find(&log, "ready", &from));
	pv_console_log_finish(&log);
}

static void the_front_is_dropped_and_offsets_stay_right(void **state)
{
	struct pv_console_log log = {0};
	size_t step = 1 << 20;
	char *filler = malloc(step);
	uint64_t from = 0, written = 0;
	memset(filler, '.', step);
	append(&log, "first");
	written += 5;
	while (written <= PV_CONSOLE_LOG_MAX + step) {
		pv_console_log_append(&log, filler, step);
		written += step;
		assert_true(log.text.len <= PV_CONSOLE_LOG_MAX);
		assert_true(log.dropped + log.text.len == written);
	}
	assert_true(log.dropped > 0);
	assert_false(find(&log, "first", &from));
	append(&log, "last");
	assert_true(find(&log, "last", &from));
	from = 0;
	assert_true(find(&log, "last", &from));
	pv_console_log_finish(&log);
	free(filler);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_pattern_in_pieces_is_found),
	    cmocka_unit_test(each_search_goes_on_where_the_last_one_stopped),
	    cmocka_unit_test(an_empty_log_and_an_empty_pattern_are_fine),
	    cmocka_unit_test(bytes_that_are_no_text_are_found_too),
	    cmocka_unit_test(only_the_latest_boot_is_searched),
	    cmocka_unit_test(the_front_is_dropped_and_offsets_stay_right),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
