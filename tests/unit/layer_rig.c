/* See layer_rig.h. */
#include "tests/unit/layer_rig.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "tests/unit/payload_guest.h"
#include "vmm/template.h"

/* Counts in memory at 0x9000 and says `.` once. */
PAYLOAD(counter, PRINT(".") "1: incl 0x1000; jmp 1b");

static struct pv_err err = PV_ERR_INIT;

int layer_rig_set_up(void **state)
{
	struct layer_rig *rig = calloc(1, sizeof(*rig));
	if (!rig || guest_set_up((void **)&rig->guest) < 0)
		return -1;
	strcpy(rig->root, "/tmp/provium-layer-XXXXXX");
	if (!mkdtemp(rig->root))
		return -1;
	snprintf(rig->tree, sizeof(rig->tree), "%s/cache", rig->root);
	if (mkdir(rig->tree, 0700) < 0)
		return -1;
	for (unsigned i = 0; i < LAYER_RIG_DEPTH; i++)
		snprintf(rig->paths[i], sizeof(rig->paths[i]), "%s/%u.snap", rig->tree, i);
	*state = rig;
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

int layer_rig_tear_down(void **state)
{
	struct layer_rig *rig = *state;
	void *guest = rig->guest;
	remove_tree(rig->root);
	int code = guest_tear_down(&guest);
	free(rig);
	return code;
}

static void ok(int code)
{
	if (code < 0)
		fail_msg("%s", err.text);
}

void layer_rig_run(struct pv_machine *machine)
{
	const uint32_t before = machine_peek(machine, PAYLOAD_COUNTER);
	machine_resume(machine);
	machine_wait_above(machine, before + 10);
	machine_pause(machine);
}

struct pv_template *layer_rig_open(const char *path)
{
	struct pv_template *template = NULL;
	ok(pv_template_open(&template, path, true, &err));
	return template;
}

void layer_rig_write(struct layer_rig *rig, const struct pv_template *template, const char *path)
{
	const struct pv_template_write options = {.layer_within = rig->tree};
	ok(pv_template_write(template, path, &options, &err));
}

void layer_rig_make_base(struct layer_rig *rig)
{
	struct guest *guest = rig->guest;
	guest_start(guest, counter, counter_end);
	guest_wait_console(guest, ".");
	machine_pause(guest->machine);
	for (uint32_t i = 0; i < 512; i++)
		machine_poke(guest->machine, LAYER_RIG_MARKS + 4096 * i, i + 1);
	struct pv_template *template = machine_freeze(guest->machine);
	layer_rig_write(rig, template, rig->paths[0]);
	pv_template_unref(template);
}

void layer_rig_make_next(struct layer_rig *rig, const char *from, const char *to, uint32_t level)
{
	struct pv_template *template = layer_rig_open(from);
	struct pv_machine *machine = machine_restore(rig->guest, template);
	pv_template_unref(template);
	layer_rig_run(machine);
	machine_poke(machine, LAYER_RIG_MARKS + 4096 * level * 10, 1000 * level);
	machine_poke(machine, LAYER_RIG_MARKS, level);
	template = machine_freeze(machine);
	layer_rig_write(rig, template, to);
	pv_template_unref(template);
	pv_machine_destroy(machine);
}

void layer_rig_make_chain(struct layer_rig *rig, unsigned depth)
{
	layer_rig_make_base(rig);
	for (unsigned i = 1; i < depth; i++)
		layer_rig_make_next(rig, rig->paths[i - 1], rig->paths[i], i);
}

void layer_rig_check(struct layer_rig *rig, const char *path, uint32_t level)
{
	struct pv_template *template = layer_rig_open(path);
	struct pv_machine *machine = machine_restore(rig->guest, template);
	pv_template_unref(template);
	assert_int_equal(machine_peek(machine, LAYER_RIG_MARKS), level ? level : 1);
	for (uint32_t i = 1; i < 512; i++) {
		bool marked = i % 10 == 0 && i / 10 <= level;
		assert_int_equal(
		    machine_peek(machine, LAYER_RIG_MARKS + 4096 * i), marked ? 100 * i : i + 1);
	}
	layer_rig_run(machine);
	machine_poke(machine, LAYER_RIG_MARKS + 4096, 77);
	ok(pv_machine_rewind(machine, &err));
	assert_int_equal(machine_peek(machine, LAYER_RIG_MARKS + 4096), 2);
	pv_machine_destroy(machine);
}

uint64_t layer_rig_size(const char *path)
{
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	return (uint64_t)status.st_size;
}
