/*
 * Headers of snapshot files: made, read, checked.
 *
 * Everything in a file is hostile until it is checked: here that the sections lie one behind the
 * other and end where the file ends, so nobody maps or reads beyond it, and that the name of the
 * base is a text. A base is named by a relative path only, so that a directory with all of them may
 * be moved; whether it is the right file is told by its identity and not by its name.
 *
 * Called by template_read.c and template_write.c, on any thread.
 */
#include "vmm/template_header.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/ram_image.h"
#include "vmm/template.h"

#define MAGIC	"\x89PVSNAP\n"
#define ARCH	"x86_64"
#define VERSION 3u
/* Has RAM behind the header at once, as layers still do. */
#define VERSION_MIN 2u

#define RAM_MAX (UINT64_C(1) << 46)

#define HASHED offsetof(struct pv_template_header, header_hash)

void pv_template_header_place(struct pv_template_header *header)
{
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	header->version = VERSION;
	memcpy(header->arch, ARCH, sizeof(ARCH));
	header->data_offset = pv_template_header_data(header);
}

void pv_template_header_seal(struct pv_template_header *header)
{
	char text[PV_HASH_TEXT];
	pv_template_header_place(header);
	header->state_offset = header->data_offset + header->data_size;
	header->file_size = header->state_offset + header->state_size;
	memcpy(header->header_hash, pv_hash_of(header, HASHED, text), sizeof(header->header_hash));
}

static int damaged(const char *name, const char *what, struct pv_err *err)
{
	return pv_err_set(
	    err, PV_ERR_INPUT, EBADMSG, "snapshot `%s`: %s; make it anew", name, what);
}

bool pv_template_header_has_base(const struct pv_template_header *header)
{
	return header->base_size > 0;
}

uint64_t pv_template_header_data(const struct pv_template_header *header)
{
	if (header->version == VERSION_MIN || pv_template_header_has_base(header))
		return PV_TEMPLATE_HEADER_SIZE;
	return PV_TEMPLATE_HEADER_DATA;
}

static bool is_base_sound(const struct pv_template_header *header)
{
	const char *name = header->base_name;
	if (!pv_template_header_has_base(header))
		return name[0] == '\0' && header->data_size == header->ram_size;
	return memchr(name, '\0', sizeof(header->base_name)) && name[0] != '\0' && name[0] != '/' &&
	       header->data_size % PV_RAM_PAGE == 0 && header->data_size <= header->ram_size;
}

/* What is where. */
static bool is_sound(const struct pv_template_header *header)
{
	return header->zero == 0 && header->ram_size > 0 && header->ram_size % PV_RAM_PAGE == 0 &&
	       header->ram_size <= RAM_MAX && is_base_sound(header) &&
	       header->data_offset == pv_template_header_data(header) &&
	       header->state_offset == header->data_offset + header->data_size &&
	       header->state_size <= PV_TEMPLATE_STATE_MAX &&
	       header->file_size == header->state_offset + header->state_size;
}

static int check(
    const struct pv_template_header *header, uint64_t size, const char *name, struct pv_err *err)
{
	char text[PV_HASH_TEXT];
	if (memcmp(header->header_hash, pv_hash_of(header, HASHED, text),
		sizeof(header->header_hash)) != 0)
		return damaged(name, "its header is damaged", err);
	if (header->version < VERSION_MIN || header->version > VERSION)
		return pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "snapshot `%s`: its format has version %u, and this provium reads versions "
		    "%u to %u; make it anew",
		    name, header->version, VERSION_MIN, VERSION);
	if (memcmp(header->arch, ARCH, sizeof(ARCH)) != 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "snapshot `%s`: it is of a guest for `%.16s`, and this host runs `%s`", name,
		    header->arch, ARCH);
	if (!is_sound(header))
		return damaged(name, "its header contradicts itself", err);
	if (size < header->file_size)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "snapshot `%s`: it is cut short, %llu bytes are there of %llu; make it anew",
		    name, (unsigned long long)size, (unsigned long long)header->file_size);
	if (size > header->file_size)
		return damaged(name, "something follows where it should end", err);
	return 0;
}

int pv_template_header_read(
    struct pv_template_header *header, int fd, const char *name, struct pv_err *err)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return pv_err_system(err, errno, "snapshot `%s`: cannot be looked at", name);
	if (!S_ISREG(status.st_mode))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "snapshot `%s`: not a regular file; give one that was saved", name);
	const uint64_t size = (uint64_t)status.st_size;
	memset(header, 0, sizeof(*header));
	int code = pv_fd_pread_all(fd, header, size < sizeof(*header) ? size : sizeof(*header), 0);
	if (code < 0)
		return pv_err_system(err, -code, "snapshot `%s`: cannot be read", name);
	if (size < sizeof(header->magic) ||
	    memcmp(header->magic, MAGIC, sizeof(header->magic)) != 0)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "snapshot `%s`: this is no snapshot of a machine", name);
	if (size < sizeof(*header))
		return damaged(name, "it is cut short within its header", err);
	return check(header, size, name, err);
}

int pv_template_header_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

char *pv_template_header_base_path(const struct pv_template_header *header, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *base;
	if (asprintf(
		&base, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, header->base_name) < 0)
		return NULL;
	return base;
}

/* --- for others --- */

static void write_id(char text[PV_TEMPLATE_ID], const uint8_t id[16])
{
	for (unsigned i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static int take_info(struct pv_template_info *info, const struct pv_template_header *header,
    const char *path, struct pv_err *err)
{
	info->memory = header->ram_size;
	write_id(info->id, header->id);
	if (!pv_template_header_has_base(header))
		return 0;
	write_id(info->base_id, header->base_id);
	info->base = pv_template_header_base_path(header, path);
	return info->base ? 0 : pv_err_nomem(err, "snapshot");
}

int pv_template_inspect(struct pv_template_info *info, const char *path, struct pv_err *err)
{
	struct pv_template_header header;
	*info = (struct pv_template_info){0};
	int fd = pv_template_header_open(path);
	if (fd < 0)
		return pv_err_system(err, -fd, "snapshot `%s`: cannot be opened", path);
	int code = pv_template_header_read(&header, fd, path, err);
	if (code == 0)
		code = take_info(info, &header, path, err);
	pv_fd_close(&fd);
	return code;
}

void pv_template_info_finish(struct pv_template_info *info)
{
	if (!info)
		return;
	free(info->base);
	*info = (struct pv_template_info){0};
}
