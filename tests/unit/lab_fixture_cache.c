/*
 * lab/fixture_cache.h: with made-up entries where their content does not matter, and with saved
 * payload guests (needs /dev/kvm) where it does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/fixture_cache.h"
#include "lab/fixture_lock.h"
#include "lab/snapshot.h"
#include "tests/unit/payload_guest.h"
#include "vmm/template.h"

PAYLOAD(waiter, PRINT(".") FOREVER);

/* Keys that differ in their first digit. */
#define REST  "123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define KEY_A "a" REST
#define KEY_B "b" REST
#define KEY_C "c" REST
#define KEY_D "d" REST

struct world {
	struct guest *guest;
	struct pv_template *template;
	struct pv_snapshot *snapshot;
	char dir[64];
};

static struct pv_err err;

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	snprintf(world->dir, sizeof(world->dir), "/tmp/pv-fixture-cache-XXXXXX");
	assert_non_null(mkdtemp(world->dir));
	err = (struct pv_err)PV_ERR_INIT;
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	char command[128];
	void *guest = world->guest;
	pv_snapshot_destroy(world->snapshot);
	pv_template_unref(world->template);
	if (guest)
		guest_tear_down(&guest);
	snprintf(command, sizeof(command), "rm -rf '%s'", world->dir);
	free(world);
	return system(command);
}

static void ok(int status)
{
	if (status)
		fail_msg("%s", err.text);
}

static char *path_in(const struct world *world, const char *name)
{
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", world->dir, name);
	return path;
}

/* A file of so many pages that was used `seconds` after 1970. */
static void put(const struct world *world, const char *name, unsigned pages, int seconds)
{
	static char content[64 * 4096];
	const struct timespec times[] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
	memset(content, 'x', sizeof(content));
	ok(pv_fd_replace_file(path_in(world, name), content, pages * 4096, 0600, &err));
	assert_int_equal(utimensat(AT_FDCWD, path_in(world, name), times, 0), 0);
}

static bool is_there(const struct world *world, const char *name)
{
	return access(path_in(world, name), F_OK) == 0;
}

/* The names in the folder are exactly these, sorted, with blanks between them. */
static void expect_names(const struct world *world, const char *expected)
{
	char command[128], found[4096] = "";
	snprintf(command, sizeof(command), "ls -A '%s' | LC_ALL=C sort | tr '\\n' ' '", world->dir);
	FILE *pipe = popen(command, "r");
	const size_t len = fread(found, 1, sizeof(found) - 1, pipe);
	pclose(pipe);
	found[len ? len - 1 : 0] = '\0';
	assert_string_equal(found, expected);
}

/* --- made-up entries --- */

static void a_missing_folder_is_an_empty_cache(void **state)
{
	struct world *world = *state;
	struct pv_fixture_entries entries;
	unsigned count;
	uint64_t bytes;
	const char *dir = path_in(world, "a/b");
	ok(pv_fixture_cache_list(&entries, dir, &err));
	assert_int_equal(entries.count, 0);
	ok(pv_fixture_cache_trim(dir, 0, &count, &err));
	ok(pv_fixture_cache_clean(dir, &count, &bytes, &err));
	assert_false(pv_fixture_cache_has(dir, KEY_A, PV_FIXTURE_VM));
	expect_names(world, "");
	ok(pv_fixture_cache_prepare(dir, &err));
	ok(pv_fixture_cache_prepare(dir, &err));
	assert_true(is_there(world, "a/b"));
}

static void the_list_is_sorted_by_use(void **state)
{
	struct world *world = *state;
	struct pv_fixture_entries entries;
	put(world, KEY_A ".snap", 2, 300);
	put(world, KEY_B ".snap", 1, 100);
	put(world, KEY_C ".lab/x.snap", 3, 50);
	put(world, KEY_C ".lab/lab.json", 1, 50);
	put(world, KEY_A ".lock", 1, 0);
	put(world, KEY_D ".snap.abcdef.tmp", 1, 0);
	put(world, "notes.txt", 1, 0);
	put(world, "short.snap", 1, 0);
	const struct timespec times[] = {{.tv_sec = 1}, {.tv_sec = 200}};
	assert_int_equal(utimensat(AT_FDCWD, path_in(world, KEY_C ".lab"), times, 0), 0);
	ok(pv_fixture_cache_list(&entries, world->dir, &err));
	assert_int_equal(entries.count, 3);
	assert_string_equal(entries.items[0].key, KEY_B);
	assert_string_equal(entries.items[1].key, KEY_C);
	assert_int_equal(entries.items[1].kind, PV_FIXTURE_LAB);
	assert_int_equal(entries.items[1].bytes, 4 * 4096);
	assert_string_equal(entries.items[2].key, KEY_A);
	assert_int_equal(entries.items[2].kind, PV_FIXTURE_VM);
	assert_string_equal(entries.items[2].path, path_in(world, KEY_A ".snap"));
	assert_int_equal(entries.items[2].used_ns, INT64_C(300000000000));
	assert_int_equal(entries.bytes, 7 * 4096);
	pv_fixture_entries_finish(&entries);
}

static void trimming_takes_the_oldest_until_it_fits(void **state)
{
	struct world *world = *state;
	unsigned evicted;
	put(world, KEY_A ".snap", 4, 300);
	put(world, KEY_B ".snap", 4, 100);
	put(world, KEY_C ".lab/x.snap", 4, 50);
	put(world, KEY_D ".snap", 4, 400);
	put(world, "notes.txt", 60, 0);
	const struct timespec times[] = {{.tv_sec = 1}, {.tv_sec = 200}};
	assert_int_equal(utimensat(AT_FDCWD, path_in(world, KEY_C ".lab"), times, 0), 0);
	ok(pv_fixture_cache_trim(world->dir, 16 * 4096, &evicted, &err));
	assert_int_equal(evicted, 0);
	ok(pv_fixture_cache_trim(world->dir, 16 * 4096 - 1, &evicted, &err));
	assert_int_equal(evicted, 1);
	expect_names(world, KEY_A ".snap " KEY_C ".lab " KEY_D ".snap notes.txt");
	ok(pv_fixture_cache_trim(world->dir, 5 * 4096, &evicted, &err));
	assert_int_equal(evicted, 2);
	expect_names(world, KEY_D ".snap notes.txt");
	ok(pv_fixture_cache_trim(world->dir, 0, &evicted, &err));
	expect_names(world, "notes.txt");
}

static void what_the_dead_left_is_swept_and_what_is_built_is_not(void **state)
{
	struct world *world = *state;
	struct pv_fixture_lock lock;
	unsigned count;
	uint64_t bytes;
	put(world, KEY_A ".snap.abcdef.tmp", 1, 0);
	put(world, KEY_A ".lab.abcdef.tmp/x.snap", 1, 0);
	put(world, KEY_B ".lock", 1, 0);
	put(world, KEY_C ".snap.abcdef.tmp", 1, 0);
	put(world, KEY_C ".snap", 1, 0);
	put(world, "x.tmp", 1, 0);
	ok(pv_fixture_lock_take(&lock, world->dir, KEY_C, false, &err));
	ok(pv_fixture_cache_trim(world->dir, 0, &count, &err));
	assert_int_equal(count, 0);
	expect_names(world, KEY_C ".lock " KEY_C ".snap " KEY_C ".snap.abcdef.tmp x.tmp");
	ok(pv_fixture_cache_clean(world->dir, &count, &bytes, &err));
	assert_int_equal(count, 0);
	expect_names(world, KEY_C ".lock " KEY_C ".snap " KEY_C ".snap.abcdef.tmp x.tmp");
	pv_fixture_lock_release(&lock);
	ok(pv_fixture_cache_clean(world->dir, &count, &bytes, &err));
	assert_int_equal(count, 1);
	assert_int_equal(bytes, 4096);
	expect_names(world, "x.tmp");
}

static void evicting_takes_all_of_one_key(void **state)
{
	struct world *world = *state;
	put(world, KEY_A ".snap", 1, 0);
	put(world, KEY_A ".snap.abcdef.tmp", 1, 0);
	put(world, KEY_A ".lab/x.snap", 1, 0);
	put(world, KEY_A ".lock", 1, 0);
	put(world, KEY_B ".snap", 1, 0);
	ok(pv_fixture_cache_evict(world->dir, KEY_A, &err));
	ok(pv_fixture_cache_evict(world->dir, KEY_A, &err));
	expect_names(world, KEY_A ".lock " KEY_B ".snap");
}

/* --- saved guests --- */

static void need_snapshot(struct world *world)
{
	void *guest = NULL;
	assert_int_equal(guest_set_up(&guest), 0);
	world->guest = guest;
	guest_need_kvm(world->guest);
	guest_start(world->guest, waiter, waiter_end);
	ok(pv_machine_pause(world->guest->machine, &err));
	ok(pv_machine_freeze(world->guest->machine, &world->template, &err));
	ok(pv_snapshot_create_memory(&world->snapshot, world->template, &err));
}

static int open_entry(const struct world *world, const char *key)
{
	struct pv_template *template = NULL;
	char *path = pv_fixture_cache_path(world->dir, key, PV_FIXTURE_VM);
	const int status = pv_template_open(&template, path, true, &err);
	pv_template_unref(template);
	free(path);
	return status;
}

static uint64_t install(const struct world *world, const char *key)
{
	uint64_t bytes;
	ok(pv_fixture_cache_install(world->dir, key, world->snapshot, &bytes, &err));
	return bytes;
}

static void an_installed_entry_is_whole(void **state)
{
	struct world *world = *state;
	struct pv_fixture_entries entries;
	need_snapshot(world);
	put(world, KEY_A ".snap.abcdef.tmp", 1, 0);
	const uint64_t bytes = install(world, KEY_A);
	expect_names(world, KEY_A ".snap");
	assert_true(pv_fixture_cache_has(world->dir, KEY_A, PV_FIXTURE_VM));
	assert_false(pv_fixture_cache_has(world->dir, KEY_A, PV_FIXTURE_LAB));
	ok(open_entry(world, KEY_A));
	ok(pv_fixture_cache_list(&entries, world->dir, &err));
	assert_int_equal(entries.bytes, bytes);
	assert_true(bytes < pv_template_memory(world->template)); /* zeroes are holes */
	ok(pv_fixture_cache_verify(&entries.items[0], &err));
	pv_fixture_entries_finish(&entries);
}

static void verifying_finds_damage_and_names_it(void **state)
{
	struct world *world = *state;
	struct pv_fixture_entries entries;
	struct stat info;
	need_snapshot(world);
	install(world, KEY_A);
	ok(pv_fixture_cache_list(&entries, world->dir, &err));
	assert_int_equal(stat(entries.items[0].path, &info), 0);
	/* One byte of the payload, which only a check of all memory sees. */
	assert_int_equal(chmod(entries.items[0].path, 0600), 0);
	int fd = open(entries.items[0].path, O_WRONLY);
	assert_int_equal(pwrite(fd, "X", 1, (2 << 20) + PAYLOAD_GPA), 1);
	close(fd);
	assert_int_equal(pv_fixture_cache_verify(&entries.items[0], &err), -EBADMSG);
	assert_non_null(strstr(err.text, KEY_A ".snap`: its memory is damaged"));
	assert_int_equal(truncate(entries.items[0].path, info.st_size - 1), 0);
	assert_int_equal(pv_fixture_cache_verify(&entries.items[0], &err), -EBADMSG);
	assert_non_null(strstr(err.text, "cut short"));
	pv_fixture_entries_finish(&entries);
}

/* Times of use are set back far enough to tell. */
static void set_back(const struct world *world, const char *name)
{
	const struct timespec times[] = {{.tv_sec = 1000}, {.tv_nsec = UTIME_OMIT}};
	assert_int_equal(utimensat(AT_FDCWD, path_in(world, name), times, 0), 0);
}

static int64_t use_of(const struct world *world, const char *name)
{
	struct stat info;
	assert_int_equal(stat(path_in(world, name), &info), 0);
	return info.st_atim.tv_sec;
}

/* Entry B goes on from entry A. */
static void install_layer(struct world *world)
{
	struct pv_template *base = NULL;
	struct pv_machine *machine = NULL;
	install(world, KEY_A);
	pv_snapshot_destroy(world->snapshot);
	world->snapshot = NULL;
	pv_template_unref(world->template);
	world->template = NULL;
	ok(pv_template_open(&base, path_in(world, KEY_A ".snap"), false, &err));
	const struct pv_machine_restore options = {.boot = &world->guest->config};
	ok(pv_machine_restore(
	    &machine, &world->guest->kvm, world->guest->loop, base, &options, &err));
	pv_template_unref(base);
	ok(pv_machine_freeze(machine, &world->template, &err));
	pv_machine_destroy(machine);
	ok(pv_snapshot_create_memory(&world->snapshot, world->template, &err));
	install(world, KEY_B);
}

static void touching_reaches_down_to_the_base(void **state)
{
	struct world *world = *state;
	need_snapshot(world);
	install_layer(world);
	set_back(world, KEY_A ".snap");
	set_back(world, KEY_B ".snap");
	pv_fixture_cache_touch(world->dir, KEY_A, PV_FIXTURE_VM);
	assert_true(use_of(world, KEY_A ".snap") > 1000);
	assert_int_equal(use_of(world, KEY_B ".snap"), 1000);
	set_back(world, KEY_A ".snap");
	pv_fixture_cache_touch(world->dir, KEY_B, PV_FIXTURE_VM);
	assert_true(use_of(world, KEY_A ".snap") > 1000);
	assert_true(use_of(world, KEY_B ".snap") > 1000);
	pv_fixture_cache_touch(world->dir, KEY_C, PV_FIXTURE_VM); /* not there */
}

static void a_base_stays_as_long_as_it_is_needed(void **state)
{
	struct world *world = *state;
	struct pv_fixture_entries entries;
	unsigned evicted;
	need_snapshot(world);
	install_layer(world);
	put(world, KEY_C ".snap", 1, 5000);
	set_back(world, KEY_A ".snap"); /* older than what builds on it */
	ok(pv_fixture_cache_list(&entries, world->dir, &err));
	assert_string_equal(entries.items[0].key, KEY_A);
	ok(pv_fixture_cache_trim(world->dir, entries.bytes - 1, &evicted, &err));
	assert_int_equal(evicted, 1);
	expect_names(world, KEY_A ".snap " KEY_B ".snap"); /* C is the oldest that can go */
	ok(open_entry(world, KEY_B));
	ok(pv_fixture_cache_trim(world->dir, 0, &evicted, &err));
	assert_int_equal(evicted, 2);
	expect_names(world, "");
	pv_fixture_entries_finish(&entries);
}

static void a_layer_without_its_base_is_damaged(void **state)
{
	struct world *world = *state;
	struct pv_fixture_entries entries;
	need_snapshot(world);
	install_layer(world);
	ok(pv_fixture_cache_evict(world->dir, KEY_A, &err));
	ok(pv_fixture_cache_list(&entries, world->dir, &err));
	assert_int_equal(entries.count, 1);
	assert_true(pv_fixture_cache_verify(&entries.items[0], &err) < 0);
	assert_non_null(strstr(err.text, KEY_A));
	pv_fixture_entries_finish(&entries);
}

/* --- when it cannot be written --- */

/* The install must fail with that code and leave the old entry as it was. */
static void expect_failed_install(struct world *world, int code)
{
	uint64_t bytes;
	struct stat before, after;
	assert_int_equal(stat(path_in(world, KEY_A ".snap"), &before), 0);
	assert_int_equal(
	    pv_fixture_cache_install(world->dir, KEY_A, world->snapshot, &bytes, &err), code);
	assert_non_null(strstr(err.text, KEY_A ".snap`: cannot be written: "));
	assert_int_equal(bytes, 0);
	assert_int_equal(stat(path_in(world, KEY_A ".snap"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	ok(open_entry(world, KEY_A));
	expect_names(world, KEY_A ".snap");
}

static void a_file_that_may_not_grow_keeps_the_old_entry(void **state)
{
	struct world *world = *state;
	struct rlimit before, small;
	need_snapshot(world);
	install(world, KEY_A);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 8192;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	expect_failed_install(world, -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

/* Mounts that nobody else sees. Needs a privilege that not every place has. */
static void need_mounts(void)
{
	static bool done;
	if (!done &&
	    (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)) {
		print_message("skipped: no mount namespace here: %s\n", strerror(errno));
		skip();
	}
	done = true;
}

static void a_full_disk_keeps_the_old_entry(void **state)
{
	struct world *world = *state;
	char command[256];
	need_mounts();
	need_snapshot(world);
	if (mount("full", world->dir, "tmpfs", 0, "size=512k") < 0) {
		print_message("skipped: no tmpfs here: %s\n", strerror(errno));
		skip();
	}
	install(world, KEY_A);
	snprintf(command, sizeof(command),
	    "cat /dev/zero > '%s/fill' 2>/dev/null; truncate -s -4096 '%s/fill'", world->dir,
	    world->dir);
	assert_int_equal(system(command), 0);
	uint64_t bytes;
	assert_int_equal(
	    pv_fixture_cache_install(world->dir, KEY_A, world->snapshot, &bytes, &err), -ENOSPC);
	ok(open_entry(world, KEY_A));
	expect_names(world, KEY_A ".snap fill");
	assert_int_equal(
	    pv_fixture_cache_install(world->dir, KEY_B, world->snapshot, &bytes, &err), -ENOSPC);
	expect_names(world, KEY_A ".snap fill");
	umount(world->dir);
}

static void a_read_only_cache_can_still_be_read(void **state)
{
	struct world *world = *state;
	struct pv_fixture_lock lock;
	unsigned count;
	need_mounts();
	need_snapshot(world);
	install(world, KEY_A);
	put(world, KEY_B ".snap.abcdef.tmp", 1, 0);
	assert_int_equal(mount(world->dir, world->dir, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, world->dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	assert_int_equal(pv_fixture_cache_prepare(world->dir, &err), -EROFS);
	assert_non_null(strstr(err.text, "cannot be written: Read-only file system"));
	assert_int_equal(pv_fixture_lock_take(&lock, world->dir, KEY_A, true, &err), -EROFS);
	ok(open_entry(world, KEY_A));
	pv_fixture_cache_touch(world->dir, KEY_A, PV_FIXTURE_VM);
	ok(pv_fixture_cache_trim(world->dir, 0, &count, &err));
	assert_int_equal(count, 0);
	assert_true(is_there(world, KEY_A ".snap"));
	umount(world->dir);
}

/* Two at once write the same entry as fast as they can while it is read and one of them is killed:
 * what is there is always whole. */
static void readers_see_whole_entries_only(void **state)
{
	struct world *world = *state;
	pid_t pids[2];
	need_snapshot(world);
	install(world, KEY_A);
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		for (int round = 0; pids[i] == 0 && round < 1000; round++) {
			struct pv_fixture_lock lock;
			uint64_t bytes;
			if (pv_fixture_lock_take(&lock, world->dir, KEY_A, true, &err) ||
			    pv_fixture_cache_install(
				world->dir, KEY_A, world->snapshot, &bytes, &err))
				_exit(1);
			pv_fixture_lock_release(&lock);
		}
		if (pids[i] == 0)
			_exit(0);
	}
	for (int i = 0; i < 50; i++)
		ok(open_entry(world, KEY_A));
	for (int i = 0; i < 2; i++) {
		int status;
		kill(pids[i], SIGKILL);
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFSIGNALED(status) || status == 0);
		ok(open_entry(world, KEY_A));
	}
	unsigned evicted;
	ok(pv_fixture_cache_trim(world->dir, UINT64_MAX, &evicted, &err));
	expect_names(world, KEY_A ".snap");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(a_missing_folder_is_an_empty_cache),
	    TEST(the_list_is_sorted_by_use),
	    TEST(trimming_takes_the_oldest_until_it_fits),
	    TEST(what_the_dead_left_is_swept_and_what_is_built_is_not),
	    TEST(evicting_takes_all_of_one_key),
	    TEST(an_installed_entry_is_whole),
	    TEST(verifying_finds_damage_and_names_it),
	    TEST(touching_reaches_down_to_the_base),
	    TEST(a_base_stays_as_long_as_it_is_needed),
	    TEST(a_layer_without_its_base_is_damaged),
	    TEST(a_file_that_may_not_grow_keeps_the_old_entry),
	    TEST(a_full_disk_keeps_the_old_entry),
	    TEST(a_read_only_cache_can_still_be_read),
	    TEST(readers_see_whole_entries_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
