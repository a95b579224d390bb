/*
 * Four lanes of multiply and rotate, as in XXH64 (github.com/Cyan4973/xxHash, doc/
 * xxhash_spec.md), which keeps a processor busy without any vector instruction, and costs little
 * under emulation too. Any change of one word changes the sum, because every step of a lane can be
 * undone; others are missed once in 2^64. What is not kept is the specification's treatment of
 * lengths, and zeroes are left out: their sum is 0, so holes need not be read.
 *
 * Called by template_file.c on any thread.
 */
#include "vmm/ram_sum.h"

#include "vmm/ram_copy.h"

#define PRIME_1 UINT64_C(0x9e3779b185ebca87)
#define PRIME_2 UINT64_C(0xc2b2ae3d27d4eb4f)
#define PRIME_3 UINT64_C(0x165667b19e3779f9)

#define LANES 4u

static uint64_t rotate(uint64_t value, unsigned by)
{
	return value << by | value >> (64 - by);
}

static uint64_t round_of(uint64_t lane, uint64_t word)
{
	return rotate(lane + word * PRIME_2, 31) * PRIME_1;
}

uint64_t pv_ram_sum(const void *data, size_t len)
{
	const uint64_t *words = data;
	uint64_t lanes[LANES] = {PRIME_1 + PRIME_2, PRIME_2, 0, -PRIME_1};
	if (pv_ram_is_zero(data, len))
		return 0;
	for (size_t i = 0; i + LANES <= len / 8; i += LANES) {
		for (unsigned k = 0; k < LANES; k++)
			lanes[k] = round_of(lanes[k], words[i + k]);
	}
	uint64_t sum =
	    rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
	sum ^= sum >> 33;
	sum *= PRIME_2;
	sum ^= sum >> 29;
	sum *= PRIME_3;
	sum ^= sum >> 32;
	return sum ? sum : 1;
}
