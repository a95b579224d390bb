/*
 * Copying guest RAM by its pages.
 *
 * Reading a private mapping where its file has a hole would fill the hole of a tmpfs with a page of
 * zeroes, in the image that everybody shares. So holes are asked for (SEEK_DATA) and left alone
 * unless the machine itself has written there (vmm/ram_own.h). Where that cannot be told, all is
 * read.
 *
 * Runs on the thread that freezes a machine.
 */
#include "vmm/ram_copy.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/ram.h"
#include "vmm/ram_image.h"

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
