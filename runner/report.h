/*
 * What a person, or a program that reads JSON, sees of a run (spec cli-and-config, section 3).
 */
#ifndef PV_RUNNER_REPORT_H
#define PV_RUNNER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct pv_file_result;

struct pv_report {
	FILE *out;
	bool json;
	bool verbose;
	bool quiet;
	size_t files;
	size_t unclean_files;
	size_t errored_files;
	unsigned passed;
	unsigned failed;
	unsigned skipped;
};

/* A file has ended: prints its part and counts it. */
void pv_report_file(struct pv_report *report, const struct pv_file_result *result);

/* No file was found. */
void pv_report_nothing(struct pv_report *report);

/* The summary line (text only). */
void pv_report_summary(const struct pv_report *report, int64_t duration_ns);

#endif
