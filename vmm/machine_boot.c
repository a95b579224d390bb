/*
 * From empty memory to the first instruction: places what is booted and sets the boot vCPU's
 * registers. Other vCPUs wait for the start-up interrupt of the in-kernel local APIC.
 *
 * Runs on the thread that creates or resets the machine, while no vCPU runs. Linux:
 * Documentation/arch/x86/boot.rst (64-bit entry); Intel SDM volume 3A, 9.1 and 9.9.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "base/err.h"
#include "vmm/acpi.h"
#include "vmm/machine_private.h"

#define BOOT_SEED_SIZE 32

#define CR0_PE	 (1u << 0)
#define CR0_MP	 (1u << 1)
#define CR0_ET	 (1u << 4)
#define CR0_NE	 (1u << 5)
#define CR0_WP	 (1u << 16)
#define CR0_AM	 (1u << 18)
#define CR0_PG	 (1u << 31)
#define CR4_PAE	 (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

#define TYPE_CODE  0xbu /* execute, read, accessed */
#define TYPE_DATA  0x3u /* read, write, accessed */
#define RFLAGS_ONE 2u	/* the bit that is always set */

/* The seed for the kernel's entropy pool: from rng_seed, or from the host. */
static void make_boot_seed(const struct pv_machine *machine, uint8_t out[BOOT_SEED_SIZE])
{
	if (!machine->has_rng_seed) {
		/* Up to 256 bytes come whole once the host has booted. */
		if (getrandom(out, BOOT_SEED_SIZE, 0) == BOOT_SEED_SIZE)
			return;
	}
	uint64_t state = machine->rng_seed;
	for (size_t i = 0; i < BOOT_SEED_SIZE; i += 8) {
		/* SplitMix64. */
		uint64_t value = state += UINT64_C(0x9e3779b97f4a7c15);
		value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
		value ^= value >> 31;
		memcpy(out + i, &value, 8);
	}
}

static int load_kernel(struct pv_machine *machine, struct pv_err *err)
{
	uint8_t seed[BOOT_SEED_SIZE];
	struct pv_acpi_config acpi = {.cpus = machine->cpus};
	struct pv_boot_config boot = {
	    .kernel = machine->kernel,
	    .cmdline = machine->cmdline,
	    .initrd = machine->initrd,
	    .initrd_parts = machine->initrd_parts,
	    .rng_seed = seed,
	    .rng_seed_size = sizeof(seed),
	};
	make_boot_seed(machine, seed);
	int code = pv_acpi_write(&machine->ram.mem, &acpi, &boot.rsdp, err);
	if (code < 0)
		return code;
	code = pv_generation_place(&machine->ram.mem, machine->generation);
	if (code < 0)
		return pv_err_system(err, -code, "the generation id has no place in guest memory");
	return pv_boot_write(&machine->ram.mem, &boot, &machine->entry, err);
}

bool pv_machine_can_boot(const struct pv_machine *machine)
{
	return machine->kernel || machine->fetch || machine->payload.len > 0;
}

int pv_machine_fetch_boot(struct pv_machine *machine, struct pv_err *err)
{
	struct pv_machine_boot boot = {0};
	if (machine->kernel || !machine->fetch)
		return 0;
	int code = machine->fetch(machine->fetch_ctx, &boot, err);
	if (code < 0)
		return code;
	char *cmdline = strdup(boot.cmdline ? boot.cmdline : "");
	struct pv_span *initrd = calloc(1, sizeof(*initrd));
	if (!cmdline || !initrd) {
		free(cmdline);
		free(initrd);
		return pv_err_nomem(err, "machine");
	}
	free(machine->cmdline);
	free(machine->initrd);
	*initrd = boot.initrd;
	machine->cmdline = cmdline;
	machine->initrd = initrd;
	machine->initrd_parts = 1;
	machine->kernel = boot.kernel;
	return 0;
}

int pv_machine_load(struct pv_machine *machine, struct pv_err *err)
{
	if (machine->kernel)
		return load_kernel(machine, err);
	if (pv_gmem_write(&machine->ram.mem, machine->payload_gpa, machine->payload.data,
		machine->payload.len) < 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOSPC,
		    "payload of %zu bytes at 0x%llx does not fit into guest memory",
		    machine->payload.len, (unsigned long long)machine->payload_gpa);
	return 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type)
{
	const bool code = type == TYPE_CODE;
	return (struct kvm_segment){
	    .limit = 0xffffffff,
	    .selector = selector,
	    .type = type,
	    .present = 1,
	    .db = !code,
	    .s = 1,
	    .l = code,
	    .g = 1,
	};
}

/* 64-bit mode with the tables that pv_boot_write made. */
static void enter_long_mode(const struct pv_boot_entry *entry, struct kvm_sregs *sregs)
{
	sregs->cs = segment(entry->code_selector, TYPE_CODE);
	sregs->ds = segment(entry->data_selector, TYPE_DATA);
	sregs->es = sregs->fs = sregs->gs = sregs->ss = sregs->ds;
	sregs->gdt.base = entry->gdt_base;
	sregs->gdt.limit = entry->gdt_limit;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
	sregs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	sregs->cr3 = entry->cr3;
	sregs->cr4 = CR4_PAE;
	sregs->efer = EFER_LME | EFER_LMA;
}

/* Real mode with all segments at the payload, which begins at offset 0. */
static void enter_real_mode(uint64_t gpa, struct kvm_sregs *sregs)
{
	sregs->cs.base = gpa;
	sregs->cs.selector = (uint16_t)(gpa >> 4);
	sregs->ds.base = gpa;
	sregs->ds.selector = (uint16_t)(gpa >> 4);
	sregs->es = sregs->ss = sregs->ds;
}

static int set_vcpu(const struct pv_machine *machine, const struct pv_kvm_vm *vm, unsigned index,
    struct pv_err *err)
{
	const int fd = vm->vcpus[index].fd;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rflags = RFLAGS_ONE};
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return pv_err_system(err, errno, "vCPU %u: KVM_GET_SREGS", index);
	if (machine->kernel) {
		enter_long_mode(&machine->entry, &sregs);
		regs.rip = machine->entry.rip;
		regs.rsi = machine->entry.rsi;
		regs.rsp = machine->entry.rsp;
	} else {
		enter_real_mode(machine->payload_gpa, &sregs);
		regs.rdi = index;
	}
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		return pv_err_system(err, errno, "vCPU %u: KVM refuses its start state", index);
	if (ioctl(fd, KVM_SET_REGS, &regs) < 0)
		return pv_err_system(err, errno, "vCPU %u: KVM_SET_REGS", index);
	return 0;
}

int pv_machine_set_waking(const struct pv_kvm_vm *vm, uint32_t address, struct pv_err *err)
{
	const int fd = vm->vcpus[0].fd;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rflags = RFLAGS_ONE, .rip = address & 0xf};
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return pv_err_system(err, errno, "vCPU 0: KVM_GET_SREGS");
	sregs.cs.selector = (uint16_t)(address >> 4);
	sregs.cs.base = (uint64_t)sregs.cs.selector << 4;
	/* Firmware has turned the caches on by then. */
	sregs.cr0 = CR0_ET;
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
		return pv_err_system(err, errno, "vCPU 0: KVM refuses the state to wake up in");
	return 0;
}

int pv_machine_set_entry(
    const struct pv_machine *machine, const struct pv_kvm_vm *vm, struct pv_err *err)
{
	/* Without a local APIC nobody could start the others, so all begin at once. */
	const unsigned count = vm->irqchip ? 1 : vm->cpus;
	for (unsigned i = 0; i < count; i++) {
		int code = set_vcpu(machine, vm, i, err);
		if (code < 0)
			return code;
	}
	return 0;
}
