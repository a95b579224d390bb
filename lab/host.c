/*
 * What the guests of a worker share. Theory: one loop thread drives the devices of all of them;
 * /dev/kvm and kernels are opened when the first boot needs them, so a file of tests that boots
 * nothing needs neither. The file of a kernel that only a reboot would need is held open, and
 * unpacked by whoever reboots first, which may be a vCPU's thread.
 *
 * An interrupt is the one way in which waiting ends early: it cancels what is in flight at every
 * agent, and everything that waits looks at `interrupt` each time it wakes. It stays until cleared,
 * so that a script cannot go on by catching one error.
 */
#include "lab/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "lab/vm_private.h"
#include "vmm/kernel.h"

/* CIDs need to be unique within the worker only; other harness processes have address spaces of
 * their own. */
#define FIRST_CID 100

static char *cache_folder(const char *name)
{
	const char *base = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	struct pv_bytes path = {0};
	int status;
	if (base && *base)
		status = pv_bytes_printf(&path, "%s/provium/%s", base, name);
	else if (home && *home)
		status = pv_bytes_printf(&path, "%s/.cache/provium/%s", home, name);
	else
		return NULL;
	if (status || !pv_bytes_text(&path)) {
		pv_bytes_finish(&path);
		return NULL;
	}
	return (char *)path.data;
}

/* Under the kernels' lock. */
static void forget_kernel(struct pv_host *host, struct pv_host_kernel *entry)
{
	pv_kernel_destroy(entry->kernel);
	pv_fd_close(&entry->fd);
	free(entry->path);
	*entry = host->kernels[--host->kernel_count];
}

int pv_host_init(struct pv_host *host, const struct pv_config *config,
    const struct pv_host_events *events, void *ctx, struct pv_err *err)
{
	*host = (struct pv_host){.config = config,
	    .events = events,
	    .events_ctx = ctx,
	    .next_cid = FIRST_CID,
	    .kernel_cache = cache_folder("kernels"),
	    .working_sets = cache_folder("working-sets")};
	atomic_init(&host->interrupted, false);
	pthread_mutex_init(&host->kernels_lock, NULL);
	int status = pv_loop_create(&host->loop, err);
	if (!status)
		status = pv_loop_start(host->loop, err);
	if (!status)
		pv_loop_adopt_waiter(host->loop);
	if (status)
		pv_host_finish(host);
	return status;
}

void pv_host_finish(struct pv_host *host)
{
	pv_loop_destroy(host->loop);
	while (host->kernel_count > 0)
		forget_kernel(host, &host->kernels[0]);
	pthread_mutex_destroy(&host->kernels_lock);
	if (host->kvm_open)
		pv_kvm_close(&host->kvm);
	free(host->working_sets);
	free(host->kernel_cache);
	free(host->interrupt);
	pv_verdicts_finish(&host->verdicts);
	*host = (struct pv_host){0};
}

void pv_host_interrupt_locked(struct pv_host *host, const char *reason)
{
	if (host->interrupt)
		return;
	host->interrupt = strdup(reason);
	if (!host->interrupt)
		return;
	atomic_store(&host->interrupted, true);
	for (unsigned i = 0; i < host->vm_count; i++)
		pv_vm_cancel(host->vms[i], host->interrupt);
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

/* Under the kernels' lock. */
static struct pv_host_kernel *find_kernel(struct pv_host *host, const char *path)
{
	for (unsigned i = 0; i < host->kernel_count; i++) {
		if (strcmp(host->kernels[i].path, path) == 0)
			return &host->kernels[i];
	}
	return NULL;
}

/* Under the kernels' lock: the entry of a path, with its file open or read. NULL with `err` filled.
 */
static struct pv_host_kernel *hold_kernel(
    struct pv_host *host, const char *path, struct pv_err *err)
{
	struct pv_host_kernel *entry = find_kernel(host, path);
	if (entry)
		return entry;
	if (host->kernel_count == PV_HOST_KERNELS_MAX) {
		pv_err_set(err, PV_ERR_LIMIT, ENOSPC,
		    "kernel `%s`: one test file can use at most %d kernels", path,
		    PV_HOST_KERNELS_MAX);
		return NULL;
	}
	struct pv_host_kernel made = {.path = strdup(path), .fd = -1};
	if (!made.path) {
		pv_err_nomem(err, "kernel path");
		return NULL;
	}
	/* O_NONBLOCK: a FIFO at the path must not hang us. */
	do {
		made.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	} while (made.fd < 0 && errno == EINTR);
	if (made.fd < 0) {
		pv_err_system(err, errno, "kernel `%s`: cannot read it", path);
		free(made.path);
		return NULL;
	}
	entry = &host->kernels[host->kernel_count++];
	*entry = made;
	return entry;
}

int pv_host_kernel_hold(struct pv_host *host, const char *path, struct pv_err *err)
{
	pthread_mutex_lock(&host->kernels_lock);
	const bool held = hold_kernel(host, path, err) != NULL;
	pthread_mutex_unlock(&host->kernels_lock);
	return held ? 0 : -err->code;
}

int pv_host_kernel(
    struct pv_host *host, const char *path, const struct pv_kernel **out, struct pv_err *err)
{
	int status = 0;
	pthread_mutex_lock(&host->kernels_lock);
	struct pv_host_kernel *entry = hold_kernel(host, path, err);
	if (!entry)
		status = -err->code;
	else if (!entry->kernel)
		status =
		    pv_kernel_open_fd(&entry->kernel, entry->fd, path, host->kernel_cache, err);
	if (entry && status == 0) {
		pv_fd_close(&entry->fd);
		*out = entry->kernel;
	} else if (entry) {
		/* Another attempt may find another file. */
		forget_kernel(host, entry);
	}
	pthread_mutex_unlock(&host->kernels_lock);
	return status;
}

int pv_host_kvm(struct pv_host *host, struct pv_kvm **out, struct pv_err *err)
{
	if (!host->kvm_open) {
		int status = pv_kvm_open(&host->kvm, err);
		if (status)
			return status;
		host->kvm_open = true;
	}
	*out = &host->kvm;
	return pv_kvm_require_hardware(&host->kvm, err);
}
