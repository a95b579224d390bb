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

#include "vmm/kvm_vm.h"

void pv_gsi_init(struct pv_gsi *gsi, const struct pv_kvm_vm *vm)
{
	*gsi = (struct pv_gsi){.vm = vm};
}

void pv_gsi_reset(struct pv_gsi *gsi)
{
	memset(gsi->sources, 0, sizeof(gsi->sources));
}

static void set_wire(void *ctx, bool level)
{
	const struct pv_gsi_wire *wire = ctx;
	struct pv_gsi *gsi = wire->gsi;
	const uint32_t before = gsi->sources[wire->pin];
	const uint32_t bit = 1u << wire->source;
	gsi->sources[wire->pin] = level ? before | bit : before & ~bit;
	if (!gsi->sources[wire->pin] == !before)
		return;
	struct kvm_irq_level irq = {.irq = wire->pin, .level = gsi->sources[wire->pin] != 0};
	/* Fails only without controllers, and then nobody could take the interrupt. */
	ioctl(gsi->vm->fd, KVM_IRQ_LINE, &irq);
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
