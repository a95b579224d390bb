/* The PCI transport: the wire, MSI-X, doorbells, and the machine reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/pci_guest.h"

/* --- interrupts --- */

static void test_the_wire_follows_the_isr_register(void **state)
{
	struct fixture *fix = *state;
	bring_up(fix);
	use_chain(fix, 0);
	use_chain(fix, 1);
	assert_true(fix->line);
	assert_int_equal(fix->line_changes, 1);
	assert_true(cfg_read(fix, 0x06, 2) & 0x08);
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 1);
	assert_false(fix->line);
	assert_false(cfg_read(fix, 0x06, 2) & 0x08);
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 0);
	pv_virtio_config_changed(&fix->virtio);
	assert_true(fix->line);
	use_chain(fix, 0);
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 3);
	assert_false(fix->line);
	/* Beside the register there is nothing to read or clear. */
	use_chain(fix, 0);
	assert_int_equal(mem_read(fix, BAR0 + 0x1001, 4), 0);
	assert_int_equal(mem_read(fix, BAR0 + 0x0fff, 4), 0);
	assert_true(fix->line);
}

static void test_the_wire_can_be_disabled(void **state)
{
	struct fixture *fix = *state;
	bring_up(fix);
	cfg_write(fix, 0x04, 2, MEMORY | INTX_OFF);
	use_chain(fix, 0);
	assert_false(fix->line);
	assert_true(cfg_read(fix, 0x06, 2) & 0x08);
	cfg_write(fix, 0x04, 2, MEMORY);
	assert_true(fix->line);
	cfg_write(fix, 0x04, 2, MEMORY | INTX_OFF);
	assert_false(fix->line);
	cfg_write(fix, 0x04, 2, MEMORY);
	common_write(fix, DEVICE_STATUS, 1, 0);
	assert_false(fix->line);
}

static void test_msix_sends_each_source_to_its_vector(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	assert_true(fix->vectors[2].address == 0xfee02000u);
	assert_int_equal(fix->vectors[2].data, 0x42);
	use_chain(fix, 1);
	assert_int_equal(fix->vectors[2].fired, 1);
	use_chain(fix, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
	pv_virtio_config_changed(&fix->virtio);
	assert_int_equal(fix->vectors[0].fired, 1);
	assert_int_equal(fix->line_changes, 0);
	/* Only the configuration shows in the ISR register (4.1.4.5.1). */
	assert_int_equal(mem_read(fix, BAR0 + 0x1000, 1), 2);
}

static void test_queues_may_share_a_vector_or_have_none(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	common_write(fix, QUEUE_SELECT, 2, 1);
	common_write(fix, QUEUE_MSIX_VECTOR, 2, 1);
	use_chain(fix, 0);
	use_chain(fix, 1);
	assert_int_equal(fix->vectors[1].fired, 2);
	common_write(fix, QUEUE_MSIX_VECTOR, 2, NO_MSG);
	use_chain(fix, 1);
	assert_int_equal(fix->vectors[1].fired, 2);
	assert_int_equal(fix->vectors[2].fired, 0);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 0);
}

static void test_a_masked_vector_waits(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	mem_write(fix, BAR1 + 16 + 12, 4, 1);
	assert_true(fix->vectors[1].masked);
	use_chain(fix, 0);
	use_chain(fix, 0);
	assert_int_equal(fix->vectors[1].fired, 0);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 2);
	/* The message may change meanwhile; pending bits are not for writing. */
	mem_write(fix, BAR1 + 16 + 8, 4, 0x99);
	mem_write(fix, BAR1 + 0x800, 8, 0);
	mem_write(fix, BAR1 + 16 + 12, 4, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
	assert_int_equal(fix->vectors[1].data, 0x99);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 0);
}

static void test_the_function_mask_holds_all_vectors(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	msix_control(fix, MSIX_ON | MASK_ALL);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_true(fix->vectors[i].masked);
	use_chain(fix, 0);
	use_chain(fix, 1);
	mem_write(fix, BAR1 + 16 + 12, 4, 1);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 6);
	msix_control(fix, MSIX_ON);
	assert_int_equal(fix->vectors[1].fired, 0); /* still masked by itself */
	assert_int_equal(fix->vectors[2].fired, 1);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 2);
	mem_write(fix, BAR1 + 16 + 12, 4, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
}

/* msi_update itself refuses calls without a change. */
static void test_updates_come_only_with_changes(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	const unsigned before = fix->vectors[0].updates;
	for (unsigned i = 0; i < VECTORS; i++)
		set_message(fix, i, 0);
	msix_control(fix, MSIX_ON);
	assert_int_equal(fix->vectors[0].updates, before);
	/* 64-bit writes set two words at once. */
	mem_write(fix, BAR1, 8, UINT64_C(0x12fee00003));
	assert_true(fix->vectors[0].address == UINT64_C(0x12fee00000));
	assert_int_equal(fix->vectors[0].updates, before + 1);
	mem_write(fix, BAR1 + 8, 8, UINT64_C(0x100000077));
	assert_int_equal(fix->vectors[0].data, 0x77);
	assert_true(fix->vectors[0].masked);
	assert_int_equal(fix->vectors[0].updates, before + 2);
	assert_true(mem_read(fix, BAR1 + 8, 8) == UINT64_C(0x100000077));
}

static void test_without_msix_the_vectors_are_masked(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	msix_control(fix, 0);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_true(fix->vectors[i].masked);
	use_chain(fix, 0);
	assert_true(fix->line);
	assert_int_equal(fix->vectors[1].fired, 0);
	msix_control(fix, MSIX_ON);
	assert_false(fix->line);
	assert_int_equal(fix->vectors[1].fired, 0);
}

/* Found by fuzzing: a pending vector was sent while the wire was still high. */
static void test_enabling_msix_lowers_the_wire_before_it_sends(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	msix_control(fix, MSIX_ON | MASK_ALL);
	use_chain(fix, 0);
	msix_control(fix, 0);
	use_chain(fix, 0);
	assert_true(fix->line);
	msix_control(
	    fix, MSIX_ON); /* the guest of the test refuses a vector while the wire is high */
	assert_false(fix->line);
	assert_int_equal(fix->vectors[1].fired, 1);
}

static void test_a_device_reset_forgets_vectors_and_pending(void **state)
{
	struct fixture *fix = *state;
	bring_up_msix(fix);
	msix_control(fix, MSIX_ON | MASK_ALL);
	use_chain(fix, 0);
	common_write(fix, DEVICE_STATUS, 1, 0);
	assert_int_equal(common_read(fix, DEVICE_STATUS, 1), 0);
	assert_int_equal(common_read(fix, CONFIG_MSIX_VECTOR, 2), NO_MSG);
	assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), NO_MSG);
	msix_control(fix, MSIX_ON);
	assert_int_equal(fix->vectors[1].fired, 0);
	/* The table is PCI's, not virtio's. */
	assert_int_equal(mem_read(fix, BAR1 + 16 + 8, 4), 0x41);
}

/* --- doorbells --- */

static void expect_doorbells(struct fixture *fix, uint64_t bar)
{
	for (unsigned i = 0; i < 2; i++)
		assert_true(fix->doorbells[i] == (bar ? bar + NOTIFY + 4 * i : 0));
}

static void test_doorbells_follow_the_bar(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	attach(fix, 0, &fix->rings[0]);
	attach(fix, 1, &fix->rings[1]);
	expect_doorbells(fix, 0);
	common_write(fix, DEVICE_STATUS, 1, 15);
	expect_doorbells(fix, BAR0);
	cfg_write(fix, 0x10, 4, 0xd0000000);
	expect_doorbells(fix, 0xd0000000);
	cfg_write(fix, 0x14, 4, 0xd0010000);
	assert_int_equal(fix->maps, 4);
	cfg_write(fix, 0x04, 2, 0);
	expect_doorbells(fix, 0);
	cfg_write(fix, 0x10, 4, BAR0);
	expect_doorbells(fix, 0);
	cfg_write(fix, 0x04, 2, MEMORY);
	expect_doorbells(fix, BAR0);
	common_write(fix, DEVICE_STATUS, 1, 0);
	expect_doorbells(fix, 0);
	assert_int_equal(fix->maps, fix->unmaps);
}

static void test_only_ready_queues_get_doorbells(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	attach(fix, 1, &fix->rings[1]);
	common_write(fix, DEVICE_STATUS, 1, 15);
	assert_true(fix->doorbells[0] == 0);
	assert_true(fix->doorbells[1] == BAR0 + NOTIFY + 4);
}

static void test_writes_to_the_notify_page_kick(void **state)
{
	struct fixture *fix = *state;
	fix->map_result = -28;
	bring_up(fix);
	expect_doorbells(fix, 0);
	mem_write(fix, BAR0 + NOTIFY, 2, 0);
	mem_write(fix, BAR0 + NOTIFY + 4, 2, 1);
	mem_write(fix, BAR0 + NOTIFY + 4, 4, 1);
	assert_int_equal(fix->kicks[0], 1);
	assert_int_equal(fix->kicks[1], 2);
	mem_write(fix, BAR0 + NOTIFY + 8, 2, 2); /* no such queue */
	mem_write(fix, BAR0 + NOTIFY + 0xffc, 4, 1023);
	pv_virtio_pci_kick(fix->pci, 0);
	pv_virtio_pci_kick(fix->pci, 77);
	assert_int_equal(fix->kicks[0], 2);
	common_write(fix, DEVICE_STATUS, 1, 0);
	mem_write(fix, BAR0 + NOTIFY, 2, 0);
	pv_virtio_pci_kick(fix->pci, 0);
	assert_int_equal(fix->kicks[0], 2);
}

static void test_a_device_has_itself_kicked_by_the_loop(void **state)
{
	struct fixture *fix = *state;
	struct pv_virtio *dev = &fix->virtio;
	pv_virtio_kick_later(dev, 1);
	assert_int_equal(fix->rings_by_host[1], 0); /* nobody drives it yet */
	bring_up(fix);
	pv_virtio_kick_later(dev, 1);
	assert_int_equal(fix->rings_by_host[0], 0);
	assert_int_equal(fix->rings_by_host[1], 1);
	assert_int_equal(fix->kicks[1], 0); /* not from in here */
	common_write(fix, DEVICE_STATUS, 1, 0);
	pv_virtio_kick_later(dev, 1);
	assert_int_equal(fix->rings_by_host[1], 1);
}

static void test_a_machine_reset_goes_back_to_the_beginning(void **state)
{
	struct fixture *fix = *state;
	uint8_t before[256], after[256];
	for (unsigned i = 0; i < 256; i++)
		before[i] = cfg_read(fix, i, 1);
	bring_up_msix(fix);
	cfg_write(fix, 0x10, 4, 0xd0000000);
	cfg_write(fix, 0x3c, 1, 5);
	msix_control(fix, MSIX_ON | MASK_ALL);
	use_chain(fix, 0);
	pv_virtio_config_changed(&fix->virtio);
	pv_virtio_pci_reset(fix->pci);
	for (unsigned i = 0; i < 256; i++)
		after[i] = cfg_read(fix, i, 1);
	assert_memory_equal(before, after, 256);
	assert_int_equal(fix->mmio.count, 0);
	expect_doorbells(fix, 0);
	assert_int_equal(fix->virtio.status, 0);
	for (unsigned i = 0; i < VECTORS; i++)
		assert_true(fix->vectors[i].masked && fix->vectors[i].data == 0);
	bring_up_msix(fix);
	assert_int_equal(fix->vectors[1].fired, 0);
	use_chain(fix, 0);
	assert_int_equal(fix->vectors[1].fired, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_the_wire_follows_the_isr_register),
	    TEST(test_the_wire_can_be_disabled),
	    TEST(test_msix_sends_each_source_to_its_vector),
	    TEST(test_queues_may_share_a_vector_or_have_none),
	    TEST(test_a_masked_vector_waits),
	    TEST(test_the_function_mask_holds_all_vectors),
	    TEST(test_updates_come_only_with_changes),
	    TEST(test_without_msix_the_vectors_are_masked),
	    TEST(test_enabling_msix_lowers_the_wire_before_it_sends),
	    TEST(test_a_device_reset_forgets_vectors_and_pending),
	    TEST(test_doorbells_follow_the_bar),
	    TEST(test_only_ready_queues_get_doorbells),
	    TEST(test_writes_to_the_notify_page_kick),
	    TEST(test_a_device_has_itself_kicked_by_the_loop),
	    TEST(test_a_machine_reset_goes_back_to_the_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
