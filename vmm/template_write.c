/*
 * Writing snapshot files.
 *
 *   0      header, one page (vmm/template_header.h): what is where, and checksums
 *   2 MiB  RAM as in pv_ram: the part below 3 GiB, then the part from 4 GiB on; zeroes are holes.
 *          In a file that builds on another one, from 4096 on: only the pages that differ, in runs
 *          one behind the other
 *   behind one msgpack map: "machine" (vmm/machine_state.c), "owner", "runs" (of a file that builds
 *          on another one: place and length of each, two 64-bit numbers), "block" and "sums", the
 *          checksums of RAM in this file by block
 *
 * RAM lies on a page boundary, so a restore maps it and reads nothing, and all of RAM on one of
 * huge pages, so that a file system that has them can give them to guests (vmm/ram_warm.c). Between
 * the header and RAM is a hole.
 *
 * RAM is read with system calls and not through a mapping, which would fill holes of the image that
 * it only looks at. Without the loop lock, on any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/pack.h"
#include "vmm/ram_copy.h"
#include "vmm/ram_sum.h"
#include "vmm/template_base.h"
#include "vmm/template_private.h"

/* A file in the making. */
struct writer {
	const struct pv_template *template;
	int fd;
	struct pv_ram_image *data; /* what is written of RAM */
	uint64_t *block;	   /* PV_RAM_SUM_BLOCK bytes */
	uint64_t *sums;
	uint64_t blocks;
	unsigned run_count;
	struct pv_ram_run runs[PV_RAM_PIECES_MAX];
	bool remembered; /* another file holds the same RAM, and this one builds on that */
	struct pv_template_header header;
};

static int write_at(int fd, const void *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t done = pwrite(fd, data, len, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		data = (const uint8_t *)data + done;
		len -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

/* Writes what is not zero of the block, which has `len` bytes and begins at `from`. */
static int write_block(const struct writer *writer, uint64_t from, uint64_t len)
{
	const uint8_t *data = (const uint8_t *)writer->block;
	const uint64_t offset = writer->header.data_offset + from;
	uint64_t run = 0; /* [run, at) is to be written */
	int code = 0;
	for (uint64_t at = 0; at < len && code == 0; at += PV_RAM_PAGE) {
		if (!pv_ram_is_zero(data + at, PV_RAM_PAGE))
			continue;
		code = write_at(writer->fd, data + run, at - run, offset + run);
		run = at + PV_RAM_PAGE;
	}
	if (code == 0 && run < len)
		code = write_at(writer->fd, data + run, len - run, offset + run);
	return code;
}

/* Writes RAM and sums it up, block by block while it is in the processor's cache. */
static int write_ram(struct writer *writer)
{
	const struct pv_ram_image *image = writer->data;
	uint64_t start = 0, end = 0;
	int code = 0;
	while (code == 0 && pv_ram_next_data(image, end, &start, &end)) {
		/* A block that begins in a hole is summed up whole, and once. */
		uint64_t block = start / PV_RAM_SUM_BLOCK;
		for (; block * PV_RAM_SUM_BLOCK < end && code == 0; block++) {
			uint64_t from = block * PV_RAM_SUM_BLOCK;
			uint64_t rest = image->size - from;
			uint64_t len = rest < PV_RAM_SUM_BLOCK ? rest : PV_RAM_SUM_BLOCK;
			code = pv_ram_image_read(image, from, writer->block, len);
			if (code == 0)
				code = write_block(writer, from, len);
			writer->sums[block] = pv_ram_sum(writer->block, len);
		}
		end = block * PV_RAM_SUM_BLOCK;
	}
	return code;
}

static int pack_state(const struct writer *writer, struct pv_bytes *out)
{
	const struct pv_template *template = writer->template;
	struct pv_pack pack = {.out = out};
	pv_pack_map(&pack, 5);
	pv_pack_str(&pack, "machine");
	pv_pack_bin(&pack, template->state.data, template->state.len);
	pv_pack_str(&pack, "owner");
	pv_pack_bin(&pack, template->owner.data, template->owner.len);
	pv_pack_str(&pack, "runs");
	pv_pack_bin(&pack, writer->runs, writer->run_count * sizeof(writer->runs[0]));
	pv_pack_str(&pack, "block");
	pv_pack_uint(&pack, PV_RAM_SUM_BLOCK);
	pv_pack_str(&pack, "sums");
	pv_pack_bin(&pack, writer->sums, writer->blocks * sizeof(writer->sums[0]));
	return pack.status;
}

/* Behind RAM, and then the header, without which the file is none. */
static int write_state(struct writer *writer)
{
	struct pv_template_header *header = &writer->header;
	struct pv_bytes state = {0};
	char text[PV_HASH_TEXT];
	int code = pack_state(writer, &state);
	if (code == 0 && state.len > PV_TEMPLATE_STATE_MAX)
		code = -EFBIG;
	if (code == 0 && getrandom(header->id, sizeof(header->id), 0) < 0)
		code = -errno;
	if (code == 0) {
		header->ram_size = writer->template->ram->size;
		header->data_size = writer->data->size;
		header->state_size = state.len;
		memcpy(header->state_hash, pv_hash_of(state.data, state.len, text),
		    sizeof(header->state_hash));
		pv_template_header_seal(header);
		code = write_at(writer->fd, state.data, state.len, header->state_offset);
	}
	if (code == 0)
		code = write_at(writer->fd, header, sizeof(*header), 0);
	pv_bytes_finish(&state);
	return code;
}

/* The content, into an empty file. */
static int write_all(struct writer *writer)
{
	const uint64_t size = writer->data->size;
	pv_template_header_place(&writer->header);
	writer->blocks = (size + PV_RAM_SUM_BLOCK - 1) / PV_RAM_SUM_BLOCK;
	writer->sums = calloc(writer->blocks + 1, sizeof(writer->sums[0]));
	writer->block = aligned_alloc(PV_RAM_PAGE, PV_RAM_SUM_BLOCK);
	int code = writer->sums && writer->block ? 0 : -ENOMEM;
	if (code == 0 && ftruncate(writer->fd, (off_t)(writer->header.data_offset + size)) < 0)
		code = -errno;
	if (code == 0)
		code = write_ram(writer);
	if (code == 0)
		code = write_state(writer);
	free(writer->block);
	free(writer->sums);
	return code;
}

/* Decides what of RAM is to be written: all, or what differs from another file. */
static int choose_data(struct writer *writer, const char *path, const char *tree)
{
	struct pv_err ignored = PV_ERR_INIT; /* the code says it all */
	struct pv_ram_image *image = writer->template->ram;
	const struct pv_ram_image *below =
	    tree ? pv_template_base_find(&writer->header, image, path, tree) : NULL;
	if (!below) {
		writer->data = pv_ram_image_ref(image);
		return 0;
	}
	writer->remembered = below == image;
	writer->run_count = pv_ram_image_runs_above(image, below, writer->runs);
	return pv_ram_image_slice(&writer->data, image, writer->runs, writer->run_count, &ignored);
}

/* With `tree`, a layer if possible. What was written is remembered by `header`, which may be NULL;
 * it stays zero when nobody should build on the file. */
static int write_content(const struct pv_template *template, int fd, const char *path,
    const char *tree, struct pv_template_header *header)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return -ENOMEM;
	writer->template = template;
	writer->fd = fd;
	int code = choose_data(writer, path, tree);
	if (code == 0)
		code = write_all(writer);
	if (code == 0 && header && !writer->remembered)
		*header = writer->header;
	pv_ram_image_unref(writer->data);
	free(writer);
	return code;
}

static int explain(int code, const char *path, struct pv_err *err)
{
	return code < 0 ? pv_err_system(err, -code, "snapshot `%s`: cannot be written", path) : 0;
}

int pv_template_write_fd(
    const struct pv_template *template, int fd, const char *name, struct pv_err *err)
{
	return explain(write_content(template, fd, NULL, NULL, NULL), name, err);
}

/* `path` with something behind it that nobody else has. */
static int open_temporary(const char *path, char **name)
{
	if (asprintf(name, "%s.XXXXXX.tmp", path) < 0) {
		*name = NULL;
		return -ENOMEM;
	}
	int fd = mkostemps(*name, (int)strlen(".tmp"), O_CLOEXEC);
	if (fd >= 0)
		return fd;
	int code = -errno;
	free(*name);
	*name = NULL;
	return code;
}

int pv_template_write(const struct pv_template *template, const char *path,
    const struct pv_template_write *options, struct pv_err *err)
{
	struct pv_template_header header = {0};
	char *temporary = NULL;
	int fd = open_temporary(path, &temporary);
	int code = fd < 0 ? fd
			  : write_content(template, fd, path,
				options ? options->layer_within : NULL, &header);
	/* Read-only for good: guests share the pages of this file while it exists. */
	if (code == 0 && fchmod(fd, 0400) < 0)
		code = -errno;
	if (fd >= 0 && close(fd) < 0 && code == 0)
		code = -errno;
	if (code == 0 && rename(temporary, path) < 0)
		code = -errno;
	if (code < 0 && fd >= 0)
		unlink(temporary);
	if (code == 0 && header.file_size > 0)
		pv_template_base_remember(template->ram, &header, path);
	free(temporary);
	return explain(code, path, err);
}
