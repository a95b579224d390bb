/*
 * lab/snapshot.h on a payload guest, and what a VM makes of files whose section about it is wrong.
 * Needs /dev/kvm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "base/pack.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lab/profile.h"
#include "lab/snapshot.h"
#include "lab/vm.h"
#include "tests/unit/payload_guest.h"
#include "vmm/template.h"

PAYLOAD(waiter, PRINT(".") FOREVER);

struct world {
	struct guest *guest;
	struct pv_template *template;
	char folder[64];
	char path[96];
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	void *guest = NULL;
	assert_int_equal(guest_set_up(&guest), 0);
	world->guest = guest;
	snprintf(world->folder, sizeof(world->folder), "/tmp/pv-snapshot-XXXXXX");
	assert_non_null(mkdtemp(world->folder));
	snprintf(world->path, sizeof(world->path), "%s/a.snap", world->folder);
	setenv("TMPDIR", world->folder, 1);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	void *guest = world->guest;
	pv_template_unref(world->template);
	guest_tear_down(&guest);
	unlink(world->path);
	assert_int_equal(rmdir(world->folder), 0); /* nothing was left in it */
	free(world);
	return 0;
}

static void freeze(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	guest_need_kvm(world->guest);
	guest_start(world->guest, waiter, waiter_end);
	if (pv_machine_pause(world->guest->machine, &err) < 0 ||
	    pv_machine_freeze(world->guest->machine, &world->template, &err) < 0)
		fail_msg("%s", err.text);
}

static bool is_empty(const char *folder)
{
	unsigned count = 0;
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count == 2;
}

static void one_in_memory_has_a_nameless_file(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_snapshot *snapshot;
	struct pv_template *opened;
	const char *path;
	uint64_t size;
	freeze(world);
	assert_int_equal(pv_snapshot_create_memory(&snapshot, world->template, &err), 0);
	assert_int_equal(pv_snapshot_open(snapshot, &opened, &err), 0);
	assert_ptr_equal(opened, world->template);
	pv_template_unref(opened);
	assert_int_equal(pv_snapshot_path(snapshot, &path, &err), 0);
	assert_true(is_empty(world->folder));
	assert_int_equal(pv_snapshot_size(snapshot, &size, &err), 0);
	assert_true(size > pv_template_memory(world->template));
	assert_int_equal(pv_template_open(&opened, path, true, &err), 0);
	assert_int_equal(pv_template_memory(opened), pv_template_memory(world->template));
	pv_template_unref(opened);
	assert_int_equal(pv_snapshot_delete(snapshot, &err), 0);
	assert_int_equal(pv_snapshot_delete(snapshot, &err), 0);
	assert_int_equal(pv_snapshot_size(snapshot, &size, &err), 0);
	assert_int_equal(size, 0);
	assert_int_equal(pv_snapshot_open(snapshot, &opened, &err), -ENOENT);
	assert_non_null(strstr(err.text, "it was deleted; take a new one"));
	pv_snapshot_destroy(snapshot);
}

static void one_with_a_path_is_that_file(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_snapshot *snapshot;
	struct pv_template *opened;
	const char *path;
	uint64_t size;
	struct stat info;
	freeze(world);
	assert_int_equal(
	    pv_snapshot_create_file(&snapshot, world->template, "/nowhere/x", &err), -ENOENT);
	assert_null(snapshot);
	assert_int_equal(pv_snapshot_create_file(&snapshot, world->template, world->path, &err), 0);
	assert_int_equal(pv_snapshot_path(snapshot, &path, &err), 0);
	assert_string_equal(path, world->path);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(pv_snapshot_size(snapshot, &size, &err), 0);
	assert_int_equal(size, info.st_size);
	assert_int_equal(pv_snapshot_open(snapshot, &opened, &err), 0);
	pv_template_unref(opened);
	unlink(path);
	assert_int_equal(pv_snapshot_size(snapshot, &size, &err), 0);
	assert_int_equal(size, 0);
	assert_int_equal(pv_snapshot_open(snapshot, &opened, &err), -ENOENT);
	assert_int_equal(pv_snapshot_delete(snapshot, &err), 0);
	pv_snapshot_destroy(snapshot);
}

/* Restores the file, changes a byte of the guest's memory, and keeps that in memory. */
static struct pv_snapshot *go_on_from(struct world *world, const char *path)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	struct pv_machine *machine = NULL;
	struct pv_snapshot *snapshot = NULL;
	const struct pv_machine_restore options = {.boot = &world->guest->config};
	int code = pv_template_open(&template, path, true, &err);
	if (!code)
		code = pv_machine_restore(
		    &machine, &world->guest->kvm, world->guest->loop, template, &options, &err);
	pv_template_unref(template);
	if (!code) {
		pv_gmem_write(pv_machine_memory(machine), 0x30000, "x", 1);
		code = pv_machine_freeze(machine, &template, &err);
	}
	if (!code)
		code = pv_snapshot_create_memory(&snapshot, template, &err);
	if (code)
		fail_msg("%s", err.text);
	pv_template_unref(template);
	pv_machine_destroy(machine);
	return snapshot;
}

static void a_cache_gets_layers_and_a_user_whole_files(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_snapshot *base, *next;
	struct pv_template_info info;
	struct pv_template *opened;
	char layer[128];
	const char *path;
	uint64_t size;
	snprintf(layer, sizeof(layer), "%s/b.snap", world->folder);
	freeze(world);
	assert_int_equal(pv_snapshot_create_memory(&base, world->template, &err), 0);
	assert_int_equal(pv_snapshot_write_layer(base, world->path, world->folder, &err), 0);
	pv_snapshot_destroy(base);
	assert_int_equal(pv_template_inspect(&info, world->path, &err), 0);
	assert_null(info.base);
	next = go_on_from(world, world->path);
	assert_int_equal(pv_snapshot_write_layer(next, layer, world->folder, &err), 0);
	assert_int_equal(pv_template_inspect(&info, layer, &err), 0);
	assert_string_equal(info.base, world->path);
	pv_template_info_finish(&info);
	/* The path that a script sees is a whole file all the same. */
	assert_int_equal(pv_snapshot_size(next, &size, &err), 0);
	assert_true(size > pv_template_memory(world->template));
	assert_int_equal(pv_snapshot_path(next, &path, &err), 0);
	assert_int_equal(pv_template_inspect(&info, path, &err), 0);
	assert_null(info.base);
	pv_snapshot_destroy(next);
	assert_int_equal(pv_template_open(&opened, layer, true, &err), 0);
	pv_template_unref(opened);
	/* One that is a file is not written again. */
	assert_int_equal(pv_snapshot_create_file(&base, world->template, world->path, &err), 0);
	assert_int_equal(pv_snapshot_write_layer(base, layer, world->folder, &err), -EINVAL);
	pv_snapshot_destroy(base);
	assert_int_equal(pv_template_open(&opened, layer, false, &err), -ESTALE);
	unlink(layer);
}

/* Restores a file with this section and expects the sentence. NULL `profile` packs none. */
static void check_section(struct world *world, struct pv_vm *vm, uint64_t version,
    const char *profile, uint64_t cid, const char *sentence)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes section = {0};
	struct pv_pack pack = {.out = &section};
	pv_pack_map(&pack, 3);
	pv_pack_str(&pack, "version");
	pv_pack_uint(&pack, version);
	pv_pack_str(&pack, "profile");
	pv_pack_str(&pack, profile);
	pv_pack_str(&pack, "cid");
	pv_pack_uint(&pack, cid);
	assert_int_equal(
	    pv_template_set_owner(world->template, section.data, section.len, &err), 0);
	pv_bytes_finish(&section);
	assert_int_equal(pv_template_write(world->template, world->path, NULL, &err), 0);
	assert_true(pv_vm_restore_file(vm, world->path, false, &err) < 0);
	if (!strstr(err.text, "vm `v`: cannot restore: ") || !strstr(err.text, sentence))
		fail_msg("%s", err.text);
	assert_int_equal(pv_vm_state(vm), PV_VM_CREATED);
}

static void a_wrong_section_is_refused_and_the_vm_stays(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_config config = {0};
	struct pv_profile profile = {.name = (char *)"p", .agent_boot_timeout = 1};
	struct pv_host host;
	struct pv_vm *vm;
	freeze(world);
	assert_int_equal(pv_host_init(&host, &config, NULL, NULL, &err), 0);
	assert_int_equal(pv_vm_create(&vm, &host, "v", &profile, NULL, &err), 0);
	assert_int_equal(pv_template_write(world->template, world->path, NULL, &err), 0);
	assert_true(pv_vm_restore_file(vm, world->path, false, &err) < 0);
	assert_string_equal(err.text, "vm `v`: cannot restore: the snapshot was not taken by "
				      "vm:snapshot(), or is damaged; make it anew");
	check_section(world, vm, 3, "p", 3, "has version 3, and this provium reads version 4");
	check_section(world, vm, 4, NULL, 3, "part about the VM is damaged");
	check_section(world, vm, 4, "p", 2, "part about the VM is damaged");
	check_section(world, vm, 4, "p", UINT64_C(1) << 32, "part about the VM is damaged");
	check_section(world, vm, 4, "p", 3, "part about the VM is damaged"); /* no next_id */
	assert_int_equal(pv_vm_snapshot(vm, NULL, &(struct pv_snapshot *){NULL}, &err), -EBADFD);
	assert_string_equal(err.text, "vm `v` not booted (cannot snapshot)");
	pv_vm_shutdown(vm);
	assert_int_equal(pv_vm_restore_file(vm, "/nowhere", false, &err), -ENOENT);
	assert_int_equal(pv_vm_state(vm), PV_VM_SHUTDOWN);
	pv_vm_unref(vm);
	pv_host_finish(&host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_in_memory_has_a_nameless_file),
	    TEST(one_with_a_path_is_that_file),
	    TEST(a_cache_gets_layers_and_a_user_whole_files),
	    TEST(a_wrong_section_is_refused_and_the_vm_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
