/*
 * Interrupts and doorbells.
 *
 * Pins: KVM's default routes (GSI n = IOAPIC pin n, and the PICs below 16) are what the ACPI tables
 * describe, so no routing table is ever set; updating one costs a grace period.
 *
 * Messages: KVM_SIGNAL_MSI with the address and data that the guest wrote. An irqfd would be one
 * system call as well, but needs a descriptor and a route per vector and one routing update per
 * table write of the guest; it only pays when something other than this process signals it. And
 * nothing is in flight in an eventfd when a snapshot is taken.
 *
 * Doorbells: an ioeventfd without length, which KVM finds on its fast MMIO path.
 *
 * All under the loop lock. Linux: Documentation/virt/kvm/api.rst.
 */
#include "vmm/gsi.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fields.h"
#include "base/pack.h"
#include "vmm/kvm_vm.h"

void pv_gsi_init(struct pv_gsi *gsi, const struct pv_kvm_vm *vm)
{
	*gsi = (struct pv_gsi){.vm = vm};
}

void pv_gsi_reset(struct pv_gsi *gsi)
{
	memset(gsi->sources, 0, sizeof(gsi->sources));
}

static void set_pin(struct pv_gsi *gsi, unsigned pin, uint32_t sources)
{
	const uint32_t before = gsi->sources[pin];
	gsi->sources[pin] = sources;
	if (!sources == !before)
		return;
	struct kvm_irq_level irq = {.irq = pin, .level = sources != 0};
	/* Fails only without controllers, and then nobody could take the interrupt. */
	ioctl(gsi->vm->fd, KVM_IRQ_LINE, &irq);
}

void pv_gsi_lower(struct pv_gsi *gsi)
{
	for (unsigned i = 0; i < PV_GSI_COUNT; i++)
		set_pin(gsi, i, 0);
}

static void set_wire(void *ctx, bool level)
{
	const struct pv_gsi_wire *wire = ctx;
	const uint32_t before = wire->gsi->sources[wire->pin];
	const uint32_t bit = 1u << wire->source;
	set_pin(wire->gsi, wire->pin, level ? before | bit : before & ~bit);
}

void pv_gsi_save(const struct pv_gsi *gsi, struct pv_pack *pack)
{
	pv_pack_map(pack, 1);
	pv_pack_str(pack, "sources");
	pv_pack_array(pack, PV_GSI_COUNT);
	for (unsigned i = 0; i < PV_GSI_COUNT; i++)
		pv_pack_uint(pack, gsi->sources[i]);
}

int pv_gsi_load(struct pv_gsi *gsi, const struct pv_val *val, struct pv_err *err)
{
	uint64_t sources[PV_GSI_COUNT];
	struct pv_fields fields = pv_fields_begin(val, "interrupt pins", err);
	pv_fields_uints(&fields, "sources", PV_GSI_COUNT, UINT32_MAX, sources);
	int code = pv_fields_end(&fields);
	for (unsigned i = 0; i < PV_GSI_COUNT && code == 0; i++)
		set_pin(gsi, i, (uint32_t)sources[i]);
	return code;
}

struct pv_irq_line pv_gsi_line(struct pv_gsi_wire *wire)
{
	return (struct pv_irq_line){.set = set_wire, .ctx = wire};
}

void pv_gsi_message(const struct pv_gsi *gsi, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
	    .address_lo = (uint32_t)address,
	    .address_hi = (uint32_t)(address >> 32),
	    .data = data,
	};
	/* A message to nobody is lost on hardware as well. */
	ioctl(gsi->vm->fd, KVM_SIGNAL_MSI, &msi);
}

int pv_gsi_doorbell(const struct pv_gsi *gsi, uint64_t gpa, int event_fd, bool on)
{
	struct kvm_ioeventfd bell = {
	    .addr = gpa,
	    .len = 0,
	    .fd = event_fd,
	    .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};
	return ioctl(gsi->vm->fd, KVM_IOEVENTFD, &bell) < 0 ? -errno : 0;
}
