/*
 * The command line. Theory: `table` is the only list of options; getopt_long's arrays and the help
 * text are made from it. A first word that is a subcommand's name switches the mode; everything
 * else that is not an option is a path.
 */
#include "runner/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/units.h"

struct option_row {
	const char *name;
	char letter;	      /* or 0 */
	const char *argument; /* as shown in the help, or NULL */
	int (*apply)(struct pv_runner_options *options, const char *value, struct pv_err *err);
	size_t flag; /* the bool that it sets when there is nothing to apply */
	const char *help;
};

#define APPLY(function) function, 0
#define FLAG(name)	NULL, offsetof(struct pv_runner_options, name)

static int set_config(struct pv_runner_options *options, const char *value, struct pv_err *err)
{
	options->config = value;
	return 0;
}

static int set_filter(struct pv_runner_options *options, const char *value, struct pv_err *err)
{
	options->filter = value;
	return 0;
}

static int set_timeout(struct pv_runner_options *options, const char *value, struct pv_err *err)
{
	char *end;
	errno = 0;
	unsigned long long seconds = strtoull(value, &end, 10);
	if (*value >= '0' && *value <= '9' && !*end && errno == 0 && seconds < 1000000000ull) {
		options->timeout_ns = (int64_t)seconds * 1000000000;
		return 0;
	}
	if (pv_units_duration(value, &options->timeout_ns) == 0)
		return 0;
	return pv_err_set(err, PV_ERR_INPUT, EINVAL,
	    "--timeout `%s`: not a duration; give seconds or a number with ms, s, m or h (0 = "
	    "none)",
	    value);
}

static int set_version(struct pv_runner_options *options, const char *value, struct pv_err *err)
{
	options->command = PV_RUNNER_VERSION;
	return 0;
}

static int set_help(struct pv_runner_options *options, const char *value, struct pv_err *err)
{
	options->command = PV_RUNNER_HELP;
	return 0;
}

static const struct option_row table[] = {
    {"config",       0,	  "PATH", APPLY(set_config),
	"configuration file (default: provium.toml, when it is there)"					      },
    {"filter",       0,	  "STR",	 APPLY(set_filter),  "only files whose root-relative path contains STR"   },
    {"include-slow", 0,	NULL,   FLAG(include_slow), "run tests marked meta.slow too"			  },
    {"timeout",	0,   "DUR",  APPLY(set_timeout),
	"limit for each file, as 90, 500ms, 2m; 0 = none (default: 300)"					},
    {"json",	     0,	NULL,   FLAG(json),	  "one JSON object per file instead of text"	    },
    {"verbose",	'v', NULL,   FLAG(verbose),	  "show passed and skipped tests too"		     },
    {"quiet",	      'q', NULL,	 FLAG(quiet),	      "show failing files and the summary only"	       },
    {"no-preflight", 0,	NULL,   FLAG(no_preflight), "skip the check of /dev/kvm at the start"		   },
    {"no-build",	 0,   NULL,	  FLAG(no_build),	  "do not run the `build` commands of profiles"	       },
    {"fixtures",	 0,   NULL,	  FLAG(fixtures),	  "with `list`: name the fixtures instead of the tests"},
    {"version",	0,   NULL,	 APPLY(set_version), "print the version"					},
    {"help",	     'h', NULL,	APPLY(set_help),	 "print this help"					  },
};

#define ROWS (sizeof(table) / sizeof(table[0]))

static const struct {
	const char *name;
	enum pv_runner_command command;
} commands[] = {
    {"list",    PV_RUNNER_LIST   },
    {"fixture", PV_RUNNER_FIXTURE},
    {"image",   PV_RUNNER_IMAGE  },
    {"init",    PV_RUNNER_INIT   },
    {"prepare", PV_RUNNER_PREPARE},
};

/* getopt's tables, made from ours. Long options without a letter get a code above all letters. */
static void fill_getopt(struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (size_t i = 0; i < ROWS; i++) {
		longs[i] = (struct option){.name = table[i].name,
		    .has_arg = table[i].argument ? required_argument : no_argument,
		    .val = 256 + (int)i};
		if (table[i].letter) {
			*shorts++ = table[i].letter;
			if (table[i].argument)
				*shorts++ = ':';
		}
	}
	longs[ROWS] = (struct option){0};
	*shorts = '\0';
}

static const struct option_row *find_row(int code)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (code == 256 + (int)i || (table[i].letter && code == table[i].letter))
			return &table[i];
	}
	return NULL;
}

static int check_combination(const struct pv_runner_options *options, struct pv_err *err)
{
	if (options->verbose && options->quiet)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "--verbose and --quiet exclude each other; give one");
	if (options->command == PV_RUNNER_LIST && options->json)
		return pv_err_set(
		    err, PV_ERR_INPUT, EINVAL, "list has no --json yet; leave it out");
	if (options->fixtures && options->command != PV_RUNNER_LIST)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "--fixtures belongs to `provium list`; run `provium list --fixtures`");
	if (options->command == PV_RUNNER_PREPARE && options->word_count > 1)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "prepare takes one profile or none (all), not `%s` too", options->words[1]);
	return 0;
}

int pv_runner_options_parse(
    struct pv_runner_options *options, int argc, char **argv, struct pv_err *err)
{
	*options = (struct pv_runner_options){
	    .command = PV_RUNNER_RUN, .timeout_ns = PV_RUNNER_TIMEOUT_DEFAULT};
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			options->command = commands[i].command;
	}
	int skip = options->command == PV_RUNNER_RUN ? 0 : 1;
	if (options->command == PV_RUNNER_IMAGE || options->command == PV_RUNNER_INIT) {
		options->words = argv + 2;
		options->word_count = (size_t)(argc - 2);
		return 0;
	}
	struct option longs[ROWS + 1];
	char shorts[2 * ROWS + 2];
	fill_getopt(longs, shorts);
	opterr = 0;
	optind = 0; /* glibc: forget an earlier scan altogether */
	for (int code; (code = getopt_long(argc - skip, argv + skip, shorts, longs, NULL)) != -1;) {
		if (code == ':')
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "%s needs a value; `provium --help` shows which",
			    argv[skip + optind - 1]);
		const struct option_row *row = find_row(code);
		/* In a cluster of letters, optind does not tell which. */
		const char letter[] = {'-', (char)optopt, '\0'};
		if (!row)
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "unknown option `%s`; `provium --help` lists them",
			    optopt > 0 && optopt < 256 ? letter : argv[skip + optind - 1]);
		if (!row->apply)
			*(bool *)((char *)options + row->flag) = true;
		int status = row->apply ? row->apply(options, optarg, err) : 0;
		if (status)
			return status;
		if (options->command == PV_RUNNER_HELP || options->command == PV_RUNNER_VERSION)
			return 0;
	}
	options->words = argv + skip + optind;
	options->word_count = (size_t)(argc - skip - optind);
	return check_combination(options, err);
}

void pv_runner_options_help(FILE *out)
{
	fputs(
	    "provium runs Lua tests against real Linux guests.\n\n"
	    "usage: provium [PATHS]... [OPTIONS]         run the *.test.lua files found there "
	    "(default: roots, or this folder)\n"
	    "       provium list [PATHS]... [OPTIONS]    name them without running\n"
	    "       provium fixture list|build PATH|rebuild PATH|clean|stale|verify [PATHS]...\n"
	    "                                            look after the cache of fixtures\n"
	    "       provium image build [OPTIONS]        make a guest from a distribution's kernel "
	    "(`provium image --help`)\n"
	    "       provium init [DIR]                   write a provium.toml and a first test\n"
	    "       provium prepare [PROFILE]            run the `build` commands of profiles and "
	    "nothing else\n\n",
	    out);
	for (size_t i = 0; i < ROWS; i++) {
		char left[64];
		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", table[i].letter ? '-' : ' ',
		    table[i].letter ? table[i].letter : ' ', table[i].letter ? ", " : "  ",
		    table[i].name, table[i].argument ? " " : "",
		    table[i].argument ? table[i].argument : "");
		fprintf(out, "  %-24s %s\n", left, table[i].help);
	}
	fputs("\nExit status: 0 all files clean, 1 at least one failed, crashed or timed out, 2 "
	      "provium itself could not work.\n"
	      "To come: --watch --coverage --tag --rerun-failed, events, repl (README.md "
	      "has the list).\n",
	    out);
}
