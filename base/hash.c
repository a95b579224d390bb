/*
 * BLAKE2b with 32 bytes of output, by libb2, which picks the fastest code for the CPU. Its state
 * lives inside struct pv_hash, so that hashing needs no heap and cannot fail. No shared state: any
 * thread.
 */
#include "base/hash.h"

#include <blake2.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(blake2b_state) <= sizeof(struct pv_hash), "the library's state fits");

/* The library asks for its struct at a cache line in places; ours is copied in and out, which costs
 * nothing beside the hashing. */
static void load(blake2b_state *state, const struct pv_hash *hash)
{
	memcpy(state, hash->state, sizeof(*state));
}

static void store(struct pv_hash *hash, const blake2b_state *state)
{
	memcpy(hash->state, state, sizeof(*state));
}

void pv_hash_init(struct pv_hash *hash)
{
	blake2b_state state;
	memset(hash, 0, sizeof(*hash));
	/* Fails for a size of 0 or over 64 only. */
	blake2b_init(&state, PV_HASH_SIZE);
	store(hash, &state);
}

void pv_hash_update(struct pv_hash *hash, const void *data, size_t len)
{
	if (len == 0)
		return;
	blake2b_state state;
	load(&state, hash);
	blake2b_update(&state, data, len);
	store(hash, &state);
}

const char *pv_hash_finish(struct pv_hash *hash, char text[PV_HASH_TEXT])
{
	uint8_t digest[PV_HASH_SIZE];
	blake2b_state state;
	load(&state, hash);
	blake2b_final(&state, digest, sizeof(digest));
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

const char *pv_hash_of(const void *data, size_t len, char text[PV_HASH_TEXT])
{
	struct pv_hash hash;
	pv_hash_init(&hash);
	pv_hash_update(&hash, data, len);
	return pv_hash_finish(&hash, text);
}
