/*
 * Reading .modinfo: values in order, and every lie that a header can tell.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/modinfo.h"
#include "tests/unit/elf_module.h"

static const char *const info[] = {"license=GPL", "alias=fs-x", "alias=", "depends=a,b",
    "aliasx=no", "alias=char-major-10-237", NULL};

/* Looks for the section in an exact copy, so that a sanitizer sees a read behind the end, and reads
 * all of it. */
static int look(const void *data, size_t len, struct pv_err *err)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct pv_span section = {0}, value;
	volatile unsigned sum = 0;
	memcpy(copy, data, len);
	int status = pv_modinfo_find(&section, copy, len, err);
	for (size_t i = 0; !status && i < section.len; i++)
		sum = sum + ((const uint8_t *)section.data)[i];
	for (size_t at = 0; !status && pv_modinfo_next(section, "alias", &at, &value);) {
		for (size_t i = 0; i < value.len; i++)
			sum = sum + ((const uint8_t *)value.data)[i];
	}
	free(copy);
	return status;
}

static void values_come_in_order(void **state)
{
	struct pv_bytes module = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_span section, value;
	size_t at = 0;
	elf_module_write(&module, info);
	assert_int_equal(pv_modinfo_find(&section, module.data, module.len, &err), 0);
	assert_true(pv_modinfo_next(section, "alias", &at, &value));
	assert_int_equal(value.len, 4);
	assert_memory_equal(value.data, "fs-x", 4);
	assert_true(pv_modinfo_next(section, "alias", &at, &value));
	assert_int_equal(value.len, 0);
	assert_true(pv_modinfo_next(section, "alias", &at, &value));
	assert_int_equal(value.len, strlen("char-major-10-237"));
	assert_false(pv_modinfo_next(section, "alias", &at, &value));
	assert_false(pv_modinfo_next(section, "alias", &at, &value));
	at = 0;
	assert_true(pv_modinfo_next(section, "depends", &at, &value));
	assert_memory_equal(value.data, "a,b", 3);
	at = 0;
	assert_false(pv_modinfo_next(section, "softdep", &at, &value));
	pv_bytes_finish(&module);
}

static void a_last_entry_without_nul_ends_at_the_section(void **state)
{
	struct pv_span section = {.data = "alias=xyz", .len = 8}, value;
	size_t at = 0;
	assert_true(pv_modinfo_next(section, "alias", &at, &value));
	assert_int_equal(value.len, 2);
	assert_false(pv_modinfo_next(section, "alias", &at, &value));
	assert_int_equal(at, 8);
}

static void a_signature_behind_the_module_does_not_disturb(void **state)
{
	struct pv_bytes module = {0};
	struct pv_err err = PV_ERR_INIT;
	elf_module_write(&module, info);
	pv_bytes_append(&module, "~Module signature appended~\n", 28);
	assert_int_equal(look(module.data, module.len, &err), 0);
	pv_bytes_finish(&module);
}

static void what_is_no_module_is_refused_in_words(void **state)
{
	struct pv_bytes program = {0};
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(look("", 0, &err), -ENOEXEC);
	assert_string_equal(err.text, "it is too short for a kernel module");
	char text[128] = "#!/bin/sh";
	assert_int_equal(look(text, sizeof(text), &err), -ENOEXEC);
	assert_string_equal(err.text, "it is no ELF file");
	elf_program_write(&program, "hello");
	assert_int_equal(look(program.data, program.len, &err), -ENOEXEC);
	assert_string_equal(err.text, "it has no table of sections");
	program.data[EI_CLASS] = ELFCLASS32;
	assert_int_equal(look(program.data, program.len, &err), -ENOEXEC);
	assert_string_equal(err.text, "it is no 64-bit little-endian ELF file");
	pv_bytes_finish(&program);
}

static void every_cut_is_refused(void **state)
{
	struct pv_bytes module = {0};
	struct pv_err err = PV_ERR_INIT;
	elf_module_write(&module, info);
	for (size_t len = 0; len < module.len; len++)
		assert_int_equal(look(module.data, len, &err), -ENOEXEC);
	assert_int_equal(look(module.data, module.len, &err), 0);
	pv_bytes_finish(&module);
}

/* Each field of each header takes each extreme value; nothing may be read outside of the file. */
static void no_field_can_point_outside(void **state)
{
	static const uint64_t extremes[] = {0, 1, 0x3f, 0x40, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
	    0x7fffffffffffffff, UINT64_MAX - 63, UINT64_MAX};
	struct pv_bytes module = {0};
	struct pv_err err = PV_ERR_INIT;
	elf_module_write(&module, info);
	size_t table = module.len - 3 * sizeof(Elf64_Shdr);
	for (size_t at = 0; at < module.len; at++) {
		if (at == sizeof(Elf64_Ehdr))
			at = table;
		for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++) {
			for (size_t size = 1; size <= 8 && at + size <= module.len; size *= 2) {
				uint8_t saved[8];
				memcpy(saved, module.data + at, size);
				memcpy(module.data + at, &extremes[i], size);
				int status = look(module.data, module.len, &err);
				assert_true(status == 0 || status == -ENOEXEC);
				memcpy(module.data + at, saved, size);
			}
		}
	}
	pv_bytes_finish(&module);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_come_in_order),
	    cmocka_unit_test(a_last_entry_without_nul_ends_at_the_section),
	    cmocka_unit_test(a_signature_behind_the_module_does_not_disturb),
	    cmocka_unit_test(what_is_no_module_is_refused_in_words),
	    cmocka_unit_test(every_cut_is_refused),
	    cmocka_unit_test(no_field_can_point_outside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
