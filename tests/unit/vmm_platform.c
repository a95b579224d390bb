/* Promises of the small platform devices: ACPI power management, PCI host bridge, i8042; and CPUID.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/kvm.h>

#include "vmm/cpuid.h"
#include "vmm/i8042.h"
#include "vmm/layout.h"
#include "vmm/pci_host.h"
#include "vmm/pm.h"

struct bench {
	struct pv_pm pm;
	int64_t now_ns;
	bool sci;
	unsigned power_offs;
	unsigned suspends;
	unsigned resets;
};

static int64_t now(void *ctx)
{
	return ((struct bench *)ctx)->now_ns;
}

static void power_off(void *ctx)
{
	((struct bench *)ctx)->power_offs++;
}

static void suspend(void *ctx)
{
	((struct bench *)ctx)->suspends++;
}

static void reset(void *ctx)
{
	((struct bench *)ctx)->resets++;
}

static void set_sci(void *ctx, bool level)
{
	((struct bench *)ctx)->sci = level;
}

static int set_up(void **state)
{
	static struct bench bench;
	bench = (struct bench){0};
	const struct pv_pm_host host = {
	    .now = now,
	    .power_off = power_off,
	    .suspend = suspend,
	    .reset = reset,
	    .ctx = &bench,
	};
	pv_pm_init(&bench.pm, (struct pv_irq_line){set_sci, &bench}, &host);
	*state = &bench;
	return 0;
}

static uint32_t in(struct bench *bench, unsigned offset, unsigned len)
{
	uint32_t value = 0;
	pv_pm_ops.read(&bench->pm, offset, &value, len);
	return value;
}

static void out(struct bench *bench, unsigned offset, uint32_t value, unsigned len)
{
	pv_pm_ops.write(&bench->pm, offset, &value, len);
}

static void test_power_button_raises_the_sci_until_acknowledged(void **state)
{
	struct bench *bench = *state;
	pv_pm_power_button(&bench->pm);
	assert_false(bench->sci);
	out(bench, PV_LAYOUT_PM_EVENT + 2, 1 << 8, 2);
	assert_true(bench->sci);
	assert_int_equal(in(bench, PV_LAYOUT_PM_EVENT, 2), 1 << 8);
	out(bench, PV_LAYOUT_PM_EVENT, 1 << 8, 2);
	assert_false(bench->sci);
}

static void test_s5_powers_off_and_other_types_do_not(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(in(bench, PV_LAYOUT_PM_CONTROL, 2) & 1, 1);
	out(bench, PV_LAYOUT_PM_CONTROL, PV_LAYOUT_SLEEP_S5 << 10, 2);
	assert_int_equal(bench->power_offs, 0);
	out(bench, PV_LAYOUT_PM_CONTROL, 1 << 13 | PV_LAYOUT_SLEEP_S3 << 10, 2);
	assert_int_equal(bench->power_offs, 0);
	assert_true(bench->pm.suspended);
	out(bench, PV_LAYOUT_PM_CONTROL, 1 << 13 | PV_LAYOUT_SLEEP_S5 << 10, 2);
	assert_int_equal(bench->power_offs, 1);
}

static void test_s3_is_told_once_and_ends_with_the_wake_bit(void **state)
{
	struct bench *bench = *state;
	out(bench, PV_LAYOUT_PM_EVENT + 2, 1 << 8, 2);
	out(bench, PV_LAYOUT_PM_CONTROL, 1 << 13 | PV_LAYOUT_SLEEP_S3 << 10, 2);
	assert_int_equal(bench->suspends, 1);
	assert_int_equal(in(bench, PV_LAYOUT_PM_EVENT, 2) >> 15, 0);
	pv_pm_power_button(&bench->pm);
	assert_true(bench->pm.suspended);
	assert_true(bench->sci);
	pv_pm_wake(&bench->pm);
	assert_false(bench->pm.suspended);
	assert_false(bench->sci);
	assert_int_equal(in(bench, PV_LAYOUT_PM_EVENT, 2), 1 << 15);
	assert_int_equal(in(bench, PV_LAYOUT_PM_EVENT + 2, 2), 0);
	assert_int_equal(in(bench, PV_LAYOUT_PM_CONTROL, 2) & 1, 1);
	out(bench, PV_LAYOUT_PM_EVENT, 1 << 15, 2);
	assert_int_equal(in(bench, PV_LAYOUT_PM_EVENT, 2), 0);
	assert_int_equal(bench->suspends, 1);
}

static void test_timer_counts_at_its_frequency(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(in(bench, PV_LAYOUT_PM_TIMER, 4), 0);
	bench->now_ns = 2000000000;
	assert_int_equal(in(bench, PV_LAYOUT_PM_TIMER, 4), 2 * 3579545);
}

static void test_reset_register_wants_its_value(void **state)
{
	struct bench *bench = *state;
	out(bench, PV_LAYOUT_PM_RESET, 0x02, 1);
	assert_int_equal(bench->resets, 0);
	out(bench, PV_LAYOUT_PM_RESET, PV_LAYOUT_RESET_VALUE, 1);
	assert_int_equal(bench->resets, 1);
}

static void test_general_purpose_events_share_the_sci(void **state)
{
	struct bench *bench = *state;
	out(bench, PV_LAYOUT_PM_GPE0 + 2, 0x02, 1);
	pv_pm_raise_gpe(&bench->pm, 0);
	assert_false(bench->sci);
	pv_pm_raise_gpe(&bench->pm, 1);
	assert_true(bench->sci);
	out(bench, PV_LAYOUT_PM_GPE0, 0x02, 1);
	assert_false(bench->sci);
	pv_pm_raise_gpe(&bench->pm, 99);
}

static void test_idle_is_when_only_the_button_may_interrupt(void **state)
{
	struct bench *bench = *state;
	assert_false(pv_pm_is_idle(&bench->pm));
	out(bench, PV_LAYOUT_PM_GPE0 + 2, 0x01, 1);
	out(bench, PV_LAYOUT_PM_EVENT + 2, 1 << 8, 2);
	assert_false(pv_pm_is_idle(&bench->pm));
	out(bench, PV_LAYOUT_PM_GPE0 + 2, 0x00, 1);
	assert_true(pv_pm_is_idle(&bench->pm));
	out(bench, PV_LAYOUT_PM_CONTROL, 1 << 13 | PV_LAYOUT_SLEEP_S3 << 10, 2);
	assert_false(pv_pm_is_idle(&bench->pm));
}

static void test_the_alarm_is_an_event_for_who_wants_it(void **state)
{
	struct bench *bench = *state;
	pv_pm_alarm(&bench->pm);
	assert_false(bench->sci);
	assert_int_equal(in(bench, PV_LAYOUT_PM_EVENT, 2), 1 << 10);
	out(bench, PV_LAYOUT_PM_EVENT, 1 << 10, 2);
	out(bench, PV_LAYOUT_PM_EVENT + 2, 1 << 10, 2);
	assert_false(bench->sci);
	pv_pm_alarm(&bench->pm);
	assert_true(bench->sci);
	out(bench, PV_LAYOUT_PM_EVENT, 1 << 10, 2);
	assert_false(bench->sci);
}

static void test_i8042_resets_on_fe_and_looks_absent(void **state)
{
	struct bench *bench = *state;
	struct pv_i8042 i8042 = {.reset = reset, .ctx = bench};
	uint8_t value = 0;
	pv_i8042_status_ops.read(&i8042, 0, &value, 1);
	/* Linux: output always full means no controller, input never full means no waiting. */
	assert_int_equal(value & 0x03, 0x01);
	value = 0xd1;
	pv_i8042_status_ops.write(&i8042, 0, &value, 1);
	pv_i8042_data_ops.write(&i8042, 0, &value, 1);
	assert_int_equal(bench->resets, 0);
	value = 0xfe;
	pv_i8042_status_ops.write(&i8042, 0, &value, 1);
	assert_int_equal(bench->resets, 1);
}

static uint32_t pci_in(struct pv_pci_host *host, unsigned port, unsigned len)
{
	uint32_t value = 0;
	pv_pci_host_ops.read(host, port, &value, len);
	return value;
}

static void pci_out(struct pv_pci_host *host, unsigned port, uint32_t value, unsigned len)
{
	pv_pci_host_ops.write(host, port, &value, len);
}

static void read_offset(void *ctx, uint64_t offset, void *data, unsigned len)
{
	memset(data, (int)offset, len);
}

static void write_offset(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	*(uint64_t *)ctx = offset << 8 | len;
}

static void test_linux_finds_configuration_mechanism_1(void **state)
{
	struct pv_pci_host host = {0};
	/* arch/x86/pci/direct.c, pci_check_type1() */
	pci_out(&host, 3, 0x01, 1);
	uint32_t before = pci_in(&host, 0, 4);
	pci_out(&host, 0, 0x80000000, 4);
	assert_int_equal(pci_in(&host, 0, 4), 0x80000000);
	pci_out(&host, 0, before, 4);
	pci_out(&host, 0, 0x80000008, 4);
	assert_int_equal(pci_in(&host, 6, 2), 0x0600);
}

static void test_empty_slots_functions_and_buses_read_as_ones(void **state)
{
	struct pv_pci_host host = {0};
	const uint32_t absent[] = {0x80000800, 0x80000100, 0x80010000, 0x00000000, 0x8000f800};
	for (unsigned i = 0; i < 5; i++) {
		pci_out(&host, 0, absent[i], 4);
		assert_int_equal(pci_in(&host, 4, 4), 0xffffffff);
		pci_out(&host, 4, 0, 4);
	}
}

static void test_window_reaches_the_function_of_the_slot(void **state)
{
	uint64_t written = 0;
	const struct pv_bus_ops ops = {.read = read_offset, .write = write_offset};
	struct pv_pci_host host = {
	    .slots[5] = {&ops, &written}
	};
	pci_out(&host, 0, 0x80000000 | 5 << 11 | 0x40, 4);
	assert_int_equal(pci_in(&host, 4 + 2, 2), 0x4242);
	pci_out(&host, 4 + 3, 0, 1);
	assert_int_equal(written, 0x43 << 8 | 1);
	/* Accesses that no chip decodes. */
	assert_int_equal(pci_in(&host, 4 + 3, 2) & 0xffff, 0xffff);
}

static struct kvm_cpuid2 *make_cpuid(unsigned capacity)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + capacity * sizeof(cpuid->entries[0]));
	assert_non_null(cpuid);
	cpuid->nent = 5;
	cpuid->entries[0] = (struct kvm_cpuid_entry2){
	    .function = 0, .eax = 0x1f, .ebx = 0x68747541, .edx = 0x69746e65, .ecx = 0x444d4163};
	cpuid->entries[1] = (struct kvm_cpuid_entry2){.function = 1, .ebx = 0x12345678};
	cpuid->entries[2] = (struct kvm_cpuid_entry2){.function = 0x40000000, .eax = 0x40000001};
	cpuid->entries[3] = (struct kvm_cpuid_entry2){.function = 0x40000001, .eax = ~0u};
	cpuid->entries[4] = (struct kvm_cpuid_entry2){.function = 0x80000008, .ecx = 0x7007};
	return cpuid;
}

static const struct kvm_cpuid_entry2 *leaf(
    const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		if (entry->function == function && entry->index == index)
			return entry;
	}
	fail_msg("leaf 0x%x is missing", function);
	return NULL;
}

static void test_cpuid_tells_the_topology_of_the_machine(void **state)
{
	struct kvm_cpuid2 *cpuid = make_cpuid(16);
	const struct pv_cpuid_config config = {
	    .index = 2, .cpus = 3, .tsc_khz = 2000000, .tsc_deadline = true};
	pv_cpuid_adjust(cpuid, 16, &config);
	assert_int_equal(leaf(cpuid, 1, 0)->ebx, 0x02045678);
	assert_int_equal(leaf(cpuid, 1, 0)->ecx & (1u << 31 | 1u << 24), 1u << 31 | 1u << 24);
	assert_int_equal(leaf(cpuid, 1, 0)->edx >> 28 & 1, 1);
	assert_int_equal(leaf(cpuid, 0xb, 0)->ebx, 1);
	assert_int_equal(leaf(cpuid, 0xb, 1)->eax, 2);
	assert_int_equal(leaf(cpuid, 0xb, 1)->ebx, 3);
	assert_int_equal(leaf(cpuid, 0xb, 1)->edx, 2);
	assert_int_equal(leaf(cpuid, 0x1f, 1)->ebx, 3);
	assert_int_equal(leaf(cpuid, 0x80000008, 0)->ecx, 2 | 2 << 12);
	assert_int_equal(leaf(cpuid, 0x40000010, 0)->eax, 2000000);
	assert_int_equal(leaf(cpuid, 0x40000001, 0)->eax & (1 << 4 | 1 << 10 | 1 << 14), 0);
	free(cpuid);
}

static void test_cpuid_without_room_stays_within_it(void **state)
{
	struct kvm_cpuid2 *cpuid = make_cpuid(5);
	const struct pv_cpuid_config config = {.cpus = 1, .tsc_khz = 1};
	pv_cpuid_adjust(cpuid, 5, &config);
	assert_int_equal(cpuid->nent, 5);
	free(cpuid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_power_button_raises_the_sci_until_acknowledged, set_up),
	    cmocka_unit_test_setup(test_s5_powers_off_and_other_types_do_not, set_up),
	    cmocka_unit_test_setup(test_s3_is_told_once_and_ends_with_the_wake_bit, set_up),
	    cmocka_unit_test_setup(test_timer_counts_at_its_frequency, set_up),
	    cmocka_unit_test_setup(test_reset_register_wants_its_value, set_up),
	    cmocka_unit_test_setup(test_general_purpose_events_share_the_sci, set_up),
	    cmocka_unit_test_setup(test_idle_is_when_only_the_button_may_interrupt, set_up),
	    cmocka_unit_test_setup(test_the_alarm_is_an_event_for_who_wants_it, set_up),
	    cmocka_unit_test_setup(test_i8042_resets_on_fe_and_looks_absent, set_up),
	    cmocka_unit_test(test_linux_finds_configuration_mechanism_1),
	    cmocka_unit_test(test_empty_slots_functions_and_buses_read_as_ones),
	    cmocka_unit_test(test_window_reaches_the_function_of_the_slot),
	    cmocka_unit_test(test_cpuid_tells_the_topology_of_the_machine),
	    cmocka_unit_test(test_cpuid_without_room_stays_within_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
