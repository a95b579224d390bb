/*
 * Guest RAM in a memfd.
 *
 * The whole of it is one shared mapping: the part that the guest sees below 3 GiB first, then the
 * part that it sees from 4 GiB on. Pages come into being when the guest or the loader touches them.
 * Clearing punches a hole over the whole file: the pages go back to the host and the next touch
 * finds zeroes, which costs by what was used and not by the size.
 *
 * Created and cleared on the thread that builds or resets the machine, while no vCPU runs.
 */
#include "vmm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/layout.h"
#include "vmm/reap.h"

static int add_regions(struct pv_ram *ram)
{
	uint64_t low = ram->size < PV_LAYOUT_LOW_MEMORY_END ? ram->size : PV_LAYOUT_LOW_MEMORY_END;
	int code = pv_gmem_add(&ram->mem, 0, low, ram->host);
	if (code == 0 && ram->size > low)
		code =
		    pv_gmem_add(&ram->mem, PV_LAYOUT_HIGH_MEMORY, ram->size - low, ram->host + low);
	return code;
}

int pv_ram_init(struct pv_ram *ram, uint64_t size, struct pv_err *err)
{
	*ram = (struct pv_ram){.fd = -1, .size = size};
	unsigned long long mib = size >> 20;
	ram->fd = memfd_create("provium-ram", MFD_CLOEXEC);
	if (ram->fd < 0)
		return pv_err_system(err, errno, "cannot create guest memory of %llu MiB", mib);
	int code;
	if (ftruncate(ram->fd, (off_t)size) < 0) {
		code = pv_err_system(err, errno, "cannot size guest memory of %llu MiB", mib);
		goto fail;
	}
	void *host =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
	if (host == MAP_FAILED) {
		code = pv_err_system(err, errno, "cannot map guest memory of %llu MiB", mib);
		goto fail;
	}
	ram->host = host;
	code = add_regions(ram);
	if (code < 0) {
		code = pv_err_set(err, PV_ERR_INTERNAL, -code,
		    "guest memory of %llu MiB does not fit the address map", mib);
		goto fail;
	}
	return 0;

fail:
	pv_ram_finish(ram, NULL);
	return code;
}

void pv_ram_finish(struct pv_ram *ram, struct pv_reap *reap)
{
	if (!ram || ram->size == 0)
		return;
	pv_reap_mapping(reap, ram->host, ram->size);
	pv_reap_fd(reap, ram->fd);
	*ram = (struct pv_ram){.fd = -1};
}

int pv_ram_plug(const struct pv_ram *ram, int vm_fd, struct pv_err *err)
{
	for (unsigned i = 0; i < ram->mem.count; i++) {
		const struct pv_gmem_region *region = &ram->mem.regions[i];
		struct kvm_userspace_memory_region slot = {
		    .slot = i,
		    .guest_phys_addr = region->gpa,
		    .memory_size = region->size,
		    .userspace_addr = (uintptr_t)region->host,
		};
		if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return pv_err_system(err, errno,
			    "KVM refuses guest memory of %llu MiB at 0x%llx",
			    (unsigned long long)region->size >> 20,
			    (unsigned long long)region->gpa);
	}
	return 0;
}

int pv_ram_clear(struct pv_ram *ram, struct pv_err *err)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	while (fallocate(ram->fd, mode, 0, (off_t)ram->size) < 0) {
		if (errno != EINTR)
			return pv_err_system(err, errno, "cannot clear guest memory");
	}
	return 0;
}
