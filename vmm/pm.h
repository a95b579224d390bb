/*
 * The ACPI power management block (ACPI 6.4, section 4.8): PM1 event and control, PM timer, GPE0
 * and the reset register. Power button, sleep and reset go through here. Under the loop lock.
 */
#ifndef PV_VMM_PM_H
#define PV_VMM_PM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/irq.h"

struct pv_err;
struct pv_pack;
struct pv_val;

/* Ports claimed at PV_LAYOUT_PIO_PM; those behind belong to hot-plug. */
#define PV_PM_PORTS 0x80u

struct pv_pm_host {
	int64_t (*now)(void *ctx);    /* guest time in nanoseconds, any origin */
	void (*power_off)(void *ctx); /* the guest entered S5 */
	void (*suspend)(void *ctx);   /* the guest entered S3: no vCPU runs until it is woken */
	void (*reset)(void *ctx);     /* the guest wrote the reset register */
	void *ctx;
};

struct pv_pm {
	struct pv_irq_line sci;
	struct pv_pm_host host;
	uint16_t status;
	uint16_t enable;
	uint16_t control;
	uint16_t gpe_status;
	uint16_t gpe_enable;
	bool suspended; /* the guest entered S3 and was not woken yet */
	bool sci_level;
};

/* ctx = struct pv_pm *. */
extern const struct pv_bus_ops pv_pm_ops;

void pv_pm_init(struct pv_pm *pm, struct pv_irq_line sci, const struct pv_pm_host *host);
void pv_pm_reset(struct pv_pm *pm);

/* The whole state as one msgpack value. Loading leaves the wire alone. Returns 0 or -EBADMSG. */
void pv_pm_save(const struct pv_pm *pm, struct pv_pack *pack);
int pv_pm_load(struct pv_pm *pm, const struct pv_val *val, struct pv_err *err);

/* Presses the power button. */
void pv_pm_power_button(struct pv_pm *pm);

/*
 * Whether the guest has suspended itself to idle (S0): it has no sleep state to enter, but lets no
 * general-purpose event interrupt it, and the power button may. So it is, for a moment, when it is
 * about to sleep or to power off.
 */
bool pv_pm_is_idle(const struct pv_pm *pm);

/* The alarm of the real-time clock is due: an event of its own, for guests that sleep by it. */
void pv_pm_alarm(struct pv_pm *pm);

/* Power is back after S3: registers as after a reset, but that they tell of the sleep. */
void pv_pm_wake(struct pv_pm *pm);

/* Raises general-purpose event `event` (0 to 15). */
void pv_pm_raise_gpe(struct pv_pm *pm, unsigned event);

#endif
