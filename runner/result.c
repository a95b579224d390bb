/*
 * Results of a test file. Theory: the last test of a name is the one that events speak of (names
 * are unique in a file); a test appears when it starts, or when it is skipped without starting.
 */
#include "runner/result.h"

#include <stdlib.h>
#include <string.h>

#include "runner/event.h"

/* The test of that name, added when it is not there. NULL when out of memory. */
static struct pv_test_result *find_test(struct pv_file_result *result, const char *name)
{
	for (size_t i = result->test_count; i-- > 0;) {
		if (strcmp(result->tests[i].name, name) == 0)
			return &result->tests[i];
	}
	struct pv_test_result *grown =
	    reallocarray(result->tests, result->test_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	result->tests = grown;
	char *copy = strdup(name);
	if (!copy)
		return NULL;
	grown[result->test_count] =
	    (struct pv_test_result){.name = copy, .status = PV_TEST_RUNNING};
	return &grown[result->test_count++];
}

static void add_log(struct pv_test_result *test, char *text)
{
	char **grown = text ? reallocarray(test->log, test->log_count + 1, sizeof(char *)) : NULL;
	if (!grown) {
		free(text);
		return;
	}
	test->log = grown;
	test->log[test->log_count++] = text;
}

static void take_test(struct pv_test_result *test, const struct pv_event *event)
{
	if (strcmp(event->kind, "test_passed") == 0) {
		test->status = PV_TEST_PASSED;
	} else if (strcmp(event->kind, "test_failed") == 0) {
		test->status = PV_TEST_FAILED;
		free(test->message);
		test->message = pv_event_text(event, "reason");
		free(test->console);
		test->console = pv_event_text(event, "console_excerpt");
	} else if (strcmp(event->kind, "test_skipped") == 0) {
		test->status = PV_TEST_SKIPPED;
		free(test->message);
		test->message = pv_event_text(event, "reason");
	} else if (strcmp(event->kind, "worker_log") == 0) {
		add_log(test, pv_event_text(event, "text"));
	}
}

static void take_done(struct pv_file_result *result, const struct pv_event *event)
{
	char *status = pv_event_text(event, "status");
	result->done = true;
	result->timed_out = status && strcmp(status, "timed_out") == 0;
	result->not_run = pv_event_number(event, "not_run");
	free(status);
}

void pv_file_result_take(struct pv_file_result *result, const struct pv_event *event)
{
	if (strcmp(event->kind, "worker_done") == 0) {
		take_done(result, event);
	} else if (strcmp(event->kind, "worker_chunk_error") == 0) {
		free(result->chunk_error);
		result->chunk_error = pv_event_text(event, "text");
	} else if (strncmp(event->kind, "test_", 5) == 0 ||
		   strcmp(event->kind, "worker_log") == 0) {
		char *name = pv_event_text(event, "name");
		struct pv_test_result *test = name ? find_test(result, name) : NULL;
		if (test)
			take_test(test, event);
		free(name);
	}
}

void pv_file_result_cut_off(struct pv_file_result *result, const char *why)
{
	for (size_t i = 0; i < result->test_count; i++) {
		struct pv_test_result *test = &result->tests[i];
		if (test->status != PV_TEST_RUNNING)
			continue;
		test->status = PV_TEST_FAILED;
		free(test->message);
		test->message = strdup(why);
	}
	if (!result->done && !result->timed_out && !result->chunk_error)
		result->chunk_error = strdup(why);
}

unsigned pv_file_result_count(const struct pv_file_result *result, enum pv_test_status status)
{
	unsigned count = 0;
	for (size_t i = 0; i < result->test_count; i++)
		count += result->tests[i].status == status;
	return count;
}

bool pv_file_result_is_clean(const struct pv_file_result *result)
{
	return result->done && !result->timed_out && !result->chunk_error &&
	       pv_file_result_count(result, PV_TEST_FAILED) == 0 &&
	       pv_file_result_count(result, PV_TEST_RUNNING) == 0;
}

void pv_file_result_finish(struct pv_file_result *result)
{
	for (size_t i = 0; i < result->test_count; i++) {
		struct pv_test_result *test = &result->tests[i];
		free(test->name);
		free(test->message);
		free(test->console);
		for (size_t line = 0; line < test->log_count; line++)
			free(test->log[line]);
		free(test->log);
	}
	free(result->tests);
	free(result->chunk_error);
	*result = (struct pv_file_result){0};
}
