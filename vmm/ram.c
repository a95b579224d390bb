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
 * Private RAM is a private mapping of files that nobody writes to any more (an image), at the same
 * place, so memory slots need not know: KVM follows the mapping. A page is copied when it is first
 * written. It is never cleared by a hole, which would be one in everybody's image.
 *
 * Created, cleared and frozen on the thread that does so to the machine, while no vCPU runs. Linux:
 * Documentation/filesystems/tmpfs.rst, Documentation/admin-guide/mm/transhuge.rst.
 */
#include "vmm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/layout.h"
#include "vmm/ram_copy.h"
#include "vmm/ram_image.h"
#include "vmm/ram_layer.h"
#include "vmm/ram_own.h"
#include "vmm/ram_warm.h"
#include "vmm/reap.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

#define BALLAST_SIZE (16u * PV_RAM_PAGE)

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

/* Puts another file in the place of what is mapped. Returns 0 or -errno. */
static int replace(const struct pv_ram *ram, int fd, uint64_t offset, int sharing)
{
	void *at = mmap(ram->host, ram->size, PROT_READ | PROT_WRITE,
	    sharing | MAP_NORESERVE | MAP_FIXED, fd, (off_t)offset);
	return at == MAP_FAILED ? -errno : 0;
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

static int explain_map(const struct pv_ram *ram, int code, struct pv_err *err)
{
	return pv_err_system(
	    err, -code, "cannot map guest memory of %llu MiB", (unsigned long long)ram->size >> 20);
}

/* Tells where the guest sees what is mapped. */
static int set_up(struct pv_ram *ram, struct pv_err *err)
{
	int code = add_regions(ram);
	if (code < 0)
		return pv_err_set(err, PV_ERR_INTERNAL, -code,
		    "guest memory of %llu MiB does not fit the address map",
		    (unsigned long long)ram->size >> 20);
	return 0;
}

int pv_ram_init(struct pv_ram *ram, int pool, uint64_t size, struct pv_err *err)
{
	*ram = (struct pv_ram){.fd = -1, .size = size, .pool = pool};
	int code = make_file(pool, size, &ram->fd, err);
	if (code == 0) {
		void *host = map_file(ram->fd, 0, size, MAP_SHARED);
		if (host == MAP_FAILED)
			code = explain_map(ram, -errno, err);
		else
			ram->host = host;
	}
	if (code == 0)
		code = set_up(ram, err);
	if (code < 0)
		pv_ram_finish(ram, NULL);
	return code;
}

/* Maps an image at the place where RAM is. */
static int map_again(struct pv_ram *ram, const struct pv_ram_image *image)
{
	const struct pv_ram_image *ground = image->ground;
	int code = replace(ram, ground->fd, ground->pieces[0].offset, MAP_PRIVATE);
	return code == 0 ? pv_ram_image_map(image, ground, ram->host) : code;
}

/* The same where there is room, or at the place that was given. */
static int map_new(struct pv_ram *ram, const struct pv_ram_image *image)
{
	const struct pv_ram_image *ground = image->ground;
	if (ram->host)
		return map_again(ram, image);
	void *host = map_file(ground->fd, ground->pieces[0].offset, ram->size, MAP_PRIVATE);
	if (host == MAP_FAILED)
		return -errno;
	int code = pv_ram_image_map(image, ground, host);
	if (code < 0)
		munmap(host, ram->size);
	else
		ram->host = host;
	return code;
}

/* Maps an image, in one piece when there is no room for its pieces. */
static int map_image(struct pv_ram *ram, struct pv_ram_image *image,
    int (*map)(struct pv_ram *ram, const struct pv_ram_image *image), struct pv_err *err)
{
	struct pv_ram_image *used = pv_ram_image_use(image, false, err);
	if (!used)
		return -err->code;
	int code = map(ram, used);
	if (code == -ENOMEM && used->piece_count > 1) {
		pv_ram_image_leave(used);
		used = pv_ram_image_use(image, true, err);
		if (!used)
			return -err->code;
		code = map(ram, used);
	}
	if (code < 0) {
		pv_ram_image_leave(used);
		return explain_map(ram, code, err);
	}
	ram->image = pv_ram_image_ref(image);
	ram->mapped = used;
	return 0;
}

/* Private RAM has no image any more, or gets another one. */
static void leave_image(struct pv_ram *ram)
{
	pv_ram_image_leave(ram->mapped);
	pv_ram_image_unref(ram->image);
	ram->mapped = ram->image = NULL;
	ram->mixed = ram->restored = ram->fresh = false;
}

/* The place of RAM that there was, or the whole of it when it is the same. True: it is. */
static bool take_over(struct pv_ram *ram, struct pv_ram_image *image, struct pv_ram *old)
{
	const bool same = old->image && pv_ram_image_is_same(old->image, image);
	ram->host = old->host;
	if (same) {
		ram->image = pv_ram_image_ref(image);
		ram->mapped = old->mapped;
		ram->restored = old->restored;
		old->mapped = NULL;
	}
	pv_ram_leave(old);
	*old = (struct pv_ram){.fd = -1};
	return same;
}

/* Maps an image where nothing of it is mapped yet. */
static int begin_cold(struct pv_ram *ram, struct pv_ram_image *image,
    const struct pv_working_set *set, struct pv_err *err)
{
	int code = map_image(ram, image, map_new, err);
	ram->fresh = code == 0 && !set;
	if (code == 0 && set)
		pv_ram_warm(ram, set);
	return code;
}

int pv_ram_init_private(struct pv_ram *ram, int pool, struct pv_ram_image *image,
    struct pv_ram *old, const struct pv_working_set *set, struct pv_err *err)
{
	*ram = (struct pv_ram){.fd = -1, .size = image->size, .pool = pool};
	int code = 0;
	if (!old || !take_over(ram, image, old))
		code = begin_cold(ram, image, set, err);
	if (code == 0)
		code = set_up(ram, err);
	if (code < 0)
		pv_ram_finish(ram, NULL);
	return code;
}

void pv_ram_finish(struct pv_ram *ram, struct pv_reap *reap)
{
	if (!ram || ram->size == 0)
		return;
	leave_image(ram);
	pv_reap_mapping(reap, ram->host, ram->size);
	pv_reap_fd(reap, ram->fd);
	*ram = (struct pv_ram){.fd = -1};
}

void pv_ram_leave(struct pv_ram *ram)
{
	leave_image(ram);
	pv_fd_close(&ram->fd);
	*ram = (struct pv_ram){.fd = -1, .host = ram->host, .size = ram->size};
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

static int clear_private(struct pv_ram *ram, struct pv_err *err)
{
	int fd = -1;
	int code = make_file(ram->pool, ram->size, &fd, err);
	if (code < 0)
		return code;
	code = replace(ram, fd, 0, MAP_SHARED);
	if (code < 0) {
		close(fd);
		return explain_map(ram, code, err);
	}
	leave_image(ram);
	ram->fd = fd;
	return 0;
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

/* --- images --- */

/* Private RAM begins as `image` from now on, which `used` is mapped for. Takes both. */
static void begin_as(struct pv_ram *ram, struct pv_ram_image *image, struct pv_ram_image *used)
{
	const bool restored = ram->restored;
	leave_image(ram);
	ram->image = image;
	ram->mapped = used;
	ram->restored = restored; /* a layer lies over changes only */
}

/* The file becomes the image's. The descriptor stays ours until nothing can fail any more. */
static int freeze_shared(struct pv_ram *ram, struct pv_ram_image **out, struct pv_err *err)
{
	int fd = fcntl(ram->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return pv_err_system(err, errno, "cannot freeze guest memory");
	int code = pv_ram_image_create(out, fd, 0, ram->size, err);
	if (code == 0)
		code = map_image(ram, *out, map_again, err);
	if (code < 0) {
		pv_ram_image_unref(*out);
		*out = NULL;
		return code;
	}
	pv_fd_close(&ram->fd);
	return 0;
}

/* Writes all of private RAM to a new file. */
static int copy_all(const struct pv_ram *ram, int *fd, struct pv_err *err)
{
	const struct pv_ram_run all = {.at = 0, .size = ram->size};
	uint64_t *own = calloc(PV_RAM_SET_WORDS(ram->size / PV_RAM_PAGE), sizeof(*own));
	if (!own)
		return pv_err_nomem(err, "guest memory");
	bool known = !ram->mixed && pv_ram_own_find(ram, own);
	int code = make_file(ram->pool, ram->size, fd, err);
	if (code == 0)
		code = pv_ram_copy(ram, known ? own : NULL, &all, 1, *fd, err);
	if (code < 0)
		pv_fd_close(fd);
	free(own);
	return code;
}

/* A copy takes the place of all mappings at once. */
static int freeze_copy(struct pv_ram *ram, struct pv_ram_image **out, struct pv_err *err)
{
	struct pv_ram_image *used;
	int fd = -1;
	int code = copy_all(ram, &fd, err);
	if (code < 0)
		return code;
	code = pv_ram_image_create(out, fd, 0, ram->size, err);
	if (code < 0)
		return code;
	used = pv_ram_image_use(*out, false, err);
	code = used ? replace(ram, fd, 0, MAP_PRIVATE) : -err->code;
	if (code < 0) {
		pv_ram_image_leave(used);
		pv_ram_image_unref(*out);
		*out = NULL;
		return explain_map(ram, code, err);
	}
	begin_as(ram, pv_ram_image_ref(*out), used);
	ram->restored = false;
	return 0;
}

/*
 * Some mappings that are there to be given back: a process that was refused a mapping has one more
 * than it may, and is refused every other one too, even one that would take the place of many.
 * NULL: there is no room for these.
 */
static void *take_ballast(void)
{
	uint8_t *ballast =
	    mmap(NULL, BALLAST_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ballast == MAP_FAILED)
		return NULL;
	for (uint64_t at = 0; at < BALLAST_SIZE; at += 2 * PV_RAM_PAGE) {
		if (mprotect(ballast + at, PV_RAM_PAGE, PROT_READ) < 0) {
			munmap(ballast, BALLAST_SIZE);
			return NULL;
		}
	}
	return ballast;
}

/* Maps a new layer over what it was made of. Returns what `pv_ram_image_use` does, or NULL. */
static struct pv_ram_image *map_layer(struct pv_ram *ram, struct pv_ram_image *layer)
{
	struct pv_err ignored = PV_ERR_INIT;
	void *ballast = take_ballast();
	if (!ballast)
		return NULL;
	struct pv_ram_image *used = pv_ram_image_use(layer, false, &ignored);
	if (used && pv_ram_image_map(layer, layer->base, ram->host) < 0) {
		ram->mixed = true;
		pv_ram_image_leave(used);
		used = NULL;
	}
	munmap(ballast, BALLAST_SIZE);
	return used;
}

/*
 * The pages that were written into a layer, which is mapped over them: what is seen stays the same
 * at any moment. Returns 1 when all has to be copied instead: it does not pay to do otherwise, or
 * there is no room for the mappings.
 */
static int freeze_layer(struct pv_ram *ram, struct pv_ram_image **out, struct pv_err *err)
{
	struct pv_ram_image *layer = NULL;
	int code = ram->mixed ? 1 : pv_ram_layer_make(ram, &layer, err);
	if (code != 0)
		return code;
	if (layer == ram->image) {
		*out = layer;
		return 0;
	}
	struct pv_ram_image *used = map_layer(ram, layer);
	if (!used) {
		pv_ram_image_unref(layer);
		return 1;
	}
	begin_as(ram, pv_ram_image_ref(layer), used);
	*out = layer;
	return 0;
}

int pv_ram_freeze(struct pv_ram *ram, struct pv_ram_image **out, struct pv_err *err)
{
	*out = NULL;
	if (ram->fd >= 0)
		return freeze_shared(ram, out, err);
	int code = freeze_layer(ram, out, err);
	return code == 1 ? freeze_copy(ram, out, err) : code;
}

int pv_ram_rewind(struct pv_ram *ram, struct pv_ram_image *image, struct pv_err *err)
{
	if (pv_ram_is_private(ram) && ram->image == image) {
		int undone = pv_ram_own_undo(ram);
		return undone < 0
			   ? pv_err_system(err, -undone, "cannot undo changes of guest memory")
			   : 0;
	}
	struct pv_ram before = *ram;
	int code = map_image(ram, image, map_again, err);
	if (code < 0)
		return code;
	pv_ram_image_leave(before.mapped);
	pv_ram_image_unref(before.image);
	ram->mixed = ram->restored = ram->fresh = false;
	pv_fd_close(&ram->fd);
	return 0;
}
