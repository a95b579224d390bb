/*
 * Before the first guest of a run boots, each profile's `build` is run once, by `sh -c` in the
 * profile's folder, with `{out}` already replaced by the folder for what it makes. That folder is
 * created and never emptied, so a build may be incremental. stdout is for reports that programs
 * read, so a build prints to stderr. Called by the command itself, on its only thread.
 */
#include "runner/build.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "lab/profile.h"

/* In the new process. */
static _Noreturn void become(const struct pv_profile *profile)
{
	if (dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && chdir(profile->dir) == 0)
		execl("/bin/sh", "sh", "-c", profile->build, (char *)NULL);
	fprintf(stderr, "provium: profile `%s`: build in `%s`: %s\n", profile->name, profile->dir,
	    strerror(errno));
	_exit(127);
}

/* Says how a command ended that did not end well. */
static int explain(const struct pv_profile *profile, int wait_status, struct pv_err *err)
{
	if (WIFSIGNALED(wait_status))
		return pv_err_set(err, PV_ERR_INPUT, ECHILD,
		    "profile `%s`: build `%s` was killed by signal %d", profile->name,
		    profile->build, WTERMSIG(wait_status));
	return pv_err_set(err, PV_ERR_INPUT, ECHILD,
	    "profile `%s`: build `%s` failed with exit status %d; mend it, or leave it out by "
	    "--no-build",
	    profile->name, profile->build, WEXITSTATUS(wait_status));
}

static int build(const struct pv_profile *profile, struct pv_err *err)
{
	int status = pv_fd_make_dirs(profile->build_out, err);
	if (status)
		return pv_err_prefix(err, "profile `%s`: build_out", profile->name);
	fprintf(stderr, "provium: profile `%s`: %s\n", profile->name, profile->build);
	const pid_t pid = fork();
	if (pid < 0)
		return pv_err_system(err, errno, "profile `%s`: build", profile->name);
	if (pid == 0)
		become(profile);
	int wait_status = 0;
	while (waitpid(pid, &wait_status, 0) < 0) {
		if (errno != EINTR)
			return pv_err_system(err, errno, "profile `%s`: build", profile->name);
	}
	return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0
		   ? 0
		   : explain(profile, wait_status, err);
}

int pv_build_run(const struct pv_config *config, const char *only, struct pv_err *err)
{
	if (only && !pv_config_profile(config, only))
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "provium prepare: profile `%s` not found in provium.toml", only);
	for (size_t i = 0; i < config->profile_count; i++) {
		const struct pv_profile *profile = &config->profiles[i];
		if (!profile->build || (only && strcmp(only, profile->name) != 0))
			continue;
		const int status = build(profile, err);
		if (status)
			return status;
	}
	return 0;
}
