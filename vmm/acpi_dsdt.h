/*
 * The body of the DSDT: the devices that no bus enumerates, sleep states and interrupt routing.
 * Private to the table builder.
 */
#ifndef PV_VMM_ACPI_DSDT_H
#define PV_VMM_ACPI_DSDT_H

struct pv_aml;
struct pv_acpi_config;

/* Appends the AML behind the table header. */
void pv_acpi_dsdt(struct pv_aml *aml, const struct pv_acpi_config *config);

#endif
