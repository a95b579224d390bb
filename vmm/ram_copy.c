/*
 * Copying guest RAM by its pages.
 *
 * Reading a private mapping where its file has a hole would fill the hole of a tmpfs with a page of
 * zeroes, in the image that everybody shares. So holes are asked for (SEEK_DATA) and left alone
 * unless the machine itself has written there, which /proc/self/pagemap tells: a present or swapped
 * page that does not belong to the file is the machine's own. Where there is no pagemap, all is
 * read.
 *
 * Runs on the thread that freezes a machine. Linux: Documentation/admin-guide/mm/pagemap.rst.
 */
#include "vmm/ram_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/ram.h"
#include "vmm/ram_image.h"

/* Pages looked at in one step. */
#define STEP_PAGES 1024u

#define PAGEMAP_FILE	(UINT64_C(1) << 61) /* of the file, or shared */
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

bool pv_ram_is_zero(const void *data, size_t len)
{
	const uint64_t *at = data;
	/* Most that is not zero shows it at once. */
	for (const uint64_t *end = at + len / 8; at < end; at += 4) {
		if (at[0] | at[1] | at[2] | at[3])
			return false;
	}
	return true;
}

/* Ranges of the image that hold data, in ascending order. */
struct cursor {
	const struct pv_ram_image *image;
	uint64_t start;
	uint64_t end; /* of the range that was found last; start == end: none is left */
};

static bool is_data(struct cursor *cursor, uint64_t at)
{
	while (cursor->end <= at && cursor->start < cursor->end) {
		if (!pv_ram_next_data(cursor->image, cursor->end, &cursor->start, &cursor->end))
			cursor->start = cursor->end = UINT64_MAX;
	}
	return at >= cursor->start && at < cursor->end;
}

static bool is_own(uint64_t entry)
{
	return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) && !(entry & PAGEMAP_FILE);
}

bool pv_ram_find_own(const struct pv_ram *ram, uint64_t *set)
{
	const uint64_t pages = ram->size / PV_RAM_PAGE;
	uint64_t entries[STEP_PAGES];
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool known = pagemap >= 0;
	for (uint64_t first = 0; first < pages && known; first += STEP_PAGES) {
		uint64_t count = pages - first < STEP_PAGES ? pages - first : STEP_PAGES;
		uint64_t place = ((uintptr_t)ram->host / PV_RAM_PAGE + first) * sizeof(entries[0]);
		known = pv_fd_pread_all(pagemap, entries, count * sizeof(entries[0]), place) == 0;
		for (uint64_t i = 0; i < count && known; i++) {
			if (is_own(entries[i]))
				pv_ram_set_add(set, first + i);
		}
	}
	pv_fd_close(&pagemap);
	return known;
}

/* What `pv_ram_copy` is about. */
struct copying {
	const struct pv_ram *ram;
	const uint64_t *own;
	struct cursor cursor;
	int fd;
};

static int write_at(int fd, const void *data, uint64_t len, uint64_t offset)
{
	return lseek(fd, (off_t)offset, SEEK_SET) < 0 ? -errno : pv_fd_write_all(fd, data, len);
}

static bool is_wanted(struct copying *copying, uint64_t at)
{
	return (!copying->own || pv_ram_set_has(copying->own, at / PV_RAM_PAGE) ||
		   is_data(&copying->cursor, at)) &&
	       !pv_ram_is_zero(copying->ram->host + at, PV_RAM_PAGE);
}

/* Writes the pages of a run that hold something; the run begins at `offset` in the file. */
static int copy_run(struct copying *copying, const struct pv_ram_run *run, uint64_t offset)
{
	const uint64_t stop = run->at + run->size;
	uint64_t start = run->at; /* [start, at) is to be written */
	int code = 0;
	for (uint64_t at = run->at; at <= stop && code == 0; at += PV_RAM_PAGE) {
		if (at < stop && is_wanted(copying, at))
			continue;
		if (at > start)
			code = write_at(copying->fd, copying->ram->host + start, at - start,
			    offset + (start - run->at));
		start = at + PV_RAM_PAGE;
	}
	return code;
}

int pv_ram_copy(const struct pv_ram *ram, const uint64_t *own, const struct pv_ram_run *runs,
    unsigned count, int fd, struct pv_err *err)
{
	struct copying copying = {
	    .ram = ram, .own = own, .cursor = {.image = ram->image}, .fd = fd};
	struct cursor *cursor = &copying.cursor;
	if (!pv_ram_next_data(cursor->image, 0, &cursor->start, &cursor->end))
		cursor->start = cursor->end = UINT64_MAX;
	uint64_t offset = 0;
	int code = 0;
	for (unsigned i = 0; i < count && code == 0; i++) {
		code = copy_run(&copying, &runs[i], offset);
		offset += runs[i].size;
	}
	if (code < 0)
		return pv_err_system(err, -code, "cannot copy guest memory");
	return 0;
}
