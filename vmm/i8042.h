/*
 * The one thing that is left of the keyboard controller: its reset line. Under the loop lock.
 */
#ifndef PV_VMM_I8042_H
#define PV_VMM_I8042_H

#include "base/bus.h"

#define PV_I8042_DATA	0x60u
#define PV_I8042_STATUS 0x64u

struct pv_i8042 {
	void (*reset)(void *ctx); /* the guest pulled the reset line */
	void *ctx;
};

/* One port each; ctx = struct pv_i8042 *. */
extern const struct pv_bus_ops pv_i8042_data_ops;
extern const struct pv_bus_ops pv_i8042_status_ops;

#endif
