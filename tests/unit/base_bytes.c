/*
 * The byte buffer and the integers in plain memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"

static void a_zeroed_buffer_is_empty_and_usable(void **state)
{
	struct pv_bytes bytes = {0};
	pv_bytes_consume(&bytes, 10);
	assert_int_equal(pv_bytes_append(&bytes, NULL, 0), 0);
	assert_int_equal(bytes.len, 0);
	assert_string_equal(pv_bytes_text(&bytes), "");
	pv_bytes_finish(&bytes);
	pv_bytes_finish(&bytes);
	pv_bytes_finish(NULL);
}

static void appended_pieces_come_out_in_order(void **state)
{
	struct pv_bytes bytes = {0};
	for (int i = 0; i < 100000; i++) {
		uint8_t byte = (uint8_t)(i * 7);
		assert_int_equal(pv_bytes_append(&bytes, &byte, 1), 0);
	}
	assert_int_equal(bytes.len, 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(bytes.data[i], (uint8_t)(i * 7));
	pv_bytes_finish(&bytes);
	assert_null(bytes.data);
}

static void printf_appends_without_counting_the_nul(void **state)
{
	struct pv_bytes bytes = {0};
	char longer[500];
	memset(longer, 'z', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(pv_bytes_printf(&bytes, "%d-%s", 12, "ab"), 0);
	assert_int_equal(bytes.len, 5);
	assert_int_equal(pv_bytes_printf(&bytes, "%s", ""), 0);
	assert_int_equal(pv_bytes_printf(&bytes, "%s", longer), 0);
	assert_int_equal(bytes.len, 5 + 499);
	assert_memory_equal(pv_bytes_text(&bytes), "12-abzzz", 8);
	assert_int_equal(strlen(pv_bytes_text(&bytes)), 504);
	pv_bytes_finish(&bytes);
}

static void consume_removes_at_the_front(void **state)
{
	struct pv_bytes bytes = {0};
	pv_bytes_append(&bytes, "abcdef", 6);
	pv_bytes_consume(&bytes, 0);
	pv_bytes_consume(&bytes, 2);
	assert_string_equal(pv_bytes_text(&bytes), "cdef");
	pv_bytes_consume(&bytes, 400);
	assert_int_equal(bytes.len, 0);
	pv_bytes_finish(&bytes);
}

static void an_impossible_size_fails_and_keeps_the_content(void **state)
{
	struct pv_bytes bytes = {0};
	pv_bytes_append(&bytes, "abc", 3);
	assert_int_equal(pv_bytes_reserve(&bytes, SIZE_MAX), -ENOMEM);
	assert_int_equal(pv_bytes_reserve(&bytes, SIZE_MAX - 3), -ENOMEM);
	assert_string_equal(pv_bytes_text(&bytes), "abc");
	pv_bytes_finish(&bytes);
}

static void reserve_makes_room_without_changing_the_length(void **state)
{
	struct pv_bytes bytes = {0};
	assert_int_equal(pv_bytes_reserve(&bytes, 1000), 0);
	assert_true(bytes.capacity >= 1000);
	assert_int_equal(bytes.len, 0);
	const uint8_t *before = bytes.data;
	memset(bytes.data, 1, 1000);
	bytes.len = 1000;
	assert_int_equal(pv_bytes_reserve(&bytes, bytes.capacity - 1000), 0);
	assert_ptr_equal(bytes.data, before);
	pv_bytes_finish(&bytes);
}

static void a_large_buffer_keeps_its_content_while_it_grows(void **state)
{
	enum { PIECE = 100003, PIECES = 400 };
	struct pv_bytes bytes = {0};
	uint8_t *piece = malloc(PIECE);
	assert_non_null(piece);
	for (int i = 0; i < PIECES; i++) {
		memset(piece, i & 0xff, PIECE);
		assert_int_equal(pv_bytes_append(&bytes, piece, PIECE), 0);
	}
	assert_int_equal(bytes.len, (size_t)PIECE * PIECES);
	for (int i = 0; i < PIECES; i++) {
		memset(piece, i & 0xff, PIECE);
		assert_memory_equal(bytes.data + (size_t)i * PIECE, piece, PIECE);
	}
	free(piece);
	pv_bytes_finish(&bytes);
}

static void integers_have_their_byte_order_at_odd_addresses(void **state)
{
	uint8_t at[16] = {0};
	pv_put_le16(at + 1, 0x0102);
	assert_memory_equal(at + 1, "\x02\x01", 2);
	assert_int_equal(pv_le16(at + 1), 0x0102);
	pv_put_le32(at + 1, 0x01020304);
	assert_memory_equal(at + 1, "\x04\x03\x02\x01", 4);
	assert_int_equal(pv_le32(at + 1), 0x01020304);
	pv_put_le64(at + 1, UINT64_C(0x0102030405060708));
	assert_memory_equal(at + 1, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
	assert_true(pv_le64(at + 1) == UINT64_C(0x0102030405060708));
	pv_put_be32(at + 1, 0x01020304);
	assert_memory_equal(at + 1, "\x01\x02\x03\x04", 4);
	assert_int_equal(pv_be32(at + 1), 0x01020304);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_zeroed_buffer_is_empty_and_usable),
	    cmocka_unit_test(appended_pieces_come_out_in_order),
	    cmocka_unit_test(printf_appends_without_counting_the_nul),
	    cmocka_unit_test(consume_removes_at_the_front),
	    cmocka_unit_test(an_impossible_size_fails_and_keeps_the_content),
	    cmocka_unit_test(reserve_makes_room_without_changing_the_length),
	    cmocka_unit_test(a_large_buffer_keeps_its_content_while_it_grows),
	    cmocka_unit_test(integers_have_their_byte_order_at_odd_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
