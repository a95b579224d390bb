/*
 * Executing system calls: addresses of buffers go to their places, the kernel is asked, and that is
 * all; nothing here knows what a number means, except where the call would take the agent's own
 * ground away.
 *
 * A child of fork, vfork, clone or clone3 must not come back into the agent: it ends where it
 * comes to life (guest/syscall_raw.S).
 *
 * Stopping: a thread that hangs in the kernel gets a signal, and the kernel returns EINTR. A signal
 * that comes a moment too early would be lost, so the handler looks where the thread was: between
 * the look at `wanted` and the end of the call it is moved behind it.
 */
#include "agent/guest/syscall.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "agent/proto/protocol.h"

#ifndef __x86_64__
#error "guest/syscall_raw.S is for x86-64"
#endif

/* The last one: nobody else has a use for it. */
#define STOP_SIGNAL 64

/* Later ones are not in the list below. */
#define LAST_KNOWN 450

/* The second system call interface of x86-64 (x32) has the same numbers with this bit. */
#define X32_BIT UINT32_C(0x40000000)

int64_t pv_syscall_raw(const int64_t *words, const atomic_int *stop, long ends_child);
extern const char pv_syscall_raw_begin[];
extern const char pv_syscall_raw_end[];
extern const char pv_syscall_raw_stop[];

static void come_back(int number, siginfo_t *info, void *context)
{
	ucontext_t *thread = context;
	greg_t *at = &thread->uc_mcontext.gregs[REG_RIP];
	(void)number;
	(void)info;
	if (*at >= (greg_t)(uintptr_t)pv_syscall_raw_begin &&
	    *at < (greg_t)(uintptr_t)pv_syscall_raw_end)
		*at = (greg_t)(uintptr_t)pv_syscall_raw_stop;
}

void pv_syscall_init(void)
{
	struct sigaction action = {.sa_sigaction = come_back, .sa_flags = SA_SIGINFO};
	sigaction(STOP_SIGNAL, &action, NULL);
}

void pv_syscall_interrupt(struct pv_syscall_stop *stop)
{
	atomic_store(&stop->wanted, 1);
	pthread_t thread = atomic_load(&stop->thread);
	if (thread != 0)
		pthread_kill(thread, STOP_SIGNAL);
}

/* The kernel looks at 32 bits only. */
static uint32_t number_of(int64_t nr)
{
	return (uint32_t)nr & ~X32_BIT;
}

static bool makes_child(int64_t nr)
{
	uint32_t number = number_of(nr);
	return number == SYS_fork || number == SYS_vfork || number == SYS_clone ||
	       number == SYS_clone3;
}

/* Which arguments of a call are pointers, one bit each, when it never waits for anything else than
 * their memory; -1 for other calls: those that touch files, memory maps, locks or other processes. */
static int pointers_of_immediate(int64_t nr)
{
	switch (nr) {
	case SYS_getpid:
	case SYS_gettid:
	case SYS_getppid:
	case SYS_getpgrp:
	case SYS_getpgid:
	case SYS_getsid:
	case SYS_getuid:
	case SYS_geteuid:
	case SYS_getgid:
	case SYS_getegid:
	case SYS_umask:
	case SYS_dup:
	case SYS_eventfd:
	case SYS_eventfd2:
	case SYS_epoll_create:
	case SYS_epoll_create1:
	case SYS_timerfd_create: return 0;
	case SYS_uname:
	case SYS_sysinfo:
	case SYS_time:
	case SYS_times:
	case SYS_pipe:
	case SYS_pipe2: return 1 << 0;
	case SYS_gettimeofday: return 1 << 0 | 1 << 1;
	case SYS_getgroups:
	case SYS_getrlimit:
	case SYS_getrusage:
	case SYS_getitimer:
	case SYS_timerfd_gettime: return 1 << 1;
	case SYS_getresuid:
	case SYS_getresgid: return 1 << 0 | 1 << 1 | 1 << 2;
	default: return -1;
	}
}

bool pv_syscall_is_immediate(const struct pv_request_syscall *call)
{
	int pointers = pointers_of_immediate(call->nr);
	if (pointers < 0)
		return false;
	for (size_t i = 0; i < call->ptrs.count; i++)
		pointers &= ~(1 << call->ptrs.at[i]);
	return pointers == 0;
}

bool pv_syscall_leaves_thread(int64_t nr)
{
	/* Without the second interface. */
	if (nr < 0 || nr > LAST_KNOWN)
		return false;
	switch (nr) {
	/* What is its own: credentials, security, name spaces, */
	case SYS_setuid:
	case SYS_setgid:
	case SYS_setreuid:
	case SYS_setregid:
	case SYS_setresuid:
	case SYS_setresgid:
	case SYS_setfsuid:
	case SYS_setfsgid:
	case SYS_setgroups:
	case SYS_capset:
	case SYS_prctl:
	case SYS_arch_prctl:
	case SYS_seccomp:
	case SYS_landlock_restrict_self:
	case SYS_add_key:
	case SYS_request_key:
	case SYS_keyctl:
	case SYS_unshare:
	case SYS_setns:
	case SYS_personality:
	/* scheduling and memory, */
	case SYS_sched_setparam:
	case SYS_sched_setscheduler:
	case SYS_sched_setattr:
	case SYS_sched_setaffinity:
	case SYS_setpriority:
	case SYS_ioprio_set:
	case SYS_set_mempolicy:
	case SYS_iopl:
	case SYS_ioperm:
	/* signals and what the C library relies on. */
	case SYS_rt_sigprocmask:
	case SYS_rt_sigreturn:
	case SYS_rt_sigsuspend:
	case SYS_sigaltstack:
	case SYS_set_tid_address:
	case SYS_set_robust_list:
	case SYS_set_thread_area:
	case SYS_rseq:
	/* Who is a child's parent, a tracee's tracer, or ends. */
	case SYS_fork:
	case SYS_vfork:
	case SYS_clone:
	case SYS_clone3:
	case SYS_ptrace:
	case SYS_execve:
	case SYS_execveat:
	case SYS_exit:
	case SYS_exit_group: return false;
	default: return true;
	}
}

enum pv_buffers_end pv_syscall_end(int64_t nr)
{
	static const uint16_t remapping[] = {SYS_mmap, SYS_mprotect, SYS_madvise, SYS_shmat,
	    SYS_remap_file_pages, SYS_pkey_mprotect, SYS_process_madvise, SYS_brk, SYS_mlock,
	    SYS_mlock2, SYS_mbind};
	uint32_t number = number_of(nr);
	if (number == SYS_munmap || number == SYS_mremap)
		return PV_BUFFERS_LEAVE;
	for (size_t i = 0; i < sizeof(remapping) / sizeof(remapping[0]); i++) {
		if (number == remapping[i])
			return PV_BUFFERS_UNMAP;
	}
	return PV_BUFFERS_REUSE;
}

static bool is_index(int64_t number, uint64_t count)
{
	return number >= 0 && (uint64_t)number < count;
}

bool pv_syscall_check(const struct pv_request_syscall *call, const char **why)
{
	const struct pv_request_numbers *lens = &call->lens, *nested = &call->nested;
	*why = "syscall: `ptrs` must be arguments from 0 to 5, no more than there are buffers";
	if (call->ptrs.count > lens->count)
		return false;
	for (size_t i = 0; i < call->ptrs.count; i++) {
		if (!is_index(call->ptrs.at[i], 6))
			return false;
	}
	*why = "syscall: `nested` must be triples of parent, child and a place within the parent";
	if (nested->count % 3 != 0)
		return false;
	for (size_t i = 0; i < nested->count; i += 3) {
		const int64_t *link = &nested->at[i];
		if (!is_index(link[0], lens->count) || !is_index(link[1], lens->count))
			return false;
		int64_t len = lens->at[link[0]];
		if (link[2] < 0 || len < (int64_t)sizeof(void *) ||
		    link[2] > len - (int64_t)sizeof(void *))
			return false;
	}
	return true;
}

static int64_t issue(const int64_t *words, struct pv_syscall_stop *stop)
{
	atomic_store(&stop->thread, pthread_self());
	return pv_syscall_raw(words, &stop->wanted, makes_child(words[0]));
}

int64_t pv_syscall_execute_words(const int64_t *words, struct pv_syscall_stop *stop)
{
	return issue(words, stop);
}

int64_t pv_syscall_execute(
    const struct pv_request_syscall *call, struct pv_buffers *buffers, struct pv_syscall_stop *stop)
{
	int64_t words[PV_PROTOCOL_SYSCALL_WORDS] = {call->nr};
	if (call->args.count > 0)
		memcpy(&words[1], call->args.at, call->args.count * sizeof(words[0]));
	for (size_t i = 0; i < call->ptrs.count; i++)
		words[1 + call->ptrs.at[i]] = (int64_t)(uintptr_t)buffers->at[i];
	for (size_t i = 0; i < call->nested.count; i += 3) {
		const int64_t *link = &call->nested.at[i];
		uint64_t address = (uint64_t)(uintptr_t)buffers->at[link[1]];
		memcpy(buffers->at[link[0]] + link[2], &address, sizeof(address));
	}
	return issue(words, stop);
}
