/*
 * Interrupts into the guest and doorbells out of it, by KVM's means.
 */
#ifndef PV_VMM_GSI_H
#define PV_VMM_GSI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/irq.h"

struct pv_err;
struct pv_kvm_vm;
struct pv_pack;
struct pv_val;

#define PV_GSI_COUNT 24 /* pins of the IOAPIC */

/*
 * The pins with what drives them: several sources may share one, which is high while any of them
 * is. `vm` is not owned. Used under the loop lock.
 */
struct pv_gsi {
	const struct pv_kvm_vm *vm;
	uint32_t sources[PV_GSI_COUNT]; /* bit n: source n drives the pin */
};

/* The end of a wire: what a pv_irq_line's ctx points to. */
struct pv_gsi_wire {
	struct pv_gsi *gsi;
	uint8_t pin;
	uint8_t source; /* 0 to 31, different for each wire on a pin */
};

void pv_gsi_init(struct pv_gsi *gsi, const struct pv_kvm_vm *vm);

/* All wires low, as after power-on. The controllers are new ones then and not told. */
void pv_gsi_reset(struct pv_gsi *gsi);

/* All wires low, and the controllers are told. */
void pv_gsi_lower(struct pv_gsi *gsi);

/*
 * Who drives which pin, as one msgpack value. Loading sets the pins of the controllers, whose own
 * state has to follow: an edge that the guest has seen would otherwise be seen again. Returns 0 or
 * -EBADMSG.
 */
void pv_gsi_save(const struct pv_gsi *gsi, struct pv_pack *pack);
int pv_gsi_load(struct pv_gsi *gsi, const struct pv_val *val, struct pv_err *err);

/* The line that sets `wire`, which must stay where it is. */
struct pv_irq_line pv_gsi_line(struct pv_gsi_wire *wire);

/* Delivers a message-signalled interrupt to the local APICs. */
void pv_gsi_message(const struct pv_gsi *gsi, uint64_t address, uint32_t data);

/*
 * Makes guest writes of any width at `gpa` count up `event_fd` in the kernel, or no longer so.
 * Returns 0 or -errno.
 */
int pv_gsi_doorbell(const struct pv_gsi *gsi, uint64_t gpa, int event_fd, bool on);

#endif
