/*
 * The tables of vmm/acpi.h (ACPI 6.4, chapter 5). They are built in one buffer in the order DSDT,
 * FACS, FADT, MADT, XSDT, each at an address that is known when it is begun, because the buffer
 * goes to a fixed place behind the RSDP; so pointers are written once and never patched.
 *
 * The machine is not "hardware-reduced": stock kernels know fixed registers best. It is in ACPI
 * mode from the start (SMI_CMD is 0), has a fixed power button, and announces neither a keyboard
 * controller nor VGA, whose probing costs half a second.
 */
#include "vmm/acpi.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/gmem.h"
#include "vmm/acpi_dsdt.h"
#include "vmm/aml.h"
#include "vmm/layout.h"

#define RSDP_SIZE   36u
#define HEADER_SIZE 36u
#define FADT_SIZE   276u
#define FACS_SIZE   64u
#define TABLE_ALIGN 64u

/* FADT flags (5.2.9, table 5.10) and IA-PC boot flags (table 5.11). */
#define FADT_WBINVD	    (1u << 0)
#define FADT_PROC_C1	    (1u << 2)
#define FADT_SLEEP_BUTTON   (1u << 5) /* not a fixed feature */
#define FADT_RTC_NOT_FIXED  (1u << 6)
#define FADT_TIMER_32_BIT   (1u << 8)
#define FADT_RESET_REG	    (1u << 10)
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_NO_VGA	    (1u << 2)
#define BOOT_NO_ASPM	    (1u << 4)

#define CMOS_CENTURY	0x32u
#define MADT_PCAT	1u
#define MADT_ENABLED	1u
#define POLARITY_HIGH	0x1u
#define TRIGGER_LEVEL	0xcu
#define SPACE_SYSTEM_IO 1u

struct tables {
	struct pv_bytes out; /* what goes behind the RSDP */
	int status;
};

static uint64_t address_at(size_t offset)
{
	return PV_LAYOUT_ACPI + TABLE_ALIGN + offset;
}

static void put(struct tables *tables, const void *data, size_t len)
{
	if (tables->status == 0)
		tables->status = pv_bytes_append(&tables->out, data, len);
}

static uint8_t checksum(const uint8_t *data, size_t len)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + data[i]);
	return (uint8_t)-sum;
}

static void align(struct tables *tables)
{
	static const uint8_t zeros[TABLE_ALIGN];
	size_t over = tables->out.len % TABLE_ALIGN;
	if (over)
		put(tables, zeros, TABLE_ALIGN - over);
}

/* Adds a table: header, then `body`. Returns its address. */
static uint64_t add_table(
    struct tables *tables, const char *signature, uint8_t revision, const void *body, size_t len)
{
	uint8_t header[HEADER_SIZE] = {0};
	align(tables);
	size_t start = tables->out.len;
	memcpy(header, signature, 4);
	pv_put_le32(header + 4, (uint32_t)(HEADER_SIZE + len));
	header[8] = revision;
	memcpy(header + 10, "PROVIU", 6);
	memcpy(header + 16, "PROVIUM ", 8);
	pv_put_le32(header + 24, 1);
	memcpy(header + 28, "PRVM", 4);
	pv_put_le32(header + 32, 1);
	put(tables, header, sizeof(header));
	put(tables, body, len);
	if (tables->status == 0)
		tables->out.data[start + 9] = checksum(tables->out.data + start, HEADER_SIZE + len);
	return address_at(start);
}

/* Adds a table whose body was written with `status`, and frees the body. */
static uint64_t add_written(struct tables *tables, const char *signature, uint8_t revision,
    struct pv_bytes *body, int status)
{
	if (tables->status == 0)
		tables->status = status;
	uint64_t at =
	    tables->status == 0 ? add_table(tables, signature, revision, body->data, body->len) : 0;
	pv_bytes_finish(body);
	return at;
}

static uint64_t add_dsdt(struct tables *tables, const struct pv_acpi_config *config)
{
	struct pv_aml aml = {0};
	pv_acpi_dsdt(&aml, config);
	return add_written(tables, "DSDT", 2, &aml.out, aml.status);
}

/* 5.2.10: holds the waking vector of S3; no header like the others, no checksum. */
static uint64_t add_facs(struct tables *tables)
{
	uint8_t facs[FACS_SIZE] = {0};
	align(tables);
	uint64_t at = address_at(tables->out.len);
	memcpy(facs, "FACS", 4);
	pv_put_le32(facs + 4, FACS_SIZE);
	facs[32] = 2;
	put(tables, facs, sizeof(facs));
	return at;
}

/* A register: its place in the FADT in short and in extended form, and what both say (5.2.3.2). */
struct fadt_register {
	uint8_t narrow;
	uint8_t wide;
	uint8_t length_at;
	uint8_t length;
	uint8_t access; /* 1, 2, 3: byte, word, double word */
	uint16_t port;
};

static const struct fadt_register fadt_registers[] = {
    {56, 148, 88, 4, 2, PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_EVENT  },
    {64, 172, 89, 2, 2, PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_CONTROL},
    {76, 208, 91, 4, 3, PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_TIMER  },
    {80, 220, 92, 4, 1, PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_GPE0   },
};

static void put_register(uint8_t *fadt, const struct fadt_register *reg)
{
	pv_put_le32(fadt + reg->narrow, reg->port);
	fadt[reg->length_at] = reg->length;
	fadt[reg->wide] = SPACE_SYSTEM_IO;
	fadt[reg->wide + 1] = (uint8_t)(reg->length * 8);
	fadt[reg->wide + 3] = reg->access;
	pv_put_le64(fadt + reg->wide + 4, reg->port);
}

/* 5.2.9; offsets are those of the table, with its header. */
static uint64_t add_fadt(struct tables *tables, uint64_t dsdt, uint64_t facs)
{
	uint8_t fadt[FADT_SIZE] = {0};
	pv_put_le32(fadt + 36, (uint32_t)facs);
	pv_put_le32(fadt + 40, (uint32_t)dsdt);
	pv_put_le16(fadt + 46, PV_LAYOUT_GSI_SCI);
	for (size_t i = 0; i < sizeof(fadt_registers) / sizeof(fadt_registers[0]); i++)
		put_register(fadt, &fadt_registers[i]);
	pv_put_le16(fadt + 96, 0xfff); /* C2 and C3: worst latency, so none */
	pv_put_le16(fadt + 98, 0xfff);
	fadt[108] = CMOS_CENTURY;
	pv_put_le16(fadt + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_ASPM);
	pv_put_le32(fadt + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLEEP_BUTTON |
				    FADT_RTC_NOT_FIXED | FADT_TIMER_32_BIT | FADT_RESET_REG);
	fadt[116] = SPACE_SYSTEM_IO;
	fadt[117] = 8;
	fadt[119] = 1;
	pv_put_le64(fadt + 120, PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_RESET);
	fadt[128] = PV_LAYOUT_RESET_VALUE;
	fadt[131] = 4; /* minor version */
	pv_put_le64(fadt + 140, dsdt);
	memcpy(fadt + 268, "PROVIUM", 7);
	return add_table(tables, "FACP", 6, fadt + HEADER_SIZE, FADT_SIZE - HEADER_SIZE);
}

/* 5.2.12 */
static uint64_t add_madt(struct tables *tables, unsigned cpus)
{
	struct tables body = {0};
	uint8_t head[8];
	pv_put_le32(head, (uint32_t)PV_LAYOUT_LAPIC);
	pv_put_le32(head + 4, MADT_PCAT);
	put(&body, head, sizeof(head));
	for (unsigned i = 0; i < cpus; i++) {
		uint8_t lapic[8] = {0, 8, (uint8_t)i, (uint8_t)i, MADT_ENABLED};
		put(&body, lapic, sizeof(lapic));
	}
	uint8_t ioapic[12] = {1, 12, 0};
	pv_put_le32(ioapic + 4, (uint32_t)PV_LAYOUT_IOAPIC);
	put(&body, ioapic, sizeof(ioapic));
	/* The PIT's interrupt arrives at pin 2; the SCI is level-triggered. */
	const uint8_t timer[10] = {2, 10, 0, 0, 2};
	put(&body, timer, sizeof(timer));
	const uint8_t sci[10] = {2, 10, 0, PV_LAYOUT_GSI_SCI, PV_LAYOUT_GSI_SCI, 0, 0, 0,
	    POLARITY_HIGH | TRIGGER_LEVEL, 0};
	put(&body, sci, sizeof(sci));
	const uint8_t nmi[6] = {4, 6, 0xff, 0, 0, 1};
	put(&body, nmi, sizeof(nmi));
	return add_written(tables, "APIC", 4, &body.out, body.status);
}

/* 5.2.5.3 */
static void make_rsdp(uint8_t rsdp[RSDP_SIZE], uint64_t xsdt)
{
	memset(rsdp, 0, RSDP_SIZE);
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "PROVIU", 6);
	rsdp[15] = 2;
	pv_put_le32(rsdp + 20, RSDP_SIZE);
	pv_put_le64(rsdp + 24, xsdt);
	rsdp[8] = checksum(rsdp, 20);
	rsdp[32] = checksum(rsdp, RSDP_SIZE);
}

int pv_acpi_write(const struct pv_gmem *mem, const struct pv_acpi_config *config, uint64_t *rsdp_at,
    struct pv_err *err)
{
	struct tables tables = {0};
	uint8_t rsdp[RSDP_SIZE];
	uint64_t pointers[2];
	if (config->cpus < 1 || config->cpus > PV_LAYOUT_CPUS_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, EINVAL, "%u vCPUs are not between 1 and %u",
		    config->cpus, PV_LAYOUT_CPUS_MAX);
	uint64_t dsdt = add_dsdt(&tables, config);
	uint64_t facs = add_facs(&tables);
	pointers[0] = add_fadt(&tables, dsdt, facs);
	pointers[1] = add_madt(&tables, config->cpus);
	make_rsdp(rsdp, add_table(&tables, "XSDT", 1, pointers, sizeof(pointers)));
	int status = tables.status;
	if (status)
		pv_err_nomem(err, "ACPI tables");
	else if (tables.out.len > PV_LAYOUT_GENERATION - PV_LAYOUT_ACPI - TABLE_ALIGN)
		status = pv_err_set(err, PV_ERR_LIMIT, ENOSPC,
		    "the ACPI tables of %u vCPUs need %zu bytes, more than there is room for",
		    config->cpus, tables.out.len);
	else if (pv_gmem_write(mem, PV_LAYOUT_ACPI, rsdp, sizeof(rsdp)) ||
		 pv_gmem_write(mem, address_at(0), tables.out.data, tables.out.len))
		status = pv_err_set(
		    err, PV_ERR_INTERNAL, EFAULT, "there is no memory for the ACPI tables");
	pv_bytes_finish(&tables.out);
	*rsdp_at = PV_LAYOUT_ACPI;
	return status;
}
