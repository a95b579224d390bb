/*
 * The report as a person and as a program sees it, to the letter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/report.h"
#include "runner/result.h"

static char *log_lines[] = {(char *)"line \"one\"", (char *)"two"};

static struct pv_test_result clean_tests[] = {
    {.name = (char *)"it works", .status = PV_TEST_PASSED, .log = log_lines,	     .log_count = 2},
    {.name = (char *)"later",			      .status = PV_TEST_SKIPPED,				 .message = (char *)"slow"},
};

static struct pv_test_result failed_tests[] = {
    {.name = (char *)"it works",	 .status = PV_TEST_PASSED},
    {.name = (char *)"it does not",
	.status = PV_TEST_FAILED,
	.message = (char *)"first line\n\nthird\n",
	.console = (char *)"[ 0.1] text"},
    {.name = (char *)"it hung", .status = PV_TEST_RUNNING			 },
    {.name = (char *)"left out",	 .status = PV_TEST_SKIPPED	  },
};

static const struct pv_file_result clean = {
    .path = "tests/a.test.lua", .tests = clean_tests, .test_count = 2, .done = true};
static const struct pv_file_result failed = {
    .path = "tests/b.test.lua", .tests = failed_tests, .test_count = 4, .done = true, .not_run = 2};
static const struct pv_file_result late = {
    .path = "tests/c.test.lua", .timed_out = true, .done = true};
static const struct pv_file_result broken = {
    .path = "tests/d.test.lua", .chunk_error = (char *)"d:1: oh\nstack\n  more", .done = true};
static const struct pv_file_result died = {.path = "tests/e.test.lua",
    .tests = clean_tests,
    .test_count = 1,
    .chunk_error = (char *)"the worker died"};

/* Reports all five files and the summary with the given settings, and compares. */
static void expect(struct pv_report report, const char *expected)
{
	char *text = NULL;
	size_t len;
	report.out = open_memstream(&text, &len);
	pv_report_file(&report, &clean);
	pv_report_file(&report, &failed);
	pv_report_file(&report, &late);
	pv_report_file(&report, &broken);
	pv_report_file(&report, &died);
	pv_report_summary(&report, INT64_C(48070000000));
	fclose(report.out);
	assert_string_equal(text, expected);
	assert_int_equal(report.files, 5);
	assert_int_equal(report.unclean_files, 4);
	assert_int_equal(report.errored_files, 2);
	free(text);
}

/* All files but the first, and the summary. */
#define UNCLEAN                                                   \
	"FAIL tests/b.test.lua (1 passed, 1 failed, 1 skipped)\n" \
	"    FAIL it does not\n"                                  \
	"        first line\n"                                    \
	"        \n"                                              \
	"        third\n"                                         \
	"        [ 0.1] text\n"                                   \
	"    FAIL it hung\n"                                      \
	"    2 test(s) not run\n"                                 \
	"TIME tests/c.test.lua (0 passed, 0 failed, 0 skipped)\n" \
	"FAIL tests/d.test.lua\n"                                 \
	"    chunk_error: d:1: oh\n"                              \
	"        stack\n"                                         \
	"          more\n"                                        \
	"FAIL tests/e.test.lua (1 passed, 0 failed, 0 skipped)\n" \
	"    chunk_error: the worker died\n"                      \
	"\n"                                                      \
	"5 file(s); 3 passed, 1 failed, 2 skipped, 2 file(s) errored; 48.07s\n"

static void the_plain_report(void **state)
{
	expect((struct pv_report){0},
	    "PASS tests/a.test.lua (1 passed, 0 failed, 1 skipped)\n" UNCLEAN);
}

static void the_verbose_report_names_every_test(void **state)
{
	expect((struct pv_report){.verbose = true},
	    "PASS tests/a.test.lua (1 passed, 0 failed, 1 skipped)\n"
	    "    PASS it works\n"
	    "    SKIP later (slow)\n"
	    "FAIL tests/b.test.lua (1 passed, 1 failed, 1 skipped)\n"
	    "    PASS it works\n"
	    "    FAIL it does not\n"
	    "        first line\n"
	    "        \n"
	    "        third\n"
	    "        [ 0.1] text\n"
	    "    FAIL it hung\n"
	    "    SKIP left out ()\n"
	    "    2 test(s) not run\n"
	    "TIME tests/c.test.lua (0 passed, 0 failed, 0 skipped)\n"
	    "FAIL tests/d.test.lua\n"
	    "    chunk_error: d:1: oh\n"
	    "        stack\n"
	    "          more\n"
	    "FAIL tests/e.test.lua (1 passed, 0 failed, 0 skipped)\n"
	    "    chunk_error: the worker died\n"
	    "    PASS it works\n"
	    "\n"
	    "5 file(s); 3 passed, 1 failed, 2 skipped, 2 file(s) errored; 48.07s\n");
}

static void the_quiet_report_leaves_what_is_not_clean(void **state)
{
	expect((struct pv_report){.quiet = true}, UNCLEAN);
}

static void the_json_report_is_an_object_a_line(void **state)
{
	expect((struct pv_report){.json = true},
	    "{\"path\":\"tests/"
	    "a.test.lua\",\"timeout\":\"in_time\",\"passed\":true,\"chunk_error\":null,\"tests\":["
	    "{\"name\":\"it works\",\"status\":\"passed\",\"message\":null,\"log\":[\"line "
	    "\\\"one\\\"\",\"two\"]},"
	    "{\"name\":\"later\",\"status\":\"skipped\",\"message\":\"slow\",\"log\":[]}]}\n"
	    "{\"path\":\"tests/"
	    "b.test.lua\",\"timeout\":\"in_time\",\"passed\":false,\"chunk_error\":null,\"tests\":["
	    "{\"name\":\"it works\",\"status\":\"passed\",\"message\":null,\"log\":[]},"
	    "{\"name\":\"it does not\",\"status\":\"failed\",\"message\":\"first "
	    "line\\n\\nthird\\n\",\"log\":[],\"console\":\"[ 0.1] text\"},"
	    "{\"name\":\"it hung\",\"status\":\"failed\",\"message\":null,\"log\":[]},"
	    "{\"name\":\"left out\",\"status\":\"skipped\",\"message\":null,\"log\":[]}]}\n"
	    "{\"path\":\"tests/"
	    "c.test.lua\",\"timeout\":\"timed_out\",\"passed\":false,\"chunk_error\":null,"
	    "\"tests\":[]}\n"
	    "{\"path\":\"tests/"
	    "d.test.lua\",\"timeout\":\"in_time\",\"passed\":false,\"chunk_error\":\"d:1: "
	    "oh\\nstack\\n  more\",\"tests\":[]}\n"
	    "{\"path\":\"tests/"
	    "e.test.lua\",\"timeout\":\"in_time\",\"passed\":false,\"chunk_error\":\"the worker "
	    "died\",\"tests\":["
	    "{\"name\":\"it works\",\"status\":\"passed\",\"message\":null,\"log\":[\"line "
	    "\\\"one\\\"\",\"two\"]}]}\n");
}

static void what_guests_print_does_not_act_on_the_terminal(void **state)
{
	char *text = NULL;
	size_t len;
	struct pv_test_result tests[] = {
	    {.name = (char *)"t",
		.status = PV_TEST_FAILED,
		.message = (char *)"a\x1b[2Jb\x1b]0;title\x07 \xc2\x9b c",
		.console =
		    (char *)"---- vm v ----\n\x1b[0;32mOK\x1b[0m \xc3\xa4\ttab\r\n50%\r60%\x1b["}
	 };
	const struct pv_file_result file = {
	    .path = "f", .tests = tests, .test_count = 1, .done = true};
	struct pv_report report = {.out = open_memstream(&text, &len)};
	pv_report_file(&report, &file);
	fclose(report.out);
	assert_string_equal(text, "FAIL f (0 passed, 1 failed, 0 skipped)\n"
				  "    FAIL t\n"
				  "        ab?]0;title? ? c\n"
				  "        ---- vm v ----\n"
				  "        OK \xc3\xa4\ttab\n"
				  "        50%60%?[\n");
	free(text);
}

static void a_clean_run_mentions_no_errors(void **state)
{
	char *text = NULL;
	size_t len;
	struct pv_report report = {.out = open_memstream(&text, &len)};
	pv_report_file(&report, &clean);
	pv_report_summary(&report, 1000000);
	fclose(report.out);
	assert_string_equal(text, "PASS tests/a.test.lua (1 passed, 0 failed, 1 skipped)\n\n1 "
				  "file(s); 1 passed, 0 failed, 1 skipped; 0.00s\n");
	free(text);
}

static void no_files_is_a_notice(void **state)
{
	static const char *const expected[] = {"no *.test.lua files found\n",
	    "{\"type\":\"no_files\",\"message\":\"no *.test.lua files found\"}\n"};
	for (int json = 0; json < 2; json++) {
		char *text = NULL;
		size_t len;
		struct pv_report report = {.out = open_memstream(&text, &len), .json = json};
		pv_report_nothing(&report);
		fclose(report.out);
		assert_string_equal(text, expected[json]);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_plain_report),
	    cmocka_unit_test(the_verbose_report_names_every_test),
	    cmocka_unit_test(the_quiet_report_leaves_what_is_not_clean),
	    cmocka_unit_test(the_json_report_is_an_object_a_line),
	    cmocka_unit_test(what_guests_print_does_not_act_on_the_terminal),
	    cmocka_unit_test(a_clean_run_mentions_no_errors),
	    cmocka_unit_test(no_files_is_a_notice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
