/*
 * /dev/kvm: opened once per process, checked, and explained when it is missing.
 *
 * What is asked of it is checked here once, so that the rest of the machine calls it without
 * "maybe": user memory slots, the in-kernel interrupt controllers, ioeventfd, KVM_SIGNAL_MSI,
 * immediate_exit. Linux has had all of them since 4.12. What is optional is kept as a flag.
 *
 * Linux: Documentation/virt/kvm/api.rst. Called on any thread; the result is constant.
 */
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/ram.h"
#include "vmm/reap.h"
#include "vmm/spare.h"

#define DEVICE "/dev/kvm"
/* KVM refuses more entries than this itself. */
#define CPUID_ENTRIES_MAX 256

struct need {
	int capability;
	const char *name;
};

static const struct need NEEDS[] = {
    {KVM_CAP_USER_MEMORY,	  "KVM_CAP_USER_MEMORY"   },
    {KVM_CAP_IRQCHIP,	      "KVM_CAP_IRQCHIP"       },
    {KVM_CAP_PIT2,	   "KVM_CAP_PIT2"		 },
    {KVM_CAP_IOEVENTFD,	"KVM_CAP_IOEVENTFD"	   },
    {KVM_CAP_SIGNAL_MSI,	 "KVM_CAP_SIGNAL_MSI"    },
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_EXT_CPUID,	"KVM_CAP_EXT_CPUID"	   },
    {KVM_CAP_SET_TSS_ADDR,   "KVM_CAP_SET_TSS_ADDR"	 },
};

static bool has(const struct pv_kvm *kvm, int capability)
{
	return ioctl(kvm->fd, KVM_CHECK_EXTENSION, capability) > 0;
}

/* Of those whose value is a size. */
static unsigned size_of(const struct pv_kvm *kvm, int capability)
{
	int size = ioctl(kvm->fd, KVM_CHECK_EXTENSION, capability);
	return size > 0 ? (unsigned)size : 0;
}

static enum pv_kvm_backend find_backend(void)
{
	if (access("/sys/module/kvm_intel", F_OK) == 0 || access("/sys/module/kvm_amd", F_OK) == 0)
		return PV_KVM_HARDWARE;
	if (access("/sys/module/kvm_pvm", F_OK) == 0)
		return PV_KVM_EMULATED;
	return PV_KVM_UNSURE;
}

static int explain_open(int code, struct pv_err *err)
{
	switch (code) {
	case ENOENT:
		return pv_err_set(err, PV_ERR_SYSTEM, code,
		    DEVICE ": not there; load the module kvm_intel or kvm_amd and enable "
			   "virtualization in the firmware, or in the hypervisor when this is a "
			   "virtual machine (nested virtualization)");
	case EACCES:
	case EPERM:
		return pv_err_set(err, PV_ERR_SYSTEM, code,
		    DEVICE ": permission denied; add yourself to the group that owns it (`sudo "
			   "usermod -aG kvm $USER`, then log in again)");
	case ENODEV:
	case ENXIO:
		return pv_err_set(err, PV_ERR_SYSTEM, code,
		    DEVICE ": there is a device node but no KVM behind it; load the module "
			   "kvm_intel or kvm_amd");
	default: return pv_err_system(err, code, DEVICE ": cannot be opened");
	}
}

static int check(const struct pv_kvm *kvm, struct pv_err *err)
{
	int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return pv_err_system(err, errno, DEVICE ": does not answer like KVM");
	if (version != KVM_API_VERSION)
		return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
		    DEVICE ": API version `%d` instead of `%d`; use Linux 4.12 or newer", version,
		    KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(NEEDS) / sizeof(NEEDS[0]); i++) {
		if (!has(kvm, NEEDS[i].capability))
			return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
			    DEVICE ": lacks `%s`; use Linux 4.12 or newer", NEEDS[i].name);
	}
	return 0;
}

static int ask_cpuid(struct pv_kvm *kvm, struct pv_err *err)
{
	struct kvm_cpuid2 *cpuid =
	    calloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return pv_err_nomem(err, "CPUID of KVM");
	cpuid->nent = CPUID_ENTRIES_MAX;
	if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
		int code = errno;
		free(cpuid);
		return pv_err_system(err, code, DEVICE ": does not tell the CPUID it supports");
	}
	kvm->cpuid = cpuid;
	return 0;
}

int pv_kvm_open(struct pv_kvm *kvm, struct pv_err *err)
{
	*kvm = (struct pv_kvm){.fd = -1, .ram_pool = -1};
	do {
		kvm->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	} while (kvm->fd < 0 && errno == EINTR);
	if (kvm->fd < 0)
		return explain_open(errno, err);

	int code = check(kvm, err);
	if (code < 0)
		goto fail;
	kvm->vcpu_mmap_size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (kvm->vcpu_mmap_size < (int)sizeof(struct kvm_run)) {
		code = pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
		    DEVICE ": vCPU area of %d bytes is too small; use Linux 4.12 or newer",
		    kvm->vcpu_mmap_size);
		goto fail;
	}
	int vcpus = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	kvm->max_vcpus = vcpus > 0 ? (unsigned)vcpus : 1;
	kvm->has_immediate_exit = true;
	kvm->has_user_msr =
	    has(kvm, KVM_CAP_X86_USER_SPACE_MSR) && has(kvm, KVM_CAP_X86_MSR_FILTER);
	if (has(kvm, KVM_CAP_COALESCED_PIO))
		kvm->coalesced_page = size_of(kvm, KVM_CAP_COALESCED_MMIO);
	kvm->xsave_size = size_of(kvm, KVM_CAP_XSAVE2);
	kvm->nested_size = size_of(kvm, KVM_CAP_NESTED_STATE);
	kvm->backend = find_backend();
	code = ask_cpuid(kvm, err);
	if (code < 0)
		goto fail;
	kvm->ram_pool = pv_ram_open_pool();
	kvm->reaper = pv_reaper_create();
	kvm->spares = pv_spare_pool_create();
	if (!kvm->reaper || !kvm->spares) {
		code = pv_err_nomem(err, "KVM");
		goto fail;
	}
	return 0;

fail:
	pv_kvm_close(kvm);
	return code;
}

void pv_kvm_close(struct pv_kvm *kvm)
{
	if (!kvm)
		return;
	pv_spare_pool_destroy(kvm->spares, kvm->reaper);
	pv_reaper_destroy(kvm->reaper);
	free(kvm->cpuid);
	free(kvm->msrs);
	/* A zeroed object was never opened: its 0 is not ours. */
	if (kvm->vcpu_mmap_size > 0 || kvm->fd > 0) {
		pv_fd_close(&kvm->ram_pool);
		pv_fd_close(&kvm->fd);
	}
	*kvm = (struct pv_kvm){.fd = -1, .ram_pool = -1};
}

int pv_kvm_require_hardware(const struct pv_kvm *kvm, struct pv_err *err)
{
	if (kvm->backend != PV_KVM_EMULATED)
		return 0;
	return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
	    DEVICE ": this KVM (module kvm_pvm) has no hardware virtualization under it, so it "
		   "cannot run a guest kernel; use a host with kvm_intel or kvm_amd");
}
