/*
 * Layouts, all in one mapping that begins without any access:
 *
 *   few     each buffer ends where a page ends that is followed by one without access. The usual
 *           call has so few and such small ones that a spare mapping of that shape, whose pages are
 *           there already, saves it all system calls.
 *   many    one after another, with such a page behind the last only: the kernel has a limit on
 *           mappings (vm.max_map_count).
 *
 * Buffers begin at multiples of 16, so up to 15 bytes behind one may be its own padding. Called
 * under the loop lock, which guards the spares.
 */
#include "agent/guest/buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/proto/protocol.h"

#define PAGE	      UINT64_C(4096)
#define ALIGN(size)   (((uint64_t)(size) + 15) & ~UINT64_C(15))
#define PAGES_OF(len) (((uint64_t)(len) + PAGE - 1) & ~(PAGE - 1))

/* Buffers that get pages of their own. */
#define APART_MAX 256

/* A spare: places of one page each, every one followed by a page without access. */
#define SPARE_PLACES 8
#define SPARE_LEN    (SPARE_PLACES * 2 * PAGE)

static uint8_t *map_nothing(uint64_t len)
{
	void *map = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return map == MAP_FAILED ? NULL : map;
}

static bool open_pages(uint8_t *at, uint64_t len)
{
	return len == 0 || mprotect(at, len, PROT_READ | PROT_WRITE) == 0;
}

static uint8_t *make_spare(void)
{
	uint8_t *map = map_nothing(SPARE_LEN);
	bool fine = map != NULL;
	for (unsigned i = 0; fine && i < SPARE_PLACES; i++)
		fine = open_pages(map + i * 2 * PAGE, PAGE);
	if (fine || !map)
		return map;
	munmap(map, SPARE_LEN);
	return NULL;
}

static bool fits_spare(const struct pv_buffers *buffers)
{
	for (size_t i = 0; i < buffers->count; i++) {
		if ((uint64_t)buffers->lens[i] > PAGE)
			return false;
	}
	return buffers->count <= SPARE_PLACES;
}

static bool place_in_spare(struct pv_buffers *buffers, struct pv_buffers_spares *spares)
{
	buffers->map = spares->count > 0 ? spares->maps[--spares->count] : make_spare();
	if (!buffers->map)
		return false;
	for (size_t i = 0; i < buffers->count; i++)
		buffers->at[i] = buffers->map + i * 2 * PAGE + PAGE - ALIGN(buffers->lens[i]);
	return true;
}

static bool place_apart(struct pv_buffers *buffers)
{
	uint64_t size = 0;
	for (size_t i = 0; i < buffers->count; i++)
		size += PAGES_OF(buffers->lens[i]) + PAGE;
	buffers->map = map_nothing(size);
	if (!buffers->map)
		return false;
	buffers->map_len = size;
	uint8_t *at = buffers->map;
	for (size_t i = 0; i < buffers->count; i++) {
		uint64_t pages = PAGES_OF(buffers->lens[i]);
		if (!open_pages(at, pages))
			return false;
		buffers->at[i] = at + pages - ALIGN(buffers->lens[i]);
		at += pages + PAGE;
	}
	return true;
}

static bool place_together(struct pv_buffers *buffers)
{
	uint64_t size = 0;
	for (size_t i = 0; i < buffers->count; i++)
		size += ALIGN(buffers->lens[i]);
	uint64_t pages = PAGES_OF(size);
	buffers->map = map_nothing(pages + PAGE);
	if (!buffers->map)
		return false;
	buffers->map_len = pages + PAGE;
	if (!open_pages(buffers->map, pages))
		return false;
	uint8_t *at = buffers->map + pages - size;
	for (size_t i = 0; i < buffers->count; i++) {
		buffers->at[i] = at;
		at += ALIGN(buffers->lens[i]);
	}
	return true;
}

static void unmap(struct pv_buffers *buffers)
{
	if (buffers->map && buffers->map_len > 0)
		munmap(buffers->map, buffers->map_len);
	buffers->map = NULL;
	buffers->map_len = 0;
}

int pv_buffers_init(struct pv_buffers *buffers, const struct pv_request_numbers *lens,
    struct pv_buffers_spares *spares)
{
	*buffers = (struct pv_buffers){.lens = lens->at, .count = lens->count};
	for (size_t i = 0; i < lens->count; i++) {
		if (lens->at[i] < 0)
			return -EINVAL;
		if (lens->at[i] > PV_PROTOCOL_MEMORY_MAX ||
		    buffers->total + (uint64_t)lens->at[i] > PV_PROTOCOL_MEMORY_MAX)
			return -E2BIG;
		buffers->total += (uint64_t)lens->at[i];
	}
	if (lens->count == 0)
		return 0;
	buffers->at = calloc(lens->count, sizeof(*buffers->at));
	if (!buffers->at)
		return -ENOMEM;
	if (fits_spare(buffers))
		return place_in_spare(buffers, spares) ? 0 : -ENOMEM;
	if (buffers->count <= APART_MAX && place_apart(buffers))
		return 0;
	unmap(buffers);
	return place_together(buffers) ? 0 : -ENOMEM;
}

bool pv_buffers_fill(struct pv_buffers *buffers, struct pv_span data)
{
	const uint8_t *from = data.data;
	size_t left = data.len;
	while (left > 0 && buffers->fill_index < buffers->count) {
		size_t room = (size_t)buffers->lens[buffers->fill_index] - buffers->fill_offset;
		size_t piece = left < room ? left : room;
		memcpy(buffers->at[buffers->fill_index] + buffers->fill_offset, from, piece);
		buffers->fill_offset += piece;
		from += piece;
		left -= piece;
		if (piece == room) {
			buffers->fill_index++;
			buffers->fill_offset = 0;
		}
	}
	buffers->filled += data.len - left;
	return left == 0;
}

void pv_buffers_finish(
    struct pv_buffers *buffers, struct pv_buffers_spares *spares, enum pv_buffers_end end)
{
	free(buffers->at);
	buffers->at = NULL;
	if (!buffers->map || end == PV_BUFFERS_LEAVE)
		buffers->map = NULL;
	else if (buffers->map_len > 0)
		unmap(buffers);
	else if (end == PV_BUFFERS_REUSE && spares->count < PV_BUFFERS_SPARE_MAX)
		spares->maps[spares->count++] = buffers->map;
	else
		munmap(buffers->map, SPARE_LEN);
}
