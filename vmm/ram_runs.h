/*
 * Runs of pages: sets of pages as bits, and as ranges. Pure.
 */
#ifndef PV_VMM_RAM_RUNS_H
#define PV_VMM_RAM_RUNS_H

#include <stdbool.h>
#include <stdint.h>

/* A range of RAM in bytes, multiples of the page size. */
struct pv_ram_run {
	uint64_t at;
	uint64_t size;
};

/* 64-bit words for a set of that many pages. */
#define PV_RAM_SET_WORDS(pages) (((pages) + 63) / 64)

static inline bool pv_ram_set_has(const uint64_t *set, uint64_t page)
{
	return set[page / 64] >> page % 64 & 1;
}

static inline void pv_ram_set_add(uint64_t *set, uint64_t page)
{
	set[page / 64] |= UINT64_C(1) << page % 64;
}

static inline void pv_ram_set_remove(uint64_t *set, uint64_t page)
{
	set[page / 64] &= ~(UINT64_C(1) << page % 64);
}

/*
 * Covers the set with at most `most` (> 0) runs in ascending order that do not touch. Each costs a
 * mapping in every machine that goes on from here, and each page between two costs a page once, so
 * small gaps are covered too, and larger ones as long as there are too many runs. Returns how many
 * there are.
 */
unsigned pv_ram_runs_cover(
    const uint64_t *set, uint64_t pages, unsigned most, struct pv_ram_run *runs);

/* Bytes in all runs. */
uint64_t pv_ram_runs_total(const struct pv_ram_run *runs, unsigned count);

/* True when runs from outside are whole pages, in ascending order, apart from each other, and end
 * within `size`. */
bool pv_ram_runs_are_sound(const struct pv_ram_run *runs, unsigned count, uint64_t size);

#endif
