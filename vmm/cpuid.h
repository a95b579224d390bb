/*
 * CPUID of the guest: what KVM supports here, with the topology of this machine put in.
 */
#ifndef PV_VMM_CPUID_H
#define PV_VMM_CPUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kvm_cpuid2;
struct pv_err;
struct pv_kvm;
struct pv_pack;

/* What differs between vCPUs and machines. */
struct pv_cpuid_config {
	unsigned index;	   /* of the vCPU; its APIC id too */
	unsigned cpus;	   /* in one package, one thread a core */
	uint32_t tsc_khz;  /* 0 = not known */
	bool tsc_deadline; /* the in-kernel local APIC has the deadline timer */
};

/* Puts `config` into `cpuid`, which has room for `capacity` entries. Pure; for tests too. */
void pv_cpuid_adjust(
    struct kvm_cpuid2 *cpuid, unsigned capacity, const struct pv_cpuid_config *config);

/* Sets CPUID of a new vCPU. Returns 0 or -errno. */
int pv_cpuid_install(
    const struct pv_kvm *kvm, int vcpu_fd, unsigned index, unsigned cpus, struct pv_err *err);

/*
 * What a guest with `cpus` vCPUs here finds in CPUID, as one msgpack value, and whether `saved` is
 * still the same (-ENOTSUP): a guest that found features cannot do without them. The frequencies
 * are not part of it. Returns 0 or -errno.
 */
int pv_cpuid_save(
    const struct pv_kvm *kvm, unsigned cpus, struct pv_pack *pack, struct pv_err *err);
int pv_cpuid_check(
    const struct pv_kvm *kvm, unsigned cpus, const void *saved, size_t size, struct pv_err *err);

#endif
