/*
 * Options of a VM. Theory: creation and boot take the same table; each field remembers whether it
 * was given, and a merge copies given fields only. `files` is one field: a boot call that gives
 * files adds them behind those of the creation call, so that a later entry of the same path wins in
 * the archive. Script thread.
 */
#include "lab/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static const char *skip_slashes(const char *path)
{
	while (*path == '/')
		path++;
	return path;
}

/* Refuses what could leave the root or name nothing. */
static int check_path(const char *path, struct pv_err *err)
{
	const char *rest = skip_slashes(path);
	if (!*rest)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "opts.files: path `%s` names no file; give one like `/etc/test.conf`", path);
	if (rest[strlen(rest) - 1] == '/')
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "opts.files: path `%s` names a directory; give a file", path);
	if (strlen(rest) > 1024)
		return pv_err_set(err, PV_ERR_INPUT, ENAMETOOLONG,
		    "opts.files: path `%.40s...` is longer than 1024 bytes", path);
	while (*rest) {
		size_t len = strcspn(rest, "/");
		if ((len == 1 && rest[0] == '.') || (len == 2 && rest[0] == '.' && rest[1] == '.'))
			return pv_err_set(err, PV_ERR_INPUT, EINVAL,
			    "opts.files: path `%s` has a `.` or `..` component; give the path "
			    "without it",
			    path);
		rest = skip_slashes(rest + len);
	}
	return 0;
}

int pv_options_add_file(struct pv_options *options, const char *path, const void *content,
    size_t len, unsigned mode, struct pv_err *err)
{
	int status = check_path(path, err);
	if (status)
		return status;
	if (mode > 07777)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "opts.files: mode %#o of `%s` is over 07777", mode, path);
	struct pv_options_file *grown =
	    reallocarray(options->files, options->file_count + 1, sizeof(*grown));
	if (!grown)
		return pv_err_nomem(err, "opts.files");
	options->files = grown;
	struct pv_options_file *file = &grown[options->file_count];
	*file = (struct pv_options_file){.path = strdup(skip_slashes(path)),
	    .content = malloc(len ? len : 1),
	    .len = len,
	    .mode = mode};
	if (!file->path || !file->content) {
		free(file->path);
		free(file->content);
		return pv_err_nomem(err, "opts.files");
	}
	if (len)
		memcpy(file->content, content, len);
	options->file_count++;
	options->has_files = true;
	return 0;
}

static int merge_text(char **base, const char *over)
{
	if (!over)
		return 0;
	char *copy = strdup(over);
	if (!copy)
		return -ENOMEM;
	free(*base);
	*base = copy;
	return 0;
}

int pv_options_merge(struct pv_options *base, const struct pv_options *over, struct pv_err *err)
{
	if (!over)
		return 0;
	if (over->has_memory)
		base->has_memory = true, base->memory = over->memory;
	if (over->has_cpus)
		base->has_cpus = true, base->cpus = over->cpus;
	if (over->has_rng_seed)
		base->has_rng_seed = true, base->rng_seed = over->rng_seed;
	if (over->has_initial_time)
		base->has_initial_time = true, base->initial_time_ns = over->initial_time_ns;
	if (over->has_agent_timeout)
		base->has_agent_timeout = true, base->agent_timeout_ns = over->agent_timeout_ns;
	if (merge_text(&base->kernel_cmdline, over->kernel_cmdline) ||
	    merge_text(&base->kernel_cmdline_append, over->kernel_cmdline_append))
		return pv_err_nomem(err, "boot options");
	for (size_t i = 0; i < over->file_count; i++) {
		const struct pv_options_file *file = &over->files[i];
		int status = pv_options_add_file(
		    base, file->path, file->content, file->len, file->mode, err);
		if (status)
			return status;
	}
	return 0;
}

void pv_options_finish(struct pv_options *options)
{
	if (!options)
		return;
	free(options->kernel_cmdline);
	free(options->kernel_cmdline_append);
	for (size_t i = 0; i < options->file_count; i++) {
		free(options->files[i].path);
		free(options->files[i].content);
	}
	free(options->files);
	*options = (struct pv_options){0};
}
