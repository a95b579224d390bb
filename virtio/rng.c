/*
 * Entropy device: fills the driver's buffers with random bytes. A kick does at most one queue of
 * requests of at most 64 KiB each, so a guest that asks for ever cannot hold the loop.
 *
 * With a seed the bytes come from xoshiro256** (Blackman and Vigna), whose state is the seed spread
 * by SplitMix64, and start afresh with each reset of the device; without one, from getrandom(2).
 * Runs under the loop lock. virtio 1.2, section 5.4.
 */
#include "virtio/rng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/fields.h"
#include "base/pack.h"
#include "virtio/state.h"

/* Most bytes that one request gets; a driver asks again when it wants more (5.4.6). */
#define REQUEST_MAX 65536u
#define QUEUE_SIZE  64

static uint64_t rotate_left(uint64_t value, unsigned by)
{
	return value << by | value >> (64 - by);
}

/* SplitMix64: spreads any seed, 0 too, over the whole state. */
static uint64_t spread(uint64_t *seed)
{
	uint64_t value = *seed += UINT64_C(0x9e3779b97f4a7c15);
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

static uint64_t next_word(uint64_t state[4])
{
	const uint64_t result = rotate_left(state[1] * 5, 7) * 9;
	const uint64_t shifted = state[1] << 17;
	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= shifted;
	state[3] = rotate_left(state[3], 45);
	return result;
}

static void restart(struct pv_rng *rng)
{
	uint64_t seed = rng->seed;
	for (unsigned i = 0; i < 4; i++)
		rng->state[i] = spread(&seed);
}

/* Returns how many of `len` bytes (at most 256, a multiple of 8) it made: all, or 0 for none. */
static size_t generate(struct pv_rng *rng, uint8_t *out, size_t len)
{
	if (!rng->seeded) {
		/* Up to 256 bytes come whole and uninterrupted once the host's pool is up. */
		ssize_t got;
		do
			got = getrandom(out, len, 0);
		while (got < 0 && errno == EINTR);
		return got == (ssize_t)len ? len : 0;
	}
	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		const uint64_t word = next_word(rng->state);
		memcpy(out + i, &word, sizeof(word));
	}
	return len;
}

/* Fills the writable part of a chain; returns bytes written. */
static uint32_t fill(struct pv_rng *rng, const struct pv_chain *chain)
{
	const size_t want =
	    chain->writable_bytes < REQUEST_MAX ? chain->writable_bytes : REQUEST_MAX;
	size_t done = 0;
	while (done < want) {
		uint8_t block[256];
		const size_t piece = want - done < sizeof(block) ? want - done : sizeof(block);
		if (generate(rng, block, (piece + 7) & ~(size_t)7) == 0)
			break;
		done += pv_chain_write(chain, done, block, piece);
	}
	return done;
}

static void kick(struct pv_virtio *dev, unsigned queue)
{
	struct pv_rng *rng = (struct pv_rng *)dev;
	struct pv_queue *it = &dev->queues[queue];
	struct pv_chain chain;
	for (unsigned i = 0; i < it->state.size && pv_virtio_pop(dev, queue, &chain); i++)
		pv_queue_push(it, chain.head, fill(rng, &chain));
	pv_virtio_notify(dev, queue);
}

static void reset(struct pv_virtio *dev)
{
	restart((struct pv_rng *)dev);
}

static const struct pv_virtio_ops ops = {
    .reset = reset,
    .kick = kick,
};

void pv_rng_init(struct pv_rng *rng, const struct pv_gmem *mem, const uint64_t *seed)
{
	*rng = (struct pv_rng){
	    .virtio =
		{
			 .ops = &ops,
			 .id = VIRTIO_ID_RNG,
			 .queue_count = 1,
			 .queue_size = {QUEUE_SIZE},
			 .mem = mem,
			 },
	    .seeded = seed != NULL,
	    .seed = seed ? *seed : 0,
	};
	pv_virtio_init(&rng->virtio);
	restart(rng);
}

void pv_rng_save(const struct pv_rng *rng, struct pv_pack *pack)
{
	pv_pack_map(pack, 4);
	pv_pack_str(pack, "virtio");
	pv_virtio_save(&rng->virtio, pack);
	pv_pack_str(pack, "seeded");
	pv_pack_bool(pack, rng->seeded);
	pv_pack_str(pack, "seed");
	pv_pack_uint(pack, rng->seed);
	pv_pack_str(pack, "state");
	pv_pack_array(pack, 4);
	for (unsigned i = 0; i < 4; i++)
		pv_pack_uint(pack, rng->state[i]);
}

int pv_rng_load(struct pv_rng *rng, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "an entropy device", err);
	uint64_t state[4];
	const struct pv_val *virtio = pv_fields_value(&fields, "virtio");
	const bool seeded = pv_fields_bool(&fields, "seeded");
	const uint64_t seed = pv_fields_uint(&fields, "seed", UINT64_MAX);
	pv_fields_uints(&fields, "state", 4, UINT64_MAX, state);
	/* The one state that the generator never reaches and never leaves. */
	if (!(state[0] | state[1] | state[2] | state[3]))
		pv_fields_fail(&fields, "the generator is all zeroes");
	int status = pv_fields_end(&fields);
	if (status == 0)
		status = pv_virtio_load(&rng->virtio, virtio, err);
	if (status < 0)
		return status;
	rng->seeded = seeded;
	rng->seed = seed;
	memcpy(rng->state, state, sizeof(state));
	return 0;
}
