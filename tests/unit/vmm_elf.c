/*
 * ELF kernels: which are taken, with which segments and entries, and why the others are not.
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
#include "vmm/elf.h"
#include "vmm/kernel.h"

#define MIB (UINT64_C(1) << 20)

static int set_up(void **state)
{
	struct pv_bytes *file = calloc(1, sizeof(*file));
	make_tiny_elf(file);
	*state = file;
	return 0;
}

static int tear_down(void **state)
{
	pv_bytes_finish(*state);
	free(*state);
	return 0;
}

/* The file must be refused with a sentence that has `text` in it. */
static void expect_refused(const struct pv_bytes *file, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	int status = pv_kernel_parse(&kernel, file->data, file->len, "k", &err);
	if (status == 0)
		fail_msg("taken, where `%s` was expected", text);
	assert_int_equal(status, -err.code);
	if (!strstr(err.text, text))
		fail_msg("`%s` is not in `%s`", text, err.text);
	assert_memory_equal(err.text, "kernel `k`: ", 12);
}

static struct pv_kernel *expect_taken(const struct pv_bytes *file)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	if (pv_kernel_parse(&kernel, file->data, file->len, "k", &err) < 0)
		fail_msg("%s", err.text);
	return kernel;
}

static void segments_and_entries_are_found(void **state)
{
	struct pv_kernel *kernel = expect_taken(*state);
	assert_int_equal(kernel->segment_count, 2);
	assert_int_equal(kernel->segments[0].gpa, TINY_CODE_GPA);
	assert_int_equal(kernel->segments[0].file_size, TINY_CODE_SIZE);
	assert_int_equal(kernel->segments[1].gpa, TINY_DATA_GPA);
	assert_int_equal(kernel->segments[1].memory_size, TINY_DATA_MEMORY);
	assert_int_equal(kernel->memory_end, TINY_DATA_GPA + TINY_DATA_MEMORY);
	assert_int_equal(kernel->entry64, TINY_CODE_GPA);
	assert_int_equal(kernel->entry_pvh, TINY_PVH_ENTRY);
	assert_int_equal(kernel->header_size, 0);
	assert_int_equal(kernel->cmdline_max, 2047);
	pv_kernel_destroy(kernel);
}

static void other_kinds_of_elf_files_are_named(void **state)
{
	static const struct {
		uint16_t type;
		const char *text;
	} types[] = {
	    {ET_REL,  "kernel module or object file"},
	    {ET_CORE, "core dump"			 },
	    {ET_DYN,  "program or shared library"	},
	    {77,	 "unknown type"		       },
	};
	struct pv_bytes *file = *state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		elf_header(file)->e_type = types[i].type;
		expect_refused(file, types[i].text);
	}
	elf_header(file)->e_type = ET_EXEC;
	elf_segment(file, 2)->p_type = PT_INTERP;
	expect_refused(file, "program for Linux");
}

static void other_machines_are_named(void **state)
{
	static const struct {
		uint16_t machine;
		const char *text;
	} machines[] = {
	    {EM_386,     "32-bit x86"	 },
	    {EM_AARCH64, "arm64"	},
	    {EM_RISCV,   "RISC-V"      },
	    {4711,	   "machine 4711"},
	};
	struct pv_bytes *file = *state;
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		elf_header(file)->e_machine = machines[i].machine;
		expect_refused(file, machines[i].text);
	}
	elf_header(file)->e_machine = EM_X86_64;
	elf_header(file)->e_ident[EI_CLASS] = ELFCLASS32;
	expect_refused(file, "32-bit ELF");
	elf_header(file)->e_ident[EI_DATA] = ELFDATA2MSB;
	expect_refused(file, "big-endian");
}

static void program_headers_are_bounded(void **state)
{
	struct pv_bytes *file = *state;
	elf_header(file)->e_phnum = 0;
	expect_refused(file, "without segments");
	elf_header(file)->e_phnum = 65535;
	expect_refused(file, "program headers");
	elf_header(file)->e_phnum = 3;
	elf_header(file)->e_phentsize = 32;
	expect_refused(file, "program headers");
	elf_header(file)->e_phentsize = sizeof(Elf64_Phdr);
	elf_header(file)->e_phoff = file->len - 10;
	expect_refused(file, "cut short");
	elf_header(file)->e_phoff = UINT64_MAX - 5;
	expect_refused(file, "cut short");
}

static void segments_must_lie_in_the_file(void **state)
{
	struct pv_bytes *file = *state;
	Elf64_Phdr *code = elf_segment(file, 0);
	const Elf64_Phdr good = *code;
	code->p_offset = file->len - TINY_CODE_SIZE + 1;
	expect_refused(file, "cut short");
	code->p_offset = UINT64_MAX - 5;
	expect_refused(file, "contradict");
	*code = good;
	code->p_filesz = code->p_memsz + 1;
	expect_refused(file, "contradict");
	*code = good;
	code->p_filesz = code->p_memsz = UINT64_MAX;
	expect_refused(file, "contradict");
}

static void segments_must_not_wrap_or_touch_the_boot_data(void **state)
{
	struct pv_bytes *file = *state;
	Elf64_Phdr *code = elf_segment(file, 0);
	code->p_paddr = MIB - 1;
	expect_refused(file, "below 1 MiB");
	code->p_paddr = 0;
	expect_refused(file, "below 1 MiB");
	code->p_paddr = UINT64_MAX - 100;
	expect_refused(file, "contradict");
	code->p_paddr = MIB;
	elf_header(file)->e_entry = MIB;
	pv_kernel_destroy(expect_taken(file));
}

static void segments_must_not_overlap(void **state)
{
	struct pv_bytes *file = *state;
	elf_segment(file, 1)->p_paddr = TINY_CODE_GPA + TINY_CODE_SIZE - 1;
	expect_refused(file, "overlap");
	elf_segment(file, 1)->p_paddr = TINY_CODE_GPA - TINY_DATA_MEMORY + 1;
	expect_refused(file, "overlap");
	elf_segment(file, 1)->p_paddr = TINY_CODE_GPA - TINY_DATA_MEMORY;
	pv_kernel_destroy(expect_taken(file));
}

static void empty_segments_are_skipped(void **state)
{
	struct pv_bytes *file = *state;
	Elf64_Phdr *data = elf_segment(file, 1);
	*data = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = UINT64_MAX};
	struct pv_kernel *kernel = expect_taken(file);
	assert_int_equal(kernel->segment_count, 1);
	pv_kernel_destroy(kernel);
}

static void too_many_segments_are_refused(void **state)
{
	struct pv_bytes *file = *state, many = {0};
	const unsigned count = PV_KERNEL_SEGMENTS_MAX + 1;
	Elf64_Ehdr header = *elf_header(file);
	header.e_phnum = (uint16_t)count;
	assert_int_equal(pv_bytes_append(&many, &header, sizeof(header)), 0);
	for (unsigned i = 0; i < count; i++) {
		const Elf64_Phdr segment = {
		    .p_type = PT_LOAD,
		    .p_paddr = TINY_CODE_GPA + i * 4096,
		    .p_filesz = 16,
		    .p_memsz = 16,
		};
		assert_int_equal(pv_bytes_append(&many, &segment, sizeof(segment)), 0);
	}
	expect_refused(&many, "more than 16 loadable segments");
	elf_header(&many)->e_phnum = (uint16_t)(count - 1);
	pv_kernel_destroy(expect_taken(&many));
	pv_bytes_finish(&many);
}

static void the_entry_must_be_code(void **state)
{
	struct pv_bytes *file = *state;
	elf_header(file)->e_entry = TINY_CODE_GPA + TINY_CODE_SIZE;
	expect_refused(file, "entry 0x1000bb8");
	/* In memory, but not from the file. */
	elf_header(file)->e_entry = TINY_DATA_GPA + TINY_DATA_SIZE;
	expect_refused(file, "entry");
	/* A virtual address, as vmlinux of other machines have it. */
	elf_header(file)->e_entry = UINT64_C(0xffffffff81000000);
	expect_refused(file, "entry");
}

static void a_damaged_note_is_no_pvh_entry(void **state)
{
	struct pv_bytes *file = *state;
	const Elf64_Phdr *segment = elf_segment(file, 2);
	Elf64_Nhdr *note = (Elf64_Nhdr *)(file->data + segment->p_offset);
	const Elf64_Nhdr good = *note;
	const Elf64_Nhdr bad[] = {
	    {.n_namesz = UINT32_MAX, .n_descsz = 4,	    .n_type = 18},
	    {.n_namesz = 4,	    .n_descsz = UINT32_MAX, .n_type = 18},
	    {.n_namesz = 4,	    .n_descsz = 5,	   .n_type = 18},
	    {.n_namesz = 4,	    .n_descsz = 4,	   .n_type = 17},
	    {.n_namesz = 3,	    .n_descsz = 4,	   .n_type = 18},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		*note = bad[i];
		struct pv_kernel *kernel = expect_taken(file);
		assert_int_equal(kernel->entry_pvh, 0);
		pv_kernel_destroy(kernel);
	}
	/* An entry outside of the code. */
	*note = good;
	pv_put_le32(note + 1, 0);
	memcpy(note + 1, "Xen", 4);
	pv_put_le32((uint8_t *)(note + 1) + 4, 0x1234);
	struct pv_kernel *kernel = expect_taken(file);
	assert_int_equal(kernel->entry_pvh, 0);
	pv_kernel_destroy(kernel);
}

static void notes_outside_of_the_file_are_ignored(void **state)
{
	struct pv_bytes *file = *state;
	elf_segment(file, 2)->p_offset = UINT64_MAX - 3;
	struct pv_kernel *kernel = expect_taken(file);
	assert_int_equal(kernel->entry_pvh, 0);
	pv_kernel_destroy(kernel);
}

static void every_truncation_is_refused(void **state)
{
	const struct pv_bytes *file = *state;
	/* The notes at the end are not needed. */
	const size_t needed = file->len - elf_segment(*state, 2)->p_filesz;
	for (size_t len = 0; len < needed; len++) {
		struct pv_bytes cut = {.data = test_malloc(len ? len : 1), .len = len};
		memcpy(cut.data, file->data, len);
		expect_refused(&cut, len < 4 ? "" : "cut short");
		test_free(cut.data);
	}
}

/* With any byte of its headers changed, a kernel is refused, or taken and loads without harm. */
static void flipped_bytes_do_no_harm(void **state)
{
	struct pv_bytes *file = *state;
	const size_t headers = sizeof(Elf64_Ehdr) + TINY_SEGMENTS * sizeof(Elf64_Phdr);
	struct pv_gmem mem = {0};
	uint8_t *ram = calloc(1, 20 * MIB);
	assert_int_equal(pv_gmem_add(&mem, 0, 20 * MIB, ram), 0);
	for (size_t at = 0; at < headers * 3; at++) {
		static const uint8_t flips[] = {0x01, 0x80, 0xff};
		struct pv_err err = PV_ERR_INIT;
		struct pv_kernel *kernel = NULL;
		file->data[at / 3] ^= flips[at % 3];
		if (pv_kernel_parse(&kernel, file->data, file->len, "k", &err) == 0)
			pv_kernel_load(kernel, &mem, &err);
		else
			assert_memory_equal(err.text, "kernel `k`: ", 12);
		pv_kernel_destroy(kernel);
		file->data[at / 3] ^= flips[at % 3];
	}
	free(ram);
}

static void the_extent_leaves_out_what_is_not_loaded(void **state)
{
	struct pv_bytes *file = *state;
	const uint64_t end = elf_segment(file, 2)->p_offset + elf_segment(file, 2)->p_filesz;
	assert_int_equal(pv_elf_extent(file->data, 1000, UINT64_C(5) << 30), end);
	/* A file that is cut short is read whole, and refused later. */
	assert_int_equal(pv_elf_extent(file->data, 1000, end - 1), end - 1);
	/* Never less than what was looked at. */
	assert_int_equal(pv_elf_extent(file->data, file->len, file->len), file->len);
	elf_segment(file, 1)->p_offset = UINT64_MAX;
	assert_int_equal(pv_elf_extent(file->data, 1000, 12345), 12345);
	assert_int_equal(pv_elf_extent(file->data, 10, 12345), 12345);
	elf_header(file)->e_phoff = UINT64_MAX - 10;
	assert_int_equal(pv_elf_extent(file->data, 1000, 12345), 12345);
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_FILE(segments_and_entries_are_found),
	    WITH_FILE(other_kinds_of_elf_files_are_named),
	    WITH_FILE(other_machines_are_named),
	    WITH_FILE(program_headers_are_bounded),
	    WITH_FILE(segments_must_lie_in_the_file),
	    WITH_FILE(segments_must_not_wrap_or_touch_the_boot_data),
	    WITH_FILE(segments_must_not_overlap),
	    WITH_FILE(empty_segments_are_skipped),
	    WITH_FILE(too_many_segments_are_refused),
	    WITH_FILE(the_entry_must_be_code),
	    WITH_FILE(a_damaged_note_is_no_pvh_entry),
	    WITH_FILE(notes_outside_of_the_file_are_ignored),
	    WITH_FILE(every_truncation_is_refused),
	    WITH_FILE(flipped_bytes_do_no_harm),
	    WITH_FILE(the_extent_leaves_out_what_is_not_loaded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
