/*
 * Where things are in the guest's address spaces (x86-64). One page of constants, so that tables, devices and loader cannot disagree.
 */
#ifndef PV_VMM_LAYOUT_H
#define PV_VMM_LAYOUT_H

#include <stdint.h>

/* --- RAM: [0, LOW_MEMORY_END) and, for what does not fit, from 4 GiB on --- */
#define PV_LAYOUT_LOW_MEMORY_END UINT64_C(0xc0000000)
#define PV_LAYOUT_HIGH_MEMORY	 UINT64_C(0x100000000)
#define PV_LAYOUT_MEMORY_MIN	 (UINT64_C(16) << 20)

/* --- first MiB --- */
#define PV_LAYOUT_GDT	      0x500u
#define PV_LAYOUT_ZERO_PAGE   0x7000u
#define PV_LAYOUT_BOOT_STACK  0x8ff0u
#define PV_LAYOUT_PAGE_TABLES 0x9000u /* PML4, PDPT, four PDs: 6 pages, up to 0xf000 */
#define PV_LAYOUT_SETUP_DATA  0xf000u /* chain of setup_data, up to 0x10000 */
#define PV_LAYOUT_CMDLINE     0x20000u
#define PV_LAYOUT_CMDLINE_MAX 4096u /* with the NUL; more than x86 Linux takes (2048) never helps */
#define PV_LAYOUT_EBDA	      0x9fc00u
#define PV_LAYOUT_ACPI	      0xe0000u /* RSDP first */
#define PV_LAYOUT_GENERATION  0xff000u /* page of the generation id; the ACPI tables end below */
#define PV_LAYOUT_ACPI_END    0x100000u
#define PV_LAYOUT_KERNEL_MIN  0x100000u

/* --- MMIO below 4 GiB --- */
#define PV_LAYOUT_PCI_MMIO     UINT64_C(0xc0000000)
#define PV_LAYOUT_PCI_MMIO_END UINT64_C(0xfe000000)
#define PV_LAYOUT_PCI_SLOT_MMIO 0x10000u /* each slot's start-up BARs: PCI_MMIO + slot * this */
#define PV_LAYOUT_IOAPIC       UINT64_C(0xfec00000)
#define PV_LAYOUT_HPET	       UINT64_C(0xfed00000)
#define PV_LAYOUT_LAPIC	       UINT64_C(0xfee00000)
#define PV_LAYOUT_TSS	       UINT64_C(0xfffbd000) /* three pages that Intel hosts need */
#define PV_LAYOUT_IDENTITY_MAP UINT64_C(0xfffbc000)

/* --- port I/O --- */
#define PV_LAYOUT_PIO_I8042  0x60u /* 0x60 and 0x64 */
#define PV_LAYOUT_PIO_RTC    0x70u /* index, data */
#define PV_LAYOUT_PIO_SERIAL 0x3f8u
#define PV_LAYOUT_PIO_PM     0x600u /* ACPI PM block: event 0..3, control 4..5, timer 8..11, GPE0 at 0x20.., reset at 0x40, hot-plug from 0x80 */
#define PV_LAYOUT_PIO_PM_SIZE 0x100u
#define PV_LAYOUT_PIO_PCI    0xcf8u /* address, data */

/* Offsets in the PM block. */
#define PV_LAYOUT_PM_EVENT   0x00u
#define PV_LAYOUT_PM_CONTROL 0x04u
#define PV_LAYOUT_PM_TIMER   0x08u
#define PV_LAYOUT_PM_GPE0    0x20u /* 4 bytes: 2 status, 2 enable */
#define PV_LAYOUT_PM_RESET   0x40u
#define PV_LAYOUT_RESET_VALUE 0x01u

/* General-purpose events; the names of their methods in \_GPE end in these numbers. */
#define PV_LAYOUT_GPE_GENERATION 5u

/* Sleep types (SLP_TYP of PM1 control, and \_Sx packages). */
#define PV_LAYOUT_SLEEP_S3 1u
#define PV_LAYOUT_SLEEP_S5 5u

/* --- GSIs --- */
#define PV_LAYOUT_GSI_SERIAL 4u
#define PV_LAYOUT_GSI_RTC    8u
#define PV_LAYOUT_GSI_SCI    9u
#define PV_LAYOUT_GSI_PCI    16u /* INTA# of slot n is PCI + n % 8, level */
#define PV_LAYOUT_GSI_PCI_COUNT 8u
#define PV_LAYOUT_GSI_MSI    24u /* first route number used for MSI */

/* --- PCI slots on bus 0 --- */
#define PV_LAYOUT_SLOT_HOST_BRIDGE 0u
#define PV_LAYOUT_SLOT_FIRST_USER  1u  /* disks and NICs in the order of attachment */
#define PV_LAYOUT_SLOT_LAST_USER   28u
#define PV_LAYOUT_SLOT_RNG	   29u
#define PV_LAYOUT_SLOT_CONSOLE	   30u
#define PV_LAYOUT_SLOT_VSOCK	   31u

#define PV_LAYOUT_CPUS_MAX 64u

#endif
