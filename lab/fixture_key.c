/*
 * Keys of fixtures. Theory: one hash runs over everything in a fixed order, each piece with its
 * kind and its length before it, so that no two different sets of inputs give the same bytes. The
 * walk goes from file to file in the order of the references and takes each file once, which is why
 * circles among files end by themselves.
 *
 * Files of the host (kernels, pushed files) count by path, size and time of change, as reading them
 * would cost more than a restore; sources count by their bytes. What is not there counts as absent:
 * it becomes another key when it appears. Any thread.
 */
#include "lab/fixture_key.h"

#include <errno.h>
#include <fts.h>
#include <glob.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/image.h"
#include "agent/proto/protocol.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "lab/fixture_scan.h"

/* Raised when the bytes that are hashed change their meaning, or entries theirs. */
#define KEY_VERSION 1

/* Sources of one fixture. */
#define FILES_MAX 256

/* --- the place --- */

static char *folder_of(const char *path)
{
	struct stat info;
	if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
		return strdup(path);
	const char *slash = strrchr(path, '/');
	return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

/* Takes the folder; one that is there already is dropped. */
static int add_root(struct pv_fixture_place *place, char *folder)
{
	if (!folder)
		return -ENOMEM;
	for (size_t len = strlen(folder); len > 1 && folder[len - 1] == '/'; len--)
		folder[len - 1] = '\0';
	for (size_t i = 0; i < place->root_count; i++) {
		if (strcmp(place->roots[i], folder) == 0) {
			free(folder);
			return 0;
		}
	}
	place->roots[place->root_count++] = folder;
	return 0;
}

int pv_fixture_place_init(struct pv_fixture_place *place, const struct pv_config *config,
    char *const *paths, size_t path_count, struct pv_err *err)
{
	*place = (struct pv_fixture_place){.config = config};
	const struct pv_span agent = pv_agent_image();
	pv_hash_of(agent.data, agent.len, place->agent);
	place->roots = calloc(config->root_count + path_count + 1, sizeof(char *));
	int status = place->roots ? 0 : -ENOMEM;
	for (size_t i = 0; i < config->root_count && !status; i++)
		status = add_root(place, strdup(config->roots[i]));
	for (size_t i = 0; i < path_count && !status; i++)
		status = add_root(place, folder_of(paths[i]));
	if (!status && place->root_count == 0)
		status = add_root(place, strdup("."));
	return status ? pv_err_nomem(err, "the roots of fixtures") : 0;
}

void pv_fixture_place_finish(struct pv_fixture_place *place)
{
	for (size_t i = 0; i < place->root_count; i++)
		free(place->roots[i]);
	free(place->roots);
	*place = (struct pv_fixture_place){0};
}

/* --- finding sources --- */

static char *format(const char *fmt, const char *a, const char *b)
{
	struct pv_bytes text = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	const int status = pv_bytes_printf(&text, fmt, a, b);
#pragma GCC diagnostic pop
	if (status || !pv_bytes_text(&text)) {
		pv_bytes_finish(&text);
		return NULL;
	}
	return (char *)text.data;
}

/* `<root>/<rest>`, without `./` before it. */
static char *below(const char *root, const char *fmt, const char *name)
{
	char *rest = format(fmt, name, "");
	if (!rest || strcmp(root, ".") == 0)
		return rest;
	char *path = format("%s/%s", root, rest);
	free(rest);
	return path;
}

static bool is_file(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* Relative, without parts that are empty, `.` or `..`: one fixture has one name. */
static bool is_plain(const char *name)
{
	while (*name) {
		const size_t len = strcspn(name, "/");
		if (len == 0 || (len == 1 && name[0] == '.') ||
		    (len == 2 && name[0] == '.' && name[1] == '.'))
			return false;
		name += len;
		if (*name == '/' && !*++name)
			return false;
	}
	return true;
}

static int not_found(
    const struct pv_fixture_place *place, const char *name, bool legacy, struct pv_err *err)
{
	struct pv_bytes tried = {0};
	for (size_t i = 0; i < place->root_count; i++)
		(void)pv_bytes_printf(&tried, "%s%s/%s%s%s", i ? ", " : "", place->roots[i],
		    legacy ? "fixtures/" : "", name, legacy ? ".lua" : PV_FIXTURE_SUFFIX);
	const char *text = pv_bytes_text(&tried);
	pv_err_set(err, PV_ERR_INPUT, ENOENT,
	    "fixture `%s` not found in any test root (looked for %s)", name,
	    text ? text : "its file");
	pv_bytes_finish(&tried);
	return -ENOENT;
}

int pv_fixture_find(const struct pv_fixture_place *place, const char *name, bool legacy,
    char **path, struct pv_err *err)
{
	*path = NULL;
	if (!*name || !is_plain(name))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "fixture `%s`: this is no name; give the path below a test root, without "
		    "`" PV_FIXTURE_SUFFIX "`, `.` and `..`",
		    name);
	for (size_t i = 0; i <= place->root_count; i++) {
		const bool last = i == place->root_count;
		if (last && !legacy)
			break;
		char *candidate = below(last ? "tests" : place->roots[i],
		    legacy ? "fixtures/%s.lua%s" : "%s" PV_FIXTURE_SUFFIX "%s", name);
		if (!candidate)
			return pv_err_nomem(err, "the path of a fixture");
		if (is_file(candidate)) {
			*path = candidate;
			return 0;
		}
		free(candidate);
	}
	return not_found(place, name, legacy, err);
}

/* What `require` loads, as package.path of the test language has it; NULL when there is none, or
 * no memory. */
static char *find_module(const struct pv_fixture_place *place, const char *name)
{
	char *relative = strdup(name);
	for (char *dot = relative; dot && (dot = strchr(dot, '.'));)
		*dot = '/';
	for (size_t i = 0; relative && i <= place->config->root_count; i++) {
		const char *root = i < place->config->root_count ? place->config->roots[i] : ".";
		char *path = below(root, "%s.lua%s", relative);
		if (path && !is_file(path)) {
			free(path);
			path = below(root, "%s/init.lua%s", relative);
		}
		if (path && is_file(path)) {
			free(relative);
			return path;
		}
		free(path);
	}
	free(relative);
	return NULL;
}

/* --- the hash --- */

struct walk {
	const struct pv_fixture_place *place;
	struct pv_hash hash;
	char *seen[FILES_MAX];
	size_t seen_count;
};

static void fold(struct walk *walk, const char *kind, const void *data, size_t len)
{
	const uint64_t size = len;
	pv_hash_update(&walk->hash, kind, strlen(kind) + 1);
	pv_hash_update(&walk->hash, &size, sizeof(size));
	pv_hash_update(&walk->hash, data, len);
}

/* NULL is not the same as empty. */
static void fold_text(struct walk *walk, const char *kind, const char *text)
{
	fold(walk, text ? kind : "unset", text ? text : kind, strlen(text ? text : kind));
}

/* Path, size and time of change. The path is the real one: the same file from another folder is the
 * same. */
static void fold_identity(struct walk *walk, const char *kind, const char *path)
{
	struct stat info;
	if (!path || stat(path, &info) < 0) {
		fold_text(walk, kind, NULL);
		return;
	}
	char *real = realpath(path, NULL);
	const int64_t numbers[] = {
	    info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec, S_ISREG(info.st_mode)};
	fold_text(walk, kind, real ? real : path);
	fold(walk, "identity", numbers, sizeof(numbers));
	free(real);
}

/* The kernels that a `root` has to offer. */
static void fold_root(struct walk *walk, const char *root)
{
	glob_t found = {0};
	char *pattern = root ? format("%s/usr/lib/modules/%s", root, "*/vmlinuz*") : NULL;
	if (pattern && glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			fold_identity(walk, "root", found.gl_pathv[i]);
	}
	globfree(&found);
	free(pattern);
}

static void fold_profile(struct walk *walk, const struct pv_profile *profile)
{
	fold_text(walk, "profile", profile->name);
	fold_identity(walk, "kernel", profile->kernel);
	fold_root(walk, profile->root);
	fold_identity(walk, "initrd", profile->initrd);
	fold_text(walk, "cmdline", profile->cmdline);
	fold_identity(walk, "cmdline_file", profile->cmdline_file);
	fold(walk, "inject", &profile->inject_agent, sizeof(profile->inject_agent));
	fold_identity(walk, "overlay", profile->agent_overlay_path);
	for (size_t i = 0; i < profile->disk_count; i++) {
		const struct pv_profile_disk *disk = &profile->disks[i];
		const bool flags[] = {disk->readonly, disk->mediated};
		fold_text(walk, "disk", disk->id);
		fold_identity(walk, "disk image", disk->path);
		fold_identity(walk, "disk template", disk->template_path);
		fold_text(walk, "disk scratch", disk->scratch);
		fold(walk, "disk flags", flags, sizeof(flags));
	}
}

static void fold_program(struct walk *walk)
{
	const struct pv_config *config = walk->place->config;
	const uint32_t versions[] = {KEY_VERSION, PV_PROTOCOL_VERSION};
	fold_text(walk, "provium", PV_VERSION);
	fold(walk, "versions", versions, sizeof(versions));
	fold_text(walk, "agent", walk->place->agent);
	for (size_t i = 0; i < config->profile_count; i++)
		fold_profile(walk, &config->profiles[i]);
}

/* --- the walk --- */

static int fold_source(struct walk *walk, const char *path, bool required, struct pv_err *err);

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* All that is in a folder, by their names in it: size and time of change, permissions, targets. */
static void fold_folder(struct walk *walk, const char *path)
{
	char *roots[] = {(char *)(uintptr_t)path, NULL};
	FTS *all = fts_open(roots, FTS_COMFOLLOW | FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	FTSENT *entry;
	char target[PATH_MAX];
	while (all && (entry = fts_read(all))) {
		const struct stat *info = entry->fts_statp;
		if (entry->fts_info == FTS_DP)
			continue;
		const bool is_folder = entry->fts_info == FTS_D;
		const int64_t numbers[] = {info->st_mode, is_folder ? 0 : info->st_size,
		    is_folder ? 0 : info->st_mtim.tv_sec, is_folder ? 0 : info->st_mtim.tv_nsec};
		ssize_t len = -1;
		if (entry->fts_info == FTS_SL || entry->fts_info == FTS_SLNONE)
			len = readlink(entry->fts_accpath, target, sizeof(target));
		fold_text(walk, "entry", entry->fts_path + strlen(path));
		fold(walk, "identity", numbers, sizeof(numbers));
		fold(walk, "target", target, len < 0 ? 0 : (size_t)len);
	}
	if (all)
		fts_close(all);
}

/* A path in the file `from`, relative to its folder. */
static int fold_host_file(
    struct walk *walk, const char *from, const char *path, bool is_folder, struct pv_err *err)
{
	char *folder = path[0] == '/' ? NULL : folder_of(from);
	char *full = folder ? format("%s/%s", folder, path) : strdup(path);
	if (full) {
		fold_text(walk, "names", path);
		if (is_folder)
			fold_folder(walk, full);
		else
			fold_identity(walk, "file", full);
	}
	free(full);
	free(folder);
	return full ? 0 : pv_err_nomem(err, "a path");
}

static int fold_ref(
    struct walk *walk, const char *from, const struct pv_fixture_ref *ref, struct pv_err *err)
{
	struct pv_err ignored = PV_ERR_INIT; /* it is found out when it is used */
	char *path = NULL;
	int status = 0;
	switch (ref->kind) {
	case PV_FIXTURE_REF_FIXTURE:
	case PV_FIXTURE_REF_LEGACY:
		(void)pv_fixture_find(
		    walk->place, ref->text, ref->kind == PV_FIXTURE_REF_LEGACY, &path, &ignored);
		break;
	case PV_FIXTURE_REF_MODULE: path = find_module(walk->place, ref->text); break;
	case PV_FIXTURE_REF_SCRIPT: path = strdup(ref->text); break;
	case PV_FIXTURE_REF_FILE: return fold_host_file(walk, from, ref->text, false, err);
	case PV_FIXTURE_REF_FOLDER: return fold_host_file(walk, from, ref->text, true, err);
	}
	fold_text(walk, "refers to", ref->text);
	if (path)
		status = fold_source(walk, path, false, err);
	else
		fold_text(walk, "source", NULL);
	free(path);
	return status;
}

static int fold_refs(
    struct walk *walk, const char *from, const struct pv_bytes *text, struct pv_err *err)
{
	struct pv_fixture_refs refs;
	int status =
	    pv_fixture_scan(&refs, text->len ? (const char *)text->data : "", text->len, err);
	for (size_t i = 0; i < refs.count && !status; i++)
		status = fold_ref(walk, from, &refs.items[i], err);
	pv_fixture_refs_finish(&refs);
	return status;
}

/* Notes the file. Returns 1, with its number in the hash, when it was there before; 0, or -errno.
 */
static int see(struct walk *walk, const char *path, struct pv_err *err)
{
	for (size_t i = 0; i < walk->seen_count; i++) {
		if (strcmp(walk->seen[i], path) == 0) {
			fold(walk, "seen", &i, sizeof(i));
			return 1;
		}
	}
	if (walk->seen_count == FILES_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, E2BIG,
		    "`%s`: more than %d files belong to one fixture", path, FILES_MAX);
	walk->seen[walk->seen_count] = strdup(path);
	return walk->seen[walk->seen_count++] ? 0 : pv_err_nomem(err, "a path");
}

/* A source and what it refers to. */
static int fold_source(struct walk *walk, const char *path, bool required, struct pv_err *err)
{
	struct pv_bytes text = {0};
	struct pv_err reason = PV_ERR_INIT;
	int status = see(walk, path, err);
	if (status)
		return status < 0 ? status : 0;
	status = pv_fd_slurp("fixture", path, PV_FIXTURE_SOURCE_MAX, &text, &reason);
	if (status && required) {
		*err = reason;
	} else if (status) {
		fold_text(walk, "source", NULL);
		status = 0;
	} else {
		fold(walk, "source", text.data, text.len);
		status = fold_refs(walk, path, &text, err);
	}
	pv_bytes_finish(&text);
	return status;
}

int pv_fixture_key(const struct pv_fixture_place *place, const char *path, char key[PV_HASH_TEXT],
    struct pv_err *err)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	if (!walk)
		return pv_err_nomem(err, "the key of a fixture");
	walk->place = place;
	pv_hash_init(&walk->hash);
	fold_program(walk);
	const int status = fold_source(walk, path, true, err);
	pv_hash_finish(&walk->hash, key);
	for (size_t i = 0; i < walk->seen_count; i++)
		free(walk->seen[i]);
	free(walk);
	return status;
}
