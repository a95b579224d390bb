/*
 * Split virtqueue, device side: takes descriptor chains from the driver's rings and gives them
 * back. Device models call this through virtio/device.h, under the loop lock, while vCPUs write the
 * same memory.
 *
 * Nothing about the rings is cached: each access goes through base/gmem.h, so a queue whose state
 * came out of a damaged snapshot is as harmless as one of a hostile driver. Indices are read and
 * published with acquire and release ordering; a descriptor is copied once, and only the copy is
 * checked and used. A chain has at most as many descriptors as the queue, direct and indirect ones
 * together, which also ends loops. The first violation makes the queue unusable until it is reset.
 *
 * Kicks with VIRTIO_F_EVENT_IDX (2.7.10): the driver kicks only when the chain number in
 * `avail_event` is added. A pop that finds nothing publishes the next number and looks once more;
 * pv_queue_batch publishes the first number behind a full batch. Between them a device that stops
 * after `size` chains, or when there is none, cannot sleep through one.
 *
 * virtio 1.2, section 2.7.
 */
#include "virtio/queue.h"

#include <errno.h>
#include <string.h>

#include "base/gmem.h"

/* Longest chain in bytes (2.7.5.1). */
#define CHAIN_BYTES_MAX (UINT64_C(1) << 32)

/* An entry of a descriptor table (2.7.5). */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
_Static_assert(sizeof(struct desc) == 16, "layout of the specification");

/* An entry of the used ring (2.7.8). */
struct used_entry {
	uint32_t id;
	uint32_t len;
};

/* Sizes of the three parts (2.7), with the event words at the ends of the rings. */
static uint64_t desc_bytes(uint64_t size)
{
	return sizeof(struct desc) * size;
}

static uint64_t avail_bytes(uint64_t size)
{
	return 6 + 2 * size;
}

static uint64_t used_bytes(uint64_t size)
{
	return 6 + sizeof(struct used_entry) * size;
}

static int violate(struct pv_queue *queue, const char *why)
{
	queue->broken = why;
	return -EPROTO;
}

/* The older builtin, because the thread sanitizer refuses to compile __atomic_thread_fence. */
static void full_fence(void)
{
	__sync_synchronize();
}

/* The 16-bit word at `gpa`, or NULL outside of RAM. */
static uint16_t *word_at(const struct pv_queue *queue, uint64_t gpa)
{
	return pv_gmem_at(queue->mem, gpa, sizeof(uint16_t));
}

/* Where the driver reads from which chain on it shall kick. */
static uint16_t *avail_event(const struct pv_queue *queue)
{
	const struct pv_queue_state *state = &queue->state;
	return word_at(queue, state->used + 4 + sizeof(struct used_entry) * state->size);
}

/* The rule of 2.7.10: moving an index from `before` to `now` passes `event`. */
static bool passes(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

/* Why the configured rings cannot be used, or NULL. */
static const char *check_rings(const struct pv_queue_state *state, const struct pv_gmem *mem)
{
	const uint64_t size = state->size;
	if (size == 0 || size > PV_QUEUE_SIZE_MAX || (size & (size - 1)))
		return "queue size is not a power of two within the limit";
	if (state->desc % 16)
		return "descriptor table is not aligned to 16";
	if (state->avail % 2)
		return "available ring is not aligned to 2";
	if (state->used % 4)
		return "used ring is not aligned to 4";
	if (!pv_gmem_at(mem, state->desc, desc_bytes(size)))
		return "descriptor table lies outside of RAM";
	if (!pv_gmem_at(mem, state->avail, avail_bytes(size)))
		return "available ring lies outside of RAM";
	if (!pv_gmem_at(mem, state->used, used_bytes(size)))
		return "used ring lies outside of RAM";
	return NULL;
}

int pv_queue_enable(
    struct pv_queue *queue, const struct pv_gmem *mem, bool event_idx, bool indirect)
{
	queue->mem = mem;
	queue->event_idx = event_idx;
	queue->indirect = indirect;
	queue->quiet = false;
	queue->broken = check_rings(&queue->state, mem);
	queue->state.ready = !queue->broken;
	return queue->broken ? -EINVAL : 0;
}

void pv_queue_reset(struct pv_queue *queue, uint16_t size)
{
	*queue = (struct pv_queue){.state.size = size};
}

/* Number of chains that the driver has added and nobody has taken, or -EPROTO. */
static int available(struct pv_queue *queue)
{
	const struct pv_queue_state *state = &queue->state;
	const uint16_t *index = word_at(queue, state->avail + 2);
	if (!index)
		return violate(queue, "available ring lies outside of RAM");
	const uint16_t count = __atomic_load_n(index, __ATOMIC_ACQUIRE) - state->next_avail;
	if (count > state->size)
		return violate(queue, "available index runs ahead of the queue");
	return count;
}

/* Asks for a kick when the chain with number `event` is added. */
static void publish_avail_event(struct pv_queue *queue, uint16_t event)
{
	uint16_t *word = avail_event(queue);
	if (!word)
		return;
	__atomic_store_n(word, event, __ATOMIC_RELAXED);
	/* Whoever looks for chains after this sees all that were added before the driver saw
	 * `event`. */
	full_fence();
}

/* Copies descriptor `index` of the table at `table`, which lies in RAM. */
static const char *copy_desc(
    const struct pv_queue *queue, uint64_t table, uint32_t index, struct desc *out)
{
	const uint64_t gpa = table + (uint64_t)index * sizeof(*out);
	if (pv_gmem_read(queue->mem, gpa, out, sizeof(*out)) < 0)
		return "descriptor table lies outside of RAM";
	/* From here on the compiler may not look at guest memory again in place of the copy. */
	__asm__ __volatile__("" ::: "memory");
	return NULL;
}

/* Checks a descriptor that refers to an indirect table (2.7.5.3); its WRITE flag means nothing. */
static const char *check_indirect(const struct pv_queue *queue, const struct desc *desc)
{
	if (!queue->indirect)
		return "indirect descriptor without VIRTIO_F_INDIRECT_DESC";
	if (desc->flags & VIRTQ_DESC_F_NEXT)
		return "indirect descriptor has a next one";
	if (desc->len == 0 || desc->len % sizeof(struct desc))
		return "length of an indirect table is not a multiple of 16";
	if (!pv_gmem_at(queue->mem, desc->addr, desc->len))
		return "indirect table lies outside of RAM";
	return NULL;
}

/*
 * Adds the buffer of a descriptor to the chain. A buffer without bytes counts for the length of the
 * chain and for the order, but needs no valid address and makes no part: 2.7 does not forbid it.
 */
static const char *add_buffer(const struct pv_queue *queue, struct pv_chain *chain,
    const struct desc *desc, bool *seen_writable)
{
	const bool writable = desc->flags & VIRTQ_DESC_F_WRITE;
	if (!writable && *seen_writable)
		return "device-readable buffer follows a device-writable one";
	*seen_writable |= writable;
	if (chain->readable_bytes + chain->writable_bytes + desc->len > CHAIN_BYTES_MAX)
		return "descriptor chain is longer than 2^32 bytes";
	if (desc->len == 0)
		return NULL;
	void *host = pv_gmem_at(queue->mem, desc->addr, desc->len);
	if (!host)
		return "buffer lies outside of RAM";
	chain->parts[chain->readable_count + chain->writable_count] =
	    (struct iovec){.iov_base = host, .iov_len = desc->len};
	if (writable) {
		chain->writable_count++;
		chain->writable_bytes += desc->len;
	} else {
		chain->readable_count++;
		chain->readable_bytes += desc->len;
	}
	return NULL;
}

/* Collects the chain that begins at `head`. Returns NULL, or the rule that it breaks. */
static const char *walk(const struct pv_queue *queue, uint16_t head, struct pv_chain *chain)
{
	uint64_t table = queue->state.desc;
	uint32_t table_count = queue->state.size;
	uint32_t index = head;
	bool in_indirect = false, seen_writable = false;
	unsigned length = 0;

	for (;;) {
		if (index >= table_count)
			return "descriptor index lies outside of its table";
		struct desc desc;
		const char *why = copy_desc(queue, table, index, &desc);
		if (why)
			return why;
		if (desc.flags & VIRTQ_DESC_F_INDIRECT) {
			if (in_indirect)
				return "indirect descriptor inside an indirect table";
			why = check_indirect(queue, &desc);
			if (why)
				return why;
			in_indirect = true;
			table = desc.addr;
			table_count = desc.len / sizeof(struct desc);
			index = 0;
			continue;
		}
		if (length++ == queue->state.size)
			return "descriptor chain is longer than the queue";
		why = add_buffer(queue, chain, &desc, &seen_writable);
		if (why)
			return why;
		if (!(desc.flags & VIRTQ_DESC_F_NEXT))
			return NULL;
		index = desc.next;
	}
}

int pv_queue_pop(struct pv_queue *queue, struct pv_chain *chain)
{
	struct pv_queue_state *state = &queue->state;
	if (queue->broken)
		return -EPROTO;
	if (!state->ready)
		return 0;
	int count = available(queue);
	if (count == 0 && queue->event_idx && !queue->quiet) {
		publish_avail_event(queue, state->next_avail);
		count = available(queue);
	}
	if (count <= 0)
		return count;

	const unsigned slot = state->next_avail & (state->size - 1);
	const uint16_t *entry = word_at(queue, state->avail + 4 + 2 * slot);
	if (!entry)
		return violate(queue, "available ring lies outside of RAM");
	const uint16_t head = __atomic_load_n(entry, __ATOMIC_RELAXED);
	chain->head = head;
	chain->readable_count = chain->writable_count = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	const char *why = walk(queue, head, chain);
	if (why)
		return violate(queue, why);
	state->next_avail++;
	return 1;
}

void pv_queue_unpop(struct pv_queue *queue)
{
	queue->state.next_avail--;
}

void pv_queue_push(struct pv_queue *queue, uint16_t head, uint32_t written)
{
	struct pv_queue_state *state = &queue->state;
	if (queue->broken || !state->ready)
		return;
	const struct used_entry entry = {.id = head, .len = written};
	const unsigned slot = state->next_used & (state->size - 1);
	const uint64_t gpa = state->used + 4 + sizeof(entry) * (uint64_t)slot;
	uint16_t *index = word_at(queue, state->used + 2);
	if (!index || pv_gmem_write(queue->mem, gpa, &entry, sizeof(entry)) < 0) {
		violate(queue, "used ring lies outside of RAM");
		return;
	}
	state->next_used++;
	__atomic_store_n(index, state->next_used, __ATOMIC_RELEASE);
}

bool pv_queue_should_interrupt(struct pv_queue *queue)
{
	struct pv_queue_state *state = &queue->state;
	if (queue->broken || !state->ready)
		return false;
	/* The driver must see the used index before this side looks whether it wants to hear of it.
	 */
	full_fence();
	const uint16_t before = state->signalled_used, now = state->next_used;
	const bool first = !state->signalled_valid;
	if (before == now)
		return false;
	state->signalled_used = now;
	state->signalled_valid = true;
	const uint64_t where =
	    queue->event_idx ? state->avail + 4 + 2 * (uint64_t)state->size : state->avail;
	const uint16_t *word = word_at(queue, where);
	if (!word)
		return false;
	const uint16_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
	if (queue->event_idx)
		return first || passes(value, now, before);
	return !(value & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

void pv_queue_want_kicks(struct pv_queue *queue, bool on)
{
	const struct pv_queue_state *state = &queue->state;
	if (queue->broken || !state->ready)
		return;
	queue->quiet = !on;
	if (queue->event_idx) {
		if (on)
			publish_avail_event(queue, state->next_avail);
		return;
	}
	uint16_t *flags = word_at(queue, state->used);
	if (!flags)
		return;
	__atomic_store_n(flags, on ? 0 : VIRTQ_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	full_fence();
}

void pv_queue_batch(struct pv_queue *queue)
{
	const struct pv_queue_state *state = &queue->state;
	if (queue->broken || !state->ready || !queue->event_idx || queue->quiet)
		return;
	publish_avail_event(queue, state->next_avail + state->size);
}

unsigned pv_queue_waiting(struct pv_queue *queue)
{
	if (queue->broken || !queue->state.ready)
		return 0;
	const int count = available(queue);
	return count < 0 ? 0 : (unsigned)count;
}

/*
 * Copies between `data` and parts [first, first + count) at `offset`; `to_guest` gives the
 * direction. Returns bytes copied.
 */
static size_t copy_parts(const struct pv_chain *chain, unsigned first, unsigned count,
    size_t offset, uint8_t *data, size_t len, bool to_guest)
{
	size_t done = 0;
	for (unsigned i = first; i < first + count && done < len; i++) {
		const struct iovec *part = &chain->parts[i];
		if (offset >= part->iov_len) {
			offset -= part->iov_len;
			continue;
		}
		size_t piece = part->iov_len - offset;
		if (piece > len - done)
			piece = len - done;
		uint8_t *guest = (uint8_t *)part->iov_base + offset;
		if (to_guest)
			memcpy(guest, data + done, piece);
		else
			memcpy(data + done, guest, piece);
		done += piece;
		offset = 0;
	}
	return done;
}

size_t pv_chain_read(const struct pv_chain *chain, size_t offset, void *data, size_t len)
{
	return copy_parts(chain, 0, chain->readable_count, offset, data, len, false);
}

size_t pv_chain_write(const struct pv_chain *chain, size_t offset, const void *data, size_t len)
{
	/* The cast drops const only for the shared walk, which reads `data` in this direction. */
	return copy_parts(chain, chain->readable_count, chain->writable_count, offset,
	    (uint8_t *)data, len, true);
}
