/*
 * `provium fixture`: looking after the cache of fixtures.
 */
#ifndef PV_RUNNER_FIXTURE_COMMAND_H
#define PV_RUNNER_FIXTURE_COMMAND_H

#include <stdbool.h>

struct pv_err;
struct pv_fixture_place;
struct pv_runner_options;

/* The words behind `fixture`, told apart. */
struct pv_fixture_command {
	const struct pv_fixture_verb *verb;
	const char *name; /* of the fixture, or NULL where none is wanted */
	/* Where fixtures are looked for, beside the configured roots. */
	char *const *paths;
	unsigned path_count;
};

/* Returns 0, or -EINVAL with a sentence that shows the usage. */
int pv_fixture_command_parse(struct pv_fixture_command *command,
    const struct pv_runner_options *options, struct pv_err *err);

/* True when it boots guests. */
bool pv_fixture_command_needs_kvm(const struct pv_fixture_command *command);

/* Does it; prints to stdout. Returns 0, 1 when what was looked at is not in order or could not be
 * built, or -errno with a sentence when provium itself could not work. */
int pv_fixture_command_run(const struct pv_fixture_command *command,
    const struct pv_fixture_place *place, const struct pv_runner_options *options,
    struct pv_err *err);

/* `provium list --fixtures`: names them, then counts. Returns as above. */
int pv_fixture_command_list_sources(const struct pv_fixture_place *place, struct pv_err *err);

#endif
