/*
 * `provium image build`: a guest from a distribution's kernel (the work is in lab/image.h).
 */
#ifndef PV_RUNNER_IMAGE_H
#define PV_RUNNER_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "lab/image.h"

/* The options that say from what a guest is made, as `image build` and `init` take them. Zeroed =
 * nothing given. */
struct pv_runner_image_words {
	struct pv_image_options options; /* borrows argv; out_dir and name NULL when not given */
	const char **modules;		 /* owned; options.extra_modules */
	const char *folder;		 /* the one word that is no option, or NULL */
	bool help;
};

/*
 * Parses the words behind the subcommand. `folder_allowed`: one word that is no option may be
 * given. Returns 0, or -EINVAL with a sentence; the caller finishes the words either way.
 */
int pv_runner_image_parse(struct pv_runner_image_words *words, char *const *argv, size_t count,
    bool folder_allowed, struct pv_err *err);
void pv_runner_image_finish(struct pv_runner_image_words *words);

/* True when a kernel was given. */
bool pv_runner_image_has_source(const struct pv_runner_image_words *words);

/* Prints what a build has written. */
void pv_runner_image_show(
    const struct pv_image_options *options, const struct pv_image_result *result);

/* Prints the lines of the help that describe these options; `with_out`: --out too. */
void pv_runner_image_help_options(bool with_out);

/* Runs the subcommand with the words behind `image`; prints results and errors. Returns 0, or
 * non-zero after an error. */
int pv_runner_image(char *const *words, size_t count);

#endif
