/*
 * The ACPI tables, read as an operating system reads them, and by Intel's compiler where it is
 * installed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/gmem.h"
#include "vmm/acpi.h"
#include "vmm/aml.h"
#include "vmm/layout.h"

#define RAM_SIZE (1u << 20)

struct guest {
	struct pv_gmem mem;
	uint8_t *ram;
	uint64_t rsdp;
};

static void begin(struct guest *guest, unsigned cpus)
{
	struct pv_err err = PV_ERR_INIT;
	const struct pv_acpi_config config = {.cpus = cpus};
	*guest = (struct guest){.ram = calloc(1, RAM_SIZE)};
	assert_int_equal(pv_gmem_add(&guest->mem, 0, RAM_SIZE, guest->ram), 0);
	if (pv_acpi_write(&guest->mem, &config, &guest->rsdp, &err) < 0)
		fail_msg("%s", err.text);
}

static void end(struct guest *guest)
{
	free(guest->ram);
}

static unsigned sum(const uint8_t *data, size_t len)
{
	unsigned total = 0;
	for (size_t i = 0; i < len; i++)
		total += data[i];
	return total & 0xff;
}

static const uint8_t *at(const struct guest *guest, uint64_t gpa, size_t len)
{
	assert_in_range(gpa, PV_LAYOUT_ACPI, PV_LAYOUT_GENERATION - len);
	return guest->ram + gpa;
}

/* A whole table by its address, with signature and checksum looked at. */
static const uint8_t *table_at(const struct guest *guest, uint64_t gpa, const char *signature)
{
	const uint32_t len = pv_le32(at(guest, gpa, 36) + 4);
	const uint8_t *table = at(guest, gpa, len);
	assert_memory_equal(table, signature, 4);
	assert_int_equal(sum(table, len), 0);
	return table;
}

/* A table that the XSDT lists. */
static const uint8_t *find_table(const struct guest *guest, const char *signature)
{
	const uint8_t *rsdp = at(guest, guest->rsdp, 36);
	const uint8_t *xsdt = table_at(guest, pv_le64(rsdp + 24), "XSDT");
	for (size_t offset = 36; offset < pv_le32(xsdt + 4); offset += 8) {
		const uint64_t gpa = pv_le64(xsdt + offset);
		if (memcmp(at(guest, gpa, 4), signature, 4) == 0)
			return table_at(guest, gpa, signature);
	}
	fail_msg("there is no %s", signature);
	return NULL;
}

static void the_root_pointer_can_be_found_and_added_up(void **state)
{
	struct guest guest;
	begin(&guest, 1);
	/* On 16 bytes, in the range that is searched. */
	assert_int_equal(guest.rsdp % 16, 0);
	const uint8_t *rsdp = at(&guest, guest.rsdp, 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	end(&guest);
}

static void the_fadt_describes_the_power_management_block(void **state)
{
	struct guest guest;
	begin(&guest, 1);
	const uint8_t *fadt = find_table(&guest, "FACP");
	assert_int_equal(fadt[8], 6);
	assert_int_equal(pv_le32(fadt + 4), 276);
	assert_int_equal(pv_le16(fadt + 46), PV_LAYOUT_GSI_SCI);
	assert_int_equal(pv_le32(fadt + 48), 0); /* SMI_CMD: in ACPI mode from the start */
	assert_int_equal(pv_le32(fadt + 56), PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_EVENT);
	assert_int_equal(pv_le32(fadt + 64), PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_CONTROL);
	assert_int_equal(pv_le32(fadt + 76), PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_TIMER);
	assert_int_equal(pv_le32(fadt + 80), PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_GPE0);
	assert_memory_equal(fadt + 88, "\4\2\0\4\4\0", 6);
	assert_int_equal(fadt[108], 0x32);
	/* No keyboard controller, no VGA, but an RTC. */
	const unsigned boot = pv_le16(fadt + 109);
	assert_int_equal(boot & (1 << 1 | 1 << 2 | 1 << 5), 1 << 2);
	const uint32_t flags = pv_le32(fadt + 112);
	/* Fixed power button, 32-bit timer, reset register, not hardware-reduced. */
	assert_int_equal(flags & (1 << 4), 0);
	assert_int_equal(flags & (1 << 8), 1 << 8);
	assert_int_equal(flags & (1 << 10), 1 << 10);
	assert_int_equal(flags & (1 << 20), 0);
	assert_int_equal(fadt[116], 1);
	assert_int_equal(fadt[117], 8);
	assert_int_equal(pv_le64(fadt + 120), PV_LAYOUT_PIO_PM + PV_LAYOUT_PM_RESET);
	assert_int_equal(fadt[128], PV_LAYOUT_RESET_VALUE);
	/* Both forms of each pointer and register agree. */
	assert_int_equal(pv_le64(fadt + 140), pv_le32(fadt + 40));
	assert_int_equal(pv_le64(fadt + 152), pv_le32(fadt + 56));
	assert_int_equal(pv_le64(fadt + 176), pv_le32(fadt + 64));
	assert_int_equal(pv_le64(fadt + 212), pv_le32(fadt + 76));
	assert_int_equal(pv_le64(fadt + 224), pv_le32(fadt + 80));
	table_at(&guest, pv_le64(fadt + 140), "DSDT");
	end(&guest);
}

static void the_facs_is_aligned_for_suspend(void **state)
{
	struct guest guest;
	begin(&guest, 1);
	const uint32_t gpa = pv_le32(find_table(&guest, "FACP") + 36);
	assert_int_equal(gpa % 64, 0);
	const uint8_t *facs = at(&guest, gpa, 64);
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(pv_le32(facs + 4), 64);
	end(&guest);
}

static void the_madt_lists_cpus_ioapic_and_overrides(void **state)
{
	for (unsigned cpus = 1; cpus <= PV_LAYOUT_CPUS_MAX; cpus += 21) {
		struct guest guest;
		begin(&guest, cpus);
		const uint8_t *madt = find_table(&guest, "APIC");
		const uint32_t len = pv_le32(madt + 4);
		unsigned lapics = 0, ioapics = 0, overrides = 0;
		assert_int_equal(pv_le32(madt + 36), PV_LAYOUT_LAPIC);
		for (size_t offset = 44; offset < len; offset += madt[offset + 1]) {
			const uint8_t *entry = madt + offset;
			assert_in_range(entry[1], 2, len - offset);
			if (entry[0] == 0) {
				assert_int_equal(entry[2], lapics);
				assert_int_equal(entry[3], lapics);
				assert_int_equal(entry[4], 1);
				lapics++;
			} else if (entry[0] == 1) {
				assert_int_equal(pv_le32(entry + 4), PV_LAYOUT_IOAPIC);
				assert_int_equal(pv_le32(entry + 8), 0);
				ioapics++;
			} else if (entry[0] == 2 && entry[3] == 0) {
				assert_int_equal(pv_le32(entry + 4), 2);
				overrides++;
			} else if (entry[0] == 2) {
				assert_int_equal(entry[3], PV_LAYOUT_GSI_SCI);
				assert_int_equal(pv_le32(entry + 4), PV_LAYOUT_GSI_SCI);
				assert_int_equal(pv_le16(entry + 8), 0xd);
				overrides++;
			}
		}
		assert_int_equal(lapics, cpus);
		assert_int_equal(ioapics, 1);
		assert_int_equal(overrides, 2);
		end(&guest);
	}
}

static void a_wrong_number_of_cpus_is_refused(void **state)
{
	const unsigned wrong[] = {0, PV_LAYOUT_CPUS_MAX + 1, 257, UINT32_MAX};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct pv_gmem mem = {0};
		const struct pv_acpi_config config = {.cpus = wrong[i]};
		struct pv_err err = PV_ERR_INIT;
		uint64_t rsdp;
		assert_int_equal(pv_acpi_write(&mem, &config, &rsdp, &err), -EINVAL);
		assert_non_null(strstr(err.text, "not between 1 and 64"));
	}
}

static void no_memory_is_an_error(void **state)
{
	const struct pv_gmem mem = {0};
	const struct pv_acpi_config config = {.cpus = 1};
	struct pv_err err = PV_ERR_INIT;
	uint64_t rsdp;
	assert_int_equal(pv_acpi_write(&mem, &config, &rsdp, &err), -EFAULT);
}

static void integers_take_the_shortest_form(void **state)
{
	static const struct {
		uint64_t value;
		size_t len;
		const char *bytes;
	} cases[] = {
	    {0,		 1, "\x00"		 },
	    {1,		 1, "\x01"		 },
	    {2,		 2, "\x0a\x02"	     },
	    {0xff,		   2, "\x0a\xff"		},
	    {0x100,		    3, "\x0b\x00\x01"	     },
	    {0x10000,	      5, "\x0c\x00\x00\x01\x00"},
	    {UINT64_C(1) << 32, 9, "\x0e\0\0\0\0\1\0\0\0"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pv_aml aml = {0};
		pv_aml_integer(&aml, cases[i].value);
		assert_int_equal(aml.status, 0);
		assert_int_equal(aml.out.len, cases[i].len);
		assert_memory_equal(aml.out.data, cases[i].bytes, cases[i].len);
		pv_bytes_finish(&aml.out);
	}
}

static void an_object_too_long_for_its_length_is_an_error(void **state)
{
	static char text[(1 << 20) + 1];
	struct pv_aml aml = {0};
	memset(text, 'x', sizeof(text) - 1);
	const size_t scope = pv_aml_scope(&aml, "_SB_");
	pv_aml_string(&aml, text);
	pv_aml_end(&aml, scope);
	assert_int_equal(aml.status, -EFBIG);
	/* It sticks, and nothing more is written. */
	const size_t len = aml.out.len;
	pv_aml_integer(&aml, 5);
	assert_int_equal(aml.out.len, len);
	pv_bytes_finish(&aml.out);
}

/* --- Intel's compiler --- */

static void write_table(const char *folder, const char *name, const uint8_t *table)
{
	struct pv_err err = PV_ERR_INIT;
	char path[128];
	snprintf(path, sizeof(path), "%s/%s.dat", folder, name);
	if (pv_fd_replace_file(path, table, pv_le32(table + 4), 0600, &err) < 0)
		fail_msg("%s", err.text);
}

/* Runs a command in `folder`; its output goes to a file there, which is shown when it fails. */
static void run(const char *folder, const char *command)
{
	char line[400];
	snprintf(line, sizeof(line), "cd %s && { %s; } >output 2>&1 || { cat output; exit 1; }",
	    folder, command);
	if (system(line) != 0)
		fail_msg("`%s` failed", command);
}

static void iasl_reads_every_table_and_compiles_the_dsdt_again(void **state)
{
	if (system("iasl -v >/dev/null 2>&1") != 0) {
		print_message("[  SKIPPED ] iasl (package acpica-tools) is not installed\n");
		skip();
	}
	for (unsigned cpus = 1; cpus <= PV_LAYOUT_CPUS_MAX; cpus += 63) {
		char folder[] = "/tmp/pv-vmm-acpi-XXXXXX";
		struct guest guest;
		begin(&guest, cpus);
		assert_non_null(mkdtemp(folder));
		const uint8_t *fadt = find_table(&guest, "FACP");
		write_table(folder, "facp", fadt);
		write_table(folder, "apic", find_table(&guest, "APIC"));
		write_table(folder, "facs", at(&guest, pv_le32(fadt + 36), 64));
		write_table(folder, "dsdt", table_at(&guest, pv_le64(fadt + 140), "DSDT"));
		run(folder, "iasl -d facp.dat apic.dat facs.dat && iasl -d dsdt.dat");
		run(folder, "! grep -iE 'error|warning|invalid|unknown|incorrect' output *.dsl");
		/* -we: its warnings are failures too. */
		run(folder, "iasl -we -p again dsdt.dsl && test -s again.aml");
		run(folder, "grep -q PNP0A03 dsdt.dsl && grep -q PNP0501 dsdt.dsl && "
			    "grep -q PNP0B00 dsdt.dsl && grep -q _PRT dsdt.dsl && "
			    "grep -q '_S3' dsdt.dsl && grep -q '_S5' dsdt.dsl");
		/* The generation id: found by its compatible id, its event goes to it. */
		run(folder, "tr -s ' \\n\\t\\r' ' ' <dsdt.dsl >flat && "
			    "grep -q 'Device (VGEN)' flat && "
			    "grep -q 'Name (_CID, \"VM_Gen_Counter\")' flat && "
			    "grep -q 'Name (ADDR, Package (0x02) { 0x000FF000, Zero })' flat && "
			    "grep -q 'Scope (_GPE) { Method (_E05, 0, NotSerialized) [^{]*{ "
			    "Notify (._SB.VGEN, 0x80)' flat");
		char command[64];
		snprintf(command, sizeof(command), "grep -c ACPI0007 dsdt.dsl | grep -qx %u", cpus);
		run(folder, command);
		snprintf(command, sizeof(command), "rm -rf '%s'", folder);
		assert_int_equal(system(command), 0);
		end(&guest);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_root_pointer_can_be_found_and_added_up),
	    cmocka_unit_test(the_fadt_describes_the_power_management_block),
	    cmocka_unit_test(the_facs_is_aligned_for_suspend),
	    cmocka_unit_test(the_madt_lists_cpus_ioapic_and_overrides),
	    cmocka_unit_test(a_wrong_number_of_cpus_is_refused),
	    cmocka_unit_test(no_memory_is_an_error),
	    cmocka_unit_test(integers_take_the_shortest_form),
	    cmocka_unit_test(an_object_too_long_for_its_length_is_an_error),
	    cmocka_unit_test(iasl_reads_every_table_and_compiles_the_dsdt_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
