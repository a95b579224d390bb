/*
 * Making a layer (vmm/ram_image.h) of what private RAM has changed.
 */
#ifndef PV_VMM_RAM_LAYER_H
#define PV_VMM_RAM_LAYER_H

struct pv_err;
struct pv_ram;
struct pv_ram_image;

/*
 * Copies the pages that `ram` has written since it began as its image, and makes a layer on that
 * image, or on one that it builds on; RAM itself is left as it is. When nothing differs, `*out` is
 * the image itself. The caller owns one reference. Returns 0, 1 when a whole copy is the better
 * choice or what was written cannot be told, or -errno. No vCPU may run.
 */
int pv_ram_layer_make(const struct pv_ram *ram, struct pv_ram_image **out, struct pv_err *err);

#endif
