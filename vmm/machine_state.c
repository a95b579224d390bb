/*
 * Everything that a machine is besides its RAM, into one msgpack value and back.
 *
 * Out: vCPUs are parked and devices quiet, so nothing is in flight in an eventfd or a half-done
 * exit. In: devices first, which set wires and tell where their messages go; then guest time; then
 * the levels of the pins, the interrupt controllers that have seen these levels, and the vCPUs with
 * their local APICs. What was on its way to or from a device is asked for again when the machine
 * goes on (pv_machine_devices_resume).
 *
 * A machine that is rewound has its virtio devices reset first, so their loaders find the same as
 * in a new one.
 *
 * Under the loop lock, on the thread that freezes, restores or rewinds, without KVM calls that
 * wait. States come from files and are hostile: the loaders check.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "virtio/state.h"
#include "virtio/vsock.h"
#include "vmm/cpuid.h"
#include "vmm/layout.h"
#include "vmm/machine_private.h"
#include "vmm/template_private.h"

/* --- out --- */

static void save_shape(const struct pv_machine *machine, struct pv_pack *pack)
{
	pv_pack_str(pack, "memory");
	pv_pack_uint(pack, machine->ram.size);
	pv_pack_str(pack, "cpus");
	pv_pack_uint(pack, machine->cpus);
	pv_pack_str(pack, "devices");
	pv_pack_bool(pack, !machine->no_devices);
	pv_pack_str(pack, "cid");
	pv_pack_uint(pack, machine->vsock_cid);
	pv_pack_str(pack, "seed");
	if (machine->has_rng_seed)
		pv_pack_uint(pack, machine->rng_seed);
	else
		pv_pack_nil(pack);
}

static void save_devices(const struct pv_machine *machine, struct pv_pack *pack)
{
	pv_pack_str(pack, "platform");
	if (machine->no_devices) {
		pv_pack_nil(pack);
		pv_pack_str(pack, "virtio");
		pv_pack_nil(pack);
		return;
	}
	pv_pack_map(pack, 4);
	pv_pack_str(pack, "serial");
	pv_serial_save(&machine->serial, pack);
	pv_pack_str(pack, "rtc");
	pv_rtc_save(&machine->rtc, pack);
	pv_pack_str(pack, "pm");
	pv_pm_save(&machine->pm, pack);
	pv_pack_str(pack, "pci_address");
	pv_pack_uint(pack, machine->pci_host.address);

	pv_pack_str(pack, "virtio");
	pv_pack_map(pack, 6);
	pv_pack_str(pack, "rng");
	pv_rng_save(&machine->rng, pack);
	pv_pack_str(pack, "rng_pci");
	pv_virtio_pci_save(machine->slots[PV_LAYOUT_SLOT_RNG].pci, pack);
	pv_pack_str(pack, "console");
	pv_console_save(&machine->console, pack);
	pv_pack_str(pack, "console_pci");
	pv_virtio_pci_save(machine->slots[PV_LAYOUT_SLOT_CONSOLE].pci, pack);
	pv_pack_str(pack, "vsock");
	pv_vsock_save(machine->vsock, pack);
	pv_pack_str(pack, "vsock_pci");
	pv_virtio_pci_save(machine->slots[PV_LAYOUT_SLOT_VSOCK].pci, pack);
}

/* vCPUs before interrupt controllers: the getters of a vCPU may still deliver something. */
static int save_processors(struct pv_machine *machine, struct pv_pack *pack, struct pv_err *err)
{
	struct pv_vcpu_state *vcpu = malloc(sizeof(*vcpu));
	struct pv_vm_state chips;
	int code = 0;
	if (!vcpu)
		return pv_err_nomem(err, "state of vCPUs");
	pv_pack_str(pack, "vcpus");
	pv_pack_array(pack, machine->cpus);
	for (unsigned i = 0; i < machine->cpus && code == 0; i++) {
		code = pv_vcpu_state_save(vcpu, machine->kvm, &machine->vm, i, err);
		if (code == 0)
			pv_vcpu_state_pack(vcpu, pack);
	}
	free(vcpu);
	if (code == 0)
		code = pv_vm_state_save(&chips, &machine->vm, err);
	if (code < 0)
		return code;
	pv_pack_str(pack, "chips");
	pv_vm_state_pack(&chips, pack);
	return 0;
}

int pv_machine_state_save(struct pv_machine *machine, struct pv_bytes *out, struct pv_err *err)
{
	struct pv_pack pack = {.out = out};
	pv_pack_map(&pack, 12);
	save_shape(machine, &pack);
	pv_pack_str(&pack, "cpuid");
	int code = pv_cpuid_save(machine->kvm, machine->cpus, &pack, err);
	if (code == 0)
		code = save_processors(machine, &pack, err);
	if (code < 0)
		return code;
	pv_pack_str(&pack, "clock");
	code = pv_guest_clock_save(&machine->clock, &pack, err);
	if (code < 0)
		return code;
	pv_pack_str(&pack, "gsi");
	pv_gsi_save(&machine->gsi, &pack);
	save_devices(machine, &pack);
	return pack.status < 0 ? pv_err_nomem(err, "snapshot") : 0;
}

/* --- in --- */

static int load_platform(struct pv_machine *machine, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "the platform", err);
	const struct pv_val *serial = pv_fields_value(&fields, "serial");
	const struct pv_val *rtc = pv_fields_value(&fields, "rtc");
	const struct pv_val *pm = pv_fields_value(&fields, "pm");
	machine->pci_host.address = (uint32_t)pv_fields_uint(&fields, "pci_address", UINT32_MAX);
	int code = pv_fields_end(&fields);
	if (code == 0)
		code = pv_serial_load(&machine->serial, serial, err);
	if (code == 0)
		code = pv_rtc_load(&machine->rtc, rtc, err);
	if (code == 0)
		code = pv_pm_load(&machine->pm, pm, err);
	return code;
}

static int load_transports(struct pv_machine *machine, const struct pv_val *val, struct pv_err *err)
{
	static const struct {
		const char *key;
		unsigned slot;
	} transports[] = {
	    {"rng_pci",	PV_LAYOUT_SLOT_RNG	  },
	    {"console_pci", PV_LAYOUT_SLOT_CONSOLE},
	    {"vsock_pci",	  PV_LAYOUT_SLOT_VSOCK  },
	};
	int code = 0;
	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]) && code == 0; i++)
		code = pv_virtio_pci_load(machine->slots[transports[i].slot].pci,
		    pv_val_get(val, transports[i].key), err);
	return code;
}

static int load_virtio(struct pv_machine *machine, const struct pv_val *val, struct pv_err *err)
{
	int code = pv_rng_load(&machine->rng, pv_val_get(val, "rng"), err);
	if (code == 0)
		code = pv_console_load(&machine->console, pv_val_get(val, "console"), err);
	if (code == 0)
		code = pv_vsock_load(machine->vsock, pv_val_get(val, "vsock"), machine->adopt,
		    machine->adopt_ctx, err);
	if (code == 0)
		code = load_transports(machine, val, err);
	return code;
}

/* A template that was made here needs no look at the processor. */
static int check_host(
    const struct pv_machine *machine, const struct pv_template *from, struct pv_err *err)
{
	const void *cpuid;
	size_t size;
	if (!from->file)
		return 0;
	if (!pv_val_bytes(pv_val_get(from->root, "cpuid"), &cpuid, &size))
		return pv_err_set(
		    err, PV_ERR_INPUT, EBADMSG, "state of a machine: field `cpuid` is missing");
	return pv_cpuid_check(machine->kvm, machine->cpus, cpuid, size, err);
}

int pv_machine_state_load(
    struct pv_machine *machine, const struct pv_template *from, struct pv_err *err)
{
	int code = check_host(machine, from, err);
	if (code == 0 && !machine->no_devices)
		code = load_platform(machine, pv_val_get(from->root, "platform"), err);
	if (code == 0 && !machine->no_devices)
		code = load_virtio(machine, pv_val_get(from->root, "virtio"), err);
	if (code == 0)
		code = pv_guest_clock_load(&machine->clock, pv_val_get(from->root, "clock"), err);
	if (code == 0)
		code = pv_gsi_load(&machine->gsi, pv_val_get(from->root, "gsi"), err);
	if (code == 0)
		code = pv_vm_state_load(&from->chips, &machine->vm, err);
	for (unsigned i = 0; i < machine->cpus && code == 0; i++)
		code = pv_vcpu_state_load(&from->vcpus[i], &machine->vm, i, err);
	machine->restored = true;
	return code;
}
