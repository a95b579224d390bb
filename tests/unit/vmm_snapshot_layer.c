/* Snapshot files that build on others: small, movable, and as good as a whole one. Needs /dev/kvm.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "tests/unit/layer_rig.h"
#include "tests/unit/payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template.h"
#include "vmm/template_private.h"

static struct pv_err err = PV_ERR_INIT;

static void ok(int code)
{
	if (code < 0)
		fail_msg("%s", err.text);
}

static char *base_of(const char *path)
{
	struct pv_template_info info;
	ok(pv_template_inspect(&info, path, &err));
	char *base = info.base;
	info.base = NULL;
	pv_template_info_finish(&info);
	return base;
}

static void assert_base(const char *path, const char *base)
{
	char *got = base_of(path);
	if (base) {
		assert_non_null(got);
		assert_string_equal(got, base);
	} else {
		assert_null(got);
	}
	free(got);
}

static void test_five_deep(void **state)
{
	struct layer_rig *rig = *state;
	layer_rig_make_chain(rig, LAYER_RIG_DEPTH);
	for (uint32_t i = 0; i < LAYER_RIG_DEPTH; i++) {
		assert_base(rig->paths[i], i ? rig->paths[i - 1] : NULL);
		/* Counter, devices' rings of a payload guest, two marks; the state is some 20 KiB.
		 */
		if (i > 0)
			assert_in_range(layer_rig_size(rig->paths[i]), 4096, 128 << 10);
		layer_rig_check(rig, rig->paths[i], i);
	}
}

static void test_a_header_tells_the_base(void **state)
{
	struct layer_rig *rig = *state;
	struct pv_template_info base, layer;
	layer_rig_make_chain(rig, 2);
	ok(pv_template_inspect(&base, rig->paths[0], &err));
	ok(pv_template_inspect(&layer, rig->paths[1], &err));
	assert_int_equal(strlen(base.id), 32);
	assert_string_not_equal(base.id, layer.id);
	assert_string_equal(layer.base_id, base.id);
	assert_string_equal(base.base_id, "");
	assert_int_equal(layer.memory, rig->guest->config.memory_bytes);
	pv_template_info_finish(&base);
	pv_template_info_finish(&layer);
	/* It need not be there. */
	unlink(rig->paths[0]);
	assert_base(rig->paths[1], rig->paths[0]);
	assert_int_equal(pv_template_inspect(&base, rig->paths[0], &err), -ENOENT);
	assert_non_null(strstr(err.text, rig->paths[0]));
	pv_template_info_finish(&base);
}

static void test_a_tree_may_be_moved(void **state)
{
	struct layer_rig *rig = *state;
	char folder[128], files[2][128], moved[96];
	for (unsigned i = 0; i < 2; i++) {
		snprintf(folder, sizeof(folder), "%s/%u", rig->tree, i);
		snprintf(files[i], sizeof(files[i]), "%s/%u/vm.snap", rig->tree, i);
		assert_int_equal(mkdir(folder, 0700), 0);
	}
	layer_rig_make_base(rig);
	layer_rig_make_next(rig, rig->paths[0], files[0], 1);
	layer_rig_make_next(rig, files[0], files[1], 2);
	layer_rig_check(rig, files[1], 2);
	snprintf(moved, sizeof(moved), "%s/elsewhere", rig->root);
	assert_int_equal(rename(rig->tree, moved), 0);
	snprintf(files[1], sizeof(files[1]), "%s/1/vm.snap", moved);
	layer_rig_check(rig, files[1], 2);
	snprintf(files[0], sizeof(files[0]), "%s/1/../0/vm.snap", moved);
	assert_base(files[1], files[0]);
	/* From where it is, as a name without a folder. */
	assert_int_equal(rename(moved, rig->tree), 0);
	layer_rig_make_next(rig, rig->paths[0], rig->paths[1], 1);
	char *here = getcwd(NULL, 0);
	assert_int_equal(chdir(rig->tree), 0);
	layer_rig_check(rig, "1.snap", 1);
	assert_base("1.snap", "0.snap");
	layer_rig_make_next(rig, "1.snap", "2.snap", 2);
	assert_base("2.snap", "1.snap");
	assert_int_equal(chdir(here), 0);
	free(here);
}

static void test_a_file_of_the_user_needs_no_other(void **state)
{
	struct layer_rig *rig = *state;
	char path[160];
	layer_rig_make_chain(rig, 2);
	struct pv_template *template = layer_rig_open(rig->paths[1]);
	struct pv_machine *machine = machine_restore(rig->guest, template);
	pv_template_unref(template);
	template = machine_freeze(machine);
	/* Without the wish, in the tree; with it, outside. */
	ok(pv_template_write(template, rig->paths[2], NULL, &err));
	assert_base(rig->paths[2], NULL);
	snprintf(path, sizeof(path), "%s/mine.snap", rig->root);
	layer_rig_write(rig, template, path);
	assert_base(path, NULL);
	unlink(rig->paths[0]);
	unlink(rig->paths[1]);
	layer_rig_check(rig, rig->paths[2], 1);
	layer_rig_check(rig, path, 1);
	/* What lies outside of the tree is not built on. */
	unlink(rig->paths[2]);
	layer_rig_make_next(rig, path, rig->paths[2], 2);
	assert_base(rig->paths[2], NULL);
	pv_template_unref(template);
	pv_machine_destroy(machine);
}

static void test_what_was_written_is_built_on(void **state)
{
	struct layer_rig *rig = *state;
	layer_rig_make_base(rig);
	/* The machine itself goes on: two templates in memory between its files. */
	struct pv_machine *machine = rig->guest->machine;
	for (uint32_t level = 1; level < 3; level++) {
		machine_poke(machine, LAYER_RIG_MARKS + 40960 * level, 1000 * level);
		pv_template_unref(machine_freeze(machine));
	}
	machine_poke(machine, LAYER_RIG_MARKS, 2);
	struct pv_template *template = machine_freeze(machine);
	layer_rig_write(rig, template, rig->paths[1]);
	assert_base(rig->paths[1], rig->paths[0]);
	layer_rig_check(rig, rig->paths[1], 2);
	/* The same once more holds nothing but state, however often. */
	for (unsigned i = 0; i < 12; i++)
		layer_rig_write(rig, template, rig->paths[2]);
	assert_base(rig->paths[2], rig->paths[1]);
	layer_rig_check(rig, rig->paths[2], 2);
	/* Never on itself. */
	layer_rig_write(rig, template, rig->paths[1]);
	assert_base(rig->paths[1], rig->paths[0]);
	layer_rig_check(rig, rig->paths[1], 2);
	/* Nor on what was replaced, or is gone: then on what lies below, or nothing. */
	ok(pv_template_write(template, rig->paths[0], NULL, &err));
	pv_template_unref(template);
	machine_poke(machine, LAYER_RIG_MARKS, 3);
	machine_poke(machine, LAYER_RIG_MARKS + 40960 * 3, 3000);
	template = machine_freeze(machine);
	unlink(rig->paths[0]);
	layer_rig_write(rig, template, rig->paths[3]);
	assert_base(rig->paths[3], NULL);
	layer_rig_check(rig, rig->paths[3], 3);
	pv_template_unref(template);
}

static void test_generations_of_files_have_an_end(void **state)
{
	struct layer_rig *rig = *state;
	char path[2][160];
	layer_rig_make_base(rig);
	snprintf(path[0], sizeof(path[0]), "%s", rig->paths[0]);
	unsigned whole = 0;
	for (unsigned i = 1; i < 20; i++) {
		snprintf(path[i % 2], sizeof(path[0]), "%s/g%u.snap", rig->tree, i);
		layer_rig_make_next(rig, path[(i + 1) % 2], path[i % 2], i);
		char *base = base_of(path[i % 2]);
		whole += base && strcmp(base, rig->paths[0]) == 0;
		free(base);
	}
	/* Every ninth begins anew from the first. */
	assert_int_equal(whole, 3);
	layer_rig_check(rig, path[1], 19);
}

static void test_files_may_go_while_guests_run(void **state)
{
	struct layer_rig *rig = *state;
	layer_rig_make_chain(rig, 3);
	struct pv_template *template = layer_rig_open(rig->paths[2]);
	struct pv_machine *machine = machine_restore(rig->guest, template);
	for (unsigned i = 0; i < 3; i++)
		unlink(rig->paths[i]);
	layer_rig_run(machine);
	assert_int_equal(machine_peek(machine, LAYER_RIG_MARKS), 2);
	assert_int_equal(machine_peek(machine, LAYER_RIG_MARKS + 40960), 1000);
	assert_int_equal(machine_peek(machine, LAYER_RIG_MARKS + 511 * 4096), 512);
	struct pv_machine *late = machine_restore(rig->guest, template);
	pv_template_unref(template);
	assert_int_equal(machine_peek(late, LAYER_RIG_MARKS + 20 * 4096), 2000);
	pv_machine_destroy(late);
	/* There is nothing to build on any more. */
	template = machine_freeze(machine);
	layer_rig_write(rig, template, rig->paths[3]);
	assert_base(rig->paths[3], NULL);
	pv_template_unref(template);
	pv_machine_destroy(machine);
	layer_rig_check(rig, rig->paths[3], 2);
}

/* A limit of the process, with the signal that would end it ignored. */
static void test_too_large_a_file_leaves_nothing(void **state)
{
	struct layer_rig *rig = *state;
	struct rlimit before, small;
	layer_rig_make_chain(rig, 1);
	struct pv_template *template = layer_rig_open(rig->paths[0]);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 1 << 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int code = pv_template_write(template, rig->paths[1], NULL, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(code, -EFBIG);
	assert_non_null(strstr(err.text, rig->paths[1]));
	assert_int_equal(access(rig->paths[1], F_OK), -1);
	unsigned entries = 0;
	DIR *dir = opendir(rig->tree);
	while (readdir(dir))
		entries++;
	closedir(dir);
	assert_int_equal(entries, 3);
	pv_template_unref(template);
}

/* KiB of the process's memory in [start, end), each page divided by those who share it. */
static uint64_t share_of(const void *start, const void *end)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[512];
	bool within = false;
	unsigned long long from, to, kib;
	uint64_t total = 0;
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			within = from >= (uintptr_t)start && to <= (uintptr_t)end;
		else if (within && sscanf(line, "Pss: %llu", &kib) == 1)
			total += kib;
	}
	fclose(file);
	return total;
}

static uint64_t touch_marks(const struct pv_ram *ram)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < 512; i++)
		sum += ram->host[LAYER_RIG_MARKS + 4096 * i];
	return sum;
}

/* Opens the file anew and reads the marks. */
static void map_file(struct pv_ram *ram, const char *path)
{
	struct pv_template *template = layer_rig_open(path);
	ok(pv_ram_init_private(ram, -1, template->ram, NULL, NULL, &err));
	pv_template_unref(template);
	assert_true(touch_marks(ram) > 0);
}

/* Another process that has the file mapped until it is killed. */
static pid_t start_other(const char *path, int pipes[2])
{
	pid_t other = fork();
	assert_true(other >= 0);
	if (other > 0)
		return other;
	struct pv_ram ram;
	char byte = 0;
	map_file(&ram, path);
	if (write(pipes[1], &byte, 1) != 1)
		_exit(1);
	/* Until the parent has looked. */
	pause();
	_exit(0);
}

static void test_processes_share_the_pages_of_a_file(void **state)
{
	struct layer_rig *rig = *state;
	struct pv_ram ram;
	int pipes[2];
	char byte;
	layer_rig_make_chain(rig, 2);
	assert_int_equal(pipe(pipes), 0);
	for (unsigned i = 0; i < 2; i++) {
		map_file(&ram, rig->paths[i]);
		const uint64_t alone = share_of(ram.host, ram.host + ram.size);
		assert_true(alone >= 2048);
		pid_t other = start_other(rig->paths[i], pipes);
		assert_int_equal(read(pipes[0], &byte, 1), 1);
		assert_true(touch_marks(&ram) > 0);
		const uint64_t shared = share_of(ram.host, ram.host + ram.size);
		kill(other, SIGKILL);
		assert_int_equal(waitpid(other, NULL, 0), other);
		if (shared > alone * 6 / 10)
			fail_msg("%s: %llu KiB alone, %llu with another process", rig->paths[i],
			    (unsigned long long)alone, (unsigned long long)shared);
		pv_ram_finish(&ram, NULL);
	}
	close(pipes[0]);
	close(pipes[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, layer_rig_set_up, layer_rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_five_deep),
	    TEST(test_a_header_tells_the_base),
	    TEST(test_a_tree_may_be_moved),
	    TEST(test_a_file_of_the_user_needs_no_other),
	    TEST(test_what_was_written_is_built_on),
	    TEST(test_generations_of_files_have_an_end),
	    TEST(test_files_may_go_while_guests_run),
	    TEST(test_too_large_a_file_leaves_nothing),
	    TEST(test_processes_share_the_pages_of_a_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
