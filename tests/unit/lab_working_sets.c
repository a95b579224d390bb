/* The folder of working sets: what is kept is found by the snapshot's identity, damage is nothing,
 * and the oldest go. */
#include "lab/working_sets.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/working_set.h"

#define ID   "00112233445566778899aabbccddeeff"
#define MOST 512u

static char folder[] = "/tmp/pv-working-sets-XXXXXX";
static char sets[sizeof(folder) + 8];

static int set_up(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(sets, sizeof(sets), "%s/a/b", folder);
	return 0;
}

static int tear_down(void **state)
{
	char command[100];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static struct pv_working_set example(void)
{
	struct pv_working_set set = {.ram_size = 1 << 20, .run_count = 1};
	set.runs[0] = (struct pv_ram_run){.at = 4096, .size = 8192};
	return set;
}

static void what_is_saved_is_found(void **state)
{
	const struct pv_working_set set = example();
	assert_null(pv_working_sets_load(sets, ID));
	pv_working_sets_save(sets, ID, &set);
	struct pv_working_set *found = pv_working_sets_load(sets, ID);
	assert_non_null(found);
	assert_memory_equal(found, &set, sizeof(set));
	free(found);
	assert_null(pv_working_sets_load(sets, "00112233445566778899aabbccddeef0"));
}

static void damage_is_nothing(void **state)
{
	char path[sizeof(sets) + sizeof(ID)];
	struct pv_err err = PV_ERR_INIT;
	const struct pv_working_set set = example();
	pv_working_sets_save(sets, ID, &set);
	snprintf(path, sizeof(path), "%s/%s", sets, ID);
	assert_int_equal(truncate(path, 20), 0);
	assert_null(pv_working_sets_load(sets, ID));
	assert_int_equal(pv_fd_replace_file(path, "", 0, 0644, &err), 0);
	assert_null(pv_working_sets_load(sets, ID));
	assert_int_equal(truncate(path, 1 << 30), 0);
	assert_null(pv_working_sets_load(sets, ID));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(pv_working_sets_load(sets, ID));
	pv_working_sets_save(sets, ID, &set);
	struct pv_working_set *found = pv_working_sets_load(sets, ID);
	assert_non_null(found);
	free(found);
}

static void without_a_folder_nothing_is_kept(void **state)
{
	const struct pv_working_set set = example();
	pv_working_sets_save(NULL, ID, &set);
	assert_null(pv_working_sets_load(NULL, ID));
	pv_working_sets_save("/proc/nowhere", ID, &set);
	assert_null(pv_working_sets_load("/proc/nowhere", ID));
}

static unsigned count_files(void)
{
	unsigned count = 0;
	DIR *dir = opendir(sets);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static void the_oldest_go(void **state)
{
	const struct pv_working_set set = example();
	char path[sizeof(sets) + 40], id[33];
	struct pv_err err = PV_ERR_INIT;
	snprintf(path, sizeof(path), "%s/of the user", sets);
	assert_int_equal(pv_fd_replace_file(path, "x", 1, 0644, &err), 0);
	for (unsigned i = 0; i < MOST; i++) {
		snprintf(id, sizeof(id), "%032x", i);
		pv_working_sets_save(sets, id, &set);
		/* Times of files advance in steps. */
		const struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
		snprintf(path, sizeof(path), "%s/%s", sets, id);
		utimensat(AT_FDCWD, path, times, 0);
	}
	assert_true(count_files() <= MOST / 2 + 2);
	struct pv_working_set *last = pv_working_sets_load(sets, id);
	assert_non_null(last);
	free(last);
	assert_null(pv_working_sets_load(sets, "00000000000000000000000000000001"));
	snprintf(path, sizeof(path), "%s/of the user", sets);
	assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_saved_is_found),
	    cmocka_unit_test(damage_is_nothing),
	    cmocka_unit_test(without_a_folder_nothing_is_kept),
	    cmocka_unit_test(the_oldest_go),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
