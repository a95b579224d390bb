/*
 * Fuzz target: a kernel module out of a package. Its .modinfo is looked for, and all values of the
 * keys that are used are read.
 */
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/modinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = {"depends", "softdep", "alias", "vermagic"};
	struct pv_err err = PV_ERR_INIT;
	struct pv_span section, value;
	/* Kept, or the compiler may drop the reads. */
	volatile unsigned sum = 0;
	if (pv_modinfo_find(&section, data, size, &err))
		return 0;
	for (unsigned i = 0; i < 4; i++) {
		for (size_t at = 0; pv_modinfo_next(section, keys[i], &at, &value);) {
			for (size_t n = 0; n < value.len; n++)
				sum = sum + ((const uint8_t *)value.data)[n];
		}
	}
	return 0;
}
