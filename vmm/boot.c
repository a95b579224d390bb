/*
 * The hand-over to Linux. Everything goes to fixed places of vmm/layout.h below 1 MiB, the kernel
 * where its segments say, and the initrd as high as the kernel allows, so that it is out of the way
 * of what the kernel unpacks behind itself. Then the zero page says where all of it is.
 *
 * Guest memory is clear before (new, or cleared by the reset), so unused fields are zero by
 * themselves. Linux: Documentation/arch/x86/boot.rst, "64-bit Boot Protocol", and zero-page.rst.
 */
#include "vmm/boot.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/gmem.h"
#include "vmm/kernel.h"
#include "vmm/layout.h"
#include "vmm/zero_page.h"

#define PAGE	   UINT64_C(4096)
#define MIB(bytes) ((unsigned long long)(((bytes) + 0xfffff) >> 20))

#define CODE_SELECTOR 0x10u
#define DATA_SELECTOR 0x18u

#define PTE_PRESENT  UINT64_C(1)
#define PTE_WRITABLE UINT64_C(2)
#define PTE_LARGE    UINT64_C(0x80)
#define LARGE_PAGE   UINT64_C(0x200000)
#define MAPPED_GIB   4u

/* Up to the end of the page at PV_LAYOUT_SETUP_DATA. */
#define RNG_SEED_MAX (4096u - SETUP_DATA_HEADER)

/* The highest address of an initrd, for kernels whose header does not say. */
#define INITRD_MAX_DEFAULT UINT64_C(0x7fffffff)

static int no_memory_at(struct pv_err *err, const char *what)
{
	return pv_err_set(
	    err, PV_ERR_INTERNAL, EFAULT, "there is no guest memory for the %s", what);
}

/* A null descriptor, an unused one, code and data (Intel SDM 3A, 3.4.5); selectors are fixed by the
 * protocol. */
static int write_gdt(const struct pv_gmem *mem, struct pv_boot_entry *entry, struct pv_err *err)
{
	static const uint64_t gdt[] = {
	    0, 0, UINT64_C(0x00af9b000000ffff), UINT64_C(0x00cf93000000ffff)};
	if (pv_gmem_write(mem, PV_LAYOUT_GDT, gdt, sizeof(gdt)))
		return no_memory_at(err, "descriptor table");
	entry->gdt_base = PV_LAYOUT_GDT;
	entry->gdt_limit = sizeof(gdt) - 1;
	entry->code_selector = CODE_SELECTOR;
	entry->data_selector = DATA_SELECTOR;
	return 0;
}

/* The first 4 GiB at their own addresses, in pages of 2 MiB. */
static int write_page_tables(
    const struct pv_gmem *mem, struct pv_boot_entry *entry, struct pv_err *err)
{
	uint64_t *tables = pv_gmem_at(mem, PV_LAYOUT_PAGE_TABLES, (2 + MAPPED_GIB) * PAGE);
	if (!tables)
		return no_memory_at(err, "page tables");
	uint64_t *directories = tables + 512;
	uint64_t *pages = tables + 1024;
	tables[0] = (PV_LAYOUT_PAGE_TABLES + PAGE) | PTE_PRESENT | PTE_WRITABLE;
	for (unsigned i = 0; i < MAPPED_GIB; i++)
		directories[i] =
		    (PV_LAYOUT_PAGE_TABLES + (2 + i) * PAGE) | PTE_PRESENT | PTE_WRITABLE;
	for (unsigned i = 0; i < MAPPED_GIB * 512; i++)
		pages[i] = i * LARGE_PAGE | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
	entry->cr3 = PV_LAYOUT_PAGE_TABLES;
	return 0;
}

static int write_cmdline(
    const struct pv_gmem *mem, const struct pv_boot_config *config, struct pv_err *err)
{
	const char *cmdline = config->cmdline ? config->cmdline : "";
	size_t len = strlen(cmdline);
	if (len > config->kernel->cmdline_max || len >= PV_LAYOUT_CMDLINE_MAX)
		return pv_err_set(err, PV_ERR_INPUT, E2BIG,
		    "the command line has %zu bytes but this kernel takes %u; shorten it", len,
		    config->kernel->cmdline_max);
	if (pv_gmem_write(mem, PV_LAYOUT_CMDLINE, cmdline, len + 1))
		return no_memory_at(err, "command line");
	return 0;
}

/* --- initrd --- */

static uint64_t initrd_size(const struct pv_boot_config *config)
{
	uint64_t size = 0;
	for (unsigned i = 0; i < config->initrd_parts; i++)
		size += (config->initrd[i].len + 3) & ~UINT64_C(3);
	return size;
}

/* The first byte behind what the kernel needs while it starts. */
static uint64_t kernel_end(const struct pv_kernel *kernel)
{
	const size_t at = ZERO_PAGE_INIT_SIZE - ZERO_PAGE_SETUP_SECTS;
	uint64_t end = kernel->memory_end;
	if (kernel->header_size >= at + 4 && kernel->segment_count) {
		uint64_t init = kernel->segments[0].gpa + pv_le32(kernel->header + at);
		end = init > end ? init : end;
	}
	return (end + PAGE - 1) & ~(PAGE - 1);
}

static int write_initrd(const struct pv_gmem *mem, const struct pv_boot_config *config,
    uint64_t *address, uint64_t *size, struct pv_err *err)
{
	const struct pv_kernel *kernel = config->kernel;
	const size_t max_at = ZERO_PAGE_INITRD_ADDR_MAX - ZERO_PAGE_SETUP_SECTS;
	*address = 0;
	*size = initrd_size(config);
	if (*size == 0)
		return 0;
	uint64_t top = kernel->header_size >= max_at + 4
			   ? (uint64_t)pv_le32(kernel->header + max_at)
			   : INITRD_MAX_DEFAULT;
	uint64_t low_ram = mem->regions[0].size;
	top = top + 1 < low_ram ? top + 1 : low_ram;
	uint64_t bottom = kernel_end(kernel);
	if (*size > top || ((top - *size) & ~(PAGE - 1)) < bottom) {
		if (top < low_ram)
			return pv_err_set(err, PV_ERR_LIMIT, ENOSPC,
			    "the initrd of %llu MiB does not fit between the kernel, which ends at "
			    "%llu MiB, and %llu MiB, above which this kernel cannot reach it; make "
			    "the initrd smaller",
			    MIB(*size), MIB(bottom), MIB(top));
		return pv_err_set(err, PV_ERR_LIMIT, ENOSPC,
		    "the initrd of %llu MiB does not fit into %llu MiB of guest memory behind the "
		    "kernel, which ends at %llu MiB; raise `memory`",
		    MIB(*size), MIB(pv_gmem_size(mem)), MIB(bottom));
	}
	*address = (top - *size) & ~(PAGE - 1);
	uint64_t at = *address;
	for (unsigned i = 0; i < config->initrd_parts; i++) {
		if (pv_gmem_write(mem, at, config->initrd[i].data, config->initrd[i].len))
			return no_memory_at(err, "initrd");
		at += (config->initrd[i].len + 3) & ~UINT64_C(3);
	}
	return 0;
}

/* --- zero page --- */

static unsigned add_e820(uint8_t *page, unsigned count, uint64_t start, uint64_t end, uint32_t type)
{
	uint8_t *entry = page + ZERO_PAGE_E820_TABLE + count * E820_ENTRY_SIZE;
	if (start >= end)
		return count;
	pv_put_le64(entry, start);
	pv_put_le64(entry + 8, end - start);
	pv_put_le32(entry + 16, type);
	return count + 1;
}

static void fill_memory_map(uint8_t *page, const struct pv_gmem *mem)
{
	unsigned count = add_e820(page, 0, 0, PV_LAYOUT_EBDA, E820_RAM);
	count = add_e820(page, count, PV_LAYOUT_EBDA, PV_LAYOUT_ACPI_END, E820_RESERVED);
	for (unsigned i = 0; i < mem->count; i++) {
		uint64_t start = mem->regions[i].gpa ? mem->regions[i].gpa : PV_LAYOUT_KERNEL_MIN;
		count = add_e820(
		    page, count, start, mem->regions[i].gpa + mem->regions[i].size, E820_RAM);
	}
	page[ZERO_PAGE_E820_ENTRIES] = (uint8_t)count;
}

/* The header of the bzImage, or what a plain vmlinux needs of one. */
static void fill_header(uint8_t *page, const struct pv_kernel *kernel)
{
	if (kernel->header_size) {
		memcpy(page + ZERO_PAGE_SETUP_SECTS, kernel->header, kernel->header_size);
	} else {
		pv_put_le16(page + ZERO_PAGE_BOOT_FLAG, BOOT_FLAG);
		pv_put_le32(page + ZERO_PAGE_HEADER, HEADER_MAGIC);
		pv_put_le16(page + ZERO_PAGE_VERSION, PROTOCOL_64);
		pv_put_le32(page + ZERO_PAGE_KERNEL_ALIGNMENT, 0x1000000);
		pv_put_le32(page + ZERO_PAGE_INITRD_ADDR_MAX, (uint32_t)INITRD_MAX_DEFAULT);
		pv_put_le32(page + ZERO_PAGE_CMDLINE_SIZE, kernel->cmdline_max);
	}
	page[ZERO_PAGE_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	page[ZERO_PAGE_LOADFLAGS] =
	    (uint8_t)((page[ZERO_PAGE_LOADFLAGS] | LOADED_HIGH) & ~CAN_USE_HEAP);
}

/* Puts the seed into a setup_data element; `*address` is 0 when there is none. */
static int write_seed(const struct pv_gmem *mem, const struct pv_boot_config *config,
    uint64_t *address, struct pv_err *err)
{
	uint8_t head[SETUP_DATA_HEADER] = {0};
	*address = 0;
	if (!config->rng_seed || !config->rng_seed_size)
		return 0;
	if (config->rng_seed_size > RNG_SEED_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, E2BIG,
		    "the random seed has %zu bytes, more than the limit of %u",
		    config->rng_seed_size, RNG_SEED_MAX);
	pv_put_le32(head + 8, SETUP_RNG_SEED);
	pv_put_le32(head + 12, (uint32_t)config->rng_seed_size);
	if (pv_gmem_write(mem, PV_LAYOUT_SETUP_DATA, head, sizeof(head)) ||
	    pv_gmem_write(
		mem, PV_LAYOUT_SETUP_DATA + sizeof(head), config->rng_seed, config->rng_seed_size))
		return no_memory_at(err, "random seed");
	*address = PV_LAYOUT_SETUP_DATA;
	return 0;
}

static int write_zero_page(const struct pv_gmem *mem, const struct pv_boot_config *config,
    uint64_t initrd, uint64_t initrd_bytes, struct pv_err *err)
{
	uint8_t page[ZERO_PAGE_SIZE] = {0};
	fill_header(page, config->kernel);
	fill_memory_map(page, mem);
	uint64_t setup_data;
	int status = write_seed(mem, config, &setup_data, err);
	if (status < 0)
		return status;
	pv_put_le32(page + ZERO_PAGE_CMD_LINE_PTR, PV_LAYOUT_CMDLINE);
	pv_put_le32(page + ZERO_PAGE_RAMDISK_IMAGE, (uint32_t)initrd);
	pv_put_le32(page + ZERO_PAGE_RAMDISK_SIZE, (uint32_t)initrd_bytes);
	pv_put_le64(page + ZERO_PAGE_SETUP_DATA, setup_data);
	pv_put_le64(page + ZERO_PAGE_ACPI_RSDP_ADDR, config->rsdp);
	if (pv_gmem_write(mem, PV_LAYOUT_ZERO_PAGE, page, sizeof(page)))
		return no_memory_at(err, "zero page");
	return 0;
}

int pv_boot_write(const struct pv_gmem *mem, const struct pv_boot_config *config,
    struct pv_boot_entry *entry, struct pv_err *err)
{
	uint64_t initrd, initrd_bytes;
	*entry = (struct pv_boot_entry){.rip = config->kernel->entry64,
	    .rsi = PV_LAYOUT_ZERO_PAGE,
	    .rsp = PV_LAYOUT_BOOT_STACK};
	if (mem->count == 0 || mem->regions[0].gpa != 0)
		return no_memory_at(err, "boot data");
	if (entry->rip >> 30 >= MAPPED_GIB)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "the kernel's entry 0x%llx is above %u GiB, which the 64-bit boot protocol "
		    "does not map; link the kernel lower",
		    (unsigned long long)entry->rip, MAPPED_GIB);
	int status = write_cmdline(mem, config, err);
	if (!status)
		status = write_initrd(mem, config, &initrd, &initrd_bytes, err);
	if (!status)
		status = pv_kernel_load(config->kernel, mem, err);
	if (!status)
		status = write_gdt(mem, entry, err);
	if (!status)
		status = write_page_tables(mem, entry, err);
	if (!status)
		status = write_zero_page(mem, config, initrd, initrd_bytes, err);
	return status;
}
