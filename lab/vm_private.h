/*
 * The inside of a VM, shared by the files lab/vm*.c and lab/host.c only.
 */
#ifndef PV_LAB_VM_PRIVATE_H
#define PV_LAB_VM_PRIVATE_H

#include <stdatomic.h>

#include "agent/host/client.h"
#include "base/err.h"
#include "base/loop.h"

#include "lab/console_log.h"
#include "lab/options.h"
#include "lab/report_scan.h"
#include "lab/vm.h"
#include "vmm/machine.h"

/* Leaves room in an error for the VM and the operation. */
#define PV_VM_REPORT_TEXT_MAX (PV_ERR_TEXT_MAX - 160)

struct pv_boot_kit;
struct pv_stream_port_ops;
struct pv_template;
struct pv_vsock_conn;
struct pv_working_set;

/* What the guest's kernel said against itself; lab/vm_verdict.c. [loop lock] */
struct pv_vm_reports {
	struct pv_report_scan scan;
	struct pv_loop_timer timer;	  /* armed while a report is being printed */
	int64_t begun_ns;		  /* its first line came */
	int64_t heard_ns;		  /* its last byte so far */
	unsigned endings;		  /* reports that ended what waited, so far */
	unsigned endings_before;	  /* when the machine was started */
	bool stands;			  /* the last of them holds for what comes now as well */
	char text[PV_VM_REPORT_TEXT_MAX]; /* of the last of them, as an error says it */
};

struct pv_vm {
	unsigned references; /* script thread */
	struct pv_host *host;
	char *name;
	const struct pv_profile *profile;
	struct pv_options created_with;

	/* The current boot; script thread, set up while no machine runs. */
	struct pv_options boot;
	struct pv_boot_kit *kit; /* a reference that the machine needs */
	struct pv_machine *machine;
	struct pv_agent *agent;
	uint32_t cid;
	struct pv_agent_mark adopt; /* of the agent in the snapshot that is being restored */
	int64_t agent_wait_ns;	    /* how long the agent may take; set by boot and restore */
	int64_t started_ns;
	bool spawned;		       /* vm_spawned was told, vm_shutdown was not */
	struct pv_template *wants_set; /* a reference: its working set is not known; or NULL */

	/* [loop lock] */
	enum pv_vm_state state;
	struct pv_vsock_conn *conn;
	struct pv_loop_timer return_timer; /* an agent that was interrupted is to be back by then */
	bool return_is_late;		   /* or the next time */
	bool entropy_due; /* the guest goes on as a copy and has the random numbers of others */
	bool wall_due;	  /* its clock is to be the host's when it goes on */
	unsigned open_streams;		    /* held by scripts; a guest with some is not saved */
	struct pv_working_set *working_set; /* owned; of the guest, to be kept */
	struct pv_console_log log;
	struct pv_vm_reports reports;
	char death[PV_ERR_TEXT_MAX]; /* why the guest died, or empty */
	bool stopped;		     /* the machine of this boot runs no more */
	bool powered_off;	     /* because the guest switched itself off */
};

/* [loop lock] Fails what is in flight with `reason`; the guest goes on. */
void pv_vm_cancel(struct pv_vm *vm, const char *reason);

/* --- lab/vm_verdict.c, [loop lock] but for init and finish --- */

void pv_vm_verdict_init(struct pv_vm *vm);
void pv_vm_verdict_finish(struct pv_vm *vm);
/* The guest printed something. */
void pv_vm_verdict_hear(
    struct pv_vm *vm, enum pv_machine_console console, const void *data, size_t len);
/* What is being reported is told as it is: somebody will be told otherwise. */
void pv_vm_verdict_hurry(struct pv_vm *vm);
/* Nothing more comes from this guest: what it began to report is told as it is. */
void pv_vm_verdict_gone(struct pv_vm *vm);
/* The same, and another boot or another state of the guest begins, to which no report applies. */
void pv_vm_verdict_restart(struct pv_vm *vm);
/* Sets the error of `what` when reports have ended waits since there were `endings` of them (a copy
 * of reports.endings). Returns 0 or -EFAULT. */
int pv_vm_verdict_since(
    const struct pv_vm *vm, unsigned endings, const char *what, struct pv_err *err);

/* Joins a VM's vsock to its agent client: from now on a connecting agent is served. [loop lock] */
int pv_vm_link_listen(struct pv_vm *vm);

/* Takes over the agent's connection of a restored guest; pv_machine_adopt of vmm/template.h. */
bool pv_vm_link_adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port,
    uint32_t guest_port, const struct pv_stream_port_ops **ops, void **port_ctx);

/* [loop lock] An agent that was interrupted has all its time to come back, from now on. */
void pv_vm_link_await_return(struct pv_vm *vm);

/* [loop lock] Tells a guest that goes on what time it is, when that is due. */
void pv_vm_link_tell_wall(struct pv_vm *vm);

/* What vm->boot says about a machine that is to boot this kit (or NULL), with the VM listening to
 * its events. What is booted is fetched from the kit when the machine is reset. */
struct pv_machine_config pv_vm_boot_config(struct pv_vm *vm, struct pv_boot_kit *kit);

/* Tells that a guest runs. */
void pv_vm_tell_spawned(struct pv_vm *vm);

/* How long to wait for the agent, by vm->boot or else the profile. */
int64_t pv_vm_agent_timeout(const struct pv_vm *vm);

/* The two halves of pv_vm_boot, so that several VMs can boot side by side: start the machine, then
 * wait for its agent. */
int pv_vm_boot_begin(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err);
int pv_vm_boot_wait(struct pv_vm *vm, struct pv_err *err);

/* Waits until the agent answers, the guest is gone, time is up, or the host is interrupted. `what`
 * begins the error. [loop lock] */
int pv_vm_wait_agent(struct pv_vm *vm, const char *what, int64_t deadline_ns, struct pv_err *err);

/* Sets the wrong-state error of spec 7.1 for `action`. Returns -EBADFD. [loop lock] */
int pv_vm_wrong_state(struct pv_vm *vm, const char *action, struct pv_err *err);

/* --- lab/vm_snapshot.c: the steps of saving and restoring, so that the guests of a lab can be
 * saved at one moment and go on together. Sentences name the VM. pv_vm_save_freeze and
 * pv_vm_restore_machine may run on other threads than the script's, for one VM each, once
 * pv_host_kvm has succeeded; the script thread waits for them. --- */

/* Waits until nothing is in flight, and lets the guest of a booted VM stand still; the state does
 * not tell. On failure it runs as before. */
int pv_vm_save_begin(struct pv_vm *vm, struct pv_err *err);
/* A template of the guest that stands still, with our section. The caller gives it back. */
int pv_vm_save_freeze(struct pv_vm *vm, struct pv_template **out, struct pv_err *err);
/* The guest of a booted VM goes on. */
int pv_vm_save_end(struct pv_vm *vm, struct pv_err *err);

/* Sets what the next one needs, for a VM without a guest: options and address of the saved guest,
 * the agent's number, and what later resets boot (as `parent` does, or the profile says). */
int pv_vm_restore_prepare(
    struct pv_vm *vm, const struct pv_vm *parent, struct pv_template *template, struct pv_err *err);
/* With vm->boot, what there is to boot from, and the agent's number set: builds a machine that
 * stands still at the template, in the place of none. On failure there may be one. */
int pv_vm_restore_machine(
    struct pv_vm *vm, struct pv_template *template, bool clock_now, struct pv_err *err);
/* The guest goes on, its VM is booted; told as spawned when it was not. `what` is for sentences.
 * On failure it is dead. */
int pv_vm_restore_go(struct pv_vm *vm, const char *what, struct pv_err *err);

/* --- lab/vm_rewind.c --- */

/* What a VM was at one moment, to go back to any number of times. */
struct pv_vm_baseline;

/*
 * `template` is what pv_vm_save_freeze gave just now, for a booted or paused VM; NULL for others.
 * Takes references of both. The caller destroys it. Returns 0 or -ENOMEM.
 */
int pv_vm_baseline_create(struct pv_vm_baseline **out, struct pv_vm *vm,
    struct pv_template *template, struct pv_err *err);
/* NULL is fine. */
void pv_vm_baseline_destroy(struct pv_vm_baseline *baseline);
struct pv_vm *pv_vm_baseline_vm(const struct pv_vm_baseline *baseline);

/*
 * Does what of going back may fail and can be undone: a guest that runs stands still, or a machine
 * that replaces the VM's is built beside it; the state of the VM does not tell. Once pv_host_kvm
 * has succeeded on any thread, for one baseline each, while the script thread waits. Followed by
 * pv_vm_baseline_return or pv_vm_baseline_stay. On failure the VM is as before.
 */
int pv_vm_baseline_prepare(struct pv_vm_baseline *baseline, struct pv_err *err);
/* Undoes that; also when nothing was prepared. */
void pv_vm_baseline_stay(struct pv_vm_baseline *baseline);

/*
 * Takes the VM back, whatever has become of it: in place when its machine is still there, by a new
 * one when the guest died, was shut down, or was saved again since. Prepares when that was not
 * done. What is in flight is given up. Its guest stands still afterwards; `clock_now` as in
 * pv_vm_restore. On failure the VM is dead.
 */
int pv_vm_baseline_return(struct pv_vm_baseline *baseline, bool clock_now, struct pv_err *err);
/* The guest goes on, if it did at the baseline. */
int pv_vm_baseline_go(struct pv_vm_baseline *baseline, struct pv_err *err);

/* Stops and frees the machine, tells vm_shutdown once, and leaves the VM in `state`. */
void pv_vm_stop_machine(struct pv_vm *vm, enum pv_vm_state state);

#endif
