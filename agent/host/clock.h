/*
 * The wall clock of the guest (CLOCK_REALTIME), nanoseconds since 1970. Called on the script thread
 * without the loop lock. Return 0 or -errno; what the guest's kernel refuses is PV_ERR_GUEST with
 * its errno.
 */
#ifndef PV_AGENT_HOST_CLOCK_H
#define PV_AGENT_HOST_CLOCK_H

#include <stdint.h>

struct pv_err;
struct pv_principal;

int pv_agent_clock_get(const struct pv_principal *by, int64_t *ns, struct pv_err *err);
int pv_agent_clock_set(const struct pv_principal *by, int64_t ns, struct pv_err *err);
/* Moves it by `ns`, forward or back, without losing what passes meanwhile. */
int pv_agent_clock_step(const struct pv_principal *by, int64_t ns, struct pv_err *err);
/* Returns when `ns` of the guest's monotonic time have passed. */
int pv_agent_clock_sleep(const struct pv_principal *by, int64_t ns, struct pv_err *err);

#endif
