/*
 * System calls in the name of the host: on whichever thread runs them, with that thread's identity.
 */
#ifndef PV_AGENT_GUEST_SYSCALL_H
#define PV_AGENT_GUEST_SYSCALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/guest/buffers.h"
#include "agent/proto/request.h"

/* Lets one thread be called back from the kernel. Zeroed: nothing is to be stopped. */
struct pv_syscall_stop {
	atomic_int wanted;
	_Atomic(pthread_t) thread; /* which is in pv_syscall_*, or 0 */
};

/* Prepares this process for pv_syscall_stop. Once, before the first of the others. */
void pv_syscall_init(void);

/* False, with what is wrong in `why` (a constant), when arguments, pointers or buffers do not fit
 * together. */
bool pv_syscall_check(const struct pv_request_syscall *call, const char **why);

/*
 * Issues a checked call with its filled buffers (of the lengths in call->lens) on this thread, and
 * blocks for as long as the kernel does. Returns what the kernel returned, a negative errno
 * included. A child of fork or clone ends at once.
 */
int64_t pv_syscall_execute(const struct pv_request_syscall *call, struct pv_buffers *buffers,
    struct pv_syscall_stop *stop);

/* The same for a call without buffers: its number and six arguments. */
int64_t pv_syscall_execute_words(const int64_t *words, struct pv_syscall_stop *stop);

/* Makes the thread in there come back soon, with -EINTR where the kernel can be interrupted, and
 * every later call with this `stop` at once. Any thread; the thread that executes must not end
 * meanwhile. */
void pv_syscall_interrupt(struct pv_syscall_stop *stop);

/* True when a checked call never waits for anything, and leaves its thread as it is: any thread may
 * issue it at any time. Its pointers are then all to its buffers, as other memory may be that of a
 * file on a hung disk. */
bool pv_syscall_is_immediate(const struct pv_request_syscall *call);

/* True when no such call can change who its thread is to the kernel: credentials, name spaces,
 * processors and the like. Numbers that nobody knew yet may. Written through a file of /proc they
 * can be changed all the same. */
bool pv_syscall_leaves_thread(int64_t nr);

/* What a call may do to the memory of its buffers. When it is not PV_BUFFERS_REUSE, they may not
 * be readable afterwards. */
enum pv_buffers_end pv_syscall_end(int64_t nr);

#endif
