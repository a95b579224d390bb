/*
 * lab/vm_verdict.c: what a report does to a VM and to who waits for it. The VM has no machine; its
 * consoles are fed here, and its agent never answers. Real kernels are in tests/guest/verdict*.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/client.h"
#include "base/clock.h"
#include "base/err.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lab/profile.h"
#include "lab/vm_private.h"

#define PANIC	  "[    7.000001] Kernel panic - not syncing: x\r\n"
#define PANIC_END "[    7.000002] ---[ end Kernel panic - not syncing: x ]---\r\n"
#define OOPS	  "[    5.000001] BUG: kernel NULL pointer dereference, address: 0\r\n"
#define OOPS_END  "[    5.000002] ---[ end trace 0000000000000000 ]---\r\n"

struct world {
	struct pv_config config;
	struct pv_profile profile;
	struct pv_host host;
	struct pv_vm *vm;
	unsigned sent, closed;
};

static size_t link_send(void *ctx, const void *data, size_t len)
{
	((struct world *)ctx)->sent++;
	return len;
}

static void link_digested(void *ctx, size_t len)
{
}

static void link_close(void *ctx)
{
	((struct world *)ctx)->closed++;
}

static const struct pv_agent_link_ops link_ops = {
    .send = link_send, .digested = link_digested, .close = link_close};

static const struct pv_agent_mark mark = {.next_id = 1, .boot = 1};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct pv_err err = PV_ERR_INIT;
	world->profile = (struct pv_profile){.name = (char *)"p", .agent_boot_timeout = 1};
	assert_int_equal(pv_host_init(&world->host, &world->config, NULL, NULL, &err), 0);
	assert_int_equal(
	    pv_vm_create(&world->vm, &world->host, "v", &world->profile, NULL, &err), 0);
	/* As if it were booted and its agent there. */
	pv_loop_lock(world->host.loop);
	world->vm->state = PV_VM_BOOTED;
	world->vm->agent_wait_ns = 1000 * PV_CLOCK_SECOND;
	assert_true(pv_agent_adopt(world->vm->agent, &link_ops, world, &mark));
	pv_loop_unlock(world->host.loop);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	pv_vm_unref(world->vm);
	pv_host_finish(&world->host);
	free(world);
	return 0;
}

static void hear(struct world *world, const char *text)
{
	pv_loop_lock(world->host.loop);
	pv_vm_verdict_hear(world->vm, PV_MACHINE_CONSOLE_SERIAL, text, strlen(text));
	pv_loop_unlock(world->host.loop);
}

/* How many reports there are, and takes them. */
static unsigned take(struct world *world)
{
	struct pv_verdicts verdicts;
	pv_verdict_take(&world->host, &verdicts);
	unsigned count = verdicts.count;
	pv_verdicts_finish(&verdicts);
	return count;
}

static unsigned wait_for_one(struct world *world)
{
	const int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	pv_loop_lock(world->host.loop);
	while (world->host.verdicts.count == 0 && pv_loop_wait(world->host.loop, deadline) == 0)
		;
	pv_loop_unlock(world->host.loop);
	return take(world);
}

/* A call of the agent on a thread of its own. */
struct call {
	struct world *world;
	pthread_t thread;
	int status;
	struct pv_err err;
};

static void *run_call(void *ctx)
{
	struct call *call = ctx;
	struct pv_bytes content = {0};
	const struct pv_principal by = {.agent = call->world->vm->agent};
	call->status = pv_agent_read_file(&by, "/x", &content, &call->err);
	pv_bytes_finish(&content);
	return NULL;
}

static void begin_call(struct call *call, struct world *world)
{
	*call = (struct call){.world = world};
	assert_int_equal(pthread_create(&call->thread, NULL, run_call, call), 0);
	while (pv_vm_in_flight(world->vm) == 0)
		;
}

static void a_report_ends_a_call_with_its_text(void **state)
{
	struct world *world = *state;
	struct call call;
	begin_call(&call, world);
	hear(world, OOPS OOPS_END);
	pthread_join(call.thread, NULL);
	assert_int_equal(call.status, -ECANCELED);
	assert_string_equal(call.err.text,
	    "read_file `/x`: kernel oops: BUG: kernel NULL pointer dereference, address: 0\n"
	    "[    5.000002] ---[ end trace 0000000000000000 ]---");
	assert_int_equal(take(world), 1);
	/* The guest goes on, and so does the connection. */
	struct pv_agent *agent;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_vm_agent(world->vm, "run", &agent, &err), 0);
	assert_int_equal(world->closed, 0);
}

static void one_that_is_expected_ends_nothing(void **state)
{
	struct world *world = *state;
	struct call call;
	pv_verdict_expect(&world->host, true);
	begin_call(&call, world);
	hear(world, OOPS OOPS_END);
	assert_int_equal(take(world), 1);
	assert_int_equal(pv_verdict_count(&world->host), 0);
	pv_loop_lock(world->host.loop);
	assert_int_equal(world->vm->reports.endings, 0);
	pv_loop_unlock(world->host.loop);
	/* A panic does, expected or not. */
	hear(world, PANIC PANIC_END);
	pthread_join(call.thread, NULL);
	assert_non_null(strstr(call.err.text, "kernel panic: Kernel panic - not syncing: x"));
	assert_int_equal(take(world), 1);
}

static void a_panic_stands_until_the_next_boot(void **state)
{
	struct world *world = *state;
	struct pv_agent *agent;
	struct pv_err err = PV_ERR_INIT;
	hear(world, PANIC PANIC_END);
	assert_int_equal(world->closed, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pv_vm_agent(world->vm, "run", &agent, &err), -EFAULT);
		assert_string_equal(err.text,
		    "vm `v`: run: kernel panic: Kernel panic - not syncing: x\n"
		    "[    7.000002] ---[ end Kernel panic - not syncing: x ]---");
	}
	/* Who looks at its console reads what there is. */
	pv_loop_lock(world->host.loop);
	pv_console_log_append(&world->vm->log, "Kernel panic", 12);
	pv_loop_unlock(world->host.loop);
	assert_int_equal(
	    pv_vm_console_expect(world->vm, "panic", 5, pv_clock_deadline(0), &err), 0);
	pv_loop_lock(world->host.loop);
	pv_vm_verdict_restart(world->vm);
	assert_true(pv_agent_adopt(world->vm->agent, &link_ops, world, &mark));
	pv_loop_unlock(world->host.loop);
	assert_int_equal(pv_vm_agent(world->vm, "run", &agent, &err), 0);
	assert_int_equal(take(world), 1);
}

static void a_boot_ends_with_any_report(void **state)
{
	struct world *world = *state;
	struct pv_agent *agent;
	struct pv_err err = PV_ERR_INIT;
	pv_loop_lock(world->host.loop);
	pv_agent_drop(world->vm->agent, "rebooting", true);
	pv_loop_unlock(world->host.loop);
	hear(world, OOPS OOPS_END);
	assert_int_equal(pv_vm_agent(world->vm, "boot", &agent, &err), -EFAULT);
	assert_non_null(strstr(err.text, "vm `v`: boot: kernel oops: BUG: kernel NULL pointer"));
	assert_int_equal(take(world), 1);
}

static void silence_makes_a_report_whole(void **state)
{
	struct world *world = *state;
	hear(world, PANIC);
	assert_int_equal(take(world), 0);
	assert_int_equal(wait_for_one(world), 1);
}

static void a_guest_that_never_falls_silent_is_heard(void **state)
{
	struct world *world = *state;
	unsigned count = 0;
	hear(world, PANIC);
	pv_loop_lock(world->host.loop);
	while (world->host.verdicts.count == 0) {
		const char line[] = "[    8.000000] more\n";
		/* Few enough for the limit of lines to be far. */
		pv_loop_wait(world->host.loop, pv_clock_deadline(PV_CLOCK_SECOND / 100));
		pv_vm_verdict_hear(world->vm, PV_MACHINE_CONSOLE_SERIAL, line, sizeof(line) - 1);
		count++;
	}
	pv_loop_unlock(world->host.loop);
	assert_true(count < PV_KERNEL_REPORT_LINES_MAX);
	assert_int_equal(take(world), 1);
}

static void settling_waits_for_what_has_begun(void **state)
{
	struct world *world = *state;
	hear(world, OOPS);
	pv_verdict_settle(&world->host);
	assert_int_equal(take(world), 1);
	/* What is interrupted does not wait, and loses nothing. */
	pv_host_interrupt(&world->host, "time is up");
	hear(world, OOPS);
	pv_verdict_settle(&world->host);
	assert_int_equal(take(world), 1);
	/* The rest of it is no second report. */
	hear(world, "[    5.000002] Oops: 0000 [#1] SMP\n" OOPS_END);
	pv_verdict_settle(&world->host);
	assert_int_equal(take(world), 0);
}

struct typist {
	struct world *world;
	pthread_t thread;
};

static void *type_rest(void *ctx)
{
	struct world *world = ((struct typist *)ctx)->world;
	hear(world, "nic - not syncing: y\n" PANIC_END);
	pv_loop_lock(world->host.loop);
	pv_loop_wake(world->host.loop);
	pv_loop_unlock(world->host.loop);
	return NULL;
}

static void settling_waits_for_the_end_of_a_line(void **state)
{
	struct world *world = *state;
	struct typist typist = {.world = world};
	hear(world, "[    7.000001] Kernel pa");
	assert_int_equal(pthread_create(&typist.thread, NULL, type_rest, &typist), 0);
	pv_verdict_settle(&world->host);
	pthread_join(typist.thread, NULL);
	/* Either it came while we settled, or the thread was late; it is not lost. */
	assert_int_equal(take(world), 1);
	/* A prompt is no such line, and one that never ends is not waited for long. */
	hear(world, "login: ");
	pv_verdict_settle(&world->host);
	hear(world, "\n[    7.000001] Kernel pa");
	pv_verdict_settle(&world->host);
	assert_int_equal(take(world), 0);
}

static void a_guest_that_is_gone_has_said_it(void **state)
{
	struct world *world = *state;
	hear(world, "[    7.000001] Kernel panic - not syncing: cut");
	pv_vm_shutdown(world->vm);
	assert_int_equal(take(world), 1);
	hear(world, PANIC);
	pv_loop_lock(world->host.loop);
	pv_vm_verdict_restart(world->vm);
	pv_loop_unlock(world->host.loop);
	assert_int_equal(take(world), 1);
}

static void the_list_is_bounded(void **state)
{
	struct world *world = *state;
	struct pv_verdicts verdicts;
	for (int i = 0; i < PV_VERDICTS_MAX + 5; i++)
		hear(world, OOPS OOPS_END);
	pv_verdict_take(&world->host, &verdicts);
	assert_int_equal(verdicts.count, PV_VERDICTS_MAX);
	assert_int_equal(verdicts.missed, 5);
	assert_string_equal(verdicts.items[0].vm, "v");
	pv_verdicts_finish(&verdicts);
	/* Those that nobody takes are freed with the host. */
	hear(world, OOPS OOPS_END);
}

static void who_waits_can_ask_what_came(void **state)
{
	struct world *world = *state;
	char name[256];
	unsigned before = pv_verdict_count(&world->host);
	assert_false(pv_verdict_since(&world->host, before, name, sizeof(name)));
	hear(world, OOPS OOPS_END);
	assert_true(pv_verdict_since(&world->host, before, name, sizeof(name)));
	assert_string_equal(
	    name, "guest `v`: kernel oops: BUG: kernel NULL pointer dereference, address: 0");
	take(world);
	assert_true(pv_verdict_since(&world->host, before, name, sizeof(name)));
	assert_string_equal(name, "the kernel of a guest reported trouble");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_report_ends_a_call_with_its_text),
	    TEST(one_that_is_expected_ends_nothing),
	    TEST(a_panic_stands_until_the_next_boot),
	    TEST(a_boot_ends_with_any_report),
	    TEST(silence_makes_a_report_whole),
	    TEST(a_guest_that_never_falls_silent_is_heard),
	    TEST(settling_waits_for_what_has_begun),
	    TEST(settling_waits_for_the_end_of_a_line),
	    TEST(a_guest_that_is_gone_has_said_it),
	    TEST(the_list_is_bounded),
	    TEST(who_waits_can_ask_what_came),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
