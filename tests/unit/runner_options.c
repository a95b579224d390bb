/*
 * The command line of provium: every option, where it may stand, and the sentences of what is
 * wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "runner/image.h"
#include "runner/options.h"

#define SECOND INT64_C(1000000000)

/* argv in memory of its own, because getopt sorts it. */
static char *words[16];

static int parse(struct pv_runner_options *options, struct pv_err *err, const char *first, ...)
{
	va_list args;
	int count = 0;
	words[count++] = (char *)"provium";
	va_start(args, first);
	for (const char *word = first; word; word = va_arg(args, const char *))
		words[count++] = (char *)word;
	va_end(args);
	words[count] = NULL;
	*err = (struct pv_err)PV_ERR_INIT;
	return pv_runner_options_parse(options, count, words, err);
}

static void without_words_it_runs_with_defaults(void **state)
{
	struct pv_runner_options options;
	struct pv_err err;
	assert_int_equal(parse(&options, &err, NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_RUN);
	assert_int_equal(options.word_count, 0);
	assert_true(options.timeout_ns == 300 * SECOND);
	assert_null(options.config);
	assert_null(options.filter);
	assert_false(options.json || options.verbose || options.quiet || options.no_preflight ||
		     options.include_slow || options.no_build);
}

static void every_option_is_taken(void **state)
{
	struct pv_runner_options options;
	struct pv_err err;
	assert_int_equal(
	    parse(&options, &err, "--config", "c.toml", "--filter=net", "--include-slow",
		"--timeout", "90", "--json", "-v", "--no-preflight", "--no-build", NULL),
	    0);
	assert_string_equal(options.config, "c.toml");
	assert_string_equal(options.filter, "net");
	assert_true(
	    options.include_slow && options.json && options.verbose && options.no_preflight &&
	    options.no_build);
	assert_true(options.timeout_ns == 90 * SECOND);
	assert_int_equal(parse(&options, &err, "--quiet", NULL), 0);
	assert_true(options.quiet);
	assert_int_equal(parse(&options, &err, "-q", NULL), 0);
	assert_true(options.quiet);
	assert_int_equal(parse(&options, &err, "--verbose", NULL), 0);
	assert_true(options.verbose);
}

static void options_stand_before_and_behind_paths(void **state)
{
	struct pv_runner_options options;
	struct pv_err err;
	assert_int_equal(parse(&options, &err, "a", "--json", "b", "-v", "c", NULL), 0);
	assert_true(options.json && options.verbose);
	assert_int_equal(options.word_count, 3);
	assert_string_equal(options.words[0], "a");
	assert_string_equal(options.words[2], "c");
	assert_int_equal(parse(&options, &err, "--", "--json", NULL), 0);
	assert_false(options.json);
	assert_int_equal(options.word_count, 1);
	assert_string_equal(options.words[0], "--json");
}

static void subcommands_are_first_words(void **state)
{
	struct pv_runner_options options;
	struct pv_err err;
	assert_int_equal(parse(&options, &err, "list", "tests", "--filter", "x", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_LIST);
	assert_int_equal(options.word_count, 1);
	assert_string_equal(options.words[0], "tests");
	assert_string_equal(options.filter, "x");
	assert_int_equal(parse(&options, &err, "image", "build", "--deb", "x", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_IMAGE);
	assert_int_equal(options.word_count, 3);
	assert_string_equal(options.words[0], "build");
	assert_int_equal(parse(&options, &err, "init", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_INIT);
	assert_int_equal(options.word_count, 0);
	assert_int_equal(parse(&options, &err, "prepare", "linux", "--config", "c", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_PREPARE);
	assert_string_equal(options.words[0], "linux");
	assert_string_equal(options.config, "c");
	assert_int_equal(parse(&options, &err, "tests", "list", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_RUN);
	assert_int_equal(options.word_count, 2);
}

static void durations_are_seconds_or_have_a_unit(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
	    {"0",	  0		   },
	    {"1",	  SECOND	},
	    {"500ms", SECOND / 2	},
	    {"1.5s",  3 * SECOND / 2},
	    {"2m",	   120 * SECOND  },
	    {"1h",	   3600 * SECOND },
	};
	static const char *const bad[] = {
	    "", "x", "-1", "+1", " 1", "1.5", "5x", "1e3", "99999999999", "0x10"};
	struct pv_runner_options options;
	struct pv_err err;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse(&options, &err, "--timeout", good[i].text, NULL), 0);
		assert_true(options.timeout_ns == good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256];
		assert_int_equal(parse(&options, &err, "--timeout", bad[i], NULL), -EINVAL);
		snprintf(text, sizeof(text),
		    "--timeout `%s`: not a duration; give seconds or a number with ms, s, m or h "
		    "(0 = none)",
		    bad[i]);
		assert_string_equal(err.text, text);
	}
}

static void what_is_wrong_is_said(void **state)
{
	struct pv_runner_options options;
	struct pv_err err;
	assert_int_equal(parse(&options, &err, "tests", "--no-such", NULL), -EINVAL);
	assert_string_equal(err.text, "unknown option `--no-such`; `provium --help` lists them");
	assert_int_equal(parse(&options, &err, "-x", NULL), -EINVAL);
	assert_string_equal(err.text, "unknown option `-x`; `provium --help` lists them");
	assert_int_equal(parse(&options, &err, "--filter", NULL), -EINVAL);
	assert_string_equal(err.text, "--filter needs a value; `provium --help` shows which");
	assert_int_equal(parse(&options, &err, "list", "--timeout", NULL), -EINVAL);
	assert_string_equal(err.text, "--timeout needs a value; `provium --help` shows which");
	assert_int_equal(parse(&options, &err, "-v", "-q", NULL), -EINVAL);
	assert_string_equal(err.text, "--verbose and --quiet exclude each other; give one");
	assert_int_equal(parse(&options, &err, "list", "--json", NULL), -EINVAL);
	assert_int_equal(parse(&options, &err, "prepare", "a", "b", NULL), -EINVAL);
	assert_string_equal(err.text, "prepare takes one profile or none (all), not `b` too");
}

/* An option that is wrong inside of a cluster of letters, or with a value that it does not take. */
static void wrong_options_are_named_also_when_they_are_joined(void **state)
{
	struct pv_runner_options options;
	struct pv_err err;
	assert_int_equal(parse(&options, &err, "-vx", "tests", NULL), -EINVAL);
	assert_string_equal(err.text, "unknown option `-x`; `provium --help` lists them");
	assert_int_equal(parse(&options, &err, "tests", "-xv", NULL), -EINVAL);
	assert_string_equal(err.text, "unknown option `-x`; `provium --help` lists them");
	assert_int_equal(parse(&options, &err, "--json=1", "tests", NULL), -EINVAL);
	assert_non_null(strstr(err.text, "--json"));
}

static void help_and_version_win_over_what_follows(void **state)
{
	struct pv_runner_options options;
	struct pv_err err;
	assert_int_equal(parse(&options, &err, "--help", "--no-such", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_HELP);
	assert_int_equal(parse(&options, &err, "tests", "-h", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_HELP);
	assert_int_equal(parse(&options, &err, "--version", NULL), 0);
	assert_int_equal(options.command, PV_RUNNER_VERSION);
}

static void the_help_has_all_options(void **state)
{
	static const char *const all[] = {"--config PATH", "--filter STR", "--include-slow",
	    "--timeout DUR", "--json", "-v, --verbose", "-q, --quiet", "--no-preflight",
	    "--version", "-h, --help", "--watch", "--coverage", "provium init",
	    "provium image build"};
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	pv_runner_options_help(out);
	fclose(out);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!strstr(text, all[i]))
			fail_msg("`%s` is not in the help", all[i]);
	}
	free(text);
}

static void the_words_of_image_are_parsed(void **state)
{
	char *const good[] = {(char *)"--deb=a.deb", (char *)"--out", (char *)"o", (char *)"--name",
	    (char *)"n", (char *)"--module", (char *)"m1", (char *)"--module=m2",
	    (char *)"--cmdline", (char *)"a=b c", (char *)"--busybox", (char *)"b"};
	struct pv_runner_image_words parsed;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_runner_image_parse(&parsed, good, 12, false, &err), 0);
	assert_true(pv_runner_image_has_source(&parsed));
	assert_string_equal(parsed.options.source.package, "a.deb");
	assert_string_equal(parsed.options.out_dir, "o");
	assert_string_equal(parsed.options.name, "n");
	assert_string_equal(parsed.options.cmdline, "a=b c");
	assert_string_equal(parsed.options.busybox, "b");
	assert_int_equal(parsed.options.extra_module_count, 2);
	assert_string_equal(parsed.options.extra_modules[1], "m2");
	pv_runner_image_finish(&parsed);
	char *const kernel[] = {
	    (char *)"--kernel", (char *)"k", (char *)"--modules", (char *)"m", (char *)"dir"};
	assert_int_equal(pv_runner_image_parse(&parsed, kernel, 5, true, &err), 0);
	assert_string_equal(parsed.options.source.kernel, "k");
	assert_string_equal(parsed.options.source.modules, "m");
	assert_string_equal(parsed.folder, "dir");
	pv_runner_image_finish(&parsed);
	char *const running[] = {(char *)"--running", (char *)"--help"};
	assert_int_equal(pv_runner_image_parse(&parsed, running, 2, false, &err), 0);
	assert_true(parsed.options.source.running && parsed.help);
	pv_runner_image_finish(&parsed);
	assert_int_equal(pv_runner_image_parse(&parsed, NULL, 0, false, &err), 0);
	assert_false(pv_runner_image_has_source(&parsed));
	pv_runner_image_finish(&parsed);
}

static void wrong_words_of_image_are_named(void **state)
{
	static const struct {
		const char *words[3];
		size_t count;
		bool folder;
		const char *message;
	} cases[] = {
	    {{"--dep"},	1, false, "unknown option `--dep`; `provium image --help` lists them"},
	    {{"--deb"},	1, false, "--deb needs a value; `provium image --help` shows which"  },
	    {{"--running=1"}, 1, false, "--running takes no value"				  },
	    {{"x"},	    1, false, "`x` is no option; `provium image --help` lists them"	   },
	    {{"x", "y"},	 2, true,  "`x` and `y`: give one folder"				},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pv_runner_image_words parsed;
		struct pv_err err = PV_ERR_INIT;
		assert_int_equal(pv_runner_image_parse(&parsed, (char *const *)cases[i].words,
				     cases[i].count, cases[i].folder, &err),
		    -EINVAL);
		assert_string_equal(err.text, cases[i].message);
		pv_runner_image_finish(&parsed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_words_it_runs_with_defaults),
	    cmocka_unit_test(every_option_is_taken),
	    cmocka_unit_test(options_stand_before_and_behind_paths),
	    cmocka_unit_test(subcommands_are_first_words),
	    cmocka_unit_test(durations_are_seconds_or_have_a_unit),
	    cmocka_unit_test(what_is_wrong_is_said),
	    cmocka_unit_test(wrong_options_are_named_also_when_they_are_joined),
	    cmocka_unit_test(help_and_version_win_over_what_follows),
	    cmocka_unit_test(the_help_has_all_options),
	    cmocka_unit_test(the_words_of_image_are_parsed),
	    cmocka_unit_test(wrong_words_of_image_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
