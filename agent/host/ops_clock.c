/*
 * The guest's clock, by system calls that the agent issues (agent/host/syscall.h): clock_gettime,
 * clock_settime, clock_adjtime with ADJ_SETOFFSET, which moves the clock in one go, and
 * clock_nanosleep. No operation of the agent's own is needed for it. Numbers and layouts are those
 * of x86-64 Linux, which the guest is.
 *
 * Called on the script thread without the loop lock.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>

#include "agent/host/client.h"
#include "agent/host/clock.h"
#include "agent/host/syscall.h"
#include "base/clock.h"
#include "base/err.h"

/*
 * A call that takes a clock and a buffer, behind `flags` when that is not negative; the buffer is
 * read and written. Returns 0 or -errno.
 */
static int issue(const struct pv_principal *by, const char *what, int64_t nr, const int64_t *args,
    size_t arg_count, int64_t pointer, void *buffer, size_t size, struct pv_err *err)
{
	const int64_t len = (int64_t)size;
	const struct pv_agent_syscall call = {
	    .nr = nr,
	    .args = args,
	    .arg_count = arg_count,
	    .lens = &len,
	    .buf_count = 1,
	    .ptrs = &pointer,
	    .ptr_count = 1,
	    .data = buffer,
	    .len = size,
	    .aside = true,
	};
	struct pv_agent_syscall_result result = {0};
	int status = pv_agent_syscall(by, &call, &result, err);
	if (status == 0 && result.ret < 0)
		status = pv_err_set(
		    err, PV_ERR_GUEST, result.code, "%s: %s", what, strerror(result.code));
	else if (status == 0 && result.out.len != size)
		status = pv_err_set(
		    err, PV_ERR_GUEST, EPROTO, "%s: the guest's agent sent no buffer", what);
	else if (status == 0)
		memcpy(buffer, result.out.data, size);
	pv_bytes_finish(&result.out);
	return status;
}

static struct timespec timespec_of(int64_t ns)
{
	struct timespec time = {
	    .tv_sec = ns / PV_CLOCK_SECOND,
	    .tv_nsec = ns % PV_CLOCK_SECOND,
	};
	if (time.tv_nsec < 0) {
		time.tv_sec--;
		time.tv_nsec += PV_CLOCK_SECOND;
	}
	return time;
}

int pv_agent_clock_get(const struct pv_principal *by, int64_t *ns, struct pv_err *err)
{
	struct timespec now = {0};
	const int64_t args[] = {CLOCK_REALTIME, 0};
	int status =
	    issue(by, "clock_gettime", SYS_clock_gettime, args, 2, 1, &now, sizeof(now), err);
	if (status == 0 && (__builtin_mul_overflow((int64_t)now.tv_sec, PV_CLOCK_SECOND, ns) ||
			       __builtin_add_overflow(*ns, (int64_t)now.tv_nsec, ns)))
		status = pv_err_set(err, PV_ERR_GUEST, ERANGE,
		    "clock_gettime: the guest's clock is beyond what 64 bits of nanoseconds tell");
	return status;
}

int pv_agent_clock_set(const struct pv_principal *by, int64_t ns, struct pv_err *err)
{
	struct timespec time = timespec_of(ns);
	const int64_t args[] = {CLOCK_REALTIME, 0};
	return issue(by, "clock_settime", SYS_clock_settime, args, 2, 1, &time, sizeof(time), err);
}

int pv_agent_clock_step(const struct pv_principal *by, int64_t ns, struct pv_err *err)
{
	const struct timespec step = timespec_of(ns);
	struct timex adjustment = {
	    .modes = ADJ_SETOFFSET | ADJ_NANO,
	    .time = {.tv_sec = step.tv_sec, .tv_usec = step.tv_nsec},
	};
	const int64_t args[] = {CLOCK_REALTIME, 0};
	return issue(by, "clock_adjtime", SYS_clock_adjtime, args, 2, 1, &adjustment,
	    sizeof(adjustment), err);
}

int pv_agent_clock_sleep(const struct pv_principal *by, int64_t ns, struct pv_err *err)
{
	struct timespec time = timespec_of(ns);
	const int64_t args[] = {CLOCK_MONOTONIC, 0, 0, 0};
	return issue(
	    by, "clock_nanosleep", SYS_clock_nanosleep, args, 4, 2, &time, sizeof(time), err);
}
