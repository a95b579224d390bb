/*
 * The inside of a machine, shared by the machine_*.c files only.
 */
#ifndef PV_VMM_MACHINE_PRIVATE_H
#define PV_VMM_MACHINE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/loop.h"
#include "virtio/console.h"
#include "virtio/pci.h"
#include "virtio/rng.h"
#include "vmm/boot.h"
#include "vmm/gsi.h"
#include "vmm/guest_clock.h"
#include "vmm/i8042.h"
#include "vmm/kvm_vm.h"
#include "vmm/machine.h"
#include "vmm/pci_host.h"
#include "vmm/pm.h"
#include "vmm/ram.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"

struct pv_err;
struct pv_virtio;

/* A doorbell that the kernel rings. */
struct pv_machine_bell {
	struct pv_machine_slot *slot;
	unsigned queue;
	bool open; /* `fd` is ours and watched */
	int fd;
	struct pv_loop_watch watch;
};

/* Where the guest wants the interrupt of a vector. */
struct pv_machine_vector {
	uint64_t address;
	uint32_t data;
	bool masked;
};

/* A PCI slot; `pci` NULL = empty. */
struct pv_machine_slot {
	struct pv_machine *machine;
	struct pv_virtio_pci *pci;
	struct pv_gsi_wire wire;
	struct pv_machine_vector vectors[PV_VIRTIO_PCI_VECTORS_MAX];
	struct pv_machine_bell bells[PV_VIRTIO_QUEUES_MAX];
};

/* What the guest asked for, and what happens when all vCPUs are parked; the higher one wins. */
enum pv_machine_wish {
	PV_MACHINE_WISH_NONE,
	PV_MACHINE_WISH_RESET,
	PV_MACHINE_WISH_STOP, /* `stop` says why */
};

struct pv_machine {
	struct pv_kvm *kvm;
	struct pv_loop *loop;

	/* The configuration, copied; constant after create. */
	uint64_t memory_bytes;
	unsigned cpus;
	const struct pv_kernel *kernel;
	char *cmdline;
	struct pv_span *initrd;
	unsigned initrd_parts;
	uint64_t vsock_cid;
	bool has_rng_seed;
	uint64_t rng_seed;
	bool has_initial_time;
	int64_t initial_time_ns;
	bool no_devices;
	struct pv_bytes payload;
	uint64_t payload_gpa;
	struct pv_machine_events events;
	void *events_ctx;

	/* Guarded by the loop lock. Who sets `busy` may drop the lock and finds all as it was. */
	enum pv_machine_state state;
	bool busy;
	enum pv_machine_wish wish;
	struct pv_machine_stop stop;

	struct pv_ram ram;
	struct pv_kvm_vm vm; /* replaced at reset, under the loop lock, while all are parked */
	struct pv_crew crew;
	struct pv_boot_entry entry;

	/* Guarded by the loop lock. */
	struct pv_guest_clock clock;
	struct pv_gsi gsi;
	struct pv_bus pio;
	struct pv_bus mmio;
	struct pv_serial serial;
	struct pv_rtc rtc;
	struct pv_loop_timer rtc_timer;
	struct pv_i8042 i8042;
	struct pv_pm pm;
	struct pv_pci_host pci_host;
	struct pv_gsi_wire serial_wire;
	struct pv_gsi_wire rtc_wire;
	struct pv_gsi_wire sci_wire;
	struct pv_machine_slot slots[PV_PCI_HOST_SLOTS];
	struct pv_rng rng;
	struct pv_console console;
	struct pv_vsock *vsock;
};

/* --- machine_devices.c, all under the loop lock --- */

/* Builds the devices and puts them on the buses. On failure some may be there: finish them. */
int pv_machine_devices_init(struct pv_machine *machine, struct pv_err *err);
void pv_machine_devices_finish(struct pv_machine *machine);
/* Power-on state. The virtual machine is still the old one. */
void pv_machine_devices_reset(struct pv_machine *machine);
/* What is under way is brought to an end, then no device works until it is woken. */
void pv_machine_devices_quiesce(struct pv_machine *machine);
void pv_machine_devices_wake(struct pv_machine *machine);

/* --- machine_slots.c, all under the loop lock --- */

/* Puts a virtio device (not owned) into an empty slot, or takes it out. */
int pv_machine_slot_fill(
    struct pv_machine *machine, unsigned slot, struct pv_virtio *dev, struct pv_err *err);
void pv_machine_slot_empty(struct pv_machine *machine, unsigned slot);
void pv_machine_slot_quiesce(struct pv_machine_slot *slot);
void pv_machine_slot_wake(struct pv_machine_slot *slot);

/* --- machine_boot.c --- */

/* Fills clear guest memory with what is booted. While no vCPU runs. */
int pv_machine_load(struct pv_machine *machine, struct pv_err *err);
/* Sets the vCPUs of a new virtual machine to their first instruction. */
int pv_machine_set_entry(
    const struct pv_machine *machine, const struct pv_kvm_vm *vm, struct pv_err *err);

/* --- machine_exit.c --- */

/* pv_crew_ops.exited and .failed; ctx = struct pv_machine *. */
void pv_machine_exited(void *ctx, unsigned vcpu, struct kvm_run *run);
void pv_machine_failed(void *ctx, unsigned vcpu, int code);

/* --- machine_run.c --- */

/* [locked] On a vCPU thread: carried out when all are parked. */
void pv_machine_wish_reset(struct pv_machine *machine);
void pv_machine_wish_stop(
    struct pv_machine *machine, enum pv_machine_stop_kind kind, const char *text);
/* pv_crew_ops.all_parked. */
void pv_machine_all_parked(void *ctx);

#endif
