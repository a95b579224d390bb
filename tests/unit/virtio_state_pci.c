/*
 * Snapshots of the PCI transport: a guest that runs on in another function finds every register as
 * it was, its doorbells ring, and no interrupt is lost or sent early.
 */
#include "virtio/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/pack.h"
#include "tests/unit/pci_guest.h"
#include "tests/unit/state_doc.h"

/* Device and transport together, as their owner saves them. */
static void save(const void *ctx, struct pv_pack *pack)
{
	const struct fixture *fix = ctx;
	pv_pack_map(pack, 2);
	pv_pack_str(pack, "device");
	pv_virtio_save(&fix->virtio, pack);
	pv_pack_str(pack, "transport");
	pv_virtio_pci_save(fix->pci, pack);
}

static int load(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	struct fixture *fix = ctx;
	const int status = pv_virtio_load(&fix->virtio, pv_val_get(val, "device"), err);
	return status < 0 ? status
			  : pv_virtio_pci_load(fix->pci, pv_val_get(val, "transport"), err);
}

static const struct state_kind both = {save, load, false};

static void save_pci(const void *ctx, struct pv_pack *pack)
{
	pv_virtio_pci_save(((const struct fixture *)ctx)->pci, pack);
}

static int load_pci(void *ctx, const struct pv_val *val, struct pv_err *err)
{
	return pv_virtio_pci_load(((struct fixture *)ctx)->pci, val, err);
}

static const struct state_kind only_pci = {save_pci, load_pci, false};

static struct fixture *fresh(void)
{
	void *state;
	assert_int_equal(set_up(&state), 0);
	return state;
}

static void end(struct fixture *fix)
{
	void *state = fix;
	assert_int_equal(tear_down(&state), 0);
}

static void copy_guest(struct fixture *to, const struct fixture *from)
{
	memcpy(to->ram.low, from->ram.low, LOW_SIZE);
	memcpy(to->ram.high, from->ram.high, HIGH_SIZE);
	for (unsigned i = 0; i < 2; i++) {
		to->rings[i] = from->rings[i];
		to->rings[i].ram = &to->ram;
	}
}

/* Loads the state of `from` into a fresh machine; saved again it must be the same. */
static struct fixture *clone(const struct fixture *from)
{
	struct fixture *to = fresh();
	struct pv_bytes state = state_save(&both, from);
	copy_guest(to, from);
	state_restore(&both, to, &state);
	state_expect(&both, to, &state);
	pv_bytes_finish(&state);
	return to;
}

/* Every register that a guest can read without side effects, but for the window's data. */
static void expect_same_registers(struct fixture *a, struct fixture *b)
{
	for (unsigned at = 0; at < 256; at += 4)
		assert_int_equal(cfg_read(a, at, 4), cfg_read(b, at, 4));
	for (unsigned at = 0; at < 0x40; at++)
		assert_int_equal(common_read(a, at, 1), common_read(b, at, 1));
	for (unsigned queue = 0; queue < 2; queue++) {
		common_write(a, QUEUE_SELECT, 2, queue);
		common_write(b, QUEUE_SELECT, 2, queue);
		for (unsigned at = 0; at < 0x40; at++)
			assert_int_equal(common_read(a, at, 1), common_read(b, at, 1));
	}
	for (unsigned at = 0; at < PV_VIRTIO_PCI_BAR1_SIZE; at += 4)
		assert_int_equal(mem_read(a, BAR1 + at, 4), mem_read(b, BAR1 + at, 4));
}

static void test_every_register_is_as_it_was(void **state)
{
	struct fixture *fix = fresh();
	bring_up_msix(fix);
	common_write(fix, DEVICE_FEATURE_SELECT, 4, 1);
	common_write(fix, DRIVER_FEATURE_SELECT, 4, 7);
	common_write(fix, QUEUE_SELECT, 2, 1);
	cfg_write(fix, 0x3c, 1, 5);
	cfg_write(fix, 0x0c, 1, 16);
	pv_virtio_config_changed(&fix->virtio);
	struct fixture *restored = clone(fix);
	expect_same_registers(fix, restored);
	end(fix);
	end(restored);
}

static void test_messages_and_doorbells_are_told_again(void **state)
{
	struct fixture *fix = fresh();
	bring_up_msix(fix);
	struct fixture *restored = clone(fix);
	for (unsigned i = 0; i < VECTORS; i++) {
		assert_true(restored->vectors[i].address == fix->vectors[i].address);
		assert_int_equal(restored->vectors[i].data, fix->vectors[i].data);
		assert_false(restored->vectors[i].masked);
		assert_int_equal(restored->vectors[i].updates, 1);
		assert_int_equal(restored->vectors[i].fired, 0);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_true(restored->doorbells[i] == BAR0 + NOTIFY + 4 * i);
	/* Nothing of it waits for another write of the guest. */
	pv_virtio_resume(&restored->virtio);
	assert_int_equal(restored->kicks[0], 1);
	assert_int_equal(restored->kicks[1], 1);
	assert_int_equal(restored->vectors[1].fired, 1);
	assert_int_equal(restored->vectors[2].fired, 1);
	assert_int_equal(restored->vectors[0].fired, 0);
	use_chain(restored, 0);
	assert_int_equal(restored->vectors[1].fired, 2);
	end(fix);
	end(restored);
}

static void test_a_function_has_the_vectors_that_its_driver_found(void **state)
{
	struct fixture *fix = fresh(), *sharing;
	void *made;
	assert_int_equal(set_up_sharing(&made), 0);
	sharing = made;
	assert_int_equal(cfg_read(sharing, find_cap(sharing, 0x11, 0) + 2, 2), 1);
	bring_up_msix(fix);
	/* What was saved when each queue had its own goes on like that. */
	struct pv_bytes saved = state_save(&both, fix);
	copy_guest(sharing, fix);
	state_restore(&both, sharing, &saved);
	state_expect(&both, sharing, &saved);
	expect_same_registers(fix, sharing);
	pv_bytes_finish(&saved);
	pv_virtio_resume(&sharing->virtio);
	assert_int_equal(sharing->vectors[2].fired, 1);
	end(fix);
	end(sharing);
}

static void test_a_pending_interrupt_waits_for_its_unmasking(void **state)
{
	struct fixture *fix = fresh();
	bring_up_msix(fix);
	set_message(fix, 1, 1);
	use_chain(fix, 0);
	assert_int_equal(fix->vectors[1].fired, 0);
	struct fixture *one = clone(fix), *two = clone(fix);
	assert_int_equal(mem_read(one, BAR1 + 0x800, 8), 2);
	assert_int_equal(one->vectors[1].fired, 0);
	set_message(one, 1, 0);
	assert_int_equal(one->vectors[1].fired, 1);
	assert_int_equal(mem_read(one, BAR1 + 0x800, 8), 0);
	/* The other clone still waits, and so does the one that was saved. */
	assert_int_equal(mem_read(two, BAR1 + 0x800, 8), 2);
	assert_int_equal(mem_read(fix, BAR1 + 0x800, 8), 2);
	end(fix);
	end(one);
	end(two);
}

static void test_a_masked_function_keeps_what_is_pending(void **state)
{
	struct fixture *fix = fresh();
	bring_up_msix(fix);
	msix_control(fix, MSIX_ON | MASK_ALL);
	use_chain(fix, 1);
	struct fixture *restored = clone(fix);
	assert_true(restored->vectors[2].masked);
	msix_control(restored, MSIX_ON);
	assert_int_equal(restored->vectors[2].fired, 1);
	end(fix);
	end(restored);
}

static void test_the_wire_is_raised_until_the_isr_is_read(void **state)
{
	struct fixture *fix = fresh();
	bring_up(fix);
	use_chain(fix, 0);
	assert_true(fix->line);
	/* Whether or not the status register was looked at before makes no difference. */
	struct pv_bytes before = state_save(&both, fix);
	assert_true(cfg_read(fix, 0x06, 2) & 8);
	state_expect(&both, fix, &before);
	pv_bytes_finish(&before);
	struct fixture *restored = clone(fix);
	assert_true(restored->line);
	assert_true(cfg_read(restored, 0x06, 2) & 8);
	assert_int_equal(mem_read(restored, BAR0 + 0x1000, 1), 1);
	assert_false(restored->line);
	pv_virtio_resume(&restored->virtio);
	assert_true(restored->line);
	end(fix);
	end(restored);
}

static void test_bars_are_where_the_guest_moved_them(void **state)
{
	struct fixture *fix = fresh();
	bring_up(fix);
	cfg_write(fix, 0x10, 4, 0xd0000000u);
	cfg_write(fix, 0x14, 4, 0xc0001000u);
	struct fixture *restored = clone(fix);
	assert_int_equal(mem_read(restored, 0xd0000000u + DEVICE_STATUS, 1), 15);
	assert_int_equal(mem_read(restored, 0xc0001000u + 12, 4), 1);
	assert_true(restored->doorbells[1] == 0xd0000000u + NOTIFY + 4);
	assert_int_equal(restored->mmio.count, 2);
	end(fix);
	end(restored);
}

static void nothing_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	memset(data, 0, len);
}

static void nothing_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
}

static void test_a_bar_whose_place_is_taken_is_an_error(void **state)
{
	static const struct pv_bus_ops ops = {nothing_read, nothing_write};
	struct fixture *fix = fresh(), *other = fresh();
	bring_up_msix(fix);
	struct pv_bytes saved = state_save(&only_pci, fix);
	struct pv_bytes before = state_save(&only_pci, other);
	assert_int_equal(pv_bus_add(&other->mmio, BAR1 + 0xff0, 0x100, &ops, NULL), 0);
	assert_int_equal(state_load(&only_pci, other, &saved), -EBADMSG);
	/* Nothing of it is there. */
	state_expect(&only_pci, other, &before);
	assert_int_equal(other->mmio.count, 1);
	assert_int_equal(other->maps, 0);
	assert_int_equal(other->vectors[0].updates, 0);
	assert_int_equal(pv_bus_remove(&other->mmio, BAR1 + 0xff0), 0);
	state_restore(&only_pci, other, &saved);
	pv_bytes_finish(&saved);
	pv_bytes_finish(&before);
	end(fix);
	end(other);
}

/* Which of two overlapping BARs is on the bus is history; loading must not decide it anew. */
static void test_a_bar_that_was_in_the_way_of_another_stays_away(void **state)
{
	struct fixture *fix = fresh();
	bring_up(fix);
	cfg_write(fix, 0x14, 4, BAR0);
	assert_int_equal(fix->mmio.count, 1);
	struct fixture *restored = clone(fix);
	assert_int_equal(restored->mmio.count, 1);
	assert_int_equal(common_read(restored, DEVICE_STATUS, 1), 15);
	/* A write of the guest brings it back, as in the first. */
	cfg_write(restored, 0x14, 4, BAR1);
	assert_int_equal(restored->mmio.count, 2);
	end(fix);
	end(restored);
}

static void test_a_doorbell_that_cannot_be_mapped_is_no_error(void **state)
{
	struct fixture *fix = fresh(), *other = fresh();
	bring_up(fix);
	struct pv_bytes saved = state_save(&both, fix);
	other->map_result = -ENOSPC;
	copy_guest(other, fix);
	state_restore(&both, other, &saved);
	mem_write(other, BAR0 + NOTIFY, 2, 0);
	assert_int_equal(other->kicks[0], 1);
	pv_bytes_finish(&saved);
	end(fix);
	end(other);
}

static void test_a_function_can_be_rewound(void **state)
{
	struct fixture *fix = fresh();
	bring_up_msix(fix);
	set_message(fix, 1, 1);
	use_chain(fix, 0);
	struct pv_bytes saved = state_save(&both, fix);
	assert_int_equal(state_load(&both, fix, &saved), -EBUSY);
	assert_int_equal(state_load(&only_pci, fix, &saved), -EBUSY);
	/* The guest runs on and turns everything over. */
	cfg_write(fix, 0x10, 4, 0xd0000000u);
	set_message(fix, 2, 1);
	pv_virtio_break(&fix->virtio, "tested");
	pv_virtio_pci_reset(fix->pci);
	state_restore(&both, fix, &saved);
	state_expect(&both, fix, &saved);
	assert_true(fix->doorbells[0] == BAR0 + NOTIFY);
	assert_false(fix->vectors[2].masked);
	pv_bytes_finish(&saved);
	end(fix);
}

static void expect_refused(
    const struct pv_bytes *saved, const char *key, unsigned nth, uint64_t value)
{
	struct fixture *fix = fresh();
	struct pv_bytes changed = state_with(saved, key, nth, value);
	assert_int_equal(state_load(&only_pci, fix, &changed), -EBADMSG);
	assert_int_equal(fix->mmio.count, 0);
	pv_bytes_finish(&changed);
	end(fix);
}

static void test_impossible_states_are_refused(void **state)
{
	struct fixture *fix = fresh();
	bring_up_msix(fix);
	struct pv_bytes saved = state_save(&only_pci, fix);
	expect_refused(&saved, "config_vector", 0, 3);
	expect_refused(&saved, "config_vector", 0, 0xfffe);
	expect_refused(&saved, "isr", 0, 4);
	expect_refused(&saved, "pending", 0, 8);
	/* It would have been sent. */
	expect_refused(&saved, "pending", 0, 1);
	expect_refused(&saved, "control", 1, 2);
	expect_refused(&saved, "address", 2, 0xfee00002u);
	expect_refused(&saved, "mapped", 0, 4);
	pv_bytes_finish(&saved);
	pv_virtio_pci_reset(fix->pci);
	saved = state_save(&only_pci, fix);
	expect_refused(&saved, "mapped", 0, 1);
	pv_bytes_finish(&saved);
	end(fix);
}

static void test_a_state_of_another_kind_of_device_is_refused(void **state)
{
	struct fixture *fix = fresh(), *other = fresh();
	/* The same number of queues, so that only identity tells them apart. */
	pv_virtio_pci_destroy(fix->pci);
	fix->virtio.id = VIRTIO_ID_CONSOLE;
	const struct pv_virtio_pci_wiring wiring = {.mmio = &fix->mmio, .interrupt_pin = 1};
	assert_int_equal(pv_virtio_pci_create(&fix->pci, &fix->virtio, &wiring, BAR0, BAR1), 0);
	struct pv_bytes saved = state_save(&only_pci, fix);
	assert_int_equal(state_load(&only_pci, other, &saved), -EBADMSG);
	pv_bytes_finish(&saved);
	saved = state_save(&both, fix);
	assert_int_equal(state_load(&both, other, &saved), -EBADMSG);
	pv_bytes_finish(&saved);
	end(fix);
	end(other);
}

/* Each bit of the configuration space: either a guest can have changed it, or it is refused. */
static void test_only_what_a_guest_can_write_may_differ(void **state)
{
	struct fixture *fix = fresh();
	struct pv_bytes saved = state_save(&only_pci, fix);
	uint8_t *config = memmem(saved.data, saved.len, "\xf4\x1a", 2);
	assert_non_null(config);
	struct fixture *other = fresh(), *guest = fresh();
	for (unsigned bit = 0; bit < 8 * 256; bit++) {
		config[bit / 8] ^= 1 << bit % 8;
		const int status = state_load(&only_pci, other, &saved);
		cfg_write(guest, bit / 8, 1, config[bit / 8]);
		const bool writable = cfg_read(guest, bit / 8, 1) == config[bit / 8];
		assert_int_equal(status, writable ? 0 : -EBADMSG);
		config[bit / 8] ^= 1 << bit % 8;
		pv_virtio_pci_reset(other->pci);
		pv_virtio_pci_reset(guest->pci);
	}
	end(other);
	end(guest);
	pv_bytes_finish(&saved);
	end(fix);
}

/* --- every change of every field --- */

static const struct fixture *saved_guest;

static void *fresh_changed(void)
{
	struct fixture *fix = fresh();
	copy_guest(fix, saved_guest);
	/* The device is whole; only the transport's state is changed. */
	struct pv_bytes device = {0};
	struct pv_pack pack = {.out = &device};
	pv_virtio_save(&saved_guest->virtio, &pack);
	struct pv_doc *doc;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_doc_parse(&doc, device.data, device.len, &err), 0);
	assert_int_equal(pv_virtio_load(&fix->virtio, pv_doc_root(doc), &err), 0);
	pv_doc_destroy(doc);
	pv_bytes_finish(&device);
	return fix;
}

static void done_changed(void *ctx, bool loaded)
{
	struct fixture *fix = ctx;
	if (loaded) {
		pv_virtio_resume(&fix->virtio);
		for (unsigned at = 0; at < 256; at += 4)
			cfg_read(fix, at, 4);
		msix_control(fix, MSIX_ON);
		cfg_write(fix, 0x04, 2, MEMORY);
		use_chain(fix, 0);
		use_chain(fix, 1);
		cfg_write(fix, 0x10, 4, 0xd0000000u);
		msix_control(fix, 0);
	}
	end(fix);
}

static void test_no_change_of_a_function_does_harm(void **state)
{
	struct fixture *fix = fresh();
	bring_up_msix(fix);
	set_message(fix, 1, 1);
	use_chain(fix, 0);
	saved_guest = fix;
	struct pv_bytes saved = state_save(&only_pci, fix);
	state_change_everything(&only_pci, &saved, fresh_changed, done_changed);
	pv_bytes_finish(&saved);
	end(fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_register_is_as_it_was),
	    cmocka_unit_test(test_messages_and_doorbells_are_told_again),
	    cmocka_unit_test(test_a_function_has_the_vectors_that_its_driver_found),
	    cmocka_unit_test(test_a_pending_interrupt_waits_for_its_unmasking),
	    cmocka_unit_test(test_a_masked_function_keeps_what_is_pending),
	    cmocka_unit_test(test_the_wire_is_raised_until_the_isr_is_read),
	    cmocka_unit_test(test_bars_are_where_the_guest_moved_them),
	    cmocka_unit_test(test_a_bar_whose_place_is_taken_is_an_error),
	    cmocka_unit_test(test_a_bar_that_was_in_the_way_of_another_stays_away),
	    cmocka_unit_test(test_a_doorbell_that_cannot_be_mapped_is_no_error),
	    cmocka_unit_test(test_a_function_can_be_rewound),
	    cmocka_unit_test(test_impossible_states_are_refused),
	    cmocka_unit_test(test_a_state_of_another_kind_of_device_is_refused),
	    cmocka_unit_test(test_only_what_a_guest_can_write_may_differ),
	    cmocka_unit_test(test_no_change_of_a_function_does_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
