/*
 * See fake_template.h.
 */
#include "tests/unit/fake_template.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/host.h"
#include "lab/profile.h"
#include "lab/vm.h"
#include "lab/vm_private.h"
#include "vmm/template.h"

#define FORM "fake guest, memory %llu cpus %u"

struct pv_template {
	unsigned references;
	char name[64];
	unsigned long long memory;
	unsigned cpus;
};

char fake_template_log[4096];
unsigned fake_templates;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void fake_template_note(const char *what, const char *name)
{
	pthread_mutex_lock(&lock);
	size_t len = strlen(fake_template_log);
	snprintf(fake_template_log + len, sizeof(fake_template_log) - len, "%s %s;", what, name);
	pthread_mutex_unlock(&lock);
}

/* --- templates --- */

static struct pv_template *create(const char *name, unsigned long long memory, unsigned cpus)
{
	struct pv_template *template = calloc(1, sizeof(*template));
	*template = (struct pv_template){.references = 1, .memory = memory, .cpus = cpus};
	snprintf(template->name, sizeof(template->name), "%s", name);
	pthread_mutex_lock(&lock);
	fake_templates++;
	pthread_mutex_unlock(&lock);
	return template;
}

struct pv_template *pv_template_ref(struct pv_template *template)
{
	pthread_mutex_lock(&lock);
	template->references++;
	pthread_mutex_unlock(&lock);
	return template;
}

void pv_template_unref(struct pv_template *template)
{
	if (!template)
		return;
	pthread_mutex_lock(&lock);
	bool last = --template->references == 0;
	fake_templates -= last;
	pthread_mutex_unlock(&lock);
	if (last)
		free(template);
}

uint64_t pv_template_memory(const struct pv_template *template)
{
	return template->memory;
}

unsigned pv_template_cpus(const struct pv_template *template)
{
	return template->cpus;
}

int pv_template_write(const struct pv_template *template, const char *path,
    const struct pv_template_write *options, struct pv_err *err)
{
	char text[256];
	(void)options;
	if (strstr(template->name, "unwritten"))
		return pv_err_system(err, ENOSPC, "snapshot `%s`: cannot be written", path);
	snprintf(text, sizeof(text), FORM, template->memory, template->cpus);
	return pv_fd_replace_file(path, text, strlen(text), 0400, err);
}

int pv_template_open(
    struct pv_template **out, const char *path, bool verify_ram, struct pv_err *err)
{
	struct pv_bytes text = {0};
	unsigned long long memory;
	unsigned cpus;
	(void)verify_ram;
	int status = pv_fd_slurp("snapshot", path, 4096, &text, err);
	if (!status &&
	    (!pv_bytes_text(&text) || sscanf(pv_bytes_text(&text), FORM, &memory, &cpus) != 2))
		status = pv_err_set(err, PV_ERR_INPUT, EBADMSG,
		    "snapshot `%s`: this is no snapshot of a machine", path);
	pv_bytes_finish(&text);
	*out = status ? NULL : create(path, memory, cpus);
	return status;
}

/* --- VMs --- */

int pv_host_kvm(struct pv_host *host, struct pv_kvm **out, struct pv_err *err)
{
	(void)err;
	*out = &host->kvm;
	return 0;
}

uint64_t pv_vm_memory(const struct pv_vm *vm)
{
	return vm->created_with.has_memory ? vm->created_with.memory : PV_OPTIONS_MEMORY_DEFAULT;
}

unsigned pv_vm_cpus(const struct pv_vm *vm)
{
	return vm->created_with.has_cpus ? vm->created_with.cpus : 1;
}

static bool is_asked_to(const struct pv_vm *vm, const char *what)
{
	const char *append = vm->created_with.kernel_cmdline_append;
	return append && strcmp(append, what) == 0;
}

unsigned pv_vm_open_streams(struct pv_vm *vm)
{
	return vm->open_streams + (is_asked_to(vm, "streams") ? 2 : 0);
}

int pv_vm_save_begin(struct pv_vm *vm, struct pv_err *err)
{
	if (is_asked_to(vm, "busy"))
		return pv_err_set(err, PV_ERR_STATE, EBUSY, "vm `%s`: it is busy", vm->name);
	fake_template_note("begin", vm->name);
	return 0;
}

int pv_vm_save_freeze(struct pv_vm *vm, struct pv_template **out, struct pv_err *err)
{
	*out = NULL;
	if (strstr(vm->name, "unfrozen"))
		return pv_err_set(err, PV_ERR_SYSTEM, EIO, "vm `%s`: too warm", vm->name);
	fake_template_note("freeze", vm->name);
	*out = create(vm->name, pv_vm_memory(vm), pv_vm_cpus(vm));
	return 0;
}

int pv_vm_save_end(struct pv_vm *vm, struct pv_err *err)
{
	(void)err;
	fake_template_note("end", vm->name);
	return 0;
}

int pv_vm_restore_prepare(
    struct pv_vm *vm, const struct pv_vm *parent, struct pv_template *template, struct pv_err *err)
{
	(void)parent, (void)err;
	vm->created_with.has_memory = vm->created_with.has_cpus = true;
	vm->created_with.memory = template->memory;
	vm->created_with.cpus = template->cpus;
	return 0;
}

int pv_vm_restore_machine(
    struct pv_vm *vm, struct pv_template *template, bool clock_now, struct pv_err *err)
{
	(void)template;
	if (strstr(vm->name, "unbuilt"))
		return pv_err_set(err, PV_ERR_SYSTEM, EMFILE, "no more machines");
	fake_template_note(clock_now ? "build now" : "build", vm->name);
	return 0;
}

int pv_vm_restore_go(struct pv_vm *vm, const char *what, struct pv_err *err)
{
	if (strstr(vm->name, "unmoved")) {
		vm->state = PV_VM_DEAD;
		return pv_err_set(
		    err, PV_ERR_GUEST, EIO, "vm `%s`: %s: the guest died", vm->name, what);
	}
	fake_template_note("go", vm->name);
	vm->state = PV_VM_BOOTED;
	return 0;
}
