/*
 * Reading a .deb (deb(5)). Theory: it is an `ar` archive with a member data.tar[.xz|.zst|.gz|.bz2];
 * libarchive reads the one, and a second reader on top of its data the other. One pass must do,
 * because unpacking takes seconds; but which modules are needed is known only at its end, so all of
 * them go to a spool, an unlinked temporary file, and are read from there when they are wanted. The
 * package is hostile: sizes are bounded, and names are looked at only, never used as paths.
 */
#include "lab/image_package.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/archive_library.h"
#include "lab/image_modules.h"
#include "vmm/kernel.h"

#define STEP	    65536
#define SPOOL_MAX   (UINT64_C(8) << 30)
#define BUILTIN_MAX (4u << 20)

static const struct pv_archive_library *libarchive;

struct reader {
	struct archive *outer;
	struct archive *inner;
	struct pv_bytes *kernel;
	struct pv_image_modules *modules;
	char *release;
	size_t release_size;
	uint64_t spooled;
	char outer_data[STEP];
	char inner_data[STEP];
};

/* libarchive's text of what went wrong, as an error. */
static int broken(struct archive *archive, struct pv_err *err)
{
	const char *why = libarchive->error_string_(archive);
	int code = libarchive->errno_(archive);
	return pv_err_set(
	    err, PV_ERR_INPUT, code > 0 ? code : EBADMSG, "%s", why ? why : "it is damaged");
}

static la_ssize_t read_outer(struct archive *inner, void *ctx, const void **data)
{
	struct reader *reader = ctx;
	la_ssize_t got =
	    libarchive->read_data_(reader->outer, reader->outer_data, sizeof(reader->outer_data));
	if (got < 0)
		libarchive->set_error_(
		    inner, EBADMSG, "%s", libarchive->error_string_(reader->outer));
	*data = reader->outer_data;
	return got;
}

/* Where large temporary files belong; memory when that is not possible. */
static int open_spool(struct pv_err *err)
{
	const char *folder = getenv("TMPDIR");
	int fd =
	    open(folder && *folder ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = memfd_create("provium-modules", MFD_CLOEXEC);
	return fd < 0 ? pv_err_system(err, errno, "cannot create a temporary file") : fd;
}

/* Copies the current entry's data to `out`, or to the spool when `out` is NULL. */
static int take_data(
    struct reader *reader, uint64_t limit, struct pv_bytes *out, struct pv_err *err)
{
	for (uint64_t total = 0;;) {
		la_ssize_t got = libarchive->read_data_(
		    reader->inner, reader->inner_data, sizeof(reader->inner_data));
		if (got < 0)
			return broken(reader->inner, err);
		if (got == 0)
			return 0;
		total += (uint64_t)got;
		if (total > limit)
			return pv_err_set(err, PV_ERR_LIMIT, EFBIG,
			    "a file in it has more than %llu bytes", (unsigned long long)limit);
		int status =
		    out ? pv_bytes_append(out, reader->inner_data, (size_t)got)
			: pv_fd_write_all(reader->modules->spool, reader->inner_data, (size_t)got);
		if (status)
			return pv_err_system(err, -status, "cannot keep a copy of its files");
		reader->spooled += out ? 0 : (uint64_t)got;
	}
}

/* The part of a path behind [./][usr/]`prefix`, or NULL. */
static const char *below(const char *path, const char *prefix)
{
	path += strncmp(path, "./", 2) == 0 ? 2 : 0;
	path += strncmp(path, "usr/", 4) == 0 ? 4 : 0;
	size_t len = strlen(prefix);
	return strncmp(path, prefix, len) == 0 ? path + len : NULL;
}

static bool is_kernel(const char *path)
{
	const char *name = below(path, "boot/");
	if (name)
		return strncmp(name, "vmlinuz-", 8) == 0 || strncmp(name, "vmlinux-", 8) == 0;
	name = below(path, "lib/modules/");
	const char *slash = name ? strchr(name, '/') : NULL;
	return slash && strcmp(slash, "/vmlinuz") == 0;
}

static int take_module(
    struct reader *reader, const char *path, const char *rest, struct pv_err *err)
{
	const char *slash = strchr(rest, '/');
	size_t len = slash ? (size_t)(slash - rest) : 0;
	if (len == 0 || len >= reader->release_size)
		return 0;
	if (reader->release[0] &&
	    (strlen(reader->release) != len || strncmp(reader->release, rest, len) != 0))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "it holds the modules of two kernels; unpack it and give --kernel and "
		    "--modules");
	memcpy(reader->release, rest, len);
	reader->release[len] = '\0';
	if (strcmp(slash + 1, "modules.builtin") == 0)
		return take_data(reader, BUILTIN_MAX, &reader->modules->builtin, err);
	size_t before = reader->modules->count;
	uint64_t offset = reader->spooled;
	int status = pv_image_modules_add(reader->modules, slash + 1, offset, 0, err);
	if (status || reader->modules->count == before)
		return status;
	if (offset > SPOOL_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, EFBIG,
		    "its modules are larger than %llu bytes", (unsigned long long)SPOOL_MAX);
	status = take_data(reader, PV_IMAGE_MODULE_SIZE_MAX, NULL, err);
	reader->modules->items[before].size = reader->spooled - offset;
	return status;
}

static int take_entry(struct reader *reader, struct archive_entry *entry, struct pv_err *err)
{
	const char *path = libarchive->entry_pathname_(entry);
	if (!path || libarchive->entry_filetype_(entry) != AE_IFREG ||
	    libarchive->entry_hardlink_(entry))
		return 0;
	if (is_kernel(path)) {
		if (reader->kernel->len)
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "it holds two kernels; unpack it and give --kernel and --modules");
		return take_data(reader, PV_KERNEL_FILE_MAX, reader->kernel, err);
	}
	const char *rest = below(path, "lib/modules/");
	return rest ? take_module(reader, path, rest, err) : 0;
}

static int read_data(struct reader *reader, struct pv_err *err)
{
	struct archive *inner = reader->inner;
	struct archive_entry *entry;
	/* Named one by one: "all" would start programs for exotic formats. */
	if (libarchive->read_support_filter_xz_(inner) ||
	    libarchive->read_support_filter_zstd_(inner) ||
	    libarchive->read_support_filter_gzip_(inner) ||
	    libarchive->read_support_filter_bzip2_(inner) ||
	    libarchive->read_support_format_tar_(inner))
		return broken(inner, err);
	if (libarchive->read_open_(inner, reader, NULL, read_outer, NULL) != ARCHIVE_OK)
		return broken(inner, err);
	for (;;) {
		int got = libarchive->read_next_header_(inner, &entry);
		if (got == ARCHIVE_EOF)
			return 0;
		if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
			return broken(inner, err);
		int status = take_entry(reader, entry, err);
		if (status)
			return status;
	}
}

static int read_package(struct reader *reader, const char *path, struct pv_err *err)
{
	struct archive_entry *entry;
	if (libarchive->read_support_format_ar_(reader->outer) != ARCHIVE_OK)
		return broken(reader->outer, err);
	/* Where the file cannot be read, that is the error, and not what it holds. */
	if (access(path, R_OK) < 0)
		return pv_err_system(err, errno, "cannot read it");
	if (libarchive->read_open_filename_(reader->outer, path, STEP) != ARCHIVE_OK)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "this is no Debian package (%s)",
		    libarchive->error_string_(reader->outer));
	for (int got;
	     (got = libarchive->read_next_header_(reader->outer, &entry)) != ARCHIVE_EOF;) {
		if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "this is no Debian package (%s)",
			    libarchive->error_string_(reader->outer));
		const char *name = libarchive->entry_pathname_(entry);
		if (name && strncmp(name, "data.tar", 8) == 0)
			return read_data(reader, err);
	}
	return pv_err_set(
	    err, PV_ERR_INPUT, EINVAL, "this is no Debian package (it has no data.tar)");
}

/* What a package without the one or the other is likely to be. */
static int check_complete(const struct reader *reader, struct pv_err *err)
{
	if (!reader->kernel->len)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "it holds no kernel; give a linux-image-<release> package (linux-image-amd64 "
		    "and the like only depend on one)");
	if (!reader->modules->count && !reader->modules->builtin.len)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "it holds a kernel without modules; unpack it and the package of its modules "
		    "by `dpkg -x` and give --kernel and --modules");
	return 0;
}

int pv_image_package_read(const char *path, struct pv_bytes *kernel,
    struct pv_image_modules *modules, char *release, size_t release_size, struct pv_err *err)
{
	libarchive = pv_archive_library_load(err);
	int status = libarchive ? open_spool(err) : -ENOENT;
	struct reader *reader = calloc(1, sizeof(*reader));
	release[0] = '\0';
	if (status < 0 || !reader) {
		free(reader);
		return status < 0 ? status : pv_err_nomem(err, "package");
	}
	modules->spool = status;
	*reader = (struct reader){
	    .outer = libarchive->read_new_(),
	    .inner = libarchive->read_new_(),
	    .kernel = kernel,
	    .modules = modules,
	    .release = release,
	    .release_size = release_size,
	};
	status = reader->outer && reader->inner ? read_package(reader, path, err)
						: pv_err_nomem(err, "package");
	if (!status)
		status = check_complete(reader, err);
	libarchive->read_free_(reader->inner);
	libarchive->read_free_(reader->outer);
	free(reader);
	return status ? pv_err_prefix(err, "package `%s`", path) : 0;
}
