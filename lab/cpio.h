/*
 * The newc cpio format of initramfs archives (Linux:
 * Documentation/driver-api/early-userspace/buffer-format.rst), writing only.
 */
#ifndef PV_LAB_CPIO_H
#define PV_LAB_CPIO_H

#include <stddef.h>

struct pv_bytes;

/* Appends one entry to an archive. `path` without leading slash; `mode` with the file type. Returns
 * 0 or -ENOMEM. */
int pv_cpio_add(
    struct pv_bytes *out, const char *path, unsigned mode, const void *data, size_t len);

/* A directory (0755), a regular file (S_IFREG | mode), a symbolic link. */
int pv_cpio_add_dir(struct pv_bytes *out, const char *path);
int pv_cpio_add_file(
    struct pv_bytes *out, const char *path, unsigned mode, const void *data, size_t len);
int pv_cpio_add_symlink(struct pv_bytes *out, const char *path, const char *target);

/* The directories above `path`, outermost first ("a", "a/b" for "a/b/c"). */
int pv_cpio_add_parents(struct pv_bytes *out, const char *path);

/* Ends the archive and pads it to 512 bytes. */
int pv_cpio_end(struct pv_bytes *out);

#endif
