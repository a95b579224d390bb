/*
 * The wire between a VM's socket device and its agent client. Theory: the guest's agent connects to
 * PV_AGENT_PORT as soon as it can serve; the device offers the connection here, and bytes go
 * straight from one to the other under the loop lock, without a socket in between: a request is in
 * the guest's receive queue when the sending call returns. One agent at a time; a second connection
 * is refused. A restored guest's connection is taken over as it is, without a new handshake.
 *
 * A driver that resets its device ends all connections: the guest suspends itself, or its driver is
 * bound anew, or it reboots or powers off. In the first two cases the agent comes back and goes on
 * where it was, so what is in flight stays until that is known: a reboot and the end of the machine
 * fail it, and so does an agent that does not return in the time that it has for a boot. A guest
 * that sleeps has no such limit, but nobody waits for its answers: who would wake it is who waits.
 *
 * A guest that goes on as a copy gets entropy of its own before anything is asked of it. At a
 * restore that waits in the device when the first instruction runs; an agent that connects anew
 * gets it behind its handshake. The event that makes its kernel look at its generation id, by which
 * it would draw new random numbers too, waits until the first call is answered.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/units.h"
#include "lab/host.h"
#include "lab/vm_private.h"
#include "virtio/device.h"
#include "virtio/stream_port.h"
#include "virtio/vsock.h"
#include "vmm/template.h"

/* As much as the kernel's generator holds. */
#define ENTROPY_SIZE 32

static size_t link_send(void *ctx, const void *data, size_t len)
{
	struct pv_vm *vm = ctx;
	return vm->conn ? pv_vsock_conn_send(vm->conn, data, len) : 0;
}

static void link_digested(void *ctx, size_t len)
{
	struct pv_vm *vm = ctx;
	if (vm->conn)
		pv_vsock_conn_credit(vm->conn, len);
}

static void link_close(void *ctx)
{
	struct pv_vm *vm = ctx;
	struct pv_vsock_conn *conn = vm->conn;
	vm->conn = NULL;
	if (conn)
		pv_vsock_conn_close(conn);
}

static const struct pv_agent_link_ops link_ops = {
    .send = link_send,
    .digested = link_digested,
    .close = link_close,
};

static void send_entropy(struct pv_vm *vm)
{
	uint8_t bytes[ENTROPY_SIZE];
	if (!vm->entropy_due || getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return;
	vm->entropy_due = false;
	pv_agent_reseed(vm->agent, bytes, sizeof(bytes));
	explicit_bzero(bytes, sizeof(bytes));
}

static void port_receive(void *ctx, const void *data, size_t len)
{
	struct pv_vm *vm = ctx;
	bool was_ready = pv_agent_is_ready(vm->agent);
	const bool was_asked = pv_agent_in_flight(vm->agent) > 0;
	pv_agent_receive(vm->agent, data, len);
	if (!was_ready && pv_agent_is_ready(vm->agent)) {
		vm->reports.stands = false;
		send_entropy(vm);
	}
	/* An agent that was lost (killed, restarted) and is back makes the guest usable again. */
	if (!was_ready && pv_agent_is_ready(vm->agent) && vm->state == PV_VM_DEAD &&
	    !vm->powered_off) {
		vm->state = PV_VM_BOOTED;
		vm->death[0] = '\0';
	}
	/* What was asked first is answered: now it may take the time to see that it is a copy. */
	if (pv_agent_in_flight(vm->agent) == 0) {
		if (was_asked && vm->wants_set && !vm->working_set)
			vm->working_set = pv_machine_take_working_set(vm->machine);
		pv_machine_announce(vm->machine);
	}
}

static void port_writable(void *ctx)
{
	struct pv_vm *vm = ctx;
	pv_agent_writable(vm->agent);
}

static void set_return_timer(struct pv_vm *vm);

/* The guest may have slept until just now, so it has its time twice. */
static void give_agent_up(void *ctx)
{
	struct pv_vm *vm = ctx;
	char span[32], reason[200];
	if (!pv_agent_is_interrupted(vm->agent))
		return;
	const bool runs = vm->state == PV_VM_BOOTED && vm->machine &&
			  !pv_machine_is_suspended(vm->machine) && !pv_machine_is_idle(vm->machine);
	if (!runs || !vm->return_is_late) {
		vm->return_is_late = runs;
		set_return_timer(vm);
		return;
	}
	snprintf(reason, sizeof(reason),
	    "the agent connection was lost: the guest reset its socket device, and its agent has "
	    "not come back within %s",
	    pv_units_show_duration(vm->agent_wait_ns, span, sizeof(span)));
	pv_agent_drop(vm->agent, reason, true);
}

static void set_return_timer(struct pv_vm *vm)
{
	/* Calls must not wait for ever. */
	if (pv_loop_timer_set(vm->host->loop, &vm->return_timer,
		pv_clock_deadline(vm->agent_wait_ns), give_agent_up, vm) < 0)
		pv_agent_drop(vm->agent, "out of memory", true);
}

void pv_vm_link_await_return(struct pv_vm *vm)
{
	vm->return_is_late = false;
	if (pv_agent_is_interrupted(vm->agent))
		set_return_timer(vm);
}

static void port_closed(void *ctx)
{
	struct pv_vm *vm = ctx;
	bool was_ready = pv_agent_is_ready(vm->agent);
	vm->conn = NULL;
	/* A guest that panics and reboots loses the connection first of all. */
	pv_vm_verdict_hurry(vm);
	const bool is_reset =
	    vm->machine && pv_vsock_virtio(pv_machine_vsock(vm->machine))->status == 0;
	if (is_reset) {
		pv_agent_interrupt(vm->agent,
		    "the agent connection was lost: the guest reset its socket device, as it does "
		    "before it suspends, reboots or powers off");
		pv_vm_link_await_return(vm);
	} else {
		pv_agent_closed(vm->agent);
	}
	if (was_ready && !is_reset && (vm->state == PV_VM_BOOTED || vm->state == PV_VM_PAUSED)) {
		vm->state = PV_VM_DEAD;
		snprintf(vm->death, sizeof(vm->death),
		    "agent connection lost: the agent in the guest ended or was killed");
	}
	pv_loop_wake(vm->host->loop);
}

/* An agent that shut its side down is gone for us: it never half-closes. */
static void port_end(void *ctx)
{
	struct pv_vm *vm = ctx;
	struct pv_vsock_conn *conn = vm->conn;
	port_closed(ctx);
	if (conn)
		pv_vsock_conn_close(conn);
}

static const struct pv_stream_port_ops port_ops = {
    .receive = port_receive,
    .writable = port_writable,
    .end_of_stream = port_end,
    .closed = port_closed,
};

static bool port_accept(
    void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct pv_vm *vm = ctx;
	if (vm->conn)
		return false;
	vm->conn = conn;
	*ops = &port_ops;
	*port_ctx = vm;
	if (!pv_agent_attach(vm->agent, &link_ops, vm)) {
		vm->conn = NULL;
		return false;
	}
	return true;
}

bool pv_vm_link_adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port,
    uint32_t guest_port, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct pv_vm *vm = ctx;
	(void)guest_port;
	if (host_port != PV_AGENT_PORT || vm->conn)
		return false;
	vm->conn = conn;
	if (!pv_agent_adopt(vm->agent, &link_ops, vm, &vm->adopt)) {
		vm->conn = NULL;
		return false;
	}
	*ops = &port_ops;
	*port_ctx = vm;
	send_entropy(vm);
	return true;
}

void pv_vm_link_tell_wall(struct pv_vm *vm)
{
	if (!vm->wall_due || !pv_agent_is_ready(vm->agent))
		return;
	vm->wall_due = false;
	pv_agent_set_wall(vm->agent, pv_clock_wall());
}

int pv_vm_link_listen(struct pv_vm *vm)
{
	return pv_vsock_listen(pv_machine_vsock(vm->machine), PV_AGENT_PORT, port_accept, vm);
}

void pv_vm_cancel(struct pv_vm *vm, const char *reason)
{
	if (vm->agent)
		pv_agent_cancel(vm->agent, reason);
}
