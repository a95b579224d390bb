/*
 * PCI slots of a machine: each holds a virtio function and joins it to KVM, its message-signalled
 * interrupts to KVM_SIGNAL_MSI, its pin to a level-triggered GSI, its doorbells to ioeventfds that
 * the loop watches.
 *
 * A doorbell's descriptor is made when the guest first maps it and kept while the slot is filled,
 * since guests map and unmap BARs several times while they look for their sizes. A ring is answered
 * on the loop thread; it never passes through a vCPU thread.
 *
 * Everything runs under the loop lock.
 */
#include "vmm/machine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/layout.h"
#include "vmm/spare.h"

/* Each ring wakes one thread, and one only. */
#define RINGS (EPOLLIN | EPOLLET)

static void update_vector(void *ctx, unsigned vector, uint64_t address, uint32_t data, bool masked)
{
	struct pv_machine_slot *slot = ctx;
	if (vector < PV_VIRTIO_PCI_VECTORS_MAX)
		slot->vectors[vector] = (struct pv_machine_vector){address, data, masked};
}

static void fire_vector(void *ctx, unsigned vector)
{
	const struct pv_machine_slot *slot = ctx;
	if (vector >= PV_VIRTIO_PCI_VECTORS_MAX || slot->vectors[vector].masked)
		return;
	pv_gsi_message(
	    &slot->machine->gsi, slot->vectors[vector].address, slot->vectors[vector].data);
}

static const struct pv_irq_msi_ops MSI_OPS = {.update = update_vector, .fire = fire_vector};

/* Takes the count out of a doorbell; true when it had rung. */
static bool take_ring(const struct pv_machine_bell *bell)
{
	uint64_t count;
	return read(bell->fd, &count, sizeof(count)) == sizeof(count);
}

static void rung(void *ctx, uint32_t events)
{
	struct pv_machine_bell *bell = ctx;
	if (take_ring(bell) && bell->slot->pci)
		pv_virtio_pci_kick(bell->slot->pci, bell->queue);
}

static int open_bell(struct pv_machine_bell *bell)
{
	struct pv_err ignored = PV_ERR_INIT;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	int code = pv_loop_watch_add(
	    bell->slot->machine->loop, &bell->watch, fd, RINGS, rung, bell, &ignored);
	if (code < 0) {
		close(fd);
		return code;
	}
	bell->fd = fd;
	bell->open = true;
	return 0;
}

static void close_bell(struct pv_machine_bell *bell)
{
	if (!bell->open)
		return;
	pv_loop_watch_remove(&bell->watch);
	pv_fd_close(&bell->fd);
	bell->open = false;
}

/* Takes a doorbell out of the kernel, if it is there. */
static void take_out(struct pv_machine_bell *bell)
{
	if (bell->mapped)
		pv_gsi_doorbell(&bell->slot->machine->gsi, bell->gpa, bell->fd, false);
	bell->mapped = false;
}

static int map_bell(void *ctx, unsigned queue, uint64_t gpa)
{
	struct pv_machine_slot *slot = ctx;
	if (queue >= PV_VIRTIO_QUEUES_MAX)
		return -EINVAL;
	struct pv_machine_bell *bell = &slot->bells[queue];
	int code = bell->open ? 0 : open_bell(bell);
	if (code < 0)
		return code;
	bell->wanted = true;
	if (bell->mapped && bell->gpa == gpa)
		return 0;
	take_out(bell);
	code = pv_gsi_doorbell(&slot->machine->gsi, gpa, bell->fd, true);
	bell->mapped = bell->wanted = code == 0;
	bell->gpa = gpa;
	return code;
}

static void unmap_bell(void *ctx, unsigned queue, uint64_t gpa)
{
	struct pv_machine_slot *slot = ctx;
	if (queue >= PV_VIRTIO_QUEUES_MAX)
		return;
	slot->bells[queue].wanted = false;
	if (!slot->machine->holds_bells)
		take_out(&slot->bells[queue]);
}

static void ring_bell(void *ctx, unsigned queue)
{
	struct pv_machine_slot *slot = ctx;
	struct pv_machine_bell *bell = &slot->bells[queue < PV_VIRTIO_QUEUES_MAX ? queue : 0];
	/* Without a descriptor the chains wait for the guest's next kick. */
	if (bell->open || open_bell(bell) == 0)
		(void)!eventfd_write(bell->fd, 1);
}

static const struct pv_irq_doorbell_ops DOORBELL_OPS = {
    .map = map_bell,
    .unmap = unmap_bell,
    .ring = ring_bell,
};

int pv_machine_slot_fill(
    struct pv_machine *machine, unsigned number, struct pv_virtio *dev, struct pv_err *err)
{
	struct pv_machine_slot *slot = &machine->slots[number];
	if (number == PV_LAYOUT_SLOT_HOST_BRIDGE || number >= PV_PCI_HOST_SLOTS || slot->pci)
		return pv_err_set(
		    err, PV_ERR_STATE, EBUSY, "PCI slot %u is not free for a device", number);
	const unsigned gsi = PV_LAYOUT_GSI_PCI + number % PV_LAYOUT_GSI_PCI_COUNT;
	*slot = (struct pv_machine_slot){
	    .machine = machine,
	    .wire = {&machine->gsi, (uint8_t)gsi, (uint8_t)number},
	};
	for (unsigned i = 0; i < PV_VIRTIO_QUEUES_MAX; i++)
		slot->bells[i] = (struct pv_machine_bell){.slot = slot, .queue = i, .fd = -1};
	struct pv_virtio_pci_wiring wiring = {
	    .mmio = &machine->mmio,
	    .intx = pv_gsi_line(&slot->wire),
	    .interrupt_pin = 1,
	    .interrupt_line = (uint8_t)gsi,
	    .msi = &MSI_OPS,
	    .doorbells = &DOORBELL_OPS,
	    .ctx = slot,
	};
	uint32_t bar0 = (uint32_t)PV_LAYOUT_PCI_MMIO + number * PV_LAYOUT_PCI_SLOT_MMIO;
	uint32_t bar1 = bar0 + PV_LAYOUT_PCI_SLOT_MMIO / 2;
	if (pv_virtio_pci_create(&slot->pci, dev, &wiring, bar0, bar1) < 0)
		return pv_err_nomem(err, "PCI function");
	machine->pci_host.slots[number] =
	    (struct pv_pci_host_slot){.ops = &pv_virtio_pci_config_ops, .ctx = slot->pci};
	return 0;
}

void pv_machine_slot_empty(struct pv_machine *machine, unsigned number)
{
	struct pv_machine_slot *slot = &machine->slots[number];
	if (!slot->pci)
		return;
	machine->pci_host.slots[number] = (struct pv_pci_host_slot){0};
	pv_virtio_pci_destroy(slot->pci);
	slot->pci = NULL;
	for (unsigned i = 0; i < PV_VIRTIO_QUEUES_MAX; i++)
		close_bell(&slot->bells[i]);
}

/* Rings that the kernel counted but the loop has not seen are answered here. */
void pv_machine_slot_quiesce(struct pv_machine_slot *slot)
{
	for (unsigned i = 0; i < PV_VIRTIO_QUEUES_MAX; i++) {
		struct pv_machine_bell *bell = &slot->bells[i];
		if (!bell->open)
			continue;
		pv_loop_watch_set(&bell->watch, 0);
		rung(bell, EPOLLIN);
	}
}

void pv_machine_slot_wake(struct pv_machine_slot *slot)
{
	for (unsigned i = 0; i < PV_VIRTIO_QUEUES_MAX; i++) {
		if (slot->bells[i].open)
			pv_loop_watch_set(&slot->bells[i].watch, RINGS);
	}
}

void pv_machine_hold_bells(struct pv_machine *machine)
{
	machine->holds_bells = true;
}

void pv_machine_let_go_bells(struct pv_machine *machine)
{
	machine->holds_bells = false;
	for (unsigned i = 0; i < PV_PCI_HOST_SLOTS; i++) {
		for (unsigned k = 0; machine->slots[i].pci && k < PV_VIRTIO_QUEUES_MAX; k++) {
			if (!machine->slots[i].bells[k].wanted)
				take_out(&machine->slots[i].bells[k]);
		}
	}
}

/* Counts those that the kernel has, and moves them when there is room. */
static unsigned move_bells(struct pv_machine *machine, struct pv_spare_bell *room)
{
	unsigned count = 0;
	for (unsigned i = 0; i < PV_PCI_HOST_SLOTS * PV_VIRTIO_QUEUES_MAX; i++) {
		struct pv_machine_slot *slot = &machine->slots[i / PV_VIRTIO_QUEUES_MAX];
		struct pv_machine_bell *bell = &slot->bells[i % PV_VIRTIO_QUEUES_MAX];
		if (!slot->pci || !bell->mapped)
			continue;
		if (room) {
			pv_loop_watch_remove(&bell->watch);
			room[count] = (struct pv_spare_bell){.gpa = bell->gpa, .fd = bell->fd};
			bell->open = bell->mapped = false;
			bell->fd = -1;
		}
		count++;
	}
	return count;
}

int pv_machine_give_bells(struct pv_machine *machine, struct pv_spare *spare)
{
	unsigned count = move_bells(machine, NULL);
	if (count == 0)
		return 0;
	spare->bells = calloc(count, sizeof(spare->bells[0]));
	if (!spare->bells)
		return -ENOMEM;
	spare->bell_count = move_bells(machine, spare->bells);
	return 0;
}
