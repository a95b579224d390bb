/*
 * The cache of unpacked kernels. An entry is one page of header and the vmlinux behind it,
 * installed by a rename, so that readers see a whole entry or none, and mapped read-only by any
 * number of processes at once. Nobody writes to an entry after that.
 *
 * What a power cut or a full disk can do to an entry is caught on use: the header has the size and
 * a hash over itself and over a sample of the image, one line of each 64 KiB. That costs less than
 * a millisecond, where hashing all of it would cost as much as unpacking. Beyond that the folder is
 * trusted, as a folder of the user's own.
 *
 * Called by the kernel loader on any thread, in any number of processes.
 */
#include "vmm/kernel_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "vmm/kernel_image.h"

/* The version is part of it: entries of another one are replaced. */
#define ENTRY_MAGIC "provium kernel 1"

#define SAMPLE_STEP 65536u
#define SAMPLE_SIZE 64u

/* A file younger than this is not remembered: times of files advance in steps of some milliseconds.
 */
#define SETTLED_SECONDS 2

/* First page of an entry; the rest of the page is zero. In the byte order of the host: entries do
 * not travel. */
struct entry {
	char magic[16];
	uint64_t image_size;
	uint32_t header_size;
	uint32_t cmdline_max;
	uint8_t header[PV_KERNEL_HEADER_MAX];
	char check[PV_HASH_TEXT]; /* over all before, and the sample */
};

_Static_assert(sizeof(ENTRY_MAGIC) - 1 == 16, "the magic fills its field");
_Static_assert(sizeof(struct entry) <= PV_KERNEL_IMAGE_ROOM, "the header fits before the image");

static void entry_check(const struct entry *entry, const uint8_t *image, char text[PV_HASH_TEXT])
{
	struct pv_hash hash;
	pv_hash_init(&hash);
	pv_hash_update(&hash, entry, offsetof(struct entry, check));
	for (uint64_t at = 0; at < entry->image_size; at += SAMPLE_STEP) {
		const uint64_t left = entry->image_size - at;
		pv_hash_update(&hash, image + at, left < SAMPLE_SIZE ? left : SAMPLE_SIZE);
	}
	pv_hash_finish(&hash, text);
}

/* `dir`/`prefix``name`; false when that is too long. */
static bool join(char path[PATH_MAX], const char *dir, const char *prefix, const char *name)
{
	return snprintf(path, PATH_MAX, "%s/%s%s", dir, prefix, name) < PATH_MAX;
}

/* The index file of a file: named by all that changes when the file does. */
static bool index_path(
    char out[PATH_MAX], const char *dir, const char *path, const struct stat *file)
{
	struct pv_bytes key = {0};
	char name[PV_HASH_TEXT];
	int status = pv_bytes_printf(&key, "%llu %llu %lld %lld.%09ld %lld.%09ld %s",
	    (unsigned long long)file->st_dev, (unsigned long long)file->st_ino,
	    (long long)file->st_size, (long long)file->st_mtim.tv_sec, file->st_mtim.tv_nsec,
	    (long long)file->st_ctim.tv_sec, file->st_ctim.tv_nsec, path);
	if (status == 0)
		pv_hash_of(key.data, key.len, name);
	pv_bytes_finish(&key);
	return status == 0 && join(out, dir, "index-", name);
}

bool pv_kernel_cache_recall(
    const char *dir, const char *path, const struct stat *file, char hash[PV_HASH_TEXT])
{
	char name[PATH_MAX];
	if (!index_path(name, dir, path, file))
		return false;
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	int status = pv_fd_read_all(fd, hash, PV_HASH_TEXT - 1);
	pv_fd_close(&fd);
	hash[PV_HASH_TEXT - 1] = '\0';
	/* It becomes a file name. */
	return status == 0 && strspn(hash, "0123456789abcdef") == PV_HASH_TEXT - 1;
}

void pv_kernel_cache_remember(
    const char *dir, const char *path, const struct stat *file, const char *hash)
{
	char name[PATH_MAX];
	struct pv_err ignored = PV_ERR_INIT;
	const time_t now = time(NULL);
	if (file->st_mtim.tv_sec + SETTLED_SECONDS > now ||
	    file->st_ctim.tv_sec + SETTLED_SECONDS > now)
		return;
	if (index_path(name, dir, path, file))
		pv_fd_replace_file(name, hash, strlen(hash), 0644, &ignored);
}

/* Checks a mapped entry and takes it in. */
static bool take(struct pv_kernel_image *image)
{
	struct pv_kernel *kernel = &image->kernel;
	const uint8_t *base = image->mapping;
	struct entry entry;
	char check[PV_HASH_TEXT];
	memcpy(&entry, base, sizeof(entry));
	if (memcmp(entry.magic, ENTRY_MAGIC, sizeof(entry.magic)) != 0 ||
	    entry.image_size != image->mapping_size - PV_KERNEL_IMAGE_ROOM ||
	    entry.header_size > PV_KERNEL_HEADER_MAX)
		return false;
	entry_check(&entry, base + PV_KERNEL_IMAGE_ROOM, check);
	if (memcmp(check, entry.check, sizeof(check)) != 0)
		return false;
	kernel->image = base + PV_KERNEL_IMAGE_ROOM;
	kernel->image_size = entry.image_size;
	kernel->header_size = entry.header_size;
	kernel->cmdline_max = entry.cmdline_max;
	memcpy(kernel->header, entry.header, sizeof(kernel->header));
	return true;
}

bool pv_kernel_cache_map(const char *dir, const char *hash, struct pv_kernel_image *image)
{
	char path[PATH_MAX];
	if (!join(path, dir, "", hash))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	struct stat info;
	void *mapping = MAP_FAILED;
	if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
	    info.st_size > (off_t)PV_KERNEL_IMAGE_ROOM)
		mapping = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	pv_fd_close(&fd);
	if (mapping == MAP_FAILED)
		return false;
	image->mapping = mapping;
	image->mapping_size = (size_t)info.st_size;
	if (take(image))
		return true;
	munmap(mapping, image->mapping_size);
	image->mapping = NULL;
	image->mapping_size = 0;
	return false;
}

bool pv_kernel_cache_store(const char *dir, const char *hash, struct pv_kernel_image *image)
{
	char path[PATH_MAX];
	struct pv_err ignored = PV_ERR_INIT;
	const struct pv_kernel *kernel = &image->kernel;
	if (!join(path, dir, "", hash))
		return false;
	struct entry entry = {
	    .image_size = kernel->image_size,
	    .header_size = (uint32_t)kernel->header_size,
	    .cmdline_max = kernel->cmdline_max,
	};
	memcpy(entry.magic, ENTRY_MAGIC, sizeof(entry.magic));
	memcpy(entry.header, kernel->header, sizeof(entry.header));
	entry_check(&entry, kernel->image, entry.check);
	memcpy(image->heap.data, &entry, sizeof(entry));
	return pv_fd_replace_file(path, image->heap.data, image->heap.len, 0644, &ignored) == 0;
}
