/* Guest time that passes at once: what a guest counts moves by as much as was asked for, all of it
 * together, and timers that are due by then ring. Needs a /dev/kvm that moves the TSC: real
 * hardware, or the emulated host (tests/kvm-host/run); elsewhere the one test is that it says so.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"

#define HOUR (3600 * PV_CLOCK_SECOND)

/* Real mode with a stack, the PICs masked, interrupt 0x30 at `handler`, x2APIC mode. */
#define LOCAL_APIC(name, handler)                                                             \
	"xor %ax, %ax; mov %ax, %es; mov %ax, %ss; mov $0x7000, %sp\n"                        \
	"movw $(" #handler " - " #name "), %es:0x30*4; mov %cs, %ax; mov %ax, %es:0x30*4+2\n" \
	"mov $0xff, %al; out %al, $0x21; out %al, $0xa1\n"                                    \
	"mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr; xor %edx, %edx\n"                    \
	"mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
/* At the end of a handler. */
#define DONE "xor %edx, %edx; xor %eax, %eax; mov $0x80b, %ecx; wrmsr; iret\n"
#define IDLE "sti; 1: hlt; jmp 1b\n"

/*
 * Sleeps until the TSC has gone on by 2^44, hours from now, with a deadline timer; the handler says
 * `!` and leaves the TSC at 0x9008. What it was at first is at 0x9000.
 */
PAYLOAD(sleeper, LOCAL_APIC(sleeper,
		     sleeper_rings) "mov $0x832, %ecx; mov $0x40030, %eax; wrmsr\n"
				    "rdtsc; mov %eax, 0x1000; mov %edx, 0x1004\n"
				    "add $0x1000, %edx; mov $0x6e0, %ecx; wrmsr\n" PRINT(".") IDLE
    "sleeper_rings: rdtsc; mov %eax, %cs:0x1008; mov %edx, %cs:0x100c\n" PRINT("!") DONE);

/* The same with a timer that counts: 2^31 times 128 ns, nearly five minutes. */
PAYLOAD(counter,
    LOCAL_APIC(counter, counter_rings) "mov $0x83e, %ecx; mov $0xa, %eax; wrmsr\n"
				       "mov $0x832, %ecx; mov $0x30, %eax; wrmsr\n"
				       "mov $0x838, %ecx; mov $0x80000000, %eax; wrmsr\n" PRINT(".")
					   IDLE "counter_rings: " PRINT("!") DONE);

/* Sets a deadline timer a second (or so) ahead whenever it rings, and counts at 0x9000. */
PAYLOAD(ticker, LOCAL_APIC(ticker, ticker_rings) "mov $0x832, %ecx; mov $0x40030, %eax; wrmsr\n"
						 "call ticker_arm\n" PRINT(".") IDLE
    "ticker_arm: rdtsc; add $0x80000000, %eax; adc $0, %edx; mov $0x6e0, %ecx; wrmsr; ret\n"
    "ticker_rings: incl %cs:0x1000; call ticker_arm\n" DONE);

/* Arms a timer and never looks at it: it spins with interrupts off. */
PAYLOAD(deaf, LOCAL_APIC(deaf, deaf) "mov $0x832, %ecx; mov $0x40030, %eax; wrmsr\n"
				     "rdtsc; add $0x1000, %edx; mov $0x6e0, %ecx; wrmsr\n" PRINT(
					 ".") FOREVER);

/* Spins for ever, without timers; at 0x9000 the TSC. */
PAYLOAD(spinner, PRINT(".") "1: rdtsc; mov %eax, 0x1000; mov %edx, 0x1004; jmp 1b");

/* Sleeps until the deadline timer rings, and then powers off. */
PAYLOAD(goer,
    LOCAL_APIC(goer, goer_rings) "mov $0x832, %ecx; mov $0x40030, %eax; wrmsr\n"
				 "rdtsc; add $0x100, %edx; mov $0x6e0, %ecx; wrmsr\n" PRINT(".")
				     IDLE "goer_rings: " POWER_OFF FOREVER);

/* Reads the PM timer into 0x9000, over and over. */
PAYLOAD(pm_reader, PRINT(".") "mov $0x608, %dx; 1: in %dx, %eax; mov %eax, 0x1000; jmp 1b");

static uint64_t peek(struct guest *guest, uint64_t gpa)
{
	uint64_t value = 0;
	assert_int_equal(pv_gmem_read(pv_machine_memory(guest->machine), gpa, &value, 8), 0);
	return value;
}

static void advance(struct guest *guest, uint64_t ns)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_machine_advance(guest->machine, ns, &err) < 0)
		fail_msg("%s", err.text);
}

/* Starts a payload that says `.`, and skips the test where time cannot be moved. */
static void start(struct guest *guest, const uint8_t *payload, const uint8_t *end)
{
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, payload, end);
	guest_wait_console(guest, ".");
	if (pv_machine_advance(guest->machine, 1, &err) != -ENOTSUP)
		return;
	print_message("skipped: %s\n", err.text);
	skip();
}

static int64_t guest_now(struct guest *guest)
{
	pv_loop_lock(guest->loop);
	int64_t now = pv_guest_clock_now(&guest->machine->clock);
	pv_loop_unlock(guest->loop);
	return now;
}

/* A vCPU that runs cannot be asked. */
static uint64_t tsc_khz(struct guest *guest)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	int khz = ioctl(guest->machine->vm.vcpus[0].fd, KVM_GET_TSC_KHZ, 0);
	assert_int_equal(pv_machine_resume(guest->machine, &err), 0);
	assert_true(khz > 0);
	return (uint64_t)khz;
}

static unsigned count_marks(struct guest *guest, char mark)
{
	unsigned count = 0;
	pv_loop_lock(guest->loop);
	for (size_t i = 0; i < guest->console_len; i++)
		count += guest->console[i] == mark;
	pv_loop_unlock(guest->loop);
	return count;
}

static void test_a_deadline_hours_away_rings_when_they_have_passed(void **state)
{
	struct guest *guest = *state;
	start(guest, sleeper, sleeper_end);
	const uint64_t cycles = UINT64_C(0x1000) << 32;
	const uint64_t khz = tsc_khz(guest);
	const uint64_t due_ns = (uint64_t)((unsigned __int128)cycles * 1000000 / khz);
	advance(guest, due_ns - 60 * PV_CLOCK_SECOND);
	assert_int_equal(count_marks(guest, '!'), 0);
	advance(guest, 60 * PV_CLOCK_SECOND);
	guest_wait_console(guest, "!");
	const uint64_t slept = peek(guest, 0x9008) - peek(guest, 0x9000);
	assert_true(slept >= cycles);
	/* The minute that the guest ran beside it at most. */
	assert_true(slept < cycles + 120 * 1000 * khz);
	assert_int_equal(count_marks(guest, '!'), 1);
}

static void test_a_timer_that_counts_rings_too(void **state)
{
	struct guest *guest = *state;
	start(guest, counter, counter_end);
	advance(guest, 200 * PV_CLOCK_SECOND);
	assert_int_equal(count_marks(guest, '!'), 0);
	advance(guest, 75 * PV_CLOCK_SECOND);
	guest_wait_console(guest, "!");
	advance(guest, HOUR);
	assert_int_equal(count_marks(guest, '!'), 1);
}

static void test_a_timer_that_is_armed_anew_rings_in_every_step(void **state)
{
	struct guest *guest = *state;
	start(guest, ticker, ticker_end);
	const uint32_t before = (uint32_t)peek(guest, 0x9000);
	advance(guest, 10 * HOUR);
	/* 120 steps of five minutes. */
	assert_in_range((uint32_t)peek(guest, 0x9000) - before, 120, 180);
}

static void test_date_and_clock_move_together(void **state)
{
	struct guest *guest = *state;
	const int64_t begin = 1000000000 * PV_CLOCK_SECOND;
	guest->config.initial_time_ns = &begin;
	start(guest, sleeper, sleeper_end);
	const int64_t before = guest_now(guest);
	assert_true(before >= begin && before < begin + 60 * PV_CLOCK_SECOND);
	advance(guest, 24 * HOUR);
	const int64_t moved = guest_now(guest) - before;
	assert_true(moved >= 24 * HOUR && moved < 24 * HOUR + 60 * PV_CLOCK_SECOND);
	advance(guest, 0);
	assert_true(guest_now(guest) - before - moved < 60 * PV_CLOCK_SECOND);
}

static void test_all_processors_move_by_the_same(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest->config.cpus = 3;
	start(guest, sleeper, sleeper_end);
	advance(guest, 5 * HOUR + 1);
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	uint64_t offsets[3];
	for (unsigned i = 0; i < 3; i++) {
		struct kvm_device_attr attr = {
		    .group = KVM_VCPU_TSC_CTRL,
		    .attr = KVM_VCPU_TSC_OFFSET,
		    .addr = (uintptr_t)&offsets[i],
		};
		if (ioctl(guest->machine->vm.vcpus[i].fd, KVM_GET_DEVICE_ATTR, &attr) < 0)
			skip();
	}
	assert_true(offsets[0] == offsets[1] && offsets[1] == offsets[2]);
}

static void test_a_busy_guest_moves_as_well(void **state)
{
	struct guest *guest = *state;
	start(guest, spinner, spinner_end);
	const uint64_t hour = 3600 * 1000 * tsc_khz(guest);
	const uint64_t before = peek(guest, 0x9000);
	advance(guest, HOUR);
	/* It runs: the next value that it writes is of after the hour. */
	const int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	while (peek(guest, 0x9000) - before < hour)
		assert_true(pv_clock_now() < deadline);
}

static void test_the_pm_timer_moves_as_well(void **state)
{
	struct guest *guest = *state;
	start(guest, pm_reader, pm_reader_end);
	pv_loop_lock(guest->loop);
	const uint64_t lived = pv_guest_clock_elapsed(&guest->machine->clock);
	pv_loop_unlock(guest->loop);
	const uint32_t before = (uint32_t)peek(guest, 0x9000);
	/* 2^31 ticks, half of its round, so that it is clear which way it went. */
	advance(guest, UINT64_C(599934140));
	advance(guest, UINT64_C(599) * PV_CLOCK_SECOND);
	pv_loop_lock(guest->loop);
	const uint64_t lives = pv_guest_clock_elapsed(&guest->machine->clock);
	pv_loop_unlock(guest->loop);
	const int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	const uint32_t least = (uint32_t)((lives - lived) / 1000000 * 3579);
	while ((uint32_t)peek(guest, 0x9000) - before < least)
		assert_true(pv_clock_now() < deadline);
}

static void test_a_guest_that_does_not_listen_is_named(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	start(guest, deaf, deaf_end);
	assert_int_equal(pv_machine_advance(guest->machine, 100 * HOUR, &err), -ETIMEDOUT);
	assert_string_equal(
	    err.text, "the guest does not serve the timer of its processor 0, which rang 10 s ago");
	assert_int_equal(guest_state(guest), PV_MACHINE_RUNNING);
}

static void test_a_guest_may_power_off_on_the_way(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	start(guest, goer, goer_end);
	assert_int_equal(pv_machine_advance(guest->machine, 1000 * HOUR, &err), -EINVAL);
	assert_string_equal(err.text,
	    "cannot advance the time of a machine that is stopped: the guest powered off");
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_POWER_OFF);
}

static void test_only_a_guest_that_runs_can_go_on(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_create(guest, sleeper, sleeper_end);
	assert_int_equal(pv_machine_advance(guest->machine, HOUR, &err), -EINVAL);
	assert_int_equal(pv_machine_start(guest->machine, &err), 0);
	guest_wait_console(guest, ".");
	if (pv_machine_advance(guest->machine, 1, &err) == -ENOTSUP) {
		assert_non_null(strstr(err.text, "this KVM cannot set the TSC of its guests"));
		assert_int_equal(guest_state(guest), PV_MACHINE_RUNNING);
	}
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	assert_int_equal(pv_machine_advance(guest->machine, HOUR, &err), -EINVAL);
	assert_string_equal(err.text, "cannot advance the time of a machine that is paused");
	assert_int_equal(pv_machine_resume(guest->machine, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_deadline_hours_away_rings_when_they_have_passed),
	    TEST(test_a_timer_that_counts_rings_too),
	    TEST(test_a_timer_that_is_armed_anew_rings_in_every_step),
	    TEST(test_date_and_clock_move_together),
	    TEST(test_all_processors_move_by_the_same),
	    TEST(test_a_busy_guest_moves_as_well),
	    TEST(test_the_pm_timer_moves_as_well),
	    TEST(test_a_guest_that_does_not_listen_is_named),
	    TEST(test_a_guest_may_power_off_on_the_way),
	    TEST(test_only_a_guest_that_runs_can_go_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
