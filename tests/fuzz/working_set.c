/*
 * Fuzz target: a working set as it is stored. One that is read lies within its RAM, is written as
 * it was, and RAM that it is used for looks as before.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/ram.h"
#include "vmm/ram_image.h"
#include "vmm/ram_warm.h"
#include "vmm/working_set.h"

/* Sets for more RAM are read and not used. */
#define SIZE (UINT64_C(8) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct pv_working_set *set)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_ram_image *image;
	struct pv_ram ram;
	int fd = memfd_create("ram", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)SIZE) < 0 ||
	    pv_ram_image_create(&image, fd, 0, SIZE, &err) < 0 ||
	    pv_ram_init_private(&ram, -1, image, NULL, set, &err) < 0)
		abort();
	pv_ram_warm_gather(image, set);
	for (uint64_t at = 0; at < SIZE; at += PV_RAM_PAGE) {
		if (ram.host[at] != 0)
			__builtin_trap();
	}
	pv_ram_finish(&ram, NULL);
	pv_ram_image_unref(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_working_set *set;
	struct pv_bytes again = {0};
	if (pv_working_set_read(&set, data, size) < 0)
		return 0;
	for (unsigned i = 0; i < set->run_count; i++) {
		if (set->runs[i].at >= set->ram_size ||
		    set->runs[i].size > set->ram_size - set->runs[i].at)
			__builtin_trap();
	}
	if (pv_working_set_write(set, &again) < 0)
		abort();
	if (again.len != size || memcmp(again.data, data, size) != 0)
		__builtin_trap();
	if (set->ram_size == SIZE)
		use(set);
	pv_bytes_finish(&again);
	free(set);
	return 0;
}
