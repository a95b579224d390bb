/*
 * Going back to a baseline. Theory: a scope has a list of all VMs and of all labs that were made in
 * it. The baseline holds another reference of each, with the members of each lab and a
 * pv_vm_baseline per VM (lab/vm_rewind.c). What the lists of the scope have beyond that was made
 * since, and is closed as at the end of a scope.
 *
 * Members are set back only where a test has changed them, so that the usual reset allocates
 * nothing.
 *
 * Script thread.
 */
#include "lab/lab_reset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/lab_private.h"
#include "lab/vm_private.h"
#include "vmm/template.h"

/* A lab and its members then. */
struct place {
	struct pv_lab *lab; /* one reference, but for the scope itself */
	struct pv_lab_vms vms;
	struct pv_lab_subs subs;
};

struct pv_lab_reset {
	struct pv_lab *scope;
	struct place *places; /* the scope, then its sub-labs */
	size_t place_count;
	struct pv_vm_baseline **baselines;
	size_t baseline_count;
};

/* --- taking it down --- */

/* Appends references of the members; what was added before a failure stays there. */
static int add_members(
    struct place *place, const struct pv_lab_vms *vms, const struct pv_lab_subs *subs)
{
	int status = 0;
	for (size_t i = 0; i < vms->count && !status; i++)
		status = pv_lab_vms_add(&place->vms, vms->items[i]);
	for (size_t i = 0; i < subs->count && !status; i++)
		status = pv_lab_subs_add(&place->subs, subs->items[i]);
	return status;
}

static int keep_members(struct place *place, struct pv_lab *lab)
{
	place->lab = lab;
	return add_members(place, &lab->vms, &lab->subs);
}

static int keep_labs(struct pv_lab_reset *reset, struct pv_err *err)
{
	struct pv_lab *scope = reset->scope;
	reset->places = calloc(1 + scope->made_subs.count, sizeof(*reset->places));
	if (!reset->places)
		return pv_err_nomem(err, "baseline");
	int status = keep_members(&reset->places[reset->place_count++], scope);
	for (size_t i = 0; i < scope->made_subs.count && !status; i++)
		status = keep_members(
		    &reset->places[reset->place_count++], pv_lab_ref(scope->made_subs.items[i]));
	return status ? pv_err_nomem(err, "baseline") : 0;
}

static bool has_guest(struct pv_vm *vm)
{
	const enum pv_vm_state state = pv_vm_state(vm);
	return state == PV_VM_BOOTED || state == PV_VM_PAUSED;
}

static int check_streams(const struct pv_lab *scope, struct pv_err *err)
{
	for (size_t i = 0; i < scope->made_vms.count; i++) {
		struct pv_vm *vm = scope->made_vms.items[i];
		const unsigned streams = pv_vm_open_streams(vm);
		if (streams)
			return pv_err_set(err, PV_ERR_STATE, EBUSY,
			    "it cannot be used with streams of the file's scope, and vm `%s` has "
			    "%u; open them in the tests",
			    pv_vm_name(vm), streams);
	}
	return 0;
}

static int keep_vm(struct pv_lab_reset *reset, struct pv_vm *vm, struct pv_err *err)
{
	struct pv_template *template = NULL;
	int status = has_guest(vm) ? pv_vm_save_freeze(vm, &template, err) : 0;
	if (!status)
		status = pv_vm_baseline_create(
		    &reset->baselines[reset->baseline_count], vm, template, err);
	pv_template_unref(template);
	if (!status)
		reset->baseline_count++;
	return status;
}

static int keep_vms(struct pv_lab_reset *reset, struct pv_err *err)
{
	const struct pv_lab_vms *vms = &reset->scope->made_vms;
	int status = 0;
	size_t still = 0;
	reset->baselines = calloc(vms->count + 1, sizeof(struct pv_vm_baseline *));
	if (!reset->baselines)
		return pv_err_nomem(err, "baseline");
	for (; still < vms->count && !status; still++)
		status =
		    has_guest(vms->items[still]) ? pv_vm_save_begin(vms->items[still], err) : 0;
	if (status)
		still--; /* that one was left as it was */
	for (size_t i = 0; i < vms->count && !status; i++)
		status = keep_vm(reset, vms->items[i], err);
	for (size_t i = 0; i < still; i++) {
		struct pv_err failure = PV_ERR_INIT;
		if (!has_guest(vms->items[i]) || !pv_vm_save_end(vms->items[i], &failure) || status)
			continue;
		*err = failure;
		status = -failure.code;
	}
	return status;
}

int pv_lab_reset_create(struct pv_lab_reset **out, struct pv_lab *lab, struct pv_err *err)
{
	struct pv_lab_reset *reset = calloc(1, sizeof(*reset));
	*out = NULL;
	if (!reset)
		return pv_err_nomem(err, "baseline");
	reset->scope = lab;
	int status = check_streams(lab, err);
	if (!status)
		status = keep_labs(reset, err);
	if (!status)
		status = keep_vms(reset, err);
	if (status)
		pv_lab_reset_destroy(reset);
	else
		*out = reset;
	return status;
}

void pv_lab_reset_destroy(struct pv_lab_reset *reset)
{
	if (!reset)
		return;
	for (size_t i = 0; i < reset->baseline_count; i++)
		pv_vm_baseline_destroy(reset->baselines[i]);
	for (size_t i = 0; i < reset->place_count; i++) {
		struct place *place = &reset->places[i];
		pv_lab_vms_finish(&place->vms);
		pv_lab_subs_finish(&place->subs);
		if (i > 0)
			pv_lab_unref(place->lab);
	}
	free(reset->baselines);
	free(reset->places);
	free(reset);
}

/* --- going back --- */

static bool is_kept_vm(const struct pv_lab_reset *reset, const struct pv_vm *vm)
{
	for (size_t i = 0; i < reset->baseline_count; i++) {
		if (pv_vm_baseline_vm(reset->baselines[i]) == vm)
			return true;
	}
	return false;
}

static bool is_kept_lab(const struct pv_lab_reset *reset, const struct pv_lab *lab)
{
	for (size_t i = 0; i < reset->place_count; i++) {
		if (reset->places[i].lab == lab)
			return true;
	}
	return false;
}

/* Closes what was made since; nobody can find it any more once the members are set back. */
static void close_new(struct pv_lab_reset *reset)
{
	struct pv_lab *scope = reset->scope;
	for (size_t i = scope->made_vms.count; i-- > 0;) {
		struct pv_vm *vm = scope->made_vms.items[i];
		if (is_kept_vm(reset, vm))
			continue;
		pv_vm_shutdown(vm);
		pv_lab_vms_drop(&scope->made_vms, vm);
	}
	for (size_t i = scope->made_subs.count; i-- > 0;) {
		struct pv_lab *lab = scope->made_subs.items[i];
		if (is_kept_lab(reset, lab))
			continue;
		pv_lab_empty(lab);
		pv_lab_subs_drop(&scope->made_subs, lab);
	}
}

static bool has_members(const struct place *place)
{
	const struct pv_lab *lab = place->lab;
	return lab->vms.count == place->vms.count && lab->subs.count == place->subs.count &&
	       (lab->vms.count == 0 || memcmp(lab->vms.items, place->vms.items,
					   lab->vms.count * sizeof(struct pv_vm *)) == 0) &&
	       (lab->subs.count == 0 || memcmp(lab->subs.items, place->subs.items,
					    lab->subs.count * sizeof(struct pv_lab *)) == 0);
}

/* The lab keeps what it has when there is no memory for the change. */
static int set_members(const struct place *place)
{
	struct place fresh = {0};
	struct pv_lab *lab = place->lab;
	if (has_members(place))
		return 0;
	int status = add_members(&fresh, &place->vms, &place->subs);
	struct place used = fresh;
	if (!status) {
		used = (struct place){.vms = lab->vms, .subs = lab->subs};
		lab->vms = fresh.vms;
		lab->subs = fresh.subs;
	}
	pv_lab_vms_finish(&used.vms);
	pv_lab_subs_finish(&used.subs);
	return status;
}

static void add_failure(struct pv_bytes *report, const struct pv_err *failure)
{
	/* Out of memory shortens the report, the failure itself is not lost. */
	(void)pv_bytes_printf(report, "%s%s", report->len ? "; " : "", failure->text);
}

int pv_lab_reset_apply(struct pv_lab_reset *reset, struct pv_err *err)
{
	struct pv_bytes report = {0};
	struct pv_err failure = PV_ERR_INIT;
	bool *failed = calloc(reset->baseline_count + 1, sizeof(*failed));
	int status = failed ? 0 : -ENOMEM;
	close_new(reset);
	for (size_t i = 0; i < reset->place_count && !status; i++)
		status = set_members(&reset->places[i]);
	if (status) {
		free(failed);
		return pv_err_nomem(err, "baseline");
	}
	for (size_t i = 0; i < reset->baseline_count; i++) {
		failed[i] = pv_vm_baseline_return(reset->baselines[i], false, &failure) < 0;
		if (failed[i])
			add_failure(&report, &failure);
	}
	for (size_t i = 0; i < reset->baseline_count; i++) {
		if (failed[i] || pv_vm_baseline_go(reset->baselines[i], &failure) == 0)
			continue;
		failed[i] = true;
		add_failure(&report, &failure);
	}
	for (size_t i = 0; i < reset->baseline_count && !status; i++) {
		if (failed[i])
			status = pv_err_set(err, PV_ERR_GUEST, EIO, "%.*s", (int)report.len,
			    (const char *)report.data);
	}
	pv_bytes_finish(&report);
	free(failed);
	return status;
}
