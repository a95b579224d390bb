/*
 * provium: the command. Theory: options, then configuration, then pre-flight, then discovery and
 * the dispatcher, or what a subcommand does instead. Exit codes are clamped to 0 (all files clean),
 * 1 (at least one was not) and 2 (provium itself could not work).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "lab/config.h"
#include "lab/fixture_cache.h"
#include "lab/fixture_key.h"
#include "runner/build.h"
#include "runner/discover.h"
#include "runner/dispatcher.h"
#include "runner/fixture_command.h"
#include "runner/image.h"
#include "runner/init.h"
#include "runner/options.h"
#include "runner/preflight.h"
#include "runner/report.h"
#include "runner/signals.h"

enum {
	EXIT_CLEAN = 0,
	EXIT_UNCLEAN = 1,
	EXIT_INTERNAL = 2,
};

static int fail(const struct pv_err *err)
{
	fprintf(stderr, "provium: %s\n", err->text);
	return EXIT_INTERNAL;
}

static int list_files(const struct pv_discovery *discovery)
{
	for (size_t i = 0; i < discovery->count; i++)
		printf("%s\n", discovery->files[i].path);
	printf("%zu test(s) found\n", discovery->count);
	return EXIT_CLEAN;
}

/* Makes room in the fixture cache; a cache that cannot be tidied is no reason not to run. */
static void trim_cache(const struct pv_config *config)
{
	struct pv_err err = PV_ERR_INIT;
	unsigned evicted;
	if (pv_fixture_cache_trim(config->cache_dir, config->cache_max_size, &evicted, &err))
		fprintf(stderr, "provium: warning: %s\n", err.text);
}

static int run_files(const struct pv_discovery *discovery, const struct pv_fixture_place *place,
    const struct pv_runner_options *options)
{
	struct pv_report report = {.out = stdout,
	    .json = options->json,
	    .verbose = options->verbose,
	    .quiet = options->quiet};
	struct pv_err err = PV_ERR_INIT;
	if (discovery->count == 0) {
		pv_report_nothing(&report);
		return EXIT_CLEAN;
	}
	if (!options->no_build && pv_build_run(place->config, NULL, &err))
		return fail(&err);
	int64_t start = pv_clock_now();
	trim_cache(place->config);
	int status = pv_dispatcher_run(discovery, place, options, &report, &err);
	pv_report_summary(&report, pv_clock_now() - start);
	if (status)
		fprintf(stderr, "provium: %s\n", err.text);
	if (status && status != -EINTR)
		return EXIT_INTERNAL;
	return status || report.unclean_files ? EXIT_UNCLEAN : EXIT_CLEAN;
}

/*
 * The configuration: the one that was named; else provium.toml here; else the one in the first
 * path's folder, so that a folder of tests can bring its own (`provium examples/`, or a file
 * there).
 */
static int load_config(const struct pv_runner_options *options, char *const *paths,
    size_t path_count, struct pv_config *config, struct pv_err *err)
{
	static const char name[] = "provium.toml";
	char beside[4096];
	if (options->config)
		return pv_config_load(config, options->config, true, err);
	if (access(name, F_OK) < 0 && path_count) {
		/* The folder itself, or that of a file. */
		const char *path = paths[0], *slash = strrchr(path, '/');
		struct stat st;
		int len = (int)strlen(path);
		if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
			len = slash ? (int)(slash - path) : -1;
		if (len >= 0 &&
		    (size_t)snprintf(beside, sizeof(beside), "%.*s/%s", len, path, name) <
			sizeof(beside) &&
		    access(beside, F_OK) == 0)
			return pv_config_load(config, beside, true, err);
	}
	return pv_config_load(config, name, false, err);
}

/* `run` and `list` share everything up to the list of files. */
static int discover_and(
    const struct pv_runner_options *options, const struct pv_fixture_place *place)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_discovery discovery;
	if (options->command == PV_RUNNER_RUN && !options->no_preflight &&
	    pv_preflight_check(stderr))
		return EXIT_INTERNAL;
	if (options->fixtures)
		return pv_fixture_command_list_sources(place, &err) ? fail(&err) : EXIT_CLEAN;
	if (pv_discovery_walk(&discovery, options->words, options->word_count, place->config,
		options->filter, &err))
		return fail(&err);
	const int result = options->command == PV_RUNNER_LIST
			       ? list_files(&discovery)
			       : run_files(&discovery, place, options);
	pv_discovery_finish(&discovery);
	return result;
}

static int look_after_fixtures(const struct pv_runner_options *options,
    const struct pv_fixture_command *command, const struct pv_fixture_place *place)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_fixture_command_needs_kvm(command)) {
		if (!options->no_preflight && pv_preflight_check(stderr))
			return EXIT_INTERNAL;
		if (!options->no_build && pv_build_run(place->config, NULL, &err))
			return fail(&err);
		trim_cache(place->config);
	}
	const int status = pv_fixture_command_run(command, place, options, &err);
	if (status < 0)
		return fail(&err);
	return status ? EXIT_UNCLEAN : EXIT_CLEAN;
}

/* Everything that needs the configuration. */
static int configured(const struct pv_runner_options *options)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_config config;
	struct pv_fixture_place place;
	struct pv_fixture_command command = {0};
	char *const *paths = options->words;
	size_t path_count = options->word_count;
	if (options->command == PV_RUNNER_FIXTURE) {
		if (pv_fixture_command_parse(&command, options, &err))
			return fail(&err);
		paths = command.paths;
		path_count = command.path_count;
	}
	if (load_config(options, paths, path_count, &config, &err))
		return fail(&err);
	for (size_t i = 0; i < config.warning_count; i++)
		fprintf(stderr, "provium: warning: %s\n", config.warnings[i]);
	int result = EXIT_INTERNAL;
	if (pv_fixture_place_init(&place, &config, paths, path_count, &err))
		fail(&err);
	else if (options->command == PV_RUNNER_FIXTURE)
		result = look_after_fixtures(options, &command, &place);
	else
		result = discover_and(options, &place);
	pv_fixture_place_finish(&place);
	pv_config_finish(&config);
	return result;
}

/* `provium prepare [PROFILE]` */
static int prepare(const struct pv_runner_options *options)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_config config;
	if (load_config(options, NULL, 0, &config, &err))
		return fail(&err);
	const char *only = options->word_count ? options->words[0] : NULL;
	const int status = pv_build_run(&config, only, &err);
	pv_config_finish(&config);
	return status ? fail(&err) : EXIT_CLEAN;
}

int main(int argc, char **argv)
{
	struct pv_runner_options options;
	struct pv_err err = PV_ERR_INIT;
	/* A file that may not grow is an error of the write. */
	pv_signals_survive(SIGXFSZ);
	if (pv_runner_options_parse(&options, argc, argv, &err))
		return fail(&err);
	switch (options.command) {
	case PV_RUNNER_HELP: pv_runner_options_help(stdout); return EXIT_CLEAN;
	case PV_RUNNER_VERSION: printf("provium %s\n", PV_VERSION); return EXIT_CLEAN;
	case PV_RUNNER_IMAGE:
		return pv_runner_image(options.words, options.word_count) ? EXIT_INTERNAL
									  : EXIT_CLEAN;
	case PV_RUNNER_INIT:
		return pv_runner_init(options.words, options.word_count) ? EXIT_INTERNAL
									 : EXIT_CLEAN;
	case PV_RUNNER_PREPARE: return prepare(&options);
	case PV_RUNNER_FIXTURE:
	case PV_RUNNER_RUN:
	case PV_RUNNER_LIST: break;
	}
	return configured(&options);
}
