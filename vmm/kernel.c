/*
 * Kernel files: from a path or bytes to an ELF vmlinux in memory, with its segments checked.
 *
 * A file is a stack of wrappings: a compressed file, a bzImage, the payload inside it. The loop in
 * unwrap() takes off one at a time by what the first bytes say, at most WRAPPINGS_MAX of them,
 * until an ELF file is left. It lies in the heap of struct pv_kernel_image, behind a page of room
 * for the cache's header. With a cache folder the heap is then written out, freed, and the file
 * mapped instead, so that all workers share its pages.
 *
 * A user's own vmlinux is read, never mapped: a build that truncates it would kill us with SIGBUS.
 * Only what its segments need is read, because debug information is ten times the kernel.
 *
 * Called by whoever prepares a machine, on any thread; nothing is shared but the cache folder.
 */
#include "vmm/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/gmem.h"
#include "vmm/bzimage.h"
#include "vmm/elf.h"
#include "vmm/kernel_cache.h"
#include "vmm/kernel_image.h"
#include "vmm/unpack.h"
#include "vmm/zero_page.h"

/* vmlinux.gz, or a bzImage that somebody compressed once more, is as deep as it gets. */
#define WRAPPINGS_MAX	3
#define HEAD_SIZE	65536u
#define TEXT_SAMPLE	256u
#define CMDLINE_UNKNOWN 2047u

struct magic {
	enum pv_kernel_format format;
	unsigned offset;
	unsigned len;
	const char *bytes;
};

/* In order: a bzImage is a PE file too, and so is an arm64 Image. */
static const struct magic magics[] = {
    {PV_KERNEL_BZIMAGE,	ZERO_PAGE_HEADER, 4, "HdrS"		   },
    {PV_KERNEL_ELF,	    0,		       4,
	"\x7f"
	"ELF"						      },
    {PV_KERNEL_GZIP,	     0,		3, "\x1f\x8b\x08"	 },
    {PV_KERNEL_XZ,	   0,		      6,
	"\xfd"
	"7zXZ"						     },
    {PV_KERNEL_ZSTD,	     0,		4, "\x28\xb5\x2f\xfd"},
    {PV_KERNEL_LZ4_LEGACY,  0,		      4, "\x02\x21\x4c\x18"},
    {PV_KERNEL_LZ4_FRAME,	  0,		     4, "\x04\x22\x4d\x18"},
    {PV_KERNEL_BZIP2,	      0,		 3, "BZh"		 },
    {PV_KERNEL_ARM64_IMAGE, 0x38,		  4, "ARM\x64"	      },
    {PV_KERNEL_PE,	   0,		      2, "MZ"		     },
};

/* lzma has no magic number: default properties, a round dictionary, a size that is unknown or below
 * 16 TiB. */
static bool is_lzma(const uint8_t *data, size_t len)
{
	return len >= 13 && data[0] == 0x5d && data[1] == 0 && data[2] == 0 &&
	       (pv_le64(data + 5) == UINT64_MAX || pv_le64(data + 5) >> 44 == 0);
}

/* Mostly printable, and no control characters but white space and escape. */
static bool is_text(const uint8_t *data, size_t len)
{
	unsigned printable = 0;
	if (len > TEXT_SAMPLE)
		len = TEXT_SAMPLE;
	for (size_t i = 0; i < len; i++) {
		if (data[i] == 0x7f || (data[i] < 0x20 && !strchr("\t\n\v\f\r\033", data[i])) ||
		    data[i] == 0)
			return false;
		printable += data[i] < 0x80;
	}
	return len > 0 && printable * 4 >= len * 3;
}

enum pv_kernel_format pv_kernel_sniff(const void *data, size_t len)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		const struct magic *magic = &magics[i];
		if (len >= magic->offset + magic->len &&
		    memcmp((const uint8_t *)data + magic->offset, magic->bytes, magic->len) == 0)
			return magic->format;
	}
	if (is_lzma(data, len))
		return PV_KERNEL_LZMA;
	return is_text(data, len) ? PV_KERNEL_SCRIPT : PV_KERNEL_UNKNOWN;
}

static bool is_compressed(enum pv_kernel_format format)
{
	switch (format) {
	case PV_KERNEL_GZIP:
	case PV_KERNEL_XZ:
	case PV_KERNEL_ZSTD:
	case PV_KERNEL_LZ4_LEGACY:
	case PV_KERNEL_LZ4_FRAME:
	case PV_KERNEL_BZIP2:
	case PV_KERNEL_LZMA: return true;
	default: return false;
	}
}

static struct pv_kernel_image *create_image(struct pv_err *err)
{
	struct pv_kernel_image *image = calloc(1, sizeof(*image));
	if (!image)
		pv_err_nomem(err, "kernel");
	else
		image->kernel.cmdline_max = CMDLINE_UNKNOWN;
	return image;
}

void pv_kernel_destroy(struct pv_kernel *kernel)
{
	struct pv_kernel_image *image = (struct pv_kernel_image *)kernel;
	if (!image)
		return;
	if (image->mapping)
		munmap(image->mapping, image->mapping_size);
	pv_bytes_finish(&image->heap);
	free(image);
}

/* Makes `heap` hold nothing but the room before an image, and space for `size` bytes behind it. */
static int begin_heap(struct pv_bytes *heap, size_t size, struct pv_err *err)
{
	heap->len = 0;
	if (pv_bytes_reserve(heap, PV_KERNEL_IMAGE_ROOM + size) < 0)
		return pv_err_nomem(err, "kernel");
	memset(heap->data, 0, PV_KERNEL_IMAGE_ROOM);
	heap->len = PV_KERNEL_IMAGE_ROOM;
	return 0;
}

static struct pv_span heap_content(const struct pv_bytes *heap)
{
	return (struct pv_span){
	    .data = heap->data + PV_KERNEL_IMAGE_ROOM,
	    .len = heap->len - PV_KERNEL_IMAGE_ROOM,
	};
}

/* Makes `*heap`, if `status` says that it could be made, the image's, and frees the other one.
 * Returns `status`. */
static int take_heap(struct pv_kernel_image *image, struct pv_bytes *heap, int status)
{
	if (status < 0) {
		pv_bytes_finish(heap);
		return status;
	}
	pv_bytes_finish(&image->heap);
	image->heap = *heap;
	return 0;
}

/* Unpacks `*inside`, which may lie in the heap, into a new heap, and makes `*inside` the result. */
static int unwrap_compressed(struct pv_kernel_image *image, enum pv_kernel_format format,
    struct pv_span *inside, struct pv_err *err)
{
	struct pv_bytes out = {0};
	int status = begin_heap(&out, 0, err);
	if (status == 0)
		status =
		    pv_unpack(format, inside->data, inside->len, PV_KERNEL_FILE_MAX, &out, err);
	status = take_heap(image, &out, status);
	if (status == 0)
		*inside = heap_content(&image->heap);
	return status;
}

/* A bzImage: its payload is compressed, or (rarely) a plain ELF file. */
static int unwrap_bzimage(struct pv_kernel_image *image, struct pv_span *inside, struct pv_err *err)
{
	struct pv_bzimage_payload payload;
	int status = pv_bzimage_read(&image->kernel, inside->data, inside->len, &payload, err);
	if (status < 0)
		return status;
	const enum pv_kernel_format format =
	    pv_kernel_sniff(payload.packed.data, payload.packed.len);
	*inside = payload.packed;
	if (format == PV_KERNEL_ELF)
		return 0;
	if (!is_compressed(format)) {
		pv_kernel_reject(PV_KERNEL_UNKNOWN, inside->data, inside->len, err);
		return pv_err_prefix(err, "the payload of this bzImage");
	}
	status = unwrap_compressed(image, format, inside, err);
	if (status < 0)
		return status;
	if ((uint32_t)inside->len != payload.unpacked_size)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "its kernel unpacks to %zu bytes where %u are announced; the file is damaged",
		    inside->len, payload.unpacked_size);
	return 0;
}

/* Takes off wrapping after wrapping. The ELF file is then in the image's heap. */
static int unwrap(struct pv_kernel_image *image, struct pv_span inside, struct pv_err *err)
{
	int status = 0;
	for (int depth = 0;; depth++) {
		const enum pv_kernel_format format = pv_kernel_sniff(inside.data, inside.len);
		if (format == PV_KERNEL_ELF)
			break;
		if (format != PV_KERNEL_BZIMAGE && !is_compressed(format)) {
			pv_kernel_reject(format, inside.data, inside.len, err);
			return depth == 0 ? -err->code : pv_err_prefix(err, "unpacked");
		}
		if (depth == WRAPPINGS_MAX)
			return pv_err_set(err, PV_ERR_LIMIT, ENOEXEC,
			    "it is packed more than %d times over; unpack it first", WRAPPINGS_MAX);
		if (format == PV_KERNEL_BZIMAGE)
			status = unwrap_bzimage(image, &inside, err);
		else
			status = unwrap_compressed(image, format, &inside, err);
		if (status < 0)
			return status;
	}
	if (image->heap.data && inside.data == heap_content(&image->heap).data)
		return 0;
	/* Not unpacked, so still in the caller's bytes or inside of another file. */
	struct pv_bytes copy = {0};
	status = begin_heap(&copy, inside.len, err);
	if (status == 0 && pv_bytes_append(&copy, inside.data, inside.len) < 0)
		status = pv_err_nomem(err, "kernel");
	return take_heap(image, &copy, status);
}

/* Looks at the ELF file in the heap. */
static int parse_heap(struct pv_kernel_image *image, struct pv_err *err)
{
	const struct pv_span content = heap_content(&image->heap);
	image->kernel.image = content.data;
	image->kernel.image_size = content.len;
	return pv_elf_parse(&image->kernel, err);
}

int pv_kernel_parse(
    struct pv_kernel **out, const void *data, size_t len, const char *name, struct pv_err *err)
{
	struct pv_kernel_image *image = create_image(err);
	if (!image)
		return -ENOMEM;
	int status = unwrap(image, (struct pv_span){.data = data, .len = len}, err);
	if (status == 0)
		status = parse_heap(image, err);
	if (status < 0) {
		pv_kernel_destroy(&image->kernel);
		return pv_err_prefix(err, "kernel `%s`", name);
	}
	*out = &image->kernel;
	return 0;
}

/* The file behind a path, while it is looked at. */
struct source {
	const char *path;
	const char *cache_dir; /* or NULL */
	int fd;
	struct stat info;
	struct pv_bytes head; /* its first bytes */
};

static int look_at_source(struct source *source, struct pv_err *err)
{
	if (fstat(source->fd, &source->info) < 0)
		return pv_err_system(err, errno, "cannot read it");
	if (!S_ISREG(source->info.st_mode))
		return pv_err_set(err, PV_ERR_INPUT,
		    S_ISDIR(source->info.st_mode) ? EISDIR : EINVAL,
		    "this is a %s; give a bzImage or an ELF vmlinux for x86-64",
		    S_ISDIR(source->info.st_mode) ? "folder" : "device, pipe or socket");
	const uint64_t size = (uint64_t)source->info.st_size;
	const size_t head = size < HEAD_SIZE ? (size_t)size : HEAD_SIZE;
	if (pv_bytes_reserve(&source->head, head ? head : 1) < 0)
		return pv_err_nomem(err, "kernel");
	int status = pv_fd_pread_all(source->fd, source->head.data, head, 0);
	if (status < 0)
		return pv_err_system(err, -status, "cannot read it");
	source->head.len = head;
	return 0;
}

/* Reads the first `size` bytes of the file into the heap. */
static int read_source(
    const struct source *source, uint64_t size, struct pv_kernel_image *image, struct pv_err *err)
{
	if (size > PV_KERNEL_FILE_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, EFBIG,
		    "it has %llu MiB, more than the limit of %llu MiB",
		    (unsigned long long)(size >> 20),
		    (unsigned long long)(PV_KERNEL_FILE_MAX >> 20));
	int status = begin_heap(&image->heap, (size_t)size, err);
	if (status < 0)
		return status;
	status =
	    pv_fd_pread_all(source->fd, image->heap.data + PV_KERNEL_IMAGE_ROOM, (size_t)size, 0);
	if (status == -ENODATA)
		return pv_err_set(err, PV_ERR_INPUT, EAGAIN,
		    "it became shorter while it was read; try again when it is complete");
	if (status < 0)
		return pv_err_system(err, -status, "cannot read it");
	image->heap.len += (size_t)size;
	return 0;
}

static int open_elf(const struct source *source, struct pv_kernel_image *image, struct pv_err *err)
{
	const uint64_t extent =
	    pv_elf_extent(source->head.data, source->head.len, (uint64_t)source->info.st_size);
	int status = read_source(source, extent, image, err);
	return status < 0 ? status : parse_heap(image, err);
}

/* Takes the kernel from the cache. Returns false when that has nothing (usable) under `hash`. */
static bool open_cached(
    const struct source *source, const char *hash, struct pv_kernel_image *image)
{
	struct pv_err ignored = PV_ERR_INIT;
	if (!pv_kernel_cache_map(source->cache_dir, hash, image))
		return false;
	if (pv_elf_parse(&image->kernel, &ignored) == 0)
		return true;
	munmap(image->mapping, image->mapping_size);
	image->mapping = NULL;
	image->kernel = (struct pv_kernel){.cmdline_max = CMDLINE_UNKNOWN};
	return false;
}

/* Unpacks the file that is in the heap. */
static int unpack_source(struct pv_kernel_image *image, struct pv_err *err)
{
	int status = unwrap(image, heap_content(&image->heap), err);
	return status < 0 ? status : parse_heap(image, err);
}

static int open_packed(
    const struct source *source, struct pv_kernel_image *image, struct pv_err *err)
{
	const char *dir = source->cache_dir;
	char hash[PV_HASH_TEXT];
	if (dir && pv_kernel_cache_recall(dir, source->path, &source->info, hash) &&
	    open_cached(source, hash, image))
		return 0;
	int status = read_source(source, (uint64_t)source->info.st_size, image, err);
	if (status < 0 || !dir)
		return status < 0 ? status : unpack_source(image, err);

	const struct pv_span packed = heap_content(&image->heap);
	pv_hash_of(packed.data, packed.len, hash);
	bool cached = open_cached(source, hash, image);
	if (!cached) {
		status = unpack_source(image, err);
		if (status < 0)
			return status;
		/* The heap stays what is used when the folder cannot be written to. */
		cached =
		    pv_kernel_cache_store(dir, hash, image) && open_cached(source, hash, image);
		if (!cached)
			return parse_heap(image, err);
	}
	pv_bytes_finish(&image->heap);
	struct stat now;
	if (fstat(source->fd, &now) == 0 &&
	    memcmp(&now.st_mtim, &source->info.st_mtim, sizeof(now.st_mtim)) == 0)
		pv_kernel_cache_remember(dir, source->path, &source->info, hash);
	return 0;
}

int pv_kernel_open_fd(
    struct pv_kernel **out, int fd, const char *path, const char *cache_dir, struct pv_err *err)
{
	struct source source = {.path = path, .cache_dir = cache_dir, .fd = fd};
	struct pv_kernel_image *image = create_image(err);
	if (!image)
		return -ENOMEM;
	int status = look_at_source(&source, err);
	if (status < 0)
		goto done;
	const enum pv_kernel_format format = pv_kernel_sniff(source.head.data, source.head.len);
	if (format == PV_KERNEL_ELF)
		status = open_elf(&source, image, err);
	else if (format == PV_KERNEL_BZIMAGE || is_compressed(format))
		status = open_packed(&source, image, err);
	else
		status = pv_kernel_reject(format, source.head.data, source.head.len, err);
done:
	pv_bytes_finish(&source.head);
	if (status < 0) {
		pv_kernel_destroy(&image->kernel);
		return pv_err_prefix(err, "kernel `%s`", path);
	}
	*out = &image->kernel;
	return 0;
}

int pv_kernel_open(
    struct pv_kernel **out, const char *path, const char *cache_dir, struct pv_err *err)
{
	int fd;
	/* O_NONBLOCK: a FIFO at the path must not hang us. */
	do {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		pv_err_system(err, errno, "cannot read it");
		return pv_err_prefix(err, "kernel `%s`", path);
	}
	int status = pv_kernel_open_fd(out, fd, path, cache_dir, err);
	pv_fd_close(&fd);
	return status;
}

int pv_kernel_load(const struct pv_kernel *kernel, const struct pv_gmem *mem, struct pv_err *err)
{
	for (unsigned i = 0; i < kernel->segment_count; i++) {
		const struct pv_kernel_segment *segment = &kernel->segments[i];
		uint8_t *to = pv_gmem_at(mem, segment->gpa, segment->memory_size);
		if (!to)
			return pv_err_set(err, PV_ERR_LIMIT, ENOSPC,
			    "the kernel needs memory up to %llu MiB, but the guest has %llu MiB; "
			    "raise `memory`",
			    (unsigned long long)(kernel->memory_end + (1 << 20) - 1) >> 20,
			    (unsigned long long)pv_gmem_size(mem) >> 20);
		if (segment->file_size > 0)
			memcpy(to, kernel->image + segment->file_offset, segment->file_size);
	}
	/* The guest has its copy; a cached kernel's mapping need not stay in this process' memory.
	 */
	const struct pv_kernel_image *image = (const struct pv_kernel_image *)kernel;
	if (image->mapping)
		madvise(image->mapping, image->mapping_size, MADV_DONTNEED);
	return 0;
}
