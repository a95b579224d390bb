/* States of a machine: what may follow what, that races between owner and guest end well, and that
 * nothing is left. Needs /dev/kvm. */
#include "vmm/machine.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/guest_clock.h"
#include "vmm/kvm_vm.h"
#include "vmm/ram.h"

/* Counts in memory at 0x9000 and says `.` once. */
PAYLOAD(counter, PRINT(".") "1: incl 0x1000; jmp 1b");
/* Resets for ever. */
PAYLOAD(rebooter, PRINT("r") "mov $0xfe, %al; out %al, $0x64\n" FOREVER);
/* Says one thing and powers off. */
PAYLOAD(quitter, PRINT("q") POWER_OFF FOREVER);

static void test_paused_guest_stands_still_and_goes_on(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, counter, counter_end);
	guest_wait_console(guest, ".");
	for (unsigned i = 0; i < 5; i++) {
		machine_wait_progress(guest->machine);
		assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
		assert_int_equal(guest_state(guest), PV_MACHINE_PAUSED);
		uint32_t before = machine_peek(guest->machine, PAYLOAD_COUNTER);
		poll(NULL, 0, 2);
		assert_int_equal(machine_peek(guest->machine, PAYLOAD_COUNTER), before);
		assert_int_equal(pv_machine_resume(guest->machine, &err), 0);
	}
	machine_wait_progress(guest->machine);
	assert_int_equal(guest->console_len, 1);
}

static void test_operations_in_wrong_states_say_so(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_create(guest, counter, counter_end);
	assert_int_equal(pv_machine_pause(guest->machine, &err), -EINVAL);
	assert_string_equal(err.text, "cannot pause a machine that is not started yet");
	assert_int_equal(pv_machine_resume(guest->machine, &err), -EINVAL);
	assert_int_equal(pv_machine_reset(guest->machine, &err), -EINVAL);
	assert_int_equal(pv_machine_start(guest->machine, &err), 0);
	assert_int_equal(pv_machine_start(guest->machine, &err), -EINVAL);
	assert_int_equal(pv_machine_resume(guest->machine, &err), -EINVAL);
	assert_string_equal(err.text, "cannot resume a machine that is running");
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	assert_int_equal(pv_machine_pause(guest->machine, &err), -EINVAL);
	pv_loop_lock(guest->loop);
	assert_int_equal(pv_machine_power_button(guest->machine), -EINVAL);
	pv_loop_unlock(guest->loop);
	assert_int_equal(pv_machine_start(guest->machine, &err), 0);
	pv_machine_stop(guest->machine);
	pv_machine_stop(guest->machine);
	assert_int_equal(pv_machine_start(guest->machine, &err), -EINVAL);
	assert_int_equal(pv_machine_stop_reason(guest->machine)->kind, PV_MACHINE_STOP_ASKED);
	assert_int_equal(guest->stops, 0);
}

static void test_destroy_works_in_every_state(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_create(guest, counter, counter_end);
	pv_machine_destroy(guest->machine);
	guest_start(guest, counter, counter_end);
	pv_machine_destroy(guest->machine);
	guest_start(guest, counter, counter_end);
	assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
	pv_machine_destroy(guest->machine);
	guest_start(guest, counter, counter_end);
	pv_machine_stop(guest->machine);
	pv_machine_destroy(guest->machine);
	guest_start(guest, quitter, quitter_end);
	guest_wait_stopped(guest);
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;
	pv_machine_destroy(NULL);
}

static void test_reset_starts_over(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, counter, counter_end);
	guest_wait_console(guest, ".");
	machine_wait_progress(guest->machine);
	assert_int_equal(pv_machine_reset(guest->machine, &err), 0);
	assert_int_equal(guest->reboots, 1);
	guest_wait_console(guest, "..");
	machine_wait_progress(guest->machine);
}

static void test_frozen_guest_time_does_not_pass(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_ram ram;
	struct pv_kvm_vm vm;
	struct pv_guest_clock clock;
	guest_need_kvm(guest);
	assert_int_equal(pv_ram_init(&ram, -1, 16 << 20, &err), 0);
	assert_int_equal(pv_kvm_vm_init(&vm, &guest->kvm, &ram, 2, true, &err), 0);
	pv_guest_clock_init(&clock, &vm, 1000);
	assert_int_equal(pv_guest_clock_now(&clock), 1000);
	pv_guest_clock_start(&clock);
	pv_guest_clock_freeze(&clock);
	int64_t frozen = pv_guest_clock_now(&clock);
	assert_true(frozen >= 1000);
	poll(NULL, 0, 3);
	assert_int_equal(pv_guest_clock_now(&clock), frozen);
	pv_guest_clock_thaw(&clock);
	assert_true(pv_guest_clock_now(&clock) >= frozen);
	pv_guest_clock_carry(&clock);
	assert_true(pv_guest_clock_now(&clock) >= frozen);
	pv_guest_clock_finish(&clock);
	pv_kvm_vm_finish(&vm, NULL);
	pv_ram_finish(&ram, NULL);
}

static void test_a_guest_that_powers_off_stays_off(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest_start(guest, quitter, quitter_end);
	guest_wait_stopped(guest);
	assert_int_equal(guest->stops, 1);
	assert_int_equal(pv_machine_pause(guest->machine, &err), -EINVAL);
	assert_string_equal(
	    err.text, "cannot pause a machine that is stopped: the guest powered off");
	assert_int_equal(pv_machine_reset(guest->machine, &err), -EINVAL);
	pv_machine_stop(guest->machine);
	assert_int_equal(pv_machine_stop_reason(guest->machine)->kind, PV_MACHINE_STOP_POWER_OFF);
	assert_int_equal(guest->stops, 1);
}

static void test_owner_and_guest_may_act_at_once(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	guest->config.cpus = 2;
	guest_start(guest, rebooter, rebooter_end);
	for (unsigned i = 0; i < 60; i++) {
		assert_int_equal(pv_machine_pause(guest->machine, &err), 0);
		assert_int_equal(pv_machine_resume(guest->machine, &err), 0);
		if (i % 4 == 0)
			assert_int_equal(pv_machine_reset(guest->machine, &err), 0);
	}
	guest_wait_reboots(guest, 20);
	pv_machine_stop(guest->machine);
	unsigned after = guest->reboots;
	poll(NULL, 0, 5);
	assert_int_equal(guest->reboots, after);
	assert_int_equal(guest->stops, 0);
}

static void *stop_it(void *arg)
{
	pv_machine_stop(arg);
	return NULL;
}

static void test_stops_from_several_threads_and_the_guest_are_one(void **state)
{
	struct guest *guest = *state;
	for (unsigned i = 0; i < 20; i++) {
		guest_start(guest, quitter, quitter_end);
		pthread_t threads[3];
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(
			    pthread_create(&threads[k], NULL, stop_it, guest->machine), 0);
		for (unsigned k = 0; k < 3; k++)
			pthread_join(threads[k], NULL);
		assert_int_equal(guest_state(guest), PV_MACHINE_STOPPED);
		pv_machine_destroy(guest->machine);
		guest->machine = NULL;
	}
}

static unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	assert_non_null(dir);
	unsigned count = 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static unsigned count_mappings(const char *what)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	assert_non_null(maps);
	char line[512];
	unsigned count = 0;
	while (fgets(line, sizeof(line), maps))
		count += strstr(line, what) != NULL;
	fclose(maps);
	return count;
}

/* Closing goes on in the background: waits until descriptors and threads are down to what was. */
static void wait_for_quiet(unsigned fds, unsigned threads)
{
	int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	while (count_entries("/proc/self/fd") > fds || count_entries("/proc/self/task") > threads) {
		assert_true(pv_clock_now() < deadline);
		poll(NULL, 0, 5);
	}
}

static void test_a_hundred_machines_leave_nothing_behind(void **state)
{
	struct guest *guest = *state;
	guest_need_kvm(guest);
	unsigned fds = count_entries("/proc/self/fd");
	unsigned threads = count_entries("/proc/self/task");
	unsigned mappings = count_mappings("(deleted)"); /* a sanitizer's own */
	for (unsigned i = 0; i < 100; i++) {
		if (i % 2)
			guest_start(guest, counter, counter_end);
		else
			guest_create(guest, counter, counter_end);
		pv_machine_destroy(guest->machine);
		guest->machine = NULL;
	}
	wait_for_quiet(fds, threads);
	assert_int_equal(count_mappings("(deleted)"), mappings);
	assert_int_equal(count_mappings("kvm-vcpu"), 0);
}

static void expect_refusal(struct guest *guest, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_machine *machine = NULL;
	assert_true(
	    pv_machine_create(&machine, &guest->kvm, guest->loop, &guest->config, &err) < 0);
	assert_null(machine);
	if (!strstr(err.text, text))
		fail_msg("`%s` does not say `%s`", err.text, text);
}

static void test_bad_configurations_are_refused_in_words(void **state)
{
	struct guest *guest = *state;
	guest_need_kvm(guest);
	struct pv_machine_config good = guest->config;
	good.payload = (struct pv_span){counter, (size_t)(counter_end - counter)};

	guest->config = good;
	guest->config.memory_bytes = 0;
	expect_refusal(guest, "memory of 0 MiB is too small; give at least 16M");
	guest->config.memory_bytes = 1 << 20;
	expect_refusal(guest, "memory of 1 MiB is too small; give at least 16M");
	guest->config.memory_bytes = UINT64_C(1) << 60;
	expect_refusal(guest, "is more than this host has; give at most");
	guest->config.memory_bytes = UINT64_MAX;
	expect_refusal(guest, "is more than this host has; give at most");
	guest->config = good;
	guest->config.cpus = 0;
	expect_refusal(guest, "a machine with 0 vCPUs cannot be built; give 1 to ");
	guest->config.cpus = 1000;
	expect_refusal(guest, "a machine with 1000 vCPUs cannot be built; give 1 to ");
	guest->config = good;
	guest->config.vsock_cid = 2;
	expect_refusal(guest, "vsock address 2 is reserved");
	guest->config = good;
	guest->config.payload.len = 0;
	expect_refusal(guest, "nothing to run");
	guest->config = good;
	guest->config.payload_gpa = 0x8001;
	expect_refusal(guest, "payload of");
	guest->config.payload_gpa = 0x100000;
	expect_refusal(guest, "payload of");
	const int64_t before_time = -1;
	guest->config = good;
	guest->config.initial_time_ns = &before_time;
	expect_refusal(guest, "before 1970");
	const int64_t too_late = INT64_MAX;
	guest->config.initial_time_ns = &too_late;
	expect_refusal(guest, "after 2106");
}

static void test_memory_above_the_gap_is_there(void **state)
{
	struct guest *guest = *state;
	guest->config.memory_bytes = (UINT64_C(3) << 30) + (64 << 20);
	guest_create(guest, counter, counter_end);
	const struct pv_gmem *mem = pv_machine_memory(guest->machine);
	assert_int_equal(mem->count, 2);
	assert_int_equal(pv_gmem_size(mem), guest->config.memory_bytes);
	assert_null(pv_gmem_at(mem, UINT64_C(0xc0000000), 1));
	uint8_t *first = pv_gmem_at(mem, UINT64_C(0x100000000), 1);
	assert_non_null(first);
	assert_int_equal(*first, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_paused_guest_stands_still_and_goes_on),
	    TEST(test_operations_in_wrong_states_say_so),
	    TEST(test_destroy_works_in_every_state),
	    TEST(test_reset_starts_over),
	    TEST(test_frozen_guest_time_does_not_pass),
	    TEST(test_a_guest_that_powers_off_stays_off),
	    TEST(test_owner_and_guest_may_act_at_once),
	    TEST(test_stops_from_several_threads_and_the_guest_are_one),
	    TEST(test_a_hundred_machines_leave_nothing_behind),
	    TEST(test_bad_configurations_are_refused_in_words),
	    TEST(test_memory_above_the_gap_is_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
