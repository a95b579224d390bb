/*
 * What a Linux kernel says about itself when it goes wrong: which lines of a console begin such a
 * report, and of which kind it is. Plain functions over text; any thread.
 */
#ifndef PV_LAB_KERNEL_REPORT_H
#define PV_LAB_KERNEL_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

enum pv_kernel_report_kind {
	PV_KERNEL_REPORT_NONE,
	PV_KERNEL_REPORT_PANIC, /* the only one after which the kernel does nothing more */
	PV_KERNEL_REPORT_OOPS,
	PV_KERNEL_REPORT_BUG,	    /* BUG(), lockups, sanitizers, "BUG: ..." */
	PV_KERNEL_REPORT_LOCKDEP,   /* lock validator; plain warnings are no reports */
	PV_KERNEL_REPORT_HUNG_TASK, /* INFO: task X blocked for more than N seconds */
	PV_KERNEL_REPORT_STALL,	    /* RCU */
};

/* The first line, without what printk puts before it; longer ones are cut. */
#define PV_KERNEL_REPORT_HEAD_MAX 256
/* Bytes and lines of a report; what is beyond is left out. */
#define PV_KERNEL_REPORT_TEXT_MAX  (16u << 10)
#define PV_KERNEL_REPORT_LINES_MAX 300

struct pv_kernel_report {
	enum pv_kernel_report_kind kind;
	char head[PV_KERNEL_REPORT_HEAD_MAX]; /* printable ASCII */
	/* All lines, the first one too, as they were printed, each with a '\n'; printable ASCII and
	 * tabs, anything else became '?'. */
	struct pv_bytes text;
};

/* "kernel panic", "kernel oops", "kernel BUG", "lockdep report", "hung task", "RCU stall". */
const char *pv_kernel_report_name(enum pv_kernel_report_kind kind);

/* How a line of the console begins. */
struct pv_kernel_report_line {
	const char *text; /* behind level, time, caller and subsystem */
	size_t len;
	bool stamped; /* it had printk's time, so it is the kernel's */
};

/* Takes the prefix of printk off: "<4>", "[   12.345678]", "[    T1]", "watchdog: ". */
struct pv_kernel_report_line pv_kernel_report_strip(const char *line, size_t len);

/* How many bytes at the end of `line` are printk's time ("[   12.345678]"); 0 when it does not end
 * so. */
size_t pv_kernel_report_time_at_end(const char *line, size_t len);

/* The kind of the report that this whole line begins, or PV_KERNEL_REPORT_NONE. */
enum pv_kernel_report_kind pv_kernel_report_classify(const char *line, size_t len);

/* True when a line that has not ended yet may still become the first one of a report. */
bool pv_kernel_report_may_begin(const char *line, size_t len);

/* True when this line is the last one of a report of that kind. */
bool pv_kernel_report_ends(enum pv_kernel_report_kind kind, const char *line, size_t len);

/* True when a line that begins a report of kind `next` belongs to the report of kind `open` that is
 * still being printed. */
bool pv_kernel_report_goes_on(enum pv_kernel_report_kind open, enum pv_kernel_report_kind next);

/*
 * "<name>: <head>", then the further lines of the report as far as they fit, with "..." for the
 * rest. Writes a C string of at most `size` bytes and returns `out`.
 */
char *pv_kernel_report_show(const struct pv_kernel_report *report, char *out, size_t size);

void pv_kernel_report_finish(struct pv_kernel_report *report);

#endif
