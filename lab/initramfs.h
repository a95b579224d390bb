/*
 * What the kernel unpacks before anything runs: the profile's archive, the agent, and the injected
 * files, as one piece of memory.
 */
#ifndef PV_LAB_INITRAMFS_H
#define PV_LAB_INITRAMFS_H

#include <stddef.h>

struct pv_err;
struct pv_options;
struct pv_profile;

/* A mapping that stays valid when the files it came from change or go. */
struct pv_initramfs {
	void *data;
	size_t len;
};

/* Composes it. Returns 0 or -errno with a sentence that names the file; the caller finishes it. */
int pv_initramfs_build(struct pv_initramfs *initramfs, const struct pv_profile *profile,
    const struct pv_options *options, struct pv_err *err);

/* Another mapping of the same memory; `from` may be empty. Returns 0 or -errno. */
int pv_initramfs_share(
    struct pv_initramfs *initramfs, const struct pv_initramfs *from, struct pv_err *err);

/* The content was copied into the guest: lets the host's resident memory of it go until it is read
 * again. */
void pv_initramfs_cool(struct pv_initramfs *initramfs);

void pv_initramfs_finish(struct pv_initramfs *initramfs);

#endif
