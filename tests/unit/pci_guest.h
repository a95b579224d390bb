/*
 * A guest of a virtio PCI function, for tests: registers are reached as a guest reaches them, by
 * configuration space and by memory accesses on a bus, with counters in place of the machine's
 * interrupts and doorbells. The device behind the function is a probe with eight bytes of device
 * configuration and two queues.
 */
#ifndef PV_TESTS_UNIT_PCI_GUEST_H
#define PV_TESTS_UNIT_PCI_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/ring_driver.h"
#include "virtio/pci.h"

#define BAR0	 0xe0000000u
#define BAR1	 0xe0004000u
#define VECTORS	 3
#define NO_MSG	 0xffff
#define NOTIFY	 PV_VIRTIO_PCI_NOTIFY_OFFSET
#define MEMORY	 0x0002
#define INTX_OFF 0x0400
#define MSIX_ON	 0x8000
#define MASK_ALL 0x4000

/* Common configuration, by the names of the specification. */
#define DEVICE_FEATURE_SELECT 0x00
#define DEVICE_FEATURE	      0x04
#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE	      0x0c
#define CONFIG_MSIX_VECTOR    0x10
#define NUM_QUEUES	      0x12
#define DEVICE_STATUS	      0x14
#define CONFIG_GENERATION     0x15
#define QUEUE_SELECT	      0x16
#define QUEUE_SIZE	      0x18
#define QUEUE_MSIX_VECTOR     0x1a
#define QUEUE_ENABLE	      0x1c
#define QUEUE_NOTIFY_OFF      0x1e
#define QUEUE_DESC	      0x20
#define QUEUE_DRIVER	      0x28
#define QUEUE_DEVICE	      0x30

#define OWN_FEATURE (UINT64_C(1) << 40)

struct vector {
	uint64_t address;
	uint32_t data;
	bool masked;
	unsigned updates, fired;
};

struct fixture {
	struct pv_virtio virtio; /* first: the device */
	uint8_t config[8];
	unsigned kicks[2];
	struct ram ram;
	struct ring rings[2];
	struct pv_bus mmio;
	struct pv_virtio_pci *pci;
	bool line;
	unsigned line_changes;
	struct vector vectors[VECTORS];
	uint64_t doorbells[2];
	unsigned rings_by_host[2];
	unsigned maps, unmaps;
	int map_result;
};

/* cmocka set-up and tear-down; the latter checks that nothing of the function is left on the
 * machine. */
int set_up(void **state);
/* With two vectors only, so the queues share one. */
int set_up_sharing(void **state);
int tear_down(void **state);

/* Configuration space. */
uint32_t cfg_read(struct fixture *fix, unsigned offset, unsigned len);
void cfg_write(struct fixture *fix, unsigned offset, unsigned len, uint32_t value);

/* Memory, which must be decoded. */
uint64_t mem_read(struct fixture *fix, uint64_t address, unsigned len);
void mem_write(struct fixture *fix, uint64_t address, unsigned len, uint64_t value);

/* The common configuration, in BAR 0 where it was at start. */
uint32_t common_read(struct fixture *fix, unsigned offset, unsigned len);
void common_write(struct fixture *fix, unsigned offset, unsigned len, uint64_t value);

/* Switches memory decoding on, and all else in the command register off. */
void decode(struct fixture *fix);

/* The configuration-space offset of the first capability with this id (and virtio type), or 0. */
unsigned find_cap(struct fixture *fix, uint8_t id, uint8_t type);

/* Decoding on, and the device reset and brought to FEATURES_OK. */
void begin(struct fixture *fix);

/* Describes a ring by registers and enables the queue. */
void attach(struct fixture *fix, unsigned queue, const struct ring *ring);

/* The device runs, with both queues and the interrupt wire. */
void bring_up(struct fixture *fix);

/* Makes the device use a chain of queue `queue` and notify. */
void use_chain(struct fixture *fix, unsigned queue);

/* Writes the control register of the MSI-X capability. */
void msix_control(struct fixture *fix, uint16_t value);

/* A message for `vector`, different for each. */
void set_message(struct fixture *fix, unsigned vector, uint32_t control);

/* Device up with MSI-X: vector 0 for configuration, 1 and 2 for the queues, all unmasked. */
void bring_up_msix(struct fixture *fix);

#endif
