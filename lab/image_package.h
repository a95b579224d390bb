/*
 * Kernel and modules out of a Debian package, without installing it. Private to lab/image*.c.
 */
#ifndef PV_LAB_IMAGE_PACKAGE_H
#define PV_LAB_IMAGE_PACKAGE_H

#include <stddef.h>

struct pv_bytes;
struct pv_err;
struct pv_image_modules;

/*
 * Reads linux-image-*.deb: appends the kernel to `kernel`, fills `modules` (which must be empty)
 * and writes the name of the modules folder, which is the release, to `release`. Returns 0, or
 * -errno with a sentence that names the package.
 */
int pv_image_package_read(const char *path, struct pv_bytes *kernel,
    struct pv_image_modules *modules, char *release, size_t release_size, struct pv_err *err);

#endif
