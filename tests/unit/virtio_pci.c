/* The PCI transport: configuration space, BARs, and the structures in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/pci_guest.h"

/* --- configuration space --- */

static void test_identity(void **state)
{
	struct fixture *fix = *state;
	assert_int_equal(cfg_read(fix, 0x00, 2), 0x1af4);
	assert_int_equal(cfg_read(fix, 0x02, 2), 0x1042);
	assert_int_equal(cfg_read(fix, 0x08, 1), 1);
	assert_int_equal(cfg_read(fix, 0x08, 4) >> 8, 0x018000);
	assert_int_equal(cfg_read(fix, 0x0e, 1), 0);
	assert_int_equal(cfg_read(fix, 0x2c, 2), 0x1af4);
	assert_true(cfg_read(fix, 0x2e, 2) >= 0x40);
	assert_int_equal(cfg_read(fix, 0x3c, 1), 11);
	assert_int_equal(cfg_read(fix, 0x3d, 1), 1);
	assert_true(cfg_read(fix, 0x06, 2) & 0x10);
	assert_int_equal(cfg_read(fix, 0x04, 2), 0);
}

static void test_every_capability_is_there_and_lies_in_its_bar(void **state)
{
	struct fixture *fix = *state;
	for (uint8_t type = 1; type <= 4; type++) {
		const unsigned cap = find_cap(fix, 9, type);
		assert_int_not_equal(cap, 0);
		assert_int_equal(cfg_read(fix, cap + 2, 1), type == 2 ? 20 : 16);
		assert_int_equal(cfg_read(fix, cap + 4, 1), 0);
		const uint64_t offset = cfg_read(fix, cap + 8, 4), len = cfg_read(fix, cap + 12, 4);
		assert_true(len > 0 && offset + len <= PV_VIRTIO_PCI_BAR0_SIZE);
		assert_int_equal(offset % 4, 0);
	}
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 1) + 12, 4), 56);
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 2) + 8, 4), NOTIFY);
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 2) + 16, 4), 4);
	assert_int_not_equal(find_cap(fix, 9, 5), 0);
	assert_int_equal(cfg_read(fix, find_cap(fix, 9, 5) + 2, 1), 20);

	const unsigned msix = find_cap(fix, 0x11, 0);
	assert_int_not_equal(msix, 0);
	assert_int_equal(cfg_read(fix, msix + 2, 2), VECTORS - 1);
	assert_int_equal(cfg_read(fix, msix + 4, 4), 0x000 | 1);
	assert_int_equal(cfg_read(fix, msix + 8, 4), 0x800 | 1);
}

static void test_class_codes(void **state)
{
	struct fixture *fix = *state;
	const struct {
		uint16_t id;
		uint32_t class_code;
	} known[] = {
	    {VIRTIO_ID_NET,	    0x020000},
	       {VIRTIO_ID_CONSOLE, 0x078000},
	      {VIRTIO_ID_RNG,     0x00ff00},
	    {VIRTIO_ID_VSOCK,   0x028000}
	       };
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		fix->virtio.id = known[i].id;
		pv_virtio_pci_reset(fix->pci);
		assert_int_equal(cfg_read(fix, 0x02, 2), 0x1040 + known[i].id);
		assert_int_equal(cfg_read(fix, 0x08, 4) >> 8, known[i].class_code);
	}
}

static void test_bars_are_sized_and_moved(void **state)
{
	struct fixture *fix = *state;
	assert_int_equal(cfg_read(fix, 0x10, 4), BAR0);
	assert_int_equal(cfg_read(fix, 0x14, 4), BAR1);
	assert_int_equal(fix->mmio.count, 0);
	for (unsigned bar = 0; bar < 6; bar++)
		cfg_write(fix, 0x10 + 4 * bar, 4, UINT32_MAX);
	assert_int_equal(cfg_read(fix, 0x10, 4), -PV_VIRTIO_PCI_BAR0_SIZE);
	assert_int_equal(cfg_read(fix, 0x14, 4), -PV_VIRTIO_PCI_BAR1_SIZE);
	for (unsigned bar = 2; bar < 6; bar++)
		assert_int_equal(cfg_read(fix, 0x10 + 4 * bar, 4), 0);
	cfg_write(fix, 0x30, 4, UINT32_MAX);
	assert_int_equal(cfg_read(fix, 0x30, 4), 0);

	/* By bytes, as odd firmware does it. */
	cfg_write(fix, 0x10, 4, 0);
	cfg_write(fix, 0x13, 1, 0xd0);
	cfg_write(fix, 0x14, 4, 0xd0010000);
	decode(fix);
	assert_int_equal(mem_read(fix, 0xd0000000 + NUM_QUEUES, 2), 2);
	cfg_write(fix, 0x10, 4, 0xd0020000);
	assert_int_equal(mem_read(fix, 0xd0020000 + NUM_QUEUES, 2), 2);
	uint16_t value;
	assert_false(pv_bus_read(&fix->mmio, 0xd0000000 + NUM_QUEUES, &value, 2));
	cfg_write(fix, 0x04, 2, 0);
	assert_int_equal(fix->mmio.count, 0);
}

static void test_a_bar_on_top_of_another_device_is_not_decoded(void **state)
{
	struct fixture *fix = *state;
	const struct pv_bus_ops ops = pv_virtio_pci_config_ops;
	assert_int_equal(pv_bus_add(&fix->mmio, 0xc0002000, 0x1000, &ops, fix->pci), 0);
	cfg_write(fix, 0x10, 4, 0xc0000000);
	decode(fix);
	assert_int_equal(fix->mmio.count, 2);
	uint8_t byte;
	assert_false(pv_bus_read(&fix->mmio, 0xc0000000, &byte, 1));
	cfg_write(fix, 0x10, 4, BAR0);
	assert_int_equal(mem_read(fix, BAR0 + NUM_QUEUES, 2), 2);
	/* An address of 0 is no address. */
	cfg_write(fix, 0x10, 4, 0);
	assert_false(pv_bus_read(&fix->mmio, 0, &byte, 1));
	assert_int_equal(pv_bus_remove(&fix->mmio, 0xc0002000), 0);
}

static void test_read_only_registers_stay(void **state)
{
	struct fixture *fix = *state;
	uint8_t before[256], after[256];
	for (unsigned i = 0; i < 256; i++)
		before[i] = cfg_read(fix, i, 1);
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < 256; i++)
			cfg_write(fix, i, 1, pass ? 0 : 0xff);
	for (unsigned i = 0; i < 256; i++)
		after[i] = cfg_read(fix, i, 1);
	/* Writable: BARs, cache line size, interrupt line; zeroes everywhere else were zeroes. */
	before[0x0c] = before[0x3c] = 0;
	memset(before + 0x10, 0, 8);
	assert_memory_equal(before, after, 256);
	assert_int_equal(cfg_read(fix, 0x04, 2), 0);
}

static void test_the_window_reaches_the_bars_without_decoding(void **state)
{
	struct fixture *fix = *state;
	const unsigned cap = find_cap(fix, 9, 5);
	fix->config[2] = 0x5a;
	cfg_write(fix, cap + 4, 1, 0);
	cfg_write(fix, cap + 8, 4, 0x2002);
	cfg_write(fix, cap + 12, 4, 1);
	assert_int_equal(cfg_read(fix, cap + 16, 1), 0x5a);
	cfg_write(fix, cap + 16, 1, 0xa5);
	assert_int_equal(fix->config[2], 0xa5);
	/* The status, by the window. */
	cfg_write(fix, cap + 8, 4, DEVICE_STATUS);
	cfg_write(fix, cap + 16, 1, 1);
	assert_int_equal(fix->virtio.status, 1);
	/* The MSI-X table. */
	cfg_write(fix, cap + 4, 1, 1);
	cfg_write(fix, cap + 8, 4, 8);
	cfg_write(fix, cap + 12, 4, 4);
	cfg_write(fix, cap + 16, 4, 0x1234);
	assert_int_equal(fix->vectors[0].data, 0x1234);
	/* Nowhere: other BARs, odd lengths, misaligned, behind the end. */
	const uint32_t wrong[][3] = {
	    {2,	0,	   4	    },
	       {255, 0,		4	 },
	    {0,	0,	   0	    },
	       {0,   0,	      3	       },
		  {0,   0,		 8	  },
	     {0,	 0,	    UINT32_MAX},
		 {0,   2,		4	 },
	    {0,	0x4000,	4	 },
	    {0,	0xfffffffc, 4	     },
		{1,   0x1000,	    1	     }
	      };
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cfg_write(fix, cap + 4, 1, wrong[i][0]);
		cfg_write(fix, cap + 8, 4, wrong[i][1]);
		cfg_write(fix, cap + 12, 4, wrong[i][2]);
		cfg_write(fix, cap + 16, 4, 0xdeadbeef);
		assert_int_equal(cfg_read(fix, cap + 16, 4), 0xdeadbeef);
	}
	assert_int_equal(fix->virtio.status, 1);
}

/* --- common configuration --- */

static void test_features_are_negotiated_by_registers(void **state)
{
	struct fixture *fix = *state;
	decode(fix);
	uint64_t offered = 0;
	for (unsigned word = 0; word < 2; word++) {
		common_write(fix, DEVICE_FEATURE_SELECT, 4, word);
		offered |= (uint64_t)common_read(fix, DEVICE_FEATURE, 4) << (32 * word);
	}
	assert_true(offered == fix->virtio.offered);
	for (uint64_t word = 2; word <= UINT32_MAX; word = word * 3 + 1) {
		common_write(fix, DEVICE_FEATURE_SELECT, 4, word);
		common_write(fix, DRIVER_FEATURE_SELECT, 4, word);
		common_write(fix, DRIVER_FEATURE, 4, UINT32_MAX);
		assert_int_equal(common_read(fix, DEVICE_FEATURE, 4), 0);
		assert_int_equal(common_read(fix, DRIVER_FEATURE, 4), 0);
	}
	begin(fix);
	common_write(fix, DRIVER_FEATURE_SELECT, 4, 1);
	assert_int_equal(common_read(fix, DRIVER_FEATURE, 4), 1);
	common_write(fix, DRIVER_FEATURE, 4, 0);
	assert_int_equal(common_read(fix, DRIVER_FEATURE, 4), 1);
}

static void test_queues_show_what_they_have(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	assert_int_equal(common_read(fix, NUM_QUEUES, 2), 2);
	common_write(fix, QUEUE_SELECT, 2, 1);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 64);
	assert_int_equal(common_read(fix, QUEUE_NOTIFY_OFF, 2), 1);
	assert_int_equal(common_read(fix, QUEUE_ENABLE, 2), 0);
	assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), NO_MSG);
	attach(fix, 1, &fix->rings[1]);
	assert_int_equal(common_read(fix, QUEUE_ENABLE, 2), 1);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 32);
	assert_true(mem_read(fix, BAR0 + QUEUE_DEVICE, 8) == fix->rings[1].used);
	/* Not there: size 0 says so, and writes go nowhere. */
	common_write(fix, QUEUE_SELECT, 2, 2);
	attach(fix, 2, &fix->rings[0]);
	for (unsigned at = QUEUE_SIZE; at < 0x38; at += 2)
		assert_int_equal(common_read(fix, at, 2), at == QUEUE_MSIX_VECTOR ? NO_MSG : 0);
	common_write(fix, QUEUE_SELECT, 2, 0xffff);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 0);
}

static void test_ring_addresses_take_halves_and_wholes(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	common_write(fix, QUEUE_DESC, 4, 0x11111111);
	common_write(fix, QUEUE_DESC + 4, 4, 0x22222222);
	assert_true(mem_read(fix, BAR0 + QUEUE_DESC, 8) == UINT64_C(0x2222222211111111));
	common_write(fix, QUEUE_DRIVER, 8, UINT64_C(0x4444444433333333));
	assert_int_equal(common_read(fix, QUEUE_DRIVER, 4), 0x33333333);
	assert_int_equal(common_read(fix, QUEUE_DRIVER + 4, 4), 0x44444444);
	/* Other widths are no way to write a field (4.1.3.1). */
	common_write(fix, QUEUE_DESC + 2, 4, 0);
	common_write(fix, QUEUE_DESC, 2, 0);
	common_write(fix, QUEUE_DESC, 1, 0);
	assert_true(mem_read(fix, BAR0 + QUEUE_DESC, 8) == UINT64_C(0x2222222211111111));
}

static void test_an_enabled_queue_refuses_configuration(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	attach(fix, 0, &fix->rings[0]);
	for (unsigned go = 0; go < 2; go++) {
		const struct pv_queue_state before = fix->virtio.queues[0].state;
		common_write(fix, QUEUE_SELECT, 2, 0);
		common_write(fix, QUEUE_SIZE, 2, 4);
		common_write(fix, QUEUE_DESC, 8, 0);
		common_write(fix, QUEUE_DRIVER, 4, 0);
		common_write(fix, QUEUE_DEVICE + 4, 4, 1);
		common_write(fix, QUEUE_ENABLE, 2, 0);
		assert_memory_equal(&before, &fix->virtio.queues[0].state, sizeof(before));
		common_write(fix, DEVICE_STATUS, 1, 15);
	}
	assert_true(fix->virtio.active);
	/* Once the device runs, the queue that was left out is closed too. */
	attach(fix, 1, &fix->rings[1]);
	assert_int_equal(common_read(fix, QUEUE_ENABLE, 2), 0);
	assert_int_equal(common_read(fix, QUEUE_SIZE, 2), 64);
}

static void test_vectors_that_do_not_exist_read_back_as_none(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	const uint16_t wrong[] = {VECTORS, VECTORS + 1, 0x7fff, 0xfffe, 0xffff};
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		common_write(fix, CONFIG_MSIX_VECTOR, 2, VECTORS - 1);
		assert_int_equal(common_read(fix, CONFIG_MSIX_VECTOR, 2), VECTORS - 1);
		common_write(fix, CONFIG_MSIX_VECTOR, 2, wrong[i]);
		assert_int_equal(common_read(fix, CONFIG_MSIX_VECTOR, 2), NO_MSG);
		common_write(fix, QUEUE_MSIX_VECTOR, 2, 1);
		assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), 1);
		common_write(fix, QUEUE_MSIX_VECTOR, 2, wrong[i]);
		assert_int_equal(common_read(fix, QUEUE_MSIX_VECTOR, 2), NO_MSG);
	}
}

static void test_a_bad_ring_shows_in_the_status(void **state)
{
	struct fixture *fix = *state;
	begin(fix);
	struct ring bad = fix->rings[0];
	bad.desc = 0x1000;
	attach(fix, 0, &bad);
	assert_int_equal(common_read(fix, DEVICE_STATUS, 1), 11 | VIRTIO_STATUS_NEEDS_RESET);
	common_write(fix, DEVICE_STATUS, 1, 15);
	assert_int_equal(common_read(fix, DEVICE_STATUS, 1), 11 | VIRTIO_STATUS_NEEDS_RESET);
	bring_up(fix);
}

static void test_device_configuration_is_read_and_written(void **state)
{
	struct fixture *fix = *state;
	decode(fix);
	memcpy(fix->config, "abcdefgh", 8);
	assert_true(mem_read(fix, BAR0 + 0x2000, 8) == pv_le64("abcdefgh"));
	assert_int_equal(mem_read(fix, BAR0 + 0x2007, 2), 'h');
	assert_int_equal(mem_read(fix, BAR0 + 0x2ffc, 4), 0);
	mem_write(fix, BAR0 + 0x2001, 1, 'X');
	assert_int_equal(fix->config[1], 'X');
	const uint8_t generation = common_read(fix, CONFIG_GENERATION, 1);
	pv_virtio_config_changed(&fix->virtio);
	assert_int_not_equal(common_read(fix, CONFIG_GENERATION, 1), generation);
}

/* Every offset, every width, both directions, idle and running: nothing falls over. */
static void test_all_registers_survive_all_accesses(void **state)
{
	struct fixture *fix = *state;
	const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_C(0x0f0b0301ff7f8000)};
	decode(fix);
	for (unsigned run = 0; run < 2; run++) {
		for (unsigned len = 1; len <= 8; len++) {
			for (unsigned at = 0; at + len <= PV_VIRTIO_PCI_BAR0_SIZE; at++) {
				const unsigned within = at % 0x1000;
				if (within > 0x80 && within < 0xff0)
					continue;
				for (unsigned i = 0; i < 4; i++) {
					uint64_t value;
					if (run && i == 0 && at < 0x40)
						bring_up_msix(fix);
					mem_write(fix, BAR0 + at, len, values[i]);
					mem_read(fix, BAR0 + at, len);
					value = mem_read(fix, BAR0 + at, len);
					assert_true(len == 8 || value >> (8 * len) == 0);
				}
			}
			for (unsigned at = 0; at + len <= PV_VIRTIO_PCI_BAR1_SIZE; at++) {
				mem_write(fix, BAR1 + at, len, values[at % 4]);
				mem_read(fix, BAR1 + at, len);
			}
		}
		for (unsigned len = 1; len <= 4; len *= 2)
			for (unsigned at = 0; at <= 256; at++)
				for (unsigned i = 0; i < 4; i++) {
					cfg_write(fix, at, len, values[i]);
					cfg_read(fix, at, len);
					decode(fix);
					cfg_write(fix, 0x10, 4, BAR0);
					cfg_write(fix, 0x14, 4, BAR1);
				}
		pv_virtio_pci_reset(fix->pci);
		bring_up_msix(fix);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_identity),
	    TEST(test_every_capability_is_there_and_lies_in_its_bar),
	    TEST(test_class_codes),
	    TEST(test_bars_are_sized_and_moved),
	    TEST(test_a_bar_on_top_of_another_device_is_not_decoded),
	    TEST(test_read_only_registers_stay),
	    TEST(test_the_window_reaches_the_bars_without_decoding),
	    TEST(test_features_are_negotiated_by_registers),
	    TEST(test_queues_show_what_they_have),
	    TEST(test_ring_addresses_take_halves_and_wholes),
	    TEST(test_an_enabled_queue_refuses_configuration),
	    TEST(test_vectors_that_do_not_exist_read_back_as_none),
	    TEST(test_a_bad_ring_shows_in_the_status),
	    TEST(test_device_configuration_is_read_and_written),
	    TEST(test_all_registers_survive_all_accesses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
