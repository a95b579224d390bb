/* Promises of the real-time clock, with a wall clock that the test moves. */
#include "vmm/rtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

struct bench {
	struct pv_rtc rtc;
	int64_t wall_ns;
	int64_t wake_ns;
	unsigned alarms;
	bool irq;
};

static int64_t now(void *ctx)
{
	return ((struct bench *)ctx)->wall_ns;
}

static void wake_at(void *ctx, int64_t wall_ns)
{
	((struct bench *)ctx)->wake_ns = wall_ns;
}

static void alarm_is_due(void *ctx)
{
	((struct bench *)ctx)->alarms++;
}

static void set_irq(void *ctx, bool level)
{
	((struct bench *)ctx)->irq = level;
}

static uint8_t get(struct bench *bench, uint8_t index)
{
	uint8_t value = 0;
	pv_rtc_ops.write(&bench->rtc, 0, &index, 1);
	pv_rtc_ops.read(&bench->rtc, 1, &value, 1);
	return value;
}

static void set(struct bench *bench, uint8_t index, uint8_t value)
{
	pv_rtc_ops.write(&bench->rtc, 0, &index, 1);
	pv_rtc_ops.write(&bench->rtc, 1, &value, 1);
}

/* 2001-09-09 01:46:40 UTC, a Sunday. */
#define BILLION (INT64_C(1000000000) * PV_CLOCK_SECOND)

static int set_up(void **state)
{
	static struct bench bench;
	bench = (struct bench){.wall_ns = BILLION, .wake_ns = PV_CLOCK_NEVER};
	const struct pv_rtc_host host = {
	    .now = now, .wake_at = wake_at, .alarm = alarm_is_due, .ctx = &bench};
	pv_rtc_init(&bench.rtc, (struct pv_irq_line){set_irq, &bench}, &host);
	*state = &bench;
	return 0;
}

static void test_time_is_shown_in_bcd_and_24_hours(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(get(bench, 0), 0x40);
	assert_int_equal(get(bench, 2), 0x46);
	assert_int_equal(get(bench, 4), 0x01);
	assert_int_equal(get(bench, 6), 0x01);
	assert_int_equal(get(bench, 7), 0x09);
	assert_int_equal(get(bench, 8), 0x09);
	assert_int_equal(get(bench, 9), 0x01);
	assert_int_equal(get(bench, 0x32), 0x20);
	assert_int_equal(get(bench, 13), 0x80);
}

static void test_binary_and_12_hours_are_honoured(void **state)
{
	struct bench *bench = *state;
	bench->wall_ns += 12 * 3600 * PV_CLOCK_SECOND;
	set(bench, 11, 0x04);
	assert_int_equal(get(bench, 2), 46);
	assert_int_equal(get(bench, 4), 1 | 0x80);
}

static void test_time_moves_with_the_wall_clock(void **state)
{
	struct bench *bench = *state;
	bench->wall_ns += 20 * PV_CLOCK_SECOND;
	assert_int_equal(get(bench, 0), 0x00);
	assert_int_equal(get(bench, 2), 0x47);
}

static void test_a_time_set_with_the_set_bit_sticks(void **state)
{
	struct bench *bench = *state;
	set(bench, 11, 0x82);
	set(bench, 0, 0x59);
	set(bench, 2, 0x59);
	set(bench, 4, 0x23);
	set(bench, 7, 0x31);
	set(bench, 8, 0x12);
	set(bench, 9, 0x99);
	set(bench, 0x32, 0x19);
	bench->wall_ns += 5 * PV_CLOCK_SECOND;
	assert_int_equal(get(bench, 0), 0x59);
	set(bench, 11, 0x02);
	assert_int_equal(get(bench, 0), 0x59);
	bench->wall_ns += PV_CLOCK_SECOND;
	assert_int_equal(get(bench, 0), 0x00);
	assert_int_equal(get(bench, 9), 0x00);
	assert_int_equal(get(bench, 0x32), 0x20);
}

static void test_update_in_progress_precedes_the_second(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(get(bench, 10) & 0x80, 0);
	bench->wall_ns += PV_CLOCK_SECOND - 100000;
	assert_int_equal(get(bench, 10) & 0x80, 0x80);
}

static void test_alarm_interrupts_once_at_its_time(void **state)
{
	struct bench *bench = *state;
	set(bench, 1, 0x42);
	set(bench, 3, 0xff);
	set(bench, 5, 0xff);
	set(bench, 11, 0x22);
	assert_int_equal(bench->wake_ns, BILLION + PV_CLOCK_SECOND);
	bench->wall_ns = bench->wake_ns;
	pv_rtc_wake(&bench->rtc);
	assert_false(bench->irq);
	assert_int_equal(bench->alarms, 0);
	bench->wall_ns = bench->wake_ns;
	pv_rtc_wake(&bench->rtc);
	assert_true(bench->irq);
	assert_int_equal(bench->alarms, 1);
	assert_int_equal(get(bench, 12) & 0xa0, 0xa0);
	assert_false(bench->irq);
	assert_int_equal(get(bench, 12), 0);
}

static void set_alarm(struct bench *bench, uint8_t hours, uint8_t minutes, uint8_t seconds)
{
	set(bench, 1, seconds);
	set(bench, 3, minutes);
	set(bench, 5, hours);
	set(bench, 11, 0x22);
}

static void test_alarm_rings_when_time_passes_it_in_one_step(void **state)
{
	struct bench *bench = *state;
	set_alarm(bench, 0x03, 0x00, 0x00);
	bench->wall_ns += 3600 * PV_CLOCK_SECOND;
	pv_rtc_wake(&bench->rtc);
	assert_false(bench->irq);
	bench->wall_ns += 3600 * PV_CLOCK_SECOND;
	pv_rtc_wake(&bench->rtc);
	assert_true(bench->irq);
	assert_int_equal(get(bench, 12), 0xb0);
	assert_false(bench->irq);
	/* The next one is tomorrow's. */
	bench->wall_ns += 20 * 3600 * PV_CLOCK_SECOND;
	pv_rtc_wake(&bench->rtc);
	assert_false(bench->irq);
	bench->wall_ns += 40 * 24 * 3600 * PV_CLOCK_SECOND;
	pv_rtc_wake(&bench->rtc);
	assert_true(bench->irq);
}

static void test_alarm_does_not_ring_for_what_was_before(void **state)
{
	struct bench *bench = *state;
	/* A minute ago; nobody has looked at the clock for two. */
	bench->wall_ns += 120 * PV_CLOCK_SECOND;
	set_alarm(bench, 0x01, 0x47, 0x40);
	bench->wall_ns += 2 * PV_CLOCK_SECOND;
	pv_rtc_wake(&bench->rtc);
	assert_false(bench->irq);
	/* The date may go back. */
	bench->wall_ns -= 3600 * PV_CLOCK_SECOND;
	pv_rtc_wake(&bench->rtc);
	assert_false(bench->irq);
}

static void test_update_interrupt_comes_each_second_until_disabled(void **state)
{
	struct bench *bench = *state;
	set(bench, 11, 0x12);
	for (unsigned i = 0; i < 3; i++) {
		bench->wall_ns = bench->wake_ns;
		pv_rtc_wake(&bench->rtc);
		assert_true(bench->irq);
		get(bench, 12);
		assert_false(bench->irq);
	}
	set(bench, 11, 0x02);
	assert_true(bench->wake_ns == PV_CLOCK_NEVER);
}

static void test_reset_keeps_time_and_memory(void **state)
{
	struct bench *bench = *state;
	set(bench, 0x50, 0xa5);
	set(bench, 0, 0x10);
	set(bench, 11, 0x12);
	pv_rtc_reset(&bench->rtc);
	assert_true(bench->wake_ns == PV_CLOCK_NEVER);
	assert_int_equal(get(bench, 0x50), 0xa5);
	assert_int_equal(get(bench, 0), 0x10);
}

static void test_nonsense_is_survived(void **state)
{
	struct bench *bench = *state;
	for (unsigned index = 0; index < 256; index++)
		set(bench, (uint8_t)index, 0xff);
	for (unsigned index = 0; index < 256; index++)
		get(bench, (uint8_t)index);
	set(bench, 11, 0x02);
	assert_int_equal(get(bench, 11), 0x02);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_time_is_shown_in_bcd_and_24_hours),
	    TEST(test_binary_and_12_hours_are_honoured),
	    TEST(test_time_moves_with_the_wall_clock),
	    TEST(test_a_time_set_with_the_set_bit_sticks),
	    TEST(test_update_in_progress_precedes_the_second),
	    TEST(test_alarm_interrupts_once_at_its_time),
	    TEST(test_alarm_rings_when_time_passes_it_in_one_step),
	    TEST(test_alarm_does_not_ring_for_what_was_before),
	    TEST(test_update_interrupt_comes_each_second_until_disabled),
	    TEST(test_reset_keeps_time_and_memory),
	    TEST(test_nonsense_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
