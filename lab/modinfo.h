/*
 * What a kernel module says about itself: the `.modinfo` section of its ELF file, a row of
 * NUL-terminated `key=value` strings (Linux: include/linux/moduleparam.h). The file is hostile:
 * every offset is checked against its size.
 */
#ifndef PV_LAB_MODINFO_H
#define PV_LAB_MODINFO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

struct pv_err;

/*
 * Finds the section in a 64-bit little-endian ELF file. `section` points into `data`. Returns 0, or
 * -ENOEXEC with a sentence that says what is wrong with the file (without its name).
 */
int pv_modinfo_find(struct pv_span *section, const void *data, size_t len, struct pv_err *err);

/*
 * The next value of `key`, from `*at` on (0 at first), which is moved behind it. `value` points
 * into the section and is not NUL-terminated. Returns false at the end.
 */
bool pv_modinfo_next(struct pv_span section, const char *key, size_t *at, struct pv_span *value);

#endif
