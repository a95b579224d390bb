/*
 * `provium image build`: a guest from a distribution's kernel (the work is in lab/image.h).
 */
#ifndef PV_RUNNER_IMAGE_H
#define PV_RUNNER_IMAGE_H

#include <stddef.h>

/* Runs the subcommand with the words behind `image`; prints results and errors. Returns 0, or
 * non-zero after an error. */
int pv_runner_image(char *const *words, size_t count);

#endif
