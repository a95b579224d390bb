/* Snapshot files that build on others: small, movable, refused when the other one is not what it
 * was, and as good as a whole one otherwise. Needs /dev/kvm. */
#include "vmm/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
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

#include "base/clock.h"
#include "base/err.h"
#include "base/gmem.h"
#include "base/hash.h"
#include "payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template_header.h"
#include "vmm/template_private.h"

#define COUNTER 0x9000u
#define MARKS	0x200000u
#define DEPTH	5

/* Counts in memory at 0x9000 and says `.` once. */
PAYLOAD(counter, PRINT(".") "1: incl 0x1000; jmp 1b");

struct world {
	struct guest *guest;
	char root[64]; /* holds `tree` and files outside of it */
	char tree[80]; /* the cache */
	char paths[DEPTH][128];
};

static struct pv_err err = PV_ERR_INIT;

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	if (!world || guest_set_up((void **)&world->guest) < 0)
		return -1;
	strcpy(world->root, "/tmp/provium-layer-XXXXXX");
	if (!mkdtemp(world->root))
		return -1;
	snprintf(world->tree, sizeof(world->tree), "%s/cache", world->root);
	if (mkdir(world->tree, 0700) < 0)
		return -1;
	for (unsigned i = 0; i < DEPTH; i++)
		snprintf(world->paths[i], sizeof(world->paths[i]), "%s/%u.snap", world->tree, i);
	*state = world;
	return 0;
}

static void remove_tree(const char *path)
{
	char name[512];
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) < 0)
			remove_tree(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static int tear_down(void **state)
{
	struct world *world = *state;
	void *guest = world->guest;
	remove_tree(world->root);
	int code = guest_tear_down(&guest);
	free(world);
	return code;
}

static void ok(int code)
{
	if (code < 0)
		fail_msg("%s", err.text);
}

static uint32_t peek(struct pv_machine *machine, uint64_t gpa)
{
	uint32_t value = 0;
	ok(pv_gmem_read(pv_machine_memory(machine), gpa, &value, 4));
	return value;
}

static void poke(struct pv_machine *machine, uint64_t gpa, uint32_t value)
{
	ok(pv_gmem_write(pv_machine_memory(machine), gpa, &value, 4));
}

static void run_for_a_moment(struct pv_machine *machine)
{
	const uint32_t before = peek(machine, COUNTER);
	const int64_t deadline = pv_clock_deadline(60 * PV_CLOCK_SECOND);
	ok(pv_machine_resume(machine, &err));
	while (peek(machine, COUNTER) <= before + 10) {
		assert_true(pv_clock_now() < deadline);
		poll(NULL, 0, 1);
	}
	ok(pv_machine_pause(machine, &err));
}

static struct pv_template *open_file(const char *path)
{
	struct pv_template *template = NULL;
	ok(pv_template_open(&template, path, true, &err));
	return template;
}

static struct pv_machine *restore(struct world *world, struct pv_template *template)
{
	struct pv_machine *machine = NULL;
	const struct pv_machine_restore options = {.boot = &world->guest->config};
	ok(pv_machine_restore(
	    &machine, &world->guest->kvm, world->guest->loop, template, &options, &err));
	return machine;
}

static struct pv_template *freeze(struct pv_machine *machine)
{
	struct pv_template *template = NULL;
	ok(pv_machine_freeze(machine, &template, &err));
	return template;
}

static void write_layer(struct world *world, const struct pv_template *template, const char *path)
{
	const struct pv_template_write options = {.layer_within = world->tree};
	ok(pv_template_write(template, path, &options, &err));
}

/* The template of a machine with 2 MiB of marks, written as the first file. */
static void make_base(struct world *world)
{
	struct guest *guest = world->guest;
	guest_start(guest, counter, counter_end);
	guest_wait_console(guest, ".");
	ok(pv_machine_pause(guest->machine, &err));
	for (uint32_t i = 0; i < 512; i++)
		poke(guest->machine, MARKS + 4096 * i, i + 1);
	struct pv_template *template = freeze(guest->machine);
	write_layer(world, template, world->paths[0]);
	pv_template_unref(template);
}

/* Restores one file, lets the guest run and make mark number `level`, writes the next. */
static void make_next(struct world *world, const char *from, const char *to, uint32_t level)
{
	struct pv_template *template = open_file(from);
	struct pv_machine *machine = restore(world, template);
	pv_template_unref(template);
	run_for_a_moment(machine);
	poke(machine, MARKS + 4096 * level * 10, 1000 * level);
	poke(machine, MARKS, level);
	template = freeze(machine);
	write_layer(world, template, to);
	pv_template_unref(template);
	pv_machine_destroy(machine);
}

static void make_chain(struct world *world, unsigned depth)
{
	make_base(world);
	for (unsigned i = 1; i < depth; i++)
		make_next(world, world->paths[i - 1], world->paths[i], i);
}

static void check_marks(struct world *world, const char *path, uint32_t level)
{
	struct pv_template *template = open_file(path);
	struct pv_machine *machine = restore(world, template);
	pv_template_unref(template);
	assert_int_equal(peek(machine, MARKS), level ? level : 1);
	for (uint32_t i = 1; i < 512; i++) {
		bool marked = i % 10 == 0 && i / 10 <= level;
		assert_int_equal(peek(machine, MARKS + 4096 * i), marked ? 100 * i : i + 1);
	}
	run_for_a_moment(machine);
	poke(machine, MARKS + 4096, 77);
	ok(pv_machine_rewind(machine, &err));
	assert_int_equal(peek(machine, MARKS + 4096), 2);
	pv_machine_destroy(machine);
}

static void refuse(const char *path, int code, const char *text)
{
	struct pv_template *template = NULL;
	int got = pv_template_open(&template, path, true, &err);
	assert_null(template);
	assert_non_null(strstr(err.text, path));
	if (!strstr(err.text, text) || got != code)
		fail_msg("`%s` (%d) does not say `%s` (%d)", err.text, got, text, code);
}

static uint64_t size_of(const char *path)
{
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	return (uint64_t)status.st_size;
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
	struct world *world = *state;
	make_chain(world, DEPTH);
	for (uint32_t i = 0; i < DEPTH; i++) {
		assert_base(world->paths[i], i ? world->paths[i - 1] : NULL);
		/* Counter, devices' rings of a payload guest, two marks; the state is some 20 KiB.
		 */
		if (i > 0)
			assert_in_range(size_of(world->paths[i]), 4096, 128 << 10);
		check_marks(world, world->paths[i], i);
	}
}

static void test_a_header_tells_the_base(void **state)
{
	struct world *world = *state;
	struct pv_template_info base, layer;
	make_chain(world, 2);
	ok(pv_template_inspect(&base, world->paths[0], &err));
	ok(pv_template_inspect(&layer, world->paths[1], &err));
	assert_int_equal(strlen(base.id), 32);
	assert_string_not_equal(base.id, layer.id);
	assert_string_equal(layer.base_id, base.id);
	assert_string_equal(base.base_id, "");
	assert_int_equal(layer.memory, world->guest->config.memory_bytes);
	pv_template_info_finish(&base);
	pv_template_info_finish(&layer);
	/* It need not be there. */
	unlink(world->paths[0]);
	assert_base(world->paths[1], world->paths[0]);
	assert_int_equal(pv_template_inspect(&base, world->paths[0], &err), -ENOENT);
	assert_non_null(strstr(err.text, world->paths[0]));
	pv_template_info_finish(&base);
}

static void test_a_tree_may_be_moved(void **state)
{
	struct world *world = *state;
	char folder[128], files[2][128], moved[96];
	for (unsigned i = 0; i < 2; i++) {
		snprintf(folder, sizeof(folder), "%s/%u", world->tree, i);
		snprintf(files[i], sizeof(files[i]), "%s/%u/vm.snap", world->tree, i);
		assert_int_equal(mkdir(folder, 0700), 0);
	}
	make_base(world);
	make_next(world, world->paths[0], files[0], 1);
	make_next(world, files[0], files[1], 2);
	check_marks(world, files[1], 2);
	snprintf(moved, sizeof(moved), "%s/elsewhere", world->root);
	assert_int_equal(rename(world->tree, moved), 0);
	snprintf(files[1], sizeof(files[1]), "%s/1/vm.snap", moved);
	check_marks(world, files[1], 2);
	snprintf(files[0], sizeof(files[0]), "%s/1/../0/vm.snap", moved);
	assert_base(files[1], files[0]);
	/* From where it is, as a name without a folder. */
	assert_int_equal(rename(moved, world->tree), 0);
	make_next(world, world->paths[0], world->paths[1], 1);
	char *here = getcwd(NULL, 0);
	assert_int_equal(chdir(world->tree), 0);
	check_marks(world, "1.snap", 1);
	assert_base("1.snap", "0.snap");
	make_next(world, "1.snap", "2.snap", 2);
	assert_base("2.snap", "1.snap");
	assert_int_equal(chdir(here), 0);
	free(here);
}

static void test_a_base_that_is_not_what_it_was_is_refused(void **state)
{
	struct world *world = *state;
	char text[512], aside[160];
	make_chain(world, 3);
	snprintf(aside, sizeof(aside), "%s/aside", world->root);
	assert_int_equal(rename(world->paths[0], aside), 0);
	snprintf(text, sizeof(text),
	    "snapshot `%s` builds on `%s`, which is missing; build it again", world->paths[1],
	    world->paths[0]);
	refuse(world->paths[1], -ENOENT, text);
	refuse(world->paths[2], -ENOENT, text);
	/* A snapshot of the same guest, but another one. */
	struct pv_template *other = freeze(world->guest->machine);
	ok(pv_template_write(other, world->paths[0], NULL, &err));
	pv_template_unref(other);
	snprintf(text, sizeof(text),
	    "snapshot `%s` builds on `%s`, which is another file now; build it again",
	    world->paths[1], world->paths[0]);
	refuse(world->paths[1], -ESTALE, text);
	refuse(world->paths[2], -ESTALE, text);
	/* Damaged, cut, something else, a folder. */
	assert_int_equal(rename(aside, world->paths[0]), 0);
	assert_int_equal(chmod(world->paths[0], 0600), 0);
	int fd = open(world->paths[0], O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, (2 << 20) + MARKS + 5), 1);
	refuse(world->paths[2], -EBADMSG, "its memory is damaged at offset 0x200000");
	assert_int_equal(pwrite(fd, "\0", 1, (2 << 20) + MARKS + 5), 1);
	pv_template_unref(open_file(world->paths[2]));
	assert_int_equal(ftruncate(fd, (off_t)size_of(world->paths[0]) - 1), 0);
	refuse(world->paths[2], -EBADMSG, "it is cut short, ");
	assert_int_equal(ftruncate(fd, 100), 0);
	refuse(world->paths[1], -EBADMSG, "within its header");
	close(fd);
	unlink(world->paths[0]);
	assert_int_equal(mkdir(world->paths[0], 0700), 0);
	refuse(world->paths[1], -EINVAL, "not a regular file");
}

static void test_a_file_of_the_user_needs_no_other(void **state)
{
	struct world *world = *state;
	char path[160];
	make_chain(world, 2);
	struct pv_template *template = open_file(world->paths[1]);
	struct pv_machine *machine = restore(world, template);
	pv_template_unref(template);
	template = freeze(machine);
	/* Without the wish, in the tree; with it, outside. */
	ok(pv_template_write(template, world->paths[2], NULL, &err));
	assert_base(world->paths[2], NULL);
	snprintf(path, sizeof(path), "%s/mine.snap", world->root);
	write_layer(world, template, path);
	assert_base(path, NULL);
	unlink(world->paths[0]);
	unlink(world->paths[1]);
	check_marks(world, world->paths[2], 1);
	check_marks(world, path, 1);
	/* What lies outside of the tree is not built on. */
	unlink(world->paths[2]);
	make_next(world, path, world->paths[2], 2);
	assert_base(world->paths[2], NULL);
	pv_template_unref(template);
	pv_machine_destroy(machine);
}

static void test_what_was_written_is_built_on(void **state)
{
	struct world *world = *state;
	make_base(world);
	/* The machine itself goes on: two templates in memory between its files. */
	struct pv_machine *machine = world->guest->machine;
	for (uint32_t level = 1; level < 3; level++) {
		poke(machine, MARKS + 40960 * level, 1000 * level);
		pv_template_unref(freeze(machine));
	}
	poke(machine, MARKS, 2);
	struct pv_template *template = freeze(machine);
	write_layer(world, template, world->paths[1]);
	assert_base(world->paths[1], world->paths[0]);
	check_marks(world, world->paths[1], 2);
	/* The same once more holds nothing but state, however often. */
	for (unsigned i = 0; i < 12; i++)
		write_layer(world, template, world->paths[2]);
	assert_base(world->paths[2], world->paths[1]);
	check_marks(world, world->paths[2], 2);
	/* Never on itself. */
	write_layer(world, template, world->paths[1]);
	assert_base(world->paths[1], world->paths[0]);
	check_marks(world, world->paths[1], 2);
	/* Nor on what was replaced, or is gone: then on what lies below, or nothing. */
	ok(pv_template_write(template, world->paths[0], NULL, &err));
	pv_template_unref(template);
	poke(machine, MARKS, 3);
	poke(machine, MARKS + 40960 * 3, 3000);
	template = freeze(machine);
	unlink(world->paths[0]);
	write_layer(world, template, world->paths[3]);
	assert_base(world->paths[3], NULL);
	check_marks(world, world->paths[3], 3);
	pv_template_unref(template);
}

static void test_generations_of_files_have_an_end(void **state)
{
	struct world *world = *state;
	char path[2][160];
	make_base(world);
	snprintf(path[0], sizeof(path[0]), "%s", world->paths[0]);
	unsigned whole = 0;
	for (unsigned i = 1; i < 20; i++) {
		snprintf(path[i % 2], sizeof(path[0]), "%s/g%u.snap", world->tree, i);
		make_next(world, path[(i + 1) % 2], path[i % 2], i);
		char *base = base_of(path[i % 2]);
		whole += base && strcmp(base, world->paths[0]) == 0;
		free(base);
	}
	/* Every ninth begins anew from the first. */
	assert_int_equal(whole, 3);
	check_marks(world, path[1], 19);
}

static void test_cut_layers_are_refused(void **state)
{
	struct world *world = *state;
	make_chain(world, 2);
	const char *path = world->paths[1];
	assert_int_equal(chmod(path, 0600), 0);
	for (uint64_t size = size_of(path) & ~UINT64_C(4095); size > 4096; size -= 4096) {
		assert_int_equal(truncate(path, (off_t)size), 0);
		refuse(path, -EBADMSG, "it is cut short, ");
	}
	assert_int_equal(truncate(path, 4096), 0);
	refuse(path, -EBADMSG, "it is cut short, ");
	assert_int_equal(truncate(path, 4000), 0);
	refuse(path, -EBADMSG, "within its header");
}

static void test_every_byte_of_a_layer_counts(void **state)
{
	struct world *world = *state;
	uint8_t byte;
	make_chain(world, 2);
	const char *path = world->paths[1];
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	const uint64_t size = size_of(path);
	for (uint64_t at = 0; at < size; at += at < 400 ? 1 : 37) {
		assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
		const uint8_t flipped = byte ^ (uint8_t)(1u << at % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
		refuse(path, -EBADMSG, at < 8 ? "no snapshot" : "damaged");
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	}
	close(fd);
	check_marks(world, path, 1);
}

/* Lies about the base, with a right checksum. */
static void test_names_of_bases_are_checked(void **state)
{
	struct world *world = *state;
	struct pv_template_header header, good;
	make_chain(world, 2);
	const char *path = world->paths[1];
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ok(pv_template_header_read(&good, fd, path, &err));
	static const struct {
		const char *name;
		int code;
		const char *text;
	} names[] = {
	    {"/etc/passwd",		    -EBADMSG, "contradicts itself"	  },
	    {"",			     -EBADMSG, "contradicts itself"       },
	    {"1.snap",		       -ESTALE,	"which is another file now"},
	    {"../../../../../../etc/passwd", -EBADMSG, "this is no snapshot"	    },
	    {"../../../../../../dev/zero",   -EINVAL,  "not a regular file"	},
	    {"0.snap/x",			 -ENOENT,  "which is missing"	    },
	};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		header = good;
		memset(header.base_name, 0, sizeof(header.base_name));
		strcpy(header.base_name, names[i].name);
		pv_template_header_seal(&header);
		assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
		refuse(path, names[i].code, names[i].text);
	}
	header = good;
	memset(header.base_name, 'x', sizeof(header.base_name));
	pv_template_header_seal(&header);
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	refuse(path, -EBADMSG, "contradicts itself");
	assert_int_equal(pwrite(fd, &good, sizeof(good), 0), sizeof(good));
	close(fd);
	check_marks(world, path, 1);
}

static void test_files_may_go_while_guests_run(void **state)
{
	struct world *world = *state;
	make_chain(world, 3);
	struct pv_template *template = open_file(world->paths[2]);
	struct pv_machine *machine = restore(world, template);
	for (unsigned i = 0; i < 3; i++)
		unlink(world->paths[i]);
	run_for_a_moment(machine);
	assert_int_equal(peek(machine, MARKS), 2);
	assert_int_equal(peek(machine, MARKS + 40960), 1000);
	assert_int_equal(peek(machine, MARKS + 511 * 4096), 512);
	struct pv_machine *late = restore(world, template);
	pv_template_unref(template);
	assert_int_equal(peek(late, MARKS + 20 * 4096), 2000);
	pv_machine_destroy(late);
	/* There is nothing to build on any more. */
	template = freeze(machine);
	write_layer(world, template, world->paths[3]);
	assert_base(world->paths[3], NULL);
	pv_template_unref(template);
	pv_machine_destroy(machine);
	check_marks(world, world->paths[3], 2);
}

static void test_a_base_that_was_cut_since_is_refused(void **state)
{
	struct world *world = *state;
	struct pv_machine *machine = NULL;
	const struct pv_machine_restore options = {.boot = &world->guest->config};
	make_chain(world, 2);
	struct pv_template *template = open_file(world->paths[1]);
	assert_int_equal(chmod(world->paths[0], 0600), 0);
	assert_int_equal(truncate(world->paths[0], 1 << 20), 0);
	assert_int_equal(pv_machine_restore(&machine, &world->guest->kvm, world->guest->loop,
			     template, &options, &err),
	    -EBADMSG);
	assert_non_null(strstr(err.text, "was cut short to 1048576 bytes since it was opened"));
	assert_non_null(strstr(err.text, world->paths[1]));
	pv_template_unref(template);
}

/* A limit of the process, with the signal that would end it ignored. */
static void test_too_large_a_file_leaves_nothing(void **state)
{
	struct world *world = *state;
	struct rlimit before, small;
	make_chain(world, 1);
	struct pv_template *template = open_file(world->paths[0]);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 1 << 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int code = pv_template_write(template, world->paths[1], NULL, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(code, -EFBIG);
	assert_non_null(strstr(err.text, world->paths[1]));
	assert_int_equal(access(world->paths[1], F_OK), -1);
	unsigned entries = 0;
	DIR *dir = opendir(world->tree);
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
		sum += ram->host[MARKS + 4096 * i];
	return sum;
}

/* Opens the file anew and reads the marks. */
static void map_file(struct pv_ram *ram, const char *path)
{
	struct pv_template *template = open_file(path);
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
	struct world *world = *state;
	struct pv_ram ram;
	int pipes[2];
	char byte;
	make_chain(world, 2);
	assert_int_equal(pipe(pipes), 0);
	for (unsigned i = 0; i < 2; i++) {
		map_file(&ram, world->paths[i]);
		const uint64_t alone = share_of(ram.host, ram.host + ram.size);
		assert_true(alone >= 2048);
		pid_t other = start_other(world->paths[i], pipes);
		assert_int_equal(read(pipes[0], &byte, 1), 1);
		assert_true(touch_marks(&ram) > 0);
		const uint64_t shared = share_of(ram.host, ram.host + ram.size);
		kill(other, SIGKILL);
		assert_int_equal(waitpid(other, NULL, 0), other);
		if (shared > alone * 6 / 10)
			fail_msg("%s: %llu KiB alone, %llu with another process", world->paths[i],
			    (unsigned long long)alone, (unsigned long long)shared);
		pv_ram_finish(&ram, NULL);
	}
	close(pipes[0]);
	close(pipes[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_five_deep),
	    TEST(test_a_header_tells_the_base),
	    TEST(test_a_tree_may_be_moved),
	    TEST(test_a_base_that_is_not_what_it_was_is_refused),
	    TEST(test_a_file_of_the_user_needs_no_other),
	    TEST(test_what_was_written_is_built_on),
	    TEST(test_generations_of_files_have_an_end),
	    TEST(test_cut_layers_are_refused),
	    TEST(test_every_byte_of_a_layer_counts),
	    TEST(test_names_of_bases_are_checked),
	    TEST(test_files_may_go_while_guests_run),
	    TEST(test_a_base_that_was_cut_since_is_refused),
	    TEST(test_too_large_a_file_leaves_nothing),
	    TEST(test_processes_share_the_pages_of_a_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
