/*
 * vmm/generation.h, alone and in machines that go on from a template. The latter need /dev/kvm.
 */
#include "vmm/generation.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "payload_guest.h"
#include "vmm/layout.h"
#include "vmm/machine_private.h"
#include "vmm/template.h"

#define RAM_SIZE (1u << 20)

/* Looks at the status of the general-purpose events for ever and says `.` each time. */
PAYLOAD(teller,
    "1: mov $0x620, %dx; in %dx, %al; mov %al, 0x1000; mov $0x3f8, %dx; mov $'.', %al; out %al, "
    "%dx; jmp 1b");

#define STATUS_AT 0x9000u

struct id {
	uint8_t bytes[PV_GENERATION_SIZE];
};

static bool same(struct id a, struct id b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static struct id make(const uint64_t *seed)
{
	struct id id;
	pv_generation_make(id.bytes, seed);
	return id;
}

static struct id read_id(const struct pv_gmem *mem)
{
	struct id id;
	assert_int_equal(pv_gmem_read(mem, PV_LAYOUT_GENERATION, &id, sizeof(id)), 0);
	return id;
}

static void ids_differ_but_for_a_seed(void **state)
{
	const uint64_t one = 1, two = 2;
	assert_false(same(make(NULL), make(NULL)));
	assert_true(same(make(&one), make(&one)));
	assert_false(same(make(&one), make(&two)));
	assert_false(same(make(&one), make(NULL)));
}

static void only_a_page_that_was_placed_is_renewed(void **state)
{
	struct pv_gmem mem = {0};
	uint8_t *ram = calloc(1, RAM_SIZE);
	const struct id first = make(NULL), second = make(NULL), zero = {0};
	assert_non_null(ram);
	assert_int_equal(pv_generation_place(&mem, first.bytes), -EFAULT); /* no memory there */
	assert_false(pv_generation_renew(&mem, first.bytes));
	assert_int_equal(pv_gmem_add(&mem, 0, RAM_SIZE, ram), 0);
	assert_false(pv_generation_renew(&mem, first.bytes));
	assert_true(same(read_id(&mem), zero));
	assert_int_equal(pv_generation_place(&mem, first.bytes), 0);
	assert_true(same(read_id(&mem), first));
	assert_true(pv_generation_renew(&mem, second.bytes));
	assert_true(same(read_id(&mem), second));
	assert_int_equal(PV_LAYOUT_GENERATION % 4096, 0);
	free(ram);
}

/* --- machines --- */

/* The next status that the guest stores. */
static uint8_t next_status(struct guest *guest, struct pv_machine *machine)
{
	uint8_t status = 0xff;
	assert_int_equal(pv_gmem_write(pv_machine_memory(machine), STATUS_AT, &status, 1), 0);
	while (status == 0xff) {
		pv_loop_lock(guest->loop);
		guest->console_len = 0;
		pv_loop_unlock(guest->loop);
		guest_wait_console(guest, ".");
		assert_int_equal(
		    pv_gmem_read(pv_machine_memory(machine), STATUS_AT, &status, 1), 0);
	}
	return status;
}

/* Lets the guest look at its events once more; returns whether that of the generation is raised. */
static bool is_announced(struct guest *guest, struct pv_machine *machine)
{
	pv_loop_lock(guest->loop);
	const bool runs = pv_machine_state(machine) == PV_MACHINE_RUNNING;
	pv_loop_unlock(guest->loop);
	if (!runs)
		machine_resume(machine);
	/* The first one may have been read before the pause. */
	next_status(guest, machine);
	return next_status(guest, machine) & 1u << PV_LAYOUT_GPE_GENERATION;
}

/* A machine whose guest was given the page, as a booted kernel is, and its template. */
static struct pv_template *start_and_freeze(struct guest *guest, bool place)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	guest_start(guest, teller, teller_end);
	guest_wait_console(guest, ".");
	machine_pause(guest->machine);
	const struct id id = make(guest->config.rng_seed);
	if (place)
		assert_int_equal(
		    pv_generation_place(pv_machine_memory(guest->machine), id.bytes), 0);
	if (pv_machine_freeze(guest->machine, &template, &err) < 0)
		fail_msg("%s", err.text);
	return template;
}

static struct pv_machine *fork_of(struct guest *guest, struct pv_template *template, bool reseed)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_machine *machine = NULL;
	const struct pv_machine_restore options = {.boot = &guest->config, .reseed = reseed};
	if (pv_machine_restore(&machine, &guest->kvm, guest->loop, template, &options, &err) < 0)
		fail_msg("%s", err.text);
	return machine;
}

static struct id id_of(const struct pv_machine *machine)
{
	return read_id(pv_machine_memory(machine));
}

static void each_copy_and_each_rewind_is_a_new_generation(void **state)
{
	struct guest *guest = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = start_and_freeze(guest, true);
	const struct id first = id_of(guest->machine);
	/* Going on after a pause, also one that a snapshot was taken in, is none. */
	assert_false(is_announced(guest, guest->machine));
	assert_true(same(id_of(guest->machine), first));
	pv_machine_destroy(guest->machine);
	guest->machine = NULL;

	struct pv_machine *a = fork_of(guest, template, false);
	/* The change is for who goes on; a copy that never runs is what was saved. */
	assert_true(same(id_of(a), first));
	assert_true(is_announced(guest, a));
	const struct id of_a = id_of(a);
	assert_false(same(of_a, first));
	machine_pause(a);
	machine_resume(a);
	assert_true(same(id_of(a), of_a));
	machine_pause(a);
	if (pv_machine_rewind(a, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(same(id_of(a), first));
	machine_resume(a);
	assert_false(same(id_of(a), first));
	assert_false(same(id_of(a), of_a));
	pv_machine_destroy(a);

	guest->machine = fork_of(guest, template, false);
	machine_resume(guest->machine);
	assert_false(same(id_of(guest->machine), first));
	assert_false(same(id_of(guest->machine), of_a));
	pv_template_unref(template);
}

static void copies_of_a_seeded_guest_are_of_one_generation(void **state)
{
	struct guest *guest = *state;
	const uint64_t seed = 42;
	guest->config.rng_seed = &seed;
	struct pv_template *template = start_and_freeze(guest, true);
	const struct id first = id_of(guest->machine);
	pv_machine_destroy(guest->machine);
	guest->machine = fork_of(guest, template, false);
	assert_false(is_announced(guest, guest->machine));
	assert_true(same(id_of(guest->machine), first));
	pv_machine_destroy(guest->machine);
	guest->machine = fork_of(guest, template, true);
	assert_true(is_announced(guest, guest->machine));
	assert_false(same(id_of(guest->machine), first));
	pv_template_unref(template);
}

static void an_event_may_wait_but_not_for_ever(void **state)
{
	struct guest *guest = *state;
	struct pv_template *template = start_and_freeze(guest, true);
	const struct id first = id_of(guest->machine);
	for (unsigned i = 0; i < 2; i++) {
		pv_machine_destroy(guest->machine);
		guest->machine = fork_of(guest, template, false);
		pv_loop_lock(guest->loop);
		pv_machine_announce_late(guest->machine);
		pv_loop_unlock(guest->loop);
		machine_resume(guest->machine);
		assert_false(same(id_of(guest->machine), first));
		/* It stands still, and time with it. */
		machine_pause(guest->machine);
		pv_loop_lock(guest->loop);
		pv_machine_announce(guest->machine);
		assert_true(guest->machine->event_due);
		pv_loop_unlock(guest->loop);
		machine_resume(guest->machine);
		pv_loop_lock(guest->loop);
		if (i == 0)
			pv_machine_announce(guest->machine);
		pv_loop_unlock(guest->loop);
		/* Once somebody says so, or by itself: without it this would never end. */
		while (!is_announced(guest, guest->machine))
			assert_int_equal(i, 1);
		pv_loop_lock(guest->loop);
		assert_false(guest->machine->event_due);
		pv_loop_unlock(guest->loop);
	}
	pv_template_unref(template);
}

static void memory_of_a_guest_without_the_page_is_left_alone(void **state)
{
	struct guest *guest = *state;
	const struct id zero = {0};
	struct pv_template *template = start_and_freeze(guest, false);
	pv_machine_destroy(guest->machine);
	guest->machine = fork_of(guest, template, false);
	assert_false(is_announced(guest, guest->machine));
	assert_true(same(id_of(guest->machine), zero));
	pv_template_unref(template);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_set_up, guest_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ids_differ_but_for_a_seed),
	    cmocka_unit_test(only_a_page_that_was_placed_is_renewed),
	    TEST(each_copy_and_each_rewind_is_a_new_generation),
	    TEST(copies_of_a_seeded_guest_are_of_one_generation),
	    TEST(an_event_may_wait_but_not_for_ever),
	    TEST(memory_of_a_guest_without_the_page_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
