/*
 * The inside of a virtio PCI function, shared by virtio/pci*.c and nobody else:
 *
 *   pci.c         creation, BARs and doorbells on the machine's buses, interrupts
 *   pci_common.c  the common configuration structure (4.1.4.3)
 *   pci_config.c  configuration space, capabilities, window access (4.1.4.9)
 *   pci_msix.c    MSI-X table, masks, pending bits
 *   pci_state.c   what a snapshot keeps
 */
#ifndef PV_VIRTIO_PCI_FUNCTION_H
#define PV_VIRTIO_PCI_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/pci.h"

/* Structures in BAR 0, a page each; the notification page is PV_VIRTIO_PCI_NOTIFY_OFFSET. */
#define PV_PCI_COMMON_OFFSET 0x0000u
#define PV_PCI_ISR_OFFSET    0x1000u
#define PV_PCI_DEVICE_OFFSET 0x2000u
#define PV_PCI_PAGE	     0x1000u
#define PV_PCI_COMMON_SIZE   0x38u /* up to queue_device: later fields need features not offered */
#define PV_PCI_NOTIFY_STEP   4u

/* In BAR 1. */
#define PV_PCI_MSIX_TABLE_OFFSET   0x000u
#define PV_PCI_MSIX_PENDING_OFFSET 0x800u

#define PV_PCI_CONFIG_SIZE 256u
#define PV_PCI_BARS	   2u

#define VIRTIO_MSI_NO_VECTOR 0xffff

/* ISR status bits (4.1.4.5). */
#define PV_PCI_ISR_QUEUE  1
#define PV_PCI_ISR_CONFIG 2

/* Configuration registers that more than one file looks at. */
#define PCI_COMMAND		 0x04
#define PCI_COMMAND_MEMORY	 0x0002
#define PCI_COMMAND_INTX_DISABLE 0x0400
#define PCI_STATUS		 0x06
#define PCI_STATUS_INTERRUPT	 0x08 /* in its low byte; follows the ISR when it is read */
#define PCI_BASE_ADDRESS_0	 0x10

struct pv_pci_msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

/* Plain data: what a snapshot keeps of the transport. Everything else follows from it, but for which
 * BARs found their place on the bus. */
struct pv_virtio_pci_state {
	uint8_t config[PV_PCI_CONFIG_SIZE];
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;
	uint16_t queue_vector[PV_VIRTIO_QUEUES_MAX];
	uint8_t isr;
	struct pv_pci_msix_entry table[PV_VIRTIO_PCI_VECTORS_MAX];
	uint64_t pending; /* bit n: vector n waits for its unmasking */
};

/* What the owner of the interrupts was told last of a vector. */
struct pv_pci_msix_told {
	uint64_t address;
	uint32_t data;
	bool masked;
};

struct pv_virtio_pci {
	struct pv_virtio *dev;
	struct pv_virtio_pci_wiring wiring;
	uint32_t first_bar[PV_PCI_BARS];
	uint8_t writable[PV_PCI_CONFIG_SIZE]; /* bits of `config` that the guest may change */
	struct pv_virtio_pci_state state;

	bool bar_mapped[PV_PCI_BARS];
	uint64_t bar_base[PV_PCI_BARS];		 /* where it is mapped */
	uint64_t doorbell[PV_VIRTIO_QUEUES_MAX]; /* where it is mapped, 0 = nowhere */
	bool line;				 /* level of the INTx line */
	struct pv_pci_msix_told told[PV_VIRTIO_PCI_VECTORS_MAX];
};

/* --- pci.c --- */

/* Access to a BAR by offset, whether or not it is mapped; `len` 1 to 8, within the BAR. */
void pv_virtio_pci_bar_read(
    struct pv_virtio_pci *pci, unsigned bar, uint64_t offset, void *data, unsigned len);
void pv_virtio_pci_bar_write(
    struct pv_virtio_pci *pci, unsigned bar, uint64_t offset, const void *data, unsigned len);

/* Brings BARs and doorbells on the bus in line with the configuration space and the device. */
void pv_virtio_pci_sync_mappings(struct pv_virtio_pci *pci);

/* Puts a BAR on the bus where its register says; false when that is taken. Takes it away, if it is
 * there. Doorbells are not looked at. */
bool pv_virtio_pci_map_bar(struct pv_virtio_pci *pci, unsigned bar);
void pv_virtio_pci_unmap_bar(struct pv_virtio_pci *pci, unsigned bar);

/* Maps doorbells as the mapping of BAR 0 and the device ask for, and unmaps others. */
void pv_virtio_pci_sync_doorbells(struct pv_virtio_pci *pci);

/* Sets the INTx line to what ISR, command register and MSI-X ask for. */
void pv_virtio_pci_sync_line(struct pv_virtio_pci *pci);

/* The driver wrote the device status. */
void pv_virtio_pci_set_status(struct pv_virtio_pci *pci, uint8_t status);

/* --- pci_common.c: accesses to the common configuration structure, any offset and width --- */

void pv_pci_common_read(struct pv_virtio_pci *pci, uint64_t offset, void *data, unsigned len);
void pv_pci_common_write(
    struct pv_virtio_pci *pci, uint64_t offset, const void *data, unsigned len);

/* --- pci_config.c --- */

/* Fills in the configuration space as after power-on. */
void pv_pci_config_reset(struct pv_virtio_pci *pci);
uint16_t pv_pci_config_command(const struct pv_virtio_pci *pci);
uint32_t pv_pci_config_bar(const struct pv_virtio_pci *pci, unsigned bar);
bool pv_pci_config_msix_enabled(const struct pv_virtio_pci *pci);
bool pv_pci_config_msix_masked(const struct pv_virtio_pci *pci); /* the function's mask */
/* How many vectors a configuration space names, and the way to name as many as there are. */
unsigned pv_pci_config_vectors(const uint8_t *config);
void pv_pci_config_put_vectors(struct pv_virtio_pci *pci);

/* --- pci_msix.c --- */

unsigned pv_pci_msix_count(const struct pv_virtio_pci *pci);
/* All vectors masked, no messages, nothing pending. */
void pv_pci_msix_reset(struct pv_virtio_pci *pci);
/* Sends the message of `vector`, or keeps it pending while masked. NO_VECTOR does nothing. */
void pv_pci_msix_fire(struct pv_virtio_pci *pci, unsigned vector);
/* After a change of messages or masks: tells the owner, and sends what is pending and unmasked. */
void pv_pci_msix_sync(struct pv_virtio_pci *pci);
void pv_pci_msix_read(struct pv_virtio_pci *pci, uint64_t offset, void *data, unsigned len);
void pv_pci_msix_write(struct pv_virtio_pci *pci, uint64_t offset, const void *data, unsigned len);

#endif
