/*
 * Guest time: kvmclock, the TSC and the wall clock that the guest reads at boot. It begins when the
 * machine starts, stands still while it is paused, and is what the RTC shows too.
 */
#ifndef PV_VMM_GUEST_CLOCK_H
#define PV_VMM_GUEST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct pv_gmem;
struct pv_kvm_vm;

struct pv_guest_clock {
	const struct pv_kvm_vm *vm;
	int64_t wall_base_ns; /* wall time at kvmclock 0 */
	bool running;
	/* While it does not run: kvmclock, and per vCPU the TSC and its deadline timer. */
	uint64_t frozen_ns;
	struct pv_guest_clock_vcpu *frozen; /* NULL before the first freeze */
	uint64_t frozen_host_tsc;
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

/* The guest's wall time, nanoseconds since 1970. Any thread that may look at the machine. */
int64_t pv_guest_clock_now(const struct pv_guest_clock *clock);

/*
 * The guest wrote a wall clock MSR: puts the time at kvmclock 0 where it asks for it. Returns false
 * when `msr` is another one or the address is bad.
 */
bool pv_guest_clock_write_msr(
    const struct pv_guest_clock *clock, const struct pv_gmem *mem, uint32_t msr, uint64_t value);

#endif
