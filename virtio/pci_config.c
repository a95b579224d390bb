/*
 * Configuration space of a virtio PCI function: type 0 header, the five virtio capabilities and
 * MSI-X. It is an array of bytes with a second array that says which bits a guest may change; after
 * a write, whatever hangs on the changed registers is brought up to date.
 *
 * The capability for access through configuration space (4.1.4.9) is a window: its registers name a
 * place in a BAR, and reading or writing its data field does so there.
 *
 * PCI Local Bus 3.0, chapter 6 and 6.8.2 (MSI-X); virtio 1.2, sections 4.1.2 and 4.1.4.
 */
#include <string.h>

#include "base/bytes.h"
#include "virtio/pci_function.h"

/* Header registers. */
#define PCI_VENDOR_ID		0x00
#define PCI_DEVICE_ID		0x02
#define PCI_STATUS_CAP_LIST	0x10
#define PCI_REVISION_ID		0x08
#define PCI_CLASS_PROG		0x09
#define PCI_CACHE_LINE_SIZE	0x0c
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID	0x2e
#define PCI_CAPABILITY_LIST	0x34
#define PCI_INTERRUPT_LINE	0x3c
#define PCI_INTERRUPT_PIN	0x3d

#define PCI_COMMAND_MASTER 0x0004

#define PCI_CAP_ID_VNDR	       0x09
#define PCI_CAP_ID_MSIX	       0x11
#define PCI_MSIX_FLAGS_QSIZE   0x07ff
#define PCI_MSIX_FLAGS_MASKALL 0x4000
#define PCI_MSIX_FLAGS_ENABLE  0x8000

/* Types of virtio capabilities (4.1.4). */
#define VIRTIO_PCI_CAP_COMMON_CFG 1
#define VIRTIO_PCI_CAP_NOTIFY_CFG 2
#define VIRTIO_PCI_CAP_ISR_CFG	  3
#define VIRTIO_PCI_CAP_DEVICE_CFG 4
#define VIRTIO_PCI_CAP_PCI_CFG	  5

/* Where the capabilities stand. */
#define CAP_COMMON 0x40
#define CAP_NOTIFY 0x50
#define CAP_ISR	   0x64
#define CAP_DEVICE 0x74
#define CAP_WINDOW 0x84
#define CAP_MSIX   0x98

/* Fields of a virtio capability. */
#define CAP_BAR	     4
#define CAP_OFFSET   8
#define CAP_LENGTH   12
#define CAP_SPECIFIC 16 /* notify_off_multiplier, or the data of the window */

/* Class codes: base class, subclass, programming interface. */
static uint32_t class_of(uint16_t id)
{
	switch (id) {
	case VIRTIO_ID_NET: return 0x020000;	 /* Ethernet controller */
	case VIRTIO_ID_BLOCK: return 0x018000;	 /* mass storage, other */
	case VIRTIO_ID_CONSOLE: return 0x078000; /* communication, other */
	case VIRTIO_ID_VSOCK: return 0x028000;	 /* network, other */
	default: return 0x00ff00;		 /* unclassified */
	}
}

/* Writes a virtio capability at `at` that points to the one at `next`. */
static void put_cap(uint8_t *config, unsigned at, unsigned next, uint8_t len, uint8_t type,
    uint32_t offset, uint32_t length)
{
	uint8_t *cap = config + at;
	cap[0] = PCI_CAP_ID_VNDR;
	cap[1] = next;
	cap[2] = len;
	cap[3] = type;
	pv_put_le32(cap + CAP_OFFSET, offset);
	pv_put_le32(cap + CAP_LENGTH, length);
}

static void put_caps(const struct pv_virtio_pci *pci, uint8_t *config)
{
	put_cap(config, CAP_COMMON, CAP_NOTIFY, 16, VIRTIO_PCI_CAP_COMMON_CFG, PV_PCI_COMMON_OFFSET,
	    PV_PCI_COMMON_SIZE);
	put_cap(config, CAP_NOTIFY, CAP_ISR, 20, VIRTIO_PCI_CAP_NOTIFY_CFG,
	    PV_VIRTIO_PCI_NOTIFY_OFFSET, PV_PCI_PAGE);
	pv_put_le32(config + CAP_NOTIFY + CAP_SPECIFIC, PV_PCI_NOTIFY_STEP);
	put_cap(config, CAP_ISR, CAP_DEVICE, 16, VIRTIO_PCI_CAP_ISR_CFG, PV_PCI_ISR_OFFSET, 1);
	put_cap(config, CAP_DEVICE, CAP_WINDOW, 16, VIRTIO_PCI_CAP_DEVICE_CFG, PV_PCI_DEVICE_OFFSET,
	    PV_PCI_PAGE);
	put_cap(config, CAP_WINDOW, CAP_MSIX, 20, VIRTIO_PCI_CAP_PCI_CFG, 0, 0);

	uint8_t *msix = config + CAP_MSIX;
	msix[0] = PCI_CAP_ID_MSIX;
	pv_put_le16(msix + 2, pv_pci_msix_count(pci) - 1);
	pv_put_le32(msix + 4, PV_PCI_MSIX_TABLE_OFFSET | 1);
	pv_put_le32(msix + 8, PV_PCI_MSIX_PENDING_OFFSET | 1);
}

unsigned pv_pci_config_vectors(const uint8_t *config)
{
	return (pv_le16(config + CAP_MSIX + 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
}

void pv_pci_config_put_vectors(struct pv_virtio_pci *pci)
{
	uint8_t *control = pci->state.config + CAP_MSIX + 2;
	const uint16_t flags = pv_le16(control) & (uint16_t)~PCI_MSIX_FLAGS_QSIZE;
	pv_put_le16(control, flags | (pv_pci_msix_count(pci) - 1));
}

static void put_writable(uint8_t *writable)
{
	pv_put_le16(writable + PCI_COMMAND,
	    PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	writable[PCI_CACHE_LINE_SIZE] = 0xff;
	pv_put_le32(writable + PCI_BASE_ADDRESS_0, ~(PV_VIRTIO_PCI_BAR0_SIZE - 1));
	pv_put_le32(writable + PCI_BASE_ADDRESS_0 + 4, ~(PV_VIRTIO_PCI_BAR1_SIZE - 1));
	writable[PCI_INTERRUPT_LINE] = 0xff;
	writable[CAP_WINDOW + CAP_BAR] = 0xff;
	memset(writable + CAP_WINDOW + CAP_OFFSET, 0xff, 12); /* offset, length, data */
	pv_put_le16(writable + CAP_MSIX + 2, PCI_MSIX_FLAGS_MASKALL | PCI_MSIX_FLAGS_ENABLE);
}

void pv_pci_config_reset(struct pv_virtio_pci *pci)
{
	uint8_t *config = pci->state.config;
	const uint16_t id = pci->dev->id;
	memset(config, 0, PV_PCI_CONFIG_SIZE);
	pv_put_le16(config + PCI_VENDOR_ID, 0x1af4);
	pv_put_le16(config + PCI_DEVICE_ID, 0x1040 + id);
	pv_put_le16(config + PCI_STATUS, PCI_STATUS_CAP_LIST);
	config[PCI_REVISION_ID] = 1;
	config[PCI_CLASS_PROG] = class_of(id);
	pv_put_le16(config + PCI_CLASS_PROG + 1, class_of(id) >> 8);
	pv_put_le32(config + PCI_BASE_ADDRESS_0, pci->first_bar[0]);
	pv_put_le32(config + PCI_BASE_ADDRESS_0 + 4, pci->first_bar[1]);
	pv_put_le16(config + PCI_SUBSYSTEM_VENDOR_ID, 0x1af4);
	pv_put_le16(config + PCI_SUBSYSTEM_ID, 0x0040 + id);
	config[PCI_CAPABILITY_LIST] = CAP_COMMON;
	config[PCI_INTERRUPT_LINE] = pci->wiring.interrupt_line;
	config[PCI_INTERRUPT_PIN] = pci->wiring.interrupt_pin;
	put_caps(pci, config);
	put_writable(pci->writable);
}

uint16_t pv_pci_config_command(const struct pv_virtio_pci *pci)
{
	return pv_le16(pci->state.config + PCI_COMMAND);
}

uint32_t pv_pci_config_bar(const struct pv_virtio_pci *pci, unsigned bar)
{
	return pv_le32(pci->state.config + PCI_BASE_ADDRESS_0 + 4 * bar);
}

static uint16_t msix_control(const struct pv_virtio_pci *pci)
{
	return pv_le16(pci->state.config + CAP_MSIX + 2);
}

bool pv_pci_config_msix_enabled(const struct pv_virtio_pci *pci)
{
	return msix_control(pci) & PCI_MSIX_FLAGS_ENABLE;
}

bool pv_pci_config_msix_masked(const struct pv_virtio_pci *pci)
{
	return msix_control(pci) & PCI_MSIX_FLAGS_MASKALL;
}

/* True when [offset, offset + len) touches [at, at + size). */
static bool touches(uint64_t offset, unsigned len, unsigned at, unsigned size)
{
	return offset < at + size && at < offset + len;
}

/* Where the window points; false when it points nowhere that may be accessed (4.1.4.9.2). */
static bool window_place(
    const struct pv_virtio_pci *pci, unsigned *bar, uint32_t *offset, unsigned *len)
{
	const uint8_t *cap = pci->state.config + CAP_WINDOW;
	const uint32_t length = pv_le32(cap + CAP_LENGTH);
	*bar = cap[CAP_BAR];
	*offset = pv_le32(cap + CAP_OFFSET);
	*len = length;
	if (*bar >= PV_PCI_BARS || (length != 1 && length != 2 && length != 4))
		return false;
	const uint32_t size = *bar == 0 ? PV_VIRTIO_PCI_BAR0_SIZE : PV_VIRTIO_PCI_BAR1_SIZE;
	return *offset % length == 0 && *offset < size;
}

static void config_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct pv_virtio_pci *pci = ctx;
	uint8_t *config = pci->state.config;
	memset(data, 0xff, len);
	if (offset >= PV_PCI_CONFIG_SIZE || len > PV_PCI_CONFIG_SIZE - offset)
		return;
	unsigned bar, width;
	uint32_t place;
	if (touches(offset, len, CAP_WINDOW + CAP_SPECIFIC, 4) &&
	    window_place(pci, &bar, &place, &width))
		pv_virtio_pci_bar_read(pci, bar, place, config + CAP_WINDOW + CAP_SPECIFIC, width);
	/* The interrupt status bit shows the ISR whether or not the wire is disabled. */
	if (pci->state.isr)
		config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	else
		config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;
	memcpy(data, config + offset, len);
}

static void config_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct pv_virtio_pci *pci = ctx;
	uint8_t *config = pci->state.config;
	const uint8_t *in = data;
	if (offset >= PV_PCI_CONFIG_SIZE || len > PV_PCI_CONFIG_SIZE - offset)
		return;
	for (unsigned i = 0; i < len; i++) {
		const uint8_t mask = pci->writable[offset + i];
		config[offset + i] = (config[offset + i] & ~mask) | (in[i] & mask);
	}
	unsigned bar, width;
	uint32_t place;
	if (touches(offset, len, CAP_WINDOW + CAP_SPECIFIC, 4) &&
	    window_place(pci, &bar, &place, &width))
		pv_virtio_pci_bar_write(pci, bar, place, config + CAP_WINDOW + CAP_SPECIFIC, width);
	if (touches(offset, len, PCI_COMMAND, 2) || touches(offset, len, PCI_BASE_ADDRESS_0, 8))
		pv_virtio_pci_sync_mappings(pci);
	/* The wire first: a function with MSI-X enabled must not hold it (6.8.2). */
	pv_virtio_pci_sync_line(pci);
	if (touches(offset, len, CAP_MSIX + 2, 2))
		pv_pci_msix_sync(pci);
}

const struct pv_bus_ops pv_virtio_pci_config_ops = {.read = config_read, .write = config_write};
