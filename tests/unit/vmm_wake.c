/* Suspend to RAM: the guest stops, keeps its memory, and goes on where it left word. Needs
 * /dev/kvm. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template.h"

/* A FACS with a waking vector where ACPI tables are. */
#define FACS(vector)                                                                       \
	"mov $0xe000, %ax; mov %ax, %es; movl $0x53434146, %es:0x40; movl $64, %es:0x44\n" \
	"movl $" vector ", %es:0x4c\n"
#define SUSPEND "mov $0x604, %dx; mov $0x2400, %ax; out %ax, %dx\n"

/* Says `s` and suspends; awake it says `W` if the status register says that it was woken, and
 * suspends again, over and over. It must not go on behind the suspension. */
PAYLOAD(sleeper, FACS("(0x8000 + sleeper_woken - sleeper)") "movl $0x12345678, 0x1000\n" PRINT("s")
		     SUSPEND PRINT("x") FOREVER
    "sleeper_woken: mov $0x600, %dx; in %dx, %ax; test $0x8000, %ax; jz 2f\n" PRINT(
	"W") "mov $0x600, %dx; mov $0x8000, %ax; out %ax, %dx\n" SUSPEND "2: " PRINT("x") FOREVER);

/* A vector that real mode cannot reach. */
PAYLOAD(stray, FACS("0x12345678") PRINT("s") SUSPEND FOREVER);

/* No FACS at all. */
PAYLOAD(wordless, PRINT("s") SUSPEND FOREVER);

/* Never suspends. */
PAYLOAD(waker, PRINT("s") FOREVER);

static bool is_suspended(struct guest *guest)
{
	pv_loop_lock(guest->loop);
	bool suspended = pv_machine_is_suspended(guest->machine);
	pv_loop_unlock(guest->loop);
	return suspended;
}

static void wait_suspended(struct guest *guest)
{
	const int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	while (!is_suspended(guest)) {
		assert_true(pv_clock_now() < deadline);
		poll(NULL, 0, 1);
	}
}

static void wake(struct guest *guest)
{
	struct pv_err err = PV_ERR_INIT;
	wait_suspended(guest);
	if (pv_machine_wakeup(guest->machine, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_console(struct guest *guest, const char *text)
{
	pv_loop_lock(guest->loop);
	guest->console[guest->console_len] = 0;
	assert_string_equal(guest->console, text);
	pv_loop_unlock(guest->loop);
}

static void test_it_wakes_where_it_left_word(void **state)
{
	struct guest *guest = *state;
	uint32_t kept = 0;
	guest->config.cpus = 2;
	guest_start(guest, sleeper, sleeper_end);
	wake(guest);
	guest_wait_console(guest, "sW");
	wake(guest);
	guest_wait_console(guest, "sWW");
	wait_suspended(guest);
	assert_console(guest, "sWW");
	assert_int_equal(guest_state(guest), PV_MACHINE_RUNNING);
	pv_gmem_read(pv_machine_memory(guest->machine), 0x9000, &kept, sizeof(kept));
	assert_int_equal(kept, 0x12345678);
	assert_int_equal(guest->reboots, 0);
}

static void test_time_goes_on_over_it(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, sleeper, sleeper_end);
	wait_suspended(guest);
	pv_loop_lock(guest->loop);
	const int64_t before = pv_guest_clock_now(&guest->machine->clock);
	pv_loop_unlock(guest->loop);
	poll(NULL, 0, 5);
	wake(guest);
	guest_wait_console(guest, "sW");
	pv_loop_lock(guest->loop);
	const int64_t after = pv_guest_clock_now(&guest->machine->clock);
	pv_loop_unlock(guest->loop);
	assert_true(after >= before + 4 * (PV_CLOCK_SECOND / 1000));
	assert_true(after < before + 60 * PV_CLOCK_SECOND);
}

static void test_only_a_suspended_guest_is_woken(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_create(guest, waker, waker_end);
	assert_int_equal(pv_machine_wakeup(guest->machine, &err), -EINVAL);
	assert_string_equal(err.text, "cannot wake a machine that is not started yet");
	assert_int_equal(pv_machine_start(guest->machine, &err), 0);
	guest_wait_console(guest, "s");
	assert_int_equal(pv_machine_wakeup(guest->machine, &err), -EINVAL);
	assert_string_equal(err.text, "the guest is not suspended");
	assert_int_equal(guest_state(guest), PV_MACHINE_RUNNING);
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	assert_int_equal(pv_machine_wakeup(guest->machine, &err), -EINVAL);
	assert_string_equal(err.text, "cannot wake a machine that is paused");
}

static void test_pause_and_reset_of_a_suspended_guest(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, sleeper, sleeper_end);
	wait_suspended(guest);
	pv_loop_lock(guest->loop);
	assert_int_equal(pv_machine_power_button(guest->machine), -EINVAL);
	pv_loop_unlock(guest->loop);
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	assert_int_equal(pv_machine_resume(guest->machine, &err), 0);
	assert_true(is_suspended(guest));
	wake(guest);
	guest_wait_console(guest, "sW");
	wait_suspended(guest);
	assert_int_equal(pv_machine_reset(guest->machine, &err), 0);
	guest_wait_console(guest, "sWs");
	wake(guest);
	guest_wait_console(guest, "sWsW");
}

static void test_a_copy_of_a_suspended_guest_wakes(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	guest_start(guest, sleeper, sleeper_end);
	wait_suspended(guest);
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	assert_int_equal(pv_machine_freeze(guest->machine, &template, &err), 0);
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;
	const struct pv_machine_restore options = {.boot = &guest->config};
	assert_int_equal(
	    pv_machine_restore(&guest->machine, &guest->kvm, guest->loop, template, &options, &err),
	    0);
	pv_template_unref(template);
	assert_int_equal(pv_machine_resume(guest->machine, &err), 0);
	assert_true(is_suspended(guest));
	wake(guest);
	guest_wait_console(guest, "sW");
	wake(guest);
	guest_wait_console(guest, "sWW");
}

static void expect_crash(struct guest *guest, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	wait_suspended(guest);
	assert_int_equal(pv_machine_wakeup(guest->machine, &err), -EINVAL);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stop.kind, PV_MACHINE_STOP_CRASHED);
	assert_string_equal(guest->stop.text, text);
}

static void test_a_word_that_leads_nowhere_ends_the_guest(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, stray, stray_end);
	expect_crash(guest,
	    "the guest cannot be woken: the address that the guest left in the FACS to wake up "
	    "at, 0x12345678, is not in the first MiB");
}

static void test_no_word_at_all_ends_the_guest(void **state)
{
	struct guest *guest = *state;
	guest_start(guest, wordless, wordless_end);
	expect_crash(guest,
	    "the guest cannot be woken: the address that the guest left in the FACS to wake up "
	    "at, 0x0, is not in the first MiB");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_it_wakes_where_it_left_word),
	    TEST(test_time_goes_on_over_it),
	    TEST(test_only_a_suspended_guest_is_woken),
	    TEST(test_pause_and_reset_of_a_suspended_guest),
	    TEST(test_a_copy_of_a_suspended_guest_wakes),
	    TEST(test_a_word_that_leads_nowhere_ends_the_guest),
	    TEST(test_no_word_at_all_ends_the_guest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
