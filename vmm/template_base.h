/*
 * The snapshot file that another one builds on. Any thread.
 */
#ifndef PV_VMM_TEMPLATE_BASE_H
#define PV_VMM_TEMPLATE_BASE_H

#include "vmm/ram_image.h"
#include "vmm/template_header.h"

/* Notes that the file `path` with that header holds the RAM of `image`, for layers to come. Failure
 * (no memory) has no effect. */
void pv_template_base_remember(
    struct pv_ram_image *image, const struct pv_template_header *header, const char *path);

/*
 * Finds the file that a layer of `image` at `path` can build on: the nearest one that lies beneath
 * `tree`, as the layer does, and is still the one it was. Fills the part of the header about it.
 * Returns the image, `image` itself or one below it, or NULL when there is none.
 */
const struct pv_ram_image *pv_template_base_find(struct pv_template_header *header,
    struct pv_ram_image *image, const char *path, const char *tree);

/* True when `base` is the header of the file that `header` builds on. */
bool pv_template_base_is(
    const struct pv_template_header *header, const struct pv_template_header *base);

#endif
