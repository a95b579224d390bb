/*
 * Labs. Theory: a list of VMs in creation order with one reference each, and a pointer to the
 * enclosing scope. Lists are short, so names are found by walking. Closing is protected: one VM
 * that is hard to stop does not keep the others.
 */
#include "lab/lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lab/snapshot.h"
#include "lab/vm_private.h"

struct pv_lab {
	struct pv_host *host;
	struct pv_lab *enclosing;
	char *name;
	struct pv_vm **vms;
	size_t vm_count;
};

int pv_lab_create(struct pv_lab **out, struct pv_host *host, const char *name,
    struct pv_lab *enclosing, struct pv_err *err)
{
	struct pv_lab *lab = calloc(1, sizeof(*lab));
	if (!lab || !(lab->name = strdup(name))) {
		free(lab);
		return pv_err_nomem(err, "lab");
	}
	lab->host = host;
	lab->enclosing = enclosing;
	*out = lab;
	return 0;
}

void pv_lab_close(struct pv_lab *lab)
{
	for (size_t i = 0; i < lab->vm_count; i++) {
		pv_vm_shutdown(lab->vms[i]);
		pv_vm_unref(lab->vms[i]);
	}
	free(lab->vms);
	lab->vms = NULL;
	lab->vm_count = 0;
}

void pv_lab_destroy(struct pv_lab *lab)
{
	if (!lab)
		return;
	pv_lab_close(lab);
	free(lab->name);
	free(lab);
}

const char *pv_lab_name(const struct pv_lab *lab)
{
	return lab->name;
}

static struct pv_vm *find_here(const struct pv_lab *lab, const char *name)
{
	for (size_t i = 0; i < lab->vm_count; i++) {
		if (strcmp(pv_vm_name(lab->vms[i]), name) == 0)
			return lab->vms[i];
	}
	return NULL;
}

struct pv_vm *pv_lab_find_vm(const struct pv_lab *lab, const char *name)
{
	struct pv_vm *vm = NULL;
	for (; lab && !vm; lab = lab->enclosing)
		vm = find_here(lab, name);
	return vm;
}

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

static int check_name(const struct pv_lab *lab, const char *name, struct pv_err *err)
{
	if (!*name)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "vm name is empty; give it a name");
	if (is_reserved(name))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "vm name `%s` is reserved; choose another one", name);
	if (find_here(lab, name))
		return pv_err_set(
		    err, PV_ERR_INPUT, EEXIST, "vm name `%s` already used in this lab", name);
	for (const struct pv_lab *outer = lab->enclosing; outer; outer = outer->enclosing) {
		if (find_here(outer, name))
			return pv_err_set(err, PV_ERR_INPUT, EEXIST,
			    "vm `%s`: name already declared at a parent scope (lab `%s`); use "
			    "provium:vm(\"%s\") to look it up",
			    name, outer->name, name);
	}
	return 0;
}

int pv_lab_add_vm(struct pv_lab *lab, const char *name, const char *profile_name,
    const struct pv_options *options, struct pv_vm **out, struct pv_err *err)
{
	int status = check_name(lab, name, err);
	if (status)
		return status;
	const struct pv_profile *profile = pv_config_profile(lab->host->config, profile_name);
	if (!profile)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "profile `%s` not in provium.toml (read: %s)", profile_name,
		    lab->host->config->path
			? lab->host->config->path
			: "no provium.toml was found; `provium init` writes one");
	struct pv_vm **grown = reallocarray(lab->vms, lab->vm_count + 1, sizeof(struct pv_vm *));
	if (!grown)
		return pv_err_nomem(err, "lab");
	lab->vms = grown;
	status = pv_vm_create(&lab->vms[lab->vm_count], lab->host, name, profile, options, err);
	if (status)
		return status;
	*out = lab->vms[lab->vm_count++];
	return 0;
}

/* Sets the first free name of a copy, from number `*next` on. */
static int name_copy(const struct pv_lab *lab, const struct pv_vm *parent, unsigned *next,
    struct pv_bytes *name, struct pv_err *err)
{
	do {
		pv_bytes_finish(name);
		if (pv_bytes_printf(name, "%s#%u", pv_vm_name(parent), (*next)++) ||
		    !pv_bytes_text(name))
			return pv_err_nomem(err, "vm name");
	} while (pv_lab_find_vm(lab, pv_bytes_text(name)));
	return 0;
}

static int add_copy(struct pv_lab *lab, const struct pv_vm *parent, struct pv_snapshot *snapshot,
    unsigned *next, struct pv_err *err)
{
	struct pv_vm **grown = reallocarray(lab->vms, lab->vm_count + 1, sizeof(struct pv_vm *));
	if (!grown)
		return pv_err_nomem(err, "lab");
	lab->vms = grown;
	struct pv_bytes name = {0};
	struct pv_vm *vm = NULL;
	int status = name_copy(lab, parent, next, &name, err);
	if (!status)
		status = pv_vm_create_like(&vm, pv_bytes_text(&name), parent, err);
	pv_bytes_finish(&name);
	if (!status)
		status = pv_vm_restore_like(vm, parent, snapshot, err);
	if (status)
		pv_vm_unref(vm);
	else
		lab->vms[lab->vm_count++] = vm;
	return status;
}

int pv_lab_fork_vm(struct pv_lab *lab, struct pv_vm *parent, unsigned count, struct pv_err *err)
{
	struct pv_snapshot *snapshot = NULL;
	const size_t before = lab->vm_count;
	unsigned next = 1;
	int status = pv_vm_snapshot(parent, NULL, &snapshot, err);
	for (unsigned i = 0; i < count && !status; i++)
		status = add_copy(lab, parent, snapshot, &next, err);
	while (status && lab->vm_count > before) {
		struct pv_vm *vm = lab->vms[--lab->vm_count];
		pv_vm_shutdown(vm);
		pv_vm_unref(vm);
	}
	pv_snapshot_destroy(snapshot);
	return status;
}

size_t pv_lab_vm_count(const struct pv_lab *lab)
{
	return lab->vm_count;
}

struct pv_vm *pv_lab_vm_at(const struct pv_lab *lab, size_t index)
{
	return index < lab->vm_count ? lab->vms[index] : NULL;
}

/* Adds "<vm>: <error>" to the report of a batch. */
static void add_failure(
    struct pv_bytes *report, const struct pv_vm *vm, const struct pv_err *failure)
{
	/* Out of memory shortens the report, the failure itself is not lost. */
	(void)pv_bytes_printf(
	    report, "%s%s: %s", report->len ? ", " : "", pv_vm_name(vm), failure->text);
}

int pv_lab_boot(struct pv_lab *lab, struct pv_err *err)
{
	struct pv_bytes report = {0};
	unsigned failures = 0;
	bool *begun = calloc(lab->vm_count + 1, sizeof(*begun));
	if (!begun)
		return pv_err_nomem(err, "batch boot");
	for (size_t i = 0; i < lab->vm_count; i++) {
		struct pv_err failure = PV_ERR_INIT;
		if (pv_vm_state(lab->vms[i]) != PV_VM_CREATED)
			continue;
		begun[i] = pv_vm_boot_begin(lab->vms[i], NULL, &failure) == 0;
		if (!begun[i])
			failures++, add_failure(&report, lab->vms[i], &failure);
	}
	for (size_t i = 0; i < lab->vm_count; i++) {
		struct pv_err failure = PV_ERR_INIT;
		if (begun[i] && pv_vm_boot_wait(lab->vms[i], &failure))
			failures++, add_failure(&report, lab->vms[i], &failure);
	}
	free(begun);
	int status = 0;
	if (failures)
		status = pv_err_set(err, PV_ERR_GUEST, EIO, "batch `boot` failed: {%.*s}",
		    (int)report.len, (const char *)report.data);
	pv_bytes_finish(&report);
	return status;
}
