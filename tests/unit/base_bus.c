/*
 * Buses: each access reaches the one device that claims all of it, with the offset inside that
 * device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/bus.h"

/* A device that records its last access and answers with its own mark. */
struct probe {
	uint8_t mark;
	uint64_t offset;
	unsigned len;
	uint64_t written;
	int reads;
	int writes;
	struct pv_bus *bus; /* when set, a write removes the range at `moves_from` */
	uint64_t moves_from;
};

static void probe_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct probe *probe = ctx;
	probe->offset = offset;
	probe->len = len;
	probe->reads++;
	memset(data, probe->mark, len);
}

static void probe_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct probe *probe = ctx;
	probe->offset = offset;
	probe->len = len;
	probe->writes++;
	probe->written = 0;
	memcpy(&probe->written, data, len);
	if (probe->bus)
		pv_bus_remove(probe->bus, probe->moves_from);
}

static const struct pv_bus_ops ops = {.read = probe_read, .write = probe_write};

static void accesses_reach_their_device_with_its_offset(void **state)
{
	struct pv_bus bus = {0};
	struct probe a = {.mark = 0xa}, b = {.mark = 0xb}, c = {.mark = 0xc};
	/* Added out of order; b and c touch. */
	assert_int_equal(pv_bus_add(&bus, 0x300, 0x10, &ops, &b), 0);
	assert_int_equal(pv_bus_add(&bus, 0x100, 0x10, &ops, &a), 0);
	assert_int_equal(pv_bus_add(&bus, 0x310, 0x10, &ops, &c), 0);
	uint8_t data[8];
	assert_true(pv_bus_read(&bus, 0x104, data, 4));
	assert_memory_equal(data, "\x0a\x0a\x0a\x0a", 4);
	assert_int_equal(a.offset, 4);
	assert_int_equal(a.len, 4);
	assert_true(pv_bus_read(&bus, 0x30f, data, 1));
	assert_int_equal(b.offset, 0xf);
	assert_true(pv_bus_write(&bus, 0x318, "\1\2\3\4\5\6\7\10", 8));
	assert_int_equal(c.offset, 8);
	assert_true(c.written == UINT64_C(0x0807060504030201));
	assert_int_equal(a.writes + b.writes, 0);
}

static void what_nobody_claims_reads_as_ones(void **state)
{
	struct pv_bus bus = {0};
	struct probe a = {.mark = 0xa};
	uint8_t data[8] = {0};
	assert_false(pv_bus_read(&bus, 0, data, 8));
	assert_memory_equal(data, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	assert_int_equal(pv_bus_add(&bus, 0x100, 0x10, &ops, &a), 0);
	memset(data, 0, sizeof(data));
	assert_false(pv_bus_read(&bus, 0xff, data, 1));
	assert_false(pv_bus_read(&bus, 0x110, data + 1, 1));
	assert_false(pv_bus_read(&bus, UINT64_MAX, data + 2, 1));
	assert_memory_equal(data, "\xff\xff\xff\0", 4);
	assert_false(pv_bus_write(&bus, 0x110, data, 1));
	assert_int_equal(a.reads + a.writes, 0);
}

static void straddling_accesses_reach_nobody(void **state)
{
	struct pv_bus bus = {0};
	struct probe a = {.mark = 0xa}, b = {.mark = 0xb};
	assert_int_equal(pv_bus_add(&bus, 0x100, 0x10, &ops, &a), 0);
	assert_int_equal(pv_bus_add(&bus, 0x110, 0x10, &ops, &b), 0);
	uint8_t data[8] = {0};
	assert_false(pv_bus_read(&bus, 0x10e, data, 4));
	assert_memory_equal(data, "\xff\xff\xff\xff\0", 5);
	assert_false(pv_bus_write(&bus, 0x10e, data, 4));
	assert_false(pv_bus_read(&bus, 0x11e, data, 4));
	assert_false(pv_bus_read(&bus, 0xfe, data, 4));
	assert_int_equal(a.reads + a.writes + b.reads + b.writes, 0);
}

static void overlaps_are_refused(void **state)
{
	struct pv_bus bus = {0};
	assert_int_equal(pv_bus_add(&bus, 0x100, 0x10, &ops, NULL), 0);
	assert_int_equal(pv_bus_add(&bus, 0x100, 0x10, &ops, NULL), -EEXIST);
	assert_int_equal(pv_bus_add(&bus, 0x10f, 1, &ops, NULL), -EEXIST);
	assert_int_equal(pv_bus_add(&bus, 0xf0, 0x11, &ops, NULL), -EEXIST);
	assert_int_equal(pv_bus_add(&bus, 0, 0x1000, &ops, NULL), -EEXIST);
	assert_int_equal(pv_bus_add(&bus, 0x104, 4, &ops, NULL), -EEXIST);
	assert_int_equal(pv_bus_add(&bus, 0xf0, 0x10, &ops, NULL), 0);
	assert_int_equal(pv_bus_add(&bus, 0x110, 1, &ops, NULL), 0);
	assert_int_equal(bus.count, 3);
}

static void empty_and_wrapping_ranges_are_refused(void **state)
{
	struct pv_bus bus = {0};
	assert_int_equal(pv_bus_add(&bus, 0x100, 0, &ops, NULL), -EINVAL);
	assert_int_equal(pv_bus_add(&bus, UINT64_MAX, 2, &ops, NULL), -EINVAL);
	assert_int_equal(pv_bus_add(&bus, 2, UINT64_MAX, &ops, NULL), -EINVAL);
	assert_int_equal(bus.count, 0);
}

static void the_top_of_the_address_space_is_usable(void **state)
{
	struct pv_bus bus = {0};
	struct probe a = {.mark = 0xa};
	uint8_t data[8];
	assert_int_equal(pv_bus_add(&bus, UINT64_MAX - 7, 8, &ops, &a), 0);
	assert_true(pv_bus_read(&bus, UINT64_MAX - 7, data, 8));
	assert_true(pv_bus_read(&bus, UINT64_MAX, data, 1));
	assert_int_equal(a.offset, 7);
	assert_false(pv_bus_read(&bus, UINT64_MAX, data, 2));
	assert_int_equal(pv_bus_add(&bus, UINT64_MAX, 1, &ops, &a), -EEXIST);
}

static void removed_ranges_are_gone_and_free(void **state)
{
	struct pv_bus bus = {0};
	struct probe a = {.mark = 0xa}, b = {.mark = 0xb};
	uint8_t data[1];
	pv_bus_add(&bus, 0x100, 0x10, &ops, &a);
	pv_bus_add(&bus, 0x200, 0x10, &ops, &b);
	assert_int_equal(pv_bus_remove(&bus, 0x101), -ENOENT);
	assert_int_equal(pv_bus_remove(&bus, 0x50), -ENOENT);
	assert_int_equal(pv_bus_remove(&bus, 0x100), 0);
	assert_int_equal(pv_bus_remove(&bus, 0x100), -ENOENT);
	assert_false(pv_bus_read(&bus, 0x100, data, 1));
	assert_true(pv_bus_read(&bus, 0x200, data, 1));
	assert_int_equal(pv_bus_add(&bus, 0x108, 0x10, &ops, &a), 0);
}

static void a_device_may_move_itself_while_it_is_accessed(void **state)
{
	struct pv_bus bus = {0};
	struct probe a = {.mark = 0xa, .bus = &bus, .moves_from = 0x100};
	pv_bus_add(&bus, 0x100, 0x10, &ops, &a);
	assert_true(pv_bus_write(&bus, 0x102, "\1\2", 2));
	assert_int_equal(a.offset, 2);
	assert_int_equal(bus.count, 0);
}

static void the_table_is_bounded(void **state)
{
	static struct pv_bus bus;
	for (uint64_t i = PV_BUS_RANGES_MAX; i > 0; i--)
		assert_int_equal(pv_bus_add(&bus, i * 16, 16, &ops, NULL), 0);
	assert_int_equal(pv_bus_add(&bus, 0x100000, 16, &ops, NULL), -ENOSPC);
	for (unsigned i = 1; i < bus.count; i++)
		assert_true(bus.ranges[i - 1].base < bus.ranges[i].base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accesses_reach_their_device_with_its_offset),
	    cmocka_unit_test(what_nobody_claims_reads_as_ones),
	    cmocka_unit_test(straddling_accesses_reach_nobody),
	    cmocka_unit_test(overlaps_are_refused),
	    cmocka_unit_test(empty_and_wrapping_ranges_are_refused),
	    cmocka_unit_test(the_top_of_the_address_space_is_usable),
	    cmocka_unit_test(removed_ranges_are_gone_and_free),
	    cmocka_unit_test(a_device_may_move_itself_while_it_is_accessed),
	    cmocka_unit_test(the_table_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
