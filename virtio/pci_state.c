/*
 * What a snapshot keeps of a virtio PCI function, and the way back: plain state in
 * struct pv_virtio_pci_state, plus which BARs were on the bus. The wire, the doorbells and what the
 * owner of the interrupts knows follow from it.
 *
 * The whole configuration space is kept. Of it a guest can only have changed the bits that are
 * writable; all others must be those of the loading function, or the state belongs to another kind
 * of device. Which BARs were mapped is kept because it does not follow from the registers: a BAR
 * that was in the way of another stays unmapped until its registers are written again.
 *
 * The owner of the function calls this under the loop lock, with vCPUs stopped; virtio/state.h has
 * the order. virtio 1.2, section 4.1; PCI Local Bus 3.0, 6.8.2.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "virtio/pci_function.h"
#include "virtio/state.h"

/* Bits of "mapped". */
#define MAPPED(bar) (1u << (bar))
#define MAPPED_ALL  (MAPPED(PV_PCI_BARS) - 1)

static void save_entry(const struct pv_pci_msix_entry *entry, struct pv_pack *pack)
{
	pv_pack_map(pack, 3);
	pv_pack_str(pack, "address");
	pv_pack_uint(pack, entry->address);
	pv_pack_str(pack, "data");
	pv_pack_uint(pack, entry->data);
	pv_pack_str(pack, "control");
	pv_pack_uint(pack, entry->control);
}

void pv_virtio_pci_save(const struct pv_virtio_pci *pci, struct pv_pack *pack)
{
	const struct pv_virtio_pci_state *state = &pci->state;
	uint8_t config[PV_PCI_CONFIG_SIZE];
	memcpy(config, state->config, sizeof(config));
	/* Reading the space makes this bit from the ISR; kept, it would tell when that was last. */
	config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;

	pv_pack_map(pack, 10);
	pv_pack_str(pack, "config");
	pv_pack_bin(pack, config, sizeof(config));
	pv_pack_str(pack, "mapped");
	pv_pack_uint(
	    pack, (pci->bar_mapped[0] ? MAPPED(0) : 0) | (pci->bar_mapped[1] ? MAPPED(1) : 0));
	pv_pack_str(pack, "device_feature_select");
	pv_pack_uint(pack, state->device_feature_select);
	pv_pack_str(pack, "driver_feature_select");
	pv_pack_uint(pack, state->driver_feature_select);
	pv_pack_str(pack, "queue_select");
	pv_pack_uint(pack, state->queue_select);
	pv_pack_str(pack, "config_vector");
	pv_pack_uint(pack, state->config_vector);
	pv_pack_str(pack, "queue_vectors");
	pv_pack_array(pack, pci->dev->queue_count);
	for (unsigned i = 0; i < pci->dev->queue_count; i++)
		pv_pack_uint(pack, state->queue_vector[i]);
	pv_pack_str(pack, "isr");
	pv_pack_uint(pack, state->isr);
	pv_pack_str(pack, "table");
	pv_pack_array(pack, pv_pci_msix_count(pci));
	for (unsigned i = 0; i < pv_pci_msix_count(pci); i++)
		save_entry(&state->table[i], pack);
	pv_pack_str(pack, "pending");
	pv_pack_uint(pack, state->pending);
}

/*
 * The function has as many vectors as its driver found: those of today, or one for each queue and
 * one for changes, as all functions once had.
 */
static void load_vector_count(struct pv_virtio_pci *pci, const uint8_t *config)
{
	const unsigned once = pci->dev->queue_count + 1;
	if (pv_pci_config_vectors(config) != once)
		return;
	pci->dev->vectors = (uint16_t)once;
	pv_pci_config_put_vectors(pci);
}

/* The configuration space, which may differ from that of `pci` in what a guest can write. */
static void load_config(
    struct pv_fields *fields, struct pv_virtio_pci *pci, struct pv_virtio_pci_state *state)
{
	size_t len;
	const uint8_t *config = pv_fields_bytes(fields, "config", PV_PCI_CONFIG_SIZE, &len);
	if (!config)
		return;
	if (len != PV_PCI_CONFIG_SIZE) {
		pv_fields_fail(fields, "the configuration space is cut off");
		return;
	}
	load_vector_count(pci, config);
	for (unsigned i = 0; i < PV_PCI_CONFIG_SIZE; i++) {
		const uint8_t ours =
		    pci->state.config[i] & ~(i == PCI_STATUS ? PCI_STATUS_INTERRUPT : 0);
		if ((config[i] ^ ours) & ~pci->writable[i])
			pv_fields_fail(fields,
			    "byte 0x%02x of the configuration space is of another kind of device",
			    i);
	}
	memcpy(state->config, config, PV_PCI_CONFIG_SIZE);
}

static bool is_vector(const struct pv_virtio_pci *pci, uint64_t vector)
{
	return vector < pv_pci_msix_count(pci) || vector == VIRTIO_MSI_NO_VECTOR;
}

static void load_vectors(
    struct pv_fields *fields, const struct pv_virtio_pci *pci, struct pv_virtio_pci_state *state)
{
	uint64_t vectors[PV_VIRTIO_QUEUES_MAX];
	state->config_vector = pv_fields_uint(fields, "config_vector", UINT16_MAX);
	if (!is_vector(pci, state->config_vector))
		pv_fields_fail(fields, "field `config_vector` names a vector that does not exist");
	pv_fields_uints(fields, "queue_vectors", pci->dev->queue_count, UINT16_MAX, vectors);
	for (unsigned i = 0; i < pci->dev->queue_count; i++) {
		if (!is_vector(pci, vectors[i]))
			pv_fields_fail(fields, "queue %u has a vector that does not exist", i);
		state->queue_vector[i] = vectors[i];
	}
}

static void load_entry(
    struct pv_fields *fields, const struct pv_val *val, struct pv_pci_msix_entry *entry)
{
	struct pv_fields inner = pv_fields_begin(val, "an MSI-X entry", fields->err);
	if (fields->status < 0)
		return;
	entry->address = pv_fields_uint(&inner, "address", UINT64_MAX);
	entry->data = pv_fields_uint(&inner, "data", UINT32_MAX);
	entry->control = pv_fields_uint(&inner, "control", 1);
	if (entry->address % 4)
		pv_fields_fail(&inner, "the address is not aligned to 4");
	fields->status = pv_fields_end(&inner);
}

static void load_table(
    struct pv_fields *fields, const struct pv_virtio_pci *pci, struct pv_virtio_pci_state *state)
{
	const unsigned count = pv_pci_msix_count(pci);
	const struct pv_val *table = pv_fields_array(fields, "table", count, count);
	for (unsigned i = 0; table && i < count; i++)
		load_entry(fields, pv_val_at(table, i), &state->table[i]);
	state->pending = pv_fields_uint(fields, "pending", (UINT64_C(1) << count) - 1);
}

/* Puts the BARs that were on the bus there again; with an error none. */
static void load_mappings(struct pv_fields *fields, struct pv_virtio_pci *pci, uint64_t mapped)
{
	const bool decoding = pv_pci_config_command(pci) & PCI_COMMAND_MEMORY;
	for (unsigned i = 0; i < PV_PCI_BARS; i++) {
		if (!(mapped & MAPPED(i)))
			continue;
		const uint32_t base = pv_pci_config_bar(pci, i);
		if (!decoding || base == 0)
			pv_fields_fail(fields, "BAR %u is mapped while it is not decoded", i);
		else if (fields->status == 0 && !pv_virtio_pci_map_bar(pci, i))
			pv_fields_fail(
			    fields, "BAR %u at 0x%x overlaps another device", i, (unsigned)base);
	}
	for (unsigned i = 0; fields->status < 0 && i < PV_PCI_BARS; i++)
		pv_virtio_pci_unmap_bar(pci, i);
}

/* An interrupt waits only while its vector is masked, or it would have been sent. */
static void check_pending(struct pv_fields *fields, const struct pv_virtio_pci *pci)
{
	if (!pv_pci_config_msix_enabled(pci) || pv_pci_config_msix_masked(pci))
		return;
	for (unsigned i = 0; i < pv_pci_msix_count(pci); i++)
		if ((pci->state.pending & UINT64_C(1) << i) && !pci->state.table[i].control)
			pv_fields_fail(fields, "vector %u is pending though it is not masked", i);
}

int pv_virtio_pci_load(struct pv_virtio_pci *pci, const struct pv_val *val, struct pv_err *err)
{
	if (pv_pci_config_command(pci) & PCI_COMMAND_MEMORY)
		return pv_err_set(err, PV_ERR_STATE, EBUSY,
		    "the PCI function of virtio device %u is in use; reset it before its state is "
		    "loaded",
		    pci->dev->id);
	const struct pv_virtio_pci_state fresh = pci->state;
	const uint16_t vectors = pci->dev->vectors;
	struct pv_virtio_pci_state next = fresh;
	struct pv_fields fields = pv_fields_begin(val, "a virtio PCI function", err);
	load_config(&fields, pci, &next);
	const uint64_t mapped = pv_fields_uint(&fields, "mapped", MAPPED_ALL);
	next.device_feature_select = pv_fields_uint(&fields, "device_feature_select", UINT32_MAX);
	next.driver_feature_select = pv_fields_uint(&fields, "driver_feature_select", UINT32_MAX);
	next.queue_select = pv_fields_uint(&fields, "queue_select", UINT16_MAX);
	load_vectors(&fields, pci, &next);
	next.isr = pv_fields_uint(&fields, "isr", PV_PCI_ISR_QUEUE | PV_PCI_ISR_CONFIG);
	load_table(&fields, pci, &next);
	if (pv_fields_end(&fields) == 0) {
		pci->state = next;
		check_pending(&fields, pci);
		load_mappings(&fields, pci, mapped);
	}
	if (fields.status < 0) {
		pci->state = fresh;
		pci->dev->vectors = vectors;
		return pv_err_prefix(err, "virtio device %u", pci->dev->id);
	}
	pv_virtio_pci_sync_doorbells(pci);
	pv_virtio_pci_sync_line(pci);
	pv_pci_msix_sync(pci);
	return 0;
}
