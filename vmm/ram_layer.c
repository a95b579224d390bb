/*
 * What goes into a layer, and on what it is put.
 *
 * A layer holds the pages that the machine wrote since it began as its image, but not those that
 * were zero and are zero again, nor those that a rewind has set back. It lies on that image unless
 * that one is deep already, or all pieces would become too many: then it holds everything that
 * differs from the image at the bottom and lies on that, so machines that are frozen again and
 * again do not pile up layers. With more than half of RAM in it a whole copy is as good and needs
 * nothing below it.
 *
 * Runs on the thread that freezes a machine.
 */
#include "vmm/ram_layer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/ram.h"
#include "vmm/ram_copy.h"
#include "vmm/ram_image.h"
#include "vmm/ram_own.h"

/* Runs in one layer. */
#define RUNS_MAX 256u

/* A layer in the making. */
struct making {
	const struct pv_ram *ram;
	uint64_t pages;	  /* of RAM */
	uint64_t *own;	  /* what the machine wrote */
	uint64_t *wanted; /* what is to be in the layer */
	struct pv_ram_image *base;
	unsigned count;
	struct pv_ram_run runs[RUNS_MAX];
};

/* The machine's page is the same as the one that it replaced. Only zeroes are looked at, unless
 * pages are known to be there that nobody has written. Returns 1, 0 or -errno. */
static int is_unchanged(const struct making *making, uint64_t page, void *buffer)
{
	const uint64_t at = page * PV_RAM_PAGE;
	const uint8_t *now = making->ram->host + at;
	if (!making->ram->restored && !pv_ram_is_zero(now, PV_RAM_PAGE))
		return 0;
	int code = pv_ram_image_read(making->ram->image, at, buffer, PV_RAM_PAGE);
	return code < 0 ? code : memcmp(now, buffer, PV_RAM_PAGE) == 0;
}

static int drop_unchanged(struct making *making)
{
	uint64_t buffer[PV_RAM_PAGE / sizeof(uint64_t)];
	for (uint64_t page = 0; page < making->pages; page++) {
		if (making->own[page / 64] == 0) {
			page |= 63;
			continue;
		}
		int code =
		    pv_ram_set_has(making->own, page) ? is_unchanged(making, page, buffer) : 0;
		if (code < 0)
			return code;
		if (code == 1)
			pv_ram_set_remove(making->own, page);
	}
	return 0;
}

static void choose_runs(struct making *making)
{
	making->count = pv_ram_runs_cover(making->wanted, making->pages, RUNS_MAX, making->runs);
}

/* All that lies above the bottom is wanted too. */
static void choose_bottom(struct making *making)
{
	const struct pv_ram_image *image = making->base;
	for (unsigned i = 0; i < image->piece_count; i++) {
		const struct pv_ram_piece *piece = &image->pieces[i];
		if (piece->layer == image->ground)
			continue;
		for (uint64_t at = 0; at < piece->size; at += PV_RAM_PAGE)
			pv_ram_set_add(making->wanted, (piece->at + at) / PV_RAM_PAGE);
	}
	while (making->base->base)
		making->base = making->base->base;
}

/* Fills `runs` and `base`. */
static void choose(struct making *making)
{
	for (uint64_t i = 0; i < PV_RAM_SET_WORDS(making->pages); i++)
		making->wanted[i] = making->own[i];
	choose_runs(making);
	if (making->count > 0 &&
	    (making->base->depth == PV_RAM_DEPTH_MAX ||
		making->base->piece_count + 2 * making->count > PV_RAM_PIECES_MAX)) {
		choose_bottom(making);
		choose_runs(making);
	}
}

static int copy(const struct making *making, struct pv_ram_image **out, struct pv_err *err)
{
	/* Not of huge pages: most layers are smaller than one. */
	int fd = memfd_create("provium-layer", MFD_CLOEXEC);
	if (fd < 0)
		return pv_err_system(err, errno, "cannot create a layer of guest memory");
	int code = 0;
	if (ftruncate(fd, (off_t)pv_ram_runs_total(making->runs, making->count)) < 0)
		code = pv_err_system(err, errno, "cannot size a layer of guest memory");
	if (code == 0)
		code = pv_ram_copy(making->ram, making->own, making->runs, making->count, fd, err);
	if (code == 0)
		return pv_ram_image_create_layer(
		    out, making->base, fd, 0, making->runs, making->count, err);
	pv_fd_close(&fd);
	return code;
}

int pv_ram_layer_make(const struct pv_ram *ram, struct pv_ram_image **out, struct pv_err *err)
{
	struct making *making = calloc(1, sizeof(*making));
	*out = NULL;
	if (!making)
		return pv_err_nomem(err, "layer of guest memory");
	making->ram = ram;
	making->base = ram->image;
	making->pages = ram->size / PV_RAM_PAGE;
	making->own = calloc(PV_RAM_SET_WORDS(making->pages), sizeof(uint64_t));
	making->wanted = calloc(PV_RAM_SET_WORDS(making->pages), sizeof(uint64_t));
	int code = making->own && making->wanted ? 0 : pv_err_nomem(err, "layer of guest memory");
	if (code == 0)
		code = pv_ram_own_find(ram, making->own) ? 0 : 1;
	if (code == 0)
		code = drop_unchanged(making);
	if (code < 0)
		pv_err_system(err, -code, "cannot read guest memory");
	if (code == 0)
		choose(making);
	if (code == 0 && making->count == 0)
		*out = pv_ram_image_ref(ram->image);
	else if (code == 0 && pv_ram_runs_total(making->runs, making->count) > ram->size / 2)
		code = 1;
	else if (code == 0)
		code = copy(making, out, err);
	free(making->wanted);
	free(making->own);
	free(making);
	return code;
}
