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
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/ram.h"

/* Pages looked at in one step. */
#define STEP_PAGES 4096u

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

bool pv_ram_next_data(
    const struct pv_ram_image *image, uint64_t from, uint64_t *start, uint64_t *end)
{
	if (from >= image->size)
		return false;
	*start = from;
	*end = image->size;
	off_t data = lseek(image->fd, (off_t)(image->offset + from), SEEK_DATA);
	if (data < 0)
		return errno != ENXIO;
	off_t hole = lseek(image->fd, data, SEEK_HOLE);
	*start = ((uint64_t)data - image->offset) & ~(uint64_t)(PV_RAM_PAGE - 1);
	if (*start >= image->size)
		return false;
	if (hole >= 0 && (uint64_t)hole - image->offset < image->size)
		*end = ((uint64_t)hole - image->offset + PV_RAM_PAGE - 1) &
		       ~(uint64_t)(PV_RAM_PAGE - 1);
	return true;
}

/* Ranges of the base that hold data, in ascending order. */
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

/* Writes the pages of one step that hold something, in runs. */
static int copy_step(const struct pv_ram *ram, struct cursor *cursor, const uint64_t *entries,
    uint64_t first, uint64_t count, int fd)
{
	uint64_t run = 0;
	for (uint64_t i = 0; i <= count; i++) {
		const uint64_t at = (first + i) * PV_RAM_PAGE;
		bool wanted = i < count &&
			      (!entries || is_own(entries[i]) || is_data(cursor, at)) &&
			      !pv_ram_is_zero(ram->host + at, PV_RAM_PAGE);
		if (wanted) {
			run++;
			continue;
		}
		const uint64_t start = at - run * PV_RAM_PAGE;
		if (run > 0 && lseek(fd, (off_t)start, SEEK_SET) < 0)
			return -errno;
		int code = run > 0 ? pv_fd_write_all(fd, ram->host + start, run * PV_RAM_PAGE) : 0;
		if (code < 0)
			return code;
		run = 0;
	}
	return 0;
}

int pv_ram_copy(
    const struct pv_ram *ram, const struct pv_ram_image *base, int fd, struct pv_err *err)
{
	const uint64_t pages = ram->size / PV_RAM_PAGE;
	uint64_t *entries = calloc(STEP_PAGES, sizeof(entries[0]));
	if (!entries)
		return pv_err_nomem(err, "copy of guest memory");
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct cursor cursor = {.image = base, .start = 0, .end = 0};
	if (!pv_ram_next_data(base, 0, &cursor.start, &cursor.end))
		cursor.start = cursor.end = UINT64_MAX;
	int code = 0;
	for (uint64_t first = 0; first < pages && code == 0; first += STEP_PAGES) {
		uint64_t count = pages - first < STEP_PAGES ? pages - first : STEP_PAGES;
		uint64_t place = ((uintptr_t)ram->host / PV_RAM_PAGE + first) * sizeof(entries[0]);
		bool known = pagemap >= 0 && pv_fd_pread_all(pagemap, entries,
						 count * sizeof(entries[0]), place) == 0;
		code = copy_step(ram, &cursor, known ? entries : NULL, first, count, fd);
	}
	pv_fd_close(&pagemap);
	free(entries);
	if (code < 0)
		return pv_err_system(err, -code, "cannot copy guest memory");
	return 0;
}
