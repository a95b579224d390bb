/*
 * Content hashes: BLAKE2b (RFC 7693) with 256 bits, shown as hexadecimal text. For names of cached
 * things and for checksums of state; two contents with the same hash are not expected to exist. The
 * library behind it shows nowhere else.
 */
#ifndef PV_BASE_HASH_H
#define PV_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define PV_HASH_SIZE 32
#define PV_HASH_TEXT (2 * PV_HASH_SIZE + 1) /* with the NUL */

/* A hash in the making; in the caller's memory. Copying the struct forks it. */
struct pv_hash {
	uint64_t state[64]; /* of the library */
};

/* Begins a hash. */
void pv_hash_init(struct pv_hash *hash);

/* Adds bytes; how they are cut into calls does not matter. `data` may be NULL when `len` is 0. */
void pv_hash_update(struct pv_hash *hash, const void *data, size_t len);

/* Ends it and writes lower-case hexadecimal text. The hash must be begun again before further use.
 * Returns `text`. */
const char *pv_hash_finish(struct pv_hash *hash, char text[PV_HASH_TEXT]);

/* All three in one. Returns `text`. */
const char *pv_hash_of(const void *data, size_t len, char text[PV_HASH_TEXT]);

#endif
