/*
 * Kernel files as they come: sniffing, unwrapping, loading, and what is said about files that are
 * no kernels.
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
#include "base/gmem.h"
#include "kernel_files.h"
#include "vmm/kernel.h"
#include "vmm/zero_page.h"

#define MIB (UINT64_C(1) << 20)

static struct pv_kernel *parse(const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	if (pv_kernel_parse(&kernel, data, len, "k", &err) < 0)
		fail_msg("%s", err.text);
	return kernel;
}

static void expect_refused(const void *data, size_t len, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	int status = pv_kernel_parse(&kernel, data, len, "k", &err);
	if (status == 0)
		fail_msg("taken, where `%s` was expected", text);
	assert_int_equal(status, -err.code);
	assert_memory_equal(err.text, "kernel `k`: ", 12);
	if (!strstr(err.text, text))
		fail_msg("`%s` is not in `%s`", text, err.text);
}

/* The kernel's image is the tiny ELF file. */
static void expect_tiny(const struct pv_kernel *kernel)
{
	struct pv_bytes elf = {0};
	make_tiny_elf(&elf);
	assert_in_range(kernel->image_size, elf.len, SIZE_MAX);
	assert_memory_equal(kernel->image, elf.data, elf.len);
	assert_int_equal(kernel->segment_count, 2);
	assert_int_equal(kernel->entry64, TINY_CODE_GPA);
	pv_bytes_finish(&elf);
}

static void formats_are_told_by_their_first_bytes(void **state)
{
	struct pv_bytes file = {0};
	make_tiny_elf(&file);
	assert_int_equal(pv_kernel_sniff(file.data, file.len), PV_KERNEL_ELF);
	pv_bytes_finish(&file);
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		make_packed(kernel_compressions[i], "content", 7, &file);
		assert_int_equal(pv_kernel_sniff(file.data, file.len), kernel_compressions[i]);
		pv_bytes_finish(&file);
	}
	make_tiny_bzimage(PV_KERNEL_ZSTD, &file);
	/* It begins as a PE file does, too. */
	assert_memory_equal(file.data, "MZ", 2);
	assert_int_equal(pv_kernel_sniff(file.data, file.len), PV_KERNEL_BZIMAGE);
	assert_int_equal(pv_kernel_sniff(file.data, 0x205), PV_KERNEL_PE);
	pv_bytes_finish(&file);
	uint8_t arm64[64] = "MZ";
	assert_int_equal(pv_kernel_sniff(arm64, sizeof(arm64)), PV_KERNEL_PE);
	memcpy(arm64 + 0x38, "ARM\x64", 4);
	assert_int_equal(pv_kernel_sniff(arm64, sizeof(arm64)), PV_KERNEL_ARM64_IMAGE);
	assert_int_equal(pv_kernel_sniff("#!/bin/sh\n", 10), PV_KERNEL_SCRIPT);
	assert_int_equal(pv_kernel_sniff("<!DOCTYPE html>", 15), PV_KERNEL_SCRIPT);
	assert_int_equal(pv_kernel_sniff("\1\2\3\4", 4), PV_KERNEL_UNKNOWN);
	assert_int_equal(pv_kernel_sniff("", 0), PV_KERNEL_UNKNOWN);
	assert_int_equal(pv_kernel_sniff(NULL, 0), PV_KERNEL_UNKNOWN);
}

static void a_bzimage_in_every_compression_gives_its_vmlinux(void **state)
{
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes file = {0};
		make_tiny_bzimage(kernel_compressions[i], &file);
		struct pv_kernel *kernel = parse(file.data, file.len);
		expect_tiny(kernel);
		assert_int_equal(kernel->cmdline_max, 2047);
		assert_int_equal(kernel->header_size, 0x26c - 0x1f1);
		assert_memory_equal(
		    kernel->header, file.data + ZERO_PAGE_SETUP_SECTS, kernel->header_size);
		pv_kernel_destroy(kernel);
		pv_bytes_finish(&file);
	}
}

static void a_payload_may_be_a_plain_vmlinux(void **state)
{
	struct pv_bytes elf = {0}, file = {0};
	make_tiny_elf(&elf);
	make_bzimage(elf.data, elf.len, (uint32_t)elf.len, &file);
	struct pv_kernel *kernel = parse(file.data, file.len);
	expect_tiny(kernel);
	pv_kernel_destroy(kernel);
	pv_bytes_finish(&file);
	pv_bytes_finish(&elf);
}

static void a_compressed_vmlinux_is_taken(void **state)
{
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes elf = {0}, file = {0};
		make_tiny_elf(&elf);
		make_packed(kernel_compressions[i], elf.data, elf.len, &file);
		struct pv_kernel *kernel = parse(file.data, file.len);
		expect_tiny(kernel);
		assert_int_equal(kernel->header_size, 0);
		pv_kernel_destroy(kernel);
		pv_bytes_finish(&file);
		pv_bytes_finish(&elf);
	}
}

static void wrappings_are_taken_off_up_to_three(void **state)
{
	struct pv_bytes file = {0};
	make_tiny_bzimage(PV_KERNEL_XZ, &file);
	for (int depth = 0; depth < 4; depth++) {
		struct pv_bytes wrapped = {0};
		if (depth <= 2) {
			struct pv_kernel *kernel = parse(file.data, file.len);
			expect_tiny(kernel);
			assert_int_not_equal(kernel->header_size, 0);
			pv_kernel_destroy(kernel);
		} else {
			expect_refused(file.data, file.len, "packed more than 3 times over");
		}
		make_packed(PV_KERNEL_GZIP, file.data, file.len, &wrapped);
		pv_bytes_finish(&file);
		file = wrapped;
	}
	pv_bytes_finish(&file);
}

/* --- refusals --- */

struct refusal {
	size_t len;
	const char *bytes;
	const char *text;
};

#define BEGINS(bytes, text)                    \
	{                                      \
		sizeof(bytes) - 1, bytes, text \
	}

static void files_that_are_no_kernels_are_named(void **state)
{
	static const struct refusal refusals[] = {
	    BEGINS("", "the file is empty"),
	    BEGINS("#!/bin/sh\necho hello\n", "text file"),
	    BEGINS("<html><body>404</body></html>", "text file"),
	    BEGINS("070701000000000000", "cpio archive"),
	    BEGINS("QFI\xfb\0\0\0\3", "qcow2"),
	    BEGINS("!<arch>\ndebian-binary   ", "Debian package"),
	    BEGINS("\xd0\x0d\xfe\xed\0\0", "device tree"),
	    BEGINS("\0\0\0\0\0\0\0", "nothing but zeros"),
	    BEGINS("\x90\x01\x02", "begins with bytes 90 01 02 00"),
	    BEGINS("MZ\x90\0\3\0\0\0", "EFI program"),
	    BEGINS("MZ\0\0zimg\0\0\0\0", "EFI zboot"),
	};
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		expect_refused(refusals[i].bytes, refusals[i].len, refusals[i].text);
		expect_refused(refusals[i].bytes, refusals[i].len,
		    "give a bzImage or an ELF vmlinux for x86-64");
	}
}

static void larger_files_that_are_no_kernels_are_named(void **state)
{
	uint8_t file[2048] = {1};
	memcpy(file + 0x38, "ARM\x64", 4);
	expect_refused(file, sizeof(file), "kernel Image for arm64");
	memset(file + 0x38, 0, 4);
	memcpy(file + 0x438, "\x53\xef", 2);
	expect_refused(file, sizeof(file), "ext2, ext3 or ext4");
	memcpy(file + 0x1fe, "\x55\xaa", 2);
	expect_refused(file, sizeof(file), "disk image or boot sector");
}

static void what_is_inside_is_named_too(void **state)
{
	struct pv_bytes file = {0};
	make_packed(PV_KERNEL_GZIP, "070701000000", 12, &file);
	expect_refused(file.data, file.len, "unpacked: this is a cpio archive");
	pv_bytes_finish(&file);
	make_packed(PV_KERNEL_ZSTD, "", 0, &file);
	expect_refused(file.data, file.len, "unpacked: the file is empty");
	pv_bytes_finish(&file);
	make_bzimage("\x89LZO\0\r\n\x1a\n", 9, 0, &file);
	expect_refused(
	    file.data, file.len, "the payload of this bzImage: this is data compressed by LZO");
	pv_bytes_finish(&file);
}

static void unusable_bzimages_are_explained(void **state)
{
	struct pv_bytes file = {0};
	make_tiny_bzimage(PV_KERNEL_GZIP, &file);
	pv_put_le16(file.data + ZERO_PAGE_VERSION, 0x0207);
	expect_refused(file.data, file.len, "boot protocol 2.07");
	pv_put_le16(file.data + ZERO_PAGE_VERSION, 0x020f);
	pv_put_le16(file.data + ZERO_PAGE_XLOADFLAGS, 0);
	expect_refused(file.data, file.len, "32-bit x86 kernel");
	pv_put_le16(file.data + ZERO_PAGE_XLOADFLAGS, XLF_KERNEL_64);
	file.data[ZERO_PAGE_LOADFLAGS] = 0;
	expect_refused(file.data, file.len, "zImage");
	file.data[ZERO_PAGE_LOADFLAGS] = LOADED_HIGH;
	pv_put_le32(file.data + ZERO_PAGE_PAYLOAD_LENGTH, 3);
	expect_refused(file.data, file.len, "compressed kernel has 3 bytes");
	pv_put_le32(file.data + ZERO_PAGE_PAYLOAD_LENGTH, UINT32_MAX);
	pv_put_le32(file.data + ZERO_PAGE_PAYLOAD_OFFSET, UINT32_MAX);
	expect_refused(file.data, file.len, "cut short");
	pv_bytes_finish(&file);
}

static void a_wrong_size_behind_the_payload_is_noticed(void **state)
{
	struct pv_bytes elf = {0}, packed = {0}, file = {0};
	make_tiny_elf(&elf);
	make_packed(PV_KERNEL_ZSTD, elf.data, elf.len, &packed);
	make_bzimage(packed.data, packed.len, (uint32_t)elf.len + 1, &file);
	expect_refused(file.data, file.len, "are announced; the file is damaged");
	pv_bytes_finish(&file);
	pv_bytes_finish(&packed);
	pv_bytes_finish(&elf);
}

static void no_old_header_field_is_believed(void **state)
{
	struct pv_bytes file = {0};
	make_tiny_bzimage(PV_KERNEL_GZIP, &file);
	/* setup_sects 0 means 4. */
	file.data[ZERO_PAGE_SETUP_SECTS] = 0;
	expect_refused(file.data, file.len, "");
	file.data[ZERO_PAGE_SETUP_SECTS] = 1;
	/* A header that claims to end far behind is kept as far as the zero page has room for it.
	 */
	file.data[ZERO_PAGE_JUMP + 1] = 0xff;
	pv_put_le32(file.data + ZERO_PAGE_CMDLINE_SIZE, UINT32_MAX);
	struct pv_kernel *kernel = parse(file.data, file.len);
	assert_int_equal(kernel->header_size, PV_KERNEL_HEADER_MAX);
	assert_int_equal(kernel->cmdline_max, 4095);
	pv_kernel_destroy(kernel);
	pv_bytes_finish(&file);
}

static void every_truncation_of_a_bzimage_is_refused(void **state)
{
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes file = {0};
		make_tiny_bzimage(kernel_compressions[i], &file);
		const size_t padding = 32;
		for (size_t len = 0; len < file.len - padding; len++) {
			struct pv_err err = PV_ERR_INIT;
			struct pv_kernel *kernel = NULL;
			uint8_t *cut = test_malloc(len ? len : 1);
			memcpy(cut, file.data, len);
			if (pv_kernel_parse(&kernel, cut, len, "k", &err) == 0)
				fail_msg("%s cut to %zu bytes is taken",
				    kernel_format_name(kernel_compressions[i]), len);
			test_free(cut);
		}
		pv_bytes_finish(&file);
	}
}

/* The payload says that it is shorter than it is. */
static void every_truncation_of_a_payload_is_refused(void **state)
{
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes file = {0};
		make_tiny_bzimage(kernel_compressions[i], &file);
		const uint32_t whole = pv_le32(file.data + ZERO_PAGE_PAYLOAD_LENGTH);
		for (uint32_t len = 0; len < whole; len++) {
			struct pv_err err = PV_ERR_INIT;
			struct pv_kernel *kernel = NULL;
			pv_put_le32(file.data + ZERO_PAGE_PAYLOAD_LENGTH, len);
			if (pv_kernel_parse(&kernel, file.data, file.len, "k", &err) == 0)
				fail_msg("%s payload cut to %u bytes is taken",
				    kernel_format_name(kernel_compressions[i]), len);
		}
		pv_bytes_finish(&file);
	}
}

static void flipped_bytes_of_a_bzimage_do_no_harm(void **state)
{
	for (unsigned i = 0; i < kernel_compression_count; i++) {
		struct pv_bytes file = {0};
		make_tiny_bzimage(kernel_compressions[i], &file);
		for (size_t at = 0; at < file.len; at++) {
			struct pv_err err = PV_ERR_INIT;
			struct pv_kernel *kernel = NULL;
			file.data[at] ^= 0xff;
			if (pv_kernel_parse(&kernel, file.data, file.len, "k", &err) < 0)
				assert_memory_equal(err.text, "kernel `k`: ", 12);
			pv_kernel_destroy(kernel);
			file.data[at] ^= 0xff;
		}
		pv_bytes_finish(&file);
	}
}

/* --- loading --- */

static void segments_are_placed(void **state)
{
	struct pv_bytes elf = {0};
	struct pv_err err = PV_ERR_INIT;
	make_tiny_elf(&elf);
	struct pv_kernel *kernel = parse(elf.data, elf.len);
	struct pv_gmem mem = {0};
	uint8_t *ram = calloc(1, 20 * MIB);
	assert_int_equal(pv_gmem_add(&mem, 0, 20 * MIB, ram), 0);
	assert_int_equal(pv_kernel_load(kernel, &mem, &err), 0);
	assert_memory_equal(
	    ram + TINY_CODE_GPA, elf.data + elf_segment(&elf, 0)->p_offset, TINY_CODE_SIZE);
	assert_memory_equal(
	    ram + TINY_DATA_GPA, elf.data + elf_segment(&elf, 1)->p_offset, TINY_DATA_SIZE);
	for (size_t i = TINY_DATA_SIZE; i < TINY_DATA_MEMORY; i++)
		assert_int_equal(ram[TINY_DATA_GPA + i], 0);
	free(ram);
	pv_kernel_destroy(kernel);
	pv_bytes_finish(&elf);
}

static void a_guest_too_small_is_told_both_sizes(void **state)
{
	struct pv_bytes elf = {0};
	struct pv_err err = PV_ERR_INIT;
	make_tiny_elf(&elf);
	struct pv_kernel *kernel = parse(elf.data, elf.len);
	struct pv_gmem mem = {0};
	uint8_t *ram = calloc(1, 18 * MIB);
	assert_int_equal(pv_gmem_add(&mem, 0, 18 * MIB, ram), 0);
	assert_int_equal(pv_kernel_load(kernel, &mem, &err), -ENOSPC);
	assert_string_equal(err.text,
	    "the kernel needs memory up to 19 MiB, but the guest has 18 MiB; raise `memory`");
	free(ram);
	pv_kernel_destroy(kernel);
	pv_bytes_finish(&elf);
}

static void destroying_nothing_is_fine(void **state)
{
	pv_kernel_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(formats_are_told_by_their_first_bytes),
	    cmocka_unit_test(a_bzimage_in_every_compression_gives_its_vmlinux),
	    cmocka_unit_test(a_payload_may_be_a_plain_vmlinux),
	    cmocka_unit_test(a_compressed_vmlinux_is_taken),
	    cmocka_unit_test(wrappings_are_taken_off_up_to_three),
	    cmocka_unit_test(files_that_are_no_kernels_are_named),
	    cmocka_unit_test(larger_files_that_are_no_kernels_are_named),
	    cmocka_unit_test(what_is_inside_is_named_too),
	    cmocka_unit_test(unusable_bzimages_are_explained),
	    cmocka_unit_test(a_wrong_size_behind_the_payload_is_noticed),
	    cmocka_unit_test(no_old_header_field_is_believed),
	    cmocka_unit_test(every_truncation_of_a_bzimage_is_refused),
	    cmocka_unit_test(every_truncation_of_a_payload_is_refused),
	    cmocka_unit_test(flipped_bytes_of_a_bzimage_do_no_harm),
	    cmocka_unit_test(segments_are_placed),
	    cmocka_unit_test(a_guest_too_small_is_told_both_sizes),
	    cmocka_unit_test(destroying_nothing_is_fine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
