/*
 * Programs in the guest that go on by themselves (agent/host/client.h has what is waited for at
 * once). Functions are called on the script thread without the loop lock and block until the
 * answer.
 */
#ifndef PV_AGENT_HOST_PROCESS_H
#define PV_AGENT_HOST_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_agent_exec;
struct pv_agent_exec_result;
struct pv_agent_stream;
struct pv_err;
struct pv_principal;

struct pv_agent_process {
	uint64_t handle;
	int64_t pid;
	uint64_t boot; /* for `boot` of the principal in all that follows */
};

/*
 * Starts a program, with `input` as the beginning of its standard input; the time limit does not
 * count. Returns when it is executed; that it cannot be is an error. Its output is kept in the
 * guest, however much it is.
 */
int pv_agent_process_start(const struct pv_principal *by, const struct pv_agent_exec *exec,
    struct pv_agent_process *out, struct pv_err *err);

/*
 * Closes its input, waits for its end, and gives all that it wrote. After `timeout_ns`
 * (PV_CLOCK_NEVER for none) its process group is killed. The handle is gone when this succeeds. The
 * caller finishes the buffers, which are empty on failure.
 */
int pv_agent_process_wait(const struct pv_principal *by, uint64_t handle, int64_t timeout_ns,
    struct pv_agent_exec_result *result, struct pv_err *err);

/* Whether the program has not ended yet. */
int pv_agent_process_status(
    const struct pv_principal *by, uint64_t handle, bool *running, struct pv_err *err);

/* Sends a signal, 0 to 64, to the program alone; one that has ended takes any. */
int pv_agent_process_signal(
    const struct pv_principal *by, uint64_t handle, int signal, struct pv_err *err);

/* Writes to its standard input and waits until it is in the pipe. -EPIPE when nobody reads. */
int pv_agent_process_write(const struct pv_principal *by, uint64_t handle, const void *data,
    size_t len, struct pv_err *err);

/* The end of its input, after all that was written. */
int pv_agent_process_close_input(
    const struct pv_principal *by, uint64_t handle, struct pv_err *err);

/* Follows its standard output, or standard error, from the first byte on until nobody can write it
 * any more (agent/host/stream.h); it does not matter who waits meanwhile. */
int pv_agent_process_stream(const struct pv_principal *by, uint64_t handle, bool from_err,
    struct pv_agent_stream **out, struct pv_err *err);

/* Ends its group, by SIGTERM and after two seconds by SIGKILL, and the handle. -ETIMEDOUT when the
 * guest does not answer within PV_AGENT_CLOSE_PATIENCE: whatever closes at the end of a test must
 * not wait for a guest that hangs. */
#define PV_AGENT_CLOSE_PATIENCE (INT64_C(20) * 1000000000)
int pv_agent_process_close(const struct pv_principal *by, uint64_t handle, struct pv_err *err);

#endif
