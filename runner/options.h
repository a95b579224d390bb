/*
 * The command line of provium: one table of options that is parsed, and from which the help is
 * made.
 */
#ifndef PV_RUNNER_OPTIONS_H
#define PV_RUNNER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct pv_err;
struct pv_event_outlet;

/* The file limit when none is given. */
#define PV_RUNNER_TIMEOUT_DEFAULT (INT64_C(300) * 1000000000)

enum pv_runner_command {
	PV_RUNNER_RUN,
	PV_RUNNER_LIST,
	PV_RUNNER_FIXTURE,
	PV_RUNNER_IMAGE,
	PV_RUNNER_INIT,
	PV_RUNNER_PREPARE,
	PV_RUNNER_HELP,
	PV_RUNNER_VERSION,
};

struct pv_runner_options {
	enum pv_runner_command command;
	const char *config; /* NULL: provium.toml, if there */
	const char *filter;
	int64_t timeout_ns; /* 0 = none */
	bool json;
	bool verbose;
	bool quiet;
	bool no_preflight;
	bool no_build;
	bool include_slow;
	bool fixtures; /* `list` names these */
	/* Who hears the events of the run; NULL: nobody. */
	const struct pv_event_outlet *outlet;
	/* What remains: paths, or the words behind the subcommand. Points into argv. */
	char **words;
	size_t word_count;
};

/*
 * Parses argv. Options are understood before and behind paths; `image` and `init` parse their own
 * words. Returns 0, or -EINVAL with a sentence.
 */
int pv_runner_options_parse(
    struct pv_runner_options *options, int argc, char **argv, struct pv_err *err);

/* Prints the help. */
void pv_runner_options_help(FILE *out);

#endif
