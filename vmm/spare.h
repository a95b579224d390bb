/*
 * Spare machines: the kernel's half of a machine that was destroyed (virtual machine, vCPUs,
 * interrupt controllers, memory slots), kept for the next one that is restored, whose state
 * replaces all of it as a rewind does. Making and destroying one costs the kernel some milliseconds
 * and several grace periods; this costs nothing. Any thread.
 */
#ifndef PV_VMM_SPARE_H
#define PV_VMM_SPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/kvm_vm.h"
#include "vmm/ram.h"

struct pv_ram_image;
struct pv_reaper;
struct pv_spare_pool;

/* A doorbell that the kernel still has. */
struct pv_spare_bell {
	uint64_t gpa;
	int fd; /* owned */
};

struct pv_spare {
	struct pv_kvm_vm vm;
	/* Memory of this process that the memory slots point to, which is the spare's: left, or
	 * private RAM that will be as its image again (vmm/ram.h). */
	struct pv_ram ram;
	struct pv_spare_bell *bells; /* from malloc */
	unsigned bell_count;
};

/* NULL when out of memory. */
struct pv_spare_pool *pv_spare_pool_create(void);

/* Gives all spares back through `reaper`; waits for those that are being cleaned. NULL is fine. */
void pv_spare_pool_destroy(struct pv_spare_pool *pool, struct pv_reaper *reaper);

/*
 * Keeps a virtual machine with controllers in the kernel whose vCPUs are out of the guest with
 * nothing half done, and whose pins are low. It is cleaned on a thread of the pool's: private RAM
 * becomes as its image again, other memory goes back to the host, doorbells leave the kernel,
 * timers stop. False: there is no room, and the caller keeps it.
 */
bool pv_spare_give(struct pv_spare_pool *pool, struct pv_spare *spare);

/*
 * Takes one that has been cleaned and has memory of the image's size, best one whose RAM is as that
 * image; where RAM is not as some image, its place is mapped without access. False: there is none.
 */
bool pv_spare_take(
    struct pv_spare_pool *pool, unsigned cpus, struct pv_ram_image *image, struct pv_spare *out);

/* Waits until nothing is being cleaned, for tests and measurements. Returns how many there are. */
unsigned pv_spare_pool_settle(struct pv_spare_pool *pool);

/* Gives all of a spare back through `reaper`, or at once when that is NULL. */
void pv_spare_finish(struct pv_spare *spare, struct pv_reaper *reaper);

#endif
