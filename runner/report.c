/*
 * Rendering of results as text or JSON lines. Theory: every file is printed whole when it has
 * ended, so files that ran side by side do not mix. Messages and consoles hold what guests printed,
 * so in text nothing of it may act on the user's terminal.
 */
#include "runner/report.h"

#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "runner/result.h"

/* The length of a sequence such as "ESC [ 0 ; 1 m" at the front, or 0. */
static size_t sequence_length(const char *text, size_t len)
{
	size_t at = 2;
	if (len < 3 || text[0] != '\033' || text[1] != '[')
		return 0;
	while (at < len && text[at] >= 0x20 && text[at] < 0x40)
		at++;
	return at < len && text[at] >= 0x40 && text[at] < 0x7f ? at + 1 : 0;
}

/* Prints UTF-8 without colours and carriage returns; other control characters become '?'. */
static void print_plain(FILE *out, const char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		const unsigned char c = (unsigned char)text[at];
		const size_t skipped = sequence_length(text + at, len - at);
		if (skipped > 0) {
			at += skipped;
			continue;
		}
		/* U+0080 to U+009F are control characters, too. */
		const bool is_high = c == 0xc2 && at + 1 < len &&
				     (unsigned char)text[at + 1] >= 0x80 &&
				     (unsigned char)text[at + 1] < 0xa0;
		if (is_high || (c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
			fputc('?', out);
		else if (c != '\r')
			fputc(c, out);
		at += is_high ? 2 : 1;
	}
}

/* Prints text with every line indented. */
static void print_indented(FILE *out, const char *text, const char *indent)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		fputs(indent, out);
		print_plain(out, text, len);
		fputc('\n', out);
		text += len + (text[len] == '\n');
	}
}

static void print_test(const struct pv_report *report, const struct pv_test_result *test)
{
	switch (test->status) {
	case PV_TEST_PASSED:
		if (report->verbose)
			fprintf(report->out, "    PASS %s\n", test->name);
		break;
	case PV_TEST_SKIPPED:
		if (report->verbose)
			fprintf(report->out, "    SKIP %s (%s)\n", test->name,
			    test->message ? test->message : "");
		break;
	case PV_TEST_FAILED:
	case PV_TEST_RUNNING:
		fprintf(report->out, "    FAIL %s\n", test->name);
		if (test->message)
			print_indented(report->out, test->message, "        ");
		if (test->console)
			print_indented(report->out, test->console, "        ");
		break;
	}
}

static void print_text(const struct pv_report *report, const struct pv_file_result *result)
{
	bool clean = pv_file_result_is_clean(result);
	if (report->quiet && clean)
		return;
	fprintf(report->out, "%s %s",
	    result->timed_out ? "TIME"
	    : clean	      ? "PASS"
			      : "FAIL",
	    result->path);
	if (!result->chunk_error || result->test_count)
		fprintf(report->out, " (%u passed, %u failed, %u skipped)",
		    pv_file_result_count(result, PV_TEST_PASSED),
		    pv_file_result_count(result, PV_TEST_FAILED),
		    pv_file_result_count(result, PV_TEST_SKIPPED));
	fputc('\n', report->out);
	if (result->chunk_error) {
		size_t first = strcspn(result->chunk_error, "\n");
		fputs("    chunk_error: ", report->out);
		print_plain(report->out, result->chunk_error, first);
		fputc('\n', report->out);
		print_indented(report->out,
		    result->chunk_error + first + (result->chunk_error[first] == '\n'), "        ");
	}
	for (size_t i = 0; i < result->test_count; i++)
		print_test(report, &result->tests[i]);
	if (result->not_run)
		fprintf(
		    report->out, "    %llu test(s) not run\n", (unsigned long long)result->not_run);
}

static const char *status_word(enum pv_test_status status)
{
	return status == PV_TEST_PASSED	   ? "passed"
	       : status == PV_TEST_SKIPPED ? "skipped"
					   : "failed";
}

static void print_json(const struct pv_report *report, const struct pv_file_result *result)
{
	struct pv_bytes line = {0};
	struct pv_json json = {.out = &line};
	pv_json_object_begin(&json);
	pv_json_key(&json, "path");
	pv_json_str(&json, result->path);
	pv_json_key(&json, "timeout");
	pv_json_str(&json, result->timed_out ? "timed_out" : "in_time");
	pv_json_key(&json, "passed");
	pv_json_bool(&json, pv_file_result_is_clean(result));
	pv_json_key(&json, "chunk_error");
	pv_json_str(&json, result->chunk_error);
	pv_json_key(&json, "tests");
	pv_json_array_begin(&json);
	for (size_t i = 0; i < result->test_count; i++) {
		const struct pv_test_result *test = &result->tests[i];
		pv_json_object_begin(&json);
		pv_json_key(&json, "name");
		pv_json_str(&json, test->name);
		pv_json_key(&json, "status");
		pv_json_str(&json, status_word(test->status));
		pv_json_key(&json, "message");
		pv_json_str(&json, test->message);
		pv_json_key(&json, "log");
		pv_json_array_begin(&json);
		for (size_t n = 0; n < test->log_count; n++)
			pv_json_str(&json, test->log[n]);
		pv_json_array_end(&json);
		if (test->status == PV_TEST_FAILED && test->console && *test->console) {
			pv_json_key(&json, "console");
			pv_json_str(&json, test->console);
		}
		pv_json_object_end(&json);
	}
	pv_json_array_end(&json);
	pv_json_object_end(&json);
	if (!json.status)
		fprintf(report->out, "%.*s\n", (int)line.len, (const char *)line.data);
	pv_bytes_finish(&line);
}

void pv_report_file(struct pv_report *report, const struct pv_file_result *result)
{
	report->files++;
	report->unclean_files += !pv_file_result_is_clean(result);
	report->errored_files += result->chunk_error != NULL;
	report->passed += pv_file_result_count(result, PV_TEST_PASSED);
	report->failed += pv_file_result_count(result, PV_TEST_FAILED);
	report->skipped += pv_file_result_count(result, PV_TEST_SKIPPED);
	if (report->json)
		print_json(report, result);
	else
		print_text(report, result);
	fflush(report->out);
}

void pv_report_nothing(struct pv_report *report)
{
	static const char text[] = "no *.test.lua files found";
	if (report->json)
		fprintf(report->out, "{\"type\":\"no_files\",\"message\":\"%s\"}\n", text);
	else
		fprintf(report->out, "%s\n", text);
}

void pv_report_summary(const struct pv_report *report, int64_t duration_ns)
{
	if (report->json)
		return;
	fprintf(report->out, "\n%zu file(s); %u passed, %u failed, %u skipped", report->files,
	    report->passed, report->failed, report->skipped);
	if (report->errored_files)
		fprintf(report->out, ", %zu file(s) errored", report->errored_files);
	fprintf(report->out, "; %.2fs\n", (double)duration_ns / 1e9);
}
