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
#include "vmm/generation.h"
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
struct pv_pack;
struct pv_spare;
struct pv_stream_port_ops;
struct pv_template;
struct pv_virtio;
struct pv_vsock_conn;

/* A doorbell that the kernel rings. */
struct pv_machine_bell {
	struct pv_machine_slot *slot;
	unsigned queue;
	bool wanted; /* the device wants it at `gpa` */
	bool mapped; /* the kernel has it at `gpa`; more than wanted only while bells are held */
	uint64_t gpa;
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
	PV_MACHINE_WISH_WAKE, /* of a guest that is suspended */
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
	pv_machine_fetch *fetch; /* gives these when they are needed; NULL: they are there */
	void *fetch_ctx;
	uint64_t vsock_cid;
	bool has_rng_seed;
	uint64_t rng_seed;
	uint8_t generation[PV_GENERATION_SIZE]; /* changes with a rewind, under the loop lock */
	bool announces_late;			/* under the loop lock */
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

	struct pv_template *template; /* what a rewind goes back to, one reference; NULL: nothing */
	bool restored;		      /* has not run since its state was loaded */
	bool complete;		      /* was built to the end */
	bool (*adopt)(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port,
	    uint32_t guest_port, const struct pv_stream_port_ops **ops, void **port_ctx);
	void *adopt_ctx;

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
	bool event_due; /* of the generation: has not been raised yet */
	struct pv_loop_timer event_timer;
	struct pv_i8042 i8042;
	struct pv_pm pm;
	struct pv_pci_host pci_host;
	struct pv_gsi_wire serial_wire;
	struct pv_gsi_wire rtc_wire;
	struct pv_gsi_wire sci_wire;
	struct pv_machine_slot slots[PV_PCI_HOST_SLOTS];
	bool holds_bells; /* doorbells stay in the kernel, since most are wanted again at once */
	struct pv_rng rng;
	struct pv_console console;
	struct pv_vsock *vsock;
};

/* --- machine.c --- */

/* A machine with a checked configuration and nothing else, or NULL with `err` filled. */
struct pv_machine *pv_machine_outline(struct pv_kvm *kvm, struct pv_loop *loop,
    const struct pv_machine_config *config, struct pv_err *err);
/* Prepares vCPU threads. */
int pv_machine_init_crew(struct pv_machine *machine, struct pv_err *err);
/* Frees all of a machine that runs no more, or was only partly built. */
void pv_machine_take_apart(struct pv_machine *machine);

/* --- machine_devices.c, all under the loop lock --- */

/* Builds the devices and puts them on the buses. On failure some may be there: finish them. */
int pv_machine_devices_init(struct pv_machine *machine, struct pv_err *err);
void pv_machine_devices_finish(struct pv_machine *machine);
/* Power-on state. The virtual machine is still the old one. */
void pv_machine_devices_reset(struct pv_machine *machine);
/* What is under way is brought to an end, then no device works until it is woken. */
void pv_machine_devices_quiesce(struct pv_machine *machine);
void pv_machine_devices_wake(struct pv_machine *machine);
/* Work and interrupts that were on their way when the state was saved. After the wake. */
void pv_machine_devices_resume(struct pv_machine *machine);

/* --- machine_slots.c, all under the loop lock --- */

/* Puts a virtio device (not owned) into an empty slot, or takes it out. */
int pv_machine_slot_fill(
    struct pv_machine *machine, unsigned slot, struct pv_virtio *dev, struct pv_err *err);
void pv_machine_slot_empty(struct pv_machine *machine, unsigned slot);
void pv_machine_slot_quiesce(struct pv_machine_slot *slot);
void pv_machine_slot_wake(struct pv_machine_slot *slot);
/*
 * While doorbells are held, what devices unmap stays in the kernel; letting go unmaps what was not
 * mapped again. Taking one out of the kernel costs a grace period.
 */
void pv_machine_hold_bells(struct pv_machine *machine);
void pv_machine_let_go_bells(struct pv_machine *machine);
/* Moves the doorbells that are in the kernel to a spare that the machine is to become. Returns 0 or
 * -ENOMEM, with nothing moved. */
int pv_machine_give_bells(struct pv_machine *machine, struct pv_spare *spare);

/* --- machine_boot.c --- */

/* What can be booted is there, or can be fetched. */
bool pv_machine_can_boot(const struct pv_machine *machine);
/* Fetches what is booted, if it is not there yet. While all vCPUs are parked. */
int pv_machine_fetch_boot(struct pv_machine *machine, struct pv_err *err);

/* Fills clear guest memory with what is booted. While no vCPU runs. */
int pv_machine_load(struct pv_machine *machine, struct pv_err *err);
/* Sets the vCPUs of a new virtual machine to their first instruction. */
int pv_machine_set_entry(
    const struct pv_machine *machine, const struct pv_kvm_vm *vm, struct pv_err *err);

/* Sets the boot vCPU to begin in real mode at an address of the first MiB (ACPI 6.4, 16.3.1.1). */
int pv_machine_set_waking(const struct pv_kvm_vm *vm, uint32_t address, struct pv_err *err);

/* --- machine_wake.c --- */

/* [locked, begun, all parked] Brings a suspended guest back. The lock is dropped meanwhile. On
 * failure the machine wishes to stop. */
void pv_machine_wake(struct pv_machine *machine);

/* --- machine_exit.c --- */

/* pv_crew_ops.exited and .failed; ctx = struct pv_machine *. */
void pv_machine_exited(void *ctx, unsigned vcpu, struct kvm_run *run);
void pv_machine_failed(void *ctx, unsigned vcpu, int code);

/* --- machine_state.c, under the loop lock, while the machine is paused --- */

/* All but RAM, as one msgpack value in `out`. */
int pv_machine_state_save(struct pv_machine *machine, struct pv_bytes *out, struct pv_err *err);
/* The way back, into a new machine or a used one, whose RAM has its content already. On failure the
 * machine must not run. */
int pv_machine_state_load(
    struct pv_machine *machine, const struct pv_template *from, struct pv_err *err);

/* --- machine_run.c --- */

/* Take the loop lock and the machine for an operation that is called `what` in refusals, and give
 * both back. Fails, holding nothing, when the machine is not paused, or running. */
int pv_machine_begin_paused(struct pv_machine *machine, const char *what, struct pv_err *err);
int pv_machine_begin_running(struct pv_machine *machine, const char *what, struct pv_err *err);
/* [locked, begun] Says that `what` cannot be done in this state. Returns -EINVAL. */
int pv_machine_refuse(const struct pv_machine *machine, const char *what, struct pv_err *err);
/* [locked, begun] Parks all vCPUs. The lock is dropped meanwhile. */
void pv_machine_park(struct pv_machine *machine);
void pv_machine_end(struct pv_machine *machine);
/* [locked] Lets the vCPUs run, unless the guest is suspended. */
void pv_machine_let_go(struct pv_machine *machine);
/*
 * [locked, begun, all parked] The virtual machine makes room for `fresh`, in which no vCPU has run;
 * guest time is started or thawed by the caller.
 */
void pv_machine_swap_vm(struct pv_machine *machine, const struct pv_kvm_vm *fresh);
/* [locked, begun, all parked] Carries out what the guest, or the machine itself, wishes. */
void pv_machine_settle(struct pv_machine *machine);

/* [locked] On a vCPU thread: carried out when all are parked. */
void pv_machine_wish_reset(struct pv_machine *machine);
void pv_machine_wish_stop(
    struct pv_machine *machine, enum pv_machine_stop_kind kind, const char *text);
/* pv_crew_ops.all_parked. */
void pv_machine_all_parked(void *ctx);

#endif
