/*
 * Entropy device (virtio 1.2, section 5.4). With a seed it gives the same byte stream at every boot (ChaCha20-like or SplitMix-based generator,
 * for tests, not for secrets); without one it reads getrandom(2).
 */
#ifndef PV_VIRTIO_RNG_H
#define PV_VIRTIO_RNG_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/device.h"

struct pv_rng {
	struct pv_virtio virtio;
	bool seeded;
	uint64_t seed;
	uint64_t state[4];
};

/* Prepares the device; a machine reset restarts the seeded stream. `seed` may be NULL. */
void pv_rng_init(struct pv_rng *rng, const struct pv_gmem *mem, const uint64_t *seed);

#endif
