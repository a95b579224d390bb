/*
 * Composing the initramfs. Theory: Linux unpacks concatenated archives in order, each with its own
 * compression, each beginning at a multiple of four bytes. The order here is
 *
 *   1. directories that the agent and the injected files need,
 *   2. the profile's archive,
 *   3. the agent (ours, embedded; or the profile's overlay archive),
 *   4. the injected files.
 *
 * The directories come first so that an archive that has, say, /sbin as a symbolic link replaces
 * our empty directory with it; behind the archive they would replace the link and hide everything
 * below it.
 *
 * The result lives in a memfd: the profile's file may change or be truncated while a guest runs,
 * and a reset loads the archive again.
 *
 * Opening the files and composing are two steps, for a guest that is restored and may never boot.
 */
#include "lab/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/image.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/cmdline.h"
#include "lab/cpio.h"
#include "lab/options.h"
#include "lab/profile.h"

#define INITRD_MAX (UINT64_C(4) << 30)
#define COPY_STEP  (1u << 30)

/* Names in an archive have no leading slash. */
static const char *const agent_path = &PV_CMDLINE_AGENT_PATH[1];

/* Ends the archive, if anything is in it and `status` says that all is, writes it behind what is
 * there, and frees it. */
static int write_archive(
    int fd, struct pv_bytes *archive, int status, const char *what, struct pv_err *err)
{
	if (!status && archive->len)
		status = pv_cpio_end(archive);
	if (!status && archive->len)
		status = pv_fd_write_all(fd, archive->data, archive->len);
	pv_bytes_finish(archive);
	return status ? pv_err_system(err, -status, "initramfs: cannot compose %s", what) : 0;
}

static int write_directories(
    int fd, const struct pv_profile *profile, const struct pv_options *options, struct pv_err *err)
{
	struct pv_bytes archive = {0};
	int status = profile->inject_agent ? pv_cpio_add_parents(&archive, agent_path) : 0;
	for (size_t i = 0; i < options->file_count && !status; i++)
		status = pv_cpio_add_parents(&archive, options->files[i].path);
	return write_archive(fd, &archive, status, "the directories", err);
}

/* Returns a descriptor, or -errno with a sentence. */
static int open_file(const char *what, const char *path, struct pv_err *err)
{
	/* O_NONBLOCK: a FIFO at the path must not hang us. */
	int in = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (in < 0)
		return pv_err_system(err, errno, "%s `%s`: cannot open it", what, path);
	struct stat st;
	int status = 0;
	if (fstat(in, &st) < 0)
		status = pv_err_system(err, errno, "%s `%s`: cannot stat it", what, path);
	else if (!S_ISREG(st.st_mode))
		status = pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "%s `%s`: not a regular file; give a cpio archive", what, path);
	else if (st.st_size == 0)
		status = pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "%s `%s`: the file is empty; give a cpio archive", what, path);
	else if ((uint64_t)st.st_size > INITRD_MAX)
		status = pv_err_set(err, PV_ERR_LIMIT, EFBIG,
		    "%s `%s`: %lld bytes are more than 4 GiB", what, path, (long long)st.st_size);
	if (!status)
		return in;
	close(in);
	return status;
}

/* Copies a file behind what is there and pads to four bytes. */
static int write_file(int fd, int in, const char *what, const char *path, struct pv_err *err)
{
	/* The copy stays in the kernel, which caps each call below 2 GiB. */
	off_t copied = 0;
	for (;;) {
		ssize_t got = sendfile(fd, in, &copied, COPY_STEP);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return pv_err_system(err, errno, "%s `%s`: cannot copy it", what, path);
		if (got == 0)
			break;
	}
	int failed = copied % 4 ? pv_fd_write_all(fd, "\0\0\0", 4 - (size_t)(copied % 4)) : 0;
	return failed ? pv_err_system(err, -failed, "%s `%s`: cannot keep a copy", what, path) : 0;
}

/* The agent's archive when it is not ours, or NULL. */
static const char *overlay_of(const struct pv_profile *profile)
{
	const char *overlay =
	    profile->agent_overlay_path ? profile->agent_overlay_path : getenv("PROVIUM_OVERLAY");
	return profile->inject_agent && overlay && *overlay ? overlay : NULL;
}

static int write_agent(int fd, int overlay, const struct pv_profile *profile, struct pv_err *err)
{
	if (overlay >= 0)
		return write_file(fd, overlay, "agent overlay", overlay_of(profile), err);
	struct pv_span agent = pv_agent_image();
	struct pv_bytes archive = {0};
	int status = pv_cpio_add_file(&archive, agent_path, 0755, agent.data, agent.len);
	return write_archive(fd, &archive, status, "the agent's archive", err);
}

static int write_options_files(int fd, const struct pv_options *options, struct pv_err *err)
{
	struct pv_bytes archive = {0};
	int status = 0;
	for (size_t i = 0; i < options->file_count && !status; i++) {
		const struct pv_options_file *file = &options->files[i];
		status =
		    pv_cpio_add_file(&archive, file->path, file->mode, file->content, file->len);
	}
	return write_archive(fd, &archive, status, "the injected files", err);
}

int pv_initramfs_open(
    struct pv_initramfs_files *files, const struct pv_profile *profile, struct pv_err *err)
{
	const char *overlay = overlay_of(profile);
	*files = (struct pv_initramfs_files){.initrd = -1, .overlay = -1};
	if (!profile->initrd && !profile->inject_agent)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "profile `%s` has neither an initrd nor the agent; set `initrd`, or "
		    "inject_agent = true",
		    profile->name);
	if (profile->initrd)
		files->initrd = open_file("initrd", profile->initrd, err);
	if (profile->initrd && files->initrd < 0)
		return files->initrd;
	if (overlay)
		files->overlay = open_file("agent overlay", overlay, err);
	return overlay && files->overlay < 0 ? files->overlay : 0;
}

void pv_initramfs_close(struct pv_initramfs_files *files)
{
	pv_fd_close(&files->initrd);
	pv_fd_close(&files->overlay);
}

int pv_initramfs_compose(struct pv_initramfs *initramfs, const struct pv_profile *profile,
    const struct pv_initramfs_files *files, const struct pv_options *options, struct pv_err *err)
{
	*initramfs = (struct pv_initramfs){0};
	int fd = memfd_create("provium-initramfs", MFD_CLOEXEC);
	if (fd < 0)
		return pv_err_system(err, errno, "initramfs: cannot create a memory file");
	int status = write_directories(fd, profile, options, err);
	if (!status && files->initrd >= 0)
		status = write_file(fd, files->initrd, "initrd", profile->initrd, err);
	if (!status && profile->inject_agent)
		status = write_agent(fd, files->overlay, profile, err);
	if (!status)
		status = write_options_files(fd, options, err);
	off_t len = status ? 0 : lseek(fd, 0, SEEK_END);
	if (!status && len > 0) {
		void *data = mmap(NULL, (size_t)len, PROT_READ, MAP_SHARED, fd, 0);
		if (data == MAP_FAILED)
			status = pv_err_system(
			    err, errno, "initramfs: cannot map %lld bytes", (long long)len);
		else
			*initramfs = (struct pv_initramfs){.data = data, .len = (size_t)len};
	}
	close(fd);
	return status;
}

int pv_initramfs_build(struct pv_initramfs *initramfs, const struct pv_profile *profile,
    const struct pv_options *options, struct pv_err *err)
{
	struct pv_initramfs_files files;
	*initramfs = (struct pv_initramfs){0};
	int status = pv_initramfs_open(&files, profile, err);
	if (!status)
		status = pv_initramfs_compose(initramfs, profile, &files, options, err);
	pv_initramfs_close(&files);
	return status;
}

void pv_initramfs_cool(struct pv_initramfs *initramfs)
{
	if (initramfs->data)
		madvise(initramfs->data, initramfs->len, MADV_DONTNEED);
}

void pv_initramfs_finish(struct pv_initramfs *initramfs)
{
	if (initramfs->data)
		munmap(initramfs->data, initramfs->len);
	*initramfs = (struct pv_initramfs){0};
}
