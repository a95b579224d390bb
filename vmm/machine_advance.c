/*
 * Guest time that passes at once.
 *
 * To the guest it is as if the host had not run it for a while and its clocks had gone on:
 * kvmclock, TSC, timers, RTC and date by the same amount (vmm/guest_clock.h). What Linux makes of
 * that decides how far one may go at a time:
 *
 * - A clock is read as a difference to the last tick times a factor, in 64 bits, which overflows
 * after 18 minutes with the TSC and after twice that with kvmclock; a processor that idles ticks
 * every 7 minutes at least. So a step of 5 minutes is safe, and more than 10 would turn clocks
 * back.
 * - Watchdogs (soft lockup, RCU stalls, hung tasks, clocksources) ask whether the guest was stopped
 *   before they complain: KVM_KVMCLOCK_CTRL in the thaw, once a step and vCPU.
 * - Who runs is charged for the time that passes, so a step is best taken while everybody idles.
 *
 * Hence steps, and between them the guest runs until it has served the timers that became due and
 * is idle again, or has had its time if it is busy by itself. That also keeps the order of what is
 * due in different steps. What repeats within a step is seen once by a timer that is armed anew
 * each time.
 *
 * KVM does not tell when a guest becomes idle, so it is called in and looked at, at growing
 * intervals; this is the one place that does so. On the thread of the caller, with the machine
 * begun; other operations wait. What the guest wishes meanwhile (power-off, reset) is carried out
 * between steps.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "vmm/machine_private.h"
#include "vmm/vcpu_idle.h"

#define MICROSECOND (PV_CLOCK_SECOND / 1000000)

#define STEP_NS (300 * PV_CLOCK_SECOND)

/* A guest is looked at after the first, then ever later up to the second. */
#define LOOK_FIRST (100 * MICROSECOND)
#define LOOK_LAST  (5000 * MICROSECOND)
/* What a busy guest gets before the first step, to come to rest, and between two, and what the
 * slowest may take to serve a timer. */
#define REST_TIME  PV_CLOCK_SECOND
#define BUSY_TIME  (20000 * MICROSECOND)
#define SERVE_TIME (10 * PV_CLOCK_SECOND)

/* [locked, begun, frozen] */
static enum pv_vcpu_idle look(const struct pv_machine *machine, unsigned vcpu)
{
	const enum pv_vcpu_idle idle = pv_vcpu_idle(&machine->vm, vcpu);
	return pv_guest_clock_rings(&machine->clock, vcpu) ? PV_VCPU_RUNG_AT : idle;
}

/*
 * [locked, begun, frozen] 1 while a guest that ran for `ran_ns` has to go on before the next step,
 * 0 when it need not, or the error. A busy one gets `busy_ns`.
 */
static int wants_time(
    const struct pv_machine *machine, int64_t ran_ns, int64_t busy_ns, struct pv_err *err)
{
	bool busy = false;
	if (machine->pm.suspended)
		return 0;
	for (unsigned i = 0; i < machine->cpus; i++) {
		const enum pv_vcpu_idle idle = look(machine, i);
		busy = busy || idle == PV_VCPU_BUSY;
		if (idle != PV_VCPU_RUNG_AT)
			continue;
		if (ran_ns < SERVE_TIME)
			return 1;
		return pv_err_set(err, PV_ERR_GUEST, ETIMEDOUT,
		    "the guest does not serve the timer of its processor %u, which rang 10 s ago",
		    i);
	}
	return busy && ran_ns < busy_ns;
}

/* [locked, begun] Stops the guest and its time. Fails when it has stopped for good. */
static int stop_time(struct pv_machine *machine, struct pv_err *err)
{
	pv_machine_park(machine);
	pv_machine_settle(machine);
	if (machine->state != PV_MACHINE_RUNNING)
		return pv_machine_refuse(machine, "advance the time of", err);
	pv_guest_clock_freeze(&machine->clock);
	return 0;
}

/* [locked, begun, frozen] */
static void go_on(struct pv_machine *machine)
{
	pv_guest_clock_thaw(&machine->clock);
	if (!machine->no_devices)
		pv_rtc_rearm(&machine->rtc);
	pv_machine_let_go(machine);
}

/* [locked, begun] Other threads work meanwhile. */
static void let_run(struct pv_machine *machine, int64_t span_ns)
{
	const int64_t deadline = pv_clock_deadline(span_ns);
	while (pv_loop_wait(machine->loop, deadline) == 0)
		;
}

/* [locked, begun, frozen] Returns with guest time stopped again, once the guest has had its say. */
static int run_until_ready(struct pv_machine *machine, int64_t busy_ns, struct pv_err *err)
{
	int64_t ran_ns = 0;
	int64_t look_ns = LOOK_FIRST;
	int code;
	do {
		go_on(machine);
		let_run(machine, look_ns);
		ran_ns += look_ns;
		look_ns = 2 * look_ns < LOOK_LAST ? 2 * look_ns : LOOK_LAST;
		code = stop_time(machine, err);
		if (code == 0)
			code = wants_time(machine, ran_ns, busy_ns, err);
	} while (code > 0);
	return code;
}

/* [locked, begun] */
static int advance(struct pv_machine *machine, uint64_t ns, struct pv_err *err)
{
	int code = stop_time(machine, err);
	if (code == 0 && ns > 0)
		code = run_until_ready(machine, REST_TIME, err);
	while (code == 0 && ns > 0) {
		const uint64_t step = ns < STEP_NS ? ns : STEP_NS;
		code = pv_guest_clock_pass(&machine->clock, step, err);
		if (code < 0)
			break;
		ns -= step;
		code = run_until_ready(machine, BUSY_TIME, err);
	}
	if (machine->state == PV_MACHINE_RUNNING)
		go_on(machine);
	return code;
}

int pv_machine_advance(struct pv_machine *machine, uint64_t ns, struct pv_err *err)
{
	int code = pv_machine_begin_running(machine, "advance the time of", err);
	if (code < 0)
		return code;
	code = advance(machine, ns, err);
	pv_machine_end(machine);
	return code;
}
