/* The payload machine of tests; see the header. */
#include "payload_guest.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "vmm/machine_private.h"
#include "vmm/template.h"

#define PATIENCE (60 * PV_CLOCK_SECOND)

static void on_console(void *ctx, enum pv_machine_console console, const void *data, size_t len)
{
	struct guest *guest = ctx;
	size_t room = sizeof(guest->console) - 1 - guest->console_len;
	size_t taken = len < room ? len : room;
	memcpy(guest->console + guest->console_len, data, taken);
	guest->console_len += taken;
	pv_loop_wake(guest->loop);
}

static void on_reboot(void *ctx)
{
	struct guest *guest = ctx;
	guest->reboots++;
	pv_loop_wake(guest->loop);
}

static void on_stop(void *ctx, const struct pv_machine_stop *stop)
{
	struct guest *guest = ctx;
	guest->stops++;
	guest->stop = *stop;
	pv_loop_wake(guest->loop);
}

static const struct pv_machine_events EVENTS = {
    .console = on_console, .rebooted = on_reboot, .stopped = on_stop};

int guest_set_up(void **state)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct pv_err err = PV_ERR_INIT;
	if (!guest || pv_loop_create(&guest->loop, &err) < 0 ||
	    pv_loop_start(guest->loop, &err) < 0)
		return -1;
	guest->kvm.fd = -1;
	guest->config = (struct pv_machine_config){
	    .memory_bytes = 16 << 20,
	    .cpus = 1,
	    .vsock_cid = 3,
	    .payload_gpa = PAYLOAD_GPA,
	    .events = &EVENTS,
	    .events_ctx = guest,
	};
	*state = guest;
	return 0;
}

int guest_tear_down(void **state)
{
	struct guest *guest = *state;
	pv_machine_destroy(guest->machine);
	pv_loop_destroy(guest->loop);
	pv_kvm_close(&guest->kvm);
	free(guest);
	return 0;
}

void guest_need_kvm(struct guest *guest)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_kvm_open(&guest->kvm, &err) == 0)
		return;
	print_message("skipped: %s\n", err.text);
	skip();
}

void guest_create(struct guest *guest, const uint8_t *payload, const uint8_t *end)
{
	struct pv_err err = PV_ERR_INIT;
	if (guest->kvm.fd < 0)
		guest_need_kvm(guest);
	guest->config.payload = (struct pv_span){payload, (size_t)(end - payload)};
	if (pv_machine_create(&guest->machine, &guest->kvm, guest->loop, &guest->config, &err) < 0)
		fail_msg("%s", err.text);
}

void guest_start(struct guest *guest, const uint8_t *payload, const uint8_t *end)
{
	struct pv_err err = PV_ERR_INIT;
	guest_create(guest, payload, end);
	if (pv_machine_start(guest->machine, &err) < 0)
		fail_msg("%s", err.text);
}

static bool has_text(const struct guest *guest, const char *text)
{
	return memmem(guest->console, guest->console_len, text, strlen(text)) != NULL;
}

/* Sleeps for news under the lock; fails the test, without it, when there were none for too long. */
static void wait_for_news(struct guest *guest, int64_t deadline, const char *what)
{
	if (pv_loop_wait(guest->loop, deadline) == 0)
		return;
	pv_loop_unlock(guest->loop);
	fail_msg("no %s in time; console `%.*s`, stop `%s`", what, (int)guest->console_len,
	    guest->console, guest->stop.text);
}

void guest_wait_console(struct guest *guest, const char *text)
{
	int64_t deadline = pv_clock_deadline(PATIENCE);
	pv_loop_lock(guest->loop);
	while (!has_text(guest, text) && guest->stops == 0)
		wait_for_news(guest, deadline, text);
	bool seen = has_text(guest, text);
	pv_loop_unlock(guest->loop);
	if (!seen)
		fail_msg("the machine stopped without `%s`: %s", text, guest->stop.text);
}

void guest_wait_stopped(struct guest *guest)
{
	int64_t deadline = pv_clock_deadline(PATIENCE);
	pv_loop_lock(guest->loop);
	while (guest->stops == 0)
		wait_for_news(guest, deadline, "stop");
	pv_loop_unlock(guest->loop);
}

void guest_wait_reboots(struct guest *guest, unsigned count)
{
	int64_t deadline = pv_clock_deadline(PATIENCE);
	pv_loop_lock(guest->loop);
	while (guest->reboots < count && guest->stops == 0)
		wait_for_news(guest, deadline, "reboot");
	pv_loop_unlock(guest->loop);
	assert_true(guest->reboots >= count);
}

enum pv_machine_state guest_state(struct guest *guest)
{
	pv_loop_lock(guest->loop);
	enum pv_machine_state state = pv_machine_state(guest->machine);
	pv_loop_unlock(guest->loop);
	return state;
}

/* --- machines --- */

static void ok(int code, const struct pv_err *err)
{
	if (code < 0)
		fail_msg("%s", err->text);
}

uint32_t machine_peek(struct pv_machine *machine, uint64_t gpa)
{
	uint32_t value = 0;
	assert_int_equal(pv_gmem_read(pv_machine_memory(machine), gpa, &value, sizeof(value)), 0);
	return value;
}

void machine_poke(struct pv_machine *machine, uint64_t gpa, uint32_t value)
{
	assert_int_equal(pv_gmem_write(pv_machine_memory(machine), gpa, &value, sizeof(value)), 0);
}

/* Nothing tells when a guest writes to its memory. */
static void let_run(struct pv_machine *machine, int64_t deadline)
{
	pv_loop_lock(machine->loop);
	const bool stopped = pv_machine_state(machine) == PV_MACHINE_STOPPED;
	pv_loop_unlock(machine->loop);
	if (stopped)
		fail_msg("the guest stopped: %s", pv_machine_stop_reason(machine)->text);
	assert_true(pv_clock_now() < deadline);
	poll(NULL, 0, 1);
}

void machine_wait_above(struct pv_machine *machine, uint32_t value)
{
	const int64_t deadline = pv_clock_deadline(PATIENCE);
	while (machine_peek(machine, PAYLOAD_COUNTER) <= value)
		let_run(machine, deadline);
}

void machine_wait_progress(struct pv_machine *machine)
{
	const int64_t deadline = pv_clock_deadline(PATIENCE);
	const uint32_t before = machine_peek(machine, PAYLOAD_COUNTER);
	while (machine_peek(machine, PAYLOAD_COUNTER) == before)
		let_run(machine, deadline);
}

void machine_pause(struct pv_machine *machine)
{
	struct pv_err err = PV_ERR_INIT;
	ok(pv_machine_pause(machine, &err), &err);
}

void machine_resume(struct pv_machine *machine)
{
	struct pv_err err = PV_ERR_INIT;
	ok(pv_machine_resume(machine, &err), &err);
}

struct pv_template *machine_freeze(struct pv_machine *machine)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	ok(pv_machine_freeze(machine, &template, &err), &err);
	return template;
}

struct pv_machine *machine_restore(struct guest *guest, struct pv_template *template)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_machine *machine = NULL;
	const struct pv_machine_restore options = {.boot = &guest->config};
	ok(pv_machine_restore(&machine, &guest->kvm, guest->loop, template, &options, &err), &err);
	return machine;
}
