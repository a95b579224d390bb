/*
 * Working sets of restored guests.
 *
 * The host's page map tells which pages of a private mapping are there: those of the file were
 * read, those of the process's own were written. The kernel maps a file around a page that is
 * touched, sixteen pages at once, so of what was read only these blocks are known, which is enough
 * to tell a piece with many pages from one with few.
 *
 * A stored set is a few numbers, little-endian: magic, bytes of RAM, counts, then pieces (number,
 * faults) and runs (first page, pages), 32 bits each, ascending. It is a hint and nothing depends
 * on its being true, but it comes from a file: all that would let somebody reach beyond RAM or work
 * for ever is checked.
 */
#include "vmm/working_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/ram.h"
#include "vmm/ram_image.h"

#define MAGIC	    "PVWORK1\n"
#define HEADER_SIZE 24u

/* RAM of which each page is looked at. */
#define LOOK_MAX (UINT64_C(4) << 30)

#define PIECE_PAGES (PV_WORKING_SET_PIECE / PV_RAM_PAGE)
/* What Linux maps around a page that is read (mm/memory.c, fault_around_bytes). */
#define BLOCK_PAGES 16u
/* Counted in a stock kernel: a guest reads one to six pages of such a block, and takes two or three
 * faults for a page that it writes. */
#define FAULTS_A_BLOCK 2u
#define FAULTS_A_WRITE 2u

#define PAGEMAP_FILE	(UINT64_C(1) << 61) /* of the file, or shared */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)

/* --- taking --- */

static uint32_t count_blocks(const uint64_t entries[PIECE_PAGES], uint64_t pages)
{
	uint32_t blocks = 0;
	for (uint64_t first = 0; first < pages; first += BLOCK_PAGES) {
		bool touched = false;
		for (uint64_t i = first; i < first + BLOCK_PAGES && i < pages; i++)
			touched = touched ||
				  ((entries[i] & PAGEMAP_PRESENT) && (entries[i] & PAGEMAP_FILE));
		blocks += touched;
	}
	return blocks;
}

/* Adds the pages of a piece to the written ones. Returns how many there are. */
static uint32_t add_written(
    const uint64_t entries[PIECE_PAGES], uint64_t pages, uint64_t first, uint64_t *written)
{
	uint32_t count = 0;
	for (uint64_t i = 0; i < pages; i++) {
		if (!(entries[i] & PAGEMAP_PRESENT) || (entries[i] & PAGEMAP_FILE))
			continue;
		pv_ram_set_add(written, first + i);
		count++;
	}
	return count;
}

static int look(
    const struct pv_ram *ram, int pagemap, struct pv_working_set *set, uint64_t *written)
{
	const uint64_t pages = ram->size / PV_RAM_PAGE;
	uint64_t entries[PIECE_PAGES];
	for (uint64_t first = 0; first < pages; first += PIECE_PAGES) {
		const uint64_t count = pages - first < PIECE_PAGES ? pages - first : PIECE_PAGES;
		const uint64_t place =
		    ((uintptr_t)ram->host / PV_RAM_PAGE + first) * sizeof(entries[0]);
		int code = pv_fd_pread_all(pagemap, entries, count * sizeof(entries[0]), place);
		if (code < 0)
			return code;
		const uint32_t faults =
		    FAULTS_A_BLOCK * count_blocks(entries, count) +
		    FAULTS_A_WRITE * add_written(entries, count, first, written);
		if (faults > 0 && set->piece_count < PV_WORKING_SET_PIECES_MAX)
			set->pieces[set->piece_count++] = (struct pv_working_set_piece){
			    .number = (uint32_t)(first / PIECE_PAGES), .faults = faults};
	}
	return 0;
}

/* The runs of a set of pages, exactly, as many as there is room for. */
static void list_runs(struct pv_working_set *set, const uint64_t *written)
{
	const uint64_t pages = set->ram_size / PV_RAM_PAGE;
	uint64_t page = 0;
	while (page < pages && set->run_count < PV_WORKING_SET_RUNS_MAX) {
		if (written[page / 64] == 0) {
			page = (page / 64 + 1) * 64;
			continue;
		}
		const uint64_t first = page;
		while (page < pages && pv_ram_set_has(written, page))
			page++;
		if (page > first)
			set->runs[set->run_count++] = (struct pv_ram_run){
			    .at = first * PV_RAM_PAGE, .size = (page - first) * PV_RAM_PAGE};
		page++;
	}
}

struct pv_working_set *pv_working_set_take(const struct pv_ram *ram)
{
	if (ram->size > LOOK_MAX)
		return NULL;
	struct pv_working_set *set = calloc(1, sizeof(*set));
	uint64_t *written = calloc(PV_RAM_SET_WORDS(ram->size / PV_RAM_PAGE), sizeof(*written));
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool good = set && written && pagemap >= 0;
	if (good) {
		set->ram_size = ram->size;
		good = look(ram, pagemap, set, written) == 0;
	}
	if (good)
		list_runs(set, written);
	pv_fd_close(&pagemap);
	free(written);
	if (good)
		return set;
	free(set);
	return NULL;
}

/* --- storing --- */

int pv_working_set_write(const struct pv_working_set *set, struct pv_bytes *out)
{
	const size_t numbers = 2 * ((size_t)set->piece_count + set->run_count);
	const size_t size = HEADER_SIZE + numbers * sizeof(uint32_t);
	if (pv_bytes_reserve(out, size) < 0)
		return -ENOMEM;
	uint8_t *at = out->data + out->len;
	memcpy(at, MAGIC, 8);
	pv_put_le64(at + 8, set->ram_size);
	pv_put_le32(at + 16, set->piece_count);
	pv_put_le32(at + 20, set->run_count);
	at += HEADER_SIZE;
	for (unsigned i = 0; i < set->piece_count; i++, at += 8) {
		pv_put_le32(at, set->pieces[i].number);
		pv_put_le32(at + 4, set->pieces[i].faults);
	}
	for (unsigned i = 0; i < set->run_count; i++, at += 8) {
		pv_put_le32(at, (uint32_t)(set->runs[i].at / PV_RAM_PAGE));
		pv_put_le32(at + 4, (uint32_t)(set->runs[i].size / PV_RAM_PAGE));
	}
	out->len += size;
	return 0;
}

static bool take_pieces(struct pv_working_set *set, const uint8_t *at)
{
	const uint64_t pieces = set->ram_size / PV_WORKING_SET_PIECE;
	for (unsigned i = 0; i < set->piece_count; i++, at += 8) {
		struct pv_working_set_piece *piece = &set->pieces[i];
		piece->number = pv_le32(at);
		piece->faults = pv_le32(at + 4);
		/* The last one may be a part. */
		if (piece->number > pieces || (i > 0 && piece->number <= piece[-1].number))
			return false;
	}
	return true;
}

static bool take_runs(struct pv_working_set *set, const uint8_t *at)
{
	for (unsigned i = 0; i < set->run_count; i++, at += 8)
		set->runs[i] = (struct pv_ram_run){.at = (uint64_t)pv_le32(at) * PV_RAM_PAGE,
		    .size = (uint64_t)pv_le32(at + 4) * PV_RAM_PAGE};
	return pv_ram_runs_are_sound(set->runs, set->run_count, set->ram_size);
}

static bool parse(struct pv_working_set *set, const uint8_t *data, size_t len)
{
	if (len < HEADER_SIZE || memcmp(data, MAGIC, 8) != 0)
		return false;
	set->ram_size = pv_le64(data + 8);
	set->piece_count = pv_le32(data + 16);
	set->run_count = pv_le32(data + 20);
	if (set->ram_size % PV_RAM_PAGE != 0 || set->ram_size > LOOK_MAX ||
	    set->piece_count > PV_WORKING_SET_PIECES_MAX ||
	    set->run_count > PV_WORKING_SET_RUNS_MAX ||
	    len != HEADER_SIZE + 8 * ((size_t)set->piece_count + set->run_count))
		return false;
	return take_pieces(set, data + HEADER_SIZE) &&
	       take_runs(set, data + HEADER_SIZE + 8 * (size_t)set->piece_count);
}

int pv_working_set_read(struct pv_working_set **out, const void *data, size_t len)
{
	struct pv_working_set *set = calloc(1, sizeof(*set));
	*out = NULL;
	if (!set)
		return -ENOMEM;
	if (!parse(set, data, len)) {
		free(set);
		return -EBADMSG;
	}
	*out = set;
	return 0;
}
