/*
 * A machine: KVM virtual machine, vCPUs, RAM and devices, from kernel image to power-off. The public header of libprovium-vmm, usable alone.
 * Freezing, forking and rewinding machines is in vmm/template.h.
 *
 * A machine belongs to one event loop (base/loop.h). Its functions are called on any thread but the loop's and the vCPUs' own, without the loop
 * lock, unless marked [locked]. Events come under the loop lock, from the loop thread or a vCPU thread.
 */
#ifndef PV_VMM_MACHINE_H
#define PV_VMM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_err;
struct pv_gmem;
struct pv_kernel;
struct pv_kvm;
struct pv_loop;
struct pv_machine;
struct pv_vsock;

enum pv_machine_state {
	PV_MACHINE_CREATED,
	PV_MACHINE_RUNNING,
	PV_MACHINE_PAUSED,
	PV_MACHINE_STOPPED, /* for the reason in struct pv_machine_stop */
};

enum pv_machine_stop_kind {
	PV_MACHINE_STOP_NONE,
	PV_MACHINE_STOP_ASKED,	   /* pv_machine_stop */
	PV_MACHINE_STOP_POWER_OFF, /* the guest entered S5 */
	PV_MACHINE_STOP_CRASHED,   /* triple fault, KVM internal error, failed entry: `text` explains */
};

struct pv_machine_stop {
	enum pv_machine_stop_kind kind;
	char text[2048]; /* for people: what happened, registers and instruction bytes where known */
};

enum pv_machine_console {
	PV_MACHINE_CONSOLE_SERIAL, /* ttyS0 */
	PV_MACHINE_CONSOLE_VIRTIO, /* hvc0 */
};

struct pv_machine_events {
	/* Bytes that the guest printed on a console. */
	void (*console)(void *ctx, enum pv_machine_console console, const void *data, size_t len);
	/* The guest asked for a reset (reboot) and it was done: a new boot begins. */
	void (*rebooted)(void *ctx);
	/* The guest suspended itself to RAM (S3): no vCPU runs until pv_machine_wakeup. May be NULL. */
	void (*suspended)(void *ctx);
	/* The machine went to PV_MACHINE_STOPPED; its vCPUs no longer run. Not called for pv_machine_stop. */
	void (*stopped)(void *ctx, const struct pv_machine_stop *stop);
};

/* What is booted. */
struct pv_machine_boot {
	const struct pv_kernel *kernel;
	const char *cmdline;
	struct pv_span initrd;
};

/* Fills in what is booted, which lives as long as the machine. Called when a machine that was given no kernel is reset for the first time, on the
 * thread that resets it (a vCPU's, when the guest does), without the loop lock. Returns 0 or -errno, and then the machine stops. */
typedef int pv_machine_fetch(void *ctx, struct pv_machine_boot *boot, struct pv_err *err);

struct pv_machine_config {
	uint64_t memory_bytes; /* rounded up to 4 KiB */
	unsigned cpus;
	const struct pv_kernel *kernel; /* not owned; lives as long as the machine. NULL with `payload` */
	const char *cmdline;
	const struct pv_span *initrd; /* parts, concatenated; not copied: they live as long as the machine, since a reset loads them again */
	unsigned initrd_parts;
	uint64_t vsock_cid;
	const uint64_t *rng_seed;	 /* NULL: real entropy */
	const int64_t *initial_time_ns; /* since 1970, for RTC and kvmclock from the first instruction; NULL: host time */
	bool no_devices;		 /* bare vCPUs and RAM only, for payload tests */
	/* Instead of a kernel, for tests and bring-up: bytes placed at `payload_gpa`, entered in 16-bit real mode there. */
	struct pv_span payload;
	uint64_t payload_gpa;
	/* Of a machine that is restored: instead of a kernel. NULL: there is nothing to boot. */
	pv_machine_fetch *fetch;
	void *fetch_ctx;
	const struct pv_machine_events *events; /* NULL: nobody listens */
	void *events_ctx;
};

/* Checks the configuration (sizes, vCPU count against KVM's limit) and builds everything up to the first instruction. The caller destroys. */
int pv_machine_create(struct pv_machine **out, struct pv_kvm *kvm, struct pv_loop *loop, const struct pv_machine_config *config,
    struct pv_err *err);

/* Stops and frees. Returns when nothing of the machine runs any more. NULL is fine. */
void pv_machine_destroy(struct pv_machine *machine);

/* Created, paused or restored to running. Returns 0 or -errno. */
int pv_machine_start(struct pv_machine *machine, struct pv_err *err);

/* Running to paused: returns when every vCPU is out of guest mode and no device works. Guest time stands still. */
int pv_machine_pause(struct pv_machine *machine, struct pv_err *err);
int pv_machine_resume(struct pv_machine *machine, struct pv_err *err);

/*
 * Lets `ns` of guest time pass at once on a running machine: kvmclock, TSC, timers, RTC and date go on together, in steps of up to five minutes
 * between which the guest serves what became due. A guest that is busy gets a second to come to rest first. A step takes a fraction of a millisecond
 * of an idle guest and 20 ms of a busy one. A suspended guest serves nothing until it is woken. Returns 0 with
 * the guest running; -EINVAL when it does not run, or has stopped on the way; -ETIMEDOUT when it left a timer unserved for ten seconds, -ENOTSUP
 * when KVM cannot do it; then time has stopped short of the goal.
 */
int pv_machine_advance(struct pv_machine *machine, uint64_t ns, struct pv_err *err);

/* Warm reboot of a running machine, as if the reset button was pressed: devices reset, RAM zeroed, kernel and initrd loaded again. */
int pv_machine_reset(struct pv_machine *machine, struct pv_err *err);

/* Immediate stop. Idempotent. */
void pv_machine_stop(struct pv_machine *machine);

/*
 * Wakes a guest that suspended itself to RAM: processors and devices are as after a reset, RAM and time go on, and the boot processor begins where
 * the guest left word (waking vector of the FACS, ACPI 6.4, 16.3.1). Returns 0 with the guest running; -EINVAL when it is not suspended.
 */
int pv_machine_wakeup(struct pv_machine *machine, struct pv_err *err);

/* [locked] True from the guest's entry into S3 until it is woken; the state is what it would be otherwise. */
bool pv_machine_is_suspended(const struct pv_machine *machine);

/*
 * [locked] True while a guest suspends itself to idle (S0): its processors wait for an event, and pv_machine_wakeup is one, the power button, which
 * a guest that sleeps takes as that and no more.
 */
bool pv_machine_is_idle(const struct pv_machine *machine);

/* [locked] Presses the ACPI power button. Returns 0, or -EINVAL when not running, or suspended. */
int pv_machine_power_button(struct pv_machine *machine);

/* [locked] */
enum pv_machine_state pv_machine_state(const struct pv_machine *machine);
const struct pv_machine_stop *pv_machine_stop_reason(const struct pv_machine *machine);

/* [locked] Types on the consoles: goes to hvc0 once the guest's driver is up, and to ttyS0. Returns how many bytes were taken; after fewer
 * than were given, pv_loop_wait is woken when there is room again. */
size_t pv_machine_console_input(struct pv_machine *machine, const void *data, size_t len);

/* [locked] The socket device (virtio/vsock.h), or NULL with no_devices. */
struct pv_vsock *pv_machine_vsock(struct pv_machine *machine);

/* Guest RAM, for those that look at a paused or running guest from outside. */
const struct pv_gmem *pv_machine_memory(const struct pv_machine *machine);

#endif
