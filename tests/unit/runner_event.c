/*
 * Event frames: what is written is read back, a frame that fails leaves nothing behind, and what a
 * worker may send wrongly is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/frame.h"
#include "runner/event.h"

/* Takes the only frame of a buffer apart. */
static void read_one(
    const struct pv_bytes *out, struct pv_frame_reader *reader, struct pv_event *event)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	assert_int_equal(pv_frame_feed(reader, out->data, out->len), 0);
	assert_int_equal(pv_frame_next(reader, &payload, &err), 1);
	assert_int_equal(pv_event_parse(event, payload.data, payload.len, &err), 0);
}

static void what_is_written_is_read_back(void **state)
{
	struct pv_bytes out = {0}, inner = {0};
	struct pv_pack pack = {.out = &inner};
	struct pv_frame_reader reader = {0};
	struct pv_event_writer writer;
	struct pv_event event;
	int64_t before = pv_clock_wall(), stamp = 0;
	pv_pack_array(&pack, 1);
	pv_pack_int(&pack, 7);
	pv_event_begin(&writer, &out, "test_failed", 4);
	pv_event_str(&writer, "name", "a test");
	pv_event_str(&writer, "reason", NULL);
	pv_event_uint(&writer, "duration_ns", UINT64_MAX);
	pv_event_raw(&writer, "list", inner.data, inner.len);
	assert_int_equal(pv_event_end(&writer), 0);
	read_one(&out, &reader, &event);
	assert_string_equal(event.kind, "test_failed");
	char *name = pv_event_text(&event, "name");
	assert_string_equal(name, "a test");
	free(name);
	assert_null(pv_event_text(&event, "reason"));
	assert_null(pv_event_text(&event, "nothing"));
	assert_null(pv_event_text(&event, "duration_ns"));
	assert_true(pv_event_number(&event, "duration_ns") == UINT64_MAX);
	assert_true(pv_event_number(&event, "name") == 0);
	assert_true(pv_event_number(&event, "nothing") == 0);
	assert_int_equal(pv_val_count(pv_val_get(event.payload, "list")), 1);
	assert_true(pv_val_int(pv_val_get(pv_doc_root(event.doc), "ts"), &stamp));
	assert_true(stamp >= before && stamp <= pv_clock_wall());
	pv_event_finish(&event);
	pv_event_finish(&event);
	pv_frame_reader_finish(&reader);
	pv_bytes_finish(&inner);
	pv_bytes_finish(&out);
}

static void frames_stand_behind_each_other(void **state)
{
	static const char *const kinds[] = {"one", "two", "three"};
	struct pv_bytes out = {0};
	struct pv_frame_reader reader = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	for (size_t i = 0; i < 3; i++) {
		struct pv_event_writer writer;
		pv_event_begin(&writer, &out, kinds[i], 0);
		assert_int_equal(pv_event_end(&writer), 0);
	}
	assert_int_equal(pv_frame_feed(&reader, out.data, out.len), 0);
	for (size_t i = 0; i < 3; i++) {
		struct pv_event event;
		assert_int_equal(pv_frame_next(&reader, &payload, &err), 1);
		assert_int_equal(pv_event_parse(&event, payload.data, payload.len, &err), 0);
		assert_string_equal(event.kind, kinds[i]);
		pv_event_finish(&event);
	}
	assert_int_equal(pv_frame_next(&reader, &payload, &err), 0);
	pv_frame_reader_finish(&reader);
	pv_bytes_finish(&out);
}

static void a_failed_frame_leaves_the_buffer_as_it_was(void **state)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	pv_bytes_append(&out, "before", 6);
	pv_event_begin(&writer, &out, "kind", 1);
	writer.pack.status = -ENOMEM;
	pv_event_str(&writer, "key", "value");
	pv_event_raw(&writer, "key", "\xc0", 1);
	assert_int_equal(pv_event_end(&writer), -ENOMEM);
	assert_int_equal(out.len, 6);
	pv_bytes_finish(&out);
}

static void an_oversized_frame_is_cut_off(void **state)
{
	struct pv_bytes out = {0};
	struct pv_event_writer writer;
	size_t len = PV_FRAME_MAX;
	char *huge = malloc(len + 1);
	memset(huge, 'x', len);
	huge[len] = '\0';
	pv_event_begin(&writer, &out, "kind", 1);
	pv_event_str(&writer, "key", huge);
	free(huge);
	assert_int_equal(pv_event_end(&writer), -EMSGSIZE);
	assert_int_equal(out.len, 0);
	pv_bytes_finish(&out);
}

static void what_is_no_event_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
	    {"",				  0 },
	    {"\xc0",			      1 },
	    {"\x80",			      1 },
	    {"\x93\x01\x02\x03",			 4 },
 /* {kind: "a"}; {kind: "a", payload: 1}; {kind: 1, payload: {}}; {payload: {}} */
	    {"\x81\xa4kind\xa1"
	     "a",		    8 },
	    {"\x82\xa4kind\xa1"
	     "a\xa7payload\x01",	17},
	    {"\x82\xa4kind\x01\xa7payload\x80",	16},
	    {"\x81\xa7payload\x80",		    10},
 /* A good one, and a byte behind it. */
	    {"\x82\xa4kind\xa1"
	     "a\xa7payload\x80\x80", 18},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pv_event event;
		struct pv_err err = PV_ERR_INIT;
		assert_int_equal(
		    pv_event_parse(&event, cases[i].bytes, cases[i].len, &err), -EBADMSG);
		assert_null(event.doc);
	}
	struct pv_event event;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_event_parse(&event,
			     "\x82\xa4kind\xa1"
			     "a\xa7payload\x80",
			     17, &err),
	    0);
	pv_event_finish(&event);
}

static void a_kind_that_is_too_long_is_refused(void **state)
{
	for (size_t len = 46; len <= 49; len++) {
		char kind[64] = "";
		struct pv_bytes out = {0};
		struct pv_event_writer writer;
		struct pv_event event;
		struct pv_err err = PV_ERR_INIT;
		memset(kind, 'k', len);
		pv_event_begin(&writer, &out, kind, 0);
		assert_int_equal(pv_event_end(&writer), 0);
		int status = pv_event_parse(
		    &event, out.data + PV_FRAME_HEADER, out.len - PV_FRAME_HEADER, &err);
		assert_int_equal(status, len < sizeof(event.kind) ? 0 : -EBADMSG);
		pv_event_finish(&event);
		pv_bytes_finish(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_is_read_back),
	    cmocka_unit_test(frames_stand_behind_each_other),
	    cmocka_unit_test(a_failed_frame_leaves_the_buffer_as_it_was),
	    cmocka_unit_test(an_oversized_frame_is_cut_off),
	    cmocka_unit_test(what_is_no_event_is_refused),
	    cmocka_unit_test(a_kind_that_is_too_long_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
