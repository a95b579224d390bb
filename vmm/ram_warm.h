/*
 * Making private RAM ready for a guest whose working set is known, before it goes on. What is seen
 * stays the same. Nothing here knows of machines. On any thread, while no vCPU runs and no device
 * touches memory.
 */
#ifndef PV_VMM_RAM_WARM_H
#define PV_VMM_RAM_WARM_H

struct pv_ram;
struct pv_ram_image;
struct pv_working_set;

/* Makes pages that will be written the machine's own, as far as the host can. RAM has just been
 * mapped. */
void pv_ram_warm(struct pv_ram *ram, const struct pv_working_set *set);

/*
 * Has the host keep those pieces of an image in huge pages that are much read and not written, for
 * all who map it from now on, now and in other processes. Where the file system cannot do that, all
 * stays as it is.
 */
void pv_ram_warm_gather(const struct pv_ram_image *image, const struct pv_working_set *set);

#endif
