/* Programs, reports of the kernel and files of the fake guests of fake_lab.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "lab/host.h"
#include "lab/vm.h"
#include "tests/unit/fake_guest.h"

/* "argv=[a|b] env=[K=V] clear cwd=/x stdin=.. timeout_ns=.." */
static void describe_exec(const struct pv_agent_exec *exec, struct pv_bytes *out)
{
	pv_bytes_printf(out, "argv=[");
	for (size_t i = 0; i < exec->argc; i++)
		pv_bytes_printf(out, "%s%s", i > 0 ? "|" : "", exec->argv[i]);
	pv_bytes_printf(out, "]");
	if (exec->env_count > 0)
		pv_bytes_printf(out, " env=[");
	for (size_t i = 0; i < exec->env_count; i++)
		pv_bytes_printf(out, "%s%s", exec->env[i], i + 1 < exec->env_count ? "|" : "]");
	if (exec->env_clear)
		pv_bytes_printf(out, " clear");
	if (exec->cwd != NULL)
		pv_bytes_printf(out, " cwd=%s", exec->cwd);
	if (exec->input_len > 0) {
		pv_bytes_printf(out, " stdin=");
		pv_bytes_append(out, exec->input, exec->input_len);
	}
	if (exec->timeout_ns != PV_CLOCK_NEVER)
		pv_bytes_printf(out, " timeout_ns=%lld", (long long)exec->timeout_ns);
}

static int wait_for_end(struct pv_agent *agent, int64_t timeout_ns, struct pv_err *err)
{
	int64_t deadline = pv_clock_deadline(timeout_ns);
	pv_loop_lock(agent->host->loop);
	while (agent->host->interrupt == NULL && pv_loop_wait(agent->host->loop, deadline) == 0)
		;
	int status = agent->host->interrupt == NULL ? 0
						    : pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED,
							  "run: %s", agent->host->interrupt);
	pv_loop_unlock(agent->host->loop);
	return status;
}

/* Under the loop lock. */
static void report(struct pv_agent *agent, enum pv_kernel_report_kind kind, const char *head)
{
	struct pv_kernel_report said = {.kind = kind};
	snprintf(said.head, sizeof(said.head), "%s", head);
	pv_bytes_printf(&said.text, "[    1.000000] %s\n[    1.000001] Call Trace:\n", head);
	pv_verdict_add(agent->host, agent->vm, &said);
	pv_kernel_report_finish(&said);
	pv_loop_wake(agent->host->loop);
}

static void report_later(void *ctx)
{
	struct pv_agent *agent = ctx;
	report(agent, PV_KERNEL_REPORT_OOPS, agent->later);
}

void pv_verdict_settle(struct pv_host *host)
{
	pv_loop_lock(host->loop);
	for (unsigned i = 0; i < host->vm_count; i++) {
		struct pv_agent *agent = &((struct fake_vm *)host->vms[i])->agent;
		if (agent->settling[0] != '\0')
			report(agent, PV_KERNEL_REPORT_OOPS, agent->settling);
		agent->settling[0] = '\0';
	}
	pv_loop_unlock(host->loop);
}

/* The runs that are about reports; false for others. */
static bool run_report(struct pv_agent *agent, const char *text, int *status, struct pv_err *err)
{
	const char *rest = strchr(text, ' ');
	bool panicked = strncmp(text, "panic ", 6) == 0;
	bool is_known = true;
	*status = 0;
	pv_loop_lock(agent->host->loop);
	if (panicked || strncmp(text, "oops ", 5) == 0) {
		report(agent, panicked ? PV_KERNEL_REPORT_PANIC : PV_KERNEL_REPORT_OOPS, rest + 1);
		if (panicked || !agent->host->reports_expected)
			*status = pv_err_set(err, PV_ERR_STATE, ECANCELED,
			    "run: kernel %s: %s\nCall", panicked ? "panic" : "oops", rest + 1);
	} else if (strncmp(text, "quietly ", 8) == 0) {
		report(agent, PV_KERNEL_REPORT_OOPS, rest + 1);
	} else if (strncmp(text, "soon ", 5) == 0) {
		snprintf(agent->later, sizeof(agent->later), "%s", rest + 1);
		pv_loop_timer_set(agent->host->loop, &agent->timer,
		    pv_clock_deadline(PV_CLOCK_SECOND / 20), report_later, agent);
	} else if (strncmp(text, "settling ", 9) == 0) {
		snprintf(agent->settling, sizeof(agent->settling), "%s", rest + 1);
	} else {
		is_known = false;
	}
	pv_loop_unlock(agent->host->loop);
	return is_known;
}

int pv_agent_exec(const struct pv_principal *by, const struct pv_agent_exec *exec,
    struct pv_agent_exec_result *result, struct pv_err *err)
{
	const char *text =
	    exec->argc == 3 && strcmp(exec->argv[0], "/bin/sh") == 0 ? exec->argv[2] : "";
	if (strcmp(exec->argv[0], "missing") == 0)
		return pv_err_set(
		    err, PV_ERR_GUEST, ENOENT, "run `missing`: No such file or directory");
	if (strcmp(text, "wait") == 0) {
		result->kind = PV_AGENT_TIMED_OUT;
		pv_bytes_printf(&result->out, "so far");
		return wait_for_end(by->agent, exec->timeout_ns, err);
	}
	int status;
	if (run_report(by->agent, text, &status, err))
		return status;
	if (strncmp(text, "exit ", 5) == 0 || strncmp(text, "kill ", 5) == 0) {
		result->kind = text[0] == 'k' ? PV_AGENT_SIGNALLED : PV_AGENT_EXITED;
		result->code = atoi(text + 5);
		pv_bytes_printf(&result->out, "some out");
		pv_bytes_printf(&result->err, "some err");
		return 0;
	}
	if (by->worker != 0)
		pv_bytes_printf(&result->out, "worker=%llu ", (unsigned long long)by->worker);
	describe_exec(exec, &result->out);
	return 0;
}

static struct fake_file *find_file(struct pv_agent *agent, const char *path)
{
	for (size_t i = 0; i < agent->file_count; i++) {
		if (strcmp(agent->files[i].path, path) == 0)
			return &agent->files[i];
	}
	return NULL;
}

int pv_agent_read_file(
    const struct pv_principal *by, const char *path, struct pv_bytes *out, struct pv_err *err)
{
	const struct fake_file *file = find_file(by->agent, path);
	if (file == NULL)
		return pv_err_set(
		    err, PV_ERR_GUEST, ENOENT, "read_file `%s`: No such file or directory", path);
	return pv_bytes_append(out, file->content.data, file->content.len);
}

int pv_agent_write_file(const struct pv_principal *by, const char *path, const void *data,
    size_t len, unsigned mode, struct pv_err *err)
{
	struct pv_agent *agent = by->agent;
	struct fake_file *file = find_file(agent, path);
	if (file == NULL) {
		agent->files =
		    reallocarray(agent->files, agent->file_count + 1, sizeof(*agent->files));
		file = &agent->files[agent->file_count++];
		*file = (struct fake_file){.path = strdup(path), .mode = mode};
	}
	pv_bytes_finish(&file->content);
	return pv_bytes_append(&file->content, data, len);
}

int pv_agent_stat(const struct pv_principal *by, const char *path, bool follow_symlinks,
    struct pv_agent_stat *out, struct pv_err *err)
{
	const struct fake_file *file = find_file(by->agent, path);
	if (file == NULL)
		return pv_err_set(
		    err, PV_ERR_GUEST, ENOENT, "stat `%s`: No such file or directory", path);
	*out = (struct pv_agent_stat){.size = file->content.len,
	    .mtime_ns = INT64_C(1500000000250000000),
	    .perm = file->mode,
	    .type = PV_AGENT_FILE};
	return 0;
}

const char *pv_agent_entry_name(enum pv_agent_entry_type type)
{
	static const char *const names[] = {"file", "directory", "symlink"};
	return type <= PV_AGENT_SYMLINK ? names[type] : "other";
}
