/*
 * Discovery: which files are tests, in which order, once each, and what a path that is none says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "runner/discover.h"

static char folder[] = "/tmp/pv-runner-discover-XXXXXX";

static int set_up(void **state)
{
	static const char *const names[] = {"b.test.lua", "a.test.lua", "deep/er/c.test.lua",
	    "deep/a.test.lua", "not.lua", "x.test.lua.bak", "deep/.test.lua", "net/d.test.lua",
	    "own.fixture.lua", ".hidden/h.test.lua"};
	struct pv_err err = PV_ERR_INIT;
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (pv_fd_replace_file(names[i], "", 0, 0644, &err))
			return -1;
	}
	/* Links are not followed, neither to files nor to folders. */
	return symlink("a.test.lua", "link.test.lua") || symlink("deep", "loop") ? -1 : 0;
}

static int tear_down(void **state)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return chdir("/") || system(command);
}

/* The discovered files as "path(relative)", one a line. */
static void expect(char *const *paths, size_t count, const struct pv_config *config,
    const char *filter, const char *found)
{
	struct pv_discovery discovery;
	struct pv_config none = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes text = {0};
	if (pv_discovery_walk(&discovery, paths, count, config ? config : &none, filter, &err))
		fail_msg("%s", err.text);
	for (size_t i = 0; i < discovery.count; i++)
		pv_bytes_printf(
		    &text, "%s(%s)\n", discovery.files[i].path, discovery.files[i].relative);
	assert_string_equal(pv_bytes_text(&text), found);
	pv_bytes_finish(&text);
	pv_discovery_finish(&discovery);
	pv_discovery_finish(&discovery);
}

static void a_folder_is_walked_and_sorted(void **state)
{
	char *paths[] = {(char *)"deep"};
	expect(paths, 1, NULL, NULL,
	    "deep/a.test.lua(a.test.lua)\ndeep/er/c.test.lua(er/c.test.lua)\n");
	paths[0] = (char *)"deep/";
	expect(paths, 1, NULL, NULL,
	    "deep/a.test.lua(a.test.lua)\ndeep/er/c.test.lua(er/c.test.lua)\n");
}

static void without_paths_it_is_the_current_folder(void **state)
{
	expect(NULL, 0, NULL, NULL,
	    "./.hidden/h.test.lua(.hidden/h.test.lua)\n./a.test.lua(a.test.lua)\n./"
	    "b.test.lua(b.test.lua)\n./deep/a.test.lua(deep/a.test.lua)\n"
	    "./deep/er/c.test.lua(deep/er/c.test.lua)\n./net/d.test.lua(net/d.test.lua)\n");
}

static void or_the_roots_of_the_configuration(void **state)
{
	char *roots[] = {(char *)"net", (char *)"deep/er"};
	struct pv_config config = {.roots = roots, .root_count = 2};
	expect(
	    NULL, 0, &config, NULL, "deep/er/c.test.lua(c.test.lua)\nnet/d.test.lua(d.test.lua)\n");
	char *paths[] = {(char *)"a.test.lua"};
	expect(paths, 1, &config, NULL, "a.test.lua(a.test.lua)\n");
}

static void a_file_may_be_given(void **state)
{
	char *paths[] = {(char *)"deep/er/c.test.lua", (char *)"a.test.lua"};
	expect(paths, 2, NULL, NULL, "a.test.lua(a.test.lua)\ndeep/er/c.test.lua(c.test.lua)\n");
}

static void a_file_found_twice_runs_once(void **state)
{
	char *paths[] = {
	    (char *)"deep", (char *)"deep/er", (char *)"deep/a.test.lua", (char *)"deep"};
	struct pv_discovery discovery;
	struct pv_config none = {0};
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_discovery_walk(&discovery, paths, 4, &none, NULL, &err), 0);
	assert_int_equal(discovery.count, 2);
	pv_discovery_finish(&discovery);
}

static void the_filter_looks_at_the_relative_path(void **state)
{
	char *paths[] = {(char *)"deep", (char *)"net"};
	expect(paths, 2, NULL, "er/", "deep/er/c.test.lua(er/c.test.lua)\n");
	expect(paths, 2, NULL, "deep", "");
	expect(paths, 2, NULL, "d.test", "net/d.test.lua(d.test.lua)\n");
}

static void a_path_that_is_no_test_is_an_error(void **state)
{
	static const struct {
		const char *path;
		int code;
		const char *message;
	} cases[] = {
	    {"none",	     ENOENT, "`none`: cannot find tests there: No such file or directory"},
	    {"not.lua",	EINVAL, "`not.lua`: not a folder and not a *.test.lua file"	   },
	    {"x.test.lua.bak", EINVAL, "`x.test.lua.bak`: not a folder and not a *.test.lua file"	 },
	    {"",		 ENOENT, "``: cannot find tests there: No such file or directory"	 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *paths[] = {(char *)"a.test.lua", (char *)cases[i].path};
		struct pv_discovery discovery;
		struct pv_config none = {0};
		struct pv_err err = PV_ERR_INIT;
		assert_int_equal(
		    pv_discovery_walk(&discovery, paths, 2, &none, NULL, &err), -cases[i].code);
		assert_string_equal(err.text, cases[i].message);
		assert_int_equal(discovery.count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_folder_is_walked_and_sorted),
	    cmocka_unit_test(without_paths_it_is_the_current_folder),
	    cmocka_unit_test(or_the_roots_of_the_configuration),
	    cmocka_unit_test(a_file_may_be_given),
	    cmocka_unit_test(a_file_found_twice_runs_once),
	    cmocka_unit_test(the_filter_looks_at_the_relative_path),
	    cmocka_unit_test(a_path_that_is_no_test_is_an_error),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
