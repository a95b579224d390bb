/*
 * The real-time clock with CMOS memory: an MC146818 at two ports. Under the loop lock.
 */
#ifndef PV_VMM_RTC_H
#define PV_VMM_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/irq.h"
#include "vmm/layout.h"

struct pv_err;
struct pv_pack;
struct pv_val;

#define PV_RTC_BYTES 128

/* What the clock needs from its machine. */
struct pv_rtc_host {
	/* Guest wall time, nanoseconds since 1970. */
	int64_t (*now)(void *ctx);
	/*
	 * Wants pv_rtc_wake at that guest wall time; PV_CLOCK_NEVER takes the wish back. NULL: no
	 * alarm and update interrupts.
	 */
	void (*wake_at)(void *ctx, int64_t wall_ns);
	/* An alarm that may interrupt is due. May be NULL. */
	void (*alarm)(void *ctx);
	void *ctx;
};

struct pv_rtc {
	struct pv_irq_line irq;
	struct pv_rtc_host host;
	int64_t offset_ns; /* the guest set the clock: what it added to the wall time */
	uint8_t index;
	uint8_t bytes[PV_RTC_BYTES];
	int64_t ticked_s; /* the last second for which alarm and update were looked at */
	bool irq_level;
};

/* Offset 0 index, 1 data; ctx = struct pv_rtc *. */
extern const struct pv_bus_ops pv_rtc_ops;

void pv_rtc_init(struct pv_rtc *rtc, struct pv_irq_line irq, const struct pv_rtc_host *host);

/* Machine reset: interrupts off; time and CMOS memory stay, they have a battery. */
void pv_rtc_reset(struct pv_rtc *rtc);

/*
 * The whole state as one msgpack value. Loading leaves the interrupt wire alone and asks for no
 * wake-up; pv_rtc_rearm does when time goes on. Returns 0 or -EBADMSG.
 */
void pv_rtc_save(const struct pv_rtc *rtc, struct pv_pack *pack);
int pv_rtc_load(struct pv_rtc *rtc, const struct pv_val *val, struct pv_err *err);

/* The time that was wished for has come. */
void pv_rtc_wake(struct pv_rtc *rtc);

/* Asks the host again for a wake-up, after guest time stood still. */
void pv_rtc_rearm(struct pv_rtc *rtc);

#endif
