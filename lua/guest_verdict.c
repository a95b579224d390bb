/*
 * A report of a guest's kernel fails what runs: the chunk, or the test, even when its body returned
 * or caught the error of the operation that the report ended. Between two bodies nobody runs, so
 * what comes then waits in the host's list for the next test that does; what comes after the last
 * one fails the file. Nothing expects those.
 *
 * `meta.expect_oops` turns the reports that come while the body runs into lines of the test's log.
 * It demands none: whether there must be one, and which, the body knows better, and some tests only
 * provoke what may happen.
 */
#include "lua/guest_verdict.h"

#include <stdio.h>
#include <string.h>

#include "lab/host.h"
#include "lab/verdict.h"
#include "lua/run.h"
#include "lua/state.h"

#define NAME_SIZE 512

/* Of each report, behind its first line; the console's excerpt has more. */
#define LINES_SHOWN 60

void pv_lua_guest_verdict_begin(struct pv_lua *lua, bool expected)
{
	pv_verdicts_finish(&lua->early_verdicts);
	pv_verdict_take(lua->host, &lua->early_verdicts);
	lua->expects_verdicts = expected;
	pv_verdict_expect(lua->host, expected);
}

/* The lines of a report behind its first one, indented. */
static void add_lines(const struct pv_bytes *report, struct pv_bytes *out)
{
	const char *at = (const char *)report->data;
	const char *end = at + report->len;
	at = report->len > 0 ? memchr(at, '\n', report->len) : NULL;
	for (int count = 0; at != NULL && at + 1 < end; count++) {
		const char *line = at + 1;
		if (count == LINES_SHOWN) {
			(void)pv_bytes_printf(out, "\n    ...");
			return;
		}
		at = memchr(line, '\n', (size_t)(end - line));
		(void)pv_bytes_printf(
		    out, "\n    %.*s", (int)((at != NULL ? at : end) - line), line);
	}
}

static void add_reports(const struct pv_verdicts *verdicts, const char *when, struct pv_bytes *out)
{
	char name[NAME_SIZE];
	for (unsigned i = 0; i < verdicts->count; i++) {
		const struct pv_verdict *verdict = &verdicts->items[i];
		(void)pv_bytes_printf(out, "%s%s%s", out->len > 0 ? "\n" : "",
		    pv_verdict_name(verdict, name, sizeof(name)), when);
		add_lines(&verdict->report.text, out);
	}
	if (verdicts->missed > 0)
		(void)pv_bytes_printf(out, "%s%u more report(s) of guests' kernels%s",
		    out->len > 0 ? "\n" : "", verdicts->missed, when);
}

/* True when the text is the error of an operation that one of the reports ended. */
static bool tells_again(const struct pv_verdicts *verdicts, const struct pv_bytes *text)
{
	for (unsigned i = 0; i < verdicts->count; i++) {
		const char *head = verdicts->items[i].report.head;
		if (memmem(text->data, text->len, head, strlen(head)) != NULL)
			return true;
	}
	return false;
}

/* What else went wrong. Of an error that has the report in it, the first line. */
static void add_said(const struct pv_verdicts *verdicts, const char *who,
    const struct pv_bytes *said, struct pv_bytes *out)
{
	if (said == NULL || said->len == 0)
		return;
	size_t len = said->len;
	const uint8_t *line_end = memchr(said->data, '\n', said->len);
	if (line_end != NULL && tells_again(verdicts, said))
		len = (size_t)(line_end - said->data);
	(void)pv_bytes_printf(out, "\n%s: ", who);
	(void)pv_bytes_append(out, said->data, len);
}

/* Reports that the test wanted. */
static void log_reports(
    struct pv_lua *lua, const struct pv_verdicts *verdicts, const struct pv_run_test *test)
{
	const struct pv_run_events *events = lua->file->events;
	char name[NAME_SIZE];
	for (unsigned i = 0; i < verdicts->count; i++) {
		if (test == NULL || events == NULL || events->test_log == NULL)
			return;
		pv_verdict_name(&verdicts->items[i], name, sizeof(name) - 12);
		strcat(name, " (expected)");
		events->test_log(lua->file->events_ctx, test, name);
	}
}

bool pv_lua_guest_verdict_end(struct pv_lua *lua, const struct pv_run_test *test, const char *who,
    const struct pv_bytes *said, struct pv_bytes *reason)
{
	struct pv_verdicts verdicts;
	const bool expected = lua->expects_verdicts;
	pv_verdict_settle(lua->host);
	pv_verdict_take(lua->host, &verdicts);
	lua->expects_verdicts = false;
	pv_verdict_expect(lua->host, false);
	add_reports(&lua->early_verdicts, " (before this test began)", reason);
	if (expected)
		log_reports(lua, &verdicts, test);
	else
		add_reports(&verdicts, "", reason);
	const bool complains = reason->len > 0;
	if (complains)
		add_said(&verdicts, who, said, reason);
	pv_verdicts_finish(&verdicts);
	pv_verdicts_finish(&lua->early_verdicts);
	return complains;
}
