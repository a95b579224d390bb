/*
 * Reading snapshot files, whose format is in vmm/template_write.c.
 *
 * Everything in a file is hostile until it is checked: sizes against the file's real size and named
 * limits (vmm/template_header.c), the state by its checksum against accidents and then by every
 * loader against intent, the runs of a layer here: whole pages, in order, apart, within the guest's
 * RAM, and together exactly as long as the data. The content of RAM needs no check: it is the
 * guest's own.
 *
 * A file that builds on another one is read from the bottom: the base first, of which only RAM and
 * runs are needed, and which must be the very file that it was, told by its identity, its length
 * and the checksum of its header.
 *
 * Without the loop lock, on any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/fields.h"
#include "base/pack.h"
#include "vmm/ram_sum.h"
#include "vmm/template_base.h"
#include "vmm/template_private.h"

/* The parts of the state section; they point into its document. */
struct section {
	const void *machine;
	size_t machine_size;
	const void *owner;
	size_t owner_size;
	const void *sums;
	unsigned run_count;
	struct pv_ram_run runs[PV_RAM_PIECES_MAX];
};

/* A file while it is read. */
struct reading {
	int fd; /* not owned */
	const char *name;
	bool verify;	/* RAM too */
	unsigned above; /* files that build on this one */
	struct pv_template_header header;
	struct pv_bytes state;
	struct pv_doc *doc;
	struct section section;
	struct pv_ram_image *image;
};

static void finish(struct reading *reading)
{
	if (!reading)
		return;
	pv_ram_image_unref(reading->image);
	pv_doc_destroy(reading->doc);
	pv_bytes_finish(&reading->state);
	free(reading);
}

/* --- the state section --- */

static void take_runs(
    struct section *section, struct pv_fields *fields, const struct pv_template_header *header)
{
	size_t size;
	const void *data = pv_fields_bytes(fields, "runs", sizeof(section->runs), &size);
	if (fields->status < 0)
		return;
	section->run_count = (unsigned)(size / sizeof(section->runs[0]));
	if (size > 0)
		memcpy(section->runs, data, size);
	if (!pv_template_header_has_base(header)) {
		if (size > 0)
			pv_fields_fail(fields, "it has runs of pages, but builds on nothing");
	} else if (size % sizeof(section->runs[0]) != 0 ||
		   !pv_ram_runs_are_sound(section->runs, section->run_count, header->ram_size) ||
		   pv_ram_runs_total(section->runs, section->run_count) != header->data_size) {
		pv_fields_fail(fields, "its runs of pages contradict themselves");
	}
}

static int split_section(struct reading *reading, struct pv_err *err)
{
	struct section *section = &reading->section;
	struct pv_fields fields = pv_fields_begin(pv_doc_root(reading->doc), "a snapshot", err);
	const uint64_t blocks =
	    (reading->header.data_size + PV_RAM_SUM_BLOCK - 1) / PV_RAM_SUM_BLOCK;
	size_t sums_size;
	section->machine =
	    pv_fields_bytes(&fields, "machine", PV_TEMPLATE_STATE_MAX, &section->machine_size);
	section->owner =
	    pv_fields_bytes(&fields, "owner", PV_TEMPLATE_OWNER_MAX, &section->owner_size);
	take_runs(section, &fields, &reading->header);
	section->sums = pv_fields_bytes(&fields, "sums", PV_TEMPLATE_STATE_MAX, &sums_size);
	if (pv_fields_uint(&fields, "block", UINT32_MAX) != PV_RAM_SUM_BLOCK)
		pv_fields_fail(&fields, "its blocks of memory have another size");
	if (sums_size != blocks * sizeof(uint64_t))
		pv_fields_fail(&fields, "it has %zu bytes of checksums of %llu blocks", sums_size,
		    (unsigned long long)blocks);
	return pv_fields_end(&fields);
}

static int read_section(struct reading *reading, struct pv_err *err)
{
	const struct pv_template_header *header = &reading->header;
	struct pv_bytes *state = &reading->state;
	char text[PV_HASH_TEXT];
	if (pv_bytes_reserve(state, header->state_size) < 0)
		return pv_err_nomem(err, "snapshot");
	state->len = header->state_size;
	int code = pv_fd_pread_all(reading->fd, state->data, state->len, header->state_offset);
	if (code < 0)
		return pv_err_system(err, -code, "snapshot `%s`: cannot be read", reading->name);
	if (memcmp(header->state_hash, pv_hash_of(state->data, state->len, text),
		sizeof(header->state_hash)) != 0)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "snapshot `%s`: its state is damaged; make it anew", reading->name);
	code = pv_doc_parse(&reading->doc, state->data, state->len, err);
	if (code == 0)
		code = split_section(reading, err);
	return code < 0 ? pv_err_prefix(err, "snapshot `%s`", reading->name) : 0;
}

/* --- RAM --- */

/* Reads all of RAM that is in the file, but for holes. */
static int check_ram(const struct reading *reading, struct pv_err *err)
{
	struct pv_ram_image *image = NULL;
	uint64_t *block = malloc(PV_RAM_SUM_BLOCK);
	uint64_t start = 0, end = 0; /* of the data found last */
	int fd = fcntl(reading->fd, F_DUPFD_CLOEXEC, 0);
	int code = fd < 0 || !block ? pv_err_nomem(err, "snapshot") : 0;
	if (code == 0)
		code = pv_ram_image_create(
		    &image, fd, reading->header.data_offset, reading->header.data_size, err);
	bool more = code == 0 && pv_ram_next_data(image, 0, &start, &end);
	for (uint64_t at = 0; code == 0 && at < image->size; at += PV_RAM_SUM_BLOCK) {
		uint64_t rest = image->size - at;
		size_t len = rest < PV_RAM_SUM_BLOCK ? (size_t)rest : PV_RAM_SUM_BLOCK;
		const uint8_t *sums = reading->section.sums;
		uint64_t sum = 0;
		while (more && end <= at)
			more = pv_ram_next_data(image, end, &start, &end);
		if (more && start < at + len) {
			code = pv_ram_image_read(image, at, block, len);
			if (code < 0)
				pv_err_system(err, -code,
				    "snapshot `%s`: its memory cannot be read", reading->name);
			sum = code == 0 ? pv_ram_sum(block, len) : 0;
		}
		if (code == 0 && sum != pv_le64(sums + at / PV_RAM_SUM_BLOCK * sizeof(sum)))
			code = pv_err_set(err, PV_ERR_INPUT, EBADMSG,
			    "snapshot `%s`: its memory is damaged at offset 0x%llx; make it anew",
			    reading->name, (unsigned long long)at);
	}
	pv_ram_image_unref(image);
	free(block);
	return code;
}

static int read_file(struct reading *reading, struct pv_err *err);

/* Reads the RAM of the file that this one builds on, which is open. */
static int read_base(const struct reading *reading, struct reading *base, struct pv_err *err)
{
	int code = pv_template_header_read(&base->header, base->fd, base->name, err);
	if (code < 0)
		return pv_err_prefix(err, "snapshot `%s` builds on another one", reading->name);
	if (!pv_template_base_is(&reading->header, &base->header))
		return pv_err_set(err, PV_ERR_INPUT, ESTALE,
		    "snapshot `%s` builds on `%s`, which is another file now; build it again",
		    reading->name, base->name);
	if (base->header.ram_size != reading->header.ram_size)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "snapshot `%s` builds on `%s`, which has another size of memory; make it anew",
		    reading->name, base->name);
	base->verify = reading->verify;
	base->above = reading->above + 1;
	code = read_file(base, err);
	if (code < 0)
		return pv_err_prefix(err, "snapshot `%s` builds on another one", reading->name);
	pv_template_base_remember(base->image, &base->header, base->name);
	return 0;
}

/* Opens the base and makes the image a layer on it. */
static int make_layer(struct reading *reading, int fd, struct pv_err *err)
{
	struct reading *base = calloc(1, sizeof(*base));
	char *path = pv_template_header_base_path(&reading->header, reading->name);
	int code = base && path ? 0 : pv_err_nomem(err, "snapshot");
	int base_fd = code == 0 ? pv_template_header_open(path) : -1;
	if (code == 0 && (base_fd == -ENOENT || base_fd == -ENOTDIR))
		code = pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "snapshot `%s` builds on `%s`, which is missing; build it again", reading->name,
		    path);
	else if (code == 0 && base_fd < 0)
		code = pv_err_system(err, -base_fd,
		    "snapshot `%s` builds on `%s`, which cannot be opened", reading->name, path);
	if (code == 0) {
		base->fd = base_fd;
		base->name = path;
		code = read_base(reading, base, err);
	}
	if (code == 0) {
		code = pv_ram_image_create_layer(&reading->image, base->image, fd,
		    reading->header.data_offset, reading->section.runs, reading->section.run_count,
		    err);
		fd = -1;
		if (code < 0)
			pv_err_prefix(err, "snapshot `%s`", reading->name);
	}
	pv_fd_close(&fd);
	pv_fd_close(&base_fd);
	finish(base);
	free(path);
	return code;
}

/* All behind the header, which has been read. */
static int read_file(struct reading *reading, struct pv_err *err)
{
	if (reading->above > PV_RAM_DEPTH_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, E2BIG,
		    "snapshot `%s`: more than %u files build on one another; make it anew",
		    reading->name, PV_RAM_DEPTH_MAX);
	int code = read_section(reading, err);
	if (code == 0 && reading->verify)
		code = check_ram(reading, err);
	if (code < 0)
		return code;
	int fd = fcntl(reading->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return pv_err_system(err, errno, "snapshot `%s`", reading->name);
	if (pv_template_header_has_base(&reading->header))
		return make_layer(reading, fd, err);
	return pv_ram_image_create(
	    &reading->image, fd, reading->header.data_offset, reading->header.ram_size, err);
}

/* --- all --- */

static int make_template(struct pv_template **out, struct reading *reading, struct pv_err *err)
{
	const struct section *section = &reading->section;
	struct pv_bytes machine = {0};
	if (pv_bytes_append(&machine, section->machine, section->machine_size) < 0)
		return pv_err_nomem(err, "snapshot");
	int code =
	    pv_template_make(out, reading->name, &machine, pv_ram_image_ref(reading->image), err);
	if (code < 0)
		pv_err_prefix(err, "snapshot `%s`", reading->name);
	else if (section->owner_size > 0)
		code = pv_template_set_owner(*out, section->owner, section->owner_size, err);
	if (code < 0) {
		pv_template_unref(*out);
		*out = NULL;
	}
	return code;
}

int pv_template_read(
    struct pv_template **out, int fd, const char *name, bool verify_ram, struct pv_err *err)
{
	struct reading *reading = calloc(1, sizeof(*reading));
	*out = NULL;
	if (!reading)
		return pv_err_nomem(err, "snapshot");
	reading->fd = fd;
	reading->name = name;
	reading->verify = verify_ram;
	int code = pv_template_header_read(&reading->header, fd, name, err);
	if (code == 0)
		code = read_file(reading, err);
	if (code == 0)
		code = make_template(out, reading, err);
	if (code == 0)
		pv_template_base_remember((*out)->ram, &reading->header, name);
	finish(reading);
	return code;
}

int pv_template_open(
    struct pv_template **out, const char *path, bool verify_ram, struct pv_err *err)
{
	*out = NULL;
	int fd = pv_template_header_open(path);
	if (fd < 0)
		return pv_err_system(err, -fd, "snapshot `%s`: cannot be opened", path);
	int code = pv_template_read(out, fd, path, verify_ram, err);
	pv_fd_close(&fd);
	return code;
}
