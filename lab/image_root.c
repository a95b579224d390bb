/*
 * What the guest finds in its root. Theory: as little as lets a test run shell commands, because
 * every byte is copied into the guest and every entry is unpacked on each boot. There is no /init:
 * then the agent, which is injected, is the first process, mounts what is missing and loads the
 * modules of its list. Modules lie uncompressed, so that the guest need not unpack them. Not
 * compressed as a whole either: the host copies faster than the guest unpacks. Equal input gives
 * equal bytes.
 */
#include "lab/image_root.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/cpio.h"
#include "lab/image_busybox.h"
#include "lab/image_modules.h"

#define LIST_PATH	"etc/provium/modules"
#define LATER_LIST_PATH LIST_PATH ".later"

static const struct {
	const char *path;
	unsigned mode;
} folders[] = {
    {"bin",	    0755 },
    {"dev",	    0755 },
    {"etc",	    0755 },
    {"etc/provium", 0755 },
    {"lib",	    0755 },
    {"lib/modules", 0755 },
    {"mnt",	    0755 },
    {"proc",	     0555 },
    {"root",	     0700 },
    {"run",	    0755 },
    {"sbin",	     0755 },
    {"sys",	    0555 },
    {"tmp",	    01777},
    {"usr",	    0755 },
    {"usr/bin",	0755 },
    {"usr/sbin",	 0755 },
    {"var",	    0755 },
    {"var/log",	0755 },
    {"var/tmp",	01777},
};

static const struct {
	const char *path;
	const char *text;
} files[] = {
    {"etc/group",  "root:x:0:\nnogroup:x:65534:\n"					 },
    {"etc/hosts",  "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"			},
    {"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"},
};

static int add_text(struct pv_bytes *out, const char *path, const struct pv_bytes *text)
{
	return pv_cpio_add_file(out, path, 0644, text->data, text->len);
}

/* Folders and files that are the same in every image. */
static int add_fixed(struct pv_bytes *out)
{
	int status = 0;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !status; i++)
		status = pv_cpio_add(out, folders[i].path, S_IFDIR | folders[i].mode, NULL, 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && !status; i++)
		status = pv_cpio_add_file(
		    out, files[i].path, 0644, files[i].text, strlen(files[i].text));
	return status;
}

/* True when add_fixed has made the folder that `path` is in. */
static bool has_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		if (strlen(folders[i].path) == len && memcmp(folders[i].path, path, len) == 0)
			return true;
	}
	return len == 0;
}

static int add_busybox(struct pv_bytes *out, const char *busybox, struct pv_err *err)
{
	struct pv_bytes program = {0}, links = {0};
	int status = pv_image_busybox_read(busybox, &program, &links, err);
	if (!status && (pv_cpio_add_file(out, "bin/busybox", 0755, program.data, program.len) ||
			   !pv_bytes_text(&links)))
		status = pv_err_nomem(err, "initramfs");
	char *rest = (char *)links.data;
	for (const char *link; !status && (link = strsep(&rest, "\n"));) {
		int failed = *link && !has_folder(link) ? pv_cpio_add_parents(out, link) : 0;
		if (failed || (*link && pv_cpio_add_symlink(out, link, "/bin/busybox")))
			status = pv_err_nomem(err, "initramfs");
	}
	pv_bytes_finish(&links);
	pv_bytes_finish(&program);
	return status;
}

/* Adds the folders above `path`, except those that `last`, the path before it, has brought already.
 */
static int add_new_parents(struct pv_bytes *out, const char *path, const char *last)
{
	char folder[4096];
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t len = (size_t)(slash - path);
		if (strncmp(path, last, len) == 0 && last[len] == '/')
			continue;
		if (len >= sizeof(folder))
			return -ENAMETOOLONG;
		memcpy(folder, path, len);
		folder[len] = '\0';
		int status = pv_cpio_add_dir(out, folder);
		if (status)
			return status;
	}
	return 0;
}

/* The modules and the agent's lists of those to load. */
static int add_modules(struct pv_bytes *out, const char *release,
    const struct pv_image_modules *modules, struct pv_bytes *list, struct pv_bytes *later)
{
	char path[4096], last[4096] = "lib/modules/";
	int status = pv_bytes_printf(list, "# Loaded by the agent, in this order.\n");
	if (!status)
		status = pv_bytes_printf(later, "# Loaded by the agent when it has said hello.\n");
	for (size_t i = 0; i < modules->order_count && !status; i++) {
		const struct pv_image_module *module = &modules->items[modules->order[i]];
		int len = snprintf(path, sizeof(path), "lib/modules/%s/%.*s", release,
		    (int)pv_image_modules_path_len(module), module->path);
		if ((size_t)len >= sizeof(path))
			return -ENAMETOOLONG;
		status = add_new_parents(out, path, last);
		memcpy(last, path, (size_t)len + 1);
		if (!status)
			status = pv_cpio_add_file(
			    out, path, 0644, module->content.data, module->content.len);
		if (!status && module->load)
			status =
			    pv_bytes_printf(i < modules->first_count ? list : later, "/%s\n", path);
	}
	return status;
}

/* What modprobe reads. */
static int add_index(
    struct pv_bytes *out, const char *release, const struct pv_image_modules *modules)
{
	struct pv_bytes dep = {0}, alias = {0};
	char path[512];
	snprintf(path, sizeof(path), "lib/modules/%s", release);
	int status = modules->order_count ? 0 : pv_cpio_add_dir(out, path);
	snprintf(path, sizeof(path), "lib/modules/%s/modules.dep", release);
	if (!status)
		status = pv_image_modules_write_dep(modules, &dep);
	if (!status)
		status = add_text(out, path, &dep);
	snprintf(path, sizeof(path), "lib/modules/%s/modules.alias", release);
	if (!status)
		status = pv_image_modules_write_alias(modules, &alias);
	if (!status)
		status = add_text(out, path, &alias);
	snprintf(path, sizeof(path), "lib/modules/%s/modules.builtin", release);
	if (!status)
		status = add_text(out, path, &modules->builtin);
	pv_bytes_finish(&dep);
	pv_bytes_finish(&alias);
	return status;
}

int pv_image_root_write(struct pv_bytes *out, const char *busybox, const char *release,
    const struct pv_image_modules *modules, struct pv_err *err)
{
	struct pv_bytes list = {0}, later = {0};
	int status =
	    add_fixed(out) ? pv_err_nomem(err, "initramfs") : add_busybox(out, busybox, err);
	if (status)
		return status;
	status = add_modules(out, release, modules, &list, &later);
	if (!status && *release)
		status = add_index(out, release, modules);
	if (!status)
		status = add_text(out, LIST_PATH, &list);
	if (!status)
		status = add_text(out, LATER_LIST_PATH, &later);
	if (!status)
		status = pv_cpio_end(out);
	pv_bytes_finish(&list);
	pv_bytes_finish(&later);
	return status ? pv_err_system(err, -status, "cannot compose the initramfs") : 0;
}
