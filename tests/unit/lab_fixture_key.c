/*
 * lab/fixture_key.h: which file a name stands for, and what makes two keys differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "lab/fixture_key.h"

#define CONFIG                                                                    \
	"[provium]\nroots = [\"r\"]\n[profiles.tiny]\nkernel = \"k\"\n"           \
	"initrd = \"i\"\ncmdline = \"quiet\"\n[profiles.big]\nroot = \"image\"\n" \
	"cmdline_file = \"line\"\n"

/* A folder of its own, which is the current directory of the test. */
static char folder[64];

static void write_file(const char *path, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_fd_replace_file(path, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.text);
}

static int set_up(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/pv-fixture-key-XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	write_file("k", "kernel");
	write_file("i", "initrd");
	write_file("line", "console=ttyS0");
	write_file("image/usr/lib/modules/6.1/vmlinuz-6.1", "kernel");
	write_file("r/base.fixture.lua", "return 1");
	return 0;
}

static int tear_down(void **state)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	assert_int_equal(chdir("/"), 0);
	return system(command);
}

static void make_place(struct pv_config *config, struct pv_fixture_place *place,
    const char *config_text, const char *extra)
{
	char *paths[] = {(char *)extra};
	struct pv_err err = PV_ERR_INIT;
	if (pv_config_parse(config, config_text, strlen(config_text), ".", "t.toml", &err) < 0 ||
	    pv_fixture_place_init(place, config, paths, extra ? 1 : 0, &err) < 0)
		fail_msg("%s", err.text);
}

static void drop_place(struct pv_config *config, struct pv_fixture_place *place)
{
	pv_fixture_place_finish(place);
	pv_config_finish(config);
}

static void key_in(const char *config_text, const char *name, char key[PV_HASH_TEXT])
{
	struct pv_config config;
	struct pv_fixture_place place;
	struct pv_err err = PV_ERR_INIT;
	char *path;
	make_place(&config, &place, config_text, NULL);
	if (pv_fixture_find(&place, name, false, &path, &err) < 0 ||
	    pv_fixture_key(&place, path, key, &err) < 0)
		fail_msg("%s", err.text);
	free(path);
	drop_place(&config, &place);
}

static void key_of(const char *name, char key[PV_HASH_TEXT])
{
	key_in(CONFIG, name, key);
}

/* --- finding --- */

static void expect_found(
    const char *config_text, const char *extra, const char *name, bool legacy, const char *expected)
{
	struct pv_config config;
	struct pv_fixture_place place;
	struct pv_err err = PV_ERR_INIT;
	char *path;
	make_place(&config, &place, config_text, extra);
	if (pv_fixture_find(&place, name, legacy, &path, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(path, expected);
	free(path);
	drop_place(&config, &place);
}

static void expect_missing(const char *name, bool legacy, int code, const char *sentence)
{
	struct pv_config config;
	struct pv_fixture_place place;
	struct pv_err err = PV_ERR_INIT;
	char *path;
	make_place(&config, &place, CONFIG, "s");
	assert_int_equal(pv_fixture_find(&place, name, legacy, &path, &err), -code);
	assert_null(path);
	if (!strstr(err.text, sentence))
		fail_msg("`%s` is not in `%s`", sentence, err.text);
	drop_place(&config, &place);
}

static void names_are_found_in_the_first_root_that_has_them(void **state)
{
	write_file("s/base.fixture.lua", "");
	write_file("s/deep/er.fixture.lua", "");
	write_file("s/a.test.lua", "");
	expect_found(CONFIG, NULL, "base", false, "r/base.fixture.lua");
	expect_found(CONFIG, "s", "base", false, "r/base.fixture.lua");
	expect_found("", "s", "base", false, "s/base.fixture.lua");
	expect_found("", "s///", "deep/er", false, "s/deep/er.fixture.lua");
	expect_found("", "s/a.test.lua", "base", false, "s/base.fixture.lua");
	expect_found("", NULL, "r/base", false, "r/base.fixture.lua");
}

static void names_of_nothing_are_refused(void **state)
{
	assert_int_equal(mkdir("s", 0755), 0);
	expect_missing("nope", false, ENOENT,
	    "fixture `nope` not found in any test root (looked for r/nope.fixture.lua, "
	    "s/nope.fixture.lua)");
	expect_missing("nope", true, ENOENT, "r/fixtures/nope.lua");
	assert_int_equal(mkdir("r/d.fixture.lua", 0755), 0);
	expect_missing("d", false, ENOENT, "not found");
	static const char *const bad[] = {
	    "", "/etc/x", "../x", "a/../b", "a//b", "./a", "a/", "..", ".", "a/."};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_missing(bad[i], false, EINVAL, "this is no name");
}

static void older_fixtures_stand_in_their_own_folder(void **state)
{
	write_file("tests/fixtures/a.lua", "");
	expect_found(CONFIG, NULL, "a", true, "tests/fixtures/a.lua");
	write_file("r/fixtures/a.lua", "");
	expect_found(CONFIG, NULL, "a", true, "r/fixtures/a.lua");
	expect_missing("base", true, ENOENT, "not found");
}

/* --- keys --- */

static void expect_same(const char *name, const char before[PV_HASH_TEXT], const char *why)
{
	char after[PV_HASH_TEXT];
	key_of(name, after);
	if (strcmp(before, after) != 0)
		fail_msg("%s changed the key", why);
}

/* The key becomes another one, and `key` is that one then. */
static void expect_changed(const char *name, char key[PV_HASH_TEXT], const char *why)
{
	char after[PV_HASH_TEXT];
	key_of(name, after);
	if (strcmp(key, after) == 0)
		fail_msg("%s did not change the key", why);
	memcpy(key, after, PV_HASH_TEXT);
}

/* The same, by the new content of a file. */
static void change(
    const char *name, char key[PV_HASH_TEXT], const char *path, const char *text, const char *why)
{
	write_file(path, text);
	expect_changed(name, key, why);
}

static void keys_are_file_names_and_stay(void **state)
{
	char key[PV_HASH_TEXT];
	key_of("base", key);
	assert_int_equal(strspn(key, "0123456789abcdef"), PV_HASH_TEXT - 1);
	expect_same("base", key, "nothing");
	write_file("r/other.fixture.lua", "return 2");
	expect_same("base", key, "another fixture");
}

static void sources_and_what_they_load_count(void **state)
{
	char key[PV_HASH_TEXT];
	key_of("base", key);
	change("base", key, "r/base.fixture.lua", "return require('h.net')", "the source");
	change("base", key, "r/h/net.lua", "", "a module that appears");
	change("base", key, "r/h/net.lua", "return dofile('r/x.lua')", "a module");
	change("base", key, "r/x.lua", "", "a script that appears");
	assert_int_equal(rename("r/h/net.lua", "r/h/n"), 0);
	expect_changed("base", key, "a module that is gone");
	change("base", key, "r/h/net/init.lua", "return 1", "init.lua of a module");
	write_file("h/net.lua", "return 1");
	expect_same("base", key, "a module behind the first root's");
}

static void fixtures_count_from_one_to_the_next(void **state)
{
	char key[PV_HASH_TEXT];
	write_file("r/top.fixture.lua", "local vm = provium:vm_fixture('middle')");
	write_file("r/middle.fixture.lua", "local vm = provium.lab_fixture 'base'");
	key_of("top", key);
	change("top", key, "r/base.fixture.lua", "return 2", "a fixture of a fixture");
	change("top", key, "r/base.fixture.lua", "provium.fixture('old')", "a source");
	change("top", key, "r/fixtures/old.lua", "x", "an older fixture");
	assert_int_equal(unlink("r/base.fixture.lua"), 0);
	expect_changed("top", key, "a fixture that is gone");
}

static void circles_end(void **state)
{
	char key[PV_HASH_TEXT], other[PV_HASH_TEXT];
	write_file("r/a.fixture.lua", "vm_fixture('a') vm_fixture('b') require('m')");
	write_file("r/b.fixture.lua", "vm_fixture('a') require('m')");
	write_file("r/m.lua", "require('m')");
	key_of("a", key);
	key_of("b", other);
	assert_string_not_equal(key, other);
	expect_same("a", key, "nothing");
	change("a", key, "r/m.lua", "require('m') ", "a module in a circle");
}

static void files_count_where_the_call_stands(void **state)
{
	char key[PV_HASH_TEXT];
	write_file("r/base.fixture.lua",
	    "vm:push_file('data', '/d') require('sub.m') vm:push_file('free', '/f', {auto_dep = "
	    "false})");
	write_file("r/sub/m.lua", "provium:depends_on_file('data')");
	key_of("base", key);
	write_file("free", "");
	write_file("data", "");
	write_file("r/free", "");
	expect_same("base", key, "a file elsewhere");
	change("base", key, "r/data", "1", "a pushed file that appears");
	change("base", key, "r/data", "22", "the size of a pushed file");
	const struct timespec times[] = {
	    {.tv_nsec = UTIME_OMIT},
	     { .tv_sec = 1000,	      .tv_nsec = 1}
	   };
	assert_int_equal(utimensat(AT_FDCWD, "r/data", times, 0), 0);
	expect_changed("base", key, "the time of a pushed file");
	change("base", key, "r/sub/data", "1", "a file beside a module");
}

static void what_is_in_a_pushed_folder_counts(void **state)
{
	char key[PV_HASH_TEXT];
	write_file("r/base.fixture.lua", "vm:push_dir('folder', '/d')");
	key_of("base", key);
	change("base", key, "r/folder/a/b", "1", "a folder that appears");
	write_file("r/beside", "1");
	expect_same("base", key, "a file beside the folder");
	change("base", key, "r/folder/a/b", "22", "the size of a file in it");
	const struct timespec times[] = {
	    {.tv_nsec = UTIME_OMIT},
	     { .tv_sec = 1000,	      .tv_nsec = 1}
	   };
	assert_int_equal(utimensat(AT_FDCWD, "r/folder/a/b", times, 0), 0);
	expect_changed("base", key, "the time of a file in it");
	assert_int_equal(chmod("r/folder/a/b", 0711), 0);
	expect_changed("base", key, "the permissions of a file in it");
	assert_int_equal(symlink("a", "r/folder/link"), 0);
	expect_changed("base", key, "a link in it");
	assert_int_equal(unlink("r/folder/link") + symlink("b", "r/folder/link"), 0);
	expect_changed("base", key, "where a link in it leads");
	assert_int_equal(rename("r/folder/a/b", "r/folder/a/c"), 0);
	expect_changed("base", key, "the name of a file in it");
	write_file("r/folder/z", "");
	assert_int_equal(unlink("r/folder/z"), 0);
	expect_same("base", key, "a file that came and went");
}

static void profiles_count(void **state)
{
	char key[PV_HASH_TEXT], other[PV_HASH_TEXT];
	key_of("base", key);
	change("base", key, "k", "another", "a kernel");
	change("base", key, "i", "another", "an initrd");
	change("base", key, "line", "another", "a cmdline_file");
	change(
	    "base", key, "image/usr/lib/modules/6.1/vmlinuz-6.1", "another", "a kernel in a root");
	change("base", key, "image/usr/lib/modules/6.2/vmlinuz", "x", "a second kernel in a root");
	key_in("[provium]\nroots = [\"r\"]\n[profiles.tiny]\nkernel = \"k\"\ncmdline = \"a\"",
	    "base", key);
	key_in("[provium]\nroots = [\"r\"]\n[profiles.tiny]\nkernel = \"k\"\ncmdline = \"b\"",
	    "base", other);
	assert_string_not_equal(key, other);
	key_in("[provium]\nroots = [\"r\"]\n[profiles.tiny2]\nkernel = \"k\"\ncmdline = \"b\"",
	    "base", key);
	assert_string_not_equal(key, other);
}

static void the_current_directory_does_not_count(void **state)
{
	char key[PV_HASH_TEXT], other[PV_HASH_TEXT];
	write_file(
	    "r/base.fixture.lua", "vm:push_file('data', '/d') vm_fixture('x') vm_fixture('x')");
	write_file("r/x.fixture.lua", "");
	write_file("r/data", "1");
	key_in("[profiles.t]\nkernel = \"k\"\ncmdline = \"q\"\n[provium]\nroots = [\"r\"]", "base",
	    key);
	assert_int_equal(chdir("r"), 0);
	key_in("[profiles.t]\nkernel = \"../k\"\ncmdline = \"q\"\n[provium]\nroots = [\".\"]",
	    "base", other);
	assert_string_equal(key, other);
}

static void more_files_than_can_be_meant_are_refused(void **state)
{
	struct pv_config config;
	struct pv_fixture_place place;
	struct pv_err err = PV_ERR_INIT;
	char key[PV_HASH_TEXT], text[64], path[64];
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "r/f%d.fixture.lua", i);
		snprintf(text, sizeof(text), "vm_fixture('f%d')", i + 1);
		write_file(path, text);
	}
	make_place(&config, &place, CONFIG, NULL);
	assert_int_equal(pv_fixture_key(&place, "r/f0.fixture.lua", key, &err), -E2BIG);
	assert_int_equal(pv_fixture_key(&place, "r/f200.fixture.lua", key, &err), 0);
	assert_int_equal(pv_fixture_key(&place, "r/gone", key, &err), -ENOENT);
	assert_int_equal(pv_fixture_key(&place, "r", key, &err), -EISDIR);
	drop_place(&config, &place);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(names_are_found_in_the_first_root_that_has_them),
	    TEST(names_of_nothing_are_refused),
	    TEST(older_fixtures_stand_in_their_own_folder),
	    TEST(keys_are_file_names_and_stay),
	    TEST(sources_and_what_they_load_count),
	    TEST(fixtures_count_from_one_to_the_next),
	    TEST(circles_end),
	    TEST(files_count_where_the_call_stands),
	    TEST(what_is_in_a_pushed_folder_counts),
	    TEST(profiles_count),
	    TEST(the_current_directory_does_not_count),
	    TEST(more_files_than_can_be_meant_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
