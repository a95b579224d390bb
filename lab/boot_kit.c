/*
 * Boot kits.
 *
 * A cold boot reads its kit at once. A guest that is restored needs it only when it reboots, which
 * few do, and reading it takes longer than the restore itself: so there the files are opened, which
 * keeps what is deleted or replaced, and read when the first reset comes. A file whose content is
 * changed in place before that is read as it is then. Kernels are the host's, shared by all kits of
 * the worker (lab/host.h); the initramfs is the kit's own.
 *
 * Kits are made on the script thread. They are read on whatever thread resets a machine, so the
 * making is under the kit's own lock, and what was made is constant.
 */
#include "lab/boot_kit.h"

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/cmdline.h"
#include "lab/host.h"
#include "lab/initramfs.h"
#include "lab/options.h"
#include "lab/profile.h"
#include "vmm/machine.h"

struct pv_boot_kit {
	unsigned references; /* atomic */
	struct pv_host *host;
	const struct pv_profile *profile;
	struct pv_options options;
	char *kernel_path;
	struct pv_initramfs_files files;

	pthread_mutex_t lock; /* of all below */
	bool made;
	const struct pv_kernel *kernel;
	struct pv_bytes cmdline;
	struct pv_initramfs initramfs;
	struct pv_err failure; /* why it cannot be had; its code is 0 as long as it can */
};

/* The kernel inside an image's root directory: usr/lib/modules/<release>/vmlinuz-*. */
static int find_kernel_in_root(const struct pv_profile *profile, char **path, struct pv_err *err)
{
	struct pv_bytes pattern = {0};
	if (pv_bytes_printf(&pattern, "%s/usr/lib/modules/*/vmlinuz*", profile->root) ||
	    !pv_bytes_text(&pattern)) {
		pv_bytes_finish(&pattern);
		return pv_err_nomem(err, "kernel path");
	}
	glob_t found = {0};
	int status = 0;
	int globbed = glob((const char *)pattern.data, 0, NULL, &found);
	size_t count = globbed == 0 ? found.gl_pathc : 0;
	if (count != 1)
		status = pv_err_set(err, PV_ERR_INPUT, count ? ENOTUNIQ : ENOENT,
		    "profile `%s`: %zu kernels match `%s`; there must be exactly one, or set "
		    "`kernel`",
		    profile->name, count, (const char *)pattern.data);
	else if (!(*path = strdup(found.gl_pathv[0])))
		status = pv_err_nomem(err, "kernel path");
	globfree(&found);
	pv_bytes_finish(&pattern);
	return status;
}

static int find_kernel(const struct pv_profile *profile, char **path, struct pv_err *err)
{
	if (!profile->kernel && !profile->root)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "profile `%s` names no kernel; set `kernel` (or `root`) in provium.toml",
		    profile->name);
	if (!profile->kernel)
		return find_kernel_in_root(profile, path, err);
	*path = strdup(profile->kernel);
	return *path ? 0 : pv_err_nomem(err, "kernel path");
}

/* Finds and opens what there is to read. */
static int open_files(struct pv_boot_kit *kit, struct pv_err *err)
{
	int status = find_kernel(kit->profile, &kit->kernel_path, err);
	if (!status)
		status = pv_host_kernel_hold(kit->host, kit->kernel_path, err);
	if (!status)
		status = pv_initramfs_open(&kit->files, kit->profile, err);
	return status;
}

int pv_boot_kit_create(struct pv_boot_kit **out, struct pv_host *host,
    const struct pv_profile *profile, const struct pv_options *options, struct pv_err *err)
{
	struct pv_boot_kit *kit = calloc(1, sizeof(*kit));
	*out = NULL;
	if (!kit)
		return pv_err_nomem(err, "what a guest starts from");
	kit->references = 1;
	kit->host = host;
	kit->profile = profile;
	kit->files = (struct pv_initramfs_files){.initrd = -1, .overlay = -1};
	pthread_mutex_init(&kit->lock, NULL);
	int status = pv_options_merge(&kit->options, options, err);
	if (status) {
		pv_boot_kit_unref(kit);
		return status;
	}
	kit->made = open_files(kit, &kit->failure) < 0;
	*out = kit;
	return 0;
}

struct pv_boot_kit *pv_boot_kit_ref(struct pv_boot_kit *kit)
{
	if (kit)
		__atomic_add_fetch(&kit->references, 1, __ATOMIC_RELAXED);
	return kit;
}

void pv_boot_kit_unref(struct pv_boot_kit *kit)
{
	if (!kit || __atomic_sub_fetch(&kit->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	pv_initramfs_finish(&kit->initramfs);
	pv_initramfs_close(&kit->files);
	pv_bytes_finish(&kit->cmdline);
	pv_options_finish(&kit->options);
	pthread_mutex_destroy(&kit->lock);
	free(kit->kernel_path);
	free(kit);
}

/* Reads all. */
static int make(struct pv_boot_kit *kit, struct pv_err *err)
{
	int status = pv_host_kernel(kit->host, kit->kernel_path, &kit->kernel, err);
	if (!status)
		status = pv_cmdline_build(kit->profile, &kit->options, &kit->cmdline, err);
	if (!status && !pv_bytes_text(&kit->cmdline))
		status = pv_err_nomem(err, "command line");
	if (!status)
		status = pv_initramfs_compose(
		    &kit->initramfs, kit->profile, &kit->files, &kit->options, err);
	return status;
}

int pv_boot_kit_get(struct pv_boot_kit *kit, struct pv_machine_boot *boot, struct pv_err *err)
{
	pthread_mutex_lock(&kit->lock);
	if (!kit->made) {
		make(kit, &kit->failure);
		kit->made = true;
		pv_initramfs_close(&kit->files);
		pv_options_finish(&kit->options);
	}
	int status = -kit->failure.code;
	if (status)
		*err = kit->failure;
	else
		*boot = (struct pv_machine_boot){
		    .kernel = kit->kernel,
		    .cmdline = pv_bytes_text(&kit->cmdline),
		    .initrd = {.data = kit->initramfs.data, .len = kit->initramfs.len},
		};
	pthread_mutex_unlock(&kit->lock);
	return status;
}

void pv_boot_kit_cool(struct pv_boot_kit *kit)
{
	if (!kit)
		return;
	pthread_mutex_lock(&kit->lock);
	pv_initramfs_cool(&kit->initramfs);
	pthread_mutex_unlock(&kit->lock);
}
