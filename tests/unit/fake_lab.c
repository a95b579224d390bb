/*
 * See fake_lab.h. Linked together with the real lab/lab.c, lab/options.c and lab/config.c, in place
 * of the host, the VMs and the agent client.
 */
#include "tests/unit/fake_lab.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/units.h"
#include "lab/host.h"
#include "lab/snapshot.h"
#include "lab/vm.h"
#include "lab/vm_private.h"
#include "tests/unit/fake_template.h"
#include "vmm/template.h"

struct file {
	char *path;
	struct pv_bytes content;
	unsigned mode;
};

struct pv_agent {
	struct pv_host *host;
	const char *vm;
	struct pv_loop_timer timer;
	char later[128];    /* what the timer reports */
	char settling[128]; /* or pv_verdict_settle */
	struct file *files;
	size_t file_count;
};

/* lab/vm_private.h has a `struct pv_vm` of its own; this one hides behind it. */
struct fake_vm {
	struct pv_vm vm;
	struct pv_bytes console;
	struct pv_agent agent;
};

unsigned fake_lab_vms;
char fake_lab_last_boot[4096];

/* --- host --- */

int pv_host_init(struct pv_host *host, const struct pv_config *config,
    const struct pv_host_events *events, void *ctx, struct pv_err *err)
{
	*host = (struct pv_host){
	    .config = config, .events = events, .events_ctx = ctx, .next_cid = 100};
	int status = pv_loop_create(&host->loop, err);
	return status ? status : pv_loop_start(host->loop, err);
}

void pv_host_finish(struct pv_host *host)
{
	pv_loop_destroy(host->loop);
	free(host->interrupt);
	pv_verdicts_finish(&host->verdicts);
}

void pv_host_interrupt_locked(struct pv_host *host, const char *reason)
{
	if (host->interrupt)
		return;
	host->interrupt = strdup(reason);
	atomic_store(&host->interrupted, true);
	pv_loop_wake(host->loop);
}

void pv_host_interrupt(struct pv_host *host, const char *reason)
{
	pv_loop_lock(host->loop);
	pv_host_interrupt_locked(host, reason);
	pv_loop_unlock(host->loop);
}

void pv_host_clear_interrupt(struct pv_host *host)
{
	pv_loop_lock(host->loop);
	free(host->interrupt);
	host->interrupt = NULL;
	atomic_store(&host->interrupted, false);
	pv_loop_unlock(host->loop);
}

/* --- VM --- */

int pv_vm_create(struct pv_vm **out, struct pv_host *host, const char *name,
    const struct pv_profile *profile, const struct pv_options *options, struct pv_err *err)
{
	struct fake_vm *fake = calloc(1, sizeof(*fake));
	fake->vm =
	    (struct pv_vm){.references = 1, .host = host, .name = strdup(name), .profile = profile};
	fake->agent.host = host;
	fake->agent.vm = fake->vm.name;
	if (host->vm_count < PV_HOST_VMS_MAX)
		host->vms[host->vm_count++] = &fake->vm;
	if (options != NULL && pv_options_merge(&fake->vm.created_with, options, err) < 0)
		return -ENOMEM;
	fake_lab_vms++;
	*out = &fake->vm;
	return 0;
}

struct pv_vm *pv_vm_ref(struct pv_vm *vm)
{
	vm->references++;
	return vm;
}

void pv_vm_unref(struct pv_vm *vm)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (vm == NULL || --vm->references > 0)
		return;
	pv_loop_lock(vm->host->loop);
	pv_loop_timer_clear(&fake->agent.timer);
	pv_loop_unlock(vm->host->loop);
	for (unsigned i = 0; i < vm->host->vm_count; i++) {
		if (vm->host->vms[i] == vm)
			vm->host->vms[i] = vm->host->vms[--vm->host->vm_count];
	}
	for (size_t i = 0; i < fake->agent.file_count; i++) {
		free(fake->agent.files[i].path);
		pv_bytes_finish(&fake->agent.files[i].content);
	}
	free(fake->agent.files);
	pv_bytes_finish(&fake->console);
	pv_options_finish(&vm->created_with);
	free(vm->name);
	free(fake);
	fake_lab_vms--;
}

static void describe_boot(const struct pv_options *options)
{
	struct pv_bytes text = {0};
	if (options->has_memory)
		pv_bytes_printf(&text, "memory=%llu ", (unsigned long long)options->memory);
	if (options->has_cpus)
		pv_bytes_printf(&text, "cpus=%u ", options->cpus);
	if (options->has_rng_seed)
		pv_bytes_printf(&text, "rng_seed=%llu ", (unsigned long long)options->rng_seed);
	if (options->has_initial_time)
		pv_bytes_printf(
		    &text, "initial_time_ns=%lld ", (long long)options->initial_time_ns);
	if (options->has_agent_timeout)
		pv_bytes_printf(
		    &text, "agent_timeout_ns=%lld ", (long long)options->agent_timeout_ns);
	if (options->kernel_cmdline != NULL)
		pv_bytes_printf(&text, "cmdline=%s ", options->kernel_cmdline);
	if (options->kernel_cmdline_append != NULL)
		pv_bytes_printf(&text, "append=%s ", options->kernel_cmdline_append);
	for (size_t i = 0; i < options->file_count; i++)
		pv_bytes_printf(&text, "file=%s:%o:%zu ", options->files[i].path,
		    options->files[i].mode, options->files[i].len);
	size_t len =
	    text.len < sizeof(fake_lab_last_boot) - 1 ? text.len : sizeof(fake_lab_last_boot) - 1;
	if (len > 0)
		memcpy(fake_lab_last_boot, text.data, len);
	fake_lab_last_boot[len] = '\0';
	pv_bytes_finish(&text);
}

int pv_vm_boot(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (vm->host->interrupt != NULL)
		return pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED, "vm `%s`: boot: %s", vm->name,
		    vm->host->interrupt);
	if (vm->state != PV_VM_CREATED)
		return pv_err_set(
		    err, PV_ERR_STATE, EBADFD, "vm `%s`: already booted (cannot boot)", vm->name);
	if (options != NULL && pv_options_merge(&vm->created_with, options, err) < 0)
		return -ENOMEM;
	describe_boot(&vm->created_with);
	const char *append =
	    vm->created_with.kernel_cmdline_append ? vm->created_with.kernel_cmdline_append : "";
	if (strcmp(append, "refuse") == 0) {
		vm->state = PV_VM_DEAD;
		return pv_err_set(
		    err, PV_ERR_INPUT, ENOENT, "vm `%s`: kernel `/nowhere`: not there", vm->name);
	}
	vm->cid = vm->host->next_cid++;
	if (strcmp(append, "hang") == 0) {
		for (int i = 0; i < 100; i++)
			pv_bytes_printf(
			    &fake->console, "line %d of a console with some text in it\r\n", i);
		pv_bytes_printf(&fake->console, "last words");
		vm->state = PV_VM_DEAD;
		return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT,
		    "vm `%s`: agent did not come up within 12s", vm->name);
	}
	if (strcmp(append, "binary") == 0)
		pv_bytes_append(&fake->console, "a\0b\xff\xfe\r\n", 7);
	else
		pv_bytes_printf(&fake->console, "boot of %s\r\n%s", vm->name, append);
	vm->state = PV_VM_BOOTED;
	return 0;
}

int pv_vm_boot_begin(struct pv_vm *vm, const struct pv_options *options, struct pv_err *err)
{
	return pv_vm_boot(vm, options, err);
}

int pv_vm_boot_wait(struct pv_vm *vm, struct pv_err *err)
{
	return 0;
}

static int change(struct pv_vm *vm, enum pv_vm_state from, enum pv_vm_state to, const char *action,
    struct pv_err *err)
{
	if (vm->state != from)
		return pv_err_set(err, PV_ERR_STATE, EBADFD, "vm `%s`: state is %s (cannot %s)",
		    vm->name, pv_vm_state_name(vm->state), action);
	vm->state = to;
	return 0;
}

int pv_vm_pause(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_BOOTED, PV_VM_PAUSED, "pause", err);
}

int pv_vm_resume(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_PAUSED, PV_VM_BOOTED, "resume", err);
}

int pv_vm_reset(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_BOOTED, PV_VM_BOOTED, "reset", err);
}

int pv_vm_power_button(struct pv_vm *vm, struct pv_err *err)
{
	return change(vm, PV_VM_BOOTED, PV_VM_SHUTDOWN, "power_button", err);
}

void pv_vm_shutdown(struct pv_vm *vm)
{
	vm->state = PV_VM_SHUTDOWN;
}

const char *pv_vm_name(const struct pv_vm *vm)
{
	return vm->name;
}

const char *pv_vm_profile(const struct pv_vm *vm)
{
	return vm->profile->name;
}

enum pv_vm_state pv_vm_state(struct pv_vm *vm)
{
	return vm->state;
}

const char *pv_vm_state_name(enum pv_vm_state state)
{
	static const char *const names[] = {"created", "booted", "paused", "shutdown", "dead"};
	return names[state];
}

uint32_t pv_vm_cid(const struct pv_vm *vm)
{
	return vm->cid;
}

unsigned pv_vm_endings(struct pv_vm *vm)
{
	return 0;
}

int pv_vm_check_endings(struct pv_vm *vm, unsigned endings, const char *what, struct pv_err *err)
{
	return 0;
}

unsigned pv_vm_in_flight(struct pv_vm *vm)
{
	return 0;
}

int pv_vm_agent(struct pv_vm *vm, const char *action, struct pv_agent **out, struct pv_err *err)
{
	if (vm->state != PV_VM_BOOTED)
		return pv_err_set(
		    err, PV_ERR_STATE, EBADFD, "vm `%s`: not booted (cannot %s)", vm->name, action);
	*out = &((struct fake_vm *)vm)->agent;
	return 0;
}

/* --- snapshots: a name, and the path if there is one --- */

struct pv_snapshot {
	char text[128];
	bool deleted;
};

int pv_vm_snapshot(struct pv_vm *vm, const char *path, struct pv_snapshot **out, struct pv_err *err)
{
	if (vm->state != PV_VM_BOOTED && vm->state != PV_VM_PAUSED)
		return pv_err_set(
		    err, PV_ERR_STATE, EBADFD, "vm `%s`: not booted (cannot snapshot)", vm->name);
	*out = calloc(1, sizeof(**out));
	snprintf((*out)->text, sizeof((*out)->text), "%s", path != NULL ? path : "/proc/fake");
	return 0;
}

static int restore(struct pv_vm *vm, const char *path, bool clock_now, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (vm->state != PV_VM_CREATED && vm->state != PV_VM_SHUTDOWN)
		return pv_err_set(err, PV_ERR_STATE, EBADFD,
		    "vm `%s`: already booted (cannot restore)", vm->name);
	if (strcmp(path, "/nowhere") == 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "vm `%s`: cannot restore: snapshot `%s`: not there", vm->name, path);
	vm->state = PV_VM_BOOTED;
	return pv_bytes_printf(&fake->console, "restored from %s%s", path, clock_now ? " now" : "");
}

int pv_vm_restore(
    struct pv_vm *vm, struct pv_snapshot *snapshot, bool clock_now, struct pv_err *err)
{
	return restore(vm, snapshot->deleted ? "/nowhere" : snapshot->text, clock_now, err);
}

int pv_vm_restore_file(struct pv_vm *vm, const char *path, bool clock_now, struct pv_err *err)
{
	return restore(vm, path, clock_now, err);
}

int pv_vm_create_like(
    struct pv_vm **out, const char *name, const struct pv_vm *parent, struct pv_err *err)
{
	return pv_vm_create(out, parent->host, name, parent->profile, &parent->created_with, err);
}

int pv_vm_restore_like(
    struct pv_vm *vm, const struct pv_vm *parent, struct pv_snapshot *snapshot, struct pv_err *err)
{
	const char *append = vm->created_with.kernel_cmdline_append;
	if (append != NULL && strcmp(append, "third fails") == 0 && strchr(vm->name, '3') != NULL)
		return pv_err_set(err, PV_ERR_SYSTEM, EMFILE, "vm `%s`: no more", vm->name);
	return restore(vm, parent->name, false, err);
}

void pv_snapshot_destroy(struct pv_snapshot *snapshot)
{
	free(snapshot);
}

int pv_snapshot_path(struct pv_snapshot *snapshot, const char **path, struct pv_err *err)
{
	*path = snapshot->text;
	return 0;
}

int pv_snapshot_size(struct pv_snapshot *snapshot, uint64_t *size, struct pv_err *err)
{
	*size = snapshot->deleted ? 0 : 4096;
	return 0;
}

int pv_snapshot_delete(struct pv_snapshot *snapshot, struct pv_err *err)
{
	snapshot->deleted = true;
	return 0;
}

/* --- baselines: the state and the files --- */

struct pv_vm_baseline {
	struct pv_vm *vm;
	enum pv_vm_state state;
	struct file *files;
	size_t file_count;
};

static void copy_files(struct file **to, size_t *to_count, const struct file *from, size_t count)
{
	for (size_t i = 0; i < *to_count; i++) {
		free((*to)[i].path);
		pv_bytes_finish(&(*to)[i].content);
	}
	free(*to);
	*to = count > 0 ? calloc(count, sizeof(**to)) : NULL;
	*to_count = count;
	for (size_t i = 0; i < count; i++) {
		(*to)[i] = (struct file){.path = strdup(from[i].path), .mode = from[i].mode};
		pv_bytes_append(&(*to)[i].content, from[i].content.data, from[i].content.len);
	}
}

int pv_vm_baseline_create(
    struct pv_vm_baseline **out, struct pv_vm *vm, struct pv_template *template, struct pv_err *err)
{
	const struct pv_agent *agent = &((struct fake_vm *)vm)->agent;
	*out = calloc(1, sizeof(**out));
	**out = (struct pv_vm_baseline){.vm = pv_vm_ref(vm), .state = vm->state};
	copy_files(&(*out)->files, &(*out)->file_count, agent->files, agent->file_count);
	return 0;
}

void pv_vm_baseline_destroy(struct pv_vm_baseline *baseline)
{
	if (baseline == NULL)
		return;
	copy_files(&baseline->files, &baseline->file_count, NULL, 0);
	pv_vm_unref(baseline->vm);
	free(baseline);
}

struct pv_vm *pv_vm_baseline_vm(const struct pv_vm_baseline *baseline)
{
	return baseline->vm;
}

int pv_vm_baseline_prepare(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	if (strstr(baseline->vm->name, "unprepared") != NULL)
		return pv_err_set(err, PV_ERR_SYSTEM, EIO,
		    "vm `%s`: cannot go back to its baseline: no room", baseline->vm->name);
	fake_template_note("prepare", baseline->vm->name);
	return 0;
}

void pv_vm_baseline_stay(struct pv_vm_baseline *baseline)
{
	fake_template_note("stay", baseline->vm->name);
}

int pv_vm_baseline_return(struct pv_vm_baseline *baseline, bool clock_now, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)baseline->vm;
	struct pv_agent *agent = &fake->agent;
	if (agent->file_count > 0 && strcmp(agent->files[0].path, "/stuck") == 0) {
		fake->vm.state = PV_VM_DEAD;
		copy_files(&agent->files, &agent->file_count, NULL, 0);
		return pv_err_set(err, PV_ERR_GUEST, EIO, "vm `%s`: is stuck", fake->vm.name);
	}
	if (strstr(fake->vm.name, "unreturned") != NULL) {
		fake->vm.state = PV_VM_DEAD;
		return pv_err_set(err, PV_ERR_SYSTEM, EIO,
		    "vm `%s`: cannot go back to its baseline", fake->vm.name);
	}
	fake_template_note(clock_now ? "back now" : "back", fake->vm.name);
	fake->vm.state = baseline->state;
	copy_files(&agent->files, &agent->file_count, baseline->files, baseline->file_count);
	pv_bytes_printf(&fake->console, "rewound\r\n");
	return 0;
}

int pv_vm_baseline_go(struct pv_vm_baseline *baseline, struct pv_err *err)
{
	fake_template_note("go", baseline->vm->name);
	return 0;
}

/* --- console --- */

int pv_vm_console_log(struct pv_vm *vm, struct pv_bytes *out)
{
	const struct pv_bytes *console = &((struct fake_vm *)vm)->console;
	return pv_bytes_append(out, console->data, console->len);
}

int pv_vm_console_tail(struct pv_vm *vm, size_t limit, struct pv_bytes *out)
{
	const struct pv_bytes *console = &((struct fake_vm *)vm)->console;
	size_t len = console->len < limit ? console->len : limit;
	return len > 0 ? pv_bytes_append(out, console->data + console->len - len, len) : 0;
}

int pv_vm_console_expect(
    struct pv_vm *vm, const void *pattern, size_t len, int64_t deadline_ns, struct pv_err *err)
{
	const struct pv_bytes *console = &((struct fake_vm *)vm)->console;
	struct pv_host *host = vm->host;
	if (console->len > 0 && memmem(console->data, console->len, pattern, len) != NULL)
		return 0;
	pv_loop_lock(host->loop);
	while (host->interrupt == NULL && pv_loop_wait(host->loop, deadline_ns) == 0)
		;
	int status = host->interrupt != NULL ? pv_err_set(err, PV_ERR_TIMEOUT, ECANCELED,
						   "vm `%s`: expect: %s", vm->name, host->interrupt)
					     : pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT, "late");
	pv_loop_unlock(host->loop);
	return status;
}

int pv_vm_console_write(
    struct pv_vm *vm, const void *data, size_t len, int64_t deadline_ns, struct pv_err *err)
{
	struct fake_vm *fake = (struct fake_vm *)vm;
	if (len == 5 && memcmp(data, "stuck", 5) == 0)
		return pv_err_set(err, PV_ERR_TIMEOUT, ETIMEDOUT, "late");
	return pv_bytes_append(&fake->console, data, len);
}

/* --- agent --- */

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
			*status = pv_err_set(err, PV_ERR_STATE, ECANCELED, "run: kernel %s: %s\nCall",
			    panicked ? "panic" : "oops", rest + 1);
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

static struct file *find_file(struct pv_agent *agent, const char *path)
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
	const struct file *file = find_file(by->agent, path);
	if (file == NULL)
		return pv_err_set(
		    err, PV_ERR_GUEST, ENOENT, "read_file `%s`: No such file or directory", path);
	return pv_bytes_append(out, file->content.data, file->content.len);
}

int pv_agent_write_file(const struct pv_principal *by, const char *path, const void *data,
    size_t len, unsigned mode, struct pv_err *err)
{
	struct pv_agent *agent = by->agent;
	struct file *file = find_file(agent, path);
	if (file == NULL) {
		agent->files =
		    reallocarray(agent->files, agent->file_count + 1, sizeof(*agent->files));
		file = &agent->files[agent->file_count++];
		*file = (struct file){.path = strdup(path), .mode = mode};
	}
	pv_bytes_finish(&file->content);
	return pv_bytes_append(&file->content, data, len);
}

int pv_agent_stat(const struct pv_principal *by, const char *path, bool follow_symlinks,
    struct pv_agent_stat *out, struct pv_err *err)
{
	const struct file *file = find_file(by->agent, path);
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
