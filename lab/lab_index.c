/*
 * The index of a saved lab in memory. Theory: two lists of places, each with the place that it is
 * in, so that paths of any depth need no recursion and no second copy of their parts. One place of
 * each VM holds the guest; further ones point to it. The file form is in lab/lab_index_json.c.
 *
 * Names of files are paths with _ for /, which is not unique (`a_b` and `b` in `a`), so a number is
 * added where it has to be.
 */
#include "lab/lab_index.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/utf8.h"

/* Of the path that goes into a file name; with number and ending it stays below NAME_MAX. */
#define FILE_PATH_MAX 200

void pv_lab_index_finish(struct pv_lab_index *index)
{
	for (size_t i = 0; i < index->lab_count; i++)
		free(index->labs[i].name);
	for (size_t i = 0; i < index->vm_count; i++) {
		free(index->vms[i].name);
		free(index->vms[i].profile);
		free(index->vms[i].file);
	}
	free(index->labs);
	free(index->vms);
	*index = (struct pv_lab_index){0};
}

static int check_name(const char *kind, const char *name, struct pv_err *err)
{
	size_t len = strlen(name);
	if (len == 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "a %s has an empty name", kind);
	if (len > PV_LAB_INDEX_NAME_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, ENAMETOOLONG,
		    "the %s `%.64s...` has a name longer than %d bytes", kind, name,
		    PV_LAB_INDEX_NAME_MAX);
	if (!pv_utf8_is_valid(name, len))
		return pv_err_set(err, PV_ERR_INPUT, EILSEQ,
		    "the name of a %s is not UTF-8 text and cannot be saved; choose another one",
		    kind);
	return 0;
}

int pv_lab_index_add_lab(
    struct pv_lab_index *index, const char *name, size_t parent, size_t first, struct pv_err *err)
{
	int status = check_name("lab", name, err);
	if (status)
		return status;
	if (index->lab_count == PV_LAB_INDEX_LABS_MAX)
		return pv_err_set(
		    err, PV_ERR_LIMIT, ENOSPC, "more than %d labs", PV_LAB_INDEX_LABS_MAX);
	for (size_t i = 1; i < index->lab_count; i++) {
		if (index->labs[i].parent == parent && strcmp(index->labs[i].name, name) == 0)
			return pv_err_set(
			    err, PV_ERR_INPUT, EEXIST, "two labs `%s` in one place", name);
	}
	struct pv_lab_index_lab *grown =
	    reallocarray(index->labs, index->lab_count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "lab");
	index->labs = grown;
	grown[index->lab_count] = (struct pv_lab_index_lab){.name = strdup(name),
	    .parent = parent,
	    .first = first == SIZE_MAX ? index->lab_count : first};
	if (!grown[index->lab_count].name)
		return pv_err_nomem(err, "lab");
	index->lab_count++;
	return 0;
}

int pv_lab_index_add_vm(
    struct pv_lab_index *index, const char *name, size_t parent, size_t first, struct pv_err *err)
{
	int status = check_name("VM", name, err);
	if (status)
		return status;
	if (index->vm_count == PV_LAB_INDEX_VMS_MAX)
		return pv_err_set(
		    err, PV_ERR_LIMIT, ENOSPC, "more than %d VMs", PV_LAB_INDEX_VMS_MAX);
	for (size_t i = 0; i < index->vm_count; i++) {
		if (index->vms[i].parent == parent && strcmp(index->vms[i].name, name) == 0)
			return pv_err_set(
			    err, PV_ERR_INPUT, EEXIST, "two VMs `%s` in one place", name);
	}
	struct pv_lab_index_vm *grown =
	    reallocarray(index->vms, index->vm_count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "lab");
	index->vms = grown;
	grown[index->vm_count] = (struct pv_lab_index_vm){.name = strdup(name),
	    .parent = parent,
	    .first = first == SIZE_MAX ? index->vm_count : first};
	if (!grown[index->vm_count].name)
		return pv_err_nomem(err, "lab");
	index->vm_count++;
	return 0;
}

/* --- paths --- */

int pv_lab_index_lab_path(const struct pv_lab_index *index, size_t lab, struct pv_bytes *out)
{
	size_t depth = 0;
	for (size_t at = lab; at != 0; at = index->labs[at].parent)
		depth++;
	for (size_t left = depth; left > 0; left--) {
		size_t at = lab;
		for (size_t up = 1; up < left; up++)
			at = index->labs[at].parent;
		if (pv_bytes_printf(out, "%s%s", left < depth ? "/" : "", index->labs[at].name))
			return -ENOMEM;
	}
	return 0;
}

int pv_lab_index_vm_path(const struct pv_lab_index *index, size_t vm, struct pv_bytes *out)
{
	const struct pv_lab_index_vm *place = &index->vms[vm];
	int status = pv_lab_index_lab_path(index, place->parent, out);
	if (status)
		return status;
	return pv_bytes_printf(out, "%s%s", place->parent ? "/" : "", place->name);
}

/* --- guests --- */

static bool is_taken(const struct pv_lab_index *index, const char *file)
{
	for (size_t i = 0; i < index->vm_count; i++) {
		if (index->vms[i].file && strcmp(index->vms[i].file, file) == 0)
			return true;
	}
	return false;
}

/* Makes "dc1_rack_name.snap", or "dc1_rack_name-2.snap" and so on. */
static int name_file(struct pv_lab_index *index, size_t vm)
{
	struct pv_bytes path = {0}, file = {0};
	const char *text = NULL;
	int status = pv_lab_index_vm_path(index, vm, &path);
	size_t len = path.len < FILE_PATH_MAX ? path.len : FILE_PATH_MAX;
	/* Not in the middle of a character. */
	while (len < path.len && len > 0 && (path.data[len] & 0xc0) == 0x80)
		len--;
	for (size_t i = 0; i < len && !status; i++) {
		if (path.data[i] == '/')
			path.data[i] = '_';
	}
	for (unsigned number = 1; !status && (!text || is_taken(index, text)); number++) {
		file.len = 0;
		status = pv_bytes_append(&file, path.data, len);
		if (!status && number > 1)
			status = pv_bytes_printf(&file, "-%u", number);
		if (!status)
			status = pv_bytes_printf(&file, ".snap");
		text = status ? NULL : pv_bytes_text(&file);
		if (!text)
			status = -ENOMEM;
	}
	if (!status && !(index->vms[vm].file = strdup(text)))
		status = -ENOMEM;
	pv_bytes_finish(&path);
	pv_bytes_finish(&file);
	return status;
}

int pv_lab_index_set_guest(struct pv_lab_index *index, size_t vm, const char *profile,
    uint64_t memory, unsigned cpus, struct pv_err *err)
{
	struct pv_lab_index_vm *place = &index->vms[vm];
	int status = check_name("profile", profile, err);
	if (status)
		return status;
	place->memory = memory;
	place->cpus = cpus;
	place->profile = strdup(profile);
	return place->profile && name_file(index, vm) == 0 ? 0 : pv_err_nomem(err, "lab");
}
