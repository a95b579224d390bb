/*
 * Guest time.
 *
 * A Linux guest reads kvmclock (or the TSC) for time that passes and asks once, at boot, for the
 * wall time at kvmclock 0, by writing an address to a wall clock MSR. KVM would answer with the
 * host's time; its MSR filter sends the write to us instead, so initial_time holds from the first
 * instruction and to the nanosecond. The RTC is computed from the same clock.
 *
 * Pause: KVM_GET_CLOCK, and for each vCPU its TSC, TSC deadline and the counts of the local APIC's
 * timer. Resume: the TSC offset of each vCPU is moved back by the host cycles that went by (all by
 * the same amount, so that KVM's master clock stays on), or, without that attribute, the TSC is
 * written; the deadline is armed anew since KVM computed its host time from the old offset, and a
 * timer that counts gets back what it had left; KVM_SET_CLOCK; KVM_KVMCLOCK_CTRL tells the guest's
 * watchdog that it was stopped. Short of perfect: a timer that is due in the pause may have fired
 * by then, and the PIT begins its period anew.
 *
 * A snapshot is what the pause took down, and a loaded clock is one that stands still, with offsets
 * that make the thaw work as after a pause. Guest time is therefore the same to the cycle however
 * long a snapshot lay about.
 *
 * Time that passes at once is a freeze, numbers that are larger by as much, and a thaw: to the
 * guest it is as if the host had not run it for so long, which is what the flag of
 * KVM_KVMCLOCK_CTRL says. A deadline that lies in the past then makes KVM ring the timer when it is
 * armed again. The PIT is left alone, since no period of it is longer than 55 ms.
 *
 * A jump to the host's time changes the date alone. Were kvmclock and the TSC to jump as well, all
 * timers would ring, and after years Linux would count the seconds one by one with interrupts off.
 * Its own wall time it keeps as a difference to kvmclock, so it has to be told from within.
 *
 * Freeze, thaw, save and load run on the thread that pauses, while all vCPUs are parked; the MSR
 * write on a vCPU thread under the loop lock. Linux: Documentation/virt/kvm/x86/msr.rst,
 * devices/vcpu.rst; Intel SDM volume 3A, 11.5.4.
 */
#include "vmm/guest_clock.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fields.h"
#include "base/gmem.h"
#include "base/pack.h"
#include "vmm/kvm_vm.h"

#define MSR_IA32_TSC	      0x10u
#define MSR_IA32_TSC_DEADLINE 0x6e0u

/* Minutes: what no host needs between two calls. */
#define TRIAL_CYCLES (UINT64_C(1) << 40)

/* struct pvclock_wall_clock: version, seconds, nanoseconds; an odd version means "in work". */
#define WALL_CLOCK_SIZE 12

/* Offsets in the register page of a local APIC. */
#define APIC_TMICT 0x380u /* the timer's initial count */
#define APIC_TMCCT 0x390u /* what is left of it */
#define APIC_TDCR  0x3e0u /* by how much the bus clock is divided, which is a nanosecond in KVM */

/* A mode in which KVM lets channel 0 wait for a trigger that never comes. */
#define PIT_MODE_STILL 5

/* Times in a snapshot stay below these, so that their sum and the RTC's offset do not overflow. */
#define WALL_MAX    (UINT64_C(1) << 62)
#define ELAPSED_MAX (UINT64_C(1) << 60)

struct pv_guest_clock_vcpu {
	bool has_offset;
	uint64_t offset;
	uint64_t tsc; /* at frozen_host_tsc */
	uint64_t deadline;
	uint32_t timer_count;
	uint32_t timer_left;
	unsigned timer_shift; /* a count is that power of two of nanoseconds; not saved */
};

struct msr_pair {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[2];
};

static uint64_t kvmclock(const struct pv_guest_clock *clock)
{
	struct kvm_clock_data data = {0};
	if (ioctl(clock->vm->fd, KVM_GET_CLOCK, &data) < 0)
		return 0;
	return data.clock;
}

static void set_kvmclock(const struct pv_guest_clock *clock, uint64_t value)
{
	struct kvm_clock_data data = {.clock = value};
	ioctl(clock->vm->fd, KVM_SET_CLOCK, &data);
}

void pv_guest_clock_init(struct pv_guest_clock *clock, const struct pv_kvm_vm *vm, int64_t wall_ns)
{
	*clock = (struct pv_guest_clock){.vm = vm, .wall_base_ns = wall_ns};
}

void pv_guest_clock_finish(struct pv_guest_clock *clock)
{
	free(clock->frozen);
	clock->frozen = NULL;
}

void pv_guest_clock_set_wall(struct pv_guest_clock *clock, int64_t wall_ns)
{
	clock->wall_base_ns = wall_ns;
}

void pv_guest_clock_start(struct pv_guest_clock *clock)
{
	set_kvmclock(clock, 0);
	clock->running = true;
}

void pv_guest_clock_carry(struct pv_guest_clock *clock)
{
	clock->wall_base_ns = pv_guest_clock_now(clock);
	clock->frozen_ns = 0;
	clock->running = false;
	clock->loaded = false;
	clock->scaled = false;
}

uint64_t pv_guest_clock_elapsed(const struct pv_guest_clock *clock)
{
	return clock->running ? kvmclock(clock) : clock->frozen_ns;
}

int64_t pv_guest_clock_now(const struct pv_guest_clock *clock)
{
	return clock->wall_base_ns + (int64_t)pv_guest_clock_elapsed(clock);
}

static struct kvm_device_attr offset_attr(uint64_t *offset)
{
	return (struct kvm_device_attr){
	    .group = KVM_VCPU_TSC_CTRL,
	    .attr = KVM_VCPU_TSC_OFFSET,
	    .addr = (uintptr_t)offset,
	};
}

/* Divide configuration: bits 3, 1 and 0 are the power of two minus one, 7 means by 1. */
static unsigned count_shift(uint32_t tdcr)
{
	return (((tdcr & 3) | (tdcr >> 1 & 4)) + 1) & 7;
}

static void freeze_vcpu(
    const struct pv_guest_clock *clock, int fd, struct pv_guest_clock_vcpu *state)
{
	*state = (struct pv_guest_clock_vcpu){0};
	struct msr_pair msrs = {
	    .head.nmsrs = 2,
	    .entries = {{.index = MSR_IA32_TSC}, {.index = MSR_IA32_TSC_DEADLINE}},
	};
	if (ioctl(fd, KVM_GET_MSRS, &msrs) >= 1) {
		state->tsc = msrs.entries[0].data;
		state->deadline = msrs.entries[1].data;
	}
	struct kvm_device_attr attr = offset_attr(&state->offset);
	state->has_offset = !clock->scaled && ioctl(fd, KVM_GET_DEVICE_ATTR, &attr) == 0;
	/* The same moment for all vCPUs, so that they do not drift apart. */
	if (state->has_offset)
		state->tsc = clock->frozen_host_tsc + state->offset;
	struct kvm_lapic_state lapic;
	if (clock->vm->irqchip && ioctl(fd, KVM_GET_LAPIC, &lapic) == 0) {
		state->timer_count = pv_le32(lapic.regs + APIC_TMICT);
		state->timer_left = pv_le32(lapic.regs + APIC_TMCCT);
		state->timer_shift = count_shift(pv_le32(lapic.regs + APIC_TDCR));
	}
}

/* Since when a counter runs is told in the host's time; that means nothing elsewhere. */
static void freeze_pit(struct pv_guest_clock *clock)
{
	clock->pit = (struct kvm_pit_state2){0};
	if (clock->vm->irqchip)
		ioctl(clock->vm->fd, KVM_GET_PIT2, &clock->pit);
	for (unsigned i = 0; i < 3; i++)
		clock->pit.channels[i].count_load_time = 0;
}

/* Until the thaw the interval timer of a machine that was loaded does nothing. */
static void stop_pit(const struct pv_guest_clock *clock)
{
	struct kvm_pit_state2 stopped = clock->pit;
	stopped.channels[0].mode = PIT_MODE_STILL;
	if (clock->vm->irqchip)
		ioctl(clock->vm->fd, KVM_SET_PIT2, &stopped);
}

void pv_guest_clock_freeze(struct pv_guest_clock *clock)
{
	const struct pv_kvm_vm *vm = clock->vm;
	clock->frozen_ns = kvmclock(clock);
	clock->frozen_host_tsc = __rdtsc();
	clock->running = false;
	clock->loaded = false;
	if (!clock->frozen)
		clock->frozen = calloc(vm->cpus, sizeof(clock->frozen[0]));
	if (!clock->frozen)
		return; /* the TSC will jump over the pause, kvmclock will not */
	freeze_pit(clock);
	for (unsigned i = 0; i < vm->cpus; i++)
		freeze_vcpu(clock, vm->vcpus[i].fd, &clock->frozen[i]);
}

/* Lets the local APIC's timer count on from where it was. Interrupts that came meanwhile stay. */
static void thaw_timer(int fd, const struct pv_guest_clock_vcpu *state)
{
	struct kvm_lapic_state lapic;
	if (ioctl(fd, KVM_GET_LAPIC, &lapic) < 0)
		return;
	pv_put_le32(lapic.regs + APIC_TMICT, state->timer_count);
	pv_put_le32(lapic.regs + APIC_TMCCT, state->timer_left);
	ioctl(fd, KVM_SET_LAPIC, &lapic);
}

static void thaw_vcpu(const struct pv_guest_clock *clock, int fd,
    const struct pv_guest_clock_vcpu *state, uint64_t passed)
{
	struct msr_pair msrs = {.head.nmsrs = 1};
	if (state->has_offset) {
		uint64_t offset = state->offset - passed;
		struct kvm_device_attr attr = offset_attr(&offset);
		ioctl(fd, KVM_SET_DEVICE_ATTR, &attr);
	} else {
		msrs.entries[0].index = MSR_IA32_TSC;
		msrs.entries[0].data = state->tsc;
		ioctl(fd, KVM_SET_MSRS, &msrs);
	}
	if (state->deadline != 0 || clock->loaded) {
		msrs.entries[0].index = MSR_IA32_TSC_DEADLINE;
		msrs.entries[0].data = state->deadline;
		ioctl(fd, KVM_SET_MSRS, &msrs);
	}
	/* A one-shot timer that ran out before the pause must not fire again after it; one that was
	 * loaded may have run out without the interrupt being delivered, so there it does. */
	if (state->timer_left != 0 || (clock->loaded && state->timer_count != 0))
		thaw_timer(fd, state);
}

void pv_guest_clock_thaw(struct pv_guest_clock *clock)
{
	const struct pv_kvm_vm *vm = clock->vm;
	uint64_t passed = __rdtsc() - clock->frozen_host_tsc;
	for (unsigned i = 0; i < vm->cpus && clock->frozen; i++)
		thaw_vcpu(clock, vm->vcpus[i].fd, &clock->frozen[i], passed);
	if (clock->loaded && vm->irqchip)
		ioctl(vm->fd, KVM_SET_PIT2, &clock->pit);
	set_kvmclock(clock, clock->frozen_ns);
	clock->running = true;
	clock->loaded = false;
	/* Refused while the guest has not set up kvmclock, which is fine. */
	for (unsigned i = 0; i < vm->cpus; i++)
		ioctl(vm->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
}

/* The TSC frequency of guests here that ask for nothing else, 0 when KVM does not know. */
static uint64_t host_khz(const struct pv_guest_clock *clock)
{
	int khz = ioctl(clock->vm->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);
	return khz > 0 ? (uint64_t)khz : 0;
}

static void pass_vcpu(struct pv_guest_clock_vcpu *state, uint64_t ns, uint64_t cycles)
{
	state->tsc += cycles;
	state->offset += cycles;
	if (state->timer_left == 0)
		return;
	/* 1 is the shortest that KVM knows: 0 would mean that it has rung. */
	const uint64_t counts = ns >> state->timer_shift;
	state->timer_left = counts < state->timer_left ? state->timer_left - (uint32_t)counts : 1;
}

/* A KVM without hardware under it takes an offset, but its guests read the host's TSC. */
static bool moves_tsc(const struct pv_guest_clock *clock)
{
	const int fd = clock->vm->vcpus[0].fd;
	const struct pv_guest_clock_vcpu *state = &clock->frozen[0];
	struct msr_pair msrs = {.head.nmsrs = 1, .entries = {{.index = MSR_IA32_TSC}}};
	uint64_t offset = state->offset + TRIAL_CYCLES;
	struct kvm_device_attr attr = offset_attr(&offset);
	if (!state->has_offset)
		return true;
	return ioctl(fd, KVM_SET_DEVICE_ATTR, &attr) == 0 && ioctl(fd, KVM_GET_MSRS, &msrs) == 1 &&
	       (int64_t)(msrs.entries[0].data - (state->tsc + TRIAL_CYCLES)) >= 0;
}

int pv_guest_clock_pass(struct pv_guest_clock *clock, uint64_t ns, struct pv_err *err)
{
	const uint64_t khz = host_khz(clock);
	const uint64_t cycles = (uint64_t)((unsigned __int128)ns * khz / 1000000);
	if (!clock->frozen || khz == 0 || !moves_tsc(clock))
		return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
		    "guest time cannot be moved: this KVM cannot set the TSC of its guests, which "
		    "needs hardware virtualization (kvm_intel or kvm_amd)");
	/* The thaw sets all offsets, that of the trial among them. */
	for (unsigned i = 0; i < clock->vm->cpus; i++)
		pass_vcpu(&clock->frozen[i], ns, cycles);
	clock->frozen_ns += ns;
	return 0;
}

int pv_guest_clock_move(
    struct pv_guest_clock *clock, const struct pv_kvm_vm *fresh, struct pv_err *err)
{
	const uint64_t khz = host_khz(clock);
	for (unsigned i = 0; i < fresh->cpus && clock->scaled; i++) {
		if (ioctl(fresh->vcpus[i].fd, KVM_SET_TSC_KHZ, (unsigned long)khz) < 0)
			return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
			    "the TSC cannot be scaled to %llu kHz again", (unsigned long long)khz);
	}
	for (unsigned i = 0; i < clock->vm->cpus && clock->frozen; i++) {
		clock->frozen[i].deadline = 0;
		clock->frozen[i].timer_count = 0;
		clock->frozen[i].timer_left = 0;
	}
	return 0;
}

bool pv_guest_clock_rings(const struct pv_guest_clock *clock, unsigned vcpu)
{
	const struct pv_guest_clock_vcpu *state = &clock->frozen[vcpu];
	return state->deadline != 0 && (int64_t)(state->tsc - state->deadline) >= 0;
}

int pv_guest_clock_save(
    const struct pv_guest_clock *clock, struct pv_pack *pack, struct pv_err *err)
{
	const unsigned cpus = clock->vm->cpus;
	if (!clock->frozen)
		return pv_err_nomem(err, "guest time");
	pv_pack_map(pack, 5);
	pv_pack_str(pack, "wall_base");
	pv_pack_int(pack, clock->wall_base_ns);
	pv_pack_str(pack, "elapsed");
	pv_pack_uint(pack, clock->frozen_ns);
	pv_pack_str(pack, "khz");
	pv_pack_uint(pack, host_khz(clock));
	pv_pack_str(pack, "pit");
	pv_pack_bin(pack, &clock->pit, sizeof(clock->pit));
	pv_pack_str(pack, "vcpus");
	pv_pack_array(pack, 4 * cpus);
	for (unsigned i = 0; i < cpus; i++) {
		const struct pv_guest_clock_vcpu *state = &clock->frozen[i];
		pv_pack_uint(pack, state->tsc);
		pv_pack_uint(pack, state->deadline);
		pv_pack_uint(pack, state->timer_count);
		pv_pack_uint(pack, state->timer_left);
	}
	return 0;
}

/*
 * Makes the guest's TSC run as it did: hosts differ by calibration even when they are the same, so
 * 250 ppm, what a clock of a computer may be off, are not looked at.
 */
static int match_frequency(struct pv_guest_clock *clock, uint64_t wanted, struct pv_err *err)
{
	const uint64_t here = host_khz(clock);
	const uint64_t apart = here > wanted ? here - wanted : wanted - here;
	if (here == 0 || wanted == 0 || apart * 4000 <= here)
		return 0;
	for (unsigned i = 0; i < clock->vm->cpus; i++) {
		if (ioctl(clock->vm->vcpus[i].fd, KVM_SET_TSC_KHZ, (unsigned long)wanted) < 0)
			return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
			    "the TSC ran with %llu kHz, here it runs with %llu, and this processor "
			    "cannot scale it",
			    (unsigned long long)wanted, (unsigned long long)here);
	}
	clock->scaled = true;
	return 0;
}

/* Reads the numbers of all vCPUs into a new array. */
static int load_vcpus(struct pv_guest_clock *clock, struct pv_fields *fields, struct pv_err *err)
{
	const unsigned cpus = clock->vm->cpus;
	uint64_t *numbers = calloc(4 * (size_t)cpus, sizeof(numbers[0]));
	struct pv_guest_clock_vcpu *vcpus = calloc(cpus, sizeof(vcpus[0]));
	if (!numbers || !vcpus) {
		free(numbers);
		free(vcpus);
		return pv_err_nomem(err, "guest time");
	}
	pv_fields_uints(fields, "vcpus", 4 * cpus, UINT64_MAX, numbers);
	for (unsigned i = 0; i < cpus; i++) {
		const uint64_t *vcpu = &numbers[(size_t)i * 4];
		if (vcpu[2] > UINT32_MAX || vcpu[3] > UINT32_MAX)
			pv_fields_fail(fields, "the timer of vCPU %u counts beyond 32 bits", i);
		vcpus[i] = (struct pv_guest_clock_vcpu){
		    .tsc = vcpu[0],
		    .deadline = vcpu[1],
		    .timer_count = (uint32_t)vcpu[2],
		    .timer_left = (uint32_t)vcpu[3],
		};
	}
	free(numbers);
	free(clock->frozen);
	clock->frozen = vcpus;
	return 0;
}

int pv_guest_clock_load(struct pv_guest_clock *clock, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "guest time", err);
	clock->wall_base_ns = (int64_t)pv_fields_uint(&fields, "wall_base", WALL_MAX);
	clock->frozen_ns = pv_fields_uint(&fields, "elapsed", ELAPSED_MAX);
	const uint64_t khz = pv_fields_uint(&fields, "khz", UINT32_MAX);
	size_t pit_size;
	const void *pit = pv_fields_bytes(&fields, "pit", sizeof(clock->pit), &pit_size);
	if (pit_size != sizeof(clock->pit))
		pv_fields_fail(&fields, "field `pit` has %zu bytes instead of %zu", pit_size,
		    sizeof(clock->pit));
	int code = load_vcpus(clock, &fields, err);
	if (code == 0)
		code = pv_fields_end(&fields);
	if (code == 0)
		code = match_frequency(clock, khz, err);
	if (code < 0)
		return code;
	memcpy(&clock->pit, pit, sizeof(clock->pit));
	stop_pit(clock);
	clock->frozen_host_tsc = __rdtsc();
	for (unsigned i = 0; i < clock->vm->cpus; i++) {
		struct pv_guest_clock_vcpu *state = &clock->frozen[i];
		struct kvm_device_attr attr = offset_attr(&state->offset);
		state->has_offset = !clock->scaled &&
				    ioctl(clock->vm->vcpus[i].fd, KVM_GET_DEVICE_ATTR, &attr) == 0;
		state->offset = state->tsc - clock->frozen_host_tsc;
	}
	clock->running = false;
	clock->loaded = true;
	return 0;
}

void pv_guest_clock_jump(struct pv_guest_clock *clock, int64_t wall_ns)
{
	const int64_t base = wall_ns - (int64_t)clock->frozen_ns;
	clock->wall_base_ns = base > 0 ? base : 0;
}

bool pv_guest_clock_write_msr(
    const struct pv_guest_clock *clock, const struct pv_gmem *mem, uint32_t msr, uint64_t value)
{
	if (msr != MSR_KVM_WALL_CLOCK && msr != MSR_KVM_WALL_CLOCK_NEW)
		return false;
	uint8_t record[WALL_CLOCK_SIZE];
	uint32_t version;
	if (value % 4 != 0 || pv_gmem_read(mem, value, &version, sizeof(version)) < 0)
		return false;
	version = (version + 2) & ~1u;
	pv_put_le32(record, version);
	pv_put_le32(record + 4, (uint32_t)(clock->wall_base_ns / PV_CLOCK_SECOND));
	pv_put_le32(record + 8, (uint32_t)(clock->wall_base_ns % PV_CLOCK_SECOND));
	return pv_gmem_write(mem, value, record, sizeof(record)) == 0;
}
