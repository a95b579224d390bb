/*
 * The fixture command. Theory: a table of verbs. Those that look at sources walk the roots for
 * `*.fixture.lua`; those that look at the cache read its folder. Building is the dispatcher's, with
 * the same builder processes as in a run of tests.
 */
#include "runner/fixture_command.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/units.h"
#include "lab/config.h"
#include "lab/fixture.h"
#include "runner/dispatcher.h"
#include "runner/fixture_builds.h"
#include "runner/options.h"

struct pv_fixture_verb {
	const char *name;
	bool wants_name;
	bool needs_kvm;
	int (*run)(const struct pv_fixture_command *command, const struct pv_fixture_place *place,
	    const struct pv_runner_options *options, struct pv_err *err);
};

/* --- sources --- */

/* A fixture below a root. */
struct source {
	char *name;
	char key[PV_HASH_TEXT]; /* empty: it has none */
};

struct sources {
	struct source *items;
	size_t count;
};

static void finish_sources(struct sources *sources)
{
	for (size_t i = 0; i < sources->count; i++)
		free(sources->items[i].name);
	free(sources->items);
}

/* Adds the fixture of that name, once, with the key of the file that the name stands for. */
static int add_source(struct sources *sources, const struct pv_fixture_place *place,
    const char *name, size_t len, struct pv_err *err)
{
	for (size_t i = 0; i < sources->count; i++) {
		if (strncmp(sources->items[i].name, name, len) == 0 &&
		    sources->items[i].name[len] == '\0')
			return 0;
	}
	struct source *grown = reallocarray(sources->items, sources->count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "the list of fixtures");
	sources->items = grown;
	struct source *source = &grown[sources->count];
	*source = (struct source){.name = strndup(name, len)};
	if (!source->name)
		return pv_err_nomem(err, "the list of fixtures");
	sources->count++;
	struct pv_err ignored = PV_ERR_INIT;
	char *path = NULL;
	if (pv_fixture_find(place, source->name, false, &path, &ignored) ||
	    pv_fixture_key(place, path, source->key, &ignored))
		source->key[0] = '\0';
	free(path);
	return 0;
}

static int walk_root(struct sources *sources, const struct pv_fixture_place *place,
    const char *root, struct pv_err *err)
{
	char *roots[] = {(char *)root, NULL};
	const size_t skip = strlen(root), mark = strlen(PV_FIXTURE_SUFFIX);
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int status = walk ? 0 : pv_err_system(err, errno, "`%s`: cannot walk it", root);
	for (FTSENT *entry; walk && !status && (entry = fts_read(walk));) {
		const size_t len = strlen(entry->fts_name);
		if (entry->fts_info != FTS_F || len <= mark ||
		    strcmp(entry->fts_name + len - mark, PV_FIXTURE_SUFFIX) != 0)
			continue;
		const char *name = entry->fts_path + skip;
		name += strspn(name, "/");
		status = add_source(sources, place, name, strlen(name) - mark, err);
	}
	if (walk)
		fts_close(walk);
	return status;
}

static int compare_sources(const void *a, const void *b)
{
	return strcmp(((const struct source *)a)->name, ((const struct source *)b)->name);
}

/* All that the roots hold, sorted by name. */
static int find_sources(
    struct sources *sources, const struct pv_fixture_place *place, struct pv_err *err)
{
	int status = 0;
	*sources = (struct sources){0};
	for (size_t i = 0; i < place->root_count && !status; i++)
		status = walk_root(sources, place, place->roots[i], err);
	if (sources->count)
		qsort(sources->items, sources->count, sizeof(sources->items[0]), compare_sources);
	return status;
}

static const char *name_of(const struct sources *sources, const char *key)
{
	for (size_t i = 0; i < sources->count; i++) {
		if (strcmp(sources->items[i].key, key) == 0)
			return sources->items[i].name;
	}
	return NULL;
}

/* --- showing --- */

static const char *show_size(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t unit = 0;
	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return out;
}

/* "43.2 MiB  vm  <key>", and the name when one of the roots has it. */
static void show_entry(const struct pv_fixture_entry *entry, const struct sources *sources)
{
	char size[32];
	const char *name = name_of(sources, entry->key);
	printf("%10s  %-3s  %s%s%s\n", show_size(entry->bytes, size),
	    pv_fixture_kind_name(entry->kind), entry->key, name ? "  " : "", name ? name : "");
}

/* --- the verbs --- */

static int do_list(const struct pv_fixture_command *command, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, struct pv_err *err)
{
	struct pv_fixture_entries entries = {0};
	struct sources sources;
	char size[32];
	int status = find_sources(&sources, place, err);
	if (!status)
		status = pv_fixture_cache_list(&entries, place->config->cache_dir, err);
	for (size_t i = entries.count; !status && i-- > 0;)
		show_entry(&entries.items[i], &sources);
	if (!status)
		printf("%zu entries, %s\n", entries.count, show_size(entries.bytes, size));
	pv_fixture_entries_finish(&entries);
	finish_sources(&sources);
	return status;
}

static int do_clean(const struct pv_fixture_command *command, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, struct pv_err *err)
{
	unsigned removed;
	uint64_t bytes;
	char size[32];
	const int status = pv_fixture_cache_clean(place->config->cache_dir, &removed, &bytes, err);
	if (!status)
		printf("removed %u entries, %s\n", removed, show_size(bytes, size));
	return status;
}

static int do_stale(const struct pv_fixture_command *command, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, struct pv_err *err)
{
	const char *dir = place->config->cache_dir;
	struct sources sources;
	size_t stale = 0;
	const int status = find_sources(&sources, place, err);
	for (size_t i = 0; !status && i < sources.count; i++) {
		const struct source *source = &sources.items[i];
		if (source->key[0] != '\0' &&
		    (pv_fixture_cache_has(dir, source->key, PV_FIXTURE_VM) ||
			pv_fixture_cache_has(dir, source->key, PV_FIXTURE_LAB)))
			continue;
		printf("%s\n", source->name);
		stale++;
	}
	if (!status)
		printf("%zu stale fixture(s)\n", stale);
	finish_sources(&sources);
	return status;
}

static int do_verify(const struct pv_fixture_command *command, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, struct pv_err *err)
{
	struct pv_fixture_entries entries = {0};
	struct sources sources;
	size_t damaged = 0;
	int status = find_sources(&sources, place, err);
	if (!status)
		status = pv_fixture_cache_list(&entries, place->config->cache_dir, err);
	for (size_t i = 0; !status && i < entries.count; i++) {
		struct pv_err why = PV_ERR_INIT;
		if (pv_fixture_cache_verify(&entries.items[i], &why) == 0)
			continue;
		const char *name = name_of(&sources, entries.items[i].key);
		printf("damaged: %s%s%s%s: %s\n", entries.items[i].key, name ? " (" : "",
		    name ? name : "", name ? ")" : "", why.text);
		damaged++;
	}
	if (!status)
		printf("%zu entries, %zu damaged\n", entries.count, damaged);
	pv_fixture_entries_finish(&entries);
	finish_sources(&sources);
	return status ? status : damaged > 0;
}

struct told {
	const char *name;
	bool again;
	bool failed;
};

static void on_built(void *ctx, const struct pv_build_end *end)
{
	struct told *told = ctx;
	char span[32], size[32];
	const int64_t ms = (int64_t)end->duration_ns / 1000000;
	told->failed = end->failure != NULL;
	if (end->failure)
		fprintf(stderr, "provium: %s\n", end->failure);
	else if (end->cached)
		printf("already built: %s\n", told->name);
	else
		printf("%s: %s (%s, %s)\n", told->again ? "rebuilt" : "built", told->name,
		    show_size(end->bytes, size),
		    pv_units_show_duration(ms * 1000000, span, sizeof(span)));
}

static int build(const struct pv_fixture_command *command, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, bool again, struct pv_err *err)
{
	char key[PV_HASH_TEXT];
	char *path = NULL;
	struct told told = {.name = command->name, .again = again};
	int status = pv_fixture_find(place, command->name, false, &path, err);
	if (!status)
		status = pv_fixture_key(place, path, key, err);
	if (!status) {
		const struct pv_fixture_request request = {
		    .name = command->name, .path = path, .key = key};
		status = pv_dispatcher_build(&request, again, place, options, on_built, &told, err);
	}
	free(path);
	return status ? status : told.failed;
}

static int do_build(const struct pv_fixture_command *command, const struct pv_fixture_place *place,
    const struct pv_runner_options *options, struct pv_err *err)
{
	return build(command, place, options, false, err);
}

static int do_rebuild(const struct pv_fixture_command *command,
    const struct pv_fixture_place *place, const struct pv_runner_options *options,
    struct pv_err *err)
{
	return build(command, place, options, true, err);
}

static const struct pv_fixture_verb verbs[] = {
    {"list",    false, false, do_list	  },
    {"build",   true,  true,  do_build  },
    {"rebuild", true,  true,  do_rebuild},
    {"clean",   false, false, do_clean  },
    {"stale",   false, false, do_stale  },
    {"verify",  false, false, do_verify },
};

int pv_fixture_command_parse(
    struct pv_fixture_command *command, const struct pv_runner_options *options, struct pv_err *err)
{
	*command = (struct pv_fixture_command){0};
	size_t used = 1;
	for (size_t i = 0; options->word_count > 0 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, options->words[0]) == 0)
			command->verb = &verbs[i];
	}
	if (command->verb && command->verb->wants_name) {
		command->name = options->word_count > 1 ? options->words[1] : NULL;
		used = 2;
	}
	if (!command->verb || (command->verb->wants_name && !command->name))
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "usage: provium fixture list | build PATH | rebuild PATH | clean | stale | "
		    "verify; PATH is that of a fixture below a test root, without "
		    "`" PV_FIXTURE_SUFFIX "`");
	command->paths = options->words + used;
	command->path_count = (unsigned)(options->word_count - used);
	return 0;
}

bool pv_fixture_command_needs_kvm(const struct pv_fixture_command *command)
{
	return command->verb->needs_kvm;
}

int pv_fixture_command_run(const struct pv_fixture_command *command,
    const struct pv_fixture_place *place, const struct pv_runner_options *options,
    struct pv_err *err)
{
	return command->verb->run(command, place, options, err);
}

int pv_fixture_command_list_sources(const struct pv_fixture_place *place, struct pv_err *err)
{
	struct sources sources;
	const int status = find_sources(&sources, place, err);
	for (size_t i = 0; !status && i < sources.count; i++)
		printf("%s\n", sources.items[i].name);
	if (!status)
		printf("%zu fixture(s) found\n", sources.count);
	finish_sources(&sources);
	return status;
}
