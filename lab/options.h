/*
 * Creation and boot options of a VM (both calls take the same ones, the boot call wins field by
 * field).
 */
#ifndef PV_LAB_OPTIONS_H
#define PV_LAB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;

#define PV_OPTIONS_MEMORY_DEFAULT (UINT64_C(512) << 20)

/* A file put into the initramfs before any user code runs. */
struct pv_options_file {
	char *path;
	void *content;
	size_t len;
	unsigned mode;
};

/* Zeroed = nothing given. Strings and files are owned. */
struct pv_options {
	bool has_memory, has_cpus, has_rng_seed, has_initial_time, has_agent_timeout, has_files;
	uint64_t memory; /* bytes */
	unsigned cpus;
	char *kernel_cmdline;
	char *kernel_cmdline_append;
	uint64_t rng_seed;
	int64_t initial_time_ns;
	int64_t agent_timeout_ns;
	struct pv_options_file *files;
	size_t file_count;
};

/* Adds a file (copied). A `.` or `..` component, an empty path, or a mode over 07777 is refused
 * with a sentence that names the path. */
int pv_options_add_file(struct pv_options *options, const char *path, const void *content,
    size_t len, unsigned mode, struct pv_err *err);

/* Copies every field that `over` gives onto `base`. Returns 0 or -ENOMEM. */
int pv_options_merge(struct pv_options *base, const struct pv_options *over, struct pv_err *err);

void pv_options_finish(struct pv_options *options);

#endif
