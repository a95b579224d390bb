/*
 * The kernel modules that an image is chosen from: all that a kernel came with, which of them are
 * wanted, and in which order they must be loaded. Private to lab/image*.c.
 */
#ifndef PV_LAB_IMAGE_MODULES_H
#define PV_LAB_IMAGE_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "vmm/kernel.h"

struct pv_err;

/* More than any distribution has, so that a hostile package ends somewhere. */
#define PV_IMAGE_MODULES_MAX	 32768
#define PV_IMAGE_MODULE_SIZE_MAX ((size_t)128 << 20)
#define PV_IMAGE_MODULE_DEPTH	 32

struct pv_image_module {
	char *name;		      /* as in /proc/modules: `-` is `_` */
	char *path;		      /* below the modules folder, as it came */
	enum pv_kernel_format packed; /* PV_KERNEL_UNKNOWN: it is plain */
	uint64_t offset;	      /* in the spool, when there is one */
	uint64_t size;		      /* as it came */
	int64_t modified_ns;	      /* of a file in a folder */
	bool visiting;
	bool wanted;		 /* it is in `order` */
	bool load;		 /* at boot, else by modprobe */
	struct pv_bytes content; /* unpacked; of wanted modules */
	size_t *needs;		 /* all that must be loaded before it, in loading order */
	size_t need_count;
};

/* Begin with PV_IMAGE_MODULES_INIT. */
struct pv_image_modules {
	struct pv_image_module *items;
	size_t count;
	char *folder;		 /* where the files are, when there is no spool */
	int spool;		 /* owned descriptor of a file that holds them all, or -1 */
	struct pv_bytes builtin; /* the text of modules.builtin */
	size_t *order;		 /* the wanted ones, each behind what it needs */
	size_t order_count;
	size_t first_count; /* of them: what the agent's connection and the host's signals need */
};

#define PV_IMAGE_MODULES_INIT \
	{                     \
		.spool = -1   \
	}

/*
 * Adds a file when its name is that of a module (.ko, .ko.gz, .ko.xz, .ko.zst), else does nothing.
 * `offset` says where in the spool it is. Returns 0 or -errno.
 */
int pv_image_modules_add(struct pv_image_modules *modules, const char *path, uint64_t offset,
    uint64_t size, struct pv_err *err);

/* Fills the set from a folder (.../lib/modules/<release>). Returns 0, or -errno with a sentence
 * that names the folder. */
int pv_image_modules_walk(struct pv_image_modules *modules, const char *folder, struct pv_err *err);

/* True when modules.builtin names it. */
bool pv_image_modules_is_builtin(const struct pv_image_modules *modules, const char *name);

/*
 * Wants a module and all that it needs; `load` also lists them for loading at boot. Modules to load
 * must be wanted before those that are only included. Returns 0, 1 when the set has no module of
 * that name, or -errno with a sentence.
 */
int pv_image_modules_want(
    struct pv_image_modules *modules, const char *name, bool load, struct pv_err *err);

/* The release that a wanted module was built for (the first word of its vermagic), copied; false
 * when there is none. */
bool pv_image_modules_release(const struct pv_image_modules *modules, char *out, size_t size);

/* Path of a module in the image, below the modules folder: without the suffix of its compression,
 * as the image holds it unpacked. */
size_t pv_image_modules_path_len(const struct pv_image_module *module);

/* The texts of modules.dep and modules.alias for the wanted modules, as modprobe reads them.
 * Append. Return 0 or -ENOMEM. */
int pv_image_modules_write_dep(const struct pv_image_modules *modules, struct pv_bytes *out);
int pv_image_modules_write_alias(const struct pv_image_modules *modules, struct pv_bytes *out);

void pv_image_modules_finish(struct pv_image_modules *modules);

#endif
