/*
 * Snapshot files.
 *
 *   0      header, one page, little-endian (struct header): what is where, and checksums
 *   4096   RAM as in pv_ram: the part below 3 GiB, then the part from 4 GiB on; zeroes are holes
 *   behind one msgpack map: "machine" (vmm/machine_state.c), "owner", "block" and "sums", the
 *          checksums of RAM by block
 *
 * RAM lies on a page boundary and is as large as the guest's, so a restore maps it and reads
 * nothing. The header's own checksum covers all of its page, and its place is the same in all
 * versions to come, so damage is told from a newer version.
 *
 * Everything in a file is hostile until it is checked: sizes against the file's real size and named
 * limits, the state by its checksum against accidents and then by every loader against intent.
 * RAM needs no check but its size: it is the guest's own.
 *
 * Without the loop lock, on any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/pack.h"
#include "virtio/fields.h"
#include "vmm/ram_copy.h"
#include "vmm/ram_sum.h"
#include "vmm/template_private.h"

#define MAGIC	"\x89PVSNAP\n"
#define ARCH	"x86_64"
#define VERSION 1u

#define HEADER_SIZE 4096u
#define HASH_TEXT   (PV_HASH_TEXT - 1)
#define STATE_MAX   (UINT64_C(1) << 30)
#define RAM_MAX	    (UINT64_C(1) << 46)

/* Bytes written at once. */
#define RUN_MAX (UINT64_C(1) << 20)

struct header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t zero;
	char arch[16];
	uint64_t file_size;
	uint64_t ram_offset;
	uint64_t ram_size;
	uint64_t state_offset;
	uint64_t state_size;
	char state_hash[HASH_TEXT];
	uint8_t rest[HEADER_SIZE - 136 - HASH_TEXT];
	char header_hash[HASH_TEXT]; /* of all before it */
};
_Static_assert(sizeof(struct header) == HEADER_SIZE, "no holes");

/* --- writing --- */

/* A file in the making. */
struct writer {
	const struct pv_template *template;
	int fd;
	const uint8_t *ram; /* the image, mapped */
	uint64_t *sums;
	uint64_t blocks;
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

/* Writes what is not zero of a range of RAM. */
static int write_range(const struct writer *writer, uint64_t start, uint64_t end)
{
	uint64_t run = start; /* [run, at) is to be written */
	int code = 0;
	for (uint64_t at = start; at < end && code == 0; at += PV_RAM_PAGE) {
		bool zero = pv_ram_is_zero(writer->ram + at, PV_RAM_PAGE);
		if (!zero && at - run < RUN_MAX)
			continue;
		code = write_at(writer->fd, writer->ram + run, at - run, HEADER_SIZE + run);
		run = zero ? at + PV_RAM_PAGE : at;
	}
	if (code == 0 && run < end)
		code = write_at(writer->fd, writer->ram + run, end - run, HEADER_SIZE + run);
	return code;
}

/* Writes RAM and sums it up, block by block while it is in the processor's cache. */
static int write_ram(struct writer *writer)
{
	const struct pv_ram_image *image = &writer->template->ram;
	uint64_t start = 0, end = 0;
	int code = 0;
	while (code == 0 && pv_ram_next_data(image, end, &start, &end)) {
		/* A block that begins in a hole is summed up whole, and once. */
		uint64_t block = start / PV_RAM_SUM_BLOCK;
		for (; block * PV_RAM_SUM_BLOCK < end && code == 0; block++) {
			uint64_t from = block * PV_RAM_SUM_BLOCK;
			uint64_t to = from + PV_RAM_SUM_BLOCK;
			if (to > image->size)
				to = image->size;
			code = write_range(writer, from, to);
			writer->sums[block] = pv_ram_sum(writer->ram + from, to - from);
		}
		end = block * PV_RAM_SUM_BLOCK;
	}
	return code;
}

static int pack_state(const struct writer *writer, struct pv_bytes *out)
{
	const struct pv_template *template = writer->template;
	struct pv_pack pack = {.out = out};
	pv_pack_map(&pack, 4);
	pv_pack_str(&pack, "machine");
	pv_pack_bin(&pack, template->state.data, template->state.len);
	pv_pack_str(&pack, "owner");
	pv_pack_bin(&pack, template->owner.data, template->owner.len);
	pv_pack_str(&pack, "block");
	pv_pack_uint(&pack, PV_RAM_SUM_BLOCK);
	pv_pack_str(&pack, "sums");
	pv_pack_bin(&pack, writer->sums, writer->blocks * sizeof(writer->sums[0]));
	return pack.status;
}

static void seal(struct header *header, const struct pv_bytes *state)
{
	char text[PV_HASH_TEXT];
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	header->version = VERSION;
	memcpy(header->arch, ARCH, sizeof(ARCH));
	header->ram_offset = HEADER_SIZE;
	header->state_offset = header->ram_offset + header->ram_size;
	header->state_size = state->len;
	header->file_size = header->state_offset + header->state_size;
	memcpy(header->state_hash, pv_hash_of(state->data, state->len, text), HASH_TEXT);
	memcpy(header->header_hash, pv_hash_of(header, offsetof(struct header, header_hash), text),
	    HASH_TEXT);
}

/* The content, into an empty file. */
static int write_all(struct writer *writer)
{
	const uint64_t size = writer->template->ram.size;
	struct header *header = calloc(1, sizeof(*header));
	struct pv_bytes state = {0};
	writer->blocks = (size + PV_RAM_SUM_BLOCK - 1) / PV_RAM_SUM_BLOCK;
	writer->sums = calloc(writer->blocks, sizeof(writer->sums[0]));
	int code = header && writer->sums ? 0 : -ENOMEM;
	if (code == 0 && ftruncate(writer->fd, (off_t)(HEADER_SIZE + size)) < 0)
		code = -errno;
	if (code == 0)
		code = write_ram(writer);
	if (code == 0)
		code = pack_state(writer, &state);
	if (code == 0 && state.len > STATE_MAX)
		code = -EFBIG;
	if (code == 0) {
		header->ram_size = size;
		seal(header, &state);
		code = write_at(writer->fd, state.data, state.len, header->state_offset);
	}
	if (code == 0)
		code = write_at(writer->fd, header, sizeof(*header), 0);
	pv_bytes_finish(&state);
	free(writer->sums);
	free(header);
	return code;
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

static int write_content(const struct pv_template *template, int fd)
{
	struct pv_err ignored = PV_ERR_INIT; /* the code says it all */
	struct pv_ram ram;
	int code = pv_ram_init_private(&ram, -1, &template->ram, &ignored);
	if (code < 0)
		return code;
	struct writer writer = {.template = template, .fd = fd, .ram = ram.host};
	code = write_all(&writer);
	pv_ram_finish(&ram, NULL);
	return code;
}

static int explain_write(int code, const char *path, struct pv_err *err)
{
	return code < 0 ? pv_err_system(err, -code, "snapshot `%s`: cannot be written", path) : 0;
}

int pv_template_write_fd(
    const struct pv_template *template, int fd, const char *name, struct pv_err *err)
{
	return explain_write(write_content(template, fd), name, err);
}

/* All files hold all of RAM so far, whatever the options ask for. */
int pv_template_write(const struct pv_template *template, const char *path,
    const struct pv_template_write *options, struct pv_err *err)
{
	char *temporary = NULL;
	int fd = open_temporary(path, &temporary);
	int code = fd < 0 ? fd : write_content(template, fd);
	/* Read-only for good: guests share the pages of this file while it exists. */
	if (code == 0 && fchmod(fd, 0400) < 0)
		code = -errno;
	if (fd >= 0 && close(fd) < 0 && code == 0)
		code = -errno;
	if (code == 0 && rename(temporary, path) < 0)
		code = -errno;
	if (code < 0 && fd >= 0)
		unlink(temporary);
	free(temporary);
	return explain_write(code, path, err);
}

/* --- reading --- */

static int damaged(const char *name, const char *what, struct pv_err *err)
{
	return pv_err_set(
	    err, PV_ERR_INPUT, EBADMSG, "snapshot `%s`: %s; make it anew", name, what);
}

static bool hash_is(const char expected[HASH_TEXT], const void *data, size_t len)
{
	char text[PV_HASH_TEXT];
	return memcmp(expected, pv_hash_of(data, len, text), HASH_TEXT) == 0;
}

/* What is where, against the size that the file really has. */
static bool is_sound(const struct header *header)
{
	return header->zero == 0 && header->ram_offset == HEADER_SIZE && header->ram_size > 0 &&
	       header->ram_size % PV_RAM_PAGE == 0 && header->ram_size <= RAM_MAX &&
	       header->state_offset == header->ram_offset + header->ram_size &&
	       header->state_size <= STATE_MAX &&
	       header->file_size == header->state_offset + header->state_size;
}

static int check_header(
    const struct header *header, uint64_t size, const char *name, struct pv_err *err)
{
	if (!hash_is(header->header_hash, header, offsetof(struct header, header_hash)))
		return damaged(name, "its header is damaged", err);
	if (header->version != VERSION)
		return pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "snapshot `%s`: its format has version %u, and this provium reads version %u; "
		    "make it anew",
		    name, header->version, VERSION);
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

static int read_header(struct header *header, int fd, const char *name, struct pv_err *err)
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
	return check_header(header, size, name, err);
}

/* Reads all of RAM, but for holes. */
static int check_ram(
    const struct pv_ram_image *image, const uint8_t *sums, const char *name, struct pv_err *err)
{
	uint64_t *block = malloc(PV_RAM_SUM_BLOCK);
	uint64_t start = 0, end = 0; /* of the data found last */
	bool more = pv_ram_next_data(image, 0, &start, &end);
	int code = block ? 0 : pv_err_nomem(err, "snapshot");
	for (uint64_t at = 0; at < image->size && code == 0; at += PV_RAM_SUM_BLOCK) {
		uint64_t rest = image->size - at;
		size_t len = rest < PV_RAM_SUM_BLOCK ? (size_t)rest : PV_RAM_SUM_BLOCK;
		uint64_t sum = 0;
		while (more && end <= at)
			more = pv_ram_next_data(image, end, &start, &end);
		if (more && start < at + len) {
			code = pv_fd_pread_all(image->fd, block, len, image->offset + at);
			if (code < 0)
				pv_err_system(
				    err, -code, "snapshot `%s`: its memory cannot be read", name);
			sum = code == 0 ? pv_ram_sum(block, len) : 0;
		}
		if (code == 0 && sum != pv_le64(sums + at / PV_RAM_SUM_BLOCK * sizeof(sum)))
			code = pv_err_set(err, PV_ERR_INPUT, EBADMSG,
			    "snapshot `%s`: its memory is damaged at offset 0x%llx; make it anew",
			    name, (unsigned long long)at);
	}
	free(block);
	return code;
}

/* The parts of the state section; they point into its document. */
struct section {
	const void *machine;
	size_t machine_size;
	const void *owner;
	size_t owner_size;
	const void *sums;
};

static int split_section(
    struct section *section, const struct pv_val *root, uint64_t ram_size, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(root, "a snapshot", err);
	const uint64_t blocks = (ram_size + PV_RAM_SUM_BLOCK - 1) / PV_RAM_SUM_BLOCK;
	size_t sums_size;
	section->machine = pv_fields_bytes(&fields, "machine", STATE_MAX, &section->machine_size);
	section->owner =
	    pv_fields_bytes(&fields, "owner", PV_TEMPLATE_OWNER_MAX, &section->owner_size);
	section->sums = pv_fields_bytes(&fields, "sums", STATE_MAX, &sums_size);
	if (pv_fields_uint(&fields, "block", UINT32_MAX) != PV_RAM_SUM_BLOCK)
		pv_fields_fail(&fields, "its blocks of memory have another size");
	if (sums_size != blocks * sizeof(uint64_t))
		pv_fields_fail(&fields, "it has %zu bytes of checksums of %llu blocks", sums_size,
		    (unsigned long long)blocks);
	return pv_fields_end(&fields);
}

/* Makes the template from the bytes of the state section. */
static int take_section(struct pv_template **out, const struct pv_bytes *bytes,
    const struct pv_ram_image *image, const char *name, bool verify_ram, struct pv_err *err)
{
	struct pv_doc *doc = NULL;
	struct section section;
	struct pv_bytes machine = {0};
	int code = pv_doc_parse(&doc, bytes->data, bytes->len, err);
	if (code == 0)
		code = split_section(&section, pv_doc_root(doc), image->size, err);
	if (code < 0) {
		pv_err_prefix(err, "snapshot `%s`", name);
		goto out;
	}
	if (verify_ram)
		code = check_ram(image, section.sums, name, err);
	if (code < 0)
		goto out;
	struct pv_ram_image own = *image;
	own.fd = fcntl(image->fd, F_DUPFD_CLOEXEC, 0);
	if (own.fd < 0) {
		code = pv_err_system(err, errno, "snapshot `%s`", name);
		goto out;
	}
	code = pv_bytes_append(&machine, section.machine, section.machine_size);
	if (code < 0) {
		pv_err_nomem(err, "snapshot");
		pv_fd_close(&own.fd);
		goto out;
	}
	code = pv_template_make(out, name, &machine, &own, err);
	if (code < 0)
		pv_err_prefix(err, "snapshot `%s`", name);
	else if (section.owner_size > 0)
		code = pv_template_set_owner(*out, section.owner, section.owner_size, err);
	if (code < 0 && *out) {
		pv_template_unref(*out);
		*out = NULL;
	}
out:
	pv_doc_destroy(doc);
	return code;
}

int pv_template_read(
    struct pv_template **out, int fd, const char *name, bool verify_ram, struct pv_err *err)
{
	struct header *header = malloc(sizeof(*header));
	struct pv_bytes state = {0};
	*out = NULL;
	if (!header)
		return pv_err_nomem(err, "snapshot");
	int code = read_header(header, fd, name, err);
	if (code < 0)
		goto out;
	if (pv_bytes_reserve(&state, header->state_size) < 0) {
		code = pv_err_nomem(err, "snapshot");
		goto out;
	}
	state.len = header->state_size;
	code = pv_fd_pread_all(fd, state.data, state.len, header->state_offset);
	if (code < 0) {
		pv_err_system(err, -code, "snapshot `%s`: cannot be read", name);
		goto out;
	}
	if (!hash_is(header->state_hash, state.data, state.len)) {
		code = damaged(name, "its state is damaged", err);
		goto out;
	}
	const struct pv_ram_image image = {
	    .fd = fd, .offset = header->ram_offset, .size = header->ram_size};
	code = take_section(out, &state, &image, name, verify_ram, err);
out:
	pv_bytes_finish(&state);
	free(header);
	return code;
}

int pv_template_open(
    struct pv_template **out, const char *path, bool verify_ram, struct pv_err *err)
{
	*out = NULL;
	/* Not to wait for somebody at the other end of a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return pv_err_system(err, errno, "snapshot `%s`: cannot be opened", path);
	int code = pv_template_read(out, fd, path, verify_ram, err);
	pv_fd_close(&fd);
	return code;
}

int pv_template_inspect(struct pv_template_info *info, const char *path, struct pv_err *err)
{
	*info = (struct pv_template_info){0};
	struct header *header = malloc(sizeof(*header));
	if (!header)
		return pv_err_nomem(err, "snapshot");
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int code = fd < 0 ? pv_err_system(err, errno, "snapshot `%s`: cannot be opened", path)
			  : read_header(header, fd, path, err);
	if (code == 0) {
		info->memory = header->ram_size;
		memcpy(info->id, header->header_hash, sizeof(info->id) - 1);
	}
	pv_fd_close(&fd);
	free(header);
	return code;
}

void pv_template_info_finish(struct pv_template_info *info)
{
	if (!info)
		return;
	free(info->base);
	*info = (struct pv_template_info){0};
}
