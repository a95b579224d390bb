/*
 * vCPU threads: one each, in a loop of KVM_RUN and the answer to its exit.
 *
 * The gate. A thread looks at its orders only when KVM_RUN returned EINTR. To call the threads in,
 * one sets `order`, then immediate_exit in every kvm_run, then sends each thread a signal. A thread
 * inside the guest is thrown out by the signal; one that is answering an exit enters KVM_RUN once
 * more, which completes the exit (the value of an `in` reaches its register only then) and returns
 * EINTR because of immediate_exit. So there is no moment in which a kick can be lost, and a parked
 * vCPU never has a half-done exit. immediate_exit is cleared under the crew's lock on the way out.
 *
 * The last one to come runs `all_parked`, already counted as parked, without a lock: this is how a
 * guest's own request for a reset or power-off is carried out, because nobody else needs to wait.
 *
 * The signal is SIGRTMIN + 4 with an empty handler, installed when a crew starts. A disposition is
 * process-wide, there is no way around that; it is sent to single threads only, so other threads
 * never see it.
 *
 * Locks: the crew's lock is a leaf, taken with or without the loop lock, and no code of the machine
 * runs under it.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/err.h"
#include "vmm/kvm_vm.h"

#define KICK_SIGNAL (SIGRTMIN + 4)

static void ignore_kick(int signal)
{
}

static int install_kick(struct pv_err *err)
{
	struct sigaction action = {.sa_handler = ignore_kick};
	sigemptyset(&action.sa_mask);
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return pv_err_system(err, errno, "cannot install the handler of vCPU kicks");
	return 0;
}

static struct kvm_run *run_of(const struct pv_vcpu *vcpu)
{
	return vcpu->crew->vm->vcpus[vcpu->index].run;
}

/* Stands at the gate until there is an order other than to park. Returns false to end. */
static bool pass_gate(struct pv_vcpu *vcpu)
{
	struct pv_crew *crew = vcpu->crew;
	pthread_mutex_lock(&crew->lock);
	crew->parked++;
	if (crew->parked == crew->count && crew->order == PV_CREW_PARK) {
		pthread_cond_broadcast(&crew->changed);
		pthread_mutex_unlock(&crew->lock);
		crew->ops->all_parked(crew->ctx);
		pthread_mutex_lock(&crew->lock);
	}
	while (crew->order == PV_CREW_PARK)
		pthread_cond_wait(&crew->changed, &crew->lock);
	crew->parked--;
	__atomic_store_n(&run_of(vcpu)->immediate_exit, 0, __ATOMIC_RELAXED);
	bool go = crew->order == PV_CREW_RUN;
	pthread_mutex_unlock(&crew->lock);
	return go;
}

static void count_exit(struct pv_vcpu *vcpu, uint32_t reason)
{
	uint32_t kind = reason < PV_VCPU_EXIT_KINDS ? reason : PV_VCPU_EXIT_KINDS - 1;
	uint64_t *count = &vcpu->exits[kind];
	__atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
}

/* Runs the guest until the gate has to be looked at. */
static void run_guest(struct pv_vcpu *vcpu)
{
	struct pv_crew *crew = vcpu->crew;
	const int fd = crew->vm->vcpus[vcpu->index].fd;
	struct kvm_run *run = run_of(vcpu);
	for (;;) {
		if (ioctl(fd, KVM_RUN, 0) == 0) {
			count_exit(vcpu, run->exit_reason);
			crew->ops->exited(crew->ctx, vcpu->index, run);
			continue;
		}
		if (errno == EINTR)
			return;
		/* A vCPU that waits for its start-up interrupt is woken for nothing now and then.
		 */
		if (errno == EAGAIN)
			continue;
		crew->ops->failed(crew->ctx, vcpu->index, errno);
		return;
	}
}

static void *vcpu_thread(void *arg)
{
	struct pv_vcpu *vcpu = arg;
	char name[16];
	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	while (pass_gate(vcpu))
		run_guest(vcpu);
	return NULL;
}

int pv_crew_init(struct pv_crew *crew, struct pv_kvm_vm *vm, unsigned count,
    const struct pv_crew_ops *ops, void *ctx, struct pv_err *err)
{
	*crew = (struct pv_crew){.count = count, .vm = vm, .ops = ops, .ctx = ctx};
	crew->vcpus = calloc(count, sizeof(crew->vcpus[0]));
	if (!crew->vcpus)
		return pv_err_nomem(err, "vCPU threads");
	for (unsigned i = 0; i < count; i++) {
		crew->vcpus[i].crew = crew;
		crew->vcpus[i].index = i;
	}
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->changed, NULL);
	return 0;
}

void pv_crew_finish(struct pv_crew *crew)
{
	if (!crew || !crew->vcpus)
		return;
	pv_crew_dismiss(crew);
	pv_crew_join(crew);
	pthread_cond_destroy(&crew->changed);
	pthread_mutex_destroy(&crew->lock);
	free(crew->vcpus);
	*crew = (struct pv_crew){0};
}

int pv_crew_start(struct pv_crew *crew, struct pv_err *err)
{
	int code = install_kick(err);
	if (code < 0)
		return code;
	/* Signals of the process go to its other threads; only the kick comes through. */
	sigset_t all_but_kick;
	sigset_t before;
	sigfillset(&all_but_kick);
	sigdelset(&all_but_kick, KICK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all_but_kick, &before);
	pthread_mutex_lock(&crew->lock);
	for (unsigned i = 0; i < crew->count && code == 0; i++) {
		struct pv_vcpu *vcpu = &crew->vcpus[i];
		code = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
		vcpu->has_thread = code == 0;
		if (code != 0)
			pv_err_system(err, code, "cannot start the thread of vCPU %u", i);
	}
	pthread_mutex_unlock(&crew->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code == 0)
		return 0;
	pv_crew_dismiss(crew);
	pv_crew_join(crew);
	return -code;
}

/* Under the crew's lock. */
static void kick_all(struct pv_crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++) {
		struct pv_vcpu *vcpu = &crew->vcpus[i];
		if (!vcpu->has_thread)
			continue;
		__atomic_store_n(&run_of(vcpu)->immediate_exit, 1, __ATOMIC_RELAXED);
		if (!pthread_equal(vcpu->thread, pthread_self()))
			pthread_kill(vcpu->thread, KICK_SIGNAL);
	}
}

static void give_order(struct pv_crew *crew, enum pv_crew_order order)
{
	pthread_mutex_lock(&crew->lock);
	if (crew->order != PV_CREW_QUIT)
		crew->order = order;
	if (order == PV_CREW_RUN)
		pthread_cond_broadcast(&crew->changed);
	else
		kick_all(crew);
	if (order == PV_CREW_QUIT)
		pthread_cond_broadcast(&crew->changed);
	pthread_mutex_unlock(&crew->lock);
}

void pv_crew_go(struct pv_crew *crew)
{
	give_order(crew, PV_CREW_RUN);
}

void pv_crew_call_in(struct pv_crew *crew)
{
	give_order(crew, PV_CREW_PARK);
}

void pv_crew_dismiss(struct pv_crew *crew)
{
	give_order(crew, PV_CREW_QUIT);
}

static bool has_threads(const struct pv_crew *crew)
{
	return crew->count > 0 && crew->vcpus[0].has_thread;
}

bool pv_crew_is_started(struct pv_crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	bool started = has_threads(crew);
	pthread_mutex_unlock(&crew->lock);
	return started;
}

void pv_crew_wait_parked(struct pv_crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	while (has_threads(crew) && crew->order == PV_CREW_PARK && crew->parked < crew->count)
		pthread_cond_wait(&crew->changed, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
}

bool pv_crew_is_parked(struct pv_crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	bool parked =
	    crew->order == PV_CREW_PARK && (!has_threads(crew) || crew->parked == crew->count);
	pthread_mutex_unlock(&crew->lock);
	return parked;
}

void pv_crew_join(struct pv_crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++) {
		struct pv_vcpu *vcpu = &crew->vcpus[i];
		if (!vcpu->has_thread)
			continue;
		pthread_join(vcpu->thread, NULL);
		pthread_mutex_lock(&crew->lock);
		vcpu->has_thread = false;
		pthread_mutex_unlock(&crew->lock);
	}
}
