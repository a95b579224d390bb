/*
 * Guest time: kvmclock, the TSC, timers and the wall clock that the guest reads at boot. It begins
 * when the machine starts, stands still while it is paused, and is what the RTC shows too.
 */
#ifndef PV_VMM_GUEST_CLOCK_H
#define PV_VMM_GUEST_CLOCK_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_gmem;
struct pv_kvm_vm;
struct pv_pack;
struct pv_val;

struct pv_guest_clock {
	const struct pv_kvm_vm *vm;
	int64_t wall_base_ns; /* wall time at kvmclock 0 */
	bool running;
	/* While it does not run: kvmclock, the interval timer, and per vCPU the TSC and the local
	 * APIC's timer. */
	uint64_t frozen_ns;
	struct kvm_pit_state2 pit;
	struct pv_guest_clock_vcpu *frozen; /* NULL before the first freeze */
	uint64_t frozen_host_tsc;
	bool scaled; /* KVM scales the TSC: an offset is not the whole difference to the host's */
	bool loaded; /* the virtual machine knows nothing of it yet: a thaw sets all */
};

/* Stopped at wall time `wall_ns`. `vm` is not owned. */
void pv_guest_clock_init(struct pv_guest_clock *clock, const struct pv_kvm_vm *vm, int64_t wall_ns);
void pv_guest_clock_finish(struct pv_guest_clock *clock);

/* Another wall time to start at; only before pv_guest_clock_start. */
void pv_guest_clock_set_wall(struct pv_guest_clock *clock, int64_t wall_ns);

/* kvmclock starts at 0; no vCPU of the virtual machine has run. */
void pv_guest_clock_start(struct pv_guest_clock *clock);

/*
 * A new virtual machine follows (reset): keeps the wall time, ready for pv_guest_clock_start.
 * Call it before the old one is gone.
 */
void pv_guest_clock_carry(struct pv_guest_clock *clock);

/* All vCPUs are parked: guest time stops, and goes on as if nothing had been. Best effort. */
void pv_guest_clock_freeze(struct pv_guest_clock *clock);
void pv_guest_clock_thaw(struct pv_guest_clock *clock);

/*
 * Guest time that stands still, as one msgpack value, and back into another clock that stands
 * still. Saving fails with -ENOMEM when the freeze had no memory for it. Loading fails with
 * -EBADMSG, or with -ENOTSUP when the host's TSC has another frequency that KVM cannot bridge.
 */
int pv_guest_clock_save(
    const struct pv_guest_clock *clock, struct pv_pack *pack, struct pv_err *err);
int pv_guest_clock_load(struct pv_guest_clock *clock, const struct pv_val *val, struct pv_err *err);

/*
 * Makes guest time that stands still that of `wall_ns`, earlier or later. Only the date: what the
 * guest's processors and timers have counted goes on from where it stood.
 */
void pv_guest_clock_jump(struct pv_guest_clock *clock, int64_t wall_ns);

/*
 * After a freeze: makes `ns` of guest time pass, for counters, clocks and date; timers that are due
 * by then ring when time goes on, one that repeats once. Returns 0, or -ENOTSUP with nothing
 * changed where KVM cannot move the guest's TSC.
 */
int pv_guest_clock_pass(struct pv_guest_clock *clock, uint64_t ns, struct pv_err *err);

/*
 * After a freeze: time goes on in `fresh`, whose vCPUs are new ones, with no timer armed, after the
 * thaw. Returns 0 or -ENOTSUP.
 */
int pv_guest_clock_move(
    struct pv_guest_clock *clock, const struct pv_kvm_vm *fresh, struct pv_err *err);

/* After a freeze: true when the deadline of a vCPU has passed and KVM has not said so to it. */
bool pv_guest_clock_rings(const struct pv_guest_clock *clock, unsigned vcpu);

/* Nanoseconds that the guest has lived through since it booted. As the next one. */
uint64_t pv_guest_clock_elapsed(const struct pv_guest_clock *clock);

/* The guest's wall time, nanoseconds since 1970. Any thread that may look at the machine. */
int64_t pv_guest_clock_now(const struct pv_guest_clock *clock);

/*
 * The guest wrote a wall clock MSR: puts the time at kvmclock 0 where it asks for it. Returns false
 * when `msr` is another one or the address is bad.
 */
bool pv_guest_clock_write_msr(
    const struct pv_guest_clock *clock, const struct pv_gmem *mem, uint32_t msr, uint64_t value);

#endif
