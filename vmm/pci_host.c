/*
 * PCI configuration mechanism #1: an address register at 0xcf8, which takes 32-bit accesses only
 * (bytes there are other things on real chips, and Linux checks for that), and a window to the
 * addressed register at 0xcfc to 0xcff.
 *
 * There is one bus. What does not exist reads as all ones, which is how guests find out. Accesses
 * come on vCPU threads under the loop lock.
 */
#include "vmm/pci_host.h"

#include <stdbool.h>
#include <string.h>

#include "vmm/layout.h"

#define ADDRESS_ENABLE (1u << 31)
#define ADDRESS_MASK   0x80fffffcu

#define WINDOW 4u

/* The bridge: Red Hat's identity for a host bridge that is nothing in particular. */
static const uint8_t BRIDGE[64] = {
    0x36, 0x1b,	      /* vendor */
    0x08, 0x00,	      /* device */
    0x00, 0x00,	      /* command */
    0x00, 0x00,	      /* status */
    0x00,	      /* revision */
    0x00, 0x00, 0x06, /* class: host bridge */
};

static void read_bridge(uint64_t offset, void *data, unsigned len)
{
	memset(data, 0, len);
	for (unsigned i = 0; i < len && offset + i < sizeof(BRIDGE); i++)
		((uint8_t *)data)[i] = BRIDGE[offset + i];
}

/* The function that the address register selects, or NULL; slot 0 has none of its own. */
static const struct pv_pci_host_slot *selected(const struct pv_pci_host *host)
{
	const unsigned slot = host->address >> 11 & 31u;
	return host->slots[slot].ops ? &host->slots[slot] : NULL;
}

/* True when enabled, on bus 0 and function 0. */
static bool addresses_us(const struct pv_pci_host *host)
{
	return (host->address & ADDRESS_ENABLE) && (host->address & 0x00ff0700u) == 0;
}

static void read_window(const struct pv_pci_host *host, unsigned at, void *data, unsigned len)
{
	const uint64_t offset = (host->address & 0xfcu) + at;
	memset(data, 0xff, len);
	if (!addresses_us(host))
		return;
	const struct pv_pci_host_slot *slot = selected(host);
	if (slot)
		slot->ops->read(slot->ctx, offset, data, len);
	else if ((host->address >> 11 & 31u) == PV_LAYOUT_SLOT_HOST_BRIDGE)
		read_bridge(offset, data, len);
}

/* An access of 1, 2 or 4 bytes that stays within a register of four. */
static bool fits(uint64_t at, unsigned len)
{
	return (len == 1 || len == 2 || len == 4) && (at & 3) + len <= 4;
}

static void read_ports(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct pv_pci_host *host = ctx;
	memset(data, 0xff, len);
	if (!fits(offset, len))
		return;
	if (offset >= WINDOW)
		read_window(host, (unsigned)offset - WINDOW, data, len);
	else if (len == 4)
		memcpy(data, &host->address, 4);
}

static void write_ports(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct pv_pci_host *host = ctx;
	if (!fits(offset, len))
		return;
	if (offset < WINDOW) {
		if (len != 4)
			return;
		memcpy(&host->address, data, 4);
		host->address &= ADDRESS_MASK;
		return;
	}
	const struct pv_pci_host_slot *slot = selected(host);
	if (slot && addresses_us(host))
		slot->ops->write(slot->ctx, (host->address & 0xfcu) + offset - WINDOW, data, len);
}

const struct pv_bus_ops pv_pci_host_ops = {.read = read_ports, .write = write_ports};
