/*
 * Fixtures in a run, from the dispatcher to the builders and back, as far as that goes without a
 * guest: who is built how often, who waits, what is told when it fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "lab/fixture.h"
#include "lab/fixture_lock.h"
#include "runner/discover.h"
#include "runner/dispatcher.h"
#include "runner/event.h"
#include "runner/fixture_builds.h"
#include "runner/options.h"
#include "runner/report.h"

struct world {
	char dir[64]; /* the current directory of the test */
	struct pv_config config;
	struct pv_fixture_place place;
	struct pv_runner_options options;
	char *report;
	size_t report_len;
};

static struct pv_err err;

static void write_file(const char *path, const char *text)
{
	if (pv_fd_replace_file(path, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.text);
}

/* A fixture that leaves a mark each time when it is built. */
static void write_fixture(const char *name, const char *text)
{
	char path[128], content[1024];
	snprintf(path, sizeof(path), "%s" PV_FIXTURE_SUFFIX, name);
	snprintf(content, sizeof(content),
	    "local m = io.open('marks', 'a') m:write('%s ') m:close() %s", name, text);
	write_file(path, content);
}

static void write_test(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s.test.lua", name);
	write_file(path, text);
}

static int set_up(void **state)
{
	static const char text[] = "[provium]\nroots = [\".\"]\ncache_dir = \"cache\"\n";
	struct world *world = calloc(1, sizeof(*world));
	snprintf(world->dir, sizeof(world->dir), "/tmp/pv-runner-fixture-XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	assert_int_equal(chdir(world->dir), 0);
	if (pv_config_parse(&world->config, text, strlen(text), ".", "t.toml", &err) < 0 ||
	    pv_fixture_place_init(&world->place, &world->config, NULL, 0, &err) < 0)
		fail_msg("%s", err.text);
	world->options.timeout_ns = INT64_C(60) * 1000000000;
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	char command[128];
	pv_fixture_place_finish(&world->place);
	pv_config_finish(&world->config);
	free(world->report);
	snprintf(command, sizeof(command), "rm -rf '%s'", world->dir);
	free(world);
	assert_int_equal(chdir("/"), 0);
	return system(command);
}

static const char *run(struct world *world)
{
	struct pv_discovery discovery;
	free(world->report);
	struct pv_report report = {
	    .out = open_memstream(&world->report, &world->report_len), .verbose = true};
	if (pv_discovery_walk(&discovery, NULL, 0, &world->config, NULL, &err) < 0 ||
	    pv_dispatcher_run(&discovery, &world->place, &world->options, &report, &err) < 0)
		fail_msg("%s", err.text);
	pv_discovery_finish(&discovery);
	fclose(report.out);
	return world->report;
}

static void expect(const struct world *world, const char *text)
{
	if (!strstr(world->report, text))
		fail_msg("the report lacks `%s`:\n%s", text, world->report);
}

static void expect_marks(const char *expected)
{
	char found[256] = "";
	FILE *file = fopen("marks", "r");
	if (file) {
		found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
		fclose(file);
	}
	assert_string_equal(found, expected);
}

static void key_of(const struct world *world, const char *name, char key[PV_HASH_TEXT])
{
	char *path;
	if (pv_fixture_find(&world->place, name, false, &path, &err) < 0 ||
	    pv_fixture_key(&world->place, path, key, &err) < 0)
		fail_msg("%s", err.text);
	free(path);
}

#define ASK(name) "test('it', function(t) provium:vm_fixture('" name "') end)"

/* --- */

static void one_fixture_of_many_files_is_built_once(void **state)
{
	struct world *world = *state;
	write_fixture("f", "error('boom')");
	write_test("a", ASK("f"));
	write_test("b", ASK("f"));
	write_test("c", ASK("f") "test('again', function(t) provium.vm_fixture('f') end)");
	write_test("d", ASK("f"));
	write_test("e", "provium:vm_fixture('f')");
	run(world);
	expect_marks("f ");
	static const char *const files[] = {"a", "b", "c", "d"};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text),
		    "./%s.test.lua:1: fixture `f` could not be built: f.fixture.lua:1: boom\n",
		    files[i]);
		expect(world, text);
	}
	expect(world, "chunk_error: ./e.test.lua:1: fixture `f` could not be built: ");
	expect(world, "FAIL ./c.test.lua (0 passed, 2 failed, 0 skipped)");
}

static void nested_fixtures_need_no_free_place(void **state)
{
	struct world *world = *state;
	/* More files than places, each on a chain of its own and a common one. */
	for (int i = 0; i < 6; i++) {
		char name[16], text[128];
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(text, sizeof(text), "provium:vm_fixture('g%d')", i);
		write_fixture(name, text);
		snprintf(name, sizeof(name), "g%d", i);
		write_fixture(name, "provium:vm_fixture('root')");
		snprintf(name, sizeof(name), "t%d", i);
		snprintf(
		    text, sizeof(text), "test('it', function(t) provium:vm_fixture('f%d') end)", i);
		write_test(name, text);
	}
	write_fixture("root", "error('boom')");
	run(world);
	for (int i = 0; i < 6; i++) {
		char text[512];
		snprintf(text, sizeof(text),
		    "./t%d.test.lua:1: fixture `f%d` could not be built: f%d.fixture.lua:1: "
		    "fixture `g%d` could not be built: g%d.fixture.lua:1: fixture `root` could "
		    "not be built: root.fixture.lua:1: boom",
		    i, i, i, i, i);
		expect(world, text);
	}
	char found[256] = "";
	FILE *file = fopen("marks", "r");
	found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
	fclose(file);
	assert_int_equal(strlen(found), strlen("root ") + 12 * strlen("f0 "));
}

static void circles_are_refused(void **state)
{
	struct world *world = *state;
	write_fixture("a", "provium:vm_fixture('b')");
	write_fixture("b", "provium:vm_fixture('c')");
	write_fixture("c", "provium:vm_fixture('a')");
	write_fixture("self", "provium:vm_fixture('self')");
	write_test("x", ASK("a"));
	write_test("y", ASK("self"));
	run(world);
	expect(world, "fixture `c` needs itself: c -> a -> b -> c");
	expect(world, "self.fixture.lua:1: fixture `self` needs itself: self -> self");
}

static void a_killed_builder_is_told_and_tried_again(void **state)
{
	struct world *world = *state;
	write_fixture("f", "os.execute('kill -9 $PPID')");
	write_test("a", ASK("f") "test('again', function(t) provium:vm_fixture('f') end)");
	run(world);
	expect_marks("f f ");
	expect(world, "fixture `f`: its builder died by signal 9 (Killed)");
	expect(world, "(0 passed, 2 failed, 0 skipped)");
	/* Its lock and what it may have left do not stop the next run. */
	write_fixture("f", "error('boom')");
	run(world);
	expect(world, "f.fixture.lua:1: boom");
}

static void who_asked_may_go_meanwhile(void **state)
{
	struct world *world = *state;
	write_fixture("f", "os.execute('sleep 0.5') error('boom')");
	write_test("a", "test('short', {timeout = 0.1}, function(t) provium:vm_fixture('f') end) "
			"test('long', function(t) provium:vm_fixture('f') end)");
	write_test("b", "test('dies', function(t) os.execute('(sleep 0.2; kill -9 ' .. "
			"io.open('/proc/self/stat'):read('n') .. ') &') "
			"provium:vm_fixture('f') end)");
	run(world);
	expect_marks("f ");
	expect(world, "test timeout exceeded (100ms): ./a.test.lua:1: fixture `f`: test timeout");
	expect(world, "./a.test.lua:1: fixture `f` could not be built: f.fixture.lua:1: boom");
	expect(world, "the worker process died by signal 9");
}

static void a_builder_waits_for_one_of_another_run(void **state)
{
	struct world *world = *state;
	char key[PV_HASH_TEXT];
	int pipe_ends[2];
	write_fixture("f", "error(io.open('released'):read('a'))");
	write_test("a", ASK("f"));
	key_of(world, "f", key);
	assert_int_equal(mkdir("cache", 0700), 0);
	assert_int_equal(pipe(pipe_ends), 0);
	const pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct pv_fixture_lock lock;
		if (pv_fixture_lock_take(&lock, "cache", key, false, &err) ||
		    write(pipe_ends[1], "x", 1) != 1)
			_exit(1);
		poll(NULL, 0, 300);
		write_file("released", "the other one has gone");
		pv_fixture_lock_release(&lock);
		_exit(0);
	}
	char byte;
	int status;
	assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
	run(world);
	expect(world, "f.fixture.lua:1: the other one has gone");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void bad_entries_are_evicted_and_built_again(void **state)
{
	struct world *world = *state;
	char key[PV_HASH_TEXT], path[128];
	write_fixture("f", "error('boom')");
	write_test("a", ASK("f"));
	key_of(world, "f", key);
	snprintf(path, sizeof(path), "cache/%s.snap", key);
	write_file(path, "this is no snapshot");
	run(world);
	expect_marks("f ");
	expect(world, "f.fixture.lua:1: boom");
	assert_int_equal(access(path, F_OK), -1);
}

static void the_other_kind_is_refused_without_a_build(void **state)
{
	struct world *world = *state;
	char key[PV_HASH_TEXT], path[128];
	write_fixture("f", "");
	write_test("a", ASK("f"));
	key_of(world, "f", key);
	snprintf(path, sizeof(path), "cache/%s.lab/lab.json", key);
	write_file(path, "{}");
	run(world);
	expect_marks("");
	expect(world, "./a.test.lua:1: vm_fixture `f` returned a lab snapshot; use lab_fixture "
		      "instead");
}

static void names_that_nothing_stands_behind(void **state)
{
	struct world *world = *state;
	write_test("a", ASK("nope") "test('up', function(t) provium:vm_fixture('../a') end) "
				    "test('old', function(t) provium.fixture('nope') end)");
	run(world);
	expect(world, "./a.test.lua:1: fixture `nope` not found in any test root (looked for "
		      "./nope.fixture.lua)");
	expect(world, "fixture `../a`: this is no name");
	expect(world, "fixture `nope` not found in any test root (looked for ./fixtures/nope.lua");
}

static void one_of_the_older_kind_is_tried_once_a_run(void **state)
{
	struct world *world = *state;
	write_file("fixtures/old.lua", "local m = io.open('marks', 'a') m:write('old ') m:close()");
	write_test(
	    "a", "for i = 1, 2 do test('t' .. i, function(t) provium.fixture('old') end) end");
	run(world);
	expect_marks("old ");
	expect(
	    world, "fixture `old` could not be built: fixtures/old.lua: this fixture made no VM");
	run(world);
	expect_marks("old old ");
}

/* --- the command line --- */

static void keep_end(void *ctx, const struct pv_build_end *end)
{
	char **failure = ctx;
	*failure = strdup(end->failure ? end->failure : "none");
}

/* Orders the fixture; returns how that failed, to be freed. */
static char *order(struct world *world, const char *name)
{
	char key[PV_HASH_TEXT];
	char *failure = NULL, *path = NULL;
	key_of(world, name, key);
	if (pv_fixture_find(&world->place, name, false, &path, &err) < 0)
		fail_msg("%s", err.text);
	const struct pv_fixture_request request = {.name = name, .path = path, .key = key};
	assert_int_equal(pv_dispatcher_build(&request, true, &world->place, &world->options,
			     keep_end, &failure, &err),
	    0);
	free(path);
	return failure;
}

static void an_order_is_told_how_it_ended(void **state)
{
	struct world *world = *state;
	write_fixture("f", "provium:vm_fixture('g')");
	write_fixture("g", "error('boom')");
	char *failure = order(world, "f");
	assert_string_equal(failure, "fixture `f` could not be built: f.fixture.lua:1: fixture `g` "
				     "could not be built: g.fixture.lua:1: boom");
	free(failure);
	expect_marks("f g ");
}

static void a_builder_has_a_time_limit(void **state)
{
	struct world *world = *state;
	world->options.timeout_ns = 300000000;
	write_fixture("f", "while true do pcall(function() while true do end end) end");
	char *failure = order(world, "f");
	if (!strstr(failure, "fixture `f` could not be built: ") ||
	    !strstr(failure, "fixture timeout exceeded (300ms)"))
		fail_msg("%s", failure);
	free(failure);
	write_test("a", ASK("f"));
	run(world);
	expect(world, "TIME ./a.test.lua");
}

/* --- events --- */

struct hearer {
	struct pv_event_outlet outlet;
	char text[1024];
	int release; /* written to when somebody waits, or -1 */
};

static void hear(void *ctx, const struct pv_event *event)
{
	struct hearer *hearer = ctx;
	const size_t len = strlen(hearer->text);
	char *path = pv_event_text(event, "path"), *holder = pv_event_text(event, "held_by_file");
	if (strncmp(event->kind, "fixture_", 8) == 0)
		snprintf(hearer->text + len, sizeof(hearer->text) - len, "%s %s%s%s;",
		    event->kind + 8, path ? path : "?", holder ? " by " : "", holder ? holder : "");
	if (strcmp(event->kind, "fixture_build_waiting") == 0 && hearer->release >= 0)
		assert_int_equal(write(hearer->release, "x\n", 2), 2);
	if (strcmp(event->kind, "fixture_build_done") == 0)
		assert_int_equal(pv_event_number(event, "snapshot_bytes"), 0);
	free(path);
	free(holder);
}

static void listen_to(struct world *world, struct hearer *hearer)
{
	*hearer = (struct hearer){
	    .outlet = {hear, hearer},
	      .release = -1
	   };
	world->options.outlet = &hearer->outlet;
}

/* The builder comes to its end only when the other file is known to wait. */
static void who_waits_is_told_before_the_build_is_done(void **state)
{
	struct world *world = *state;
	struct hearer hearer;
	listen_to(world, &hearer);
	assert_int_equal(mkfifo("gate", 0600), 0);
	hearer.release = open("gate", O_RDWR | O_CLOEXEC);
	assert_true(hearer.release >= 0);
	write_fixture("f", "io.open('gate'):read('l') error('boom')");
	write_test("a", ASK("f"));
	write_test("b", ASK("f"));
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		assert_int_equal(write(hearer.release, "x\n", 2), 2);
	run(world);
	close(hearer.release);
	expect_marks("f ");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	if (strcmp(hearer.text, "build_started f;build_waiting f by a.test.lua;build_done f;") &&
	    strcmp(hearer.text, "build_started f;build_waiting f by b.test.lua;build_done f;") &&
	    strcmp(hearer.text, "build_waiting f by a.test.lua;build_started f;build_done f;") &&
	    strcmp(hearer.text, "build_waiting f by b.test.lua;build_started f;build_done f;"))
		fail_msg("told: %s", hearer.text);
}

static void a_build_that_dies_is_told_as_done(void **state)
{
	struct world *world = *state;
	struct hearer hearer;
	listen_to(world, &hearer);
	write_fixture("f", "os.execute('kill -9 $PPID')");
	write_test("a", ASK("f"));
	run(world);
	expect(world, "fixture `f`: its builder died by signal 9");
	assert_string_equal(hearer.text, "build_started f;build_done f;");
}

/* --- signals --- */

static void programs_of_scripts_have_default_signals(void **state)
{
	struct world *world = *state;
	/* SIGINT, SIGPIPE, SIGXFSZ. */
	write_test("a",
	    "test('it', function(t) local p = io.popen('grep SigIgn /proc/self/status') "
	    "local mask = tonumber(p:read('a'):match('%x+%s*$'), 16) p:close() "
	    "t:assert_eq(mask & (1 << 1 | 1 << 12 | 1 << 24), 0) end)");
	run(world);
	expect(world, "1 passed, 0 failed");
}

/* A file that may not grow is an error of the write, which leaves nothing. */
static void a_file_that_may_not_grow_kills_nobody(void **state)
{
	struct world *world = *state;
	write_test("a", "test('it', function(t) local f = io.open('big', 'w') f:setvbuf('no') "
			"local ok, why = f:write(('x'):rep(100000)) t:assert(not ok) "
			"t:assert_contains(why, 'File too large') end)");
	struct rlimit before, limit;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){.rlim_cur = 65536, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	run(world);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	expect(world, "1 passed, 0 failed");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(one_fixture_of_many_files_is_built_once),
	    TEST(nested_fixtures_need_no_free_place),
	    TEST(circles_are_refused),
	    TEST(a_killed_builder_is_told_and_tried_again),
	    TEST(who_asked_may_go_meanwhile),
	    TEST(a_builder_waits_for_one_of_another_run),
	    TEST(bad_entries_are_evicted_and_built_again),
	    TEST(the_other_kind_is_refused_without_a_build),
	    TEST(names_that_nothing_stands_behind),
	    TEST(one_of_the_older_kind_is_tried_once_a_run),
	    TEST(an_order_is_told_how_it_ended),
	    TEST(a_builder_has_a_time_limit),
	    TEST(who_waits_is_told_before_the_build_is_done),
	    TEST(a_build_that_dies_is_told_as_done),
	    TEST(programs_of_scripts_have_default_signals),
	    TEST(a_file_that_may_not_grow_kills_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
