/* The clock of fake guests: one for all, which stands still and goes where it is told. */
#include "agent/host/clock.h"

#include <errno.h>

#include "base/err.h"

static int64_t now = INT64_C(1000000000500000000);

int pv_agent_clock_get(const struct pv_principal *by, int64_t *ns, struct pv_err *err)
{
	*ns = now;
	return 0;
}

int pv_agent_clock_set(const struct pv_principal *by, int64_t ns, struct pv_err *err)
{
	if (ns < 0)
		return pv_err_set(err, PV_ERR_GUEST, EINVAL, "clock_settime: Invalid argument");
	now = ns;
	return 0;
}

int pv_agent_clock_step(const struct pv_principal *by, int64_t ns, struct pv_err *err)
{
	now += ns;
	return 0;
}

int pv_agent_clock_sleep(const struct pv_principal *by, int64_t ns, struct pv_err *err)
{
	now += ns;
	return 0;
}
