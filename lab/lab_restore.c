/*
 * Saved labs go on. Theory: a plan first: each place of the index is looked up in the lab, which
 * tells what is to be made, what is there, and what must not be touched; up to here nothing is
 * changed, and most of what can go wrong is found. Then sub-labs and VMs are made, and on several
 * threads machines are built: theirs, and those of VMs in place whose own is of no use. Guests in
 * place stand still meanwhile. Any failure up to here takes back all of it and lets them go on.
 *
 * Then the VMs in place change their machines or rewind them. This cannot be taken back, but little
 * is left in it that could fail; when it does, that VM is dead and the others still go back. At
 * last all guests go on, one right after the other.
 *
 * Script thread; machines are built on others, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lab/crew.h"
#include "lab/host.h"
#include "lab/lab_private.h"
#include "lab/lab_snapshot_private.h"
#include "lab/vm.h"
#include "lab/vm_private.h"
#include "vmm/template.h"

/* What a place of the index is in the lab. */
enum step {
	STEP_NONE, /* there already */
	STEP_MAKE, /* at the first place: makes it; at others: includes it */
	STEP_BACK, /* goes back to its baseline */
};

struct place {
	enum step step;
	bool done; /* made, included, or back */
	union {
		struct pv_lab *lab;
		struct pv_vm *vm;
	};
};

struct restoring {
	struct pv_lab_snapshot *snapshot;
	const struct pv_lab_index *index;
	struct pv_lab *lab;
	bool clock_now;
	struct place *labs; /* NULL in them until they are made */
	struct place *vms;
	struct pv_lab_outcome *outcomes;
};

/* --- the plan --- */

/* Sets "<kind> name `<path>` already used in this lab: <why>". */
static int refuse(struct restoring *restoring, bool is_vm, size_t index, struct pv_err *err)
{
	struct pv_bytes path = {0};
	if (is_vm)
		(void)pv_lab_index_vm_path(restoring->index, index, &path);
	else
		(void)pv_lab_index_lab_path(restoring->index, index, &path);
	const char *text = pv_bytes_text(&path);
	int status = pv_err_set(err, PV_ERR_STATE, EEXIST,
	    "%s name `%s` already used in this lab, by another one than was saved; take it out "
	    "with lab:remove, or restore into a lab of its own",
	    is_vm ? "vm" : "sub-lab", text ? text : "?");
	pv_bytes_finish(&path);
	return status;
}

static int plan_lab(struct restoring *restoring, size_t index, struct pv_err *err)
{
	const struct pv_lab_index_lab *saved = &restoring->index->labs[index];
	struct place *place = &restoring->labs[index];
	const struct pv_lab *parent = restoring->labs[saved->parent].lab;
	place->step = STEP_MAKE;
	if (!parent)
		return 0;
	place->lab = pv_lab_sub_here(parent, saved->name);
	if (!place->lab)
		return pv_lab_check_sub_name(parent, saved->name, err);
	place->step = STEP_NONE;
	if (saved->first != index && place->lab != restoring->labs[saved->first].lab)
		return refuse(restoring, false, index, err);
	return 0;
}

static int plan_vm(struct restoring *restoring, size_t index, struct pv_err *err)
{
	const struct pv_lab_index_vm *saved = &restoring->index->vms[index];
	const struct pv_vm_baseline *baseline = restoring->snapshot->guests[index].baseline;
	struct place *place = &restoring->vms[index];
	const struct pv_lab *parent = restoring->labs[saved->parent].lab;
	const bool is_first = saved->first == index;
	struct pv_vm *there = parent ? pv_lab_vm_here(parent, saved->name) : NULL;
	int status = 0;
	if (there && is_first) {
		place->vm = there;
		place->step = STEP_BACK;
		if (!baseline || pv_vm_baseline_vm(baseline) != there)
			status = refuse(restoring, true, index, err);
	} else if (there) {
		if (there != restoring->vms[saved->first].vm)
			status = refuse(restoring, true, index, err);
	} else {
		place->step = STEP_MAKE;
		if (parent)
			status = pv_lab_check_vm_name(parent, saved->name, err);
		if (!status && is_first && !pv_lab_profile(restoring->lab, saved->profile, err))
			status = pv_err_prefix(err, "vm `%s`", saved->name);
	}
	return status;
}

static int plan(struct restoring *restoring, struct pv_err *err)
{
	int status = 0;
	restoring->labs[0].lab = restoring->lab;
	for (size_t i = 1; i < restoring->index->lab_count && !status; i++)
		status = plan_lab(restoring, i, err);
	for (size_t i = 0; i < restoring->index->vm_count && !status; i++)
		status = plan_vm(restoring, i, err);
	return status;
}

/* --- making --- */

static int make_lab(struct restoring *restoring, size_t index, struct pv_err *err)
{
	const struct pv_lab_index_lab *saved = &restoring->index->labs[index];
	struct place *place = &restoring->labs[index];
	struct pv_lab *parent = restoring->labs[saved->parent].lab;
	int status;
	if (saved->first == index) {
		status = pv_lab_sub(parent, saved->name, &place->lab, err);
	} else {
		place->lab = restoring->labs[saved->first].lab;
		status = pv_lab_include_lab(parent, place->lab, err);
	}
	place->done = !status;
	return status;
}

static int make_vm(struct restoring *restoring, size_t index, struct pv_err *err)
{
	const struct pv_lab_index_vm *saved = &restoring->index->vms[index];
	struct place *place = &restoring->vms[index];
	struct pv_lab *parent = restoring->labs[saved->parent].lab;
	if (saved->first != index) {
		place->vm = restoring->vms[saved->first].vm;
		int included = pv_lab_include_vm(parent, place->vm, err);
		place->done = !included;
		return included;
	}
	int status = pv_lab_add_vm(parent, saved->name, saved->profile, NULL, &place->vm, err);
	place->done = !status;
	if (!status) {
		status = pv_vm_restore_prepare(
		    place->vm, NULL, restoring->snapshot->guests[index].template, err);
		if (status)
			pv_err_prefix(err, "vm `%s`: cannot restore", saved->name);
	}
	return status;
}

/* Takes back what was made. */
static void unmake(struct restoring *restoring)
{
	for (size_t i = restoring->index->vm_count; i-- > 0;) {
		const struct pv_lab_index_vm *saved = &restoring->index->vms[i];
		struct place *place = &restoring->vms[i];
		struct pv_lab *parent = restoring->labs[saved->parent].lab;
		if (place->step != STEP_MAKE || !place->done)
			continue;
		if (saved->first == i)
			pv_lab_disown_vm(parent, place->vm);
		else
			pv_lab_remove_vm(parent, place->vm);
	}
	for (size_t i = restoring->index->lab_count; i-- > 1;) {
		const struct pv_lab_index_lab *saved = &restoring->index->labs[i];
		struct place *place = &restoring->labs[i];
		struct pv_lab *parent = restoring->labs[saved->parent].lab;
		if (!place->done)
			continue;
		if (saved->first == i)
			pv_lab_disown_sub(parent, place->lab);
		else
			pv_lab_remove_lab(parent, place->lab);
	}
}

/* --- guests --- */

static bool is_made(const struct restoring *restoring, size_t index)
{
	return restoring->vms[index].step == STEP_MAKE &&
	       restoring->index->vms[index].first == index;
}

/* Any thread. */
static void build_one(void *ctx, size_t index)
{
	struct restoring *restoring = ctx;
	struct pv_lab_outcome *outcome = &restoring->outcomes[index];
	const struct pv_lab_guest *guest = &restoring->snapshot->guests[index];
	if (restoring->vms[index].step == STEP_BACK) {
		outcome->status = pv_vm_baseline_prepare(guest->baseline, &outcome->err);
		return;
	}
	if (!is_made(restoring, index))
		return;
	outcome->status = pv_vm_restore_machine(
	    restoring->vms[index].vm, guest->template, restoring->clock_now, &outcome->err);
	if (outcome->status)
		pv_err_prefix(
		    &outcome->err, "vm `%s`: cannot restore", restoring->index->vms[index].name);
}

/* VMs in place go on as if nothing had been. */
static void stay(struct restoring *restoring)
{
	for (size_t i = 0; i < restoring->index->vm_count; i++) {
		if (restoring->vms[i].step == STEP_BACK)
			pv_vm_baseline_stay(restoring->snapshot->guests[i].baseline);
	}
}

static int make_all(struct restoring *restoring, struct pv_err *err)
{
	const struct pv_lab_index *index = restoring->index;
	struct pv_kvm *kvm = NULL;
	int status = 0;
	for (size_t i = 1; i < index->lab_count && !status; i++) {
		if (restoring->labs[i].step == STEP_MAKE)
			status = make_lab(restoring, i, err);
	}
	for (size_t i = 0; i < index->vm_count && !status; i++) {
		if (restoring->vms[i].step == STEP_MAKE)
			status = make_vm(restoring, i, err);
	}
	if (!status && index->vm_count > 0)
		status = pv_host_kvm(pv_lab_host(restoring->lab), &kvm, err);
	if (status)
		return status;
	pv_crew_run(index->vm_count, build_one, restoring);
	return pv_lab_outcome_first(restoring->outcomes, index->vm_count, err);
}

/* All of them, whatever becomes of one. Returns the first failure. */
static int go_back(struct restoring *restoring, struct pv_err *err)
{
	int status = 0;
	for (size_t i = 0; i < restoring->index->vm_count; i++) {
		struct place *place = &restoring->vms[i];
		struct pv_err failure = PV_ERR_INIT;
		if (place->step != STEP_BACK)
			continue;
		int code = pv_vm_baseline_return(
		    restoring->snapshot->guests[i].baseline, restoring->clock_now, &failure);
		place->done = !code;
		if (code && !status) {
			status = code;
			*err = failure;
		}
	}
	return status;
}

/* Restored guests run, also those that were saved while they were paused. */
static int go_on_again(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	struct pv_vm *vm = pv_vm_baseline_vm(baseline);
	int status = pv_vm_baseline_go(baseline, err);
	return !status && pv_vm_state(vm) == PV_VM_PAUSED ? pv_vm_resume(vm, err) : status;
}

/* All that stand still go on, whatever becomes of the others. Returns the first failure. */
static int go_on(struct restoring *restoring, bool made_too, struct pv_err *err)
{
	int status = 0;
	for (size_t i = 0; i < restoring->index->vm_count; i++) {
		const struct place *place = &restoring->vms[i];
		struct pv_err failure = PV_ERR_INIT;
		int code = 0;
		if (place->step == STEP_BACK && place->done)
			code = go_on_again(restoring->snapshot->guests[i].baseline, &failure);
		else if (made_too && is_made(restoring, i))
			code = pv_vm_restore_go(place->vm, "restore", &failure);
		if (code && !status) {
			status = code;
			*err = failure;
		}
	}
	return status;
}

static int say_nothing_changed(struct pv_err *err)
{
	return pv_err_set(err, err->kind, err->code, "%s; nothing was changed", err->text);
}

/* What became of the others when one could not go back. */
static int say_how_far(const struct restoring *restoring, struct pv_err *err)
{
	size_t back = 0;
	for (size_t i = 0; i < restoring->index->vm_count; i++)
		back += restoring->vms[i].step == STEP_BACK && restoring->vms[i].done;
	return pv_err_set(err, err->kind, err->code,
	    "%s; it is dead, %zu other VM(s) of the snapshot went back, and nothing was made",
	    err->text, back);
}

static int carry_out(struct restoring *restoring, struct pv_err *err)
{
	struct pv_err ignored = PV_ERR_INIT;
	int status = plan(restoring, err);
	if (status)
		return status;
	status = make_all(restoring, err);
	if (status) {
		stay(restoring);
		unmake(restoring);
		return say_nothing_changed(err);
	}
	status = go_back(restoring, err);
	if (status) {
		say_how_far(restoring, err);
		(void)go_on(restoring, false, &ignored);
	} else {
		status = go_on(restoring, true, err);
	}
	if (status)
		unmake(restoring);
	return status;
}

int pv_lab_snapshot_restore(
    struct pv_lab_snapshot *snapshot, struct pv_lab *lab, bool clock_now, struct pv_err *err)
{
	const struct pv_lab_index *index = &snapshot->index;
	const struct pv_host *host = pv_lab_host(lab);
	struct restoring restoring = {
	    .snapshot = snapshot, .index = index, .lab = lab, .clock_now = clock_now};
	if (snapshot->deleted)
		return pv_err_set(err, PV_ERR_STATE, ENOENT,
		    "snapshot%s%s%s: it was deleted; take a new one",
		    snapshot->directory ? " `" : "", snapshot->directory ? snapshot->directory : "",
		    snapshot->directory ? "`" : "");
	if (atomic_load(&host->interrupted))
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "the time is up");
	restoring.labs = calloc(index->lab_count, sizeof(*restoring.labs));
	restoring.vms = calloc(index->vm_count + 1, sizeof(*restoring.vms));
	restoring.outcomes = calloc(index->vm_count + 1, sizeof(*restoring.outcomes));
	int status = restoring.labs && restoring.vms && restoring.outcomes
			 ? carry_out(&restoring, err)
			 : pv_err_nomem(err, "snapshot of a lab");
	free(restoring.labs);
	free(restoring.vms);
	free(restoring.outcomes);
	return status;
}
