/*
 * A page of a private mapping that was written is the machine's own: it no longer belongs to the
 * file. The host's page map tells which these are. Linux 6.7 and later look only where something
 * is mapped (PAGEMAP_SCAN); before that each page's entry is read, mapped or not.
 *
 * There are two ways back. Dropping the machine's own pages is cheap at first, but KVM drops its
 * mappings as well, and then the guest pays a page fault for each page that it touches, and two or
 * three for one that it writes: read, and be refused to write, and again because the copy that is
 * made changes the host's tables meanwhile. So a few pages (which is what a test leaves behind) get
 * their old content where they are: the next run finds all that the last one used, mapped and
 * writable. Many are dropped, in ranges, so that most of what was only read or executed stays.
 *
 * Linux: Documentation/admin-guide/mm/pagemap.rst.
 */
#include "vmm/ram_own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/ram.h"
#include "vmm/ram_image.h"
#include "vmm/ram_runs.h"

/* Pages that are copied back: the time of some hundred page faults, and memory that stays used. */
#define COPY_MAX 1024u
/* Ranges that are dropped. */
#define DROPS_MAX 64u
/* RAM of which each page is looked at, for a way back that is to be short. */
#define LOOK_MAX (UINT64_C(2) << 30)

/* Pages looked at in one step. */
#define STEP_PAGES 1024u
/* Ranges found in one step. */
#define STEP_REGIONS 256u

#define PAGEMAP_FILE	(UINT64_C(1) << 61) /* of the file, or shared */
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

/* --- PAGEMAP_SCAN (Linux: include/uapi/linux/fs.h), which older headers lack --- */

struct scan_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct scan {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};

#define SCAN	     _IOWR('f', 16, struct scan)
#define SCAN_FILE    (UINT64_C(1) << 2)
#define SCAN_PRESENT (UINT64_C(1) << 3)
#define SCAN_SWAPPED (UINT64_C(1) << 4)

static void add_region(const struct pv_ram *ram, const struct scan_region *region, uint64_t *set)
{
	const uint64_t base = (uintptr_t)ram->host;
	for (uint64_t at = region->start; at < region->end; at += PV_RAM_PAGE)
		pv_ram_set_add(set, (at - base) / PV_RAM_PAGE);
}

/* Returns 0 or -errno: -ENOTTY where the host's kernel is too old. */
static int scan(const struct pv_ram *ram, int pagemap, uint64_t *set)
{
	struct scan_region regions[STEP_REGIONS];
	struct scan scan = {
	    .size = sizeof(scan),
	    .start = (uintptr_t)ram->host,
	    .end = (uintptr_t)ram->host + ram->size,
	    .vec = (uintptr_t)regions,
	    .vec_len = STEP_REGIONS,
	    .category_inverted = SCAN_FILE,
	    .category_mask = SCAN_FILE,
	    .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
	    .return_mask = SCAN_PRESENT | SCAN_SWAPPED,
	};
	while (scan.start < scan.end) {
		int count = ioctl(pagemap, SCAN, &scan);
		if (count < 0)
			return -errno;
		for (int i = 0; i < count; i++)
			add_region(ram, &regions[i], set);
		if (scan.walk_end <= scan.start)
			return -EIO;
		scan.start = scan.walk_end;
	}
	return 0;
}

/* --- looking at each page --- */

static bool is_own(uint64_t entry)
{
	return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) && !(entry & PAGEMAP_FILE);
}

static int look(const struct pv_ram *ram, int pagemap, uint64_t *set)
{
	const uint64_t pages = ram->size / PV_RAM_PAGE;
	uint64_t entries[STEP_PAGES];
	for (uint64_t first = 0; first < pages; first += STEP_PAGES) {
		uint64_t count = pages - first < STEP_PAGES ? pages - first : STEP_PAGES;
		uint64_t place = ((uintptr_t)ram->host / PV_RAM_PAGE + first) * sizeof(entries[0]);
		int code = pv_fd_pread_all(pagemap, entries, count * sizeof(entries[0]), place);
		if (code < 0)
			return code;
		for (uint64_t i = 0; i < count; i++) {
			if (is_own(entries[i]))
				pv_ram_set_add(set, first + i);
		}
	}
	return 0;
}

/* Looks at each page only when RAM is not larger than `look_max`. */
static bool find(const struct pv_ram *ram, uint64_t look_max, uint64_t *set)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return false;
	int code = scan(ram, pagemap, set);
	if (code == -ENOTTY && ram->size <= look_max)
		code = look(ram, pagemap, set);
	close(pagemap);
	return code == 0;
}

bool pv_ram_own_find(const struct pv_ram *ram, uint64_t *set)
{
	return find(ram, UINT64_MAX, set);
}

/* --- the ways back --- */

/* Gives the runs of the set to `act`; they do not touch. Returns 0 or what it returned. */
static int each_run(const struct pv_ram *ram, const uint64_t *set,
    int (*act)(const struct pv_ram *ram, uint64_t at, uint64_t size))
{
	const uint64_t pages = ram->size / PV_RAM_PAGE;
	uint64_t page = 0;
	while (page < pages) {
		if (set[page / 64] == 0) {
			page = (page / 64 + 1) * 64;
			continue;
		}
		uint64_t first = page;
		while (page < pages && pv_ram_set_has(set, page))
			page++;
		int code =
		    page > first ? act(ram, first * PV_RAM_PAGE, (page - first) * PV_RAM_PAGE) : 0;
		if (code < 0)
			return code;
		page++;
	}
	return 0;
}

/* Holes of the image are read as zeroes and stay holes. */
static int copy_back(const struct pv_ram *ram, uint64_t at, uint64_t size)
{
	return pv_ram_image_read(ram->image, at, ram->host + at, size);
}

static int drop(const struct pv_ram *ram, uint64_t at, uint64_t size)
{
	return madvise(ram->host + at, size, MADV_DONTNEED) < 0 ? -errno : 0;
}

static int drop_ranges(const struct pv_ram *ram, const uint64_t *set)
{
	struct pv_ram_run runs[DROPS_MAX];
	unsigned count = pv_ram_runs_cover(set, ram->size / PV_RAM_PAGE, DROPS_MAX, runs);
	int code = 0;
	for (unsigned i = 0; i < count && code == 0; i++)
		code = drop(ram, runs[i].at, runs[i].size);
	return code;
}

static uint64_t count_pages(const uint64_t *set, uint64_t words)
{
	uint64_t count = 0;
	for (uint64_t i = 0; i < words; i++)
		count += (uint64_t)__builtin_popcountll(set[i]);
	return count;
}

int pv_ram_own_undo(struct pv_ram *ram)
{
	const uint64_t words = PV_RAM_SET_WORDS(ram->size / PV_RAM_PAGE);
	uint64_t *own = calloc(words, sizeof(*own));
	int code = own && find(ram, LOOK_MAX, own) ? 0 : -ENODATA;
	const uint64_t count = code == 0 ? count_pages(own, words) : 0;
	if (code == 0)
		code = count <= COPY_MAX ? each_run(ram, own, copy_back) : drop_ranges(ram, own);
	ram->restored = code == 0 && count > 0 && count <= COPY_MAX;
	free(own);
	/* However it failed: without the machine's own pages all is as it was. */
	return code == 0 ? 0 : drop(ram, 0, ram->size);
}
