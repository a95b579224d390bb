/*
 * Saved labs. Theory: a lab is saved in memory: the index says what there was, and each guest is a
 * template, which costs next to nothing as long as nobody wants to see a file. All guests stand
 * still before the first is frozen and go on after the last was, so what they said to each other is
 * either in all of them or in none. Freezing, which may have to copy, is done by several threads.
 *
 * Each guest has its VM's baseline, too: the VM that was saved can go back in place, and is known
 * by it. Files are lab/lab_snapshot_file.c, the path of one in memory is
 * lab/lab_snapshot_directory.c, restoring is lab/lab_restore.c. Script thread.
 */
#include "lab/lab_snapshot.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "lab/crew.h"
#include "lab/lab.h"
#include "lab/lab_snapshot_private.h"
#include "lab/lab_tree.h"
#include "lab/vm.h"
#include "lab/vm_private.h"
#include "vmm/template.h"

/* --- life --- */

struct pv_lab_snapshot *pv_lab_snapshot_new(struct pv_err *err)
{
	struct pv_lab_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	if (snapshot)
		snapshot->filesystem = -1;
	else
		pv_err_nomem(err, "snapshot of a lab");
	return snapshot;
}

int pv_lab_snapshot_make_room(struct pv_lab_snapshot *snapshot, struct pv_err *err)
{
	snapshot->guests = calloc(snapshot->index.vm_count + 1, sizeof(*snapshot->guests));
	return snapshot->guests ? 0 : pv_err_nomem(err, "snapshot of a lab");
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
	(void)info, (void)kind, (void)ftw;
	return remove(path) < 0 && errno != ENOENT ? errno : 0;
}

int pv_lab_snapshot_remove(const char *directory)
{
	int status = nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (status < 0)
		status = errno == ENOENT ? 0 : errno;
	return -status;
}

static void forget_guests(struct pv_lab_snapshot *snapshot)
{
	for (size_t i = 0; snapshot->guests && i < snapshot->index.vm_count; i++) {
		struct pv_lab_guest *guest = &snapshot->guests[i];
		pv_template_unref(guest->template);
		pv_vm_baseline_destroy(guest->baseline);
		*guest = (struct pv_lab_guest){0};
	}
}

void pv_lab_snapshot_destroy(struct pv_lab_snapshot *snapshot)
{
	if (!snapshot)
		return;
	if (snapshot->temporary)
		(void)pv_lab_snapshot_remove(snapshot->directory); /* nobody to tell */
	pv_fd_close(&snapshot->filesystem);
	forget_guests(snapshot);
	free(snapshot->guests);
	free(snapshot->directory);
	pv_lab_index_finish(&snapshot->index);
	free(snapshot);
}

size_t pv_lab_snapshot_vm_count(const struct pv_lab_snapshot *snapshot)
{
	size_t count = 0;
	for (size_t i = 0; i < snapshot->index.vm_count; i++)
		count += snapshot->index.vms[i].first == i;
	return count;
}

int pv_lab_outcome_first(const struct pv_lab_outcome *outcomes, size_t count, struct pv_err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (!outcomes[i].status)
			continue;
		*err = outcomes[i].err;
		return outcomes[i].status;
	}
	return 0;
}

/* --- taking --- */

/* Places in the tree and in the index have the same numbers. */
struct taking {
	struct pv_lab_tree tree;
	struct pv_lab_snapshot *snapshot;
	struct pv_lab_outcome *outcomes;
};

/* Why VMs cannot be saved, a line for each. */
struct obstacles {
	struct pv_bytes lines;
	unsigned streams;
	unsigned idle;
};

/* Out of memory shortens the report, the refusal itself is not lost. */
static void look_at(struct obstacles *found, const struct pv_lab_tree *tree, size_t index)
{
	struct pv_vm *vm = tree->vms[index].vm;
	const enum pv_vm_state state = pv_vm_state(vm);
	const bool runs = state == PV_VM_BOOTED || state == PV_VM_PAUSED;
	const unsigned streams = pv_vm_open_streams(vm);
	if (runs && streams == 0)
		return;
	(void)pv_bytes_printf(&found->lines, "%svm `", found->lines.len ? "\n" : "");
	(void)pv_lab_tree_path(tree, index, &found->lines);
	if (runs) {
		(void)pv_bytes_printf(&found->lines, "`: %u stream(s) open", streams);
		found->streams += streams;
	} else {
		(void)pv_bytes_printf(
		    &found->lines, "` is %s, not booted", pv_vm_state_name(state));
		found->idle++;
	}
}

/* Says which VMs cannot be saved, all of them. */
static int check_states(const struct pv_lab_tree *tree, struct pv_err *err)
{
	struct obstacles found = {0};
	int status = 0;
	for (size_t i = 0; i < tree->vm_count; i++) {
		if (tree->vms[i].first == i)
			look_at(&found, tree, i);
	}
	const char *lines = pv_bytes_text(&found.lines);
	if (found.idle)
		status = pv_err_set(err, PV_ERR_STATE, EBADFD,
		    "%s (cannot snapshot); boot all VMs of the lab first, or take these out with "
		    "lab:remove",
		    lines ? lines : "a VM is not booted");
	else if (found.streams)
		status = pv_err_set(err, PV_ERR_STATE, EBUSY,
		    "%u stream(s) still open\n%s\nclose streams before the snapshot", found.streams,
		    lines ? lines : "");
	pv_bytes_finish(&found.lines);
	return status;
}

static int list_members(struct taking *taking, struct pv_err *err)
{
	struct pv_lab_index *index = &taking->snapshot->index;
	const struct pv_lab_tree *tree = &taking->tree;
	int status = 0;
	for (size_t i = 0; i < tree->lab_count && !status; i++)
		status = pv_lab_index_add_lab(index, pv_lab_name(tree->labs[i].lab),
		    tree->labs[i].parent, tree->labs[i].first, err);
	for (size_t i = 0; i < tree->vm_count && !status; i++) {
		const struct pv_lab_tree_vm *place = &tree->vms[i];
		status = pv_lab_index_add_vm(
		    index, pv_vm_name(place->vm), place->parent, place->first, err);
		if (!status && place->first == i)
			status = pv_lab_index_set_guest(index, i, pv_vm_profile(place->vm),
			    pv_vm_memory(place->vm), pv_vm_cpus(place->vm), err);
	}
	return status;
}

/* Any thread. */
static void freeze_one(void *ctx, size_t index)
{
	struct taking *taking = ctx;
	const struct pv_lab_tree_vm *place = &taking->tree.vms[index];
	struct pv_lab_outcome *outcome = &taking->outcomes[index];
	if (place->first == index)
		outcome->status = pv_vm_save_freeze(
		    place->vm, &taking->snapshot->guests[index].template, &outcome->err);
}

/* All guests stand still. */
static int freeze_all(struct taking *taking, struct pv_err *err)
{
	const struct pv_lab_tree *tree = &taking->tree;
	pv_crew_run(tree->vm_count, freeze_one, taking);
	int status = pv_lab_outcome_first(taking->outcomes, tree->vm_count, err);
	for (size_t i = 0; i < tree->vm_count && !status; i++) {
		struct pv_lab_guest *guest = &taking->snapshot->guests[i];
		if (tree->vms[i].first == i)
			status = pv_vm_baseline_create(
			    &guest->baseline, tree->vms[i].vm, guest->template, err);
	}
	return status;
}

/* Each VM once. */
static int save(struct taking *taking, struct pv_err *err)
{
	const struct pv_lab_tree *tree = &taking->tree;
	struct pv_err later = PV_ERR_INIT;
	size_t begun = 0;
	int status = 0, resumed = 0;
	while (begun < tree->vm_count && !status) {
		if (tree->vms[begun].first == begun)
			status = pv_vm_save_begin(tree->vms[begun].vm, err);
		begun += !status;
	}
	if (!status)
		status = freeze_all(taking, err);
	for (size_t i = 0; i < begun; i++) {
		if (tree->vms[i].first != i)
			continue;
		struct pv_err failure = PV_ERR_INIT;
		int code = pv_vm_save_end(tree->vms[i].vm, &failure);
		if (code && !resumed) {
			resumed = code;
			later = failure;
		}
	}
	if (!status && resumed) {
		*err = later;
		status = resumed;
	}
	return status;
}

int pv_lab_snapshot_take(struct pv_lab_snapshot **out, struct pv_lab *lab, struct pv_err *err)
{
	struct taking taking = {.snapshot = pv_lab_snapshot_new(err)};
	*out = NULL;
	if (!taking.snapshot)
		return -ENOMEM;
	int status = pv_lab_tree_init(&taking.tree, lab, err);
	if (!status)
		status = check_states(&taking.tree, err);
	if (!status)
		status = list_members(&taking, err);
	if (!status)
		status = pv_lab_snapshot_make_room(taking.snapshot, err);
	if (!status) {
		taking.outcomes = calloc(taking.tree.vm_count + 1, sizeof(*taking.outcomes));
		status = taking.outcomes ? save(&taking, err) : pv_err_nomem(err, "lab");
	}
	free(taking.outcomes);
	pv_lab_tree_finish(&taking.tree);
	if (status)
		pv_lab_snapshot_destroy(taking.snapshot);
	else
		*out = taking.snapshot;
	return status;
}

int pv_lab_snapshot_delete(struct pv_lab_snapshot *snapshot, struct pv_err *err)
{
	if (snapshot->deleted)
		return 0;
	if (snapshot->directory && snapshot->filesystem < 0) {
		int status = pv_lab_snapshot_remove(snapshot->directory);
		if (status)
			return pv_err_system(
			    err, -status, "directory `%s`: cannot be deleted", snapshot->directory);
	}
	pv_fd_close(&snapshot->filesystem);
	snapshot->temporary = false;
	snapshot->deleted = true;
	forget_guests(snapshot);
	return 0;
}
