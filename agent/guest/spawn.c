/*
 * fork and execve. A fork, not vfork or posix_spawn: those stop the calling thread until the
 * program is executed, and that can take for ever on a hung file system, while nothing may stop the
 * loop. _Fork skips the handlers of the C library; between it and execve the child only makes
 * system calls, because another thread may have held any lock. So everything is prepared before:
 * the environment, and the names to try, one for each folder of PATH as execvp(3) does it.
 *
 * All our descriptors close on execution, signals have default dispositions already (pv_reaper_init
 * blocks, it does not ignore). The child reports a failure through a pipe that execution closes; it
 * is read when the child has ended, so it costs no event.
 */
#include "agent/guest/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/proto/request.h"
#include "base/err.h"
#include "base/fd.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum stage { STAGE_FOLDER, STAGE_PROGRAM };

struct report {
	int stage;
	int code;
};

/* What the child needs, made before the fork. */
struct plan {
	char *const *argv;
	char **env;	       /* owned; the strings are not */
	char **script_argv;    /* owned: {"/bin/sh", <program>, arguments..., NULL} */
	struct pv_bytes names; /* "path\0path\0": what to try, in order */
	const char *cwd;
};

static void plan_finish(struct plan *plan)
{
	free(plan->env);
	free(plan->script_argv);
	pv_bytes_finish(&plan->names);
}

/* The entry of `env` that has the same name as `entry`, or NULL. */
static char **find_variable(char **env, const char *entry)
{
	size_t len = strcspn(entry, "=");
	for (; *env; env++) {
		if (strncmp(*env, entry, len) == 0 && ((*env)[len] == '=' || (*env)[len] == '\0'))
			return env;
	}
	return NULL;
}

static int plan_env(struct plan *plan, const struct pv_request_exec *exec)
{
	size_t own = 0;
	while (!exec->env_clear && environ && environ[own])
		own++;
	plan->env = calloc(own + exec->env.count + 1, sizeof(char *));
	if (!plan->env)
		return -ENOMEM;
	if (own)
		memcpy(plan->env, environ, own * sizeof(char *));
	for (size_t i = 0; i < exec->env.count; i++) {
		char **slot = find_variable(plan->env, exec->env.at[i]);
		if (!slot)
			slot = &plan->env[own++];
		*slot = (char *)exec->env.at[i];
	}
	return 0;
}

static int plan_names(struct plan *plan, const char *program)
{
	if (strchr(program, '/') || program[0] == '\0')
		return pv_bytes_append(&plan->names, program, strlen(program) + 1);
	char **variable = find_variable(plan->env, "PATH");
	const char *path = variable ? *variable + strlen("PATH=") : getenv("PATH");
	if (!path)
		path = DEFAULT_PATH;
	int status = 0;
	for (;;) {
		size_t len = strcspn(path, ":");
		/* An empty entry is the current folder. */
		if (len > 0)
			status |= pv_bytes_append(&plan->names, path, len);
		if (len > 0)
			status |= pv_bytes_append(&plan->names, "/", 1);
		status |= pv_bytes_append(&plan->names, program, strlen(program) + 1);
		if (path[len] == '\0')
			return status ? -ENOMEM : 0;
		path += len + 1;
	}
}

static int plan_make(struct plan *plan, const struct pv_request_exec *exec)
{
	*plan = (struct plan){.argv = (char *const *)exec->argv.at, .cwd = exec->cwd};
	int status = plan_env(plan, exec);
	if (status == 0)
		status = plan_names(plan, exec->argv.at[0]);
	if (status < 0)
		return status;
	plan->script_argv = calloc(exec->argv.count + 2, sizeof(char *));
	if (!plan->script_argv)
		return -ENOMEM;
	plan->script_argv[0] = (char *)"/bin/sh";
	for (size_t i = 1; i < exec->argv.count; i++)
		plan->script_argv[i + 1] = (char *)exec->argv.at[i];
	return 0;
}

/* --- in the child --- */

static void __attribute__((noreturn)) give_up(int fd, enum stage stage, int code)
{
	struct report report = {.stage = stage, .code = code};
	ssize_t ignored = write(fd, &report, sizeof(report));
	(void)ignored;
	_exit(127);
}

static void __attribute__((noreturn))
become(const struct plan *plan, int input, int out, int err, int report)
{
	setpgid(0, 0);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* The agent keeps 0, 1 and 2 occupied, so none of these is one of them. */
	dup2(input, 0);
	dup2(out, 1);
	dup2(err, 2);
	if (plan->cwd && chdir(plan->cwd) < 0)
		give_up(report, STAGE_FOLDER, errno);
	int code = ENOENT;
	const char *end = (const char *)plan->names.data + plan->names.len;
	for (const char *name = (const char *)plan->names.data; name < end;
	     name += strlen(name) + 1) {
		execve(name, plan->argv, plan->env);
		if (errno == ENOEXEC) {
			plan->script_argv[1] = (char *)name;
			execve(plan->script_argv[0], plan->script_argv, plan->env);
			errno = ENOEXEC;
		}
		/* As execvp(3): go on after what is missing or forbidden, and rather say forbidden.
		 */
		if (errno == EACCES)
			code = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE &&
			 errno != ENODEV && errno != ETIMEDOUT)
			give_up(report, STAGE_PROGRAM, errno);
	}
	give_up(report, STAGE_PROGRAM, code);
}

/* --- in the agent --- */

/* The child's ends of the pipes. */
struct ends {
	int input;
	int out;
	int err;
	int report;
};

static void ends_close(struct ends *ends)
{
	pv_fd_close(&ends->input);
	pv_fd_close(&ends->out);
	pv_fd_close(&ends->err);
	pv_fd_close(&ends->report);
}

/* Makes a pipe whose end `ours` does not block. `write_end` says which one is ours. */
static int make_pipe(int *ours, int *theirs, int write_end)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[write_end];
	*theirs = fds[!write_end];
	return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int make_input(struct pv_spawn *spawn, struct ends *ends, int piped)
{
	if (!piped) {
		ends->input = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (ends->input >= 0)
			return 0;
	}
	/* Without a /dev a pipe that nobody writes to is empty as well. */
	int status = make_pipe(&spawn->input, &ends->input, 1);
	if (!piped)
		pv_fd_close(&spawn->input);
	return status;
}

int pv_spawn_start(struct pv_spawn *spawn, const struct pv_request_exec *exec, int piped_input)
{
	struct ends ends = {-1, -1, -1, -1};
	struct plan plan;
	*spawn = (struct pv_spawn){.pid = -1, .input = -1, .out = -1, .err = -1, .report = -1};
	int status = plan_make(&plan, exec);
	if (status == 0)
		status = make_input(spawn, &ends, piped_input);
	if (status == 0)
		status = make_pipe(&spawn->out, &ends.out, 0);
	if (status == 0)
		status = make_pipe(&spawn->err, &ends.err, 0);
	if (status == 0)
		status = make_pipe(&spawn->report, &ends.report, 0);
	if (status == 0) {
		spawn->pid = _Fork();
		if (spawn->pid == 0)
			become(&plan, ends.input, ends.out, ends.err, ends.report);
		if (spawn->pid < 0)
			status = -errno;
	}
	ends_close(&ends);
	plan_finish(&plan);
	if (status < 0)
		pv_spawn_finish(spawn);
	return status;
}

int pv_spawn_failure(struct pv_spawn *spawn, char *message, size_t size)
{
	struct report report;
	if (read(spawn->report, &report, sizeof(report)) != (ssize_t)sizeof(report))
		return 0;
	char reason[128];
	const char *text = strerror_r(report.code, reason, sizeof(reason));
	snprintf(message, size, "%s%s",
	    report.stage == STAGE_FOLDER ? "cannot enter the working directory: " : "", text);
	return report.code;
}

void pv_spawn_finish(struct pv_spawn *spawn)
{
	pv_fd_close(&spawn->input);
	pv_fd_close(&spawn->out);
	pv_fd_close(&spawn->err);
	pv_fd_close(&spawn->report);
}
