/*
 * What the kernels of a worker's guests have said against themselves (lab/kernel_report.h), kept
 * until somebody asks: a report is not lost when its VM is, or when no test runs.
 */
#ifndef PV_LAB_VERDICT_H
#define PV_LAB_VERDICT_H

#include <stdbool.h>

#include "lab/kernel_report.h"

struct pv_host;

struct pv_verdict {
	char *vm; /* name */
	struct pv_kernel_report report;
};

/* More than that at a time are counted only. */
#define PV_VERDICTS_MAX 16

/* Zeroed = empty. */
struct pv_verdicts {
	struct pv_verdict items[PV_VERDICTS_MAX];
	unsigned count;
	unsigned missed;
};

/* [loop lock] Keeps a copy of the report. Out of memory it is counted only. */
void pv_verdict_add(struct pv_host *host, const char *vm, const struct pv_kernel_report *report);

/* Moves what there is to `out`, which the caller finishes. Script thread, without the lock. */
void pv_verdict_take(struct pv_host *host, struct pv_verdicts *out);

/*
 * While reports are expected they are kept as always, but end no operation, with the exception of a
 * panic, which ends those of its own guest. Script thread, without the lock.
 */
void pv_verdict_expect(struct pv_host *host, bool expected);

/* How many unexpected reports there were so far. Script thread, without the lock. */
unsigned pv_verdict_count(struct pv_host *host);
/* True when there were others since pv_verdict_count gave `count`; the name of the last one is in
 * `out`, of `size` bytes. Script thread, without the lock. */
bool pv_verdict_since(struct pv_host *host, unsigned count, char *out, size_t size);

/* Waits until no console is in the middle of a report or of a line that may begin one, so that what
 * a guest has begun to say belongs to who runs now; a second or so at most. Script thread, without
 * the lock. lab/vm_verdict.c */
void pv_verdict_settle(struct pv_host *host);

/* "guest `NAME`: kernel oops: <first line>", into `out` of `size` bytes. Returns `out`. */
char *pv_verdict_name(const struct pv_verdict *verdict, char *out, size_t size);

void pv_verdicts_finish(struct pv_verdicts *verdicts);

#endif
