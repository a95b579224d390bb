/*
 * CPUID of the guest.
 *
 * KVM_GET_SUPPORTED_CPUID copies much of what it returns from the host CPU that it ran on: APIC
 * ids, core counts, cache sharing. All of that is overwritten with the machine's own topology: one
 * package, `cpus` cores, one thread a core, APIC id = index. The paravirtual leaves at 0x40000000
 * come from KVM; asynchronous page faults are taken out, because guest memory is never paged in
 * from a disk and their half-done state would have to be part of every snapshot.
 *
 * Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; Linux:
 * Documentation/virt/kvm/x86/cpuid.rst. Runs on the thread that builds the machine.
 */
#include "vmm/cpuid.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "base/pack.h"
#include "vmm/kvm.h"

/* Leaves that we add when KVM does not list them. */
#define EXTRA_ENTRIES 8
#define ENTRIES_MAX   512

/* Leaf 1. */
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR	 (1u << 31)
#define EDX_HTT		 (1u << 28)
/* Leaf 0x80000001. */
#define ECX_CMP_LEGACY (1u << 1)

/* Level types of leaves 0xb and 0x1f. */
#define LEVEL_SMT  1u
#define LEVEL_CORE 2u

#define TIMING_LEAF 0x40000010u

/* Number of bits in which `count` different ids fit. */
static unsigned id_bits(unsigned count)
{
	unsigned bits = 0;
	while ((1u << bits) < count)
		bits++;
	return bits;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		if (entry->function != function)
			continue;
		if (!(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || entry->index == index)
			return entry;
	}
	return NULL;
}

static struct kvm_cpuid_entry2 *find_or_add(
    struct kvm_cpuid2 *cpuid, unsigned capacity, uint32_t function, uint32_t index, uint32_t flags)
{
	struct kvm_cpuid_entry2 *entry = find(cpuid, function, index);
	if (entry || cpuid->nent >= capacity)
		return entry;
	entry = &cpuid->entries[cpuid->nent++];
	*entry = (struct kvm_cpuid_entry2){.function = function, .index = index, .flags = flags};
	return entry;
}

static void adjust_features(struct kvm_cpuid_entry2 *entry, const struct pv_cpuid_config *config)
{
	/* 31:24 initial APIC id, 23:16 ids in the package; 15:0 stay. */
	uint32_t ids = 1u << id_bits(config->cpus);
	entry->ebx = (entry->ebx & 0xffffu) | (ids & 0xffu) << 16 | config->index << 24;
	entry->ecx |= ECX_HYPERVISOR;
	if (config->tsc_deadline)
		entry->ecx |= ECX_TSC_DEADLINE;
	entry->edx = config->cpus > 1 ? entry->edx | EDX_HTT : entry->edx & ~EDX_HTT;
}

/*
 * Deterministic cache parameters (4 and 0x8000001d): caches of level 1 and 2 belong to a core, the
 * others to the package. 25:14 threads that share, 31:26 cores in the package (leaf 4 only).
 */
static void adjust_cache(struct kvm_cpuid_entry2 *entry, const struct pv_cpuid_config *config)
{
	uint32_t level = entry->eax >> 5 & 7u;
	if ((entry->eax & 0x1fu) == 0)
		return;
	uint32_t sharing = level >= 3 ? (1u << id_bits(config->cpus)) - 1 : 0;
	entry->eax = (entry->eax & 0x3fffu) | sharing << 14;
	if (entry->function == 4)
		entry->eax |= (((1u << id_bits(config->cpus)) - 1) & 0x3fu) << 26;
}

/* Extended topology (0xb, 0x1f): level 0 threads of a core, level 1 cores of the package. */
static void set_topology(struct kvm_cpuid2 *cpuid, unsigned capacity, uint32_t function,
    const struct pv_cpuid_config *config)
{
	for (uint32_t level = 0; level < 3; level++) {
		struct kvm_cpuid_entry2 *entry =
		    find_or_add(cpuid, capacity, function, level, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
		if (!entry)
			return;
		entry->eax = level == 1 ? id_bits(config->cpus) : 0;
		entry->ebx = level == 0 ? 1 : level == 1 ? config->cpus : 0;
		entry->ecx = level;
		if (level < 2)
			entry->ecx |= (level == 0 ? LEVEL_SMT : LEVEL_CORE) << 8;
		entry->edx = config->index;
	}
}

/* Leaves whose core counts only AMD (and Hygon, which copies it) defines; reserved with Intel. */
static void adjust_amd_entry(struct kvm_cpuid_entry2 *entry, const struct pv_cpuid_config *config)
{
	switch (entry->function) {
	case 0x80000001:
		entry->ecx &= ~ECX_CMP_LEGACY;
		if (config->cpus > 1)
			entry->ecx |= ECX_CMP_LEGACY;
		break;
	case 0x80000008:
		/* 7:0 cores - 1, 15:12 bits of a core's id. */
		entry->ecx = (config->cpus - 1) | id_bits(config->cpus) << 12;
		break;
	case 0x8000001e:
		entry->eax = config->index; /* extended APIC id */
		entry->ebx = config->index; /* core id, 15:8 threads a core - 1 */
		entry->ecx = 0;		    /* one node */
		break;
	default: break;
	}
}

static bool is_amd(struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *vendor = find(cpuid, 0, 0);
	/* EBX: "Auth"enticAMD, "Hygo"nGenuine. */
	return vendor && (vendor->ebx == 0x68747541u || vendor->ebx == 0x6f677948u);
}

static void adjust_entry(struct kvm_cpuid_entry2 *entry, const struct pv_cpuid_config *config)
{
	switch (entry->function) {
	case 1: adjust_features(entry, config); break;
	case 4:
	case 0x8000001d: adjust_cache(entry, config); break;
	case KVM_CPUID_FEATURES:
		entry->eax &= ~(1u << KVM_FEATURE_ASYNC_PF | 1u << KVM_FEATURE_ASYNC_PF_VMEXIT |
				1u << KVM_FEATURE_ASYNC_PF_INT);
		break;
	default: break;
	}
}

void pv_cpuid_adjust(
    struct kvm_cpuid2 *cpuid, unsigned capacity, const struct pv_cpuid_config *config)
{
	const bool amd = is_amd(cpuid);
	for (unsigned i = 0; i < cpuid->nent; i++) {
		adjust_entry(&cpuid->entries[i], config);
		if (amd)
			adjust_amd_entry(&cpuid->entries[i], config);
	}
	const struct kvm_cpuid_entry2 *first = find(cpuid, 0, 0);
	if (first && first->eax >= 0xb)
		set_topology(cpuid, capacity, 0xb, config);
	if (first && first->eax >= 0x1f)
		set_topology(cpuid, capacity, 0x1f, config);

	/* The timing leaf of other hypervisors: eax = TSC, ebx = APIC bus clock, in kHz. */
	struct kvm_cpuid_entry2 *base = find(cpuid, KVM_CPUID_SIGNATURE, 0);
	if (!base || config->tsc_khz == 0)
		return;
	struct kvm_cpuid_entry2 *timing = find_or_add(cpuid, capacity, TIMING_LEAF, 0, 0);
	if (!timing)
		return;
	timing->eax = config->tsc_khz;
	timing->ebx = 1000000; /* KVM's local APIC counts nanoseconds */
	base = find(cpuid, KVM_CPUID_SIGNATURE, 0);
	if (base->eax < TIMING_LEAF)
		base->eax = TIMING_LEAF;
}

/* The CPUID of a vCPU of a machine here, to be freed. */
static int build(struct kvm_cpuid2 **out, const struct pv_kvm *kvm, uint32_t tsc_khz,
    unsigned index, unsigned cpus, struct pv_err *err)
{
	unsigned supported = kvm->cpuid->nent;
	unsigned capacity = supported + EXTRA_ENTRIES;
	if (supported > ENTRIES_MAX)
		return pv_err_set(err, PV_ERR_SYSTEM, E2BIG, "KVM lists too many CPUID leaves");
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + capacity * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return pv_err_nomem(err, "CPUID");
	memcpy(cpuid, kvm->cpuid, sizeof(*cpuid) + supported * sizeof(cpuid->entries[0]));
	struct pv_cpuid_config config = {
	    .index = index,
	    .cpus = cpus,
	    .tsc_khz = tsc_khz,
	    .tsc_deadline = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	};
	pv_cpuid_adjust(cpuid, capacity, &config);
	*out = cpuid;
	return 0;
}

int pv_cpuid_install(
    const struct pv_kvm *kvm, int vcpu_fd, unsigned index, unsigned cpus, struct pv_err *err)
{
	struct kvm_cpuid2 *cpuid;
	int khz = ioctl(vcpu_fd, KVM_GET_TSC_KHZ, 0);
	int code = build(&cpuid, kvm, khz > 0 ? (uint32_t)khz : 0, index, cpus, err);
	if (code < 0)
		return code;
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid) < 0)
		code = pv_err_system(err, errno, "vCPU %u: KVM refuses CPUID", index);
	free(cpuid);
	return code;
}

int pv_cpuid_save(const struct pv_kvm *kvm, unsigned cpus, struct pv_pack *pack, struct pv_err *err)
{
	struct kvm_cpuid2 *cpuid;
	int code = build(&cpuid, kvm, 0, 0, cpus, err);
	if (code < 0)
		return code;
	pv_pack_bin(pack, cpuid->entries, cpuid->nent * sizeof(cpuid->entries[0]));
	free(cpuid);
	return 0;
}

int pv_cpuid_check(
    const struct pv_kvm *kvm, unsigned cpus, const void *saved, size_t size, struct pv_err *err)
{
	struct kvm_cpuid2 *cpuid;
	int code = build(&cpuid, kvm, 0, 0, cpus, err);
	if (code < 0)
		return code;
	const uint8_t *before = saved; /* not aligned */
	const size_t count = size / sizeof(cpuid->entries[0]);
	for (size_t i = 0; i < count || i < cpuid->nent; i++) {
		if (i < count && i < cpuid->nent &&
		    memcmp(before + i * sizeof(cpuid->entries[0]), &cpuid->entries[i],
			sizeof(cpuid->entries[0])) == 0)
			continue;
		struct kvm_cpuid_entry2 leaf = cpuid->entries[i < cpuid->nent ? i : 0];
		code = pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "it was made on another processor or another version of KVM (CPUID leaf 0x%x "
		    "differs); make it anew on this host",
		    leaf.function);
		break;
	}
	free(cpuid);
	return code;
}
