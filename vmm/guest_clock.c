/*
 * Guest time.
 *
 * A Linux guest reads kvmclock (or the TSC) for time that passes and asks once, at boot, for the
 * wall time at kvmclock 0, by writing an address to a wall clock MSR. KVM would answer with the
 * host's time; its MSR filter sends the write to us instead, so initial_time holds from the first
 * instruction and to the nanosecond. The RTC is computed from the same clock.
 *
 * Pause: KVM_GET_CLOCK, and for each vCPU its TSC and TSC deadline. Resume: the TSC offset of each
 * vCPU is moved back by the host cycles that went by (all by the same amount, so that KVM's master
 * clock stays on), or, without that attribute, the TSC is written; the deadline is armed anew since
 * KVM computed its host time from the old offset; KVM_SET_CLOCK; KVM_KVMCLOCK_CTRL tells the
 * guest's watchdog that it was stopped. Short of perfect: the PIT and a local APIC timer in another
 * mode than TSC deadline go on meanwhile and may fire once too early.
 *
 * Freeze and thaw run on the thread that pauses, while all vCPUs are parked; the MSR write on a
 * vCPU thread under the loop lock. Linux: Documentation/virt/kvm/x86/msr.rst, devices/vcpu.rst.
 */
#include "vmm/guest_clock.h"

#include <asm/kvm_para.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/gmem.h"
#include "vmm/kvm_vm.h"

#define MSR_IA32_TSC	      0x10u
#define MSR_IA32_TSC_DEADLINE 0x6e0u

/* struct pvclock_wall_clock: version, seconds, nanoseconds; an odd version means "in work". */
#define WALL_CLOCK_SIZE 12

struct pv_guest_clock_vcpu {
	bool has_offset;
	uint64_t offset;
	uint64_t tsc;
	uint64_t deadline;
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
}

int64_t pv_guest_clock_now(const struct pv_guest_clock *clock)
{
	uint64_t elapsed = clock->running ? kvmclock(clock) : clock->frozen_ns;
	return clock->wall_base_ns + (int64_t)elapsed;
}

static struct kvm_device_attr offset_attr(uint64_t *offset)
{
	return (struct kvm_device_attr){
	    .group = KVM_VCPU_TSC_CTRL,
	    .attr = KVM_VCPU_TSC_OFFSET,
	    .addr = (uintptr_t)offset,
	};
}

static void freeze_vcpu(int fd, struct pv_guest_clock_vcpu *state)
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
	state->has_offset = ioctl(fd, KVM_GET_DEVICE_ATTR, &attr) == 0;
}

void pv_guest_clock_freeze(struct pv_guest_clock *clock)
{
	const struct pv_kvm_vm *vm = clock->vm;
	clock->frozen_ns = kvmclock(clock);
	clock->frozen_host_tsc = __rdtsc();
	clock->running = false;
	if (!clock->frozen)
		clock->frozen = calloc(vm->cpus, sizeof(clock->frozen[0]));
	if (!clock->frozen)
		return; /* the TSC will jump over the pause, kvmclock will not */
	for (unsigned i = 0; i < vm->cpus; i++)
		freeze_vcpu(vm->vcpus[i].fd, &clock->frozen[i]);
}

static void thaw_vcpu(int fd, const struct pv_guest_clock_vcpu *state, uint64_t passed)
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
	if (state->deadline != 0) {
		msrs.entries[0].index = MSR_IA32_TSC_DEADLINE;
		msrs.entries[0].data = state->deadline;
		ioctl(fd, KVM_SET_MSRS, &msrs);
	}
}

void pv_guest_clock_thaw(struct pv_guest_clock *clock)
{
	const struct pv_kvm_vm *vm = clock->vm;
	uint64_t passed = __rdtsc() - clock->frozen_host_tsc;
	for (unsigned i = 0; i < vm->cpus && clock->frozen; i++)
		thaw_vcpu(vm->vcpus[i].fd, &clock->frozen[i], passed);
	set_kvmclock(clock, clock->frozen_ns);
	clock->running = true;
	/* Refused while the guest has not set up kvmclock, which is fine. */
	for (unsigned i = 0; i < vm->cpus; i++)
		ioctl(vm->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
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
