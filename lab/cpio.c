/*
 * newc archives for the initramfs. Theory: an entry is a header of thirteen eight-digit hexadecimal
 * fields behind the magic, the name with its NUL, padding to four bytes, the data, padding to four
 * bytes. The kernel unpacks entries in order and an entry replaces what an earlier one made, which
 * the initramfs composer relies on. Owner and times are 0, so equal input gives equal bytes.
 */
#include "lab/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"

#define CPIO_HEADER_SIZE 110

static int pad(struct pv_bytes *out, size_t align)
{
	static const char zeros[512];
	size_t over = out->len % align;
	return over ? pv_bytes_append(out, zeros, align - over) : 0;
}

static int add_numbered(struct pv_bytes *out, unsigned inode, const char *path, unsigned mode,
    const void *data, size_t len)
{
	size_t name_size = strlen(path) + 1;
	char header[CPIO_HEADER_SIZE + 1];
	int written = snprintf(header, sizeof(header),
	    "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode, mode, 0u, 0u,
	    S_ISDIR(mode) ? 2u : 1u, 0u, (unsigned)len, 0u, 0u, 0u, 0u, (unsigned)name_size, 0u);
	if (written != CPIO_HEADER_SIZE || len > 0xffffffffu)
		return -EFBIG;
	if (pv_bytes_append(out, header, CPIO_HEADER_SIZE) ||
	    pv_bytes_append(out, path, name_size) || pad(out, 4) ||
	    pv_bytes_append(out, data, len) || pad(out, 4))
		return -ENOMEM;
	return 0;
}

int pv_cpio_add(struct pv_bytes *out, const char *path, unsigned mode, const void *data, size_t len)
{
	/* The kernel looks at inode numbers only to find hard links, and only where the link count
	 * is above 1. */
	return add_numbered(out, 1 + (unsigned)(out->len / 4), path, mode, data, len);
}

int pv_cpio_add_dir(struct pv_bytes *out, const char *path)
{
	return pv_cpio_add(out, path, S_IFDIR | 0755, NULL, 0);
}

int pv_cpio_add_file(
    struct pv_bytes *out, const char *path, unsigned mode, const void *data, size_t len)
{
	return pv_cpio_add(out, path, S_IFREG | mode, data, len);
}

int pv_cpio_add_symlink(struct pv_bytes *out, const char *path, const char *target)
{
	return pv_cpio_add(out, path, S_IFLNK | 0777, target, strlen(target));
}

int pv_cpio_add_parents(struct pv_bytes *out, const char *path)
{
	char dir[4096];
	if (strlen(path) >= sizeof(dir))
		return -ENAMETOOLONG;
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t len = (size_t)(slash - path);
		memcpy(dir, path, len);
		dir[len] = '\0';
		int status = len ? pv_cpio_add_dir(out, dir) : 0;
		if (status)
			return status;
	}
	return 0;
}

int pv_cpio_end(struct pv_bytes *out)
{
	int status = add_numbered(out, 0, "TRAILER!!!", 0, NULL, 0);
	return status ? status : pad(out, 512);
}
