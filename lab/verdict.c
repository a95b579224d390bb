/*
 * The list of a host. The VMs fill it under the loop lock (lab/vm_verdict.c), the test framework
 * empties it between bodies (lua/guest_verdict.c). It is bounded: a guest can print reports for
 * ever.
 */
#include "lab/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "lab/host.h"

void pv_verdict_add(struct pv_host *host, const char *vm, const struct pv_kernel_report *report)
{
	struct pv_verdicts *verdicts = &host->verdicts;
	if (!host->reports_expected)
		host->unexpected_reports++;
	if (verdicts->count == PV_VERDICTS_MAX) {
		verdicts->missed++;
		return;
	}
	struct pv_verdict *verdict = &verdicts->items[verdicts->count];
	*verdict = (struct pv_verdict){.vm = strdup(vm), .report.kind = report->kind};
	memcpy(verdict->report.head, report->head, sizeof(report->head));
	if (!verdict->vm) {
		verdicts->missed++;
		return;
	}
	/* Without memory for its text the head has to do. */
	(void)pv_bytes_append(&verdict->report.text, report->text.data, report->text.len);
	verdicts->count++;
}

void pv_verdict_take(struct pv_host *host, struct pv_verdicts *out)
{
	pv_loop_lock(host->loop);
	*out = host->verdicts;
	host->verdicts = (struct pv_verdicts){0};
	pv_loop_unlock(host->loop);
}

void pv_verdict_expect(struct pv_host *host, bool expected)
{
	pv_loop_lock(host->loop);
	host->reports_expected = expected;
	pv_loop_unlock(host->loop);
}

unsigned pv_verdict_count(struct pv_host *host)
{
	pv_loop_lock(host->loop);
	unsigned count = host->unexpected_reports;
	pv_loop_unlock(host->loop);
	return count;
}

bool pv_verdict_since(struct pv_host *host, unsigned count, char *out, size_t size)
{
	const struct pv_verdicts *verdicts = &host->verdicts;
	pv_loop_lock(host->loop);
	bool came = host->unexpected_reports != count;
	if (came && verdicts->count > 0)
		pv_verdict_name(&verdicts->items[verdicts->count - 1], out, size);
	else
		snprintf(out, size, "the kernel of a guest reported trouble");
	pv_loop_unlock(host->loop);
	return came;
}

char *pv_verdict_name(const struct pv_verdict *verdict, char *out, size_t size)
{
	snprintf(out, size, "guest `%s`: %s: %s", verdict->vm,
	    pv_kernel_report_name(verdict->report.kind), verdict->report.head);
	return out;
}

void pv_verdicts_finish(struct pv_verdicts *verdicts)
{
	for (unsigned i = 0; i < verdicts->count; i++) {
		free(verdicts->items[i].vm);
		pv_kernel_report_finish(&verdicts->items[i].report);
	}
	*verdicts = (struct pv_verdicts){0};
}
