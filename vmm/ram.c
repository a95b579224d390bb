/*
 * Guest RAM in a file without a name.
 *
 * Huge pages are what makes a cold boot fast: with 4 KiB pages a stock kernel takes some ten
 * thousand page faults, each of them twice (in the host's page table and in the nested one), and
 * loading 50 MB of kernel alone costs ten times as much. A memfd has huge pages only where the
 * administrator changed shmem_enabled; a tmpfs of one's own may have them always. It is created
 * with the new mount interface and never attached anywhere, so no path leads to it and nothing is
 * left to unmount. Where that is not allowed, a memfd does.
 *
 * The whole RAM is one shared mapping: the part that the guest sees below 3 GiB first, then the
 * part that it sees from 4 GiB on. Pages come into being when the guest or the loader touches them.
 * Clearing punches a hole over the whole file: the pages go back to the host and the next touch
 * finds zeroes, which costs by what was used and not by the size.
 *
 * Private RAM is a private mapping of a file that nobody writes to any more, at the same place, so
 * memory slots need not know: KVM follows the mapping. A page is copied when it is first written.
 * It is never cleared by a hole, which would be one in everybody's image.
 *
 * Created, cleared and frozen on the thread that does so to the machine, while no vCPU runs. Linux:
 * Documentation/filesystems/tmpfs.rst, Documentation/admin-guide/mm/transhuge.rst.
 */
#include "vmm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/layout.h"
#include "vmm/ram_copy.h"
#include "vmm/reap.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

int pv_ram_open_pool(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0)
		return -1;
	int pool = -1;
	/* No limit of its own: what guests may use is decided by their configuration. */
	if (fsconfig(context, FSCONFIG_SET_STRING, "huge", "always", 0) == 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "size", "0", 0) == 0 &&
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		pool = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV);
	close(context);
	return pool;
}

static int open_file(int pool)
{
	if (pool >= 0) {
		int fd = openat(pool, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0)
			return fd;
	}
	return memfd_create("provium-ram", MFD_CLOEXEC);
}

static int make_file(int pool, uint64_t size, int *out, struct pv_err *err)
{
	unsigned long long mib = size >> 20;
	int fd = open_file(pool);
	if (fd < 0)
		return pv_err_system(err, errno, "cannot create guest memory of %llu MiB", mib);
	if (ftruncate(fd, (off_t)size) < 0) {
		int code = pv_err_system(err, errno, "cannot size guest memory of %llu MiB", mib);
		close(fd);
		return code;
	}
	*out = fd;
	return 0;
}

/* Maps the file so that huge pages of the file are huge pages of the mapping. */
static void *map_file(int fd, uint64_t offset, uint64_t size, int sharing)
{
	const int protection = PROT_READ | PROT_WRITE;
	const int flags = sharing | MAP_NORESERVE;
	void *at = mmap(NULL, size, protection, flags, fd, (off_t)offset);
	if (at == MAP_FAILED || (uintptr_t)at % HUGE_PAGE == 0)
		return at;
	munmap(at, size);
	uint8_t *room = mmap(
	    NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return MAP_FAILED;
	uint8_t *aligned = room + (-(uintptr_t)room & (HUGE_PAGE - 1));
	if (aligned > room)
		munmap(room, (size_t)(aligned - room));
	munmap(aligned + size, (size_t)(room + HUGE_PAGE - aligned));
	at = mmap(aligned, size, protection, flags | MAP_FIXED, fd, (off_t)offset);
	if (at == MAP_FAILED)
		munmap(aligned, size);
	return at;
}

static int add_regions(struct pv_ram *ram)
{
	uint64_t low = ram->size < PV_LAYOUT_LOW_MEMORY_END ? ram->size : PV_LAYOUT_LOW_MEMORY_END;
	int code = pv_gmem_add(&ram->mem, 0, low, ram->host);
	if (code == 0 && ram->size > low)
		code =
		    pv_gmem_add(&ram->mem, PV_LAYOUT_HIGH_MEMORY, ram->size - low, ram->host + low);
	return code;
}

/* Maps the file, or the image, and tells where the guest sees it. */
static int set_up(struct pv_ram *ram, int fd, uint64_t offset, int sharing, struct pv_err *err)
{
	unsigned long long mib = ram->size >> 20;
	void *host = map_file(fd, offset, ram->size, sharing);
	if (host == MAP_FAILED)
		return pv_err_system(err, errno, "cannot map guest memory of %llu MiB", mib);
	ram->host = host;
	int code = add_regions(ram);
	if (code < 0)
		return pv_err_set(err, PV_ERR_INTERNAL, -code,
		    "guest memory of %llu MiB does not fit the address map", mib);
	return 0;
}

int pv_ram_init(struct pv_ram *ram, int pool, uint64_t size, struct pv_err *err)
{
	*ram = (struct pv_ram){.fd = -1, .size = size, .pool = pool};
	int code = make_file(pool, size, &ram->fd, err);
	if (code == 0)
		code = set_up(ram, ram->fd, 0, MAP_SHARED, err);
	if (code < 0)
		pv_ram_finish(ram, NULL);
	return code;
}

int pv_ram_init_private(
    struct pv_ram *ram, int pool, const struct pv_ram_image *image, struct pv_err *err)
{
	*ram = (struct pv_ram){.fd = -1, .size = image->size, .pool = pool};
	int code = set_up(ram, image->fd, image->offset, MAP_PRIVATE, err);
	if (code < 0)
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

/* Puts another file in the place of what is mapped. */
static int replace(
    const struct pv_ram *ram, int fd, uint64_t offset, int sharing, struct pv_err *err)
{
	if (mmap(ram->host, ram->size, PROT_READ | PROT_WRITE, sharing | MAP_NORESERVE | MAP_FIXED,
		fd, (off_t)offset) == MAP_FAILED)
		return pv_err_system(err, errno, "cannot map guest memory of %llu MiB anew",
		    (unsigned long long)ram->size >> 20);
	return 0;
}

static int clear_private(struct pv_ram *ram, struct pv_err *err)
{
	int fd = -1;
	int code = make_file(ram->pool, ram->size, &fd, err);
	if (code < 0)
		return code;
	code = replace(ram, fd, 0, MAP_SHARED, err);
	if (code < 0)
		close(fd);
	else
		ram->fd = fd;
	return code;
}

int pv_ram_clear(struct pv_ram *ram, struct pv_err *err)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	if (ram->fd < 0)
		return clear_private(ram, err);
	while (fallocate(ram->fd, mode, 0, (off_t)ram->size) < 0) {
		if (errno != EINTR)
			return pv_err_system(err, errno, "cannot clear guest memory");
	}
	return 0;
}

int pv_ram_freeze(struct pv_ram *ram, const struct pv_ram_image *base, struct pv_ram_image *out,
    struct pv_err *err)
{
	*out = (struct pv_ram_image){.fd = -1, .size = ram->size};
	if (ram->fd >= 0) {
		int code = replace(ram, ram->fd, 0, MAP_PRIVATE, err);
		if (code < 0)
			return code;
		out->fd = ram->fd;
		ram->fd = -1;
		return 0;
	}
	int code = make_file(ram->pool, ram->size, &out->fd, err);
	if (code < 0)
		return code;
	code = pv_ram_copy(ram, base, out->fd, err);
	if (code == 0)
		code = replace(ram, out->fd, 0, MAP_PRIVATE, err);
	if (code < 0)
		pv_fd_close(&out->fd);
	return code;
}

int pv_ram_rewind(struct pv_ram *ram, const struct pv_ram_image *image, struct pv_err *err)
{
	if (ram->fd < 0) {
		if (madvise(ram->host, ram->size, MADV_DONTNEED) < 0)
			return pv_err_system(err, errno, "cannot drop changes of guest memory");
		return 0;
	}
	int code = replace(ram, image->fd, image->offset, MAP_PRIVATE, err);
	if (code == 0)
		pv_fd_close(&ram->fd);
	return code;
}
