/*
 * The body of the DSDT. What it describes is fixed by vmm/layout.h except for the number of
 * processors. Everything that a guest does with hardware goes through fixed registers, so the
 * namespace is data, which every interpreter understands. The one method passes an event on to the
 * device that it is about; hot-plug will add more (\_GPE and _EJ0).
 */
#include "vmm/acpi_dsdt.h"

#include <stdio.h>

#include "vmm/acpi.h"
#include "vmm/aml.h"
#include "vmm/layout.h"

/* What a device tells its driver in a word of its own (5.6.6, device-specific values). */
#define NOTIFY_CHANGED 0x80

/* \_Sx: what to write to SLP_TYP of PM1a and PM1b (7.4.2). */
static void sleep_state(struct pv_aml *aml, const char *name, uint8_t type)
{
	pv_aml_name(aml, name);
	size_t package = pv_aml_package(aml, 4);
	pv_aml_integer(aml, type);
	pv_aml_integer(aml, type);
	pv_aml_integer(aml, 0);
	pv_aml_integer(aml, 0);
	pv_aml_end(aml, package);
}

/* INTA# of every slot, straight to a GSI (6.2.13). */
static void interrupt_routing(struct pv_aml *aml)
{
	const unsigned first = PV_LAYOUT_SLOT_FIRST_USER;
	const unsigned last = PV_LAYOUT_SLOT_VSOCK;
	pv_aml_name(aml, "_PRT");
	size_t table = pv_aml_package(aml, (uint8_t)(last - first + 1));
	for (unsigned slot = first; slot <= last; slot++) {
		size_t entry = pv_aml_package(aml, 4);
		pv_aml_integer(aml, slot << 16 | 0xffff);
		pv_aml_integer(aml, 0);
		pv_aml_integer(aml, 0);
		pv_aml_integer(aml, PV_LAYOUT_GSI_PCI + slot % PV_LAYOUT_GSI_PCI_COUNT);
		pv_aml_end(aml, entry);
	}
	pv_aml_end(aml, table);
}

static void host_bridge(struct pv_aml *aml)
{
	size_t device = pv_aml_device(aml, "PCI0");
	pv_aml_name(aml, "_HID");
	pv_aml_eisa_id(aml, "PNP0A03");
	pv_aml_name(aml, "_UID");
	pv_aml_integer(aml, 0);
	pv_aml_name(aml, "_CRS");
	size_t resources = pv_aml_resources(aml);
	/* One bus only: a wider range makes the guest look for bridges on 256. */
	pv_aml_bus_range(aml, 0, 0);
	pv_aml_io(aml, PV_LAYOUT_PIO_PCI, 8);
	pv_aml_io_range(aml, 0, PV_LAYOUT_PIO_PCI - 1);
	pv_aml_io_range(aml, PV_LAYOUT_PIO_PCI + 8, 0xffff);
	pv_aml_memory_range(
	    aml, (uint32_t)PV_LAYOUT_PCI_MMIO, (uint32_t)(PV_LAYOUT_PCI_MMIO_END - 1));
	pv_aml_end_resources(aml, resources);
	interrupt_routing(aml);
	pv_aml_end(aml, device);
}

/* A device of the ISA bus with some ports and an interrupt. */
static void isa_device(struct pv_aml *aml, const char *name, const char *id, uint16_t port,
    uint8_t ports, unsigned irq)
{
	size_t device = pv_aml_device(aml, name);
	pv_aml_name(aml, "_HID");
	pv_aml_eisa_id(aml, id);
	pv_aml_name(aml, "_CRS");
	size_t resources = pv_aml_resources(aml);
	pv_aml_io(aml, port, ports);
	pv_aml_irq(aml, irq);
	pv_aml_end_resources(aml, resources);
	pv_aml_end(aml, device);
}

static void processor(struct pv_aml *aml, unsigned index)
{
	char name[8];
	snprintf(name, sizeof(name), "C%03X", index & 0xfff);
	size_t device = pv_aml_device(aml, name);
	pv_aml_name(aml, "_HID");
	pv_aml_string(aml, "ACPI0007");
	pv_aml_name(aml, "_UID");
	pv_aml_integer(aml, index);
	pv_aml_end(aml, device);
}

/*
 * Where the generation id is, as a package of the lower and the upper half of its address, and the
 * event that says that it has changed ("Virtual Machine Generation ID"). The hardware id has to be
 * a vendor's own; drivers look for the compatible one.
 */
static void generation(struct pv_aml *aml)
{
	size_t device = pv_aml_device(aml, "VGEN");
	pv_aml_name(aml, "_HID");
	pv_aml_string(aml, "PRVM0001");
	pv_aml_name(aml, "_CID");
	pv_aml_string(aml, "VM_Gen_Counter");
	pv_aml_name(aml, "_DDN");
	pv_aml_string(aml, "VM_Gen_Counter");
	pv_aml_name(aml, "ADDR");
	size_t address = pv_aml_package(aml, 2);
	pv_aml_integer(aml, PV_LAYOUT_GENERATION);
	pv_aml_integer(aml, 0);
	pv_aml_end(aml, address);
	pv_aml_end(aml, device);
}

static void events(struct pv_aml *aml)
{
	char name[8];
	size_t scope = pv_aml_scope(aml, "_GPE");
	snprintf(name, sizeof(name), "_E%02X", PV_LAYOUT_GPE_GENERATION);
	size_t method = pv_aml_method(aml, name);
	pv_aml_notify(aml, "_SB_", "VGEN", NOTIFY_CHANGED);
	pv_aml_end(aml, method);
	pv_aml_end(aml, scope);
}

void pv_acpi_dsdt(struct pv_aml *aml, const struct pv_acpi_config *config)
{
	sleep_state(aml, "_S3_", PV_LAYOUT_SLEEP_S3);
	sleep_state(aml, "_S5_", PV_LAYOUT_SLEEP_S5);
	size_t bus = pv_aml_scope(aml, "_SB_");
	for (unsigned i = 0; i < config->cpus; i++)
		processor(aml, i);
	host_bridge(aml);
	isa_device(aml, "COM1", "PNP0501", PV_LAYOUT_PIO_SERIAL, 8, PV_LAYOUT_GSI_SERIAL);
	isa_device(aml, "RTC_", "PNP0B00", PV_LAYOUT_PIO_RTC, 2, PV_LAYOUT_GSI_RTC);
	generation(aml);
	pv_aml_end(aml, bus);
	events(aml);
}
