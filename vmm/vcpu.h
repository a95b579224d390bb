/*
 * The threads that run a machine's vCPUs, and the gate at which they stop: the only way to get all
 * of them out of the guest, for a pause, a reset or the end.
 */
#ifndef PV_VMM_VCPU_H
#define PV_VMM_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct kvm_run;
struct pv_crew;
struct pv_err;
struct pv_kvm_vm;

/* Exits are counted by reason; higher reasons share the last place. For measurements only. */
#define PV_VCPU_EXIT_KINDS 48

struct pv_vcpu {
	struct pv_crew *crew;
	unsigned index;
	bool has_thread;
	pthread_t thread;
	uint64_t exits[PV_VCPU_EXIT_KINDS];
};

/* What the machine does. All are called on a vCPU thread with no lock held. */
struct pv_crew_ops {
	/* The guest exited; kvm_run says why. */
	void (*exited)(void *ctx, unsigned vcpu, struct kvm_run *run);
	/* KVM_RUN failed with errno `code`; no answer makes it work. */
	void (*failed)(void *ctx, unsigned vcpu, int code);
	/*
	 * The last running vCPU came to the gate. Another thread may have opened the gate again by
	 * now: ask pv_crew_is_parked under the lock that guards opening.
	 */
	void (*all_parked)(void *ctx);
};

enum pv_crew_order {
	PV_CREW_PARK, /* stay at the gate, or come to it */
	PV_CREW_RUN,
	PV_CREW_QUIT, /* end the thread */
};

struct pv_crew {
	pthread_mutex_t lock; /* inside the loop lock, never around it */
	pthread_cond_t changed;
	enum pv_crew_order order;
	unsigned parked;
	unsigned count;
	struct pv_vcpu *vcpus;
	struct pv_kvm_vm *vm; /* its vCPUs change only while all are parked */
	const struct pv_crew_ops *ops;
	void *ctx;
};

/* Prepares without threads. `vm` is not owned. Returns 0 or -errno. */
int pv_crew_init(struct pv_crew *crew, struct pv_kvm_vm *vm, unsigned count,
    const struct pv_crew_ops *ops, void *ctx, struct pv_err *err);

/* Ends and joins the threads. Not from a vCPU thread, no lock held. NULL and zeroed are fine. */
void pv_crew_finish(struct pv_crew *crew);

/* Starts the threads; they come to the gate and wait. Returns 0 or -errno, then none runs. */
int pv_crew_start(struct pv_crew *crew, struct pv_err *err);

/* True when the threads were started and not joined since. */
bool pv_crew_is_started(struct pv_crew *crew);

/* Opens the gate. */
void pv_crew_go(struct pv_crew *crew);

/* Closes the gate and kicks all vCPUs out of the guest; does not wait. Any thread. */
void pv_crew_call_in(struct pv_crew *crew);

/*
 * Waits until all are at the gate. Not from a vCPU thread; without the loop lock, since a vCPU may
 * need it to finish an exit. An exit that began is completed, registers and memory are consistent.
 */
void pv_crew_wait_parked(struct pv_crew *crew);

/* True when the gate is closed and all are at it (or have no thread yet). */
bool pv_crew_is_parked(struct pv_crew *crew);

/* Tells all threads to end and kicks them; does not wait. Any thread. */
void pv_crew_dismiss(struct pv_crew *crew);

/* Waits until the threads have ended. Not from a vCPU thread, no lock held. */
void pv_crew_join(struct pv_crew *crew);

#endif
