/*
 * The devices of a machine: which there are, where they stand, and how they are reset, stilled and
 * woken together.
 *
 * Everything runs under the loop lock, on whatever thread does it.
 */
#include <errno.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/err.h"
#include "virtio/state.h"
#include "virtio/vsock.h"
#include "vmm/layout.h"
#include "vmm/machine_private.h"
#include "vmm/template.h"

static void serial_output(void *ctx, const void *data, size_t len)
{
	const struct pv_machine *machine = ctx;
	if (machine->events.console)
		machine->events.console(machine->events_ctx, PV_MACHINE_CONSOLE_SERIAL, data, len);
}

static void virtio_output(void *ctx, const void *data, size_t len)
{
	const struct pv_machine *machine = ctx;
	if (machine->events.console)
		machine->events.console(machine->events_ctx, PV_MACHINE_CONSOLE_VIRTIO, data, len);
}

static void input_has_room(void *ctx)
{
	const struct pv_machine *machine = ctx;
	pv_loop_wake(machine->loop);
}

static int64_t wall_now(void *ctx)
{
	const struct pv_machine *machine = ctx;
	return pv_guest_clock_now(&machine->clock);
}

static int64_t elapsed_now(void *ctx)
{
	const struct pv_machine *machine = ctx;
	return (int64_t)pv_guest_clock_elapsed(&machine->clock);
}

static void rtc_due(void *ctx)
{
	struct pv_machine *machine = ctx;
	pv_rtc_wake(&machine->rtc);
}

static void rtc_wake_at(void *ctx, int64_t wall_ns)
{
	struct pv_machine *machine = ctx;
	if (wall_ns == PV_CLOCK_NEVER || !machine->clock.running) {
		pv_loop_timer_clear(&machine->rtc_timer);
		return;
	}
	int64_t deadline = pv_clock_deadline(wall_ns - pv_guest_clock_now(&machine->clock));
	/* Without memory for the timer the guest misses an alarm. */
	pv_loop_timer_set(machine->loop, &machine->rtc_timer, deadline, rtc_due, machine);
}

static void rtc_alarm(void *ctx)
{
	struct pv_machine *machine = ctx;
	pv_pm_alarm(&machine->pm);
}

static void power_off(void *ctx)
{
	pv_machine_wish_stop(ctx, PV_MACHINE_STOP_POWER_OFF, "the guest powered off");
}

static void suspend(void *ctx)
{
	struct pv_machine *machine = ctx;
	pv_crew_call_in(&machine->crew);
	if (machine->events.suspended)
		machine->events.suspended(machine->events_ctx);
}

static void reset(void *ctx)
{
	pv_machine_wish_reset(ctx);
}

static void wire(struct pv_machine *machine, struct pv_gsi_wire *end, unsigned pin)
{
	*end = (struct pv_gsi_wire){.gsi = &machine->gsi, .pin = (uint8_t)pin};
}

static void init_platform(struct pv_machine *machine)
{
	const struct pv_rtc_host rtc_host = {
	    .now = wall_now, .wake_at = rtc_wake_at, .alarm = rtc_alarm, .ctx = machine};
	/* The timer of power management counts, whatever the date. */
	const struct pv_pm_host pm_host = {
	    .now = elapsed_now,
	    .power_off = power_off,
	    .suspend = suspend,
	    .reset = reset,
	    .ctx = machine,
	};
	wire(machine, &machine->serial_wire, PV_LAYOUT_GSI_SERIAL);
	wire(machine, &machine->rtc_wire, PV_LAYOUT_GSI_RTC);
	wire(machine, &machine->sci_wire, PV_LAYOUT_GSI_SCI);
	pv_serial_init(
	    &machine->serial, pv_gsi_line(&machine->serial_wire), serial_output, machine);
	machine->serial.room = input_has_room;
	machine->serial.room_ctx = machine;
	pv_rtc_init(&machine->rtc, pv_gsi_line(&machine->rtc_wire), &rtc_host);
	pv_pm_init(&machine->pm, pv_gsi_line(&machine->sci_wire), &pm_host);
	machine->i8042 = (struct pv_i8042){.reset = reset, .ctx = machine};
}

static int put_on_bus(struct pv_machine *machine, struct pv_err *err)
{
	const struct {
		uint64_t port;
		uint64_t count;
		const struct pv_bus_ops *ops;
		void *ctx;
	} places[] = {
	    {PV_LAYOUT_PIO_SERIAL, PV_SERIAL_PORTS,   &pv_serial_ops,	    &machine->serial  },
	    {PV_LAYOUT_PIO_RTC,	2,		   &pv_rtc_ops,		&machine->rtc     },
	    {PV_I8042_DATA,	    1,		       &pv_i8042_data_ops,   &machine->i8042	  },
	    {PV_I8042_STATUS,      1,		 &pv_i8042_status_ops, &machine->i8042   },
	    {PV_LAYOUT_PIO_PM,     PV_PM_PORTS,	    &pv_pm_ops,		&machine->pm	    },
	    {PV_LAYOUT_PIO_PCI,	PV_PCI_HOST_PORTS, &pv_pci_host_ops,     &machine->pci_host},
	};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int code = pv_bus_add(
		    &machine->pio, places[i].port, places[i].count, places[i].ops, places[i].ctx);
		if (code < 0)
			return pv_err_set(err, PV_ERR_INTERNAL, -code, "port 0x%llx is taken twice",
			    (unsigned long long)places[i].port);
	}
	return 0;
}

int pv_machine_devices_init(struct pv_machine *machine, struct pv_err *err)
{
	init_platform(machine);
	const uint64_t *seed = machine->has_rng_seed ? &machine->rng_seed : NULL;
	pv_rng_init(&machine->rng, &machine->ram.mem, seed);
	pv_console_init(&machine->console, &machine->ram.mem, virtio_output, machine);
	machine->console.room = input_has_room;
	machine->console.room_ctx = machine;
	if (pv_vsock_create(&machine->vsock, &machine->ram.mem, machine->vsock_cid) < 0)
		return pv_err_nomem(err, "socket device");
	int code = put_on_bus(machine, err);
	if (code < 0)
		return code;
	code = pv_machine_slot_fill(machine, PV_LAYOUT_SLOT_RNG, &machine->rng.virtio, err);
	if (code < 0)
		return code;
	code = pv_machine_slot_fill(machine, PV_LAYOUT_SLOT_CONSOLE, &machine->console.virtio, err);
	if (code < 0)
		return code;
	return pv_machine_slot_fill(
	    machine, PV_LAYOUT_SLOT_VSOCK, pv_vsock_virtio(machine->vsock), err);
}

/* [locked] */
static void forget_event(struct pv_machine *machine)
{
	machine->event_due = false;
	pv_loop_timer_clear(&machine->event_timer);
}

void pv_machine_announce(struct pv_machine *machine)
{
	if (!machine->event_due || machine->state != PV_MACHINE_RUNNING)
		return;
	forget_event(machine);
	pv_pm_raise_gpe(&machine->pm, PV_LAYOUT_GPE_GENERATION);
}

static void event_is_late(void *ctx)
{
	pv_machine_announce(ctx);
}

/* Without memory for the timer the event comes with the next answer. */
static void plan_event(struct pv_machine *machine)
{
	pv_loop_timer_set(machine->loop, &machine->event_timer,
	    pv_clock_deadline(PV_MACHINE_ANNOUNCE_NS), event_is_late, machine);
}

void pv_machine_devices_finish(struct pv_machine *machine)
{
	pv_loop_timer_clear(&machine->rtc_timer);
	forget_event(machine);
	for (unsigned i = 0; i < PV_PCI_HOST_SLOTS; i++)
		pv_machine_slot_empty(machine, i);
	pv_vsock_destroy(machine->vsock);
	machine->vsock = NULL;
	pv_console_finish(&machine->console);
	pv_serial_finish(&machine->serial);
}

void pv_machine_devices_reset(struct pv_machine *machine)
{
	if (machine->no_devices)
		return;
	for (unsigned i = 0; i < PV_PCI_HOST_SLOTS; i++) {
		if (machine->slots[i].pci)
			pv_virtio_pci_reset(machine->slots[i].pci);
	}
	forget_event(machine);
	machine->pci_host.address = 0;
	pv_serial_reset(&machine->serial);
	pv_rtc_reset(&machine->rtc);
	pv_pm_reset(&machine->pm);
	pv_gsi_reset(&machine->gsi);
}

void pv_machine_devices_quiesce(struct pv_machine *machine)
{
	pv_loop_timer_clear(&machine->rtc_timer);
	pv_loop_timer_clear(&machine->event_timer);
	for (unsigned i = 0; i < PV_PCI_HOST_SLOTS; i++) {
		if (machine->slots[i].pci)
			pv_machine_slot_quiesce(&machine->slots[i]);
	}
}

void pv_machine_devices_wake(struct pv_machine *machine)
{
	if (machine->no_devices)
		return;
	for (unsigned i = 0; i < PV_PCI_HOST_SLOTS; i++) {
		if (machine->slots[i].pci)
			pv_machine_slot_wake(&machine->slots[i]);
	}
	pv_rtc_rearm(&machine->rtc);
	if (machine->event_due)
		plan_event(machine);
}

/* Copies that are to be the same stay of one generation (vmm/generation.c). */
static void tell_generation(struct pv_machine *machine)
{
	if (machine->has_rng_seed || !pv_generation_renew(&machine->ram.mem, machine->generation))
		return;
	if (!machine->announces_late) {
		pv_pm_raise_gpe(&machine->pm, PV_LAYOUT_GPE_GENERATION);
		return;
	}
	machine->event_due = true;
	plan_event(machine);
}

void pv_machine_devices_resume(struct pv_machine *machine)
{
	tell_generation(machine);
	pv_virtio_resume(&machine->rng.virtio);
	pv_virtio_resume(&machine->console.virtio);
	pv_virtio_resume(pv_vsock_virtio(machine->vsock));
}

/* --- what the owner of the machine does to its devices --- */

int pv_machine_power_button(struct pv_machine *machine)
{
	if (machine->state != PV_MACHINE_RUNNING || machine->no_devices || machine->pm.suspended)
		return -EINVAL;
	pv_pm_power_button(&machine->pm);
	return 0;
}

size_t pv_machine_console_input(struct pv_machine *machine, const void *data, size_t len)
{
	if (machine->no_devices)
		return 0;
	if (!machine->console.virtio.active)
		return pv_serial_input(&machine->serial, data, len);
	/* Both are there: what hvc0 takes, ttyS0 gets as well if somebody has opened it. */
	size_t taken = pv_console_input(&machine->console, data, len);
	if (pv_serial_is_open(&machine->serial))
		pv_serial_input(&machine->serial, data, taken);
	return taken;
}

struct pv_vsock *pv_machine_vsock(struct pv_machine *machine)
{
	return machine->vsock;
}
