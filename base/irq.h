/*
 * How devices interrupt and are kicked, without knowing by what: the machine implements these with irqfd and ioeventfd, tests with counters.
 * All functions are called with the loop lock held.
 */
#ifndef PV_BASE_IRQ_H
#define PV_BASE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

/* A wire: the device sets its level. */
struct pv_irq_line {
	void (*set)(void *ctx, bool level);
	void *ctx;
};

/* Where message-signalled interrupts of one device go. */
struct pv_irq_msi_ops {
	/* The guest wrote the message of `vector`, or masked it (masked: `fire` need not deliver). */
	void (*update)(void *ctx, unsigned vector, uint64_t address, uint32_t data, bool masked);
	/* Delivers the message of `vector`. */
	void (*fire)(void *ctx, unsigned vector);
};

/* Where a device's doorbells are mapped: a guest write to `gpa` must reach the device as a kick of `queue` without an exit to user space. */
struct pv_irq_doorbell_ops {
	/* Returns 0 or -errno; on failure the write arrives as an ordinary bus write, which works too. */
	int (*map)(void *ctx, unsigned queue, uint64_t gpa);
	void (*unmap)(void *ctx, unsigned queue, uint64_t gpa);
	/* Rings it from the host, mapped or not: the device is kicked by the loop. May be NULL. */
	void (*ring)(void *ctx, unsigned queue);
};

#endif
