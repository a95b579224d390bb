/*
 * The programs of an image: one static busybox under the names of all its applets. Private to
 * lab/image*.c.
 */
#ifndef PV_LAB_IMAGE_BUSYBOX_H
#define PV_LAB_IMAGE_BUSYBOX_H

#include <stddef.h>

struct pv_bytes;
struct pv_err;

/*
 * Decides on the busybox: `given`, or the first static one in PATH, /bin and /usr/bin. Writes its
 * path. Returns 0, or -errno with a sentence that says what to install.
 */
int pv_image_busybox_find(const char *given, char *path, size_t size, struct pv_err *err);

/*
 * Reads it into `program`, and into `links` the places of its applets ("bin/sh", "sbin/modprobe"),
 * one a line, by running it. Appends. Returns 0 or -errno.
 */
int pv_image_busybox_read(
    const char *path, struct pv_bytes *program, struct pv_bytes *links, struct pv_err *err);

#endif
