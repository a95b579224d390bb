/*
 * Small ELF files for tests: a kernel module that is nothing but its .modinfo, and a static program
 * that prints a text.
 */
#ifndef PV_TESTS_UNIT_ELF_MODULE_H
#define PV_TESTS_UNIT_ELF_MODULE_H

#include <stddef.h>

struct pv_bytes;

/* Appends a module whose .modinfo has the given `key=value` strings (NULL-terminated array). */
void elf_module_write(struct pv_bytes *out, const char *const *info);

/* Appends a static x86-64 program that prints `text` and exits with 0. */
void elf_program_write(struct pv_bytes *out, const char *text);

#endif
