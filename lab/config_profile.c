/*
 * Reading one profile. Theory: `profile_keys` is the table of what a profile may hold: key, kind
 * and place; a kind says how a value is checked and stored. `{out}` is expanded last, when
 * build_out is known.
 */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/config.h"
#include "lab/config_private.h"
#include "lab/toml.h"

/* Every `{out}` in `*text` becomes `out`. */
static int expand_out(char **text, const char *out)
{
	struct pv_bytes expanded = {0};
	const char *rest = *text, *at;
	if (!rest || !strstr(rest, "{out}"))
		return 0;
	int status = 0;
	for (; !status && (at = strstr(rest, "{out}")); rest = at + 5)
		status = pv_bytes_append(&expanded, rest, (size_t)(at - rest))
			     ? -ENOMEM
			     : pv_bytes_append(&expanded, out, strlen(out));
	if (!status)
		status = pv_bytes_append(&expanded, rest, strlen(rest));
	if (status || !pv_bytes_text(&expanded)) {
		pv_bytes_finish(&expanded);
		return -ENOMEM;
	}
	free(*text);
	*text = (char *)expanded.data;
	return 0;
}

/* Where `{out}` points for a profile. */
static char *build_folder(const char *profile)
{
	const char *base = getenv("PROVIUM_BUILD_DIR"), *cache = getenv("XDG_CACHE_HOME"),
		   *home = getenv("HOME");
	if (base && *base)
		return pv_config_format("%s/%s", base, profile);
	if (cache && *cache)
		return pv_config_format("%s/provium/builds/%s", cache, profile);
	return home && *home ? pv_config_format("%s/.cache/provium/builds/%s", home, profile)
			     : pv_config_format("%s/%s", "/tmp/provium-builds", profile);
}

enum key_kind {
	KEY_TEXT,
	KEY_PATH, /* relative to the profile's folder */
	KEY_FLAG,
	KEY_SECONDS,
	KEY_DISKS,
};

static const struct {
	const char *name;
	enum key_kind kind;
	size_t offset;
} profile_keys[] = {
    {"kernel",		    KEY_PATH,			 offsetof(struct pv_profile,				     kernel)},
    {"root",			   KEY_PATH,					       offsetof(struct pv_profile,									  root)},
    {"initrd",		      KEY_PATH,					       offsetof(struct pv_profile,			     initrd)},
    {"cmdline", KEY_TEXT,offsetof(struct pv_profile,	      cmdline)},
    {"cmdline_file",		     KEY_PATH,					      offsetof(struct pv_profile,											     cmdline_file)},
    {"guest_os",		 KEY_TEXT,		   offsetof(struct pv_profile,   guest_os)},
    {"inject_agent",			   KEY_FLAG,					   offsetof(struct pv_profile,										   inject_agent)},
    {"agent_overlay_path",		   KEY_PATH,					   offsetof(struct pv_profile,											 agent_overlay_path)},
    {"agent_boot_timeout", KEY_SECONDS,offsetof(struct pv_profile,agent_boot_timeout)},
    {"build",  KEY_TEXT,offsetof(struct pv_profile,build)},
    {"build_out",	  KEY_PATH,			    offsetof(struct pv_profile,										       build_out)},
    {"disks",			   KEY_DISKS,					      0												 },
};

#define PROFILE_KEYS (sizeof(profile_keys) / sizeof(profile_keys[0]))

static int take_disk_member(struct pv_profile_disk *disk, const char *where,
    const struct pv_toml_member *member, const char *dir, struct pv_err *err)
{
	const char *key = member->key;
	bool *flag = strcmp(key, "readonly") == 0   ? &disk->readonly
		     : strcmp(key, "mediated") == 0 ? &disk->mediated
						    : NULL;
	if (flag) {
		if (member->value->type != PV_TOML_BOOLEAN)
			return pv_config_wrong_type(
			    where, key, "true or false", member->value, err);
		*flag = member->value->u.boolean;
		return 0;
	}
	char **text = strcmp(key, "path") == 0	     ? &disk->path
		      : strcmp(key, "id") == 0	     ? &disk->id
		      : strcmp(key, "template") == 0 ? &disk->template_path
		      : strcmp(key, "scratch") == 0  ? &disk->scratch
						     : NULL;
	if (!text)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "line %u: %sdisk has the unknown key `%s`", member->value->line, where, key);
	int status = pv_config_take_string(where, key, member->value, text, err);
	if (!status && (text == &disk->path || text == &disk->template_path)) {
		char *resolved = pv_config_resolve(dir, *text);
		free(*text);
		*text = resolved;
		status = resolved ? 0 : pv_err_nomem(err, "configuration");
	}
	return status;
}

static int take_disks(struct pv_profile *profile, const char *where,
    const struct pv_toml_value *value, struct pv_err *err)
{
	if (value->type != PV_TOML_ARRAY)
		return pv_config_wrong_type(where, "disks", "an array of tables", value, err);
	profile->disks = calloc(value->u.array.count + 1, sizeof(*profile->disks));
	if (!profile->disks)
		return pv_err_nomem(err, "configuration");
	for (size_t i = 0; i < value->u.array.count; i++) {
		const struct pv_toml_value *item = value->u.array.items[i];
		struct pv_profile_disk *disk = &profile->disks[profile->disk_count++];
		if (item->type != PV_TOML_TABLE)
			return pv_config_wrong_type(
			    where, "disks", "an array of tables", item, err);
		for (size_t n = 0; n < item->u.table.count; n++) {
			int status = take_disk_member(
			    disk, where, &item->u.table.members[n], profile->dir, err);
			if (status)
				return status;
		}
		if ((disk->path != NULL) + (disk->scratch != NULL) +
			(disk->template_path != NULL) !=
		    1)
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "line %u: %sdisk %zu needs exactly one of `path`, `scratch`, "
			    "`template`",
			    item->line, where, i);
		if (!disk->id) {
			char name[32];
			snprintf(name, sizeof(name), "disk%zu", i);
			disk->id = strdup(name);
			if (!disk->id)
				return pv_err_nomem(err, "configuration");
		}
	}
	return 0;
}

static int take_seconds(const char *where, const char *key, const struct pv_toml_value *value,
    double *out, struct pv_err *err)
{
	double seconds = value->type == PV_TOML_INTEGER ? (double)value->u.integer
			 : value->type == PV_TOML_FLOAT ? value->u.number
							: NAN;
	if (value->type != PV_TOML_INTEGER && value->type != PV_TOML_FLOAT)
		return pv_config_wrong_type(where, key, "a number of seconds", value, err);
	if (!isfinite(seconds) || seconds <= 0 || seconds > 1e6)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "line %u: %s`%s` must be a positive number of seconds", value->line, where,
		    key);
	*out = seconds;
	return 0;
}

static int take_profile_key(struct pv_config *config, struct pv_profile *profile, const char *where,
    const struct pv_toml_member *member, struct pv_err *err)
{
	const struct pv_toml_value *value = member->value;
	size_t row = 0;
	while (row < PROFILE_KEYS && strcmp(profile_keys[row].name, member->key) != 0)
		row++;
	if (row == PROFILE_KEYS) {
		pv_config_warn(config, "profile `%s`: unknown key `%s` is ignored", profile->name,
		    member->key);
		return 0;
	}
	void *field = (char *)profile + profile_keys[row].offset;
	char **text = field;
	switch (profile_keys[row].kind) {
	case KEY_TEXT: return pv_config_take_string(where, member->key, value, text, err);
	case KEY_PATH: {
		int status = pv_config_take_string(where, member->key, value, text, err);
		char *resolved = status ? NULL : pv_config_resolve(profile->dir, *text);
		if (status)
			return status;
		free(*text);
		*text = resolved;
		return resolved ? 0 : pv_err_nomem(err, "configuration");
	}
	case KEY_FLAG:
		if (value->type != PV_TOML_BOOLEAN)
			return pv_config_wrong_type(
			    where, member->key, "true or false", value, err);
		*(bool *)field = value->u.boolean;
		return 0;
	case KEY_SECONDS: return take_seconds(where, member->key, value, field, err);
	case KEY_DISKS: return take_disks(profile, where, value, err);
	}
	return 0;
}

/* What needs all keys: defaults, `{out}`, and what must not be missing. */
static int complete_profile(struct pv_profile *profile, struct pv_err *err)
{
	if (!profile->guest_os)
		profile->guest_os = strdup("linux");
	if (!profile->build_out)
		profile->build_out = build_folder(profile->name);
	if (!profile->guest_os || !profile->build_out)
		return pv_err_nomem(err, "configuration");
	char **texts[] = {&profile->kernel, &profile->root, &profile->initrd, &profile->cmdline,
	    &profile->cmdline_file, &profile->agent_overlay_path, &profile->build};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (expand_out(texts[i], profile->build_out))
			return pv_err_nomem(err, "configuration");
	}
	for (size_t i = 0; i < profile->disk_count; i++) {
		if (expand_out(&profile->disks[i].path, profile->build_out) ||
		    expand_out(&profile->disks[i].template_path, profile->build_out))
			return pv_err_nomem(err, "configuration");
	}
	if (profile->kernel && profile->root)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "profile `%s` has both `kernel` and `root`; give one", profile->name);
	if (!profile->kernel && !profile->root)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "profile `%s` has no kernel; set `kernel` (or `root`)", profile->name);
	if (!profile->cmdline_file && (!profile->cmdline || !*profile->cmdline))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "profile `%s` has empty cmdline and no `cmdline_file`; set at least one",
		    profile->name);
	if (!profile->initrd && !profile->inject_agent)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "profile `%s` has neither an initrd nor the agent; set `initrd`, or "
		    "inject_agent = true",
		    profile->name);
	return 0;
}

const struct pv_profile *pv_config_profile(const struct pv_config *config, const char *name)
{
	for (size_t i = 0; i < config->profile_count; i++) {
		if (strcmp(config->profiles[i].name, name) == 0)
			return &config->profiles[i];
	}
	return NULL;
}

int pv_config_add_profile(struct pv_config *config, const char *name, const char *dir,
    const struct pv_toml_value *table, struct pv_err *err)
{
	if (pv_config_profile(config, name))
		return pv_err_set(
		    err, PV_ERR_INPUT, EEXIST, "profile `%s` is defined twice; rename one", name);
	struct pv_profile *grown =
	    reallocarray(config->profiles, config->profile_count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "configuration");
	config->profiles = grown;
	struct pv_profile *profile = &grown[config->profile_count++];
	*profile = (struct pv_profile){.name = strdup(name),
	    .dir = strdup(dir),
	    .inject_agent = true,
	    .agent_boot_timeout = 30};
	if (!profile->name || !profile->dir)
		return pv_err_nomem(err, "configuration");
	char where[256];
	snprintf(where, sizeof(where), "profile `%.200s`: ", name);
	int status = 0;
	for (size_t i = 0; i < table->u.table.count && !status; i++)
		status = take_profile_key(config, profile, where, &table->u.table.members[i], err);
	return status ? status : complete_profile(profile, err);
}

void pv_config_finish_profile(struct pv_profile *profile)
{
	char *texts[] = {profile->name, profile->dir, profile->kernel, profile->root,
	    profile->initrd, profile->cmdline, profile->cmdline_file, profile->guest_os,
	    profile->agent_overlay_path, profile->build, profile->build_out};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(texts[i]);
	for (size_t i = 0; i < profile->disk_count; i++) {
		free(profile->disks[i].id);
		free(profile->disks[i].path);
		free(profile->disks[i].scratch);
		free(profile->disks[i].template_path);
	}
	free(profile->disks);
}
