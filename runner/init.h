/*
 * `provium init [DIR]`: a provium.toml and a first test for a newcomer.
 */
#ifndef PV_RUNNER_INIT_H
#define PV_RUNNER_INIT_H

#include <stddef.h>

/* Runs the subcommand with the words behind `init`; prints results and errors. Never overwrites.
 * Returns 0, or non-zero after an error. */
int pv_runner_init(char *const *words, size_t count);

#endif
