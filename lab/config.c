/*
 * From TOML to the configuration: [provium], [profiles] and profiles in folders of their own.
 * Theory: a file is walked key by key, so that what is unknown is found by itself and becomes a
 * warning. Relative paths are made relative to the current directory by putting the folder of the
 * file that holds them in front. lab/config_profile.c reads one profile.
 */
#include "lab/config.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/units.h"
#include "lab/config_private.h"
#include "lab/toml.h"

#define CACHE_MAX_SIZE_DEFAULT (UINT64_C(20) << 30)
#define PROFILE_FILE	       "profile.provium.toml"

static char *fixture_folder(void)
{
	const char *set = getenv("PROVIUM_FIXTURE_CACHE"), *cache = getenv("XDG_CACHE_HOME"),
		   *home = getenv("HOME");
	if (set && *set)
		return strdup(set);
	if (cache && *cache)
		return pv_config_format("%s/%s", cache, "provium/fixtures");
	return home && *home ? pv_config_format("%s/%s", home, ".cache/provium/fixtures")
			     : strdup("/tmp/provium-fixtures");
}

/* --- profiles in folders of their own --- */

static int add_profile_file(struct pv_config *config, const char *name, const char *dir,
    const char *path, struct pv_err *err)
{
	struct pv_bytes text = {0};
	struct pv_toml_value *root = NULL;
	int status = pv_fd_slurp("profile", path, PV_TOML_SIZE_MAX, &text, err);
	if (!status)
		status = pv_toml_parse(&root, (const char *)text.data, text.len, err);
	if (!status)
		status = pv_config_add_profile(config, name, dir, root, err);
	pv_toml_destroy(root);
	pv_bytes_finish(&text);
	return status ? pv_err_prefix(err, "`%s`", path) : 0;
}

static int has_profile_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int add_profiles_from(struct pv_config *config, const char *folder, struct pv_err *err)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, has_profile_file, alphasort);
	if (count < 0)
		return pv_err_system(err, errno, "profiles.from_dir `%s`: cannot read it", folder);
	int status = 0;
	size_t before = config->profile_count;
	for (int i = 0; i < count; i++) {
		char *dir = pv_config_format("%s/%s", folder, entries[i]->d_name);
		char *path = dir ? pv_config_format("%s/%s", dir, PROFILE_FILE) : NULL;
		struct stat st;
		if (!path && !status)
			status = pv_err_nomem(err, "configuration");
		else if (!status && stat(path, &st) == 0)
			status = add_profile_file(config, entries[i]->d_name, dir, path, err);
		free(path);
		free(dir);
		free(entries[i]);
	}
	free(entries);
	if (!status && config->profile_count == before)
		status = pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "profiles.from_dir `%s`: no folder in it holds a " PROFILE_FILE, folder);
	return status;
}

static int take_profiles(struct pv_config *config, const struct pv_toml_value *profiles,
    const char *dir, struct pv_err *err)
{
	if (profiles->type != PV_TOML_TABLE)
		return pv_config_wrong_type("", "profiles", "a table", profiles, err);
	int status = 0;
	for (size_t i = 0; i < profiles->u.table.count && !status; i++) {
		const struct pv_toml_member *member = &profiles->u.table.members[i];
		if (member->value->type == PV_TOML_TABLE) {
			status =
			    pv_config_add_profile(config, member->key, dir, member->value, err);
		} else if (strcmp(member->key, "from_dir") == 0) {
			char *folder = NULL;
			status = pv_config_take_string(
			    "profiles: ", "from_dir", member->value, &folder, err);
			char *resolved = status ? NULL : pv_config_resolve(dir, folder);
			if (!status)
				status = resolved ? add_profiles_from(config, resolved, err)
						  : pv_err_nomem(err, "configuration");
			free(resolved);
			free(folder);
		} else {
			status = pv_config_wrong_type("profiles: ", member->key,
			    "a table (one profile) or the key from_dir", member->value, err);
		}
	}
	return status;
}

/* --- [provium] --- */

static int take_roots(struct pv_config *config, const struct pv_toml_value *value, const char *dir,
    struct pv_err *err)
{
	if (value->type != PV_TOML_ARRAY)
		return pv_config_wrong_type(
		    "[provium] ", "roots", "an array of strings", value, err);
	config->roots = calloc(value->u.array.count + 1, sizeof(char *));
	if (!config->roots)
		return pv_err_nomem(err, "configuration");
	for (size_t i = 0; i < value->u.array.count; i++) {
		const struct pv_toml_value *item = value->u.array.items[i];
		if (item->type != PV_TOML_STRING)
			return pv_config_wrong_type(
			    "[provium] ", "roots", "an array of strings", item, err);
		config->roots[config->root_count] = pv_config_resolve(dir, item->u.string.text);
		if (!config->roots[config->root_count])
			return pv_err_nomem(err, "configuration");
		config->root_count++;
	}
	return 0;
}

static int take_cache_size(
    struct pv_config *config, const struct pv_toml_value *value, struct pv_err *err)
{
	if (value->type == PV_TOML_INTEGER && value->u.integer >= 0) {
		config->cache_max_size = (uint64_t)value->u.integer;
		return 0;
	}
	if (value->type != PV_TOML_STRING ||
	    pv_units_size(value->u.string.text, true, &config->cache_max_size))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "line %u: [provium] `cache_max_size` must be bytes or a size like \"20G\"",
		    value->line);
	return 0;
}

/* `~/` is the home folder: the value stands in a file, where no shell sees it. */
static int take_cache_dir(struct pv_config *config, const struct pv_toml_value *value,
    const char *dir, struct pv_err *err)
{
	const char *home = getenv("HOME");
	char *folder = NULL;
	int status = pv_config_take_string("[provium] ", "cache_dir", value, &folder, err);
	if (status)
		return status;
	config->cache_dir = strncmp(folder, "~/", 2) == 0 && home && *home
				? pv_config_format("%s/%s", home, folder + 2)
				: pv_config_resolve(dir, folder);
	free(folder);
	return config->cache_dir ? 0 : pv_err_nomem(err, "configuration");
}

static int take_provium(struct pv_config *config, const struct pv_toml_value *table,
    const char *dir, struct pv_err *err)
{
	if (table->type != PV_TOML_TABLE)
		return pv_config_wrong_type("", "provium", "a table", table, err);
	int status = 0;
	for (size_t i = 0; i < table->u.table.count && !status; i++) {
		const struct pv_toml_member *member = &table->u.table.members[i];
		if (strcmp(member->key, "roots") == 0)
			status = take_roots(config, member->value, dir, err);
		else if (strcmp(member->key, "cache_dir") == 0)
			status = take_cache_dir(config, member->value, dir, err);
		else if (strcmp(member->key, "cache_max_size") == 0)
			status = take_cache_size(config, member->value, err);
		else
			pv_config_warn(
			    config, "%s `%s` is ignored", "[provium]: unknown key", member->key);
	}
	return status;
}

/* --- the whole --- */

static int compare_profiles(const void *a, const void *b)
{
	return strcmp(((const struct pv_profile *)a)->name, ((const struct pv_profile *)b)->name);
}

static int interpret(
    struct pv_config *config, const struct pv_toml_value *root, const char *dir, struct pv_err *err)
{
	int status = 0;
	for (size_t i = 0; i < root->u.table.count && !status; i++) {
		const struct pv_toml_member *member = &root->u.table.members[i];
		if (strcmp(member->key, "provium") == 0)
			status = take_provium(config, member->value, dir, err);
		else if (strcmp(member->key, "profiles") == 0)
			status = take_profiles(config, member->value, dir, err);
		else
			pv_config_warn(
			    config, "%s `%s` is ignored", "unknown section", member->key);
	}
	if (!status && config->profile_count)
		qsort(config->profiles, config->profile_count, sizeof(config->profiles[0]),
		    compare_profiles);
	return status;
}

static int fill_defaults(struct pv_config *config, struct pv_err *err)
{
	if (!config->cache_dir)
		config->cache_dir = fixture_folder();
	return config->cache_dir ? 0 : pv_err_nomem(err, "configuration");
}

int pv_config_parse(struct pv_config *config, const char *text, size_t len, const char *dir,
    const char *name, struct pv_err *err)
{
	struct pv_toml_value *root = NULL;
	*config =
	    (struct pv_config){.path = strdup(name), .cache_max_size = CACHE_MAX_SIZE_DEFAULT};
	if (!config->path)
		return pv_err_nomem(err, "configuration");
	int status = pv_toml_parse(&root, text, len, err);
	if (status) {
		pv_err_prefix(err, "parse `%s`", name);
	} else {
		status = interpret(config, root, dir, err);
		if (!status)
			status = fill_defaults(config, err);
		if (status)
			pv_err_prefix(err, "invalid config in `%s`", name);
	}
	pv_toml_destroy(root);
	if (status)
		pv_config_finish(config);
	return status;
}

int pv_config_load(struct pv_config *config, const char *path, bool required, struct pv_err *err)
{
	struct pv_bytes text = {0};
	struct stat st;
	*config = (struct pv_config){.cache_max_size = CACHE_MAX_SIZE_DEFAULT};
	if (!required && stat(path, &st) < 0 && errno == ENOENT)
		return fill_defaults(config, err);
	int status = pv_fd_slurp("config", path, PV_TOML_SIZE_MAX, &text, err);
	if (status) {
		pv_bytes_finish(&text);
		return pv_err_prefix(err, "read `%s`", path);
	}
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	status = dir ? pv_config_parse(config, text.data ? (const char *)text.data : "", text.len,
			   dir, path, err)
		     : pv_err_nomem(err, "configuration");
	free(dir);
	pv_bytes_finish(&text);
	return status;
}

void pv_config_finish(struct pv_config *config)
{
	for (size_t i = 0; i < config->profile_count; i++)
		pv_config_finish_profile(&config->profiles[i]);
	for (size_t i = 0; i < config->root_count; i++)
		free(config->roots[i]);
	for (size_t i = 0; i < config->warning_count; i++)
		free(config->warnings[i]);
	free(config->profiles);
	free(config->roots);
	free(config->warnings);
	free(config->cache_dir);
	free(config->path);
	*config = (struct pv_config){0};
}
