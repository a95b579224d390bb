/*
 * The state of a vCPU, in and out of KVM.
 *
 * Both orders are meant as they stand. Out: the run state first, since asking for it may accept a
 * pending INIT or start-up interrupt and change the local APIC; the local APIC before MSRs; events
 * last, since the other calls may change them. In: system registers before the local APIC (they
 * hold its base) and before FPU state; the local APIC before MSRs that need a live one; general
 * registers before events, because setting them clears pending exceptions.
 *
 * Time is not here. TSC, TSC deadline and the counts of the local APIC's timer stand still while a
 * machine is paused and are set when it goes on, by vmm/guest_clock.c: a timer that is loaded here
 * would start to run.
 *
 * All on the thread that saves or restores, while no vCPU runs. Linux:
 * Documentation/virt/kvm/api.rst.
 */
#include "vmm/vcpu_state.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "vmm/kvm.h"
#include "vmm/kvm_vm.h"

#define XSAVE_MIN 4096u

/* Offsets in the register page of a local APIC. */
#define APIC_TMICT 0x380u
#define APIC_TMCCT 0x390u

static int get(
    int fd, unsigned long request, void *out, unsigned index, const char *name, struct pv_err *err)
{
	if (ioctl(fd, request, out) < 0)
		return pv_err_system(err, errno, "vCPU %u: %s", index, name);
	return 0;
}

#define GET(request, out) get(fd, request, out, index, #request, err)
/* KVM reads only, but ioctl has no const. */
#define SET(request, in) get(fd, request, (void *)(uintptr_t)(in), index, #request, err)

static int save_xsave(struct pv_vcpu_state *state, const struct pv_kvm *kvm, int fd, unsigned index,
    struct pv_err *err)
{
	if (kvm->xsave_size > PV_VCPU_STATE_XSAVE_MAX)
		return pv_err_set(err, PV_ERR_SYSTEM, E2BIG,
		    "vCPU %u: this processor has %u bytes of FPU state, more than the %u that can "
		    "be "
		    "saved",
		    index, kvm->xsave_size, PV_VCPU_STATE_XSAVE_MAX);
	if (kvm->xsave_size <= XSAVE_MIN) {
		state->xsave_size = XSAVE_MIN;
		return GET(KVM_GET_XSAVE, state->xsave);
	}
	state->xsave_size = kvm->xsave_size;
	return GET(KVM_GET_XSAVE2, state->xsave);
}

static int save_msrs(
    struct pv_vcpu_state *state, struct pv_kvm *kvm, int fd, unsigned index, struct pv_err *err)
{
	const struct pv_msr_list *list;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[PV_MSR_LIST_MAX];
	} msrs;
	int code = pv_msr_list_get(kvm, fd, &list, err);
	if (code < 0)
		return code;
	msrs.head = (struct kvm_msrs){.nmsrs = list->count};
	for (unsigned i = 0; i < list->count; i++)
		msrs.entries[i] = (struct kvm_msr_entry){.index = list->indices[i]};
	int got = ioctl(fd, KVM_GET_MSRS, &msrs);
	if (got < 0)
		return pv_err_system(err, errno, "vCPU %u: KVM_GET_MSRS", index);
	if ((unsigned)got != list->count)
		return pv_err_set(err, PV_ERR_SYSTEM, EIO,
		    "vCPU %u: KVM does not tell MSR 0x%x any more", index, list->indices[got]);
	state->msr_count = list->count;
	memcpy(state->msrs, msrs.entries, list->count * sizeof(state->msrs[0]));
	return 0;
}

static int save_nested(struct pv_vcpu_state *state, const struct pv_kvm *kvm, int fd,
    unsigned index, struct pv_err *err)
{
	struct kvm_nested_state *nested = (struct kvm_nested_state *)state->nested;
	if (kvm->nested_size == 0)
		return 0;
	*nested = (struct kvm_nested_state){.size = sizeof(state->nested)};
	int code = GET(KVM_GET_NESTED_STATE, nested);
	if (code == 0 && nested->size <= sizeof(state->nested))
		state->nested_size = nested->size;
	return code;
}

int pv_vcpu_state_save(struct pv_vcpu_state *state, struct pv_kvm *kvm, const struct pv_kvm_vm *vm,
    unsigned index, struct pv_err *err)
{
	const int fd = vm->vcpus[index].fd;
	memset(state, 0, sizeof(*state));
	int code = 0;
	if (vm->irqchip)
		code = GET(KVM_GET_MP_STATE, &state->mp);
	if (code == 0)
		code = GET(KVM_GET_REGS, &state->regs);
	if (code == 0)
		code = GET(KVM_GET_SREGS, &state->sregs);
	if (code == 0)
		code = save_xsave(state, kvm, fd, index, err);
	if (code == 0)
		code = GET(KVM_GET_XCRS, &state->xcrs);
	if (code == 0)
		code = GET(KVM_GET_DEBUGREGS, &state->debug);
	if (code == 0 && vm->irqchip)
		code = GET(KVM_GET_LAPIC, &state->lapic);
	if (code == 0)
		code = save_msrs(state, kvm, fd, index, err);
	if (code == 0)
		code = save_nested(state, kvm, fd, index, err);
	if (code == 0)
		code = GET(KVM_GET_VCPU_EVENTS, &state->events);
	pv_put_le32(state->lapic.regs + APIC_TMICT, 0);
	pv_put_le32(state->lapic.regs + APIC_TMCCT, 0);
	return code;
}

/* True when the MSR has that value already, so that nothing is lost by not setting it. */
static bool has_value(int fd, const struct kvm_msr_entry *entry)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[1];
	} now = {.head.nmsrs = 1, .entries = {{.index = entry->index}}};
	return ioctl(fd, KVM_GET_MSRS, &now) == 1 && now.entries[0].data == entry->data;
}

static int load_msrs(const struct pv_vcpu_state *state, int fd, unsigned index, struct pv_err *err)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[PV_MSR_LIST_MAX];
	} msrs;
	unsigned done = 0;
	while (done < state->msr_count) {
		msrs.head = (struct kvm_msrs){.nmsrs = state->msr_count - done};
		memcpy(msrs.entries, &state->msrs[done], msrs.head.nmsrs * sizeof(msrs.entries[0]));
		int set = ioctl(fd, KVM_SET_MSRS, &msrs);
		if (set < 0)
			return pv_err_system(err, errno, "vCPU %u: KVM_SET_MSRS", index);
		done += (unsigned)set;
		if (done >= state->msr_count)
			break;
		/* Some may be read but not written, which does no harm while they are the same. */
		const struct kvm_msr_entry *refused = &state->msrs[done];
		if (!has_value(fd, refused))
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "vCPU %u: KVM refuses the value 0x%llx of MSR 0x%x", index,
			    (unsigned long long)refused->data, refused->index);
		done++;
	}
	return 0;
}

static int load_xsave(const struct pv_vcpu_state *state, const struct pv_kvm *kvm, int fd,
    unsigned index, struct pv_err *err)
{
	const uint32_t size = kvm->xsave_size > XSAVE_MIN ? kvm->xsave_size : XSAVE_MIN;
	/* `xsave` is zero behind what was saved, which is what larger hosts take for absent. */
	for (uint32_t i = size; i < state->xsave_size; i++) {
		if (state->xsave[i])
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "vCPU %u: %u bytes of FPU state, and this host has room for %u", index,
			    state->xsave_size, size);
	}
	if (size > PV_VCPU_STATE_XSAVE_MAX)
		return pv_err_set(err, PV_ERR_SYSTEM, E2BIG,
		    "vCPU %u: this processor has too much FPU state to load", index);
	return SET(KVM_SET_XSAVE, state->xsave);
}

/* What an older kernel does with an exception whose payload it cannot take: it is on its way. */
static void settle_exception(struct kvm_vcpu_events *events)
{
	events->flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_PAYLOAD;
	events->exception.injected |= events->exception.pending;
	events->exception.pending = 0;
}

/*
 * Events are set to the last one, also to "none" of those that the saved ones do not mention: a
 * vCPU that is rewound may just have faulted.
 */
static int load_events(const struct pv_vcpu_state *state, const struct pv_kvm_vm *vm,
    unsigned index, struct pv_err *err)
{
	const int fd = vm->vcpus[index].fd;
	struct kvm_vcpu_events events = state->events;
	const bool faulted =
	    (events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && events.triple_fault.pending;
	const bool has_payload = (events.flags & KVM_VCPUEVENT_VALID_PAYLOAD) &&
				 events.exception.pending && events.exception_has_payload;
	if ((faulted && !(vm->event_flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)) ||
	    (has_payload && !(vm->event_flags & KVM_VCPUEVENT_VALID_PAYLOAD)))
		return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
		    "vCPU %u: it had just faulted, which this kernel cannot be told; restore on "
		    "Linux 6.1 or newer",
		    index);
	if (!(vm->event_flags & KVM_VCPUEVENT_VALID_PAYLOAD))
		settle_exception(&events);
	events.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	events.flags |= vm->event_flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	events.triple_fault.pending = faulted;
	return SET(KVM_SET_VCPU_EVENTS, &events);
}

int pv_vcpu_state_load(const struct pv_vcpu_state *state, const struct pv_kvm_vm *vm,
    unsigned index, struct pv_err *err)
{
	const int fd = vm->vcpus[index].fd;
	int code = 0;
	if (vm->irqchip)
		code = SET(KVM_SET_MP_STATE, &state->mp);
	if (code == 0)
		code = SET(KVM_SET_REGS, &state->regs);
	if (code == 0)
		code = SET(KVM_SET_SREGS, &state->sregs);
	if (code == 0 && state->nested_size > 0)
		code = SET(KVM_SET_NESTED_STATE, state->nested);
	if (code == 0)
		code = load_xsave(state, vm->kvm, fd, index, err);
	if (code == 0)
		code = SET(KVM_SET_XCRS, &state->xcrs);
	if (code == 0)
		code = SET(KVM_SET_DEBUGREGS, &state->debug);
	if (code == 0 && vm->irqchip)
		code = SET(KVM_SET_LAPIC, &state->lapic);
	if (code == 0)
		code = load_msrs(state, fd, index, err);
	return code == 0 ? load_events(state, vm, index, err) : code;
}

/* The parts whose size is fixed. */
static const struct part {
	const char *key;
	size_t offset;
	size_t size;
} PARTS[] = {
#define PART(key, member)                                          \
	{                                                          \
		key, offsetof(struct pv_vcpu_state, member),       \
		    sizeof(((struct pv_vcpu_state *)NULL)->member) \
	}
    PART("mp", mp),
    PART("regs", regs),
    PART("sregs", sregs),
    PART("xcrs", xcrs),
    PART("debug", debug),
    PART("events", events),
    PART("lapic", lapic),
#undef PART
};

#define PART_COUNT (sizeof(PARTS) / sizeof(PARTS[0]))

void pv_vcpu_state_pack(const struct pv_vcpu_state *state, struct pv_pack *pack)
{
	pv_pack_map(pack, PART_COUNT + 3);
	for (size_t i = 0; i < PART_COUNT; i++) {
		pv_pack_str(pack, PARTS[i].key);
		pv_pack_bin(pack, (const uint8_t *)state + PARTS[i].offset, PARTS[i].size);
	}
	pv_pack_str(pack, "xsave");
	pv_pack_bin(pack, state->xsave, state->xsave_size);
	pv_pack_str(pack, "nested");
	pv_pack_bin(pack, state->nested, state->nested_size);
	pv_pack_str(pack, "msrs");
	pv_pack_bin(pack, state->msrs, state->msr_count * sizeof(state->msrs[0]));
}

static void take_msrs(struct pv_vcpu_state *state, struct pv_fields *fields)
{
	size_t size;
	const void *data = pv_fields_bytes(fields, "msrs", sizeof(state->msrs), &size);
	if (size % sizeof(state->msrs[0]) != 0)
		pv_fields_fail(fields, "field `msrs` has %zu bytes, no whole entries", size);
	if (fields->status < 0)
		return;
	memcpy(state->msrs, data, size);
	state->msr_count = (uint32_t)(size / sizeof(state->msrs[0]));
}

static void take_nested(struct pv_vcpu_state *state, struct pv_fields *fields)
{
	size_t size;
	const void *data = pv_fields_bytes(fields, "nested", sizeof(state->nested), &size);
	if (fields->status < 0 || size == 0)
		return;
	memcpy(state->nested, data, size);
	state->nested_size = (uint32_t)size;
	const struct kvm_nested_state *nested = (const struct kvm_nested_state *)state->nested;
	/* KVM reads as much as the header says. */
	if (size < sizeof(*nested) || nested->size != size)
		pv_fields_fail(
		    fields, "field `nested` has %zu bytes, not what it says itself", size);
}

int pv_vcpu_state_unpack(struct pv_vcpu_state *state, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "a vCPU", err);
	size_t size;
	const void *data;
	memset(state, 0, sizeof(*state));
	for (size_t i = 0; i < PART_COUNT; i++) {
		data = pv_fields_bytes(&fields, PARTS[i].key, PARTS[i].size, &size);
		if (size != PARTS[i].size)
			pv_fields_fail(&fields, "field `%s` has %zu bytes instead of %zu",
			    PARTS[i].key, size, PARTS[i].size);
		if (fields.status == 0)
			memcpy((uint8_t *)state + PARTS[i].offset, data, size);
	}
	data = pv_fields_bytes(&fields, "xsave", sizeof(state->xsave), &size);
	if (size < XSAVE_MIN)
		pv_fields_fail(
		    &fields, "field `xsave` has %zu bytes, fewer than %u", size, XSAVE_MIN);
	if (fields.status == 0) {
		memcpy(state->xsave, data, size);
		state->xsave_size = (uint32_t)size;
	}
	take_nested(state, &fields);
	take_msrs(state, &fields);
	return pv_fields_end(&fields);
}
