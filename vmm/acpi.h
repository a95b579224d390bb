/*
 * The ACPI tables of the machine (ACPI 6.4): RSDP, XSDT, FADT, FACS, MADT and a DSDT in AML: power button, S3 and S5, reset register, PCI root
 * with interrupt routing, serial port, RTC, CPUs. Built at every boot into the reserved range below 1 MiB.
 */
#ifndef PV_VMM_ACPI_H
#define PV_VMM_ACPI_H

#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_gmem;

struct pv_acpi_config {
	unsigned cpus;
};

/* Writes the tables at PV_LAYOUT_ACPI. Returns 0 or -errno (they do not fit, or no RAM there). `*rsdp` gets the RSDP's address. */
int pv_acpi_write(const struct pv_gmem *mem, const struct pv_acpi_config *config, uint64_t *rsdp, struct pv_err *err);

#endif
