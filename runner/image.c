/*
 * `provium image build`. Theory: words are looked up in one table, from which the help is made too;
 * every option has a value that is the next word or stands behind `=`. What a person needs
 * afterwards is printed: the files, what the kernel lacks, and the next command.
 */
#include "runner/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define NAME_DEFAULT "linux"

enum option {
	OPTION_DEB,
	OPTION_KERNEL,
	OPTION_MODULES,
	OPTION_RUNNING,
	OPTION_OUT,
	OPTION_NAME,
	OPTION_BUSYBOX,
	OPTION_MODULE,
	OPTION_CMDLINE,
	OPTION_HELP,
	OPTION_COUNT,
};

static const struct {
	const char *name;
	const char *argument; /* as shown in the help, or NULL */
	const char *help;
} table[] = {
    [OPTION_DEB] = {"--deb",     "FILE",
		    "a Debian kernel package, linux-image-*.deb (it is not installed)"	  },
    [OPTION_KERNEL] = {"--kernel",  "FILE", "a bzImage (vmlinuz) or vmlinux"			   },
    [OPTION_MODULES] = {"--modules", "DIR",
		    "its modules, .../lib/modules/<release> (default: all is built in)"	   },
    [OPTION_RUNNING] = {"--running", NULL,   "the kernel that runs here"			      },
    [OPTION_OUT] = {"--out",     "DIR",  "where the guest is written (default: .provium/<name>)"},
    [OPTION_NAME] = {"--name",    "NAME", "what tests call it (default: " NAME_DEFAULT ")"       },
    [OPTION_BUSYBOX] = {"--busybox", "FILE", "a static busybox (default: the one in PATH)"	  },
    [OPTION_MODULE] = {"--module",  "NAME", "load this module too; may be repeated"		  },
    [OPTION_CMDLINE] = {"--cmdline", "TEXT", "the kernel's command line instead of a quiet one"     },
    [OPTION_HELP] = {"--help",    NULL,   "print this help"				      },
};

/* --- words --- */

static int add_module(struct pv_runner_image_words *words, const char *name, struct pv_err *err)
{
	const char **grown =
	    reallocarray(words->modules, words->options.extra_module_count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "command line");
	words->modules = grown;
	words->options.extra_modules = grown;
	grown[words->options.extra_module_count++] = name;
	return 0;
}

static int apply(
    struct pv_runner_image_words *words, enum option option, const char *value, struct pv_err *err)
{
	struct pv_image_options *options = &words->options;
	switch (option) {
	case OPTION_DEB: options->source.package = value; return 0;
	case OPTION_KERNEL: options->source.kernel = value; return 0;
	case OPTION_MODULES: options->source.modules = value; return 0;
	case OPTION_RUNNING: options->source.running = true; return 0;
	case OPTION_OUT: options->out_dir = value; return 0;
	case OPTION_NAME: options->name = value; return 0;
	case OPTION_BUSYBOX: options->busybox = value; return 0;
	case OPTION_MODULE: return add_module(words, value, err);
	case OPTION_CMDLINE: options->cmdline = value; return 0;
	case OPTION_HELP: words->help = true; return 0;
	case OPTION_COUNT: break;
	}
	return 0;
}

/* The row of an option word, with or without `=value`; OPTION_COUNT when there is none. */
static enum option find_option(const char *word)
{
	size_t len = strcspn(word, "=");
	enum option option = 0;
	while (option < OPTION_COUNT &&
	       (strlen(table[option].name) != len || memcmp(table[option].name, word, len) != 0))
		option++;
	return strcmp(word, "-h") == 0 ? OPTION_HELP : option;
}

static int take_folder(
    struct pv_runner_image_words *words, const char *word, bool allowed, struct pv_err *err)
{
	if (!allowed)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "`%s` is no option; `provium image --help` lists them", word);
	if (words->folder)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "`%s` and `%s`: give one folder",
		    words->folder, word);
	words->folder = word;
	return 0;
}

int pv_runner_image_parse(struct pv_runner_image_words *words, char *const *argv, size_t count,
    bool folder_allowed, struct pv_err *err)
{
	*words = (struct pv_runner_image_words){0};
	int status = 0;
	for (size_t i = 0; i < count && !status; i++) {
		const char *word = argv[i], *value = strchr(word, '=');
		if (word[0] != '-') {
			status = take_folder(words, word, folder_allowed, err);
			continue;
		}
		enum option option = find_option(word);
		if (option == OPTION_COUNT)
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "unknown option `%s`; `provium image --help` lists them", word);
		if (!table[option].argument && value)
			return pv_err_set(
			    err, PV_ERR_INPUT, EINVAL, "%s takes no value", table[option].name);
		if (table[option].argument && !value && ++i == count)
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "%s needs a value; `provium image --help` shows which", word);
		status = apply(words, option, value ? value + 1 : argv[i], err);
	}
	return status;
}

void pv_runner_image_finish(struct pv_runner_image_words *words)
{
	free(words->modules);
	*words = (struct pv_runner_image_words){0};
}

bool pv_runner_image_has_source(const struct pv_runner_image_words *words)
{
	return words->options.source.package || words->options.source.kernel ||
	       words->options.source.running;
}

/* --- what is printed --- */

static int fail(const struct pv_err *err)
{
	fprintf(stderr, "provium image: %s\n", err->text);
	return -err->code;
}

void pv_runner_image_show(
    const struct pv_image_options *options, const struct pv_image_result *result)
{
	printf("guest `%s`%s%s: kernel %s, %zu modules loaded at boot, %zu more for modprobe\n",
	    options->name, result->unchanged ? " is up to date in " : " written to ",
	    options->out_dir, *result->release ? result->release : "of unknown release",
	    result->modules_loaded, result->modules_included);
	if (*result->missing)
		printf("  the kernel lacks: %s\n", result->missing);
	if (result->unchanged)
		return;
	printf("  %s\n  %s\n  %s\n", result->kernel, result->initrd, result->profile);
}

void pv_runner_image_help_options(bool with_out)
{
	for (enum option option = 0; option < OPTION_COUNT; option++) {
		if (option == OPTION_OUT && !with_out)
			continue;
		char left[32];
		snprintf(left, sizeof(left), "%s%s%s", table[option].name,
		    table[option].argument ? " " : "",
		    table[option].argument ? table[option].argument : "");
		printf("  %-18s %s\n", left, table[option].help);
	}
}

static void help(void)
{
	fputs("provium image makes a guest from a distribution's kernel: the kernel, an initramfs "
	      "with busybox and the modules that\n"
	      "tests need, and the profile that names them. Nothing is installed, and no root is "
	      "needed.\n\n"
	      "usage: provium image build (--deb FILE | --kernel FILE [--modules DIR] | --running) "
	      "[OPTIONS]\n\n",
	    stdout);
	pv_runner_image_help_options(true);
	fputs("\nProfiles are found when provium.toml says so:\n\n  [profiles]\n  from_dir = "
	      "\".provium\"\n",
	    stdout);
}

/* The folder that from_dir must name for this guest to be found. */
static void show_next(const char *out_dir)
{
	size_t len = strlen(out_dir);
	while (len > 1 && out_dir[len - 1] == '/')
		len--;
	const char *slash = memrchr(out_dir, '/', len);
	printf(
	    "next: put `[profiles] from_dir = \"%.*s\"` into provium.toml, or run `provium init`; "
	    "then `provium tests/`\n",
	    slash > out_dir ? (int)(slash - out_dir) : 1, slash ? out_dir : ".");
}

static int build(struct pv_runner_image_words *words)
{
	struct pv_image_options *options = &words->options;
	struct pv_err err = PV_ERR_INIT;
	struct pv_image_result result;
	char out_dir[4096];
	if (!options->name)
		options->name = NAME_DEFAULT;
	if (!options->out_dir) {
		snprintf(out_dir, sizeof(out_dir), ".provium/%s", options->name);
		options->out_dir = out_dir;
	}
	if (pv_image_build(options, &result, &err))
		return fail(&err);
	pv_runner_image_show(options, &result);
	if (!result.unchanged)
		show_next(options->out_dir);
	pv_image_result_finish(&result);
	return 0;
}

int pv_runner_image(char *const *words, size_t count)
{
	struct pv_runner_image_words parsed = {0};
	struct pv_err err = PV_ERR_INIT;
	bool build_word = count && strcmp(words[0], "build") == 0;
	int status =
	    pv_runner_image_parse(&parsed, words + build_word, count - build_word, false, &err);
	if (!status && !parsed.help && !build_word)
		status = pv_err_set(&err, PV_ERR_INPUT, EINVAL,
		    "say `provium image build`; `provium image --help` explains it");
	if (!status && !parsed.help && !pv_runner_image_has_source(&parsed))
		status = pv_err_set(&err, PV_ERR_INPUT, EINVAL,
		    "from which kernel? give --deb FILE, --kernel FILE or --running");
	if (status)
		fail(&err);
	else if (parsed.help)
		help();
	else
		status = build(&parsed);
	pv_runner_image_finish(&parsed);
	return status;
}
