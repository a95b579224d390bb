/*
 * Labs and the life of scopes. Theory: members are short lists in the order in which they came, so
 * names are found by walking. What a scope has to close stands in lists of its own, apart from the
 * members, because a script may move members about as it likes.
 *
 * Closing a scope shuts down first and forgets afterwards, so that one VM that is hard to stop does
 * not keep the others, and takes what was of the scope out of labs of enclosing scopes: what is
 * closed is never a member of what is not. All labs of a scope are on one list, so nothing here
 * needs recursion, however deep a script nests.
 *
 * Members come and go in lab/lab_members.c, copies of VMs are made in lab/lab_fork.c, batches in
 * lab/lab_batch.c, saved labs are lab/lab_snapshot.h. Script thread.
 */
#include "lab/lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lab/lab_private.h"
#include "lab/vm.h"

/* --- lists --- */

int pv_lab_vms_add(struct pv_lab_vms *vms, struct pv_vm *vm)
{
	struct pv_vm **grown = reallocarray(vms->items, vms->count + 1, sizeof(struct pv_vm *));
	if (!grown)
		return -ENOMEM;
	vms->items = grown;
	vms->items[vms->count++] = pv_vm_ref(vm);
	return 0;
}

bool pv_lab_vms_drop(struct pv_lab_vms *vms, const struct pv_vm *vm)
{
	for (size_t i = 0; i < vms->count; i++) {
		if (vms->items[i] != vm)
			continue;
		struct pv_vm *found = vms->items[i];
		memmove(&vms->items[i], &vms->items[i + 1],
		    (--vms->count - i) * sizeof(struct pv_vm *));
		pv_vm_unref(found);
		return true;
	}
	return false;
}

void pv_lab_vms_finish(struct pv_lab_vms *vms)
{
	for (size_t i = 0; i < vms->count; i++)
		pv_vm_unref(vms->items[i]);
	free(vms->items);
	*vms = (struct pv_lab_vms){0};
}

int pv_lab_subs_add(struct pv_lab_subs *subs, struct pv_lab *lab)
{
	struct pv_lab **grown = reallocarray(subs->items, subs->count + 1, sizeof(struct pv_lab *));
	if (!grown)
		return -ENOMEM;
	subs->items = grown;
	subs->items[subs->count++] = pv_lab_ref(lab);
	return 0;
}

bool pv_lab_subs_drop(struct pv_lab_subs *subs, const struct pv_lab *lab)
{
	for (size_t i = 0; i < subs->count; i++) {
		if (subs->items[i] != lab)
			continue;
		struct pv_lab *found = subs->items[i];
		memmove(&subs->items[i], &subs->items[i + 1],
		    (--subs->count - i) * sizeof(struct pv_lab *));
		pv_lab_unref(found);
		return true;
	}
	return false;
}

void pv_lab_subs_finish(struct pv_lab_subs *subs)
{
	for (size_t i = 0; i < subs->count; i++)
		pv_lab_unref(subs->items[i]);
	free(subs->items);
	*subs = (struct pv_lab_subs){0};
}

/* --- life --- */

int pv_lab_create_plain(
    struct pv_lab **out, struct pv_host *host, const char *name, struct pv_err *err)
{
	struct pv_lab *lab = calloc(1, sizeof(*lab));
	*out = NULL;
	if (!lab || !(lab->name = strdup(name))) {
		free(lab);
		return pv_err_nomem(err, "lab");
	}
	lab->references = 1;
	lab->host = host;
	*out = lab;
	return 0;
}

int pv_lab_create(struct pv_lab **out, struct pv_host *host, const char *name,
    struct pv_lab *enclosing, struct pv_err *err)
{
	int status = pv_lab_create_plain(out, host, name, err);
	if (status)
		return status;
	(*out)->enclosing = enclosing;
	(*out)->scope = *out;
	return 0;
}

struct pv_lab *pv_lab_ref(struct pv_lab *lab)
{
	lab->references++;
	return lab;
}

void pv_lab_unref(struct pv_lab *lab)
{
	if (!lab || --lab->references)
		return;
	pv_lab_vms_finish(&lab->vms);
	pv_lab_subs_finish(&lab->subs);
	pv_barriers_finish(&lab->barriers);
	free(lab->name);
	free(lab);
}

static void forget(struct pv_lab *lab, const struct pv_lab *closing)
{
	for (size_t i = 0; i < closing->made_vms.count; i++)
		pv_lab_vms_drop(&lab->vms, closing->made_vms.items[i]);
	for (size_t i = 0; i < closing->made_subs.count; i++)
		pv_lab_subs_drop(&lab->subs, closing->made_subs.items[i]);
	pv_lab_subs_drop(&lab->subs, closing);
}

void pv_lab_empty(struct pv_lab *lab)
{
	pv_lab_vms_finish(&lab->vms);
	pv_lab_subs_finish(&lab->subs);
	lab->scope = NULL;
}

void pv_lab_close(struct pv_lab *lab)
{
	if (!lab->scope)
		return;
	for (size_t i = 0; i < lab->made_vms.count; i++)
		pv_vm_shutdown(lab->made_vms.items[i]);
	for (struct pv_lab *outer = lab->enclosing; outer; outer = outer->enclosing) {
		forget(outer, lab);
		for (size_t i = 0; i < outer->made_subs.count; i++)
			forget(outer->made_subs.items[i], lab);
	}
	for (size_t i = 0; i < lab->made_subs.count; i++)
		pv_lab_empty(lab->made_subs.items[i]);
	pv_lab_empty(lab);
	pv_lab_vms_finish(&lab->made_vms);
	pv_lab_subs_finish(&lab->made_subs);
	lab->enclosing = NULL;
}

void pv_lab_destroy(struct pv_lab *lab)
{
	if (!lab)
		return;
	pv_lab_close(lab);
	pv_lab_unref(lab);
}

/* --- questions --- */

const char *pv_lab_name(const struct pv_lab *lab)
{
	return lab->name;
}

struct pv_host *pv_lab_host(const struct pv_lab *lab)
{
	return lab->host;
}

bool pv_lab_is_closed(const struct pv_lab *lab)
{
	return !lab->scope;
}

struct pv_barriers *pv_lab_barriers(struct pv_lab *lab)
{
	return &lab->barriers;
}

size_t pv_lab_vm_count(const struct pv_lab *lab)
{
	return lab->vms.count;
}

struct pv_vm *pv_lab_vm_at(const struct pv_lab *lab, size_t index)
{
	return index < lab->vms.count ? lab->vms.items[index] : NULL;
}

size_t pv_lab_sub_count(const struct pv_lab *lab)
{
	return lab->subs.count;
}

struct pv_lab *pv_lab_sub_at(const struct pv_lab *lab, size_t index)
{
	return index < lab->subs.count ? lab->subs.items[index] : NULL;
}

size_t pv_lab_made_count(const struct pv_lab *lab)
{
	return lab->made_vms.count;
}

struct pv_vm *pv_lab_made_at(const struct pv_lab *lab, size_t index)
{
	return index < lab->made_vms.count ? lab->made_vms.items[index] : NULL;
}
