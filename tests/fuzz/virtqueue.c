/*
 * Fuzzes the device side of a virtqueue: the input is the guest's memory and where its rings stand.
 * Chains are popped and pushed until the queue has no more; every byte range that a chain gives out
 * is touched at both ends, so that the address sanitizer sees any that is not RAM.
 *
 * Input: a header of HEADER bytes, then memory from the descriptor table on. What the target
 * asserts: shape of each chain, and that work is bounded by the size of the queue as long as the
 * device's own writes do not change what the driver offers.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/gmem.h"
#include "tests/fuzz/require.h"
#include "virtio/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER	 16
#define RAM_GPA	 UINT64_C(0x1000)
#define RAM_SIZE UINT64_C(0x2000)
#define TOP_GPA	 UINT64_C(0xfffffffffffff000)
#define TOP_SIZE UINT64_C(0x800)

/* Checks what pop gave, and touches it. */
static void check_chain(const struct pv_queue *queue, const struct pv_chain *chain)
{
	const unsigned count = chain->readable_count + chain->writable_count;
	REQUIRE(chain->head < queue->state.size);
	REQUIRE(count <= queue->state.size);
	REQUIRE(chain->readable_bytes + chain->writable_bytes <= UINT64_C(1) << 32);
	uint64_t readable = 0, writable = 0;
	for (unsigned i = 0; i < count; i++) {
		const struct iovec *part = &chain->parts[i];
		volatile uint8_t *bytes = part->iov_base;
		REQUIRE(part->iov_len > 0);
		(void)bytes[0];
		(void)bytes[part->iov_len - 1];
		if (i < chain->readable_count)
			readable += part->iov_len;
		else
			writable += part->iov_len;
	}
	REQUIRE(readable == chain->readable_bytes);
	REQUIRE(writable == chain->writable_bytes);
}

/* One byte of the input decides what is done with a chain. */
static uint32_t use_chain(struct pv_queue *queue, const struct pv_chain *chain, uint8_t choice)
{
	uint8_t block[300];
	memset(block, choice, sizeof(block));
	if (choice & 1) {
		const size_t got = pv_chain_read(chain, choice, block, sizeof(block));
		REQUIRE(got <= chain->readable_bytes);
	}
	if (choice & 2)
		return pv_chain_write(chain, choice / 8, block, choice);
	return 0;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEADER)
		return 0;
	struct pv_gmem mem = {0};
	uint8_t *ram = aligned_alloc(4096, RAM_SIZE);
	uint8_t *top = aligned_alloc(2048, TOP_SIZE);
	if (!ram || !top)
		abort();
	memset(ram, 0, RAM_SIZE);
	memset(top, 0, TOP_SIZE);
	pv_gmem_add(&mem, RAM_GPA, RAM_SIZE, ram);
	pv_gmem_add(&mem, TOP_GPA, TOP_SIZE, top);

	struct pv_queue queue;
	struct pv_queue_state *state = &queue.state;
	pv_queue_reset(&queue, data[0] & 0x10 ? pv_le16(data) : 1u << (data[0] & 0x0f));
	state->desc = RAM_GPA + pv_le16(data + 2);
	state->avail = RAM_GPA + pv_le16(data + 4);
	state->used = RAM_GPA + pv_le16(data + 6);
	state->next_avail = pv_le16(data + 8);
	state->next_used = pv_le16(data + 10);
	state->signalled_used = pv_le16(data + 12);
	state->signalled_valid = data[14] & 4;
	const size_t content = size - HEADER < RAM_SIZE ? size - HEADER : RAM_SIZE;
	memcpy(ram, data + HEADER, content);

	const bool enabled = pv_queue_enable(&queue, &mem, data[14] & 1, data[14] & 2) == 0;
	REQUIRE(enabled == !queue.broken && enabled == state->ready);
	const uint64_t used_len = 6 + 8 * (uint64_t)state->size;
	const bool changes_itself =
	    enabled && overlap(state->used, used_len, state->avail, 6 + 2 * (uint64_t)state->size);
	bool writes_memory = false;
	struct pv_chain chain;
	unsigned popped = 0;
	for (unsigned step = 0; step < 4 * PV_QUEUE_SIZE_MAX; step++) {
		const uint8_t choice = step ? data[step % size] : data[15];
		const int result = pv_queue_pop(&queue, &chain);
		if (result <= 0) {
			REQUIRE((result < 0) == !!queue.broken);
			break;
		}
		check_chain(&queue, &chain);
		if ((choice & 0xf0) == 0xf0) {
			pv_queue_unpop(&queue);
			REQUIRE(pv_queue_waiting(&queue) > 0);
			REQUIRE(pv_queue_pop(&queue, &chain) != 0);
			if (queue.broken)
				break;
		}
		writes_memory |= choice & 2;
		pv_queue_push(&queue, chain.head, use_chain(&queue, &chain, choice));
		popped++;
		if (choice & 4)
			pv_queue_should_interrupt(&queue);
		if (choice & 8)
			pv_queue_want_kicks(&queue, choice & 1);
		if (choice & 16)
			pv_queue_batch(&queue);
	}
	if (!changes_itself && !writes_memory)
		REQUIRE(popped <= state->size);
	if (queue.broken) {
		REQUIRE(pv_queue_waiting(&queue) == 0);
		REQUIRE(!pv_queue_should_interrupt(&queue));
	}
	free(ram);
	free(top);
	return 0;
}
