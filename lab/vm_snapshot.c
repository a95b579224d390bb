/*
 * Saving a VM, and the ways to booted that are not a boot. Theory: a snapshot is a template of the
 * machine (vmm/template.h) with a section of ours: whose guest it is and where the conversation
 * with its agent stands. That conversation is nothing but a few numbers (struct pv_agent_mark),
 * because a snapshot is taken only while the client is quiescent; so a restored guest's connection
 * is adopted and the first request goes out as if nothing had been.
 *
 * A running guest stands still for the freeze; it runs again while the file is written, since the
 * template does not change. Kernel and initramfs are opened again at a restore, and read when the
 * guest reboots (lab/boot_kit.c); where they are gone the guest is restored all the same, and only
 * a reboot ends it.
 *
 * The section comes from files and is hostile: each field is checked.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/pack.h"
#include "lab/boot_kit.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lab/profile.h"
#include "lab/snapshot.h"
#include "lab/vm_private.h"
#include "lab/working_sets.h"
#include "vmm/template.h"

/* Changes with the protocol of the agent, too: the one that is saved speaks that of its time. */
#define OWNER_VERSION 4
#define PROFILE_MAX   256
#define CID_MIN	      3

/* A running agent's last words about calls that were given up come soon or not at all. */
#define QUIESCENCE_TIMEOUT (5 * PV_CLOCK_SECOND)

/* What goes with the template. */
struct owner {
	char profile[PROFILE_MAX];
	uint32_t cid;
	struct pv_agent_mark mark;
};

/* --- the section --- */

static int attach_owner(struct pv_template *template, const struct owner *owner, struct pv_err *err)
{
	struct pv_bytes data = {0};
	struct pv_pack pack = {.out = &data};
	pv_pack_map(&pack, 8);
	pv_pack_str(&pack, "version");
	pv_pack_uint(&pack, OWNER_VERSION);
	pv_pack_str(&pack, "profile");
	pv_pack_str(&pack, owner->profile);
	pv_pack_str(&pack, "cid");
	pv_pack_uint(&pack, owner->cid);
	pv_pack_str(&pack, "next_id");
	pv_pack_uint(&pack, owner->mark.next_id);
	pv_pack_str(&pack, "boot");
	pv_pack_uint(&pack, owner->mark.boot);
	pv_pack_str(&pack, "session");
	pv_pack_uint(&pack, owner->mark.session);
	pv_pack_str(&pack, "sent");
	pv_pack_uint(&pack, owner->mark.sent);
	pv_pack_str(&pack, "received");
	pv_pack_uint(&pack, owner->mark.received);
	int status = pack.status ? pv_err_nomem(err, "snapshot")
				 : pv_template_set_owner(template, data.data, data.len, err);
	pv_bytes_finish(&data);
	return status;
}

/* The client looks at the values. */
static bool take_mark(struct pv_agent_mark *mark, const struct pv_val *root)
{
	return pv_val_uint(pv_val_get(root, "next_id"), &mark->next_id) &&
	       pv_val_uint(pv_val_get(root, "boot"), &mark->boot) &&
	       pv_val_uint(pv_val_get(root, "session"), &mark->session) &&
	       pv_val_uint(pv_val_get(root, "sent"), &mark->sent) &&
	       pv_val_uint(pv_val_get(root, "received"), &mark->received);
}

static int take_owner(struct owner *owner, const struct pv_val *root, struct pv_err *err)
{
	uint64_t version, cid;
	const char *profile;
	size_t len;
	if (!pv_val_uint(pv_val_get(root, "version"), &version))
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "the snapshot was not taken by vm:snapshot(), or is damaged; make it anew");
	if (version != OWNER_VERSION)
		return pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "the snapshot's VM has version %llu, and this provium reads version %d; make "
		    "it anew",
		    (unsigned long long)version, OWNER_VERSION);
	if (!pv_val_str(pv_val_get(root, "profile"), &profile, &len) || len >= PROFILE_MAX ||
	    !pv_val_uint(pv_val_get(root, "cid"), &cid) || cid < CID_MIN || cid >= UINT32_MAX ||
	    !take_mark(&owner->mark, root))
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "the snapshot's part about the VM is damaged; make it anew");
	memcpy(owner->profile, profile, len);
	owner->profile[len] = '\0';
	owner->cid = (uint32_t)cid;
	return 0;
}

static int read_owner(struct owner *owner, const struct pv_template *template, struct pv_err *err)
{
	size_t len;
	struct pv_doc *doc = NULL;
	const void *data = pv_template_owner(template, &len);
	int status = len ? pv_doc_parse(&doc, data, len, err) : 0;
	if (!status)
		status = take_owner(owner, pv_doc_root(doc), err);
	pv_doc_destroy(doc);
	return status;
}

int pv_vm_saved_profile(struct pv_snapshot *snapshot, char **profile, struct pv_err *err)
{
	struct pv_template *template = NULL;
	struct owner owner;
	*profile = NULL;
	int status = pv_snapshot_open(snapshot, &template, err);
	if (!status)
		status = read_owner(&owner, template, err);
	if (!status && !(*profile = strdup(owner.profile)))
		status = pv_err_nomem(err, "the name of a profile");
	pv_template_unref(template);
	return status;
}

/* --- save --- */

static int refuse(struct pv_vm *vm, struct pv_err *err)
{
	unsigned calls = pv_agent_in_flight(vm->agent);
	if (!pv_agent_is_ready(vm->agent))
		return pv_err_set(err, PV_ERR_STATE, ENOTCONN,
		    "vm:snapshot() failed for `%s`: its agent is not connected; take it when the "
		    "guest answers",
		    vm->name);
	return pv_err_set(err, PV_ERR_STATE, EBUSY,
	    "vm:snapshot() failed for `%s`: 0 open file handle(s), %u open stream(s)\n"
	    "%u operation(s) in flight\n"
	    "let operations end and close streams before the snapshot",
	    vm->name, vm->open_streams, calls);
}

/* [locked] Returns 0 with the client quiescent. */
static int wait_quiescent(struct pv_vm *vm, struct pv_err *err)
{
	if (vm->state != PV_VM_BOOTED && vm->state != PV_VM_PAUSED)
		return pv_vm_wrong_state(vm, "snapshot", err);
	if (vm->open_streams)
		return refuse(vm, err); /* they do not end by waiting */
	if (vm->state == PV_VM_BOOTED) {
		/* A guest that reboots on its own is booted all the while. */
		int status =
		    pv_vm_wait_agent(vm, "snapshot", pv_clock_deadline(vm->agent_wait_ns), err);
		if (status)
			return status;
	}
	int64_t deadline = pv_clock_deadline(QUIESCENCE_TIMEOUT);
	const unsigned endings = vm->reports.endings;
	while (vm->state == PV_VM_BOOTED && !vm->host->interrupt &&
	       vm->reports.endings == endings && !pv_agent_is_quiescent(vm->agent)) {
		if (pv_loop_wait(vm->host->loop, deadline))
			break;
	}
	if (vm->host->interrupt)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: snapshot: %s", vm->name,
		    vm->host->interrupt);
	if (pv_vm_verdict_since(vm, endings, "snapshot", err))
		return -EFAULT;
	return pv_agent_is_quiescent(vm->agent) && !vm->open_streams ? 0 : refuse(vm, err);
}

int pv_vm_save_begin(struct pv_vm *vm, struct pv_err *err)
{
	pv_loop_lock(vm->host->loop);
	int status = wait_quiescent(vm, err);
	bool runs = vm->state == PV_VM_BOOTED;
	pv_loop_unlock(vm->host->loop);
	if (status || !runs)
		return status;
	status = pv_machine_pause(vm->machine, err);
	return status ? pv_err_prefix(err, "vm `%s`: cannot snapshot", vm->name) : 0;
}

int pv_vm_save_freeze(struct pv_vm *vm, struct pv_template **out, struct pv_err *err)
{
	struct owner owner = {.cid = vm->cid};
	*out = NULL;
	snprintf(owner.profile, sizeof(owner.profile), "%s", vm->profile->name);
	pv_loop_lock(vm->host->loop);
	/* The guest may have said something, or died, before it stood still. */
	int status = pv_agent_is_quiescent(vm->agent) ? 0 : refuse(vm, err);
	owner.mark = pv_agent_mark(vm->agent);
	pv_loop_unlock(vm->host->loop);
	if (!status)
		status = pv_machine_freeze(vm->machine, out, err);
	if (!status)
		status = attach_owner(*out, &owner, err);
	if (!status)
		return 0;
	pv_template_unref(*out);
	*out = NULL;
	return pv_err_prefix(err, "vm `%s`: cannot snapshot", vm->name);
}

int pv_vm_save_end(struct pv_vm *vm, struct pv_err *err)
{
	pv_loop_lock(vm->host->loop);
	bool runs = vm->state == PV_VM_BOOTED;
	pv_loop_unlock(vm->host->loop);
	int status = runs ? pv_machine_resume(vm->machine, err) : 0;
	return status ? pv_err_prefix(err, "vm `%s`: cannot go on after a snapshot", vm->name) : 0;
}

static int save(struct pv_vm *vm, struct pv_template **out, struct pv_err *err)
{
	struct pv_err later = PV_ERR_INIT;
	int status = pv_vm_save_begin(vm, err);
	if (status)
		return status;
	status = pv_vm_save_freeze(vm, out, err);
	int resumed = pv_vm_save_end(vm, &later);
	if (status || !resumed)
		return status;
	pv_template_unref(*out);
	*out = NULL;
	*err = later;
	return resumed;
}

int pv_vm_snapshot(struct pv_vm *vm, const char *path, struct pv_snapshot **out, struct pv_err *err)
{
	struct pv_template *template = NULL;
	*out = NULL;
	int status = save(vm, &template, err);
	if (status)
		return status;
	status = path ? pv_snapshot_create_file(out, template, path, err)
		      : pv_snapshot_create_memory(out, template, err);
	pv_template_unref(template);
	return status ? pv_err_prefix(err, "vm `%s`: cannot snapshot", vm->name) : 0;
}

/* --- restore --- */

static int build(struct pv_vm *vm, struct pv_template *template, bool clock_now, struct pv_err *err)
{
	struct pv_kvm *kvm = NULL;
	int status = pv_host_kvm(vm->host, &kvm, err);
	if (status)
		return status;
	struct pv_machine_config config = pv_vm_boot_config(vm, vm->kit);
	const struct pv_machine_restore restore = {
	    .boot = &config,
	    .adopt = pv_vm_link_adopt,
	    .adopt_ctx = vm,
	    .clock_now = clock_now,
	};
	vm->stopped = vm->powered_off = false;
	vm->death[0] = '\0';
	vm->entropy_due = !pv_template_is_seeded(template);
	vm->wall_due = clock_now;
	return pv_machine_restore(&vm->machine, kvm, vm->host->loop, template, &restore, err);
}

int pv_vm_restore_machine(
    struct pv_vm *vm, struct pv_template *template, bool clock_now, struct pv_err *err)
{
	int status = build(vm, template, clock_now, err);
	if (status)
		return status;
	pv_loop_lock(vm->host->loop);
	pv_vm_verdict_restart(vm);
	pv_console_log_mark_boot(&vm->log);
	pv_machine_announce_late(vm->machine);
	status = pv_vm_link_listen(vm);
	pv_loop_unlock(vm->host->loop);
	return status ? pv_err_system(err, -status, "cannot listen for the agent") : 0;
}

int pv_vm_restore_go(struct pv_vm *vm, const char *what, struct pv_err *err)
{
	struct pv_loop *loop = vm->host->loop;
	pv_loop_lock(loop);
	vm->state = PV_VM_BOOTED;
	pv_loop_unlock(loop);
	if (!vm->spawned)
		vm->started_ns = pv_clock_now();
	int status = pv_machine_resume(vm->machine, err);
	if (status) {
		pv_err_prefix(err, "vm `%s`: cannot %s", vm->name, what);
	} else {
		/* Ready already, but for a connection that was not adopted. */
		pv_loop_lock(loop);
		status = pv_vm_wait_agent(vm, what, pv_clock_deadline(vm->agent_wait_ns), err);
		if (!status)
			pv_vm_link_tell_wall(vm);
		pv_loop_unlock(loop);
	}
	if (status)
		pv_vm_stop_machine(vm, PV_VM_DEAD);
	else if (!vm->spawned)
		pv_vm_tell_spawned(vm);
	return status;
}

/* The options of this boot: the VM's own, and of the guest what comes with it. */
static int take_over(struct pv_vm *vm, const struct pv_template *template,
    const struct owner *owner, struct pv_err *err)
{
	const struct pv_profile *profile = pv_config_profile(vm->host->config, owner->profile);
	int status = pv_options_merge(&vm->boot, &vm->created_with, err);
	if (status)
		return status;
	vm->boot.has_memory = vm->boot.has_cpus = true;
	vm->boot.memory = pv_template_memory(template);
	vm->boot.cpus = pv_template_cpus(template);
	if (profile)
		vm->profile = profile;
	vm->agent_wait_ns = pv_vm_agent_timeout(vm);
	vm->cid = owner->cid;
	vm->adopt = owner->mark;
	return 0;
}

/* What a guest from this file touches first, if somebody restored it before; or else it is found
 * out this time. */
static void prepare_working_set(struct pv_vm *vm, struct pv_template *template)
{
	char id[PV_TEMPLATE_ID];
	if (pv_template_has_working_set(template) || !pv_template_file_id(template, id))
		return;
	struct pv_working_set *set = pv_working_sets_load(vm->host->working_sets, id);
	if (set)
		pv_template_set_working_set(template, set);
	else
		vm->wants_set = pv_template_ref(template);
}

int pv_vm_restore_prepare(
    struct pv_vm *vm, const struct pv_vm *parent, struct pv_template *template, struct pv_err *err)
{
	struct owner owner;
	int status = read_owner(&owner, template, err);
	if (!status)
		status = take_over(vm, template, &owner, err);
	/* What there is to boot at later resets: the parent's, or what the profile says today. */
	if (!status && parent)
		vm->kit = pv_boot_kit_ref(parent->kit);
	else if (!status)
		status = pv_boot_kit_create(&vm->kit, vm->host, vm->profile, &vm->boot, err);
	if (!status)
		prepare_working_set(vm, template);
	return status;
}

static int restore(struct pv_vm *vm, const struct pv_vm *parent, struct pv_template *template,
    bool clock_now, struct pv_err *err)
{
	const struct pv_profile *profile = vm->profile;
	const enum pv_vm_state before = pv_vm_state(vm);
	const uint32_t cid = vm->cid;
	int status = pv_vm_restore_prepare(vm, parent, template, err);
	if (!status)
		status = pv_vm_restore_machine(vm, template, clock_now, err);
	if (!status)
		return pv_vm_restore_go(vm, "restore", err);
	/* Nothing ran yet: the VM is as before. */
	pv_vm_stop_machine(vm, before);
	vm->profile = profile;
	vm->cid = cid;
	return pv_err_prefix(err, "vm `%s`: cannot restore", vm->name);
}

static int check_restorable(struct pv_vm *vm, struct pv_err *err)
{
	int status = 0;
	pv_loop_lock(vm->host->loop);
	if (vm->host->interrupt)
		status = pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: restore: %s",
		    vm->name, vm->host->interrupt);
	else if (vm->state != PV_VM_CREATED && vm->state != PV_VM_SHUTDOWN)
		status = pv_vm_wrong_state(vm, "restore", err);
	pv_loop_unlock(vm->host->loop);
	return status;
}

static int restore_snapshot(struct pv_vm *vm, const struct pv_vm *parent,
    struct pv_snapshot *snapshot, bool clock_now, struct pv_err *err)
{
	struct pv_template *template = NULL;
	int status = check_restorable(vm, err);
	if (status)
		return status;
	status = pv_snapshot_open(snapshot, &template, err);
	if (status)
		return pv_err_prefix(err, "vm `%s`: cannot restore", vm->name);
	status = restore(vm, parent, template, clock_now, err);
	pv_template_unref(template);
	return status;
}

int pv_vm_restore(
    struct pv_vm *vm, struct pv_snapshot *snapshot, bool clock_now, struct pv_err *err)
{
	return restore_snapshot(vm, NULL, snapshot, clock_now, err);
}

int pv_vm_restore_file(struct pv_vm *vm, const char *path, bool clock_now, struct pv_err *err)
{
	struct pv_template *template = NULL;
	int status = check_restorable(vm, err);
	if (status)
		return status;
	status = pv_template_open(&template, path, false, err);
	if (status)
		return pv_err_prefix(err, "vm `%s`: cannot restore", vm->name);
	status = restore(vm, NULL, template, clock_now, err);
	pv_template_unref(template);
	return status;
}

int pv_vm_restore_like(
    struct pv_vm *vm, const struct pv_vm *parent, struct pv_snapshot *snapshot, struct pv_err *err)
{
	return restore_snapshot(vm, parent, snapshot, false, err);
}

int pv_vm_create_like(
    struct pv_vm **out, const char *name, const struct pv_vm *parent, struct pv_err *err)
{
	return pv_vm_create(out, parent->host, name, parent->profile, &parent->boot, err);
}
