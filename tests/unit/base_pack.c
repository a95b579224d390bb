/*
 * msgpack: everything written is read back, and nothing hostile costs memory or is believed.
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
#include <sys/resource.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/pack.h"

/* Parses and expects success. */
static struct pv_doc *parsed(const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_doc *doc = NULL;
	if (pv_doc_parse(&doc, data, len, &err) != 0)
		fail_msg("%s", err.text);
	return doc;
}

/* Parses and expects -EBADMSG with a sentence and no document. */
static void refused(const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	/* An exact copy on the heap, so that the address sanitizer sees any read behind the end. */
	uint8_t *copy = malloc(len ? len : 1);
	memcpy(copy, data, len);
	struct pv_doc *doc = (struct pv_doc *)1;
	assert_int_equal(pv_doc_parse(&doc, copy, len, &err), -EBADMSG);
	assert_null(doc);
	assert_int_equal(err.kind, PV_ERR_INPUT);
	assert_true(err.text[0] != '\0');
	free(copy);
}

static const int64_t ints[] = {0, 1, 127, 128, 255, 256, 65535, 65536, INT32_MAX, UINT32_MAX,
    INT64_C(1) << 32, INT64_MAX, -1, -32, -33, -128, -129, -32768, -32769, INT32_MIN,
    INT64_C(-2147483649), INT64_MIN};
#define INTS (sizeof(ints) / sizeof(ints[0]))

static void integers_round_trip(void **state)
{
	struct pv_bytes out = {0};
	struct pv_pack pack = {.out = &out};
	pv_pack_array(&pack, INTS);
	for (size_t i = 0; i < INTS; i++)
		pv_pack_int(&pack, ints[i]);
	assert_int_equal(pack.status, 0);
	struct pv_doc *doc = parsed(out.data, out.len);
	const struct pv_val *root = pv_doc_root(doc);
	assert_int_equal(pv_val_count(root), INTS);
	for (size_t i = 0; i < INTS; i++) {
		const struct pv_val *val = pv_val_at(root, (uint32_t)i);
		int64_t back = 42;
		uint64_t unsigned_back = 42;
		assert_int_equal(pv_val_type(val), PV_VAL_INT);
		assert_true(pv_val_int(val, &back) && back == ints[i]);
		assert_int_equal(pv_val_uint(val, &unsigned_back), ints[i] >= 0);
		assert_true(unsigned_back == (ints[i] >= 0 ? (uint64_t)ints[i] : 42));
	}
	pv_doc_destroy(doc);
	pv_bytes_finish(&out);
}

static void large_unsigned_integers_have_their_own_type(void **state)
{
	struct pv_bytes out = {0};
	struct pv_pack pack = {.out = &out};
	pv_pack_uint(&pack, UINT64_MAX);
	struct pv_doc *doc = parsed(out.data, out.len);
	const struct pv_val *root = pv_doc_root(doc);
	int64_t small = 42;
	uint64_t large = 0;
	double number = 0;
	assert_int_equal(pv_val_type(root), PV_VAL_UINT);
	assert_false(pv_val_int(root, &small));
	assert_true(small == 42);
	assert_true(pv_val_uint(root, &large) && large == UINT64_MAX);
	assert_true(pv_val_float(root, &number) && number == 18446744073709551616.0);
	pv_doc_destroy(doc);
	pv_bytes_finish(&out);
}

static void floats_and_booleans_and_nil_round_trip(void **state)
{
	struct pv_bytes out = {0};
	struct pv_pack pack = {.out = &out};
	pv_pack_array(&pack, 7);
	pv_pack_float(&pack, -1.25);
	pv_pack_float(&pack, INFINITY);
	pv_pack_float(&pack, NAN);
	pv_pack_bool(&pack, true);
	pv_pack_bool(&pack, false);
	pv_pack_nil(&pack);
	pv_pack_str(&pack, NULL);
	struct pv_doc *doc = parsed(out.data, out.len);
	const struct pv_val *root = pv_doc_root(doc);
	double number = 0;
	bool flag = false;
	assert_int_equal(pv_val_type(pv_val_at(root, 0)), PV_VAL_FLOAT);
	assert_true(pv_val_float(pv_val_at(root, 0), &number) && number == -1.25);
	assert_true(pv_val_float(pv_val_at(root, 1), &number) && isinf(number));
	assert_true(pv_val_float(pv_val_at(root, 2), &number) && isnan(number));
	assert_true(pv_val_bool(pv_val_at(root, 3), &flag) && flag);
	assert_true(pv_val_bool(pv_val_at(root, 4), &flag) && !flag);
	assert_int_equal(pv_val_type(pv_val_at(root, 5)), PV_VAL_NIL);
	assert_int_equal(pv_val_type(pv_val_at(root, 6)), PV_VAL_NIL);
	pv_doc_destroy(doc);
	pv_bytes_finish(&out);
	/* Others write 32-bit floats. */
	doc = parsed("\xca\x3f\xc0\x00\x00", 5);
	assert_true(pv_val_float(pv_doc_root(doc), &number) && number == 1.5);
	pv_doc_destroy(doc);
}

/* One string or binary of each header width, checked to point into the input. */
static void check_blob(size_t len, bool text)
{
	struct pv_bytes out = {0};
	struct pv_pack pack = {.out = &out};
	uint8_t *data = malloc(len ? len : 1);
	memset(data, 'q', len);
	if (text)
		pv_pack_strn(&pack, (const char *)data, len);
	else
		pv_pack_bin(&pack, data, len);
	struct pv_doc *doc = parsed(out.data, out.len);
	const struct pv_val *root = pv_doc_root(doc);
	const char *str = NULL;
	const void *bytes = NULL;
	size_t got = 42;
	assert_int_equal(pv_val_type(root), text ? PV_VAL_STR : PV_VAL_BIN);
	assert_int_equal(pv_val_str(root, &str, &got), text);
	assert_int_equal(got, text ? len : 42);
	assert_true(pv_val_bytes(root, &bytes, &got));
	assert_int_equal(got, len);
	if (len > 0)
		assert_ptr_equal(bytes, out.data + out.len - len);
	assert_non_null(bytes);
	assert_memory_equal(bytes, data, len);
	pv_doc_destroy(doc);
	free(data);
	pv_bytes_finish(&out);
}

static void strings_and_binaries_point_into_the_input(void **state)
{
	static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 100000};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		check_blob(lengths[i], true);
		check_blob(lengths[i], false);
	}
}

/* {"name": "a", "list": [1, [], {}], "name": "b", 7: nil} */
static void write_sample(struct pv_bytes *out)
{
	struct pv_pack pack = {.out = out};
	pv_pack_map(&pack, 4);
	pv_pack_str(&pack, "name");
	pv_pack_str(&pack, "a");
	pv_pack_str(&pack, "list");
	pv_pack_array(&pack, 3);
	pv_pack_int(&pack, 1);
	pv_pack_array(&pack, 0);
	pv_pack_map(&pack, 0);
	pv_pack_str(&pack, "name");
	pv_pack_str(&pack, "b");
	pv_pack_int(&pack, 7);
	pv_pack_nil(&pack);
	assert_int_equal(pack.status, 0);
}

static void maps_are_looked_up_by_key_and_by_index(void **state)
{
	struct pv_bytes out = {0};
	write_sample(&out);
	struct pv_doc *doc = parsed(out.data, out.len);
	const struct pv_val *root = pv_doc_root(doc);
	const char *text = NULL;
	size_t len = 0;
	int64_t number = 0;
	assert_int_equal(pv_val_type(root), PV_VAL_MAP);
	assert_int_equal(pv_val_count(root), 4);
	assert_true(pv_val_str(pv_val_get(root, "name"), &text, &len));
	assert_int_equal(len, 1);
	assert_int_equal(text[0], 'a');
	assert_true(pv_val_str(pv_val_value_at(root, 2), &text, &len) && text[0] == 'b');
	assert_true(pv_val_int(pv_val_key_at(root, 3), &number) && number == 7);
	assert_null(pv_val_get(root, "nam"));
	assert_null(pv_val_get(root, "names"));
	assert_null(pv_val_get(root, ""));
	assert_null(pv_val_key_at(root, 4));
	assert_null(pv_val_value_at(root, 4));
	const struct pv_val *list = pv_val_get(root, "list");
	assert_int_equal(pv_val_count(list), 3);
	assert_int_equal(pv_val_type(pv_val_at(list, 1)), PV_VAL_ARRAY);
	assert_int_equal(pv_val_count(pv_val_at(list, 1)), 0);
	assert_int_equal(pv_val_type(pv_val_at(list, 2)), PV_VAL_MAP);
	assert_null(pv_val_at(list, 3));
	assert_null(pv_val_at(list, UINT32_MAX));
	/* The wrong kind of container answers like nothing. */
	assert_null(pv_val_at(root, 0));
	assert_null(pv_val_get(list, "name"));
	assert_null(pv_val_key_at(list, 0));
	pv_doc_destroy(doc);
	pv_bytes_finish(&out);
}

static void what_is_not_there_answers_politely(void **state)
{
	bool flag = true;
	int64_t number = 42;
	uint64_t large = 42;
	double real = 42;
	const char *text = "x";
	const void *data = "x";
	size_t len = 42;
	assert_int_equal(pv_val_type(NULL), PV_VAL_NONE);
	assert_false(pv_val_bool(NULL, &flag));
	assert_false(pv_val_int(NULL, &number));
	assert_false(pv_val_uint(NULL, &large));
	assert_false(pv_val_float(NULL, &real));
	assert_false(pv_val_str(NULL, &text, &len));
	assert_false(pv_val_bytes(NULL, &data, &len));
	assert_int_equal(pv_val_count(NULL), 0);
	assert_null(pv_val_at(NULL, 0));
	assert_null(pv_val_get(NULL, "x"));
	assert_null(pv_val_key_at(NULL, 0));
	assert_null(pv_val_value_at(NULL, 0));
	assert_null(pv_doc_root(NULL));
	pv_doc_destroy(NULL);
	assert_true(flag && number == 42 && large == 42 && real == 42 && len == 42);
}

static void extensions_are_seen_and_skipped(void **state)
{
	/* [fixext1, ext8 of 3, 5] */
	struct pv_doc *doc = parsed("\x93\xd4\x01\xaa\xc7\x03\x02\x01\x02\x03\x05", 11);
	const struct pv_val *root = pv_doc_root(doc);
	int64_t number = 0;
	assert_int_equal(pv_val_type(pv_val_at(root, 0)), PV_VAL_EXT);
	assert_int_equal(pv_val_type(pv_val_at(root, 1)), PV_VAL_EXT);
	assert_true(pv_val_int(pv_val_at(root, 2), &number) && number == 5);
	pv_doc_destroy(doc);
}

/* `depth` arrays inside each other, the innermost empty. */
static size_t nest(uint8_t *data, unsigned depth)
{
	memset(data, 0x91, depth);
	data[depth - 1] = 0x90;
	return depth;
}

static void nesting_ends_at_32(void **state)
{
	static uint8_t data[100000];
	pv_doc_destroy(parsed(data, nest(data, 1)));
	pv_doc_destroy(parsed(data, nest(data, 32)));
	refused(data, nest(data, 33));
	refused(data, nest(data, sizeof(data)));
	/* Maps whose values are maps, cut off and deep. */
	for (size_t i = 0; i + 1 < sizeof(data); i += 2)
		memcpy(data + i, "\x81\x01", 2);
	refused(data, sizeof(data));
	/* 32 arrays around a value, and each level has a sibling behind it. */
	memset(data, 0x92, 32);
	memset(data + 32, 0x01, 33);
	pv_doc_destroy(parsed(data, 65));
}

static void huge_counts_cost_nothing(void **state)
{
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	refused("\xdd\xff\xff\xff\xff", 5);
	refused("\xdf\xff\xff\xff\xff", 5);
	refused("\xdd\xff\xff\xff\xff\x01\x01\x01", 8);
	refused("\xdc\xff\xff", 3);
	refused("\xde\x80\x00", 3);
	refused("\xdb\xff\xff\xff\xff", 5);
	refused("\xc6\xff\xff\xff\xff", 5);
	refused("\xc9\xff\xff\xff\xff\x01", 6);
	/* Many levels that each announce what is left of the input. */
	static uint8_t data[32 * 5 + 1000];
	for (unsigned i = 0; i < 32; i++)
		memcpy(data + 5 * i, "\xdd\x00\x00\x03\xe8", 5);
	refused(data, sizeof(data));
	getrusage(RUSAGE_SELF, &after);
	/* kilobytes; one of the counts above would have been gigabytes */
	assert_true(after.ru_maxrss - before.ru_maxrss < 64 * 1024);
}

static void every_truncation_is_refused(void **state)
{
	struct pv_bytes out = {0};
	struct pv_pack pack = {.out = &out};
	uint8_t blob[300] = {0};
	pv_pack_array(&pack, 17);
	write_sample(&out);
	for (unsigned i = 0; i < 8; i++)
		pv_pack_int(&pack, ints[i]);
	pv_pack_int(&pack, INT64_MIN);
	pv_pack_float(&pack, 1.5);
	pv_pack_uint(&pack, UINT64_MAX);
	pv_pack_bin(&pack, blob, 40);
	pv_pack_bin(&pack, blob, sizeof(blob));
	pv_pack_strn(&pack, (const char *)blob, 40);
	pv_pack_strn(&pack, (const char *)blob, sizeof(blob));
	pv_pack_bool(&pack, true);
	assert_int_equal(pack.status, 0);
	pv_doc_destroy(parsed(out.data, out.len));
	for (size_t len = 0; len < out.len; len++)
		refused(out.data, len);
	/* One byte too many is wrong as well. */
	pv_bytes_append(&out, "\xc0", 1);
	refused(out.data, out.len);
	pv_bytes_finish(&out);
}

/* `tag`, then as many zeros as asked for. */
static int parse_zeros(uint8_t tag, size_t zeros)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_doc *doc = NULL;
	uint8_t *data = calloc(1, 1 + zeros);
	data[0] = tag;
	int status = pv_doc_parse(&doc, data, 1 + zeros, &err);
	pv_doc_destroy(doc);
	free(data);
	return status;
}

static void every_tag_has_the_length_of_the_specification(void **state)
{
	for (unsigned tag = 0; tag < 256; tag++) {
		static const uint8_t above[] = {
		    /* c0 nil, never used, false, true, bin, ext, float */
		    0, 255, 0, 0, 1, 2, 4, 2, 3, 5, 4, 8,
		    /* cc uint, int, fixext, str, array, map */
		    1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17, 1, 2, 4, 2, 4, 2, 4};
		size_t want = tag < 0x80 || tag >= 0xe0 ? 0
			      : tag < 0x90		? 2 * (tag & 15)
			      : tag < 0xa0		? (tag & 15)
			      : tag < 0xc0		? (tag & 31)
							: above[tag - 0xc0];
		for (size_t zeros = 0; zeros < 40; zeros++) {
			int status = parse_zeros((uint8_t)tag, zeros);
			if (status != (zeros == want ? 0 : -EBADMSG))
				fail_msg("tag %02x with %zu bytes: %d", tag, zeros, status);
		}
	}
}

static void the_first_failure_of_a_writer_sticks(void **state)
{
	struct pv_bytes out = {0};
	struct pv_pack pack = {.out = &out};
	pv_pack_int(&pack, 1);
	/* Longer than any string of msgpack: fails before the text is touched. */
	pv_pack_strn(&pack, "x", (size_t)UINT32_MAX + 1);
	assert_int_equal(pack.status, -ENOMEM);
	pv_pack_int(&pack, 2);
	pv_pack_bin(&pack, "x", 1);
	assert_int_equal(out.len, 1);
	assert_int_equal(pack.status, -ENOMEM);
	pv_bytes_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_round_trip),
	    cmocka_unit_test(large_unsigned_integers_have_their_own_type),
	    cmocka_unit_test(floats_and_booleans_and_nil_round_trip),
	    cmocka_unit_test(strings_and_binaries_point_into_the_input),
	    cmocka_unit_test(maps_are_looked_up_by_key_and_by_index),
	    cmocka_unit_test(what_is_not_there_answers_politely),
	    cmocka_unit_test(extensions_are_seen_and_skipped),
	    cmocka_unit_test(nesting_ends_at_32),
	    cmocka_unit_test(huge_counts_cost_nothing),
	    cmocka_unit_test(every_truncation_is_refused),
	    cmocka_unit_test(every_tag_has_the_length_of_the_specification),
	    cmocka_unit_test(the_first_failure_of_a_writer_sticks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
