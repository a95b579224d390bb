/*
 * System calls and memory of the process in the guest that serves us: the agent or a worker. Called
 * on the script thread without the loop lock. An error is a call that did not come to its end; one
 * that the guest's kernel answered with an errno is a result.
 */
#ifndef PV_AGENT_HOST_SYSCALL_H
#define PV_AGENT_HOST_SYSCALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_err;
struct pv_principal;

/* Of one call: its buffers, links between them, bytes of all buffers. */
#define PV_AGENT_BUFFERS_MAX (1u << 18)
#define PV_AGENT_NESTED_MAX  ((1u << 18) / 3)
#define PV_AGENT_MEMORY_MAX  (INT64_C(1) << 30)

/* All lists are the caller's, and needed until the call has begun. */
struct pv_agent_syscall {
	int64_t nr;
	const int64_t *args; /* at most six */
	size_t arg_count;
	const int64_t *lens; /* of buffers */
	size_t buf_count;
	const int64_t *ptrs; /* ptrs[i]: the argument, from 0, that points to buffer i */
	size_t ptr_count;
	const int64_t *nested; /* three for each: parent, child (from 0), place in the parent */
	size_t nested_count;   /* of links */
	const void *data;      /* the content of all buffers in a row */
	size_t len;
	int64_t
	    handle; /* of a file of agent/host/open_file.h that is the first argument; 0: none */
	bool aside; /* a worker may do it on another thread than the rest */
};

struct pv_agent_syscall_result {
	int64_t ret;	     /* -1 with `code` set, like syscall(2) */
	int code;	     /* errno, or 0 */
	struct pv_bytes out; /* as `data`, after the call; the caller finishes it */
};

/* Why a call would end the process that issues it, as "X would ...; do Y", or NULL. Pure. */
const char *pv_agent_syscall_refusal(int64_t nr, int64_t first_arg);

/* Issues a call and waits for as long as it takes. Returns 0 or -errno; then `out` is empty. */
int pv_agent_syscall(const struct pv_principal *by, const struct pv_agent_syscall *syscall,
    struct pv_agent_syscall_result *result, struct pv_err *err);

/* A call that goes on while others do. */
struct pv_agent_syscall_pending;

/* Issues a call and returns when all of it is on its way; the caller ends or drops `out` before
 * the agent's client is destroyed. */
int pv_agent_syscall_begin(const struct pv_principal *by, const struct pv_agent_syscall *syscall,
    struct pv_agent_syscall_pending **out, struct pv_err *err);

/* Whether its end is known, so that nothing needs to be waited for. Takes the loop lock. */
bool pv_agent_syscall_is_over(const struct pv_agent_syscall_pending *pending);

/* Waits for the end of a call and frees it, in every case. */
int pv_agent_syscall_end(struct pv_agent_syscall_pending *pending,
    struct pv_agent_syscall_result *result, struct pv_err *err);

/* Frees a call whose end nobody waits for: the guest's kernel is interrupted in it where that is
 * possible. NULL is fine. */
void pv_agent_syscall_drop(struct pv_agent_syscall_pending *pending);

/* Appends `len` bytes (at most PV_AGENT_MEMORY_MAX) from `addr` to `out`. `*code` is the errno when
 * the guest's kernel does not allow all of it, and nothing is appended then; else 0. */
int pv_agent_read_mem(const struct pv_principal *by, uint64_t addr, uint64_t len,
    struct pv_bytes *out, int *code, struct pv_err *err);

/* Writes to memory that may be written. `*code` as above; a part may have been written then. */
int pv_agent_write_mem(const struct pv_principal *by, uint64_t addr, const void *data, size_t len,
    int *code, struct pv_err *err);

#endif
