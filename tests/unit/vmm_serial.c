/* Promises of the UART: what Linux' 8250 driver relies on, without KVM. */
#include "vmm/serial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct bench {
	struct pv_serial serial;
	char output[256];
	size_t output_len;
	bool irq;
	unsigned edges;
};

static void collect(void *ctx, const void *data, size_t len)
{
	struct bench *bench = ctx;
	assert_true(bench->output_len + len <= sizeof(bench->output));
	memcpy(bench->output + bench->output_len, data, len);
	bench->output_len += len;
}

static void set_irq(void *ctx, bool level)
{
	struct bench *bench = ctx;
	bench->edges += level && !bench->irq;
	bench->irq = level;
}

static uint8_t in(struct bench *bench, unsigned port)
{
	uint8_t value = 0;
	pv_serial_ops.read(&bench->serial, port, &value, 1);
	return value;
}

static void out(struct bench *bench, unsigned port, uint8_t value)
{
	pv_serial_ops.write(&bench->serial, port, &value, 1);
}

static int set_up(void **state)
{
	static struct bench bench;
	bench = (struct bench){0};
	pv_serial_init(&bench.serial, (struct pv_irq_line){set_irq, &bench}, collect, &bench);
	*state = &bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	pv_serial_finish(&bench->serial);
	return 0;
}

static void test_sent_bytes_reach_the_output(void **state)
{
	struct bench *bench = *state;
	out(bench, 0, 'h');
	out(bench, 0, 'i');
	assert_int_equal(bench->output_len, 2);
	assert_memory_equal(bench->output, "hi", 2);
	assert_int_equal(in(bench, 5) & 0x60, 0x60);
}

static void test_autoconfig_finds_a_16550a(void **state)
{
	struct bench *bench = *state;
	/* drivers/tty/serial/8250/8250_port.c, autoconfig() */
	out(bench, 1, 0);
	assert_int_equal(in(bench, 1) & 0x0f, 0);
	out(bench, 1, 0x0f);
	assert_int_equal(in(bench, 1) & 0x0f, 0x0f);
	out(bench, 1, 0);
	out(bench, 4, 0x10 | 0x0a);
	assert_int_equal(in(bench, 6) & 0xf0, 0x90);
	out(bench, 4, 0);
	out(bench, 3, 0xbf);
	out(bench, 2, 0);
	out(bench, 3, 0);
	out(bench, 2, 0x01);
	assert_int_equal(in(bench, 2) >> 6, 3);
	out(bench, 7, 0x5a);
	assert_int_equal(in(bench, 7), 0x5a);
}

static void test_loopback_returns_bytes_and_sends_none(void **state)
{
	struct bench *bench = *state;
	out(bench, 4, 0x10);
	out(bench, 0, 'x');
	assert_int_equal(bench->output_len, 0);
	assert_int_equal(in(bench, 5) & 1, 1);
	assert_int_equal(in(bench, 0), 'x');
	assert_int_equal(in(bench, 5) & 1, 0);
}

static void test_divisor_latch_hides_data_and_enable(void **state)
{
	struct bench *bench = *state;
	out(bench, 3, 0x83);
	out(bench, 0, 0x01);
	out(bench, 1, 0x02);
	assert_int_equal(in(bench, 0), 0x01);
	assert_int_equal(in(bench, 1), 0x02);
	out(bench, 3, 0x03);
	assert_int_equal(in(bench, 1), 0);
	assert_int_equal(bench->output_len, 0);
}

static void test_transmitter_interrupt_is_raised_and_cleared_by_iir(void **state)
{
	struct bench *bench = *state;
	out(bench, 4, 0x08);
	out(bench, 1, 0x02);
	assert_true(bench->irq);
	assert_int_equal(in(bench, 2) & 0x0f, 0x02);
	assert_false(bench->irq);
	assert_int_equal(in(bench, 2) & 0x0f, 0x01);
	out(bench, 0, 'a');
	assert_true(bench->irq);
	assert_int_equal(bench->edges, 2);
}

static void test_no_interrupt_without_out2(void **state)
{
	struct bench *bench = *state;
	out(bench, 1, 0x03);
	assert_false(bench->irq);
	out(bench, 4, 0x08);
	assert_true(bench->irq);
}

static void test_typed_bytes_wait_for_a_driver_and_arrive_in_order(void **state)
{
	struct bench *bench = *state;
	char typed[40];
	for (unsigned i = 0; i < sizeof(typed); i++)
		typed[i] = (char)('0' + i);
	assert_int_equal(pv_serial_input(&bench->serial, typed, sizeof(typed)), sizeof(typed));
	assert_int_equal(in(bench, 5) & 1, 0);
	out(bench, 2, 0x07); /* FIFOs on and cleared, as a driver starts */
	out(bench, 4, 0x08);
	out(bench, 1, 0x01);
	assert_true(bench->irq);
	for (unsigned i = 0; i < sizeof(typed); i++) {
		assert_int_equal(in(bench, 5) & 1, 1);
		assert_int_equal(in(bench, 0), typed[i]);
	}
	assert_int_equal(in(bench, 5) & 1, 0);
	assert_false(bench->irq);
}

static void test_fifo_below_its_trigger_reports_a_timeout(void **state)
{
	struct bench *bench = *state;
	out(bench, 2, 0x81); /* trigger 8 */
	out(bench, 4, 0x08);
	out(bench, 1, 0x01);
	pv_serial_input(&bench->serial, "abc", 3);
	assert_int_equal(in(bench, 2) & 0x0f, 0x0c);
	pv_serial_input(&bench->serial, "defgh", 5);
	assert_int_equal(in(bench, 2) & 0x0f, 0x04);
}

static void test_input_is_bounded(void **state)
{
	struct bench *bench = *state;
	static char many[PV_SERIAL_INPUT_MAX + 100];
	assert_int_equal(pv_serial_input(&bench->serial, many, sizeof(many)), PV_SERIAL_INPUT_MAX);
	assert_int_equal(pv_serial_input(&bench->serial, "x", 1), 0);
}

static void count_call(void *ctx)
{
	++*(unsigned *)ctx;
}

static void test_room_after_a_refusal_is_told_once(void **state)
{
	struct bench *bench = *state;
	static char many[PV_SERIAL_INPUT_MAX + 100];
	unsigned told = 0, read = 0;
	bench->serial.room = count_call;
	bench->serial.room_ctx = &told;
	out(bench, 4, 0x08);
	out(bench, 1, 0x01);
	pv_serial_input(&bench->serial, many, PV_SERIAL_INPUT_MAX);
	for (; read < 100; read++)
		in(bench, 0);
	assert_int_equal(told, 0); /* nothing was refused */
	pv_serial_input(&bench->serial, many, sizeof(many));
	for (; read < PV_SERIAL_INPUT_MAX / 4; read++)
		in(bench, 0);
	assert_int_equal(told, 0); /* little room is not told */
	for (; read < PV_SERIAL_INPUT_MAX; read++)
		in(bench, 0);
	assert_int_equal(told, 1);
	assert_true(pv_serial_input(&bench->serial, many, 1000) == 1000);
}

static void test_overrun_is_told_once(void **state)
{
	struct bench *bench = *state;
	out(bench, 4, 0x10);
	out(bench, 0, 'a');
	out(bench, 0, 'b');
	assert_int_equal(in(bench, 5) & 0x03, 0x03);
	assert_int_equal(in(bench, 5) & 0x03, 0x01);
	assert_int_equal(in(bench, 0), 'a');
}

static void test_reset_forgets_everything(void **state)
{
	struct bench *bench = *state;
	out(bench, 4, 0x08);
	out(bench, 1, 0x03);
	out(bench, 2, 0x01);
	pv_serial_input(&bench->serial, "x", 1);
	pv_serial_reset(&bench->serial);
	assert_false(bench->irq);
	assert_int_equal(in(bench, 1), 0);
	assert_int_equal(in(bench, 2), 0x01);
	assert_int_equal(in(bench, 5), 0x60);
}

static void test_wide_accesses_reach_neighbouring_registers(void **state)
{
	struct bench *bench = *state;
	const uint8_t pair[2] = {0x03, 0x08};
	pv_serial_ops.write(&bench->serial, 3, pair, 2);
	uint8_t back[4] = {0};
	pv_serial_ops.read(&bench->serial, 3, back, 4);
	assert_int_equal(back[0], 0x03);
	assert_int_equal(back[1], 0x08);
	assert_int_equal(back[2], 0x60);
	assert_int_equal(back[3], 0xb0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_sent_bytes_reach_the_output),
	    TEST(test_autoconfig_finds_a_16550a),
	    TEST(test_loopback_returns_bytes_and_sends_none),
	    TEST(test_divisor_latch_hides_data_and_enable),
	    TEST(test_transmitter_interrupt_is_raised_and_cleared_by_iir),
	    TEST(test_no_interrupt_without_out2),
	    TEST(test_typed_bytes_wait_for_a_driver_and_arrive_in_order),
	    TEST(test_fifo_below_its_trigger_reports_a_timeout),
	    TEST(test_input_is_bounded),
	    TEST(test_room_after_a_refusal_is_told_once),
	    TEST(test_overrun_is_told_once),
	    TEST(test_reset_forgets_everything),
	    TEST(test_wide_accesses_reach_neighbouring_registers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
