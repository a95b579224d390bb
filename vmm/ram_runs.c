/*
 * Sets of pages and the runs that cover them.
 *
 * The runs of a layer are mapped one by one over what it builds on. A mapping costs a microsecond
 * or two in every machine that goes on from the layer, and the kernel allows some 65000 of them in
 * a process; a page costs 4 KiB and half a microsecond, once. So gaps of up to GAP_MIN pages are
 * always covered, and when there are too many runs the length doubles until they are few enough.
 *
 * Called by ram_layer.c and the readers of snapshot files on any thread.
 */
#include "vmm/ram_runs.h"

#include <stddef.h>

#include "vmm/ram_image.h"

/* Pages between two runs that are covered anyway. */
#define GAP_MIN UINT64_C(8)

/* The first page from `from` on whose bit is not `flip`ped, or `pages`. */
static uint64_t find(const uint64_t *set, uint64_t pages, uint64_t from, uint64_t flip)
{
	while (from < pages) {
		uint64_t word = (set[from / 64] ^ flip) >> from % 64;
		if (word != 0) {
			from += (uint64_t)__builtin_ctzll(word);
			return from < pages ? from : pages;
		}
		from = (from / 64 + 1) * 64;
	}
	return pages;
}

/* Runs that cover gaps of up to `gap` pages; not more than `most` are written, all are counted. */
static uint64_t cover(
    const uint64_t *set, uint64_t pages, uint64_t gap, unsigned most, struct pv_ram_run *runs)
{
	uint64_t count = 0;
	uint64_t start = find(set, pages, 0, 0);
	while (start < pages) {
		uint64_t end = find(set, pages, start, UINT64_MAX);
		uint64_t next = find(set, pages, end, 0);
		while (next < pages && next - end <= gap) {
			end = find(set, pages, next, UINT64_MAX);
			next = find(set, pages, end, 0);
		}
		if (count < most)
			runs[count] = (struct pv_ram_run){
			    .at = start * PV_RAM_PAGE, .size = (end - start) * PV_RAM_PAGE};
		count++;
		start = next;
	}
	return count;
}

unsigned pv_ram_runs_cover(
    const uint64_t *set, uint64_t pages, unsigned most, struct pv_ram_run *runs)
{
	uint64_t gap = GAP_MIN;
	uint64_t count = cover(set, pages, gap, most, runs);
	/* Ends at the latest with one run. */
	while (count > most) {
		gap *= 2;
		count = cover(set, pages, gap, most, runs);
	}
	return (unsigned)count;
}

uint64_t pv_ram_runs_total(const struct pv_ram_run *runs, unsigned count)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < count; i++)
		total += runs[i].size;
	return total;
}

bool pv_ram_runs_are_sound(const struct pv_ram_run *runs, unsigned count, uint64_t size)
{
	uint64_t end = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct pv_ram_run *run = &runs[i];
		if (run->at % PV_RAM_PAGE != 0 || run->size % PV_RAM_PAGE != 0 || run->size == 0)
			return false;
		if ((i > 0 && run->at <= end) || run->at >= size || run->size > size - run->at)
			return false;
		end = run->at + run->size;
	}
	return true;
}
