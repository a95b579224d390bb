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

/* The files that it is made of, held open: they may be renamed or deleted before it is composed. */
struct pv_initramfs_files {
	int initrd;  /* -1: none */
	int overlay; /* the agent's archive; -1: ours */
};

/* Opens them. Returns 0 or -errno with a sentence that names the file; closed by the caller. */
int pv_initramfs_open(
    struct pv_initramfs_files *files, const struct pv_profile *profile, struct pv_err *err);
void pv_initramfs_close(struct pv_initramfs_files *files);

/* Composes it of these files. As pv_initramfs_build. */
int pv_initramfs_compose(struct pv_initramfs *initramfs, const struct pv_profile *profile,
    const struct pv_initramfs_files *files, const struct pv_options *options, struct pv_err *err);

/* Opens the files and composes it. Returns 0 or -errno with a sentence that names the file; the
 * caller finishes it. */
int pv_initramfs_build(struct pv_initramfs *initramfs, const struct pv_profile *profile,
    const struct pv_options *options, struct pv_err *err);

/* The content was copied into the guest: lets the host's resident memory of it go until it is read
 * again. */
void pv_initramfs_cool(struct pv_initramfs *initramfs);

void pv_initramfs_finish(struct pv_initramfs *initramfs);

#endif
