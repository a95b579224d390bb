/*
 * Results out of events: what counts as clean, what a worker's sudden end makes of running tests,
 * and events in any order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/frame.h"
#include "runner/event.h"
#include "runner/result.h"

/* Ends the event, gives it to the result and frees its bytes. */
static void give(struct pv_file_result *result, struct pv_event_writer *writer)
{
	struct pv_bytes *out = writer->out;
	struct pv_event event;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_event_end(writer), 0);
	assert_int_equal(
	    pv_event_parse(&event, out->data + PV_FRAME_HEADER, out->len - PV_FRAME_HEADER, &err),
	    0);
	pv_file_result_take(result, &event);
	pv_event_finish(&event);
	pv_bytes_finish(out);
}

/* Gives a result an event with up to two strings; key NULL for none. */
static void tell(struct pv_file_result *result, const char *kind, const char *key,
    const char *value, const char *key2, const char *value2)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	pv_event_begin(&writer, &out, kind, (key != NULL) + (key2 != NULL));
	if (key)
		pv_event_str(&writer, key, value);
	if (key2)
		pv_event_str(&writer, key2, value2);
	give(result, &writer);
}

static void tell_test(struct pv_file_result *result, const char *kind, const char *name)
{
	tell(result, kind, "name", name, NULL, NULL);
}

static void tell_done(struct pv_file_result *result, const char *status, uint64_t not_run)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	pv_event_begin(&writer, &out, "worker_done", 2);
	pv_event_str(&writer, "status", status);
	pv_event_uint(&writer, "not_run", not_run);
	give(result, &writer);
}

static void a_file_whose_tests_pass_is_clean(void **state)
{
	struct pv_file_result result = {.path = "a"};
	assert_false(pv_file_result_is_clean(&result));
	tell_test(&result, "test_started", "one");
	assert_int_equal(pv_file_result_count(&result, PV_TEST_RUNNING), 1);
	tell_test(&result, "test_passed", "one");
	tell(&result, "test_skipped", "name", "two", "reason", "slow");
	assert_false(pv_file_result_is_clean(&result));
	tell_done(&result, "passed", 0);
	assert_true(pv_file_result_is_clean(&result));
	assert_int_equal(pv_file_result_count(&result, PV_TEST_PASSED), 1);
	assert_int_equal(pv_file_result_count(&result, PV_TEST_SKIPPED), 1);
	assert_string_equal(result.tests[1].message, "slow");
	pv_file_result_finish(&result);
	pv_file_result_finish(&result);
}

static void a_failure_keeps_reason_console_and_log(void **state)
{
	struct pv_file_result result = {.path = "a"};
	tell_test(&result, "test_started", "one");
	tell(&result, "worker_log", "name", "one", "text", "first");
	tell(&result, "worker_log", "name", "one", "text", "second");
	tell(&result, "test_failed", "name", "one", "reason", "because");
	tell(&result, "test_failed", "name", "one", "console_excerpt", "text");
	tell_done(&result, "failed", 0);
	assert_int_equal(result.test_count, 1);
	assert_int_equal(result.tests[0].status, PV_TEST_FAILED);
	assert_string_equal(result.tests[0].console, "text");
	assert_int_equal(result.tests[0].log_count, 2);
	assert_string_equal(result.tests[0].log[1], "second");
	assert_false(pv_file_result_is_clean(&result));
	pv_file_result_finish(&result);
}

static void a_sudden_end_fails_what_was_running(void **state)
{
	struct pv_file_result result = {.path = "a"};
	tell_test(&result, "test_started", "one");
	tell_test(&result, "test_passed", "one");
	tell_test(&result, "test_started", "two");
	pv_file_result_cut_off(&result, "the worker died");
	assert_int_equal(result.tests[0].status, PV_TEST_PASSED);
	assert_int_equal(result.tests[1].status, PV_TEST_FAILED);
	assert_string_equal(result.tests[1].message, "the worker died");
	assert_string_equal(result.chunk_error, "the worker died");
	assert_false(pv_file_result_is_clean(&result));
	pv_file_result_finish(&result);
}

static void a_complete_report_has_no_sudden_end(void **state)
{
	struct pv_file_result result = {.path = "a"};
	tell_done(&result, "passed", 0);
	pv_file_result_cut_off(&result, "the worker died");
	assert_null(result.chunk_error);
	assert_true(pv_file_result_is_clean(&result));
	pv_file_result_finish(&result);
}

static void the_first_reason_of_a_file_stays(void **state)
{
	struct pv_file_result result = {.path = "a"};
	tell(&result, "worker_chunk_error", "text", "syntax", NULL, NULL);
	pv_file_result_cut_off(&result, "the worker died");
	assert_string_equal(result.chunk_error, "syntax");
	tell_done(&result, "crashed", 3);
	assert_false(pv_file_result_is_clean(&result));
	assert_true(result.not_run == 3);
	pv_file_result_finish(&result);
}

static void a_timeout_is_not_clean(void **state)
{
	struct pv_file_result result = {.path = "a"};
	tell_test(&result, "test_started", "one");
	tell_done(&result, "timed_out", 2);
	assert_true(result.timed_out && result.done);
	assert_false(pv_file_result_is_clean(&result));
	pv_file_result_cut_off(&result, "time is up");
	assert_null(result.chunk_error);
	assert_string_equal(result.tests[0].message, "time is up");
	pv_file_result_finish(&result);
}

static void odd_events_change_nothing(void **state)
{
	struct pv_file_result result = {.path = "a"};
	tell(&result, "vm_spawned", "name", "vm", NULL, NULL);
	tell(&result, "test_passed", NULL, NULL, NULL, NULL);
	tell(&result, "worker_unknown", "text", "x", NULL, NULL);
	tell(&result, "", "name", "x", NULL, NULL);
	assert_int_equal(result.test_count, 0);
	assert_null(result.chunk_error);
	tell(&result, "worker_done", NULL, NULL, NULL, NULL);
	assert_true(result.done && !result.timed_out);
	pv_file_result_finish(&result);
}

static void the_latest_verdict_counts(void **state)
{
	struct pv_file_result result = {.path = "a"};
	tell(&result, "test_failed", "name", "one", "reason", "first");
	tell(&result, "test_failed", "name", "one", "reason", "second");
	assert_int_equal(result.test_count, 1);
	assert_string_equal(result.tests[0].message, "second");
	pv_file_result_finish(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_file_whose_tests_pass_is_clean),
	    cmocka_unit_test(a_failure_keeps_reason_console_and_log),
	    cmocka_unit_test(a_sudden_end_fails_what_was_running),
	    cmocka_unit_test(a_complete_report_has_no_sudden_end),
	    cmocka_unit_test(the_first_reason_of_a_file_stays),
	    cmocka_unit_test(a_timeout_is_not_clean),
	    cmocka_unit_test(odd_events_change_nothing),
	    cmocka_unit_test(the_latest_verdict_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
