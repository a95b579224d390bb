/*
 * Decompression: every format gives back what went in, keeps its limit, and says so when data is
 * cut short or damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "kernel_files.h"
#include "vmm/unpack.h"

#define MIB ((size_t)1 << 20)

static const char *name_of(unsigned i)
{
	return kernel_format_name(kernel_compressions[i]);
}

/* `len` bytes that compress somewhat. */
static void fill(struct pv_bytes *out, size_t len)
{
	assert_int_equal(pv_bytes_reserve(out, len), 0);
	uint32_t noise = 7;
	for (size_t i = 0; i < len; i++) {
		noise = noise * 1664525 + 1013904223;
		out->data[i] = i % 4 ? (uint8_t)(i >> 7) : (uint8_t)(noise >> 24);
	}
	out->len = len;
}

static void expect_round_trip(enum pv_kernel_format format, const struct pv_bytes *content)
{
	struct pv_bytes packed = {0}, out = {0};
	struct pv_err err = PV_ERR_INIT;
	make_packed(format, content->data, content->len, &packed);
	assert_int_equal(pv_bytes_append(&out, "kept", 4), 0);
	assert_int_equal(pv_unpack(format, packed.data, packed.len, content->len, &out, &err), 0);
	assert_int_equal(out.len, content->len + 4);
	assert_memory_equal(out.data, "kept", 4);
	if (content->len)
		assert_memory_equal(out.data + 4, content->data, content->len);
	pv_bytes_finish(&out);
	pv_bytes_finish(&packed);
}

static void every_format_comes_back(void **state)
{
	static const size_t sizes[] = {1, 100, 65536, 65537, 400000};
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			struct pv_bytes content = {0};
			fill(&content, sizes[j]);
			expect_round_trip(kernel_compressions[i], &content);
			pv_bytes_finish(&content);
		}
	}
}

static void legacy_lz4_of_several_blocks_comes_back(void **state)
{
	struct pv_bytes content = {0};
	fill(&content, 17 * MIB);
	expect_round_trip(PV_KERNEL_LZ4_LEGACY, &content);
	pv_bytes_finish(&content);
}

static void xz_with_the_filter_for_x86_comes_back(void **state)
{
	struct pv_bytes content = {0}, packed = {0}, out = {0};
	struct pv_err err = PV_ERR_INIT;
	fill(&content, 100000);
	compress_xz_like_linux(content.data, content.len, &packed);
	assert_int_equal(pv_unpack(PV_KERNEL_XZ, packed.data, packed.len, MIB, &out, &err), 0);
	assert_int_equal(out.len, content.len);
	assert_memory_equal(out.data, content.data, content.len);
	pv_bytes_finish(&out);
	pv_bytes_finish(&packed);
	pv_bytes_finish(&content);
}

static void what_follows_is_ignored(void **state)
{
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes packed = {0}, out = {0};
		struct pv_err err = PV_ERR_INIT;
		uint8_t size[4];
		pv_put_le32(size, 5000);
		struct pv_bytes content = {0};
		fill(&content, 5000);
		make_packed(kernel_compressions[i], content.data, content.len, &packed);
		/* As Linux's build appends it. */
		assert_int_equal(pv_bytes_append(&packed, size, sizeof(size)), 0);
		if (pv_unpack(kernel_compressions[i], packed.data, packed.len, MIB, &out, &err))
			fail_msg("%s: %s", name_of(i), err.text);
		assert_int_equal(out.len, 5000);
		pv_bytes_finish(&out);
		pv_bytes_finish(&packed);
		pv_bytes_finish(&content);
	}
}

static void the_limit_is_kept_to_the_byte(void **state)
{
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes content = {0}, packed = {0}, out = {0};
		struct pv_err err = PV_ERR_INIT;
		fill(&content, 70000);
		make_packed(kernel_compressions[i], content.data, content.len, &packed);
		assert_int_equal(
		    pv_unpack(kernel_compressions[i], packed.data, packed.len, 70000, &out, &err),
		    0);
		out.len = 0;
		assert_int_equal(
		    pv_unpack(kernel_compressions[i], packed.data, packed.len, 69999, &out, &err),
		    -EFBIG);
		assert_int_equal(err.kind, PV_ERR_LIMIT);
		out.len = 0;
		assert_int_equal(
		    pv_unpack(kernel_compressions[i], packed.data, packed.len, 0, &out, &err),
		    -EFBIG);
		pv_bytes_finish(&out);
		pv_bytes_finish(&packed);
		pv_bytes_finish(&content);
	}
}

static void a_bomb_costs_no_more_than_the_limit(void **state)
{
	struct pv_bytes zeros = {0};
	assert_int_equal(pv_bytes_reserve(&zeros, 20 * MIB), 0);
	memset(zeros.data, 0, 20 * MIB);
	zeros.len = 20 * MIB;
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes packed = {0}, out = {0};
		struct pv_err err = PV_ERR_INIT;
		make_packed(kernel_compressions[i], zeros.data, zeros.len, &packed);
		assert_int_equal(
		    pv_unpack(kernel_compressions[i], packed.data, packed.len, MIB, &out, &err),
		    -EFBIG);
		/* A block of legacy lz4 is 8 MiB, and the buffer doubles. */
		assert_in_range(out.capacity, 0, 16 * MIB);
		pv_bytes_finish(&out);
		pv_bytes_finish(&packed);
	}
	pv_bytes_finish(&zeros);
}

/* Unpacks a copy that ends where an address sanitizer sees a read behind it. Returns the status;
 * `out` has the result. */
static int unpack_exact(enum pv_kernel_format format, const uint8_t *data, size_t len,
    struct pv_bytes *out, struct pv_err *err)
{
	uint8_t *exact = test_malloc(len ? len : 1);
	if (len)
		memcpy(exact, data, len);
	out->len = 0;
	int status = pv_unpack(format, exact, len, MIB, out, err);
	test_free(exact);
	return status;
}

static void every_truncation_is_noticed(void **state)
{
	struct pv_bytes content = {0}, out = {0};
	fill(&content, 700);
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		const enum pv_kernel_format format = kernel_compressions[i];
		struct pv_bytes packed = {0};
		make_packed(format, content.data, content.len, &packed);
		for (size_t len = 0; len < packed.len; len++) {
			struct pv_err err = PV_ERR_INIT;
			int status = unpack_exact(format, packed.data, len, &out, &err);
			/* The magic alone is a whole file of legacy lz4, which has no end. */
			if (format == PV_KERNEL_LZ4_LEGACY && len == 4)
				assert_int_equal(out.len, 0);
			else if (status != -EBADMSG || !strstr(err.text, "get the file again"))
				fail_msg("%s cut to %zu bytes: %d `%s`", name_of(i), len, status,
				    err.text);
		}
		pv_bytes_finish(&packed);
	}
	pv_bytes_finish(&out);
	pv_bytes_finish(&content);
}

static void flipped_bytes_never_give_other_content_where_there_is_a_checksum(void **state)
{
	struct pv_bytes content = {0}, out = {0};
	fill(&content, 700);
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		const enum pv_kernel_format format = kernel_compressions[i];
		/* These two have none. */
		const bool checked = format != PV_KERNEL_LZ4_LEGACY && format != PV_KERNEL_LZMA;
		struct pv_bytes packed = {0};
		make_packed(format, content.data, content.len, &packed);
		for (size_t at = 0; at < packed.len * 2; at++) {
			struct pv_err err = PV_ERR_INIT;
			/* The dictionary size of lzma: up to 256 MiB are asked for. */
			const uint8_t flip = at % 2 ? 0xff : 0x01;
			packed.data[at / 2] ^= flip;
			int status = unpack_exact(format, packed.data, packed.len, &out, &err);
			packed.data[at / 2] ^= flip;
			if (status < 0)
				assert_string_not_equal(err.text, "");
			else if (checked && (out.len != content.len ||
						memcmp(out.data, content.data, content.len) != 0))
				fail_msg("%s: byte %zu flipped goes unnoticed", name_of(i), at / 2);
		}
		pv_bytes_finish(&packed);
	}
	pv_bytes_finish(&out);
	pv_bytes_finish(&content);
}

static void legacy_lz4_checks_the_size_behind_it(void **state)
{
	struct pv_bytes content = {0}, packed = {0}, out = {0};
	struct pv_err err = PV_ERR_INIT;
	uint8_t size[4];
	fill(&content, 700);
	make_packed(PV_KERNEL_LZ4_LEGACY, content.data, content.len, &packed);
	pv_put_le32(size, 701);
	assert_int_equal(pv_bytes_append(&packed, size, sizeof(size)), 0);
	assert_int_equal(
	    pv_unpack(PV_KERNEL_LZ4_LEGACY, packed.data, packed.len, MIB, &out, &err), -EBADMSG);
	pv_bytes_finish(&out);
	pv_bytes_finish(&packed);
	pv_bytes_finish(&content);
}

static void legacy_lz4_files_may_be_concatenated(void **state)
{
	struct pv_bytes packed = {0}, out = {0};
	struct pv_err err = PV_ERR_INIT;
	make_packed(PV_KERNEL_LZ4_LEGACY, "one ", 4, &packed);
	make_packed(PV_KERNEL_LZ4_LEGACY, "two", 3, &packed);
	assert_int_equal(
	    pv_unpack(PV_KERNEL_LZ4_LEGACY, packed.data, packed.len, MIB, &out, &err), 0);
	assert_int_equal(out.len, 7);
	assert_memory_equal(out.data, "one two", 7);
	pv_bytes_finish(&out);
	pv_bytes_finish(&packed);
}

static void other_formats_are_refused(void **state)
{
	static const enum pv_kernel_format others[] = {
	    PV_KERNEL_UNKNOWN, PV_KERNEL_BZIMAGE, PV_KERNEL_ELF, PV_KERNEL_SCRIPT, PV_KERNEL_PE};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct pv_bytes out = {0};
		struct pv_err err = PV_ERR_INIT;
		assert_int_equal(pv_unpack(others[i], "data", 4, MIB, &out, &err), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_format_comes_back),
	    cmocka_unit_test(legacy_lz4_of_several_blocks_comes_back),
	    cmocka_unit_test(xz_with_the_filter_for_x86_comes_back),
	    cmocka_unit_test(what_follows_is_ignored),
	    cmocka_unit_test(the_limit_is_kept_to_the_byte),
	    cmocka_unit_test(a_bomb_costs_no_more_than_the_limit),
	    cmocka_unit_test(every_truncation_is_noticed),
	    cmocka_unit_test(flipped_bytes_never_give_other_content_where_there_is_a_checksum),
	    cmocka_unit_test(legacy_lz4_checks_the_size_behind_it),
	    cmocka_unit_test(legacy_lz4_files_may_be_concatenated),
	    cmocka_unit_test(other_formats_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
