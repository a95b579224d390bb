/*
 * A guest with marks in its memory and snapshot files of it that build on each other, for tests of
 * such files. Needs /dev/kvm. Failures are cmocka's.
 */
#ifndef PV_TESTS_UNIT_LAYER_RIG_H
#define PV_TESTS_UNIT_LAYER_RIG_H

#include <stdint.h>

struct guest;
struct pv_machine;
struct pv_template;

#define LAYER_RIG_MARKS 0x200000u
#define LAYER_RIG_DEPTH 5

struct layer_rig {
	struct guest *guest;
	char root[64]; /* holds `tree` and files outside of it */
	char tree[80]; /* the cache */
	char paths[LAYER_RIG_DEPTH][128];
};

/* cmocka set-up and tear-down for a test with a struct layer_rig as its state. */
int layer_rig_set_up(void **state);
int layer_rig_tear_down(void **state);

/* Lets a paused machine count on for a moment. */
void layer_rig_run(struct pv_machine *machine);
/* The caller's reference. */
struct pv_template *layer_rig_open(const char *path);
void layer_rig_write(struct layer_rig *rig, const struct pv_template *template, const char *path);
uint64_t layer_rig_size(const char *path);

/* The template of a machine with 2 MiB of marks, written as the first file. */
void layer_rig_make_base(struct layer_rig *rig);
/* Restores one file, lets the guest run and make mark number `level`, writes the next. */
void layer_rig_make_next(struct layer_rig *rig, const char *from, const char *to, uint32_t level);
/* The first and what builds on it, `depth` in all. */
void layer_rig_make_chain(struct layer_rig *rig, unsigned depth);
/* Restores a file of that level: the marks must be there, it must run, and go back. */
void layer_rig_check(struct layer_rig *rig, const char *path, uint32_t level);

#endif
