/*
 * Kernel files are hostile: whatever the bytes are, they are taken or refused in words, and what is
 * taken loads into guest memory without harm. The small memory makes segments miss it in every way.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/gmem.h"
#include "vmm/kernel.h"
#include "vmm/unpack.h"

#define RAM_SIZE     (2u << 20)
#define UNPACK_LIMIT (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const struct pv_kernel *kernel)
{
	static uint8_t ram[RAM_SIZE];
	struct pv_gmem mem = {0};
	struct pv_err err = PV_ERR_INIT;
	if (pv_gmem_add(&mem, 0, sizeof(ram), ram) < 0)
		abort();
	if (pv_kernel_load(kernel, &mem, &err) < 0 && err.text[0] == '\0')
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	struct pv_bytes out = {0};
	/* Alone first, where the limit can be small and is checked. */
	if (pv_unpack(pv_kernel_sniff(data, size), data, size, UNPACK_LIMIT, &out, &err) == 0 &&
	    out.len > UNPACK_LIMIT)
		abort();
	pv_bytes_finish(&out);

	err = (struct pv_err)PV_ERR_INIT;
	if (pv_kernel_parse(&kernel, data, size, "k", &err) < 0) {
		if (kernel || strncmp(err.text, "kernel `k`: ", 12) != 0)
			abort();
		return 0;
	}
	load(kernel);
	pv_kernel_destroy(kernel);
	return 0;
}
