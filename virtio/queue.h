/*
 * Split virtqueue, device side (virtio 1.2, section 2.7). The driver's memory is hostile: every field is read once, checked, and only the copy
 * is used. A violation of the contract marks the queue broken; the device then sets DEVICE_NEEDS_RESET (2.1.2) and touches the queue no more.
 * All functions run under the loop lock.
 */
#ifndef PV_VIRTIO_QUEUE_H
#define PV_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct pv_gmem;

#define PV_QUEUE_SIZE_MAX 256

/* Descriptor flags (2.7.5) and ring flags (2.7.6, 2.7.8). */
#define VIRTQ_DESC_F_NEXT	  1
#define VIRTQ_DESC_F_WRITE	  2
#define VIRTQ_DESC_F_INDIRECT	  4
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1
#define VIRTQ_USED_F_NO_NOTIFY	  1

/*
 * What the guest configures before it enables the queue, and where the device is in the rings. Plain data: this is also what a snapshot
 * keeps of a queue.
 */
struct pv_queue_state {
	uint16_t size;	/* power of two, at most PV_QUEUE_SIZE_MAX */
	bool ready;
	uint64_t desc;	/* guest-physical */
	uint64_t avail;
	uint64_t used;
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t signalled_used; /* used index at the last interrupt, for the event-index rule */
	bool signalled_valid;
};

struct pv_queue {
	struct pv_queue_state state;
	const struct pv_gmem *mem;
	bool event_idx; /* VIRTIO_F_EVENT_IDX was accepted */
	bool indirect;	/* VIRTIO_F_INDIRECT_DESC was accepted */
	bool quiet;	/* the device asked for no kicks; a snapshot keeps it too */
	const char *broken; /* NULL, or which rule the driver broke */
};

/*
 * A chain taken from the queue: the driver's buffers as host memory, device-readable ones first (2.7.4.2 demands that order). The content of
 * the buffers can change at any time until pv_queue_push.
 */
struct pv_chain {
	uint16_t head;
	unsigned readable_count;
	unsigned writable_count;
	uint64_t readable_bytes;
	uint64_t writable_bytes;
	/* readable_count entries, then writable_count entries. */
	struct iovec parts[PV_QUEUE_SIZE_MAX];
};

/* Checks addresses, alignment and size, and makes the queue usable. Returns 0 or -EINVAL with `broken` set. */
int pv_queue_enable(struct pv_queue *queue, const struct pv_gmem *mem, bool event_idx, bool indirect);

/* Back to the state after a device reset; keeps the maximum size in `state.size`. */
void pv_queue_reset(struct pv_queue *queue, uint16_t size);

/*
 * Takes the next available chain. Returns 1 and the chain, 0 when there is none (or the queue is not ready), -EPROTO when the driver broke
 * the contract: `broken` says how, and every later call returns -EPROTO. The answer 0 also asks for a kick for the next chain, unless
 * pv_queue_want_kicks switched kicks off.
 */
int pv_queue_pop(struct pv_queue *queue, struct pv_chain *chain);

/* Gives the most recently popped chain back untouched, as if it had not been popped. */
void pv_queue_unpop(struct pv_queue *queue);

/* Marks a chain used with `written` bytes written to its writable part. */
void pv_queue_push(struct pv_queue *queue, uint16_t head, uint32_t written);

/* True when the driver wants an interrupt for what was pushed since the last true answer (2.7.7, 2.7.10). */
bool pv_queue_should_interrupt(struct pv_queue *queue);

/*
 * Asks the driver to kick (on) or not to bother (off) when it adds buffers. After switching on, the caller must look for chains once more, as
 * one may have been added meanwhile.
 */
void pv_queue_want_kicks(struct pv_queue *queue, bool on);

/*
 * A batch of at most `size` chains begins: asks to be kicked for the first chain beyond it, so that a device may stop after the batch and needs
 * no look at what was added meanwhile. pv_virtio_kick does this for every kick; devices need not.
 */
void pv_queue_batch(struct pv_queue *queue);

/* Number of chains that wait, without taking one (0 when broken or not ready). */
unsigned pv_queue_waiting(struct pv_queue *queue);

/* Copies from the readable part at `offset`; returns bytes copied (fewer at the end). */
size_t pv_chain_read(const struct pv_chain *chain, size_t offset, void *data, size_t len);

/* Copies to the writable part at `offset`; returns bytes copied. */
size_t pv_chain_write(const struct pv_chain *chain, size_t offset, const void *data, size_t len);

#endif
