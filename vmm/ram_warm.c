/*
 * A guest that goes on from a file finds nothing mapped, and touches some thousand pages before it
 * answers: a fault for each that it reads, two or three for one that it writes. On the machine
 * itself such a fault costs a microsecond or two. On a host that is a virtual machine each way out
 * of the guest and back passes through the hypervisor below and costs 10 to 300, which is most of
 * what a restore takes there.
 *
 * Pages that are going to be written are made the machine's own in one call: a fault or two less
 * for each. Of what is only read, half lies in few pieces of 2 MiB, the text of the kernel. Where
 * these are huge pages of the file, KVM takes one fault for each piece; and they stay shared. Linux
 * can gather the pages of a file in memory (tmpfs) in that way, once, for everybody, since 6.1; a
 * file on a disk is left as it is.
 *
 * Tried and left: to copy pieces into huge pages of the machine's own. Under an emulated hypervisor
 * a copy took 3 ms in the best case and 10 in most (memory is cleared first, and what was
 * translated of the code is lost), a fault 0.2, and guests would share nothing.
 *
 * Linux: madvise(2), MADV_POPULATE_WRITE (5.14) and MADV_COLLAPSE (6.1).
 */
#include "vmm/ram_warm.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "vmm/ram.h"
#include "vmm/ram_image.h"
#include "vmm/working_set.h"

/* Pages made writable beforehand: memory that is no longer shared. A rewind sets twice as many back
 * in place (vmm/ram_own.c). */
#define POPULATE_MAX 512u

/* Faults in a piece that gathering it saves each later guest. It costs some milliseconds, once, and
 * fills holes of the file. */
#define GATHER_FAULTS_MIN 8u
#define GATHER_TRIES	  3u

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void pv_ram_warm(struct pv_ram *ram, const struct pv_working_set *set)
{
	uint64_t left = POPULATE_MAX * (uint64_t)PV_RAM_PAGE;
	if (set->ram_size != ram->size)
		return;
	for (unsigned i = 0; i < set->run_count && left > 0; i++) {
		const uint64_t size = set->runs[i].size < left ? set->runs[i].size : left;
		if (madvise(ram->host + set->runs[i].at, size, MADV_POPULATE_WRITE) < 0)
			return;
		/* They may never be written. */
		ram->restored = true;
		left -= size;
	}
}

static bool is_written(const struct pv_working_set *set, uint64_t at)
{
	for (unsigned i = 0; i < set->run_count; i++) {
		const struct pv_ram_run *run = &set->runs[i];
		if (run->at < at + PV_WORKING_SET_PIECE && run->at + run->size > at)
			return true;
	}
	return false;
}

/* A refusal of this file system, or of this kernel, costs nothing and changes nothing. */
static void collapse(uint8_t *place)
{
	/* Only where something is mapped. Not by a look, which would end in a signal when the file
	 * was cut. */
	if (madvise(place, PV_RAM_PAGE, MADV_POPULATE_READ) < 0)
		return;
	/* EAGAIN: somebody has one of the pages in his hands. */
	for (unsigned tries = 0; tries < GATHER_TRIES; tries++) {
		if (madvise(place, PV_WORKING_SET_PIECE, MADV_COLLAPSE) == 0 || errno != EAGAIN)
			return;
	}
}

/* A piece that lies in one file, at a place where a huge page of it can be one of the mapping. */
static void gather_piece(const struct pv_ram_image *image, uint64_t at)
{
	int fd;
	uint64_t offset;
	if (!pv_ram_image_find(image, at, PV_WORKING_SET_PIECE, &fd, &offset) ||
	    offset % PV_WORKING_SET_PIECE != 0)
		return;
	uint8_t *room = mmap(NULL, 2 * PV_WORKING_SET_PIECE, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return;
	uint8_t *place = room + (-(uintptr_t)room & (PV_WORKING_SET_PIECE - 1));
	if (mmap(place, PV_WORKING_SET_PIECE, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		(off_t)offset) != MAP_FAILED)
		collapse(place);
	munmap(room, 2 * PV_WORKING_SET_PIECE);
}

void pv_ram_warm_gather(const struct pv_ram_image *image, const struct pv_working_set *set)
{
	if (set->ram_size != image->size)
		return;
	for (unsigned i = 0; i < set->piece_count; i++) {
		const uint64_t at = set->pieces[i].number * PV_WORKING_SET_PIECE;
		if (set->pieces[i].faults < GATHER_FAULTS_MIN || is_written(set, at) ||
		    at + PV_WORKING_SET_PIECE > image->size)
			continue;
		gather_piece(image, at);
	}
}
