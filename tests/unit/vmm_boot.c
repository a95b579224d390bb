/*
 * The hand-over to Linux: what is where in guest memory, as the kernel will read it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/gmem.h"
#include "kernel_files.h"
#include "vmm/boot.h"
#include "vmm/kernel.h"
#include "vmm/layout.h"
#include "vmm/zero_page.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* A guest of `low` and `high` bytes, and a kernel to boot in it. */
struct guest {
	struct pv_gmem mem;
	struct pv_kernel *kernel;
	struct pv_boot_config config;
	struct pv_boot_entry entry;
};

static void add_ram(struct guest *guest, uint64_t gpa, uint64_t size)
{
	void *ram = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(ram, MAP_FAILED);
	assert_int_equal(pv_gmem_add(&guest->mem, gpa, size, ram), 0);
}

static void begin(struct guest *guest, uint64_t low, uint64_t high)
{
	struct pv_bytes file = {0};
	struct pv_err err = PV_ERR_INIT;
	*guest = (struct guest){.config.cmdline = "console=ttyS0"};
	add_ram(guest, 0, low);
	if (high)
		add_ram(guest, PV_LAYOUT_HIGH_MEMORY, high);
	make_tiny_bzimage(PV_KERNEL_GZIP, &file);
	assert_int_equal(pv_kernel_parse(&guest->kernel, file.data, file.len, "k", &err), 0);
	guest->config.kernel = guest->kernel;
	pv_bytes_finish(&file);
}

static void end(struct guest *guest)
{
	for (unsigned i = 0; i < guest->mem.count; i++)
		munmap(guest->mem.regions[i].host, guest->mem.regions[i].size);
	pv_kernel_destroy(guest->kernel);
}

static void boot(struct guest *guest)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_boot_write(&guest->mem, &guest->config, &guest->entry, &err) < 0)
		fail_msg("%s", err.text);
}

static void expect_refused(struct guest *guest, int code, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_boot_write(&guest->mem, &guest->config, &guest->entry, &err), -code);
	if (!strstr(err.text, text))
		fail_msg("`%s` is not in `%s`", text, err.text);
}

static const uint8_t *at(const struct guest *guest, uint64_t gpa, uint64_t len)
{
	const uint8_t *host = pv_gmem_at(&guest->mem, gpa, len);
	assert_non_null(host);
	return host;
}

static const uint8_t *zero_page(const struct guest *guest)
{
	return at(guest, guest->entry.rsi, ZERO_PAGE_SIZE);
}

static void the_registers_follow_the_protocol(void **state)
{
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	boot(&guest);
	const struct pv_boot_entry *entry = &guest.entry;
	assert_int_equal(entry->rip, TINY_CODE_GPA);
	assert_int_equal(entry->rsi, PV_LAYOUT_ZERO_PAGE);
	assert_int_equal(entry->rsp, PV_LAYOUT_BOOT_STACK);
	assert_int_equal(entry->cr3, PV_LAYOUT_PAGE_TABLES);
	assert_int_equal(entry->code_selector, 0x10);
	assert_int_equal(entry->data_selector, 0x18);
	const uint8_t *gdt = at(&guest, entry->gdt_base, entry->gdt_limit + 1u);
	assert_int_equal(entry->gdt_limit, 31);
	assert_int_equal(pv_le64(gdt), 0);
	/* Present, ring 0, 64-bit code; present, ring 0, writable data. */
	assert_int_equal(pv_le64(gdt + 0x10) >> 40 & 0x60fb, 0x209b);
	assert_int_equal(pv_le64(gdt + 0x18) >> 40 & 0xfb, 0x93);
	end(&guest);
}

/* Walks four levels as the processor does; the result of a page of 2 MiB. */
static uint64_t translate(const struct guest *guest, uint64_t address)
{
	const uint64_t mask = UINT64_C(0xffffffffff000);
	uint64_t table = guest->entry.cr3;
	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		const uint64_t entry = pv_le64(at(guest, table + (address >> shift & 511) * 8, 8));
		assert_int_equal(entry & 3, 3);
		if (shift == 21) {
			assert_int_equal(entry & 0x80, 0x80);
			return (entry & ~UINT64_C(0x1fffff)) + (address & 0x1fffff);
		}
		assert_int_equal(entry & 0x80, 0);
		table = entry & mask;
	}
	return 0;
}

static void the_first_four_gib_are_mapped_one_to_one(void **state)
{
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	boot(&guest);
	for (uint64_t address = 0x1234; address < 4 * GIB; address += 37 * MIB)
		assert_int_equal(translate(&guest, address), address);
	assert_int_equal(translate(&guest, 4 * GIB - 1), 4 * GIB - 1);
	assert_int_equal(pv_le64(at(&guest, guest.entry.cr3 + 8, 8)), 0);
	end(&guest);
}

struct range {
	uint64_t start, end;
	uint32_t type;
};

static void expect_map(const struct guest *guest, const struct range *ranges, unsigned count)
{
	const uint8_t *page = zero_page(guest);
	assert_int_equal(page[ZERO_PAGE_E820_ENTRIES], count);
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *entry = page + ZERO_PAGE_E820_TABLE + (size_t)i * 20;
		assert_int_equal(pv_le64(entry), ranges[i].start);
		assert_int_equal(pv_le64(entry) + pv_le64(entry + 8), ranges[i].end);
		assert_int_equal(pv_le32(entry + 16), ranges[i].type);
	}
}

static void the_memory_map_of_a_small_guest_has_one_range_above_1_mib(void **state)
{
	static const struct range ranges[] = {
	    {0,		PV_LAYOUT_EBDA, 1},
	    {PV_LAYOUT_EBDA, MIB,		  2},
	    {MIB,		  32 * MIB,	    1},
	};
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	boot(&guest);
	expect_map(&guest, ranges, 3);
	end(&guest);
}

static void the_memory_map_of_a_large_guest_leaves_out_the_hole(void **state)
{
	static const struct range ranges[] = {
	    {0,		PV_LAYOUT_EBDA,		1},
	    {PV_LAYOUT_EBDA, MIB,			  2},
	    {MIB,		  PV_LAYOUT_LOW_MEMORY_END, 1},
	    {4 * GIB,	      6 * GIB,		       1},
	};
	struct guest guest;
	begin(&guest, PV_LAYOUT_LOW_MEMORY_END, 2 * GIB);
	boot(&guest);
	expect_map(&guest, ranges, 4);
	end(&guest);
}

static void the_zero_page_points_to_everything(void **state)
{
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	guest.config.cmdline = "quiet panic=-1";
	guest.config.rsdp = 0xe0000;
	boot(&guest);
	const uint8_t *page = zero_page(&guest);
	const uint32_t cmdline = pv_le32(page + ZERO_PAGE_CMD_LINE_PTR);
	assert_string_equal((const char *)at(&guest, cmdline, 100), "quiet panic=-1");
	assert_int_equal(pv_le64(page + ZERO_PAGE_ACPI_RSDP_ADDR), 0xe0000);
	assert_int_equal(page[ZERO_PAGE_TYPE_OF_LOADER], 0xff);
	assert_int_equal(pv_le32(page + ZERO_PAGE_HEADER), HEADER_MAGIC);
	assert_int_equal(pv_le16(page + ZERO_PAGE_BOOT_FLAG), BOOT_FLAG);
	/* The kernel's own fields came along; the sentinel at 0x1ef is clear. */
	assert_int_equal(pv_le16(page + ZERO_PAGE_VERSION), 0x20f);
	assert_int_equal(pv_le32(page + ZERO_PAGE_INIT_SIZE), 0x400000);
	assert_int_equal(page[0x1ef], 0);
	assert_int_equal(pv_le32(page + ZERO_PAGE_RAMDISK_SIZE), 0);
	assert_int_equal(pv_le64(page + ZERO_PAGE_SETUP_DATA), 0);
	assert_int_equal(page[ZERO_PAGE_LOADFLAGS] & (LOADED_HIGH | CAN_USE_HEAP), LOADED_HIGH);
	end(&guest);
}

static void a_plain_vmlinux_gets_a_header(void **state)
{
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	guest.kernel->header_size = 0;
	memset(guest.kernel->header, 0, sizeof(guest.kernel->header));
	boot(&guest);
	const uint8_t *page = zero_page(&guest);
	assert_int_equal(pv_le16(page + ZERO_PAGE_BOOT_FLAG), 0xaa55);
	assert_memory_equal(page + ZERO_PAGE_HEADER, "HdrS", 4);
	assert_in_range(pv_le16(page + ZERO_PAGE_VERSION), 0x20c, 0x2ff);
	assert_int_equal(page[ZERO_PAGE_TYPE_OF_LOADER], 0xff);
	assert_int_equal(page[ZERO_PAGE_LOADFLAGS] & LOADED_HIGH, LOADED_HIGH);
	assert_int_equal(pv_le32(page + ZERO_PAGE_CMDLINE_SIZE), 2047);
	end(&guest);
}

static void no_command_line_is_an_empty_one(void **state)
{
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	guest.config.cmdline = NULL;
	boot(&guest);
	assert_int_equal(*at(&guest, PV_LAYOUT_CMDLINE, 1), 0);
	end(&guest);
}

static void a_command_line_over_the_kernels_limit_is_refused_with_both_numbers(void **state)
{
	struct guest guest;
	char line[4200];
	begin(&guest, 32 * MIB, 0);
	memset(line, 'x', sizeof(line));
	line[2047] = '\0';
	guest.config.cmdline = line;
	boot(&guest);
	line[2047] = 'x';
	line[2048] = '\0';
	expect_refused(&guest, E2BIG,
	    "the command line has 2048 bytes but this kernel takes 2047; shorten it");
	/* A kernel that claims to take more than we have room for. */
	guest.kernel->cmdline_max = 100000;
	line[2048] = 'x';
	line[4096] = '\0';
	expect_refused(&guest, E2BIG, "4096 bytes");
	end(&guest);
}

/* --- initrd --- */

static void initrd_parts_are_joined_at_the_top(void **state)
{
	const struct pv_span parts[] = {
	    {"first",    5},
		  {"",	       0},
		   {"second!!", 8},
	    {"x",	  1}
	    };
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	guest.config.initrd = parts;
	guest.config.initrd_parts = 4;
	boot(&guest);
	const uint8_t *page = zero_page(&guest);
	assert_int_equal(pv_le32(page + ZERO_PAGE_RAMDISK_IMAGE), 32 * MIB - 4096);
	assert_int_equal(pv_le32(page + ZERO_PAGE_RAMDISK_SIZE), 20);
	assert_memory_equal(at(&guest, 32 * MIB - 4096, 20), "first\0\0\0second!!x\0\0\0", 20);
	end(&guest);
}

static void an_initrd_stays_where_the_kernel_can_reach_it(void **state)
{
	const struct pv_span part = {"initrd", 6};
	struct guest guest;
	begin(&guest, PV_LAYOUT_LOW_MEMORY_END, GIB);
	guest.config.initrd = &part;
	guest.config.initrd_parts = 1;
	boot(&guest);
	assert_int_equal(pv_le32(zero_page(&guest) + ZERO_PAGE_RAMDISK_IMAGE), 2 * GIB - 4096);
	/* A limit in the middle of a page, and none at all. */
	pv_put_le32(
	    guest.kernel->header + ZERO_PAGE_INITRD_ADDR_MAX - ZERO_PAGE_SETUP_SECTS, 0x37ffeff0);
	boot(&guest);
	assert_int_equal(pv_le32(zero_page(&guest) + ZERO_PAGE_RAMDISK_IMAGE), 0x37ffe000);
	guest.kernel->header_size = 0;
	boot(&guest);
	assert_int_equal(pv_le32(zero_page(&guest) + ZERO_PAGE_RAMDISK_IMAGE), 2 * GIB - 4096);
	end(&guest);
}

static void an_initrd_too_large_for_the_guest_is_refused_with_the_sizes(void **state)
{
	struct guest guest;
	begin(&guest, 64 * MIB, 0);
	char *data =
	    mmap(NULL, 300 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct pv_span part = {data, 300 * MIB};
	guest.config.initrd = &part;
	guest.config.initrd_parts = 1;
	expect_refused(&guest, ENOSPC,
	    "the initrd of 300 MiB does not fit into 64 MiB of guest memory behind the kernel, "
	    "which ends at 20 MiB; raise `memory`");
	/* The kernel's header asks for 4 MiB from 16 MiB on: what is left must do. */
	part.len = 44 * MIB + 1;
	expect_refused(&guest, ENOSPC, "45 MiB does not fit into 64 MiB");
	part.len = 44 * MIB;
	boot(&guest);
	assert_int_equal(pv_le32(zero_page(&guest) + ZERO_PAGE_RAMDISK_IMAGE), 20 * MIB);
	munmap(data, 300 * MIB);
	end(&guest);
}

static void an_initrd_beyond_the_kernels_reach_is_refused_in_other_words(void **state)
{
	struct guest guest;
	const struct pv_span part = {NULL, 2 * GIB};
	begin(&guest, PV_LAYOUT_LOW_MEMORY_END, GIB);
	guest.config.initrd = &part;
	guest.config.initrd_parts = 1;
	expect_refused(&guest, ENOSPC, "above which this kernel cannot reach it");
	end(&guest);
}

static void nothing_is_written_over_the_kernel(void **state)
{
	struct guest guest;
	begin(&guest, 24 * MIB, 0);
	const struct pv_span part = {"initrd", 6};
	guest.config.initrd = &part;
	guest.config.initrd_parts = 1;
	boot(&guest);
	for (unsigned i = 0; i < guest.kernel->segment_count; i++) {
		const struct pv_kernel_segment *segment = &guest.kernel->segments[i];
		assert_memory_equal(at(&guest, segment->gpa, segment->file_size),
		    guest.kernel->image + segment->file_offset, segment->file_size);
	}
	end(&guest);
}

/* --- setup data --- */

static void the_seed_is_in_the_chain(void **state)
{
	uint8_t seed[4096];
	memset(seed, 0xa5, sizeof(seed));
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	guest.config.rng_seed = seed;
	guest.config.rng_seed_size = 32;
	boot(&guest);
	const uint64_t data = pv_le64(zero_page(&guest) + ZERO_PAGE_SETUP_DATA);
	assert_int_equal(data, PV_LAYOUT_SETUP_DATA);
	assert_int_equal(pv_le64(at(&guest, data, 8)), 0);
	assert_int_equal(pv_le32(at(&guest, data + 8, 4)), 9);
	assert_int_equal(pv_le32(at(&guest, data + 12, 4)), 32);
	assert_memory_equal(at(&guest, data + 16, 32), seed, 32);
	guest.config.rng_seed_size = 4096 - 16;
	boot(&guest);
	guest.config.rng_seed_size = 4096 - 15;
	expect_refused(&guest, E2BIG, "more than the limit of 4080");
	end(&guest);
}

/* --- what cannot be booted --- */

static void a_guest_too_small_for_the_kernel_is_refused(void **state)
{
	struct guest guest;
	begin(&guest, 16 * MIB, 0);
	expect_refused(&guest, ENOSPC, "needs memory up to 19 MiB, but the guest has 16 MiB");
	end(&guest);
}

static void an_entry_that_is_not_mapped_is_refused(void **state)
{
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	guest.kernel->entry64 = 4 * GIB;
	expect_refused(&guest, ENOEXEC, "above 4 GiB");
	guest.kernel->entry64 = UINT64_MAX;
	expect_refused(&guest, ENOEXEC, "above 4 GiB");
	end(&guest);
}

static void a_guest_without_memory_is_refused(void **state)
{
	struct guest guest;
	begin(&guest, 32 * MIB, 0);
	const struct pv_gmem none = {0};
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_boot_write(&none, &guest.config, &guest.entry, &err), -EFAULT);
	assert_int_equal(err.kind, PV_ERR_INTERNAL);
	end(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_registers_follow_the_protocol),
	    cmocka_unit_test(the_first_four_gib_are_mapped_one_to_one),
	    cmocka_unit_test(the_memory_map_of_a_small_guest_has_one_range_above_1_mib),
	    cmocka_unit_test(the_memory_map_of_a_large_guest_leaves_out_the_hole),
	    cmocka_unit_test(the_zero_page_points_to_everything),
	    cmocka_unit_test(a_plain_vmlinux_gets_a_header),
	    cmocka_unit_test(no_command_line_is_an_empty_one),
	    cmocka_unit_test(a_command_line_over_the_kernels_limit_is_refused_with_both_numbers),
	    cmocka_unit_test(initrd_parts_are_joined_at_the_top),
	    cmocka_unit_test(an_initrd_stays_where_the_kernel_can_reach_it),
	    cmocka_unit_test(an_initrd_too_large_for_the_guest_is_refused_with_the_sizes),
	    cmocka_unit_test(an_initrd_beyond_the_kernels_reach_is_refused_in_other_words),
	    cmocka_unit_test(nothing_is_written_over_the_kernel),
	    cmocka_unit_test(the_seed_is_in_the_chain),
	    cmocka_unit_test(a_guest_too_small_for_the_kernel_is_refused),
	    cmocka_unit_test(an_entry_that_is_not_mapped_is_refused),
	    cmocka_unit_test(a_guest_without_memory_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
