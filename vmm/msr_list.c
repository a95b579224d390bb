/*
 * The MSRs to save.
 *
 * KVM_GET_MSR_INDEX_LIST is not the whole truth: MTRRs and IA32_XSS (without which the FPU state of
 * processes is lost) are missing in it on some kernels, and it holds some that cannot be read, like
 * MCG_CTL or performance counters of a hidden PMU. So candidates are tried once on a real vCPU:
 * KVM_GET_MSRS stops at the first that it refuses, which is dropped.
 *
 * Not among them: those of Hyper-V, which our guests are not offered and some of which run with the
 * host's time; TSC and TSC deadline, which vmm/guest_clock.c keeps, and the wall clock MSRs,
 * since writing one makes KVM put the host's time into guest memory.
 *
 * Intel SDM volume 4; Linux: Documentation/virt/kvm/x86/msr.rst.
 */
#include "vmm/msr_list.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "vmm/kvm.h"

#define MSR_IA32_TSC	      0x10u
#define MSR_IA32_TSC_DEADLINE 0x6e0u
#define MSR_HYPER_V_FIRST     0x40000000u
#define MSR_HYPER_V_LAST      0x400001ffu
#define MSR_MTRR_FIRST	      0x200u /* eight pairs of base and mask */
#define MSR_MTRR_LAST	      0x20fu
#define MSR_MTRR_FIX_4K_FIRST 0x268u
#define MSR_MTRR_FIX_4K_LAST  0x26fu

static const uint32_t FORGOTTEN[] = {
    0x250, /* MTRRfix64K_00000 */
    0x258, /* MTRRfix16K_80000 */
    0x259, /* MTRRfix16K_A0000 */
    0x277, /* PAT */
    0x2ff, /* MTRRdefType */
    0xda0, /* XSS */
    MSR_KVM_SYSTEM_TIME,
    MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_ASYNC_PF_EN,
    MSR_KVM_STEAL_TIME,
    MSR_KVM_PV_EOI_EN,
    MSR_KVM_POLL_CONTROL,
    MSR_KVM_ASYNC_PF_INT,
};

static bool is_unwanted(uint32_t index)
{
	if (index >= MSR_HYPER_V_FIRST && index <= MSR_HYPER_V_LAST)
		return true;
	switch (index) {
	case MSR_IA32_TSC:
	case MSR_IA32_TSC_DEADLINE:
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW: return true;
	default: return false;
	}
}

static void add(struct pv_msr_list *list, uint32_t index)
{
	if (is_unwanted(index) || list->count >= PV_MSR_LIST_MAX)
		return;
	for (unsigned i = 0; i < list->count; i++) {
		if (list->indices[i] == index)
			return;
	}
	list->indices[list->count++] = index;
}

static int add_candidates(const struct pv_kvm *kvm, struct pv_msr_list *list, struct pv_err *err)
{
	struct kvm_msr_list *known =
	    calloc(1, sizeof(*known) + PV_MSR_LIST_MAX * sizeof(known->indices[0]));
	if (!known)
		return pv_err_nomem(err, "list of MSRs");
	known->nmsrs = PV_MSR_LIST_MAX;
	if (ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, known) < 0) {
		int code = pv_err_system(err, errno, "KVM does not list the MSRs it keeps");
		free(known);
		return code;
	}
	for (unsigned i = 0; i < known->nmsrs; i++)
		add(list, known->indices[i]);
	free(known);
	for (uint32_t index = MSR_MTRR_FIRST; index <= MSR_MTRR_LAST; index++)
		add(list, index);
	for (uint32_t index = MSR_MTRR_FIX_4K_FIRST; index <= MSR_MTRR_FIX_4K_LAST; index++)
		add(list, index);
	for (size_t i = 0; i < sizeof(FORGOTTEN) / sizeof(FORGOTTEN[0]); i++)
		add(list, FORGOTTEN[i]);
	return 0;
}

/* Drops those that cannot be read. */
static int try_all(int vcpu_fd, struct pv_msr_list *list, struct pv_err *err)
{
	struct kvm_msrs *msrs =
	    calloc(1, sizeof(*msrs) + PV_MSR_LIST_MAX * sizeof(msrs->entries[0]));
	if (!msrs)
		return pv_err_nomem(err, "list of MSRs");
	unsigned good = 0;
	while (good < list->count) {
		msrs->nmsrs = list->count - good;
		for (unsigned i = 0; i < msrs->nmsrs; i++)
			msrs->entries[i].index = list->indices[good + i];
		int got = ioctl(vcpu_fd, KVM_GET_MSRS, msrs);
		if (got < 0) {
			int code = pv_err_system(err, errno, "KVM_GET_MSRS");
			free(msrs);
			return code;
		}
		good += (unsigned)got;
		if (good >= list->count)
			break;
		list->count--;
		memmove(&list->indices[good], &list->indices[good + 1],
		    (list->count - good) * sizeof(list->indices[0]));
	}
	free(msrs);
	return 0;
}

int pv_msr_list_get(
    struct pv_kvm *kvm, int vcpu_fd, const struct pv_msr_list **out, struct pv_err *err)
{
	struct pv_msr_list *there = __atomic_load_n(&kvm->msrs, __ATOMIC_ACQUIRE);
	*out = there;
	if (there)
		return 0;
	struct pv_msr_list *list = calloc(1, sizeof(*list));
	if (!list)
		return pv_err_nomem(err, "list of MSRs");
	int code = add_candidates(kvm, list, err);
	if (code == 0)
		code = try_all(vcpu_fd, list, err);
	if (code < 0) {
		free(list);
		return code;
	}
	if (!__atomic_compare_exchange_n(
		&kvm->msrs, &there, list, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		free(list);
		list = there;
	}
	*out = list;
	return 0;
}
