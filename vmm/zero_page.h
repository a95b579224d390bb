/*
 * Offsets in Linux's zero page (Documentation/arch/x86/zero-page.rst) and in the setup header
 * inside it, which a bzImage has at the same offsets in its file (Documentation/arch/x86/boot.rst).
 * Names are those of the specification.
 */
#ifndef PV_VMM_ZERO_PAGE_H
#define PV_VMM_ZERO_PAGE_H

#define ZERO_PAGE_SIZE 4096u

/* --- the setup header --- */
#define ZERO_PAGE_SETUP_SECTS	   0x1f1u
#define ZERO_PAGE_BOOT_FLAG	   0x1feu
#define ZERO_PAGE_JUMP		   0x200u /* the header ends at 0x202 + the byte at 0x201 */
#define ZERO_PAGE_HEADER	   0x202u /* "HdrS" */
#define ZERO_PAGE_VERSION	   0x206u
#define ZERO_PAGE_TYPE_OF_LOADER   0x210u
#define ZERO_PAGE_LOADFLAGS	   0x211u
#define ZERO_PAGE_RAMDISK_IMAGE	   0x218u
#define ZERO_PAGE_RAMDISK_SIZE	   0x21cu
#define ZERO_PAGE_HEAP_END_PTR	   0x224u
#define ZERO_PAGE_CMD_LINE_PTR	   0x228u
#define ZERO_PAGE_INITRD_ADDR_MAX  0x22cu
#define ZERO_PAGE_KERNEL_ALIGNMENT 0x230u
#define ZERO_PAGE_RELOCATABLE	   0x234u
#define ZERO_PAGE_XLOADFLAGS	   0x236u /* from 2.12 */
#define ZERO_PAGE_CMDLINE_SIZE	   0x238u /* from 2.06 */
#define ZERO_PAGE_PAYLOAD_OFFSET   0x248u /* from 2.08 */
#define ZERO_PAGE_PAYLOAD_LENGTH   0x24cu
#define ZERO_PAGE_SETUP_DATA	   0x250u
#define ZERO_PAGE_PREF_ADDRESS	   0x258u /* from 2.10 */
#define ZERO_PAGE_INIT_SIZE	   0x260u
#define ZERO_PAGE_SETUP_HEADER_END 0x290u /* at the latest */

#define BOOT_FLAG	   0xaa55u
#define HEADER_MAGIC	   0x53726448u /* "HdrS" */
#define LOADED_HIGH	   0x01u       /* loadflags */
#define CAN_USE_HEAP	   0x80u
#define XLF_KERNEL_64	   0x01u
#define LOADER_UNDEFINED   0xffu
#define PROTOCOL_CMDLINE   0x0206u
#define PROTOCOL_PAYLOAD   0x0208u
#define PROTOCOL_INIT_SIZE 0x020au
#define PROTOCOL_64	   0x020cu

/* --- the rest of the zero page --- */
#define ZERO_PAGE_ACPI_RSDP_ADDR 0x070u
#define ZERO_PAGE_E820_ENTRIES	 0x1e8u
#define ZERO_PAGE_E820_TABLE	 0x2d0u
#define E820_ENTRY_SIZE		 20u
#define E820_ENTRIES_MAX	 128u
#define E820_RAM		 1u
#define E820_RESERVED		 2u

/* --- struct setup_data: next, type, length, data --- */
#define SETUP_DATA_HEADER 16u
#define SETUP_RNG_SEED	  9u

#endif
