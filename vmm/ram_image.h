/*
 * RAM as it once was, in files that nobody writes to any more. An image is all of RAM in one file,
 * or a layer: the pages that differ from another image, which it builds on. Immutable and counted;
 * any thread.
 */
#ifndef PV_VMM_RAM_IMAGE_H
#define PV_VMM_RAM_IMAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/ram_runs.h"

struct pv_err;
struct pv_ram_home;

#define PV_RAM_PAGE 4096u

/* Images below an image, and pieces that it has, at most. */
#define PV_RAM_DEPTH_MAX  8u
#define PV_RAM_PIECES_MAX 1024u

/* Where a part of RAM lies: `size` bytes from `at` on in the file of `layer`. */
struct pv_ram_piece {
	uint64_t at;
	uint64_t size;
	const struct pv_ram_image *layer; /* the image itself, or one that it builds on */
	uint64_t offset;
};

struct pv_ram_image {
	unsigned references;
	unsigned depth;		   /* images below */
	struct pv_ram_image *base; /* a reference; NULL: none */
	int fd;			   /* owned */
	uint64_t size;		   /* of RAM */
	uint64_t file_end;	   /* the file has to be that long */
	/* All of RAM in ascending order, as it looks with all layers. */
	unsigned piece_count;
	struct pv_ram_piece *pieces;
	/* Lies under all pieces at the offset where it has them itself. NULL: there is no such one.
	 */
	struct pv_ram_image *ground;

	unsigned mappings; /* of all images with this ground; atomic */
	pthread_mutex_t lock;
	struct pv_ram_image *flat; /* under the lock; the same RAM in one piece, a reference */
	struct pv_ram_home *home;  /* under the lock; owned */
};

/* A snapshot file whose RAM an image is, as others find it again. */
struct pv_ram_home {
	uint8_t id[16];
	uint64_t file_size;
	char header_hash[64]; /* no NUL */
	char path[];	      /* absolute, without links */
};

/*
 * An image of `size` bytes, a multiple of the page size, that all lie in `fd` from `offset` on. It
 * takes the descriptor, also on failure. Returns 0 or -errno; the caller owns one reference.
 */
int pv_ram_image_create(
    struct pv_ram_image **out, int fd, uint64_t offset, uint64_t size, struct pv_err *err);

/*
 * A layer on `base` (another reference of which it keeps): the runs, which have been checked, lie
 * one behind the other in `fd` from `offset` on. As pv_ram_image_create; -E2BIG when it would have
 * too many pieces or layers below.
 */
int pv_ram_image_create_layer(struct pv_ram_image **out, struct pv_ram_image *base, int fd,
    uint64_t offset, const struct pv_ram_run *runs, unsigned count, struct pv_err *err);

/*
 * What `runs` of an image (another reference of which is kept) hold, one behind the other, as if
 * that were RAM. Has no file of its own. Returns 0 or -errno.
 */
int pv_ram_image_slice(struct pv_ram_image **out, struct pv_ram_image *image,
    const struct pv_ram_run *runs, unsigned count, struct pv_err *err);

struct pv_ram_image *pv_ram_image_ref(struct pv_ram_image *image);
/* NULL is fine. */
void pv_ram_image_unref(struct pv_ram_image *image);

/*
 * Maps what lies above `under` (an image that `image` builds on, or NULL for all of it) privately
 * to its places in memory of the image's size at `at`, which is the caller's. Returns 0 or -errno,
 * and then only some may be there.
 */
int pv_ram_image_map(const struct pv_ram_image *image, const struct pv_ram_image *under, void *at);

/* Where [at, at + size) lies, in one piece. False: it lies in several. The descriptor is the
 * image's. */
bool pv_ram_image_find(
    const struct pv_ram_image *image, uint64_t at, uint64_t size, int *fd, uint64_t *offset);

/*
 * What to map for a machine: the image, or the same RAM in one piece (made of it when it is first
 * needed, in memory) when so many machines map it already that the process would run out of
 * mappings, or when `flat` is true. Another reference, counted until it is given back; NULL with
 * `err` filled.
 */
struct pv_ram_image *pv_ram_image_use(struct pv_ram_image *image, bool flat, struct pv_err *err);
/* NULL is fine. */
void pv_ram_image_leave(struct pv_ram_image *image);

/* The next range that is not a hole of its file, at or behind `from`. False: there is none. Without
 * such knowledge all of it is data. */
bool pv_ram_next_data(
    const struct pv_ram_image *image, uint64_t from, uint64_t *start, uint64_t *end);

/* Reads without filling holes. Returns 0 or -errno. */
int pv_ram_image_read(const struct pv_ram_image *image, uint64_t at, void *data, uint64_t len);

/*
 * Whether all files are still as long as they were: one that was cut would end this process with a
 * signal. Returns 0 or -errno with a sentence.
 */
int pv_ram_image_check(const struct pv_ram_image *image, struct pv_err *err);

/*
 * True when two images hold the same RAM in the same files: they are one, or were read from one
 * snapshot that is still the same.
 */
bool pv_ram_image_is_same(struct pv_ram_image *a, struct pv_ram_image *b);

/* True when all files of an image have names, so that others may open them again. */
bool pv_ram_image_is_named(const struct pv_ram_image *image);

/* Runs of the pages that lie above `below`, one of the images that `image` builds on or itself:
 * at most PV_RAM_PIECES_MAX. Returns their number. */
unsigned pv_ram_image_runs_above(
    const struct pv_ram_image *image, const struct pv_ram_image *below, struct pv_ram_run *runs);

/* The snapshot file that has the same RAM; `home` is taken (allocated) or copied out (to be freed;
 * NULL: there is none, or no memory). */
void pv_ram_image_set_home(struct pv_ram_image *image, struct pv_ram_home *home);
struct pv_ram_home *pv_ram_image_home(struct pv_ram_image *image);

#endif
