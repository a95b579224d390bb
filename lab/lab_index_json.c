/*
 * lab.json. Theory:
 *
 *   {"version": 1, "name": "provium",
 *    "labs": [{"path": ["dc1"]},
 *             {"path": ["dc2", "dc1"], "same_as": ["dc1"]}],
 *    "vms": [{"vm_name": "dc1/web", "path": ["dc1", "web"], "profile": "linux",
 *             "snapshot_path": "dc1_web.snap", "memory": 536870912, "cpus": 1, "disks": []},
 *            {"vm_name": "web", "path": ["web"], "same_as": ["dc1", "web"]}],
 *    "bridges": []}
 *
 * A name may have a / in it, so `path` says what `vm_name` cannot; without a path vm_name is split.
 * Labs on the way to a VM need not be listed. Keys that are not known are passed over; what this
 * version could not restore (a newer version, bridges, disks) is refused, for a lab that lacks
 * something is worse than none.
 *
 * All of it is hostile: types, lengths, counts and names are checked, and a file is a plain name,
 * so that nothing leads out of the directory. Whatever is listed as the same must stand before, so
 * there are no circles of it. Arrays nest two deep, and nothing here recurses.
 */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/json.h"
#include "lab/lab_index.h"

#define FILE_NAME_MAX 255
#define MEMORY_MAX    (INT64_C(1) << 46)
#define CPUS_MAX      4096
#define DEPTH_MAX     PV_LAB_INDEX_LABS_MAX

/* --- writing --- */

/* An array of the labs on the way, and `last` unless it is NULL. */
static void write_path(
    struct pv_json *json, const struct pv_lab_index *index, size_t lab, const char *last)
{
	size_t depth = 0;
	for (size_t at = lab; at != 0; at = index->labs[at].parent)
		depth++;
	pv_json_array_begin(json);
	for (; depth > 0; depth--) {
		size_t at = lab;
		for (size_t up = 1; up < depth; up++)
			at = index->labs[at].parent;
		pv_json_str(json, index->labs[at].name);
	}
	if (last)
		pv_json_str(json, last);
	pv_json_array_end(json);
}

static void write_lab(struct pv_json *json, const struct pv_lab_index *index, size_t lab)
{
	pv_json_object_begin(json);
	pv_json_key(json, "path");
	write_path(json, index, lab, NULL);
	if (index->labs[lab].first != lab) {
		pv_json_key(json, "same_as");
		write_path(json, index, index->labs[lab].first, NULL);
	}
	pv_json_object_end(json);
}

static void write_guest(struct pv_json *json, const struct pv_lab_index_vm *place)
{
	pv_json_key(json, "profile");
	pv_json_str(json, place->profile);
	pv_json_key(json, "snapshot_path");
	pv_json_str(json, place->file);
	pv_json_key(json, "memory");
	pv_json_int(json, (int64_t)place->memory);
	pv_json_key(json, "cpus");
	pv_json_int(json, place->cpus);
	pv_json_key(json, "disks");
	pv_json_array_begin(json);
	pv_json_array_end(json);
}

static int write_vm(struct pv_json *json, const struct pv_lab_index *index, size_t vm)
{
	const struct pv_lab_index_vm *place = &index->vms[vm];
	struct pv_bytes path = {0};
	int status = pv_lab_index_vm_path(index, vm, &path);
	pv_json_object_begin(json);
	pv_json_key(json, "vm_name");
	pv_json_strn(json, (const char *)path.data, path.len);
	pv_json_key(json, "path");
	write_path(json, index, place->parent, place->name);
	if (place->first != vm) {
		const struct pv_lab_index_vm *first = &index->vms[place->first];
		pv_json_key(json, "same_as");
		write_path(json, index, first->parent, first->name);
	} else {
		write_guest(json, place);
	}
	pv_json_object_end(json);
	pv_bytes_finish(&path);
	return status;
}

int pv_lab_index_write(const struct pv_lab_index *index, struct pv_bytes *out)
{
	struct pv_json json = {.out = out};
	int status = 0;
	pv_json_object_begin(&json);
	pv_json_key(&json, "version");
	pv_json_int(&json, PV_LAB_INDEX_VERSION);
	pv_json_key(&json, "name");
	pv_json_str(&json, index->labs[0].name);
	pv_json_key(&json, "labs");
	pv_json_array_begin(&json);
	for (size_t i = 1; i < index->lab_count; i++)
		write_lab(&json, index, i);
	pv_json_array_end(&json);
	pv_json_key(&json, "vms");
	pv_json_array_begin(&json);
	for (size_t i = 0; i < index->vm_count && !status; i++)
		status = write_vm(&json, index, i);
	pv_json_array_end(&json);
	pv_json_key(&json, "bridges");
	pv_json_array_begin(&json);
	pv_json_array_end(&json);
	pv_json_object_end(&json);
	if (!status)
		status = json.status;
	return status ? status : pv_bytes_append(out, "\n", 1);
}

/* --- reading --- */

static int damaged(struct pv_err *err, const char *what)
{
	return pv_err_set(err, PV_ERR_INPUT, EBADMSG, "%s; make it anew", what);
}

/* A path that is being followed: parts of a JSON array, or of a text with slashes. */
struct way {
	const char *parts[DEPTH_MAX];
	size_t count;
	char *text; /* what parts point to, or NULL */
};

static int take_array(struct way *way, const json_t *array, struct pv_err *err)
{
	way->count = json_array_size(array);
	if (way->count == 0 || way->count > DEPTH_MAX)
		return damaged(err, "a path is empty or too long");
	for (size_t i = 0; i < way->count; i++) {
		way->parts[i] = json_string_value(json_array_get(array, i));
		if (!way->parts[i])
			return damaged(err, "a path is not an array of names");
	}
	return 0;
}

static int take_text(struct way *way, const char *text, struct pv_err *err)
{
	char *rest = way->text = strdup(text);
	if (!rest)
		return pv_err_nomem(err, "lab");
	while (rest) {
		if (way->count == DEPTH_MAX)
			return damaged(err, "a `vm_name` is too long");
		way->parts[way->count++] = strsep(&rest, "/");
	}
	return 0;
}

/* The way that the member of `object` says. */
static int take_way(struct way *way, const json_t *object, const char *key, struct pv_err *err)
{
	const json_t *path = json_object_get(object, key);
	const char *name = json_string_value(json_object_get(object, "vm_name"));
	*way = (struct way){0};
	if (json_is_array(path))
		return take_array(way, path, err);
	if (!path && name && strcmp(key, "path") == 0)
		return take_text(way, name, err);
	return damaged(err, "an entry has no `path`");
}

/* Follows the first `count` parts from the saved lab on, making labs that are missing. */
static int find_lab(struct pv_lab_index *index, const struct way *way, size_t count, bool make,
    size_t *out, struct pv_err *err)
{
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		size_t found = 1;
		while (found < index->lab_count &&
		       (index->labs[found].parent != at ||
			   strcmp(index->labs[found].name, way->parts[i]) != 0))
			found++;
		if (found == index->lab_count) {
			if (!make)
				return damaged(err, "`same_as` leads nowhere");
			int status = pv_lab_index_add_lab(index, way->parts[i], at, SIZE_MAX, err);
			if (status)
				return status;
		}
		/* What is inside is listed at the first place only. */
		if (index->labs[found].first != found)
			return damaged(err, "a path leads through a lab that is `same_as` another");
		at = found;
	}
	*out = at;
	return 0;
}

static int find_vm(
    const struct pv_lab_index *index, size_t lab, const char *name, size_t *out, struct pv_err *err)
{
	for (size_t i = 0; i < index->vm_count; i++) {
		if (index->vms[i].parent == lab && strcmp(index->vms[i].name, name) == 0) {
			*out = i;
			return index->vms[i].first == i
				   ? 0
				   : damaged(err, "`same_as` leads to another `same_as`");
		}
	}
	return damaged(err, "`same_as` leads nowhere");
}

/* A lab may not be inside of itself. */
static bool leads_back(const struct pv_lab_index *index, size_t parent, size_t first)
{
	size_t at = parent;
	while (at != 0 && at != first)
		at = index->labs[at].parent;
	return at == first;
}

static int read_same_lab(struct pv_lab_index *index, const struct way *way, const json_t *object,
    size_t parent, struct way *other, struct pv_err *err)
{
	const char *name = way->parts[way->count - 1];
	size_t first;
	int status = take_way(other, object, "same_as", err);
	if (!status)
		status = find_lab(index, other, other->count, false, &first, err);
	if (status)
		return status;
	if (leads_back(index, parent, first) || strcmp(index->labs[first].name, name) != 0)
		return damaged(err, "a lab is `same_as` another that it cannot be");
	return pv_lab_index_add_lab(index, name, parent, first, err);
}

static int read_lab(
    struct pv_lab_index *index, const json_t *object, struct way ways[2], struct pv_err *err)
{
	size_t parent, made;
	struct way *way = &ways[0];
	if (!json_is_object(object))
		return damaged(err, "an entry of `labs` is no object");
	int status = take_way(way, object, "path", err);
	if (!status)
		status = find_lab(index, way, way->count - 1, true, &parent, err);
	if (!status && json_object_get(object, "same_as"))
		return read_same_lab(index, way, object, parent, &ways[1], err);
	return status ? status : find_lab(index, way, way->count, true, &made, err);
}

/* --- guests --- */

static bool is_empty_or_missing(const json_t *object, const char *key)
{
	const json_t *array = json_object_get(object, key);
	return !array || (json_is_array(array) && json_array_size(array) == 0);
}

/* Whether it names something in the same directory. */
static bool is_plain(const char *file)
{
	size_t len = strlen(file);
	return len > 0 && len <= FILE_NAME_MAX && !strchr(file, '/') && strcmp(file, ".") != 0 &&
	       strcmp(file, "..") != 0;
}

static int read_guest(struct pv_lab_index_vm *place, const json_t *object, struct pv_err *err)
{
	const char *file = json_string_value(json_object_get(object, "snapshot_path"));
	const char *profile = json_string_value(json_object_get(object, "profile"));
	const json_t *memory = json_object_get(object, "memory");
	const json_t *cpus = json_object_get(object, "cpus");
	if (!file || !is_plain(file))
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "vm `%s`: its `snapshot_path` is not the name of a file in the same directory",
		    place->name);
	if (!profile || !*profile || strlen(profile) > PV_LAB_INDEX_NAME_MAX)
		return pv_err_set(
		    err, PV_ERR_INPUT, EBADMSG, "vm `%s`: it has no `profile`", place->name);
	if (!json_is_integer(memory) || json_integer_value(memory) < 1 ||
	    json_integer_value(memory) > MEMORY_MAX || !json_is_integer(cpus) ||
	    json_integer_value(cpus) < 1 || json_integer_value(cpus) > CPUS_MAX)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "vm `%s`: its `memory` or `cpus` is missing or wrong", place->name);
	if (!is_empty_or_missing(object, "disks"))
		return pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "vm `%s`: it has disks, which this provium cannot restore; use the one that "
		    "saved it",
		    place->name);
	place->memory = (uint64_t)json_integer_value(memory);
	place->cpus = (unsigned)json_integer_value(cpus);
	place->file = strdup(file);
	place->profile = strdup(profile);
	return place->file && place->profile ? 0 : pv_err_nomem(err, "lab");
}

static int read_vm(
    struct pv_lab_index *index, const json_t *object, struct way ways[2], struct pv_err *err)
{
	size_t parent, lab, first = SIZE_MAX;
	struct way *way = &ways[0], *other = &ways[1];
	if (!json_is_object(object))
		return damaged(err, "an entry of `vms` is no object");
	const bool same = json_object_get(object, "same_as");
	int status = take_way(way, object, "path", err);
	if (!status)
		status = find_lab(index, way, way->count - 1, true, &parent, err);
	if (!status && same) {
		status = take_way(other, object, "same_as", err);
		if (!status)
			status = find_lab(index, other, other->count - 1, false, &lab, err);
		if (!status)
			status = find_vm(index, lab, other->parts[other->count - 1], &first, err);
		if (!status && strcmp(index->vms[first].name, way->parts[way->count - 1]) != 0)
			status = damaged(err, "a VM is `same_as` one with another name");
	}
	if (!status)
		status = pv_lab_index_add_vm(index, way->parts[way->count - 1], parent, first, err);
	if (!status && !same)
		status = read_guest(&index->vms[index->vm_count - 1], object, err);
	return status;
}

/* --- the whole --- */

static int read_list(struct pv_lab_index *index, const json_t *root, const char *key,
    int (*read)(struct pv_lab_index *, const json_t *, struct way[2], struct pv_err *),
    struct pv_err *err)
{
	const json_t *list = json_object_get(root, key);
	if (!list)
		return 0;
	if (!json_is_array(list))
		return pv_err_set(
		    err, PV_ERR_INPUT, EBADMSG, "`%s` is no array; make it anew", key);
	struct way *ways = calloc(2, sizeof(*ways));
	int status = ways ? 0 : pv_err_nomem(err, "lab");
	for (size_t i = 0; i < json_array_size(list) && !status; i++) {
		status = read(index, json_array_get(list, i), ways, err);
		free(ways[0].text);
		free(ways[1].text);
		ways[0].text = ways[1].text = NULL;
	}
	free(ways);
	return status;
}

static int read_root(struct pv_lab_index *index, const json_t *root, struct pv_err *err)
{
	const json_t *version = json_object_get(root, "version");
	const char *name = json_string_value(json_object_get(root, "name"));
	if (!json_is_integer(version) || json_integer_value(version) < 1)
		return damaged(err, "it has no `version`");
	if (json_integer_value(version) > PV_LAB_INDEX_VERSION)
		return pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "its format has version %lld, and this provium reads version %d; make it anew",
		    (long long)json_integer_value(version), PV_LAB_INDEX_VERSION);
	if (!json_is_array(json_object_get(root, "vms")))
		return damaged(err, "it has no array `vms`");
	if (!is_empty_or_missing(root, "bridges"))
		return pv_err_set(err, PV_ERR_INPUT, ENOTSUP,
		    "it has bridges, which this provium cannot restore; use the one that saved "
		    "it");
	int status = pv_lab_index_add_lab(index, name ? name : "lab", 0, SIZE_MAX, err);
	if (!status)
		status = read_list(index, root, "labs", read_lab, err);
	if (!status)
		status = read_list(index, root, "vms", read_vm, err);
	return status;
}

int pv_lab_index_read(struct pv_lab_index *index, const void *data, size_t len, struct pv_err *err)
{
	json_error_t error;
	json_t *root = json_loadb(data, len, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return pv_err_set(
		    err, PV_ERR_INPUT, EBADMSG, "line %d: %s", error.line, error.text);
	int status =
	    json_is_object(root) ? read_root(index, root, err) : damaged(err, "it holds no object");
	json_decref(root);
	return status;
}
