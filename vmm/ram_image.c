/*
 * Images and their layers.
 *
 * A layer keeps its pages close together in its file, not at the offsets that they have in RAM: no
 * table is needed besides the runs, a file of huge pages or a file system without holes stores
 * nothing in vain, and a copy of a snapshot file is as large as what changed. Where everything lies
 * is worked out once, when a layer is made: `pieces` tells it for all of RAM, so a machine is
 * mapped in one pass however many layers there are: the whole image at the bottom first, then what
 * lies above it. A layer therefore stores what changed since its base and nothing else, five layers
 * deep costs no more than one with as many runs, and DONTNEED over the whole mapping is a rewind.
 * Who makes a layer keeps the number of pieces small (ram_layer.c).
 *
 * The kernel allows a process some 65000 mappings (vm.max_map_count). When the machines that go on
 * from images with the same bottom would take a quarter of them, or the kernel refuses, an image in
 * one piece is made, in memory and once, and serves for more machines.
 *
 * What is not constant (that flat image, and the snapshot file which the image is or was written
 * to) is under the image's own lock.
 */
#include "vmm/ram_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

/* Mappings at once of images with the same ground. */
#define MAPPINGS_MAX 8192u

#define COPY_SIZE (UINT64_C(256) << 10)

static struct pv_ram_image *create(int fd, uint64_t size, unsigned pieces)
{
	struct pv_ram_image *image = calloc(1, sizeof(*image));
	struct pv_ram_piece *room = calloc(pieces ? pieces : 1, sizeof(*room));
	if (!image || !room) {
		free(image);
		free(room);
		pv_fd_close(&fd);
		return NULL;
	}
	image->references = 1;
	image->fd = fd;
	image->size = size;
	image->pieces = room;
	pthread_mutex_init(&image->lock, NULL);
	return image;
}

struct pv_ram_image *pv_ram_image_ref(struct pv_ram_image *image)
{
	__atomic_add_fetch(&image->references, 1, __ATOMIC_RELAXED);
	return image;
}

void pv_ram_image_unref(struct pv_ram_image *image)
{
	/* Not by recursion, and not deeper than PV_RAM_DEPTH_MAX. */
	while (image && __atomic_sub_fetch(&image->references, 1, __ATOMIC_ACQ_REL) == 0) {
		struct pv_ram_image *base = image->base;
		pv_ram_image_unref(image->flat);
		pv_fd_close(&image->fd);
		pthread_mutex_destroy(&image->lock);
		free(image->home);
		free(image->pieces);
		free(image);
		image = base;
	}
}

/* --- pieces --- */

/* Appends a piece, or makes the last one longer. */
static void push(struct pv_ram_image *image, uint64_t at, uint64_t size,
    const struct pv_ram_image *layer, uint64_t offset)
{
	if (image->piece_count > 0) {
		struct pv_ram_piece *last = &image->pieces[image->piece_count - 1];
		if (last->layer == layer && last->offset + last->size == offset) {
			last->size += size;
			return;
		}
	}
	image->pieces[image->piece_count++] =
	    (struct pv_ram_piece){.at = at, .size = size, .layer = layer, .offset = offset};
}

/*
 * Appends what `from` has in [start, end), to lie at `at`. `*next` is the piece to begin with and
 * is moved on: the ranges of several calls ascend.
 */
static void push_range(struct pv_ram_image *image, uint64_t at, const struct pv_ram_image *from,
    uint64_t start, uint64_t end, unsigned *next)
{
	while (start < end) {
		const struct pv_ram_piece *piece = &from->pieces[*next];
		const uint64_t stop = piece->at + piece->size;
		if (stop <= start) {
			++*next;
			continue;
		}
		const uint64_t size = (stop < end ? stop : end) - start;
		push(image, at, size, piece->layer, piece->offset + (start - piece->at));
		at += size;
		start += size;
	}
}

/* The piece that holds `at`, which lies within the image. */
static unsigned find_piece(const struct pv_ram_image *image, uint64_t at)
{
	unsigned low = 0, high = image->piece_count;
	while (high - low > 1) {
		unsigned middle = low + (high - low) / 2;
		if (image->pieces[middle].at <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* --- making --- */

int pv_ram_image_create(
    struct pv_ram_image **out, int fd, uint64_t offset, uint64_t size, struct pv_err *err)
{
	*out = create(fd, size, 1);
	if (!*out)
		return pv_err_nomem(err, "image of guest memory");
	(*out)->file_end = offset + size;
	(*out)->ground = *out;
	push(*out, 0, size, *out, offset);
	return 0;
}

int pv_ram_image_create_layer(struct pv_ram_image **out, struct pv_ram_image *base, int fd,
    uint64_t offset, const struct pv_ram_run *runs, unsigned count, struct pv_err *err)
{
	struct pv_ram_image *image = create(fd, base->size, base->piece_count + 2 * count);
	*out = NULL;
	if (!image)
		return pv_err_nomem(err, "image of guest memory");
	image->base = pv_ram_image_ref(base);
	image->depth = base->depth + 1;
	image->ground = base->ground;
	uint64_t at = 0;
	unsigned next = 0;
	for (unsigned i = 0; i < count; i++) {
		push_range(image, at, base, at, runs[i].at, &next);
		push(image, runs[i].at, runs[i].size, image, offset);
		offset += runs[i].size;
		at = runs[i].at + runs[i].size;
	}
	push_range(image, at, base, at, base->size, &next);
	image->file_end = offset;
	if (image->depth > PV_RAM_DEPTH_MAX || image->piece_count > PV_RAM_PIECES_MAX) {
		int code = pv_err_set(err, PV_ERR_LIMIT, E2BIG,
		    "guest memory in %u layers and %u pieces is too much; the limits are %u and %u",
		    image->depth, image->piece_count, PV_RAM_DEPTH_MAX, PV_RAM_PIECES_MAX);
		pv_ram_image_unref(image);
		return code;
	}
	*out = image;
	return 0;
}

int pv_ram_image_slice(struct pv_ram_image **out, struct pv_ram_image *image,
    const struct pv_ram_run *runs, unsigned count, struct pv_err *err)
{
	struct pv_ram_image *slice =
	    create(-1, pv_ram_runs_total(runs, count), image->piece_count + count);
	*out = slice;
	if (!slice)
		return pv_err_nomem(err, "image of guest memory");
	slice->base = pv_ram_image_ref(image);
	slice->depth = image->depth;
	uint64_t at = 0;
	unsigned next = 0;
	for (unsigned i = 0; i < count; i++) {
		push_range(slice, at, image, runs[i].at, runs[i].at + runs[i].size, &next);
		at += runs[i].size;
	}
	return 0;
}

static int copy_data(const struct pv_ram_image *image, int fd)
{
	uint8_t *buffer = malloc(COPY_SIZE);
	uint64_t start = 0, end = 0;
	int code = buffer ? 0 : -ENOMEM;
	while (code == 0 && pv_ram_next_data(image, end, &start, &end)) {
		for (uint64_t at = start; at < end && code == 0; at += COPY_SIZE) {
			uint64_t size = end - at < COPY_SIZE ? end - at : COPY_SIZE;
			code = pv_ram_image_read(image, at, buffer, size);
			if (code == 0 && lseek(fd, (off_t)at, SEEK_SET) < 0)
				code = -errno;
			if (code == 0)
				code = pv_fd_write_all(fd, buffer, size);
		}
	}
	free(buffer);
	return code;
}

/* The same RAM in one piece, in memory. */
static struct pv_ram_image *flatten(const struct pv_ram_image *image, struct pv_err *err)
{
	struct pv_ram_image *flat = NULL;
	int fd = memfd_create("provium-ram", MFD_CLOEXEC);
	int code = fd < 0 || ftruncate(fd, (off_t)image->size) < 0 ? -errno : 0;
	if (code == 0)
		code = copy_data(image, fd);
	if (code < 0) {
		pv_err_system(err, -code, "cannot copy guest memory of %llu MiB",
		    (unsigned long long)image->size >> 20);
		pv_fd_close(&fd);
		return NULL;
	}
	return pv_ram_image_create(&flat, fd, 0, image->size, err) == 0 ? flat : NULL;
}

/* --- mapping --- */

int pv_ram_image_map(const struct pv_ram_image *image, const struct pv_ram_image *under, void *at)
{
	for (unsigned i = 0; i < image->piece_count; i++) {
		const struct pv_ram_piece *piece = &image->pieces[i];
		if (under && piece->layer->depth <= under->depth)
			continue;
		if (mmap((uint8_t *)at + piece->at, piece->size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, piece->layer->fd,
			(off_t)piece->offset) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

bool pv_ram_image_find(
    const struct pv_ram_image *image, uint64_t at, uint64_t size, int *fd, uint64_t *offset)
{
	const struct pv_ram_piece *piece = &image->pieces[find_piece(image, at)];
	if (at + size > piece->at + piece->size)
		return false;
	*fd = piece->layer->fd;
	*offset = piece->offset + (at - piece->at);
	return true;
}

static unsigned *mappings_of(const struct pv_ram_image *image)
{
	return &image->ground->mappings;
}

static bool is_crowded(const struct pv_ram_image *image)
{
	return image->piece_count > 1 &&
	       __atomic_load_n(mappings_of(image), __ATOMIC_RELAXED) + image->piece_count >
		   MAPPINGS_MAX;
}

struct pv_ram_image *pv_ram_image_use(struct pv_ram_image *image, bool flat, struct pv_err *err)
{
	struct pv_ram_image *used = image;
	if (flat || is_crowded(image)) {
		pthread_mutex_lock(&image->lock);
		if (!image->flat)
			image->flat = flatten(image, err);
		used = image->flat;
		pthread_mutex_unlock(&image->lock);
		if (!used)
			return NULL;
	}
	__atomic_add_fetch(mappings_of(used), used->piece_count, __ATOMIC_RELAXED);
	return pv_ram_image_ref(used);
}

void pv_ram_image_leave(struct pv_ram_image *image)
{
	if (!image)
		return;
	__atomic_sub_fetch(mappings_of(image), image->piece_count, __ATOMIC_RELAXED);
	pv_ram_image_unref(image);
}

/* --- looking --- */

bool pv_ram_next_data(
    const struct pv_ram_image *image, uint64_t from, uint64_t *start, uint64_t *end)
{
	if (from >= image->size)
		return false;
	for (unsigned i = find_piece(image, from); i < image->piece_count; i++) {
		const struct pv_ram_piece *piece = &image->pieces[i];
		const uint64_t stop = piece->at + piece->size;
		*start = from > piece->at ? from : piece->at;
		*end = stop;
		off_t at = (off_t)(piece->offset + (*start - piece->at));
		off_t data = lseek(piece->layer->fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			continue;
		if (data < 0)
			return true;
		/* Blocks of a file system may be smaller than pages. */
		uint64_t first = (uint64_t)data & ~(uint64_t)(PV_RAM_PAGE - 1);
		if (first > (uint64_t)at)
			*start += first - (uint64_t)at;
		if (*start >= stop)
			continue;
		off_t hole = lseek(piece->layer->fd, data, SEEK_HOLE);
		if (hole < 0)
			return true;
		uint64_t size =
		    ((uint64_t)hole + PV_RAM_PAGE - 1) / PV_RAM_PAGE * PV_RAM_PAGE - piece->offset;
		if (size < piece->size)
			*end = piece->at + size;
		return true;
	}
	return false;
}

int pv_ram_image_read(const struct pv_ram_image *image, uint64_t at, void *data, uint64_t len)
{
	int code = 0;
	for (unsigned i = find_piece(image, at); len > 0 && code == 0; i++) {
		const struct pv_ram_piece *piece = &image->pieces[i];
		uint64_t skip = at - piece->at;
		uint64_t size = piece->size - skip < len ? piece->size - skip : len;
		code = pv_fd_pread_all(piece->layer->fd, data, size, piece->offset + skip);
		data = (uint8_t *)data + size;
		at += size;
		len -= size;
	}
	return code;
}

int pv_ram_image_check(const struct pv_ram_image *image, struct pv_err *err)
{
	struct stat status;
	for (; image; image = image->base) {
		if (image->fd < 0)
			continue;
		if (fstat(image->fd, &status) < 0)
			return pv_err_system(
			    err, errno, "memory of the snapshot cannot be looked at");
		if ((uint64_t)status.st_size < image->file_end)
			return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
			    "it%s was cut short to %lld bytes since it was opened; make it anew",
			    image->depth == 0 ? "" : " or what it builds on",
			    (long long)status.st_size);
	}
	return 0;
}

unsigned pv_ram_image_runs_above(
    const struct pv_ram_image *image, const struct pv_ram_image *below, struct pv_ram_run *runs)
{
	unsigned count = 0;
	for (unsigned i = 0; i < image->piece_count; i++) {
		const struct pv_ram_piece *piece = &image->pieces[i];
		if (piece->layer->depth <= below->depth)
			continue;
		if (count > 0 && runs[count - 1].at + runs[count - 1].size == piece->at)
			runs[count - 1].size += piece->size;
		else
			runs[count++] = (struct pv_ram_run){.at = piece->at, .size = piece->size};
	}
	return count;
}

/* --- the file --- */

void pv_ram_image_set_home(struct pv_ram_image *image, struct pv_ram_home *home)
{
	pthread_mutex_lock(&image->lock);
	struct pv_ram_home *before = image->home;
	image->home = home;
	pthread_mutex_unlock(&image->lock);
	free(before);
}

struct pv_ram_home *pv_ram_image_home(struct pv_ram_image *image)
{
	struct pv_ram_home *copy = NULL;
	pthread_mutex_lock(&image->lock);
	if (image->home) {
		size_t size = sizeof(*copy) + strlen(image->home->path) + 1;
		copy = malloc(size);
		if (copy)
			memcpy(copy, image->home, size);
	}
	pthread_mutex_unlock(&image->lock);
	return copy;
}

/* --- being the same --- */

static bool is_same_file(int a, int b)
{
	struct stat one, other;
	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

static bool has_same_pieces(const struct pv_ram_image *a, const struct pv_ram_image *b)
{
	if (a->size != b->size || a->piece_count != b->piece_count)
		return false;
	for (unsigned i = 0; i < a->piece_count; i++) {
		const struct pv_ram_piece *one = &a->pieces[i], *other = &b->pieces[i];
		if (one->at != other->at || one->size != other->size ||
		    one->offset != other->offset || one->layer->depth != other->layer->depth)
			return false;
	}
	return true;
}

/* The hash is that of a header which names the file below by its hash, and so on. */
static bool has_same_home(struct pv_ram_image *a, struct pv_ram_image *b)
{
	struct pv_ram_home *one = pv_ram_image_home(a), *other = pv_ram_image_home(b);
	bool same = one && other && one->file_size == other->file_size &&
		    memcmp(one->id, other->id, sizeof(one->id)) == 0 &&
		    memcmp(one->header_hash, other->header_hash, sizeof(one->header_hash)) == 0;
	free(one);
	free(other);
	return same;
}

bool pv_ram_image_is_same(struct pv_ram_image *a, struct pv_ram_image *b)
{
	if (a == b)
		return true;
	if (!has_same_pieces(a, b) || !has_same_home(a, b))
		return false;
	const struct pv_ram_image *one = a, *other = b;
	while (one && other && is_same_file(one->fd, other->fd)) {
		one = one->base;
		other = other->base;
	}
	return !one && !other;
}

bool pv_ram_image_is_named(const struct pv_ram_image *image)
{
	struct stat status;
	for (; image; image = image->base) {
		if (fstat(image->fd, &status) < 0 || status.st_nlink == 0)
			return false;
	}
	return true;
}
