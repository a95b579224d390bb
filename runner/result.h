/*
 * What is known of a test file while and after it runs, put together from its worker's events.
 */
#ifndef PV_RUNNER_RESULT_H
#define PV_RUNNER_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_event;

enum pv_test_status {
	PV_TEST_RUNNING,
	PV_TEST_PASSED,
	PV_TEST_FAILED,
	PV_TEST_SKIPPED,
};

struct pv_test_result {
	char *name;
	enum pv_test_status status;
	char *message; /* failure or skip reason, or NULL */
	char *console; /* excerpt of a failure, or NULL */
	char **log;
	size_t log_count;
};

struct pv_file_result {
	const char *path; /* of the test file; not owned */
	const char *relative;
	struct pv_test_result *tests;
	size_t test_count;
	char *chunk_error; /* or why the worker ended badly; NULL when fine */
	bool timed_out;
	bool done; /* the worker's report is complete */
	uint64_t not_run;
};

/* Takes over what an event says. Unknown kinds and events that fit nothing are ignored. */
void pv_file_result_take(struct pv_file_result *result, const struct pv_event *event);

/* The worker has ended without a complete report: tests that run count as failed, with `why`, which
 * also becomes the file's error. */
void pv_file_result_cut_off(struct pv_file_result *result, const char *why);

unsigned pv_file_result_count(const struct pv_file_result *result, enum pv_test_status status);

/* True when nothing failed, crashed or timed out. */
bool pv_file_result_is_clean(const struct pv_file_result *result);

void pv_file_result_finish(struct pv_file_result *result);

#endif
