/*
 * Members of labs: what names may be used, who has them, making and including. Theory: a name is
 * looked up from a scope outwards, so a scope may not use a name of an enclosing one for something
 * else. VMs and labs have names apart from each other. What is made becomes a member of the lab and
 * goes onto the list of its scope in one step; what is included becomes a member only.
 *
 * Script thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lab/lab_private.h"
#include "lab/lab_tree.h"
#include "lab/vm.h"

/* --- finding --- */

struct pv_vm *pv_lab_vm_here(const struct pv_lab *lab, const char *name)
{
	for (size_t i = 0; i < lab->vms.count; i++) {
		if (strcmp(pv_vm_name(lab->vms.items[i]), name) == 0)
			return lab->vms.items[i];
	}
	return NULL;
}

struct pv_lab *pv_lab_sub_here(const struct pv_lab *lab, const char *name)
{
	for (size_t i = 0; i < lab->subs.count; i++) {
		if (strcmp(lab->subs.items[i]->name, name) == 0)
			return lab->subs.items[i];
	}
	return NULL;
}

struct pv_vm *pv_lab_find_vm(const struct pv_lab *lab, const char *name)
{
	struct pv_vm *vm = NULL;
	for (; lab && !vm; lab = lab->enclosing)
		vm = pv_lab_vm_here(lab, name);
	return vm;
}

struct pv_lab *pv_lab_find_lab(const struct pv_lab *lab, const char *name)
{
	struct pv_lab *found = NULL;
	for (; lab && !found; lab = lab->enclosing)
		found = pv_lab_sub_here(lab, name);
	return found;
}

/* --- names --- */

/* Dot access uses these names itself. */
static bool is_reserved(const char *name)
{
	static const char *const names[] = {"vm_fixture", "lab_fixture", "pack", "unpack"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static int check_form(const char *kind, const char *name, struct pv_err *err)
{
	if (!*name)
		return pv_err_set(
		    err, PV_ERR_INPUT, EINVAL, "%s name is empty; give it a name", kind);
	if (is_reserved(name))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "%s name `%s` is reserved; choose another one", kind, name);
	return 0;
}

int pv_lab_check_vm_name(const struct pv_lab *lab, const char *name, struct pv_err *err)
{
	int status = check_form("vm", name, err);
	if (status)
		return status;
	if (pv_lab_vm_here(lab, name))
		return pv_err_set(
		    err, PV_ERR_INPUT, EEXIST, "vm name `%s` already used in this lab", name);
	for (const struct pv_lab *outer = lab->enclosing; outer; outer = outer->enclosing) {
		if (pv_lab_vm_here(outer, name))
			return pv_err_set(err, PV_ERR_INPUT, EEXIST,
			    "vm `%s`: name already declared at a parent scope (lab `%s`); use "
			    "provium:vm(\"%s\") to look it up",
			    name, outer->name, name);
	}
	return 0;
}

int pv_lab_check_sub_name(const struct pv_lab *lab, const char *name, struct pv_err *err)
{
	int status = check_form("sub-lab", name, err);
	if (status)
		return status;
	if (pv_lab_sub_here(lab, name))
		return pv_err_set(
		    err, PV_ERR_INPUT, EEXIST, "sub-lab name `%s` already used in this lab", name);
	for (const struct pv_lab *outer = lab->enclosing; outer; outer = outer->enclosing) {
		if (pv_lab_sub_here(outer, name))
			return pv_err_set(err, PV_ERR_INPUT, EEXIST,
			    "lab `%s`: sub-lab name already declared at a parent scope (lab `%s`); "
			    "use provium[\"%s\"] to look it up",
			    name, outer->name, name);
	}
	return 0;
}

const struct pv_profile *pv_lab_profile(
    const struct pv_lab *lab, const char *name, struct pv_err *err)
{
	const struct pv_config *config = lab->host->config;
	const struct pv_profile *profile = pv_config_profile(config, name);
	if (!profile)
		pv_err_set(err, PV_ERR_INPUT, ENOENT, "profile `%s` not in provium.toml (read: %s)",
		    name,
		    config->path ? config->path
				 : "no provium.toml was found; `provium init` writes one");
	return profile;
}

/* --- membership --- */

int pv_lab_adopt_vm(struct pv_lab *lab, struct pv_vm *vm, struct pv_err *err)
{
	if (pv_lab_vms_add(&lab->vms, vm))
		return pv_err_nomem(err, "lab");
	if (!pv_lab_vms_add(&lab->scope->made_vms, vm))
		return 0;
	pv_lab_vms_drop(&lab->vms, vm);
	return pv_err_nomem(err, "lab");
}

void pv_lab_disown_vm(struct pv_lab *lab, struct pv_vm *vm)
{
	pv_vm_shutdown(vm);
	if (lab->scope)
		pv_lab_vms_drop(&lab->scope->made_vms, vm);
	pv_lab_vms_drop(&lab->vms, vm); /* `vm` may be gone now */
}

void pv_lab_disown_sub(struct pv_lab *lab, struct pv_lab *sub)
{
	struct pv_lab *scope = sub->scope;
	pv_lab_empty(sub);
	if (scope)
		pv_lab_subs_drop(&scope->made_subs, sub);
	pv_lab_subs_drop(&lab->subs, sub); /* `sub` may be gone now */
}

int pv_lab_add_vm(struct pv_lab *lab, const char *name, const char *profile_name,
    const struct pv_options *options, struct pv_vm **out, struct pv_err *err)
{
	int status = pv_lab_check_vm_name(lab, name, err);
	if (status)
		return status;
	const struct pv_profile *profile = pv_lab_profile(lab, profile_name, err);
	if (!profile)
		return -ENOENT;
	struct pv_vm *vm;
	status = pv_vm_create(&vm, lab->host, name, profile, options, err);
	if (status)
		return status;
	status = pv_lab_adopt_vm(lab, vm, err);
	*out = vm;
	pv_vm_unref(vm);
	return status;
}

static int make_sub(struct pv_lab *lab, const char *name, struct pv_lab **out, struct pv_err *err)
{
	struct pv_lab *scope = lab->scope;
	if (scope->made_subs.count >= PV_LAB_SUBS_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, ENOSPC,
		    "lab `%s`: one test file can have at most %d sub-labs at a time", name,
		    PV_LAB_SUBS_MAX);
	struct pv_lab *sub;
	int status = pv_lab_create_plain(&sub, lab->host, name, err);
	if (status)
		return status;
	sub->scope = scope;
	if (pv_lab_subs_add(&lab->subs, sub)) {
		status = pv_err_nomem(err, "lab");
	} else if (pv_lab_subs_add(&scope->made_subs, sub)) {
		pv_lab_subs_drop(&lab->subs, sub);
		status = pv_err_nomem(err, "lab");
	}
	*out = sub;
	pv_lab_unref(sub);
	return status;
}

int pv_lab_sub(struct pv_lab *lab, const char *name, struct pv_lab **out, struct pv_err *err)
{
	char number[32];
	if (!name) {
		do {
			snprintf(number, sizeof(number), "__lab_%u", lab->next_number++);
		} while (pv_lab_find_lab(lab, number));
		return make_sub(lab, number, out, err);
	}
	*out = pv_lab_sub_here(lab, name);
	if (*out)
		return 0;
	int status = pv_lab_check_sub_name(lab, name, err);
	return status ? status : make_sub(lab, name, out, err);
}

int pv_lab_include_vm(struct pv_lab *lab, struct pv_vm *vm, struct pv_err *err)
{
	int status = pv_lab_check_vm_name(lab, pv_vm_name(vm), err);
	if (!status && pv_lab_vms_add(&lab->vms, vm))
		status = pv_err_nomem(err, "lab");
	return status;
}

/* Whether `inner` is `lab` itself or somewhere inside of it, or `lab` encloses it. */
static int check_circle(struct pv_lab *lab, const struct pv_lab *inner, struct pv_err *err)
{
	struct pv_lab_tree tree;
	int status = pv_lab_tree_init(&tree, lab, err);
	bool found = false;
	for (const struct pv_lab *at = inner; at && !status; at = at->enclosing) {
		for (size_t i = 0; i < tree.lab_count; i++)
			found = found || tree.labs[i].lab == at;
	}
	pv_lab_tree_finish(&tree);
	if (found)
		status = pv_err_set(err, PV_ERR_INPUT, ELOOP,
		    "lab `%s` cannot be a member of lab `%s`, which is inside of it", lab->name,
		    inner->name);
	return status;
}

int pv_lab_include_lab(struct pv_lab *lab, struct pv_lab *other, struct pv_err *err)
{
	int status = check_circle(other, lab, err);
	if (!status)
		status = pv_lab_check_sub_name(lab, other->name, err);
	if (!status && pv_lab_subs_add(&lab->subs, other))
		status = pv_err_nomem(err, "lab");
	return status;
}

bool pv_lab_remove_vm(struct pv_lab *lab, const struct pv_vm *vm)
{
	return pv_lab_vms_drop(&lab->vms, vm);
}

bool pv_lab_remove_lab(struct pv_lab *lab, const struct pv_lab *other)
{
	return pv_lab_subs_drop(&lab->subs, other);
}
