/*
 * Giving back what is slow to give back: KVM descriptors and large mappings. Closing a young
 * virtual machine takes the kernel 10 to 20 ms, so a thread of its own does it and the caller goes
 * on.
 */
#ifndef PV_VMM_REAP_H
#define PV_VMM_REAP_H

#include <stddef.h>

struct pv_reap;
struct pv_reaper;

/* Knows what is still under way. NULL when out of memory. */
struct pv_reaper *pv_reaper_create(void);

/*
 * Waits until nothing is under way and frees. NULL is fine. (Whoever ends the process has to wait
 * as long anyway, in the kernel; and a leak checker that stops threads in the middle of it hangs.)
 */
void pv_reaper_destroy(struct pv_reaper *reaper);

/* An empty list for `fds` descriptors and `mappings` mappings, or NULL when out of memory. */
struct pv_reap *pv_reap_create(struct pv_reaper *reaper, unsigned fds, unsigned mappings);

/*
 * Puts something on the list, which owns it from then on. With `reap` NULL, or a full list, it is
 * given back at once. Negative descriptors and NULL mappings are ignored.
 */
void pv_reap_fd(struct pv_reap *reap, int fd);
void pv_reap_mapping(struct pv_reap *reap, void *at, size_t size);

/*
 * Unmaps the mappings, then closes the descriptors in the order in which they came, on a detached
 * thread; on the calling one when no thread can be had. Frees the list. NULL is fine.
 */
void pv_reap_start(struct pv_reap *reap);

#endif
