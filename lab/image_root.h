/*
 * The root file system of an image, as an uncompressed initramfs. Private to lab/image*.c.
 */
#ifndef PV_LAB_IMAGE_ROOT_H
#define PV_LAB_IMAGE_ROOT_H

struct pv_bytes;
struct pv_err;
struct pv_image_modules;

/*
 * Appends the archive: busybox at `busybox` on the host, the wanted modules of a kernel of
 * `release` (without modules it may be ""), the agent's list of modules. Returns 0 or -errno.
 */
int pv_image_root_write(struct pv_bytes *out, const char *busybox, const char *release,
    const struct pv_image_modules *modules, struct pv_err *err);

#endif
