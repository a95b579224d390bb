/*
 * A VM as the test author knows it: a name, a profile, a state, a guest with an agent. Functions
 * are called on the script thread without the loop lock; those that wait end early when the host is
 * interrupted. Errors are sentences that name the VM.
 */
#ifndef PV_LAB_VM_H
#define PV_LAB_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/host/batch.h"
#include "agent/host/client.h"
#include "agent/host/clock.h"
#include "agent/host/open_file.h"
#include "agent/host/path.h"
#include "agent/host/process.h"
#include "agent/host/stream.h"
#include "agent/host/tree.h"
#include "agent/host/syscall.h"
#include "agent/host/worker.h"
#include "base/bytes.h"
#include "lab/options.h"

struct pv_err;
struct pv_host;
struct pv_profile;
struct pv_snapshot;
struct pv_vm;

enum pv_vm_state {
	PV_VM_CREATED,
	PV_VM_BOOTED,
	PV_VM_PAUSED,
	PV_VM_SHUTDOWN,
	PV_VM_DEAD, /* the guest crashed, powered off by itself, or lost its agent */
};

/* A new VM with one reference. `options` is copied, NULL for none. */
int pv_vm_create(struct pv_vm **out, struct pv_host *host, const char *name,
    const struct pv_profile *profile, const struct pv_options *options, struct pv_err *err);
struct pv_vm *pv_vm_ref(struct pv_vm *vm);
/* The last reference closes and frees. NULL is fine. */
void pv_vm_unref(struct pv_vm *vm);

/* --- life (spec section 7.1) --- */

/*
 * Starts the guest and waits for its agent. `options` are merged over the creation options; NULL
 * for none. On failure the VM is `dead`, its console log stays readable, and the error says what
 * happened; when a guest had started, `pv_vm_console_tail` belongs behind the error text.
 */
int pv_vm_boot(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err);
int pv_vm_pause(struct pv_vm *vm, struct pv_err *err);
int pv_vm_resume(struct pv_vm *vm, struct pv_err *err);
/* Immediate stop, from any state. Idempotent, never fails. */
void pv_vm_shutdown(struct pv_vm *vm);
/* Warm reboot; returns when the agent answers again. */
int pv_vm_reset(struct pv_vm *vm, struct pv_err *err);
/*
 * Lets `ns` of guest time pass at once, for all that counts it (pv_machine_advance of
 * vmm/machine.h), at most PV_VM_ADVANCE_MAX. On failure a part may have passed.
 */
#define PV_VM_ADVANCE_MAX (INT64_C(3652) * 86400 * 1000000000)
int pv_vm_advance(struct pv_vm *vm, int64_t ns, struct pv_err *err);
/*
 * Wakes a guest that suspended itself to RAM, and returns when its agent answers again; -EINVAL when
 * it is not suspended. What was in flight when it went to sleep goes on.
 */
int pv_vm_wakeup(struct pv_vm *vm, struct pv_err *err);
/* Whether it sleeps, until that. */
bool pv_vm_is_suspended(struct pv_vm *vm);
/* Presses the power button and waits until the guest has powered off, at most the agent timeout. */
int pv_vm_power_button(struct pv_vm *vm, struct pv_err *err);

/* --- snapshots (spec section 7.8) --- */

/*
 * Saves a booted or paused VM, which goes on as it was; a running guest stands still for the moment
 * of the freeze only. To the file `path`, or to memory of this process when it is NULL. Refused
 * while operations are in flight. The caller destroys the snapshot (lab/snapshot.h).
 */
int pv_vm_snapshot(
    struct pv_vm *vm, const char *path, struct pv_snapshot **out, struct pv_err *err);

/*
 * From created or shutdown to booted: the saved guest goes on, with its own memory, vCPUs, vsock
 * address and profile (if that still exists). Guest time goes on where it stood; with `clock_now`
 * the wall clock is the host's before anything else is asked of the guest, while what counts from
 * the boot goes on. On failure the VM is as before, or `dead` when the guest ran already.
 */
int pv_vm_restore(
    struct pv_vm *vm, struct pv_snapshot *snapshot, bool clock_now, struct pv_err *err);
int pv_vm_restore_file(struct pv_vm *vm, const char *path, bool clock_now, struct pv_err *err);

/* The name of the profile of the guest that a snapshot holds. The caller frees it. */
int pv_vm_saved_profile(struct pv_snapshot *snapshot, char **profile, struct pv_err *err);

/* As pv_vm_restore for a VM made with pv_vm_create_like: it shares the parent's kernel and
 * initramfs. */
int pv_vm_restore_like(
    struct pv_vm *vm, const struct pv_vm *parent, struct pv_snapshot *snapshot, struct pv_err *err);
/* A created VM with the profile and the options of the parent's boot. */
int pv_vm_create_like(
    struct pv_vm **out, const char *name, const struct pv_vm *parent, struct pv_err *err);

/* --- queries --- */

const char *pv_vm_name(const struct pv_vm *vm);
const char *pv_vm_profile(const struct pv_vm *vm);
enum pv_vm_state pv_vm_state(struct pv_vm *vm);
/* "created", "booted", "paused", "shutdown", "dead". */
const char *pv_vm_state_name(enum pv_vm_state state);
/* The vsock CID, or 0 before boot. */
uint32_t pv_vm_cid(const struct pv_vm *vm);
/* Actual RAM in bytes and vCPUs, defaults applied. */
uint64_t pv_vm_memory(const struct pv_vm *vm);
unsigned pv_vm_cpus(const struct pv_vm *vm);
/* Operations without final answer. */
unsigned pv_vm_in_flight(struct pv_vm *vm);
/* Streams of this VM that scripts hold open. */
unsigned pv_vm_open_streams(struct pv_vm *vm);

/* --- the guest --- */

/* The agent for an operation called `action` ("run", "read_file"): fails with the state's sentence
 * when the VM is not booted. */
int pv_vm_agent(struct pv_vm *vm, const char *action, struct pv_agent **out, struct pv_err *err);

/* How many reports of the guest's kernel (lab/verdict.h) have ended what waited for it, so far. */
unsigned pv_vm_endings(struct pv_vm *vm);
/* The error of `what`, which has waited since there were `endings`, when there are more now.
 * Returns 0 or -EFAULT. */
int pv_vm_check_endings(struct pv_vm *vm, unsigned endings, const char *what, struct pv_err *err);

/* --- streams (spec section 13) --- */

/* Counts a stream that a script holds: such a guest is not saved. */
void pv_vm_stream_opened(struct pv_vm *vm);
void pv_vm_stream_closed(struct pv_vm *vm);

/*
 * Waits for something in a stream of this VM's agent and moves at most `max` bytes (below 2 GiB) to
 * the end of `out`. Returns their number, 0 at the end, -ETIMEDOUT (no text), -ECONNRESET with the
 * reason when the guest or its agent has gone, or another error (interrupted, paused, out of
 * memory).
 */
int pv_vm_stream_take(struct pv_vm *vm, struct pv_agent_stream *stream, size_t max,
    int64_t deadline_ns, struct pv_bytes *out, struct pv_err *err);

/* What the consoles print from now on until the guest is reset, shut down, or gone. */
struct pv_vm_console_reader {
	uint64_t at; /* in the log, from the first byte ever */
	unsigned boot;
	bool before_boot; /* the first boot to come is meant */
};
void pv_vm_console_reader_begin(struct pv_vm *vm, struct pv_vm_console_reader *reader);
/* As pv_vm_stream_take. */
int pv_vm_console_take(struct pv_vm *vm, struct pv_vm_console_reader *reader, size_t max,
    int64_t deadline_ns, struct pv_bytes *out, struct pv_err *err);
/* True when nothing will come any more. */
bool pv_vm_console_is_over(struct pv_vm *vm, struct pv_vm_console_reader *reader);

/* --- console (spec section 14) --- */

/* Appends a copy of the whole log since the first boot. Returns 0 or -ENOMEM. */
int pv_vm_console_log(struct pv_vm *vm, struct pv_bytes *out);
/* Appends the last `limit` bytes of the log. */
int pv_vm_console_tail(struct pv_vm *vm, size_t limit, struct pv_bytes *out);
/* Waits until `pattern` is in the log of the latest boot. Returns 0, -ETIMEDOUT, or another error
 * (interrupted, guest gone). */
int pv_vm_console_expect(
    struct pv_vm *vm, const void *pattern, size_t len, int64_t deadline_ns, struct pv_err *err);
/* Types on the guest's console. Returns 0, -ETIMEDOUT when the guest does not take it in time. */
int pv_vm_console_write(
    struct pv_vm *vm, const void *data, size_t len, int64_t deadline_ns, struct pv_err *err);

#endif
