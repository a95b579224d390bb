/*
 * lab/vm_rewind.c on a payload guest: the ways in which a VM goes back, and what a failure leaves.
 * Needs /dev/kvm. What agents and kernels make of it is shown by tests/guest/reset.test.lua.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lab/profile.h"
#include "lab/vm_private.h"
#include "tests/unit/payload_guest.h"
#include "vmm/template.h"

/* Says `.` for ever. */
PAYLOAD(waiter, "1:" PRINT(".") "jmp 1b");

#define MARK_AT 0x20000u

struct world {
	struct pv_config config;
	struct pv_profile profile, other;
	struct pv_host host;
	struct guest *guest; /* whose template the VM goes on from */
	struct pv_vm *vm;
	struct pv_template *template;
	struct pv_vm_baseline *baseline;
	unsigned spawned;
	unsigned shut_down;
	char path[64];
};

static void on_spawned(void *ctx, const struct pv_vm *vm)
{
	((struct world *)ctx)->spawned++;
}

static void on_shutdown(void *ctx, const struct pv_vm *vm, int64_t uptime_ns)
{
	assert_true(uptime_ns >= 0);
	((struct world *)ctx)->shut_down++;
}

static const struct pv_host_events host_events = {
    .vm_spawned = on_spawned, .vm_shutdown = on_shutdown};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct pv_err err = PV_ERR_INIT;
	void *guest = NULL;
	assert_non_null(world);
	assert_int_equal(guest_set_up(&guest), 0);
	world->guest = guest;
	world->profile = (struct pv_profile){.name = (char *)"p", .agent_boot_timeout = 1};
	world->other = (struct pv_profile){.name = (char *)"other", .agent_boot_timeout = 1};
	snprintf(world->path, sizeof(world->path), "/tmp/pv-rewind-XXXXXX");
	close(mkstemp(world->path));
	assert_int_equal(pv_host_init(&world->host, &world->config, &host_events, world, &err), 0);
	assert_int_equal(
	    pv_vm_create(&world->vm, &world->host, "v", &world->profile, NULL, &err), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	void *guest = world->guest;
	pv_vm_baseline_destroy(world->baseline);
	pv_template_unref(world->template);
	pv_vm_shutdown(world->vm);
	pv_vm_unref(world->vm);
	assert_int_equal(world->spawned, world->shut_down);
	pv_host_finish(&world->host);
	guest_tear_down(&guest);
	unlink(world->path);
	free(world);
	return 0;
}

static void fill_template(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	guest_need_kvm(world->guest);
	guest_start(world->guest, waiter, waiter_end);
	if (pv_machine_pause(world->guest->machine, &err) < 0 ||
	    pv_machine_freeze(world->guest->machine, &world->template, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pv_kvm_open(&world->host.kvm, &err), 0);
	world->host.kvm_open = true;
	/* It runs payloads, whatever it is. */
	world->host.kvm.backend = PV_KVM_UNSURE;
}

/* A paused VM on the template, with a mark in its memory, and its baseline. */
static void begin(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_vm *vm = world->vm;
	vm->cid = 77;
	vm->adopt.next_id = 1;
	vm->agent_wait_ns = PV_CLOCK_SECOND / 100;
	vm->boot.has_memory = true;
	vm->boot.memory = pv_template_memory(world->template);
	if (pv_vm_restore_machine(vm, world->template, false, &err) < 0)
		fail_msg("%s", err.text);
	vm->state = PV_VM_PAUSED;
	assert_int_equal(pv_vm_baseline_create(&world->baseline, vm, world->template, &err), 0);
	assert_ptr_equal(pv_vm_baseline_vm(world->baseline), vm);
	/* As after a restore of another guest. */
	vm->adopt.boot = 99;
}

static void set_mark(const struct world *world, uint32_t mark)
{
	assert_int_equal(
	    pv_gmem_write(pv_machine_memory(world->vm->machine), MARK_AT, &mark, sizeof(mark)), 0);
}

static uint32_t get_mark(const struct world *world)
{
	uint32_t mark = 0;
	assert_int_equal(
	    pv_gmem_read(pv_machine_memory(world->vm->machine), MARK_AT, &mark, sizeof(mark)), 0);
	return mark;
}

static void go_back(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_vm_baseline_return(world->baseline, false, &err) < 0 ||
	    pv_vm_baseline_go(world->baseline, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pv_vm_state(world->vm), PV_VM_PAUSED);
	assert_int_equal(pv_vm_cid(world->vm), 77);
	assert_int_equal(get_mark(world), 0);
	/* The life of the agent that the baseline has: nobody had said hello. */
	assert_int_equal(world->vm->adopt.boot, 0);
	assert_int_equal(world->spawned, world->shut_down + 1);
}

static void run_a_while(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_vm_resume(world->vm, &err) < 0)
		fail_msg("%s", err.text);
	pv_loop_lock(world->host.loop);
	size_t before = world->vm->log.text.len;
	while (world->vm->log.text.len == before)
		pv_loop_wait(world->host.loop, PV_CLOCK_NEVER);
	pv_loop_unlock(world->host.loop);
}

static void a_machine_that_is_there_is_rewound_in_place(void **state)
{
	struct world *world = *state;
	fill_template(world);
	begin(world);
	const struct pv_machine *machine = world->vm->machine;
	for (int round = 0; round < 20; round++) {
		set_mark(world, 0xdead0000u + (unsigned)round);
		run_a_while(world);
		pv_loop_lock(world->host.loop);
		size_t printed = world->vm->log.text.len;
		pv_loop_unlock(world->host.loop);
		go_back(world);
		assert_ptr_equal(world->vm->machine, machine);
		/* The log goes on, and what is expected is looked for behind this point only. */
		assert_true(world->vm->log.text.len >= printed);
		assert_int_equal(world->vm->log.boot_start, world->vm->log.text.len);
	}
	assert_int_equal(world->spawned, 1);
	assert_false(world->vm->wall_due);
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_vm_baseline_return(world->baseline, true, &err), 0);
	assert_ptr_equal(world->vm->machine, machine);
	assert_true(world->vm->wall_due); /* its agent is to be told when it goes on */
}

static void one_that_was_lost_is_built_again(void **state)
{
	struct world *world = *state;
	fill_template(world);
	begin(world);
	for (int round = 0; round < 3; round++) {
		set_mark(world, 1);
		run_a_while(world);
		if (round == 0) {
			pv_vm_shutdown(world->vm);
			assert_int_equal(pv_vm_state(world->vm), PV_VM_SHUTDOWN);
		} else {
			/* As a guest that powers off or crashes: the VM is dead. */
			pv_machine_stop(world->vm->machine);
			world->vm->state = PV_VM_DEAD;
			snprintf(world->vm->death, sizeof(world->vm->death), "it died");
		}
		go_back(world);
		assert_string_equal(world->vm->death, "");
		assert_int_equal(pv_vm_memory(world->vm), pv_template_memory(world->template));
	}
	run_a_while(world);
}

static void one_that_was_saved_again_does_not_go_there(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *later;
	fill_template(world);
	begin(world);
	set_mark(world, 2);
	assert_int_equal(pv_machine_freeze(world->vm->machine, &later, &err), 0);
	pv_template_unref(later);
	go_back(world);
	const struct pv_machine *machine = world->vm->machine;
	set_mark(world, 3);
	go_back(world);
	assert_ptr_equal(world->vm->machine, machine);
}

static off_t file_size(const char *path)
{
	struct stat info;
	assert_int_equal(stat(path, &info), 0);
	return info.st_size;
}

static void a_failure_says_why_and_the_next_attempt_is_free(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	fill_template(world);
	const struct pv_template_write options = {0};
	assert_int_equal(pv_template_write(world->template, world->path, &options, &err), 0);
	pv_template_unref(world->template);
	assert_int_equal(pv_template_open(&world->template, world->path, false, &err), 0);
	begin(world);
	pv_vm_tell_spawned(world->vm);
	assert_int_equal(chmod(world->path, 0600), 0);
	const off_t size = file_size(world->path);
	assert_int_equal(truncate(world->path, size / 2), 0);
	for (int attempt = 0; attempt < 2; attempt++) {
		assert_true(pv_vm_baseline_return(world->baseline, false, &err) < 0);
		if (!strstr(err.text, "vm `v`: cannot go back to its baseline: ") ||
		    !strstr(err.text, "cut short"))
			fail_msg("%s", err.text);
		assert_int_equal(pv_vm_state(world->vm), PV_VM_DEAD);
		struct pv_agent *agent;
		assert_true(pv_vm_agent(world->vm, "run", &agent, &err) < 0);
		assert_non_null(strstr(err.text, "cut short"));
	}
	assert_int_equal(world->shut_down, 1);
	assert_int_equal(truncate(world->path, size), 0);
	go_back(world);
}

/* Prepared and then left alone: the VM is as before, also when it could not be prepared. */
static void one_that_stays_notices_nothing(void **state)
{
	struct world *world = *state;
	struct pv_vm *vm = world->vm;
	struct pv_err err = PV_ERR_INIT;
	fill_template(world);
	begin(world);
	pv_vm_tell_spawned(vm);
	const struct pv_machine *machine = vm->machine;
	set_mark(world, 4);
	for (int round = 0; round < 3; round++) {
		run_a_while(world);
		assert_int_equal(pv_vm_baseline_prepare(world->baseline, &err), 0);
		assert_int_equal(pv_machine_state(vm->machine), PV_MACHINE_PAUSED);
		assert_int_equal(pv_vm_state(vm), PV_VM_BOOTED);
		pv_vm_baseline_stay(world->baseline);
		assert_int_equal(pv_machine_state(vm->machine), PV_MACHINE_RUNNING);
		assert_int_equal(get_mark(world), 4);
		assert_int_equal(pv_vm_pause(vm, &err), 0);
	}
	/* Its own machine leads elsewhere by now. */
	struct pv_template *later;
	assert_int_equal(pv_machine_freeze(vm->machine, &later, &err), 0);
	pv_template_unref(later);
	run_a_while(world);
	assert_int_equal(pv_vm_baseline_prepare(world->baseline, &err), 0);
	assert_int_equal(pv_vm_baseline_prepare(world->baseline, &err), 0);
	assert_ptr_equal(vm->machine, machine);
	pv_vm_baseline_stay(world->baseline);
	pv_vm_baseline_stay(world->baseline);
	assert_ptr_equal(vm->machine, machine);
	assert_int_equal(get_mark(world), 4);
	assert_int_equal(world->shut_down, 0);
	/* Without a machine, too. */
	pv_vm_shutdown(vm);
	assert_int_equal(pv_vm_baseline_prepare(world->baseline, &err), 0);
	pv_vm_baseline_stay(world->baseline);
	assert_null(vm->machine);
	assert_int_equal(pv_vm_state(vm), PV_VM_SHUTDOWN);
	assert_int_equal(pv_vm_baseline_prepare(world->baseline, &err), 0);
	go_back(world);
	run_a_while(world);
}

static void one_whose_template_is_damaged_stays(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	fill_template(world);
	assert_int_equal(pv_template_write(world->template, world->path, NULL, &err), 0);
	pv_template_unref(world->template);
	assert_int_equal(pv_template_open(&world->template, world->path, false, &err), 0);
	begin(world);
	pv_vm_tell_spawned(world->vm);
	const off_t size = file_size(world->path);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(chmod(world->path, 0600), 0);
		assert_int_equal(truncate(world->path, size / 2), 0);
		assert_true(pv_vm_baseline_prepare(world->baseline, &err) < 0);
		if (!strstr(err.text, "vm `v`: cannot go back to its baseline: ") ||
		    !strstr(err.text, "cut short"))
			fail_msg("%s", err.text);
		assert_int_equal(
		    pv_vm_state(world->vm), round == 0 ? PV_VM_PAUSED : PV_VM_SHUTDOWN);
		assert_int_equal(truncate(world->path, size), 0);
		pv_vm_shutdown(world->vm);
	}
	go_back(world);
}

static void one_without_a_guest_gets_none(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_vm_baseline *created;
	fill_template(world);
	assert_int_equal(pv_vm_baseline_create(&created, world->vm, NULL, &err), 0);
	begin(world);
	world->vm->profile = &world->other;
	pv_vm_tell_spawned(world->vm);
	run_a_while(world);
	assert_int_equal(pv_vm_baseline_return(created, false, &err), 0);
	assert_int_equal(pv_vm_baseline_go(created, &err), 0);
	assert_int_equal(pv_vm_state(world->vm), PV_VM_CREATED);
	assert_int_equal(pv_vm_cid(world->vm), 0);
	assert_null(world->vm->machine);
	assert_string_equal(pv_vm_profile(world->vm), "p");
	assert_int_equal(world->shut_down, 1);
	pv_vm_shutdown(world->vm);
	assert_int_equal(pv_vm_baseline_return(created, false, &err), 0);
	assert_int_equal(pv_vm_state(world->vm), PV_VM_CREATED);
	pv_vm_baseline_destroy(created);
}

/* This payload has no agent, so going on has to fail when it is waited for. */
static void a_guest_whose_agent_is_not_there_is_dead(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_vm_baseline *booted;
	fill_template(world);
	begin(world);
	world->vm->state = PV_VM_BOOTED;
	assert_int_equal(pv_vm_baseline_create(&booted, world->vm, world->template, &err), 0);
	assert_int_equal(pv_vm_baseline_return(booted, false, &err), 0);
	assert_int_equal(pv_vm_baseline_go(booted, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "vm `v`: go back to its baseline: agent did not come up"));
	assert_int_equal(pv_vm_state(world->vm), PV_VM_DEAD);
	pv_vm_baseline_destroy(booted);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_machine_that_is_there_is_rewound_in_place),
	    TEST(one_that_was_lost_is_built_again),
	    TEST(one_that_was_saved_again_does_not_go_there),
	    TEST(a_failure_says_why_and_the_next_attempt_is_free),
	    TEST(one_that_stays_notices_nothing),
	    TEST(one_whose_template_is_damaged_stays),
	    TEST(one_without_a_guest_gets_none),
	    TEST(a_guest_whose_agent_is_not_there_is_dead),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
