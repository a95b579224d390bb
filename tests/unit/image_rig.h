/*
 * What images are made from, for tests: a kernel, a folder of modules and a busybox in a folder of
 * the test's own, packages of them, and a look into the archive that came out. Failures are
 * cmocka's.
 */
#ifndef PV_TESTS_UNIT_IMAGE_RIG_H
#define PV_TESTS_UNIT_IMAGE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "lab/image.h"

#define IMAGE_RIG_RELEASE "6.1.0-9-test"
#define IMAGE_RIG_MODULES "lib/modules/" IMAGE_RIG_RELEASE "/"

/* cmocka group set-up and tear-down: `vmlinuz`, `busybox` and a folder of modules, in which each
 * fourth file has another compression. */
int image_rig_set_up(void **state);
int image_rig_tear_down(void **state);

extern char image_rig_folder[];

/* The path of a file in the folder, valid for seven calls more. */
const char *image_rig_path(const char *name);
void image_rig_put(const char *name, const void *data, size_t len, mode_t mode);

/* Appends a file that looks like a bzImage and names its release. */
void image_rig_write_kernel(struct pv_bytes *out, const char *version);

enum image_content {
	WITH_KERNEL = 1,
	WITH_MODULES = 2,
	WITH_TWO_KERNELS = 4,
	WITH_OTHER_RELEASE = 8,
};

/* Writes a package whose `member` is a tar in the compression of libarchive's `filter`, of enum
 * image_content. */
void image_rig_put_package(
    const char *name, const char *member, int filter, const char *prefix, unsigned content);

/* For an image at `out` in the folder, without a source. */
struct pv_image_options image_rig_options(const char *out);
void image_rig_build(const struct pv_image_options *options, struct pv_image_result *result);

/* What an archive holds; texts end with a NUL that is not counted. */
struct image_files {
	struct pv_bytes list; /* "path mode [-> target]", one a line */
	struct pv_bytes agent_modules, later_modules, dep, alias;
};
void image_rig_read(const char *path, struct image_files *files);
void image_rig_finish(struct image_files *files);
bool image_rig_has_line(const struct pv_bytes *text, const char *line);

#endif
