/* Freezing a machine and going on from what was frozen: forks, rewinds, generations. Needs
 * /dev/kvm. */
#include "vmm/template.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/gmem.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template_private.h"

/* Counts in a register and from there in memory at 0x9000 and says `.` once. */
PAYLOAD(counter, PRINT(".") "xor %ebx, %ebx; 1: inc %ebx; mov %ebx, 0x1000; jmp 1b");

/* A counter that has come some way, paused. */
static void start_and_pause(struct guest *guest)
{
	guest_start(guest, counter, counter_end);
	guest_wait_console(guest, ".");
	machine_wait_above(guest->machine, 1000);
	machine_pause(guest->machine);
}

static void test_parent_and_children_go_their_own_ways(void **state)
{
	enum { CHILDREN = 50 };
	struct guest *guest = *state;
	struct pv_machine *children[CHILDREN];
	start_and_pause(guest);
	const uint32_t frozen = machine_peek(guest->machine, PAYLOAD_COUNTER);
	struct pv_template *template = machine_freeze(guest->machine);
	assert_int_equal(pv_template_cpus(template), 1);
	assert_int_equal(pv_template_memory(template), guest->config.memory_bytes);

	machine_resume(guest->machine);
	machine_wait_above(guest->machine, frozen + 1000);
	for (unsigned i = 0; i < CHILDREN; i++) {
		children[i] = machine_restore(guest, template);
		assert_int_equal(machine_peek(children[i], PAYLOAD_COUNTER), frozen);
		/* Marks that only this child may have. */
		const uint32_t mark = 0xc0de0000u + i;
		pv_gmem_write(pv_machine_memory(children[i]), 0x20000, &mark, sizeof(mark));
	}
	for (unsigned i = 0; i < CHILDREN; i += 2)
		machine_resume(children[i]);
	for (unsigned i = 0; i < CHILDREN; i += 2)
		machine_wait_above(children[i], frozen + 10);
	for (unsigned i = 0; i < CHILDREN; i++) {
		assert_int_equal(machine_peek(children[i], 0x20000), 0xc0de0000u + i);
		if (i % 2)
			assert_int_equal(machine_peek(children[i], PAYLOAD_COUNTER), frozen);
	}
	assert_int_equal(machine_peek(guest->machine, 0x20000), 0);
	struct pv_machine *late = machine_restore(guest, template);
	assert_int_equal(machine_peek(late, PAYLOAD_COUNTER), frozen);
	assert_int_equal(machine_peek(late, 0x20000), 0);
	pv_machine_destroy(late);
	for (unsigned i = 0; i < CHILDREN; i++)
		pv_machine_destroy(children[i]);
	pv_template_unref(template);
	assert_int_equal(guest->stops, 0);
}

static void test_template_outlives_its_parent(void **state)
{
	struct guest *guest = *state;
	start_and_pause(guest);
	const uint32_t frozen = machine_peek(guest->machine, PAYLOAD_COUNTER);
	struct pv_template *template = machine_freeze(guest->machine);
	pv_machine_destroy(guest->machine);
	guest->machine = machine_restore(guest, template);
	pv_template_unref(template);
	assert_int_equal(machine_peek(guest->machine, PAYLOAD_COUNTER), frozen);
	machine_resume(guest->machine);
	machine_wait_above(guest->machine, frozen + 1000);
}

static void test_generations(void **state)
{
	struct guest *guest = *state;
	struct pv_template *templates[5];
	uint32_t counts[5];
	start_and_pause(guest);
	for (unsigned i = 0; i < 5; i++) {
		const uint32_t mark = i + 1;
		pv_gmem_write(pv_machine_memory(guest->machine), 0x30000 + 4096 * i, &mark, 4);
		counts[i] = machine_peek(guest->machine, PAYLOAD_COUNTER);
		templates[i] = machine_freeze(guest->machine);
		struct pv_machine *child = machine_restore(guest, templates[i]);
		pv_machine_destroy(guest->machine);
		guest->machine = child;
		machine_resume(child);
		machine_wait_above(child, counts[i] + 100);
		machine_pause(child);
	}
	for (unsigned i = 0; i < 5; i++) {
		struct pv_machine *child = machine_restore(guest, templates[i]);
		assert_int_equal(machine_peek(child, PAYLOAD_COUNTER), counts[i]);
		for (unsigned k = 0; k < 5; k++)
			assert_int_equal(
			    machine_peek(child, 0x30000 + 4096 * k), k <= i ? k + 1 : 0);
		machine_resume(child);
		machine_wait_above(child, counts[i] + 100);
		pv_machine_destroy(child);
		pv_template_unref(templates[i]);
	}
}

static void test_rewinds_a_thousand_times(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	start_and_pause(guest);
	const uint32_t frozen = machine_peek(guest->machine, PAYLOAD_COUNTER);
	struct pv_template *template = machine_freeze(guest->machine);
	struct pv_machine *child = machine_restore(guest, template);
	pv_template_unref(template);
	for (unsigned i = 0; i < 1000; i++) {
		struct pv_machine *machine = i % 2 ? guest->machine : child;
		if (i % 50 < 2) {
			machine_resume(machine);
			machine_wait_above(machine, frozen + 10);
			machine_pause(machine);
		} else {
			pv_gmem_zero(pv_machine_memory(machine), PAYLOAD_COUNTER, 4096);
		}
		assert_int_not_equal(machine_peek(machine, PAYLOAD_COUNTER), frozen);
		if (pv_machine_rewind(machine, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(machine_peek(machine, PAYLOAD_COUNTER), frozen);
	}
	pv_machine_destroy(child);
}

static void test_rewind_after_a_reboot(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	start_and_pause(guest);
	const uint32_t frozen = machine_peek(guest->machine, PAYLOAD_COUNTER);
	struct pv_template *template = machine_freeze(guest->machine);
	struct pv_machine *child = machine_restore(guest, template);
	struct pv_machine *both[] = {guest->machine, child};
	for (unsigned i = 0; i < 2; i++) {
		const uint32_t mark = 1;
		pv_gmem_write(pv_machine_memory(both[i]), 0x20000, &mark, sizeof(mark));
		machine_resume(both[i]);
		if (pv_machine_reset(both[i], &err) < 0)
			fail_msg("%s", err.text);
		machine_pause(both[i]);
		assert_int_equal(machine_peek(both[i], 0x20000), 0);
		/* A template made of a rebooted machine is one too, and does not touch the other.
		 */
		if (i == 0)
			assert_true(pv_machine_rewind(both[i], &err) == 0);
		else
			pv_template_unref(machine_freeze(both[i]));
	}
	assert_int_equal(machine_peek(guest->machine, PAYLOAD_COUNTER), frozen);
	machine_resume(guest->machine);
	machine_wait_above(guest->machine, frozen + 100);
	struct pv_machine *late = machine_restore(guest, template);
	assert_int_equal(machine_peek(late, PAYLOAD_COUNTER), frozen);
	pv_machine_destroy(late);
	pv_machine_destroy(child);
	pv_template_unref(template);
}

/* Goes on from itself, with something else to boot. */
static void restore_with(struct guest *guest, pv_machine_fetch *fetch, void *fetch_ctx)
{
	struct pv_err err = PV_ERR_INIT;
	start_and_pause(guest);
	struct pv_template *template = machine_freeze(guest->machine);
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;
	struct pv_machine_config boot = {.fetch = fetch,
	    .fetch_ctx = fetch_ctx,
	    .events = guest->config.events,
	    .events_ctx = guest->config.events_ctx};
	const struct pv_machine_restore options = {.boot = &boot};
	if (pv_machine_restore(
		&guest->machine, &guest->kvm, guest->loop, template, &options, &err) < 0)
		fail_msg("%s", err.text);
	pv_template_unref(template);
	machine_resume(guest->machine);
}

static int count_and_fail(void *ctx, struct pv_machine_boot *boot, struct pv_err *err)
{
	(void)boot;
	++*(unsigned *)ctx;
	return pv_err_set(err, PV_ERR_INPUT, ENOENT, "kernel `k`: it is gone");
}

static void test_what_is_booted_is_fetched_at_the_reset(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	unsigned calls = 0;
	restore_with(guest, count_and_fail, &calls);
	assert_int_equal(calls, 0);
	assert_int_equal(pv_machine_reset(guest->machine, &err), -EINVAL);
	assert_int_equal(calls, 1);
	assert_string_equal(err.text, "cannot reset a machine that is stopped: the machine cannot "
				      "be reset: kernel `k`: it is "
				      "gone");
}

static void test_restored_without_a_kernel_does_not_reboot(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	restore_with(guest, NULL, NULL);
	assert_int_equal(pv_machine_reset(guest->machine, &err), -EINVAL);
	assert_string_equal(err.text,
	    "cannot reset a machine that is stopped: the guest wants to reboot, but the machine "
	    "was restored without a kernel to boot");
}

static void test_wrong_states_are_refused(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	guest_start(guest, counter, counter_end);
	assert_int_equal(pv_machine_freeze(guest->machine, &template, &err), -EINVAL);
	assert_string_equal(err.text, "cannot freeze a machine that is running");
	assert_int_equal(pv_machine_rewind(guest->machine, &err), -EINVAL);
	assert_string_equal(err.text, "cannot rewind a machine that is running");
	machine_pause(guest->machine);
	assert_int_equal(pv_machine_rewind(guest->machine, &err), -EINVAL);
	assert_string_equal(
	    err.text, "cannot rewind a machine that was neither frozen nor restored");
	pv_machine_stop(guest->machine);
	assert_int_equal(pv_machine_freeze(guest->machine, &template, &err), -EINVAL);
	assert_null(template);
}

struct forker {
	struct guest *guest;
	struct pv_template *template;
	uint32_t expected;
	unsigned wrong;
};

static void *fork_many(void *arg)
{
	struct forker *forker = arg;
	struct pv_err err = PV_ERR_INIT;
	const struct pv_machine_restore options = {.boot = &forker->guest->config};
	for (unsigned i = 0; i < 10; i++) {
		struct pv_machine *machine = NULL;
		if (pv_machine_restore(&machine, &forker->guest->kvm, forker->guest->loop,
			forker->template, &options, &err) < 0 ||
		    pv_machine_resume(machine, &err) < 0 || pv_machine_pause(machine, &err) < 0 ||
		    pv_machine_rewind(machine, &err) < 0 ||
		    machine_peek(machine, PAYLOAD_COUNTER) != forker->expected)
			forker->wrong++;
		pv_machine_destroy(machine);
	}
	return NULL;
}

static void test_threads_may_fork_at_once(void **state)
{
	struct guest *guest = *state;
	start_and_pause(guest);
	struct pv_template *template = machine_freeze(guest->machine);
	struct forker forkers[3];
	pthread_t threads[3];
	for (unsigned i = 0; i < 3; i++) {
		forkers[i] = (struct forker){
		    guest, template, machine_peek(guest->machine, PAYLOAD_COUNTER), 0};
		assert_int_equal(pthread_create(&threads[i], NULL, fork_many, &forkers[i]), 0);
	}
	machine_resume(guest->machine);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(forkers[i].wrong, 0);
	}
	pv_template_unref(template);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_parent_and_children_go_their_own_ways),
	    TEST(test_template_outlives_its_parent),
	    TEST(test_generations),
	    TEST(test_rewinds_a_thousand_times),
	    TEST(test_rewind_after_a_reboot),
	    TEST(test_what_is_booted_is_fetched_at_the_reset),
	    TEST(test_restored_without_a_kernel_does_not_reboot),
	    TEST(test_wrong_states_are_refused),
	    TEST(test_threads_may_fork_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
