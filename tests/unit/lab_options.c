/*
 * Options of a VM: files that may be injected, and merging field by field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lab/options.h"

static void a_file_is_copied_without_its_leading_slashes(void **state)
{
	struct pv_options options = {0};
	struct pv_err err = PV_ERR_INIT;
	char content[] = "a\0b", path[] = "//etc/x";
	assert_int_equal(pv_options_add_file(&options, path, content, 3, 0640, &err), 0);
	content[0] = path[3] = '?';
	assert_true(options.has_files);
	assert_int_equal(options.file_count, 1);
	assert_string_equal(options.files[0].path, "etc/x");
	assert_int_equal(options.files[0].len, 3);
	assert_memory_equal(options.files[0].content, "a\0b", 3);
	assert_int_equal(options.files[0].mode, 0640);
	assert_int_equal(pv_options_add_file(&options, "empty", NULL, 0, 07777, &err), 0);
	assert_int_equal(options.files[1].len, 0);
	pv_options_finish(&options);
	assert_int_equal(options.file_count, 0);
	pv_options_finish(&options);
	pv_options_finish(NULL);
}

static void odd_paths_and_modes_are_refused_by_name(void **state)
{
	static const struct {
		const char *path;
		const char *message;
	} cases[] = {
	    {"",	 "opts.files: path `` names no file; give one like `/etc/test.conf`"	    },
	    {"/",	  "opts.files: path `/` names no file; give one like `/etc/test.conf`"	      },
	    {"///",	    "opts.files: path `///` names no file; give one like `/etc/test.conf`"	  },
	    {"/etc/",   "opts.files: path `/etc/` names a directory; give a file"		       },
	    {"..",	   "opts.files: path `..` has a `.` or `..` component; give the path without it" },
	    {".",	  "opts.files: path `.` has a `.` or `..` component; give the path without it"  },
	    {"/a/../b",
		"opts.files: path `/a/../b` has a `.` or `..` component; give the path without it"	  },
	    {"/a/./b",
		"opts.files: path `/a/./b` has a `.` or `..` component; give the path without it"	 },
	    {"a/..",
		"opts.files: path `a/..` has a `.` or `..` component; give the path without it"	       },
	    {"./a",	    "opts.files: path `./a` has a `.` or `..` component; give the path without it"},
	};
	static const char *const fine[] = {"/...", "/a/..b", "/.a", "/a.", "a//b"};
	struct pv_options options = {0};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pv_err err = PV_ERR_INIT;
		assert_int_equal(
		    pv_options_add_file(&options, cases[i].path, "", 0, 0644, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].message);
	}
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_options_add_file(&options, "/a", "", 0, 010000, &err), -EINVAL);
	assert_string_equal(err.text, "opts.files: mode 010000 of `/a` is over 07777");
	char long_path[1100];
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(
	    pv_options_add_file(&options, long_path, "", 0, 0644, &err), -ENAMETOOLONG);
	assert_int_equal(options.file_count, 0);
	assert_false(options.has_files);
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		assert_int_equal(pv_options_add_file(&options, fine[i], "", 0, 0644, &err), 0);
	pv_options_finish(&options);
}

static void a_merge_takes_what_is_given_and_keeps_the_rest(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_options base = {
	    .has_memory = true,
	    .memory = 1 << 20,
	    .has_cpus = true,
	    .cpus = 2,
	    .kernel_cmdline = strdup("base"),
	    .kernel_cmdline_append = strdup("more"),
	    .has_rng_seed = true,
	    .rng_seed = 7,
	};
	struct pv_options over = {
	    .has_cpus = true,
	    .cpus = 4,
	    .kernel_cmdline = (char *)"over",
	    .has_initial_time = true,
	    .initial_time_ns = -5,
	    .has_agent_timeout = true,
	    .agent_timeout_ns = 9,
	    /* Not given, so not taken. */
	    .memory = 99,
	    .rng_seed = 99,
	};
	assert_int_equal(pv_options_merge(&base, &over, &err), 0);
	assert_true(base.has_memory && base.memory == 1 << 20);
	assert_true(base.has_cpus && base.cpus == 4);
	assert_string_equal(base.kernel_cmdline, "over");
	assert_string_equal(base.kernel_cmdline_append, "more");
	assert_true(base.has_rng_seed && base.rng_seed == 7);
	assert_true(base.has_initial_time && base.initial_time_ns == -5);
	assert_true(base.has_agent_timeout && base.agent_timeout_ns == 9);
	over = (struct pv_options){
	    .has_memory = true, .memory = 3, .has_rng_seed = true, .rng_seed = 4};
	assert_int_equal(pv_options_merge(&base, &over, &err), 0);
	assert_true(base.memory == 3 && base.rng_seed == 4 && base.cpus == 4);
	assert_int_equal(pv_options_merge(&base, NULL, &err), 0);
	assert_true(base.memory == 3);
	pv_options_finish(&base);
}

static void files_of_both_calls_are_kept_in_order(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_options base = {0}, over = {0};
	assert_int_equal(pv_options_add_file(&base, "/a", "1", 1, 0644, &err), 0);
	assert_int_equal(pv_options_add_file(&over, "/b", "2", 1, 0600, &err), 0);
	assert_int_equal(pv_options_add_file(&over, "/a", "3", 1, 0755, &err), 0);
	assert_int_equal(pv_options_merge(&base, &over, &err), 0);
	pv_options_finish(&over);
	assert_int_equal(base.file_count, 3);
	assert_string_equal(base.files[0].path, "a");
	assert_string_equal(base.files[1].path, "b");
	assert_string_equal(base.files[2].path, "a");
	assert_memory_equal(base.files[2].content, "3", 1);
	assert_int_equal(base.files[2].mode, 0755);
	pv_options_finish(&base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_file_is_copied_without_its_leading_slashes),
	    cmocka_unit_test(odd_paths_and_modes_are_refused_by_name),
	    cmocka_unit_test(a_merge_takes_what_is_given_and_keeps_the_rest),
	    cmocka_unit_test(files_of_both_calls_are_kept_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
