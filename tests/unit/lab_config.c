/*
 * provium.toml: every key, defaults, where paths start, `{out}`, profiles in folders, and the
 * sentences of what is wrong.
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
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"

static char folder[] = "/tmp/pv-lab-config-XXXXXX";

static int set_up(void **state)
{
	static const char *const ours[] = {
	    "PROVIUM_FIXTURE_CACHE", "PROVIUM_BUILD_DIR", "XDG_CACHE_HOME"};
	for (size_t i = 0; i < 3; i++)
		unsetenv(ours[i]);
	setenv("HOME", "/home/me", 1);
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static const char *in_folder(const char *name)
{
	static char paths[4][512];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void put(const char *name, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_fd_replace_file(in_folder(name), text, strlen(text), 0644, &err), 0);
}

static int parse(struct pv_config *config, const char *text, struct pv_err *err)
{
	return pv_config_parse(config, text, strlen(text), "dir", "dir/provium.toml", err);
}

/* Parses what must be good. */
static void accept(struct pv_config *config, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	if (parse(config, text, &err))
		fail_msg("`%s` is refused: %s", text, err.text);
}

static void an_empty_file_has_the_defaults(void **state)
{
	struct pv_config config;
	accept(&config, "");
	assert_int_equal(config.root_count, 0);
	assert_int_equal(config.profile_count, 0);
	assert_int_equal(config.warning_count, 0);
	assert_string_equal(config.path, "dir/provium.toml");
	assert_string_equal(config.cache_dir, "/home/me/.cache/provium/fixtures");
	assert_true(config.cache_max_size == UINT64_C(20) << 30);
	pv_config_finish(&config);
	pv_config_finish(&config);
}

static void every_key_of_provium_is_taken(void **state)
{
	struct pv_config config;
	accept(&config, "[provium]\nroots = [\"tests\", \"/abs\"]\ncache_dir = "
			"\"cache\"\ncache_max_size = \"2T\"\n");
	assert_int_equal(config.root_count, 2);
	assert_string_equal(config.roots[0], "dir/tests");
	assert_string_equal(config.roots[1], "/abs");
	assert_string_equal(config.cache_dir, "dir/cache");
	assert_true(config.cache_max_size == UINT64_C(2) << 40);
	pv_config_finish(&config);
	accept(&config, "provium.cache_dir = \"~/c\"\nprovium.cache_max_size = 4096");
	assert_string_equal(config.cache_dir, "/home/me/c");
	assert_true(config.cache_max_size == 4096);
	pv_config_finish(&config);
	accept(&config, "provium.cache_max_size = 0");
	assert_true(config.cache_max_size == 0);
	pv_config_finish(&config);
}

static void the_cache_follows_the_environment(void **state)
{
	struct pv_config config;
	setenv("XDG_CACHE_HOME", "/xdg", 1);
	accept(&config, "[profiles.p]\nkernel = \"k\"\ncmdline = \"{out}\"");
	assert_string_equal(config.cache_dir, "/xdg/provium/fixtures");
	assert_string_equal(config.profiles[0].build_out, "/xdg/provium/builds/p");
	pv_config_finish(&config);
	setenv("PROVIUM_FIXTURE_CACHE", "/fixtures", 1);
	setenv("PROVIUM_BUILD_DIR", "/builds", 1);
	accept(&config, "[profiles.p]\nkernel = \"k\"\ncmdline = \"{out}\"");
	assert_string_equal(config.cache_dir, "/fixtures");
	assert_string_equal(config.profiles[0].cmdline, "/builds/p");
	pv_config_finish(&config);
	accept(&config, "provium.cache_dir = \"/set\"");
	assert_string_equal(config.cache_dir, "/set");
	pv_config_finish(&config);
	unsetenv("XDG_CACHE_HOME");
	unsetenv("PROVIUM_FIXTURE_CACHE");
	unsetenv("PROVIUM_BUILD_DIR");
	unsetenv("HOME");
	accept(&config, "[profiles.p]\nkernel = \"k\"\ncmdline = \"x\"");
	assert_string_equal(config.cache_dir, "/tmp/provium-fixtures");
	assert_string_equal(config.profiles[0].build_out, "/tmp/provium-builds/p");
	pv_config_finish(&config);
	setenv("HOME", "/home/me", 1);
}

static void every_key_of_a_profile_is_taken(void **state)
{
	struct pv_config config;
	accept(&config, "[profiles.full]\n"
			"kernel = \"bzImage\"\ninitrd = \"/abs/initrd\"\ncmdline = "
			"\"quiet\"\ncmdline_file = \"line\"\n"
			"guest_os = \"peios\"\ninject_agent = false\nagent_overlay_path = "
			"\"agent.cpio\"\nagent_boot_timeout = 12.5\n"
			"build = \"make\"\nbuild_out = \"out\"\n"
			"disks = [{path = \"a.img\", id = \"medium\", readonly = true, mediated = "
			"true}, {scratch = \"1G\"},"
			" {template = \"t.img\"}]\n");
	const struct pv_profile *profile = pv_config_profile(&config, "full");
	assert_non_null(profile);
	assert_string_equal(profile->dir, "dir");
	assert_string_equal(profile->kernel, "dir/bzImage");
	assert_string_equal(profile->initrd, "/abs/initrd");
	assert_string_equal(profile->cmdline, "quiet");
	assert_string_equal(profile->cmdline_file, "dir/line");
	assert_string_equal(profile->guest_os, "peios");
	assert_false(profile->inject_agent);
	assert_string_equal(profile->agent_overlay_path, "dir/agent.cpio");
	assert_true(profile->agent_boot_timeout == 12.5);
	assert_string_equal(profile->build, "make");
	assert_string_equal(profile->build_out, "dir/out");
	assert_int_equal(profile->disk_count, 3);
	assert_string_equal(profile->disks[0].id, "medium");
	assert_string_equal(profile->disks[0].path, "dir/a.img");
	assert_true(profile->disks[0].readonly && profile->disks[0].mediated);
	assert_string_equal(profile->disks[1].id, "disk1");
	assert_string_equal(profile->disks[1].scratch, "1G");
	assert_string_equal(profile->disks[2].id, "disk2");
	assert_string_equal(profile->disks[2].template_path, "dir/t.img");
	assert_int_equal(config.warning_count, 0);
	pv_config_finish(&config);
}

static void a_profile_has_defaults(void **state)
{
	struct pv_config config;
	accept(&config, "[profiles.p]\nroot = \"image\"\ncmdline = \"quiet\"\n");
	const struct pv_profile *profile = pv_config_profile(&config, "p");
	assert_string_equal(profile->guest_os, "linux");
	assert_true(profile->inject_agent);
	assert_true(profile->agent_boot_timeout == 30);
	assert_string_equal(profile->root, "dir/image");
	assert_null(profile->kernel);
	assert_null(profile->initrd);
	assert_null(profile->build);
	assert_string_equal(profile->build_out, "/home/me/.cache/provium/builds/p");
	assert_int_equal(profile->disk_count, 0);
	assert_null(pv_config_profile(&config, "q"));
	pv_config_finish(&config);
}

static void out_is_expanded_where_the_specification_says(void **state)
{
	struct pv_config config;
	accept(&config, "[profiles.p]\nkernel = \"{out}/k\"\ninitrd = \"{out}/i\"\ncmdline = "
			"\"a={out} b={out}\"\ncmdline_file = \"{out}/c\"\n"
			"agent_overlay_path = \"{out}/o\"\nbuild = \"make O={out}\"\nbuild_out = "
			"\"/b\"\ndisks = [{path = \"{out}/d\"}]\n");
	const struct pv_profile *profile = pv_config_profile(&config, "p");
	assert_string_equal(profile->kernel, "/b/k");
	assert_string_equal(profile->initrd, "/b/i");
	assert_string_equal(profile->cmdline, "a=/b b=/b");
	assert_string_equal(profile->cmdline_file, "/b/c");
	assert_string_equal(profile->agent_overlay_path, "/b/o");
	assert_string_equal(profile->build, "make O=/b");
	assert_string_equal(profile->disks[0].path, "/b/d");
	pv_config_finish(&config);
}

static void profiles_are_sorted_by_name(void **state)
{
	struct pv_config config;
	accept(&config, "[profiles.b]\nkernel='k'\ncmdline='c'\n[profiles.a]\nkernel='k'\ncmdline='"
			"c'\n[profiles.c]\nkernel='k'\ncmdline='c'\n");
	assert_int_equal(config.profile_count, 3);
	assert_string_equal(config.profiles[0].name, "a");
	assert_string_equal(config.profiles[1].name, "b");
	assert_string_equal(config.profiles[2].name, "c");
	pv_config_finish(&config);
}

static void what_is_unknown_is_a_warning(void **state)
{
	struct pv_config config;
	accept(&config, "[provium]\nrots = 1\n[profiles.p]\nkernel = \"k\"\ncmdline = "
			"\"c\"\nkernal = \"x\"\n[extra]\na = 1\n");
	assert_int_equal(config.warning_count, 3);
	assert_string_equal(config.warnings[0], "[provium]: unknown key `rots` is ignored");
	assert_string_equal(config.warnings[1], "profile `p`: unknown key `kernal` is ignored");
	assert_string_equal(config.warnings[2], "unknown section `extra` is ignored");
	pv_config_finish(&config);
}

#define P(more) "[profiles.p]\nkernel = \"k\"\ncmdline = \"c\"\n" more

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} cases[] = {
  /* clang-format 14 crashes on this table. */
  /* clang-format off */
	    {"a = ",
		"parse `dir/provium.toml`: line 1, column 5: expected a value"},
	    {"provium = 1",
		"line 1: `provium` must be a table, not an integer"},
	    {"profiles = []",
		"line 1: `profiles` must be a table, not an array"},
	    {"[provium]\nroots = \"x\"",
		"line 2: [provium] `roots` must be an array of strings, not a string"},
	    {"[provium]\nroots = [1]",
		"line 2: [provium] `roots` must be an array of strings, not an integer"},
	    {"[provium]\ncache_dir = 1",
		"line 2: [provium] `cache_dir` must be a string, not an integer"},
	    {"[provium]\ncache_max_size = \"x\"",
		"line 2: [provium] `cache_max_size` must be bytes or a size like \"20G\""},
	    {"[provium]\ncache_max_size = -1",
		"line 2: [provium] `cache_max_size` must be bytes or a size like \"20G\""},
	    {"[provium]\ncache_max_size = 1.5",
		"line 2: [provium] `cache_max_size` must be bytes or a size like \"20G\""},
	    {"[profiles]\nx = 1",
		"line 2: profiles: `x` must be a table (one profile) or the key from_dir, not an integer"},
	    {"[profiles.p]\ncmdline = \"c\"",
		"profile `p` has no kernel; set `kernel` (or `root`)"},
	    {P("root = \"r\""),
		"profile `p` has both `kernel` and `root`; give one"},
	    {"[profiles.p]\nkernel = \"k\"",
		"profile `p` has empty cmdline and no `cmdline_file`; set at least one"},
	    {"[profiles.p]\nkernel = \"k\"\ncmdline = \"\"",
		"profile `p` has empty cmdline and no `cmdline_file`; set at least one"},
	    {P("inject_agent = false"),
		"profile `p` has neither an initrd nor the agent; set `initrd`, or inject_agent = true"},
	    {P("inject_agent = \"no\""),
		"line 4: profile `p`: `inject_agent` must be true or false, not a string"},
	    {P("agent_boot_timeout = \"30\""),
		"line 4: profile `p`: `agent_boot_timeout` must be a number of seconds, not a string"},
	    {P("agent_boot_timeout = 0"),
		"line 4: profile `p`: `agent_boot_timeout` must be a positive number of seconds"},
	    {P("agent_boot_timeout = -1.5"),
		"line 4: profile `p`: `agent_boot_timeout` must be a positive number of seconds"},
	    {P("agent_boot_timeout = inf"),
		"line 4: profile `p`: `agent_boot_timeout` must be a positive number of seconds"},
	    {P("agent_boot_timeout = nan"),
		"line 4: profile `p`: `agent_boot_timeout` must be a positive number of seconds"},
	    {P("initrd = 5"),
		"line 4: profile `p`: `initrd` must be a string, not an integer"},
	    {P("guest_os = true"),
		"line 4: profile `p`: `guest_os` must be a string, not a boolean"},
	    {P("disks = \"x\""),
		"line 4: profile `p`: `disks` must be an array of tables, not a string"},
	    {P("disks = [1]"),
		"line 4: profile `p`: `disks` must be an array of tables, not an integer"},
	    {P("disks = [{}]"),
		"line 4: profile `p`: disk 0 needs exactly one of `path`, `scratch`, `template`"},
	    {P("disks = [{path = \"a\", scratch = \"1G\"}]"),
		"line 4: profile `p`: disk 0 needs exactly one of `path`, `scratch`, `template`"},
	    {P("disks = [{path = \"a\", size = 1}]"),
		"line 4: profile `p`: disk has the unknown key `size`"},
	    {P("disks = [{path = 1}]"),
		"line 4: profile `p`: `path` must be a string, not an integer"},
	    {P("disks = [{path = \"a\", readonly = 1}]"),
		"line 4: profile `p`: `readonly` must be true or false, not an integer"},
  /* clang-format on */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pv_config config;
		struct pv_err err = PV_ERR_INIT;
		char expected[512];
		if (!parse(&config, cases[i].text, &err))
			fail_msg("`%s` is accepted", cases[i].text);
		bool syntax = strncmp(cases[i].message, "parse ", 6) == 0;
		snprintf(expected, sizeof(expected), "%s%s",
		    syntax ? "" : "invalid config in `dir/provium.toml`: ", cases[i].message);
		assert_string_equal(err.text, expected);
		assert_int_equal(config.profile_count, 0);
	}
}

static void a_missing_file_is_empty_unless_it_was_named(void **state)
{
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	char expected[1200];
	assert_int_equal(pv_config_load(&config, in_folder("none.toml"), false, &err), 0);
	assert_null(config.path);
	assert_string_equal(config.cache_dir, "/home/me/.cache/provium/fixtures");
	assert_true(config.cache_max_size == UINT64_C(20) << 30);
	pv_config_finish(&config);
	assert_int_equal(pv_config_load(&config, in_folder("none.toml"), true, &err), -ENOENT);
	snprintf(expected, sizeof(expected), "read `%s`: ", in_folder("none.toml"));
	assert_memory_equal(err.text, expected, strlen(expected));
	assert_non_null(strstr(err.text, "No such file"));
	assert_int_equal(pv_config_load(&config, folder, true, &err), -EISDIR);
}

static void a_loaded_file_brings_its_folder(void **state)
{
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	put("own/provium.toml", "provium.roots = [\"tests\"]\n" P(""));
	assert_int_equal(pv_config_load(&config, in_folder("own/provium.toml"), true, &err), 0);
	assert_string_equal(config.roots[0], in_folder("own/tests"));
	assert_string_equal(config.profiles[0].kernel, in_folder("own/k"));
	pv_config_finish(&config);
	/* In the current folder, paths stay as they were written. */
	assert_int_equal(chdir(in_folder("own")), 0);
	assert_int_equal(pv_config_load(&config, "provium.toml", false, &err), 0);
	assert_string_equal(config.roots[0], "tests");
	assert_string_equal(config.profiles[0].kernel, "k");
	pv_config_finish(&config);
	assert_int_equal(chdir("/"), 0);
}

static void folders_with_a_profile_file_are_profiles(void **state)
{
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	put("many/provium.toml", "[profiles]\nfrom_dir = \"guests\"\n[profiles.inline]\nkernel = "
				 "\"k\"\ncmdline = \"c\"\n");
	put("many/guests/one/profile.provium.toml",
	    "kernel = \"bzImage\"\ninitrd = \"/abs\"\ncmdline = \"one {out}\"\nbuild = \"true\"\n");
	put("many/guests/two/profile.provium.toml",
	    "kernel = \"{out}/k\"\ncmdline_file = \"line\"\nodd = 1\n");
	put("many/guests/none/other.toml", "");
	put("many/guests/.hidden/profile.provium.toml", "broken");
	assert_int_equal(pv_config_load(&config, in_folder("many/provium.toml"), true, &err), 0);
	assert_int_equal(config.profile_count, 3);
	const struct pv_profile *one = pv_config_profile(&config, "one"),
				*two = pv_config_profile(&config, "two");
	assert_string_equal(one->dir, in_folder("many/guests/one"));
	assert_string_equal(one->kernel, in_folder("many/guests/one/bzImage"));
	assert_string_equal(one->initrd, "/abs");
	assert_string_equal(one->cmdline, "one /home/me/.cache/provium/builds/one");
	assert_string_equal(two->kernel, "/home/me/.cache/provium/builds/two/k");
	assert_string_equal(two->cmdline_file, in_folder("many/guests/two/line"));
	assert_int_equal(config.warning_count, 1);
	assert_string_equal(config.warnings[0], "profile `two`: unknown key `odd` is ignored");
	pv_config_finish(&config);
}

/* Loads `name` and compares the error behind "invalid config in `...`: ". */
static void refuse_file(const char *name, const char *message)
{
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	char expected[2400];
	assert_true(pv_config_load(&config, in_folder(name), true, &err) < 0);
	snprintf(
	    expected, sizeof(expected), "invalid config in `%s`: %s", in_folder(name), message);
	assert_string_equal(err.text, expected);
}

static void broken_folders_of_profiles_are_named(void **state)
{
	char message[1200];
	put("bad/provium.toml", "profiles.from_dir = \"guests\"\n");
	snprintf(message, sizeof(message),
	    "profiles.from_dir `%s`: cannot read it: No such file or directory",
	    in_folder("bad/guests"));
	refuse_file("bad/provium.toml", message);
	put("bad/guests/empty/x", "");
	snprintf(message, sizeof(message),
	    "profiles.from_dir `%s`: no folder in it holds a profile.provium.toml",
	    in_folder("bad/guests"));
	refuse_file("bad/provium.toml", message);
	put("bad/guests/g/profile.provium.toml", "kernel = \"k\"\ncmdline = \"c\"\n");
	put("bad/twice.toml",
	    "profiles.from_dir = \"guests\"\n[profiles.g]\nkernel = \"k\"\ncmdline = \"c\"\n");
	refuse_file("bad/twice.toml", "profile `g` is defined twice; rename one");
	put("bad/guests/h/profile.provium.toml", "kernel = 1\n");
	snprintf(message, sizeof(message),
	    "`%s`: line 1: profile `h`: `kernel` must be a string, not an integer",
	    in_folder("bad/guests/h/profile.provium.toml"));
	refuse_file("bad/provium.toml", message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_file_has_the_defaults),
	    cmocka_unit_test(every_key_of_provium_is_taken),
	    cmocka_unit_test(the_cache_follows_the_environment),
	    cmocka_unit_test(every_key_of_a_profile_is_taken),
	    cmocka_unit_test(a_profile_has_defaults),
	    cmocka_unit_test(out_is_expanded_where_the_specification_says),
	    cmocka_unit_test(profiles_are_sorted_by_name),
	    cmocka_unit_test(what_is_unknown_is_a_warning),
	    cmocka_unit_test(what_is_wrong_is_said),
	    cmocka_unit_test(a_missing_file_is_empty_unless_it_was_named),
	    cmocka_unit_test(a_loaded_file_brings_its_folder),
	    cmocka_unit_test(folders_with_a_profile_file_are_profiles),
	    cmocka_unit_test(broken_folders_of_profiles_are_named),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
