/*
 * What all guests of one worker share: the configuration, /dev/kvm, the event loop, the caches, the
 * ears for events, and the one switch that ends everything when time is up.
 */
#ifndef PV_LAB_HOST_H
#define PV_LAB_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "lab/config.h"
#include "lab/verdict.h"
#include "vmm/kvm.h"

struct pv_err;
struct pv_kernel;
struct pv_loop;
struct pv_vm;

/* What the runner hears. On the script thread, without the loop lock. NULL members are fine. */
struct pv_host_events {
	/* The agent answered; before pv_vm_boot returns. */
	void (*vm_spawned)(void *ctx, const struct pv_vm *vm);
	/* The guest is gone, for whatever reason; once per spawned VM. */
	void (*vm_shutdown)(void *ctx, const struct pv_vm *vm, int64_t uptime_ns);
	/* Something worth a line on stderr. */
	void (*note)(void *ctx, const char *text);
};

#define PV_HOST_KERNELS_MAX 32
#define PV_HOST_VMS_MAX	    256

struct pv_host {
	const struct pv_config *config;
	struct pv_loop *loop;
	struct pv_kvm kvm; /* opened by the first boot */
	bool kvm_open;
	char *kernel_cache;
	char *working_sets; /* folder of lab/working_sets.h, or NULL */
	const struct pv_host_events *events;
	void *events_ctx;
	uint32_t next_cid;
	/* Kernels by path, kept while the worker lives, under their own lock, a leaf. */
	pthread_mutex_t kernels_lock;
	struct pv_host_kernel {
		char *path;
		int fd;			  /* to unpack it from; -1: that was done */
		struct pv_kernel *kernel; /* NULL: not yet */
	} kernels[PV_HOST_KERNELS_MAX];
	unsigned kernel_count;
	/* [loop lock] Live VMs, not owned: who is to be stopped by an interrupt. */
	struct pv_vm *vms[PV_HOST_VMS_MAX];
	unsigned vm_count;
	/* [loop lock] Why all waiting must end, or NULL; constant until cleared. */
	char *interrupt;
	atomic_bool interrupted; /* the same for readers without the lock */
	/* [loop lock] What kernels of guests have reported, by lab/verdict.h. */
	struct pv_verdicts verdicts;
	bool reports_expected;
	unsigned unexpected_reports;
};

/* Prepares; starts the loop thread. `config` is not owned. Returns 0 or -errno. */
int pv_host_init(struct pv_host *host, const struct pv_config *config,
    const struct pv_host_events *events, void *ctx, struct pv_err *err);
/* All VMs must have been released. */
void pv_host_finish(struct pv_host *host);

/* [loop lock] Time is up, or the user pressed Ctrl-C: every operation that waits, now or later,
 * fails with `reason`, until cleared. Any thread. */
void pv_host_interrupt_locked(struct pv_host *host, const char *reason);
void pv_host_interrupt(struct pv_host *host, const char *reason);
/* Lets new work begin. Guests are as they were; what was in flight has failed and its answer will
 * be ignored. Script thread. */
void pv_host_clear_interrupt(struct pv_host *host);

/* Opens the file of a kernel that may be needed: pv_host_kernel will read that one. Returns 0 or
 * -errno with a sentence that names the path. Any thread. */
int pv_host_kernel_hold(struct pv_host *host, const char *path, struct pv_err *err);

/* The unpacked kernel of a path; read at first use. Owned by the host. Any thread, without the loop
 * lock. */
int pv_host_kernel(
    struct pv_host *host, const char *path, const struct pv_kernel **out, struct pv_err *err);

/* /dev/kvm, opened and checked at first use, with guests' kernels in mind. */
int pv_host_kvm(struct pv_host *host, struct pv_kvm **out, struct pv_err *err);

#endif
