/*
 * The profile file of an image, and the record in it of what the image was made from. Private to
 * lab/image*.c.
 */
#ifndef PV_LAB_IMAGE_PROFILE_H
#define PV_LAB_IMAGE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

struct pv_bytes;

/* Names of an image's files. */
#define PV_IMAGE_KERNEL	 "kernel"
#define PV_IMAGE_INITRD	 "initramfs.cpio"
#define PV_IMAGE_PROFILE "profile.provium.toml"

#define PV_IMAGE_RELEASE_MAX 65	 /* with the NUL, as in struct utsname */
#define PV_IMAGE_MISSING_MAX 512 /* with the NUL */

/* Enough to see that an image need not be made again, and to report it as if it had been. */
struct pv_image_record {
	char inputs[PV_HASH_TEXT]; /* of everything that it was made from */
	uint64_t kernel_size;
	uint64_t initrd_size;
	size_t loaded;
	size_t included;
	char release[PV_IMAGE_RELEASE_MAX];
	char missing[PV_IMAGE_MISSING_MAX];
};

/*
 * Appends the text of the profile. `origin` says in words where the kernel came from; `cmdline`
 * NULL is the default one. Returns 0 or -ENOMEM.
 */
int pv_image_profile_write(struct pv_bytes *out, const char *name, const char *origin,
    const char *cmdline, const struct pv_image_record *record);

/* Reads the record of a profile file. False when there is no file, no record, or another version's.
 */
bool pv_image_profile_read(const char *path, struct pv_image_record *record);

#endif
