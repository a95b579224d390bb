/*
 * Frames: however a stream is cut into pieces, the same payloads come out.
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
#include "base/err.h"
#include "base/frame.h"

/* Appends one frame with this payload. */
static void put(struct pv_bytes *out, const void *data, size_t len)
{
	int64_t start = pv_frame_begin(out);
	assert_true(start >= 0);
	assert_int_equal(pv_bytes_append(out, data, len), 0);
	assert_int_equal(pv_frame_end(out, start), 0);
}

static const char *const payloads[] = {"first", "", "x", "a longer payload than the others"};
#define PAYLOADS (sizeof(payloads) / sizeof(payloads[0]))

static void write_stream(struct pv_bytes *out)
{
	for (size_t i = 0; i < PAYLOADS; i++)
		put(out, payloads[i], strlen(payloads[i]));
}

/* Takes all whole frames and checks them against `payloads` from `*index` on. */
static void take_all(struct pv_frame_reader *reader, size_t *index)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	int status;
	while ((status = pv_frame_next(reader, &payload, &err)) == 1) {
		assert_true(*index < PAYLOADS);
		assert_int_equal(payload.len, strlen(payloads[*index]));
		assert_memory_equal(payload.data, payloads[*index], payload.len);
		(*index)++;
	}
	assert_int_equal(status, 0);
}

static void the_header_is_big_endian(void **state)
{
	struct pv_bytes out = {0};
	put(&out, "abc", 3);
	assert_int_equal(out.len, 7);
	assert_memory_equal(out.data, "\0\0\0\3abc", 7);
	pv_bytes_finish(&out);
}

static void a_stream_split_at_any_byte_gives_the_same_frames(void **state)
{
	struct pv_bytes out = {0};
	write_stream(&out);
	for (size_t split = 0; split <= out.len; split++) {
		struct pv_frame_reader reader = {0};
		size_t index = 0;
		assert_int_equal(pv_frame_feed(&reader, out.data, split), 0);
		take_all(&reader, &index);
		assert_int_equal(pv_frame_feed(&reader, out.data + split, out.len - split), 0);
		take_all(&reader, &index);
		assert_int_equal(index, PAYLOADS);
		assert_true(pv_frame_at_boundary(&reader));
		pv_frame_reader_finish(&reader);
	}
	pv_bytes_finish(&out);
}

static void byte_by_byte_tells_the_boundaries(void **state)
{
	struct pv_bytes out = {0};
	write_stream(&out);
	struct pv_frame_reader reader = {0};
	size_t index = 0, end = 0, frame = 0;
	assert_true(pv_frame_at_boundary(&reader));
	for (size_t i = 0; i < out.len; i++) {
		assert_int_equal(pv_frame_feed(&reader, out.data + i, 1), 0);
		take_all(&reader, &index);
		if (i + 1 == end + PV_FRAME_HEADER + strlen(payloads[frame])) {
			end = i + 1;
			frame++;
		}
		assert_int_equal(index, frame);
		assert_int_equal(pv_frame_at_boundary(&reader), end == i + 1);
	}
	pv_frame_reader_finish(&reader);
	pv_bytes_finish(&out);
}

static void frames_are_kept_while_more_arrives(void **state)
{
	struct pv_frame_reader reader = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	struct pv_bytes out = {0};
	uint32_t taken = 0;
	/* Two in, one out: the backlog grows and moves about. */
	for (uint32_t i = 0; i < 1000; i++) {
		out.len = 0;
		uint32_t a = 2 * i, b = 2 * i + 1;
		put(&out, &a, sizeof(a));
		put(&out, &b, sizeof(b));
		assert_int_equal(pv_frame_feed(&reader, out.data, out.len), 0);
		assert_int_equal(pv_frame_next(&reader, &payload, &err), 1);
		assert_int_equal(pv_le32(payload.data), taken++);
	}
	while (pv_frame_next(&reader, &payload, &err) == 1)
		assert_int_equal(pv_le32(payload.data), taken++);
	assert_int_equal(taken, 2000);
	pv_frame_reader_finish(&reader);
	pv_bytes_finish(&out);
}

static void too_large_a_frame_is_refused_at_its_header(void **state)
{
	struct pv_frame_reader reader = {.limit = 10};
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	assert_int_equal(pv_frame_feed(&reader, "\0\0\0\12abcdefghij", 14), 0);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), 1);
	assert_int_equal(payload.len, 10);
	assert_int_equal(pv_frame_feed(&reader, "\0\0\0\13", 4), 0);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), -EBADMSG);
	assert_int_equal(err.kind, PV_ERR_INPUT);
	/* And it stays so. */
	assert_int_equal(pv_frame_feed(&reader, "\0\0\0\1a", 5), 0);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), -EBADMSG);
	assert_false(pv_frame_at_boundary(&reader));
	pv_frame_reader_finish(&reader);
}

static void the_default_limit_is_frame_max(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	uint8_t header[4];
	struct pv_frame_reader reader = {0};
	pv_put_be32(header, PV_FRAME_MAX);
	assert_int_equal(pv_frame_feed(&reader, header, 4), 0);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), 0);
	/* Announced is not allocated. */
	assert_true(reader.in.capacity < 4096);
	pv_frame_reader_finish(&reader);
	pv_put_be32(header, PV_FRAME_MAX + 1);
	assert_int_equal(pv_frame_feed(&reader, header, 4), 0);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), -EBADMSG);
	pv_frame_reader_finish(&reader);
	assert_int_equal(pv_frame_feed(&reader, "\xff\xff\xff\xff", 4), 0);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), -EBADMSG);
	pv_frame_reader_finish(&reader);
	pv_frame_reader_finish(NULL);
}

static void a_payload_over_the_maximum_is_not_written(void **state)
{
	struct pv_bytes out = {0};
	put(&out, "keep", 4);
	size_t before = out.len;
	int64_t start = pv_frame_begin(&out);
	assert_int_equal(pv_bytes_reserve(&out, PV_FRAME_MAX + 1), 0);
	memset(out.data + out.len, 0, PV_FRAME_MAX + 1);
	out.len += PV_FRAME_MAX;
	assert_int_equal(pv_frame_end(&out, start), 0);
	assert_int_equal(pv_be32(out.data + start), PV_FRAME_MAX);
	out.len += 1;
	assert_int_equal(pv_frame_end(&out, start), -EMSGSIZE);
	assert_int_equal(out.len, before);
	pv_bytes_finish(&out);
}

static void a_drained_reader_gives_large_memory_back(void **state)
{
	struct pv_frame_reader reader = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	size_t size = 4u << 20;
	uint8_t *data = calloc(1, size);
	uint8_t header[4];
	pv_put_be32(header, (uint32_t)size);
	assert_int_equal(pv_frame_feed(&reader, header, 4), 0);
	assert_int_equal(pv_frame_feed(&reader, data, size), 0);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), 1);
	assert_int_equal(payload.len, size);
	assert_memory_equal(payload.data, data, size);
	assert_int_equal(pv_frame_next(&reader, &payload, &err), 0);
	assert_int_equal(reader.in.capacity, 0);
	free(data);
	pv_frame_reader_finish(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_header_is_big_endian),
	    cmocka_unit_test(a_stream_split_at_any_byte_gives_the_same_frames),
	    cmocka_unit_test(byte_by_byte_tells_the_boundaries),
	    cmocka_unit_test(frames_are_kept_while_more_arrives),
	    cmocka_unit_test(too_large_a_frame_is_refused_at_its_header),
	    cmocka_unit_test(the_default_limit_is_frame_max),
	    cmocka_unit_test(a_payload_over_the_maximum_is_not_written),
	    cmocka_unit_test(a_drained_reader_gives_large_memory_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
