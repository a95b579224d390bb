/*
 * The page of the generation id: the id first, as the specification wants it on 8 bytes in memory
 * that is neither the system's nor ACPI's, and behind it a mark of ours. By the mark a machine that
 * goes on from a snapshot sees whether its guest has such a page at all, because payloads and
 * guests of older snapshots use that memory as they like. A guest can forge the mark and gets
 * random bytes written into its own memory for it.
 *
 * A warm reboot is no new generation: the machine keeps the id and places it again.
 *
 * With a seed the author wants all copies of a guest to be the same, so the id hangs on the seed
 * alone and is never announced as changed: Linux would mix time and the processor's random numbers
 * into its own at that moment, and the copies would part.
 *
 * Called by the machine_*.c files on the thread that boots, restores or rewinds.
 */
#include "vmm/generation.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/gmem.h"
#include "base/hash.h"
#include "vmm/layout.h"

static const char mark[16] = "provium vmgenid";

#define MARK_AT (PV_LAYOUT_GENERATION + PV_GENERATION_SIZE)

static uint8_t hex_value(char digit)
{
	return (uint8_t)(digit >= 'a' ? digit - 'a' + 10 : digit - '0');
}

void pv_generation_make(uint8_t id[PV_GENERATION_SIZE], const uint64_t *seed)
{
	char text[PV_HASH_TEXT];
	struct pv_hash hash;
	/* Up to 256 bytes come whole once the host has booted. */
	if (!seed && getrandom(id, PV_GENERATION_SIZE, 0) == PV_GENERATION_SIZE)
		return;
	pv_hash_init(&hash);
	pv_hash_update(&hash, mark, sizeof(mark));
	if (seed)
		pv_hash_update(&hash, seed, sizeof(*seed));
	pv_hash_finish(&hash, text);
	for (unsigned i = 0; i < PV_GENERATION_SIZE; i++)
		id[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
}

int pv_generation_place(const struct pv_gmem *mem, const uint8_t id[PV_GENERATION_SIZE])
{
	if (pv_gmem_write(mem, PV_LAYOUT_GENERATION, id, PV_GENERATION_SIZE) < 0 ||
	    pv_gmem_write(mem, MARK_AT, mark, sizeof(mark)) < 0)
		return -EFAULT;
	return 0;
}

bool pv_generation_renew(const struct pv_gmem *mem, const uint8_t id[PV_GENERATION_SIZE])
{
	char found[sizeof(mark)];
	if (pv_gmem_read(mem, MARK_AT, found, sizeof(found)) < 0 ||
	    memcmp(found, mark, sizeof(mark)) != 0)
		return false;
	return pv_gmem_write(mem, PV_LAYOUT_GENERATION, id, PV_GENERATION_SIZE) == 0;
}
