/*
 * Guest memory: no address or length that a guest can make up leads outside a region.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/gmem.h"

static uint8_t low[4096];
static uint8_t high[8192];

#define LOW  UINT64_C(0x1000)
#define HIGH UINT64_C(0x100000000)

static struct pv_gmem two_regions(void)
{
	struct pv_gmem mem = {0};
	memset(low, 0x11, sizeof(low));
	memset(high, 0x22, sizeof(high));
	assert_int_equal(pv_gmem_add(&mem, LOW, sizeof(low), low), 0);
	assert_int_equal(pv_gmem_add(&mem, HIGH, sizeof(high), high), 0);
	return mem;
}

static void add_refuses_what_is_empty_wraps_or_does_not_ascend(void **state)
{
	struct pv_gmem mem = {0};
	assert_int_equal(pv_gmem_add(&mem, 0x1000, 0, low), -EINVAL);
	assert_int_equal(pv_gmem_add(&mem, 0x1000, 16, NULL), -EINVAL);
	assert_int_equal(pv_gmem_add(&mem, UINT64_MAX, 2, low), -EINVAL);
	assert_int_equal(pv_gmem_add(&mem, 1, UINT64_MAX, low), -EINVAL);
	assert_int_equal(pv_gmem_add(&mem, 0x1000, 0x1000, low), 0);
	assert_int_equal(pv_gmem_add(&mem, 0x1fff, 0x1000, high), -EINVAL);
	assert_int_equal(pv_gmem_add(&mem, 0, 16, high), -EINVAL);
	assert_int_equal(pv_gmem_add(&mem, 0x1000, 0x1000, high), -EINVAL);
	assert_int_equal(mem.count, 1);
	assert_int_equal(pv_gmem_add(&mem, 0x2000, 0x1000, high), 0);
	for (uint64_t i = 2; i < PV_GMEM_REGIONS_MAX; i++)
		assert_int_equal(pv_gmem_add(&mem, 0x10000 * i, 16, high), 0);
	assert_int_equal(pv_gmem_add(&mem, 0x1000000, 16, high), -ENOSPC);
}

static void at_translates_up_to_the_last_byte(void **state)
{
	struct pv_gmem mem = two_regions();
	assert_ptr_equal(pv_gmem_at(&mem, LOW, 1), low);
	assert_ptr_equal(pv_gmem_at(&mem, LOW, sizeof(low)), low);
	assert_ptr_equal(pv_gmem_at(&mem, LOW + 4095, 1), low + 4095);
	assert_ptr_equal(pv_gmem_at(&mem, HIGH + 8000, 192), high + 8000);
	assert_true(pv_gmem_size(&mem) == sizeof(low) + sizeof(high));
}

static void at_refuses_one_byte_too_many(void **state)
{
	struct pv_gmem mem = two_regions();
	assert_null(pv_gmem_at(&mem, LOW - 1, 1));
	assert_null(pv_gmem_at(&mem, LOW - 1, 2));
	assert_null(pv_gmem_at(&mem, LOW, sizeof(low) + 1));
	assert_null(pv_gmem_at(&mem, LOW + 4095, 2));
	assert_null(pv_gmem_at(&mem, LOW + 4096, 1));
	assert_null(pv_gmem_at(&mem, HIGH - 1, 1));
	assert_null(pv_gmem_at(&mem, HIGH + sizeof(high), 1));
}

static void at_refuses_what_wraps(void **state)
{
	struct pv_gmem mem = two_regions();
	assert_null(pv_gmem_at(&mem, UINT64_MAX, 1));
	assert_null(pv_gmem_at(&mem, UINT64_MAX, 2));
	assert_null(pv_gmem_at(&mem, UINT64_MAX - 10, 0x2000));
	assert_null(pv_gmem_at(&mem, LOW, UINT64_MAX));
	assert_null(pv_gmem_at(&mem, LOW + 1, UINT64_MAX));
	assert_null(pv_gmem_at(&mem, LOW, UINT64_MAX - LOW + 2));
	assert_null(pv_gmem_at(&mem, HIGH + 8191, UINT64_MAX - 8190));
}

static void length_zero_needs_a_valid_address(void **state)
{
	struct pv_gmem mem = two_regions();
	assert_ptr_equal(pv_gmem_at(&mem, LOW, 0), low);
	assert_ptr_equal(pv_gmem_at(&mem, LOW + 4095, 0), low + 4095);
	assert_null(pv_gmem_at(&mem, LOW + 4096, 0));
	assert_null(pv_gmem_at(&mem, 0, 0));
	assert_int_equal(pv_gmem_read(&mem, LOW, NULL, 0), 0);
	assert_int_equal(pv_gmem_write(&mem, LOW, NULL, 0), 0);
}

static void neighbours_are_not_joined(void **state)
{
	static uint8_t host[64];
	struct pv_gmem mem = {0};
	assert_int_equal(pv_gmem_add(&mem, 0, 32, host), 0);
	assert_int_equal(pv_gmem_add(&mem, 32, 32, host + 32), 0);
	assert_null(pv_gmem_at(&mem, 31, 2));
	assert_ptr_equal(pv_gmem_at(&mem, 32, 32), host + 32);
}

static void copies_are_whole_or_not_at_all(void **state)
{
	struct pv_gmem mem = two_regions();
	uint8_t data[4] = {1, 2, 3, 4};
	assert_int_equal(pv_gmem_write(&mem, LOW + 4092, data, 4), 0);
	assert_memory_equal(low + 4092, data, 4);
	assert_int_equal(pv_gmem_write(&mem, HIGH + 8190, data, 4), -EFAULT);
	assert_memory_equal(high + 8188, "\x22\x22\x22\x22", 4);
	uint8_t back[4] = {9, 9, 9, 9};
	assert_int_equal(pv_gmem_read(&mem, LOW + 4093, back, 4), -EFAULT);
	assert_memory_equal(back, "\x09\x09\x09\x09", 4);
	assert_int_equal(pv_gmem_read(&mem, LOW + 4092, back, 4), 0);
	assert_memory_equal(back, data, 4);
	assert_int_equal(pv_gmem_zero(&mem, LOW + 4090, 7), -EFAULT);
	assert_int_equal(low[4090], 0x11);
	assert_int_equal(pv_gmem_zero(&mem, LOW + 4090, 6), 0);
	assert_memory_equal(low + 4089, "\x11\0\0\0\0\0\0", 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(add_refuses_what_is_empty_wraps_or_does_not_ascend),
	    cmocka_unit_test(at_translates_up_to_the_last_byte),
	    cmocka_unit_test(at_refuses_one_byte_too_many),
	    cmocka_unit_test(at_refuses_what_wraps),
	    cmocka_unit_test(length_zero_needs_a_valid_address),
	    cmocka_unit_test(neighbours_are_not_joined),
	    cmocka_unit_test(copies_are_whole_or_not_at_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
