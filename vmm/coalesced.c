/*
 * Half of all exits of a booting guest are writes to the address register at 0xcf8: each access to
 * PCI configuration space is such a write, and then one to the data register. Collected by KVM, the
 * write costs no way to user space.
 *
 * The kernel adds at `last`, under a lock of its own; we take at `first`, under the loop lock. An
 * entry is carried out before `first` moves on, so who sees an empty ring and then takes the loop
 * lock finds it carried out. Nothing else is collected: byte writes to 0xcf9 fall into the range,
 * too, but mean nothing here (vmm/pci_host.c).
 *
 * Registering changes an I/O bus, which costs a grace period of KVM; machines that go on from a
 * template do without, because their guests have found their devices long ago.
 */
#include "vmm/coalesced.h"

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "base/bus.h"
#include "vmm/kvm.h"
#include "vmm/kvm_vm.h"
#include "vmm/layout.h"

#define PORT_SIZE  4u
#define PAGE_BYTES 4096u /* of x86, in which the kernel counts */

struct kvm_coalesced_mmio_ring *pv_coalesced_begin(const struct pv_kvm_vm *vm)
{
	const size_t page = vm->kvm->coalesced_page;
	struct kvm_coalesced_mmio_zone zone = {
	    .addr = PV_LAYOUT_PIO_PCI,
	    .size = PORT_SIZE,
	    .pio = 1,
	};
	if (page == 0 || (page + 1) * PAGE_BYTES > (size_t)vm->kvm->vcpu_mmap_size ||
	    ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone) < 0)
		return NULL;
	return (void *)((uint8_t *)vm->vcpus[0].run + page * PAGE_BYTES);
}

bool pv_coalesced_is_pending(const struct kvm_coalesced_mmio_ring *ring)
{
	return ring && __atomic_load_n(&ring->first, __ATOMIC_RELAXED) !=
			   __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE);
}

void pv_coalesced_drain(struct kvm_coalesced_mmio_ring *ring, const struct pv_bus *pio)
{
	const uint32_t count =
	    (uint32_t)((PAGE_BYTES - sizeof(*ring)) / sizeof(struct kvm_coalesced_mmio));
	while (pv_coalesced_is_pending(ring)) {
		const uint32_t first = ring->first % count;
		const struct kvm_coalesced_mmio *write = &ring->coalesced_mmio[first];
		if (write->pio && write->len <= sizeof(write->data))
			pv_bus_write(pio, write->phys_addr, write->data, write->len);
		__atomic_store_n(&ring->first, (first + 1) % count, __ATOMIC_RELEASE);
	}
}

void pv_coalesced_forget(struct kvm_coalesced_mmio_ring *ring)
{
	if (ring)
		__atomic_store_n(
		    &ring->first, __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}
