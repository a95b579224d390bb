/*
 * The first page of a snapshot file. Pure but for reading it; any thread.
 */
#ifndef PV_VMM_TEMPLATE_HEADER_H
#define PV_VMM_TEMPLATE_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

struct pv_err;

#define PV_TEMPLATE_HEADER_SIZE 4096u
#define PV_TEMPLATE_HEADER_HASH (PV_HASH_TEXT - 1) /* hexadecimal digits, no NUL */
#define PV_TEMPLATE_HEADER_NAME 2048u

/* Where RAM begins in a file that holds all of it: a huge page of the guest's is one of the file.
 */
#define PV_TEMPLATE_HEADER_DATA (UINT64_C(2) << 20)

/* Bytes of the state section, at most. */
#define PV_TEMPLATE_STATE_MAX (UINT64_C(1) << 30)

/*
 * Little-endian, with the layout of the file; vmm/template_write.c says what is where. The place of
 * the header's own checksum, which covers all before it, is the same in all versions to come, so
 * damage is told from a newer version.
 */
struct pv_template_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t zero;
	char arch[16];
	uint64_t file_size;
	uint64_t ram_size;
	uint64_t data_offset;
	uint64_t data_size;
	uint64_t state_offset;
	uint64_t state_size;
	uint8_t id[16];
	char state_hash[PV_TEMPLATE_HEADER_HASH];
	/* The file that this one builds on: its identity, length and header's checksum, and its
	 * path from this one's directory; all zero without one. */
	uint8_t base_id[16];
	uint64_t base_size;
	char base_hash[PV_TEMPLATE_HEADER_HASH];
	char base_name[PV_TEMPLATE_HEADER_NAME];
	uint8_t rest[PV_TEMPLATE_HEADER_SIZE - 184 - 2 * PV_TEMPLATE_HEADER_HASH -
		     PV_TEMPLATE_HEADER_NAME];
	char header_hash[PV_TEMPLATE_HEADER_HASH];
};
_Static_assert(sizeof(struct pv_template_header) == PV_TEMPLATE_HEADER_SIZE, "no holes");

/* Makes it a header of this version and says where RAM goes; the base stands in it, if there is
 * one.
 */
void pv_template_header_place(struct pv_template_header *header);

/* Completes a header in which sizes, identities and the state's checksum stand: places it and the
 * sections, and sums up. */
void pv_template_header_seal(struct pv_template_header *header);

/*
 * Reads the header of the file `fd`, which is called `name` in sentences, and checks it, also
 * against the size that the file really has. Returns 0 or -errno.
 */
int pv_template_header_read(
    struct pv_template_header *header, int fd, const char *name, struct pv_err *err);

/* Opens a file for reading without waiting for somebody at the other end of a FIFO. Returns the
 * descriptor or -errno. */
int pv_template_header_open(const char *path);

/* Where RAM begins in a file of that version, with a base or none. */
uint64_t pv_template_header_data(const struct pv_template_header *header);

/* True when the file builds on another one. */
bool pv_template_header_has_base(const struct pv_template_header *header);

/* The path of that one for this process, beginning as `path`, where the header was read. To be
 * freed; NULL: no memory. */
char *pv_template_header_base_path(const struct pv_template_header *header, const char *path);

#endif
