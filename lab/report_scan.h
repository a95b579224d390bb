/*
 * Finds the reports of a guest's kernel in what its consoles print, as the bytes come. Not locked:
 * the owner sees to that (a VM's is under the loop lock).
 */
#ifndef PV_LAB_REPORT_SCAN_H
#define PV_LAB_REPORT_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "lab/kernel_report.h"

/* ttyS0 and hvc0. */
#define PV_REPORT_SCAN_CONSOLES 2

/* Longer than any line of printk; what is beyond is looked at as a line of its own. */
#define PV_REPORT_SCAN_LINE_MAX 1280
/* Reports of one console for which the other one is expected to say the same. */
#define PV_REPORT_SCAN_TWINS_MAX 8

enum pv_report_scan_state {
	PV_REPORT_SCAN_QUIET,
	PV_REPORT_SCAN_COLLECTING, /* a report is being printed, and was not told yet */
	PV_REPORT_SCAN_TRAILING,   /* the rest of one that was told */
};

struct pv_report_scan_console {
	char line[PV_REPORT_SCAN_LINE_MAX];
	size_t len;
	size_t seen;	  /* bytes at the front of `line` that were looked at already */
	bool is_fragment; /* `line` is not the beginning of a line */
	enum pv_report_scan_state state;
	bool is_twin; /* the other console has told it */
	struct pv_kernel_report report;
	unsigned lines;
};

struct pv_report_scan {
	struct pv_report_scan_console consoles[PV_REPORT_SCAN_CONSOLES];
	struct {
		char
		    line[PV_KERNEL_REPORT_HEAD_MAX]; /* the first line with its time; empty: free */
		unsigned console;
	} twins[PV_REPORT_SCAN_TWINS_MAX];
	unsigned next_twin;
	/* A report is whole, or as much of it as will be told. The scan keeps `report`. */
	void (*told)(void *ctx, const struct pv_kernel_report *report);
	void *ctx;
};

void pv_report_scan_init(struct pv_report_scan *scan,
    void (*told)(void *ctx, const struct pv_kernel_report *report), void *ctx);
void pv_report_scan_finish(struct pv_report_scan *scan);

/* Takes what the guest printed on console 0 or 1. May call `told`. */
void pv_report_scan_feed(
    struct pv_report_scan *scan, unsigned console, const void *data, size_t len);

/* What all consoles are about: the busiest state of them. */
enum pv_report_scan_state pv_report_scan_state(const struct pv_report_scan *scan);

/* True when the last line of a console has not ended yet and may become the first of a report. */
bool pv_report_scan_may_begin(const struct pv_report_scan *scan);

/* Tells what is being collected as it is; the rest of it is taken for trailing lines. */
void pv_report_scan_hurry(struct pv_report_scan *scan);

/* The consoles were silent for a while: tells what is being collected, and what comes is new. */
void pv_report_scan_silent(struct pv_report_scan *scan);

/* The guest ended or another one comes in its place: looks at the lines that have not ended, tells
 * what is being collected, and forgets everything. */
void pv_report_scan_restart(struct pv_report_scan *scan);

#endif
