/*
 * See lua_rig.h.
 */
#include "tests/unit/lua_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "tests/unit/fake_lab.h"
#include "tests/unit/fake_syscall.h"

static const char config_text[] =
    "[profiles.tiny]\nkernel = \"/nowhere/vmlinuz\"\ncmdline = \"quiet\"\n";

static void started(void *ctx, const struct pv_run_test *test)
{
	struct lua_rig *rig = ctx;
	pv_bytes_printf(&rig->report, "started %s\n", test->name);
	if (rig->on_started != NULL)
		rig->on_started(rig);
}

static void logged(void *ctx, const struct pv_run_test *test, const char *text)
{
	struct lua_rig *rig = ctx;
	pv_bytes_printf(&rig->report, "log %s: %s\n", test->name, text);
}

static void keep_meta(struct lua_rig *rig, const struct pv_run_test *test)
{
	pv_bytes_finish(&rig->meta);
	pv_bytes_append(&rig->meta, test->meta, test->meta_len);
}

static void passed(void *ctx, const struct pv_run_test *test, int64_t duration_ns)
{
	struct lua_rig *rig = ctx;
	assert_true(duration_ns >= 0);
	pv_bytes_printf(&rig->report, "passed %s\n", test->name);
	keep_meta(rig, test);
}

static void failed(void *ctx, const struct pv_run_test *test, int64_t duration_ns,
    const char *reason, const char *console)
{
	struct lua_rig *rig = ctx;
	assert_true(duration_ns >= 0);
	pv_bytes_printf(&rig->report, "failed %s: %s\n", test->name, reason);
	pv_bytes_finish(&rig->console);
	pv_bytes_printf(&rig->console, "%s", console);
	keep_meta(rig, test);
}

static void skipped(void *ctx, const struct pv_run_test *test, const char *reason)
{
	struct lua_rig *rig = ctx;
	pv_bytes_printf(&rig->report, "skipped %s: %s\n", test->name, reason);
	keep_meta(rig, test);
}

static void chunk_error(void *ctx, const char *text)
{
	struct lua_rig *rig = ctx;
	pv_bytes_printf(&rig->report, "chunk_error: %s\n", text);
}

static void note(void *ctx, const char *text)
{
	struct lua_rig *rig = ctx;
	pv_bytes_printf(&rig->report, "note: %s\n", text);
}

static const struct pv_run_events events = {
    .test_started = started,
    .test_log = logged,
    .test_passed = passed,
    .test_failed = failed,
    .test_skipped = skipped,
    .chunk_error = chunk_error,
    .note = note,
};

void rig_init(struct lua_rig *rig)
{
	struct pv_err err = PV_ERR_INIT;
	*rig = (struct lua_rig){.dir = "/tmp/provium-lua-XXXXXX"};
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->path, sizeof(rig->path), "%s/case.test.lua", rig->dir);
	if (pv_config_parse(
		&rig->config, config_text, strlen(config_text), rig->dir, "provium.toml", &err) < 0)
		fail_msg("%s", err.text);
	if (pv_host_init(&rig->host, &rig->config, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	rig->file = (struct pv_run_file){.host = &rig->host,
	    .path = rig->path,
	    .name = "case.test.lua",
	    .events = &events,
	    .events_ctx = rig};
}

void rig_finish(struct lua_rig *rig)
{
	char command[128];
	pv_host_finish(&rig->host);
	assert_int_equal(fake_lab_vms, 0);
	pv_config_finish(&rig->config);
	pv_bytes_finish(&rig->report);
	pv_bytes_finish(&rig->console);
	pv_bytes_finish(&rig->meta);
	snprintf(command, sizeof(command), "rm -rf '%s'", rig->dir);
	assert_int_equal(system(command), 0);
}

void rig_write(struct lua_rig *rig, const char *name, const char *content)
{
	struct pv_err err = PV_ERR_INIT;
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	if (pv_fd_replace_file(path, content, strlen(content), 0640, &err) < 0)
		fail_msg("%s", err.text);
}

const char *rig_run(struct lua_rig *rig, const char *script)
{
	rig_write(rig, "case.test.lua", script);
	pv_run_file(&rig->file, &rig->result);
	pv_bytes_printf(&rig->report, "result: %s passed=%u failed=%u skipped=%u not_run=%u\n",
	    pv_run_status_name(rig->result.status), rig->result.passed, rig->result.failed,
	    rig->result.skipped, rig->result.not_run);
	return pv_bytes_text(&rig->report);
}

void rig_expect(const char *script, ...)
{
	struct lua_rig rig;
	rig_init(&rig);
	const char *report = rig_run(&rig, script);
	va_list texts;
	va_start(texts, script);
	for (const char *text; (text = va_arg(texts, const char *)) != NULL;) {
		if (strstr(report, text) == NULL)
			fail_msg(
			    "the report lacks `%s`:\n%s\nof the script\n%s", text, report, script);
	}
	va_end(texts);
	rig_finish(&rig);
}

void rig_passes(const char *body)
{
	struct pv_bytes script = {0};
	pv_bytes_printf(&script, "test('it', function(t) %s\nend)", body);
	rig_expect(
	    pv_bytes_text(&script), "started it\n", "passed it\n", "result: passed passed=1", NULL);
	pv_bytes_finish(&script);
}

void rig_asks(const char *call, const char *what)
{
	char body[1024];
	snprintf(body, sizeof(body), "local v = provium:vm('v', 'tiny'):boot() %s", call);
	fake_syscall_last[0] = '\0';
	rig_passes(body);
	assert_string_equal(fake_syscall_last, what);
}

void rig_fails(const char *body, const char *reason)
{
	struct pv_bytes script = {0};
	struct lua_rig rig;
	pv_bytes_printf(&script, "test('it', function(t) %s\nend)", body);
	rig_init(&rig);
	const char *report = rig_run(&rig, pv_bytes_text(&script));
	const char *line = strstr(report, "failed it: ");
	if (line == NULL || strstr(line, reason) == NULL)
		fail_msg("no failure with `%s`:\n%s\nof the body\n%s", reason, report, body);
	assert_int_equal(rig.result.failed, 1);
	rig_finish(&rig);
	pv_bytes_finish(&script);
}
