/* Snapshots and baselines of the fake guests of fake_lab.h: names, states and files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lab/host.h"
#include "lab/snapshot.h"
#include "lab/vm.h"
#include "tests/unit/fake_guest.h"
#include "tests/unit/fake_template.h"
#include "vmm/template.h"

/* --- snapshots: a name, and the path if there is one --- */

struct pv_snapshot {
	char text[128];
	bool deleted;
};

int pv_vm_snapshot(struct pv_vm *vm, const char *path, struct pv_snapshot **out, struct pv_err *err)
{
	if (vm->state != PV_VM_BOOTED && vm->state != PV_VM_PAUSED)
		return pv_err_set(
		    err, PV_ERR_STATE, EBADFD, "vm `%s`: not booted (cannot snapshot)", vm->name);
	*out = calloc(1, sizeof(**out));
	snprintf((*out)->text, sizeof((*out)->text), "%s", path != NULL ? path : "/proc/fake");
	return 0;
}

static int restore(struct pv_vm *vm, const char *path, bool clock_now, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (vm->state != PV_VM_CREATED && vm->state != PV_VM_SHUTDOWN)
		return pv_err_set(err, PV_ERR_STATE, EBADFD,
		    "vm `%s`: already booted (cannot restore)", vm->name);
	if (strcmp(path, "/nowhere") == 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "vm `%s`: cannot restore: snapshot `%s`: not there", vm->name, path);
	vm->state = PV_VM_BOOTED;
	return pv_bytes_printf(&fake->console, "restored from %s%s", path, clock_now ? " now" : "");
}

int pv_vm_restore(
    struct pv_vm *vm, struct pv_snapshot *snapshot, bool clock_now, struct pv_err *err)
{
	return restore(vm, snapshot->deleted ? "/nowhere" : snapshot->text, clock_now, err);
}

int pv_vm_restore_file(struct pv_vm *vm, const char *path, bool clock_now, struct pv_err *err)
{
	return restore(vm, path, clock_now, err);
}

int pv_vm_create_like(
    struct pv_vm **out, const char *name, const struct pv_vm *parent, struct pv_err *err)
{
	return pv_vm_create(out, parent->host, name, parent->profile, &parent->created_with, err);
}

int pv_vm_restore_like(
    struct pv_vm *vm, const struct pv_vm *parent, struct pv_snapshot *snapshot, struct pv_err *err)
{
	const char *append = vm->created_with.kernel_cmdline_append;
	if (append != NULL && strcmp(append, "third fails") == 0 && strchr(vm->name, '3') != NULL)
		return pv_err_set(err, PV_ERR_SYSTEM, EMFILE, "vm `%s`: no more", vm->name);
	return restore(vm, parent->name, false, err);
}

void pv_snapshot_destroy(struct pv_snapshot *snapshot)
{
	free(snapshot);
}

int pv_snapshot_path(struct pv_snapshot *snapshot, const char **path, struct pv_err *err)
{
	*path = snapshot->text;
	return 0;
}

int pv_snapshot_size(struct pv_snapshot *snapshot, uint64_t *size, struct pv_err *err)
{
	*size = snapshot->deleted ? 0 : 4096;
	return 0;
}

int pv_snapshot_delete(struct pv_snapshot *snapshot, struct pv_err *err)
{
	snapshot->deleted = true;
	return 0;
}

/* --- baselines: the state and the files --- */

struct pv_vm_baseline {
	struct pv_vm *vm;
	enum pv_vm_state state;
	struct fake_file *files;
	size_t file_count;
};

static void copy_files(
    struct fake_file **to, size_t *to_count, const struct fake_file *from, size_t count)
{
	for (size_t i = 0; i < *to_count; i++) {
		free((*to)[i].path);
		pv_bytes_finish(&(*to)[i].content);
	}
	free(*to);
	*to = count > 0 ? calloc(count, sizeof(**to)) : NULL;
	*to_count = count;
	for (size_t i = 0; i < count; i++) {
		(*to)[i] = (struct fake_file){.path = strdup(from[i].path), .mode = from[i].mode};
		pv_bytes_append(&(*to)[i].content, from[i].content.data, from[i].content.len);
	}
}

int pv_vm_baseline_create(
    struct pv_vm_baseline **out, struct pv_vm *vm, struct pv_template *template, struct pv_err *err)
{
	const struct pv_agent *agent = &((struct fake_vm *)vm)->agent;
	*out = calloc(1, sizeof(**out));
	**out = (struct pv_vm_baseline){.vm = pv_vm_ref(vm), .state = vm->state};
	copy_files(&(*out)->files, &(*out)->file_count, agent->files, agent->file_count);
	return 0;
}

void pv_vm_baseline_destroy(struct pv_vm_baseline *baseline)
{
	if (baseline == NULL)
		return;
	copy_files(&baseline->files, &baseline->file_count, NULL, 0);
	pv_vm_unref(baseline->vm);
	free(baseline);
}

struct pv_vm *pv_vm_baseline_vm(const struct pv_vm_baseline *baseline)
{
	return baseline->vm;
}

int pv_vm_baseline_prepare(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	if (strstr(baseline->vm->name, "unprepared") != NULL)
		return pv_err_set(err, PV_ERR_SYSTEM, EIO,
		    "vm `%s`: cannot go back to its baseline: no room", baseline->vm->name);
	fake_template_note("prepare", baseline->vm->name);
	return 0;
}

void pv_vm_baseline_stay(struct pv_vm_baseline *baseline)
{
	fake_template_note("stay", baseline->vm->name);
}

int pv_vm_baseline_return(struct pv_vm_baseline *baseline, bool clock_now, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)baseline->vm;
	struct pv_agent *agent = &fake->agent;
	if (agent->file_count > 0 && strcmp(agent->files[0].path, "/stuck") == 0) {
		fake->vm.state = PV_VM_DEAD;
		copy_files(&agent->files, &agent->file_count, NULL, 0);
		return pv_err_set(err, PV_ERR_GUEST, EIO, "vm `%s`: is stuck", fake->vm.name);
	}
	if (strstr(fake->vm.name, "unreturned") != NULL) {
		fake->vm.state = PV_VM_DEAD;
		return pv_err_set(err, PV_ERR_SYSTEM, EIO,
		    "vm `%s`: cannot go back to its baseline", fake->vm.name);
	}
	fake_template_note(clock_now ? "back now" : "back", fake->vm.name);
	fake->vm.state = baseline->state;
	copy_files(&agent->files, &agent->file_count, baseline->files, baseline->file_count);
	pv_bytes_printf(&fake->console, "rewound\r\n");
	return 0;
}

int pv_vm_baseline_go(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	fake_template_note("go", baseline->vm->name);
	return 0;
}
