/*
 * lab/lab_snapshot.h with real machines on payload guests: files opened and machines built by
 * several threads, what a failure takes back, and VMs in place. Payloads have no agent, so every
 * restore that makes VMs ends in one. Needs /dev/kvm. What agents and kernels make of it is shown
 * by tests/guest/lab_snapshot.test.lua.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/gmem.h"
#include "base/pack.h"
#include "lab/config.h"
#include "lab/host.h"
#include "lab/lab.h"
#include "lab/lab_snapshot.h"
#include "lab/lab_snapshot_private.h"
#include "lab/vm.h"
#include "lab/vm_private.h"
#include "tests/unit/payload_guest.h"
#include "vmm/template.h"

PAYLOAD(waiter, PRINT(".") FOREVER);

#define GUESTS 6

#define MARK_AT 0x20000u

static const char config_text[] =
    "[profiles.p]\nkernel = \"/nowhere/vmlinuz\"\ncmdline = \"quiet\"\nagent_boot_timeout = 0.01\n";

struct world {
	struct pv_config config;
	struct pv_host host;
	struct guest *guest;
	struct pv_template *template;
	struct pv_lab *lab;
	char folder[64];
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct pv_err err = PV_ERR_INIT;
	void *guest = NULL;
	assert_non_null(world);
	assert_int_equal(guest_set_up(&guest), 0);
	world->guest = guest;
	snprintf(world->folder, sizeof(world->folder), "/tmp/pv-lab-XXXXXX");
	assert_non_null(mkdtemp(world->folder));
	if (pv_config_parse(&world->config, config_text, strlen(config_text), world->folder,
		"provium.toml", &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pv_host_init(&world->host, &world->config, NULL, NULL, &err), 0);
	assert_int_equal(pv_lab_create(&world->lab, &world->host, "root", NULL, &err), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	char command[96];
	void *guest = world->guest;
	pv_lab_destroy(world->lab);
	pv_template_unref(world->template);
	pv_host_finish(&world->host);
	pv_config_finish(&world->config);
	guest_tear_down(&guest);
	snprintf(command, sizeof(command), "rm -r '%s'", world->folder);
	assert_int_equal(system(command), 0);
	free(world);
	return 0;
}

/* A template as pv_vm_save_freeze makes them. */
static void fill_template(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes section = {0};
	struct pv_pack pack = {.out = &section};
	guest_need_kvm(world->guest);
	guest_start(world->guest, waiter, waiter_end);
	if (pv_machine_pause(world->guest->machine, &err) < 0 ||
	    pv_machine_freeze(world->guest->machine, &world->template, &err) < 0)
		fail_msg("%s", err.text);
	pv_pack_map(&pack, 8);
	pv_pack_str(&pack, "version");
	pv_pack_uint(&pack, 4);
	pv_pack_str(&pack, "profile");
	pv_pack_str(&pack, "p");
	pv_pack_str(&pack, "cid");
	pv_pack_uint(&pack, 100);
	pv_pack_str(&pack, "next_id");
	pv_pack_uint(&pack, 1);
	pv_pack_str(&pack, "boot");
	pv_pack_uint(&pack, 1);
	pv_pack_str(&pack, "session");
	pv_pack_uint(&pack, 1);
	pv_pack_str(&pack, "sent");
	pv_pack_uint(&pack, 0);
	pv_pack_str(&pack, "received");
	pv_pack_uint(&pack, 0);
	assert_int_equal(
	    pv_template_set_owner(world->template, section.data, section.len, &err), 0);
	pv_bytes_finish(&section);
	assert_int_equal(pv_kvm_open(&world->host.kvm, &err), 0);
	world->host.kvm_open = true;
	/* It runs payloads, whatever it is. */
	world->host.kvm.backend = PV_KVM_UNSURE;
}

/* A saved lab of guests v0, v1, ... in the sub-lab `in`. */
static void write_directory(struct world *world)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes text = {0};
	char path[96];
	pv_bytes_printf(&text, "{\"version\":1,\"vms\":[");
	for (unsigned i = 0; i < GUESTS; i++) {
		pv_bytes_printf(&text,
		    "%s{\"path\":[\"in\",\"v%u\"],\"profile\":\"p\",\"snapshot_path\":\"%u.snap\","
		    "\"memory\":%llu,\"cpus\":%u}",
		    i ? "," : "", i, i, (unsigned long long)pv_template_memory(world->template),
		    pv_template_cpus(world->template));
		snprintf(path, sizeof(path), "%s/%u.snap", world->folder, i);
		assert_int_equal(pv_template_write(world->template, path, NULL, &err), 0);
	}
	pv_bytes_printf(&text, "]}");
	snprintf(path, sizeof(path), "%s/lab.json", world->folder);
	assert_int_equal(pv_fd_replace_file(path, text.data, text.len, 0600, &err), 0);
	pv_bytes_finish(&text);
}

static void a_failure_takes_all_back(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_lab_snapshot *snapshot;
	struct pv_lab *there;
	fill_template(world);
	write_directory(world);
	if (pv_lab_snapshot_open(&snapshot, world->folder, true, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pv_lab_snapshot_vm_count(snapshot), GUESTS);
	for (int round = 0; round < 2; round++) {
		assert_true(pv_lab_snapshot_restore(snapshot, world->lab, false, &err) < 0);
		if (!strstr(err.text, "vm `v0`: restore: agent did not come up within 10ms"))
			fail_msg("%s", err.text);
		assert_int_equal(pv_lab_sub_count(world->lab), 0);
		assert_int_equal(pv_lab_made_count(world->lab), 0);
		assert_int_equal(world->host.vm_count, 0);
	}
	/* What was there stays. */
	assert_int_equal(pv_lab_sub(world->lab, "in", &there, &err), 0);
	assert_true(pv_lab_snapshot_restore(snapshot, world->lab, false, &err) < 0);
	assert_ptr_equal(pv_lab_find_lab(world->lab, "in"), there);
	assert_int_equal(pv_lab_vm_count(there), 0);
	pv_lab_snapshot_destroy(snapshot);
}

static void a_damaged_guest_is_named(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_lab_snapshot *snapshot;
	char path[96], sentence[160];
	fill_template(world);
	write_directory(world);
	snprintf(path, sizeof(path), "%s/3.snap", world->folder);
	assert_int_equal(pv_fd_replace_file(path, "x", 1, 0600, &err), 0);
	assert_true(pv_lab_snapshot_open(&snapshot, world->folder, false, &err) < 0);
	assert_null(snapshot);
	snprintf(sentence, sizeof(sentence), "snapshot `%s`: this is no snapshot", path);
	if (!strstr(err.text, sentence))
		fail_msg("%s", err.text);
}

/* --- in place --- */

/* A VM of the lab, on a file of its own, paused and saved. */
static struct pv_vm *add_saved(
    struct world *world, struct pv_lab_snapshot *snapshot, unsigned number)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template;
	struct pv_vm *vm;
	char name[16], path[96];
	snprintf(name, sizeof(name), "v%u", number);
	snprintf(path, sizeof(path), "%s/%u.snap", world->folder, number);
	if (pv_template_write(world->template, path, NULL, &err) < 0 ||
	    pv_template_open(&template, path, false, &err) < 0 ||
	    pv_lab_add_vm(world->lab, name, "p", NULL, &vm, &err) < 0)
		fail_msg("%s", err.text);
	vm->adopt.next_id = 1;
	vm->agent_wait_ns = 1;
	if (pv_vm_restore_machine(vm, template, false, &err) < 0)
		fail_msg("%s", err.text);
	vm->state = PV_VM_PAUSED;
	assert_int_equal(pv_lab_index_add_vm(&snapshot->index, name, 0, SIZE_MAX, &err), 0);
	struct pv_lab_guest *guest = &snapshot->guests[number];
	guest->template = template;
	assert_int_equal(pv_vm_baseline_create(&guest->baseline, vm, template, &err), 0);
	return vm;
}

static void set_mark(const struct pv_vm *vm)
{
	assert_int_equal(pv_gmem_write(pv_machine_memory(vm->machine), MARK_AT, "mark", 4), 0);
}

static bool has_mark(const struct pv_vm *vm)
{
	char mark[4];
	assert_int_equal(pv_gmem_read(pv_machine_memory(vm->machine), MARK_AT, mark, 4), 0);
	return memcmp(mark, "mark", 4) == 0;
}

/*
 * One goes back in place, one was saved again since, one has no machine any more, and of the last
 * one the file is damaged: as long as it is, nobody is touched.
 */
static void all_in_place_go_back_or_none(void **state)
{
	struct world *world = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *later;
	struct stat info;
	char path[96];
	fill_template(world);
	struct pv_lab_snapshot *snapshot = pv_lab_snapshot_new(&err);
	assert_non_null(snapshot);
	assert_int_equal(pv_lab_index_add_lab(&snapshot->index, "root", 0, SIZE_MAX, &err), 0);
	snapshot->guests = calloc(4, sizeof(*snapshot->guests));
	struct pv_vm *vms[4];
	for (unsigned i = 0; i < 4; i++)
		vms[i] = add_saved(world, snapshot, i);
	set_mark(vms[0]);
	set_mark(vms[1]);
	assert_int_equal(pv_machine_freeze(vms[1]->machine, &later, &err), 0);
	pv_template_unref(later);
	pv_vm_shutdown(vms[2]);
	snprintf(path, sizeof(path), "%s/3.snap", world->folder);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, info.st_size / 2), 0);

	assert_true(pv_lab_snapshot_restore(snapshot, world->lab, false, &err) < 0);
	if (!strstr(err.text, "vm `v3`: cannot go back to its baseline: ") ||
	    !strstr(err.text, "cut short") || !strstr(err.text, "; nothing was changed"))
		fail_msg("%s", err.text);
	assert_int_equal(pv_vm_state(vms[0]), PV_VM_PAUSED);
	assert_int_equal(pv_vm_state(vms[1]), PV_VM_PAUSED);
	assert_int_equal(pv_vm_state(vms[2]), PV_VM_SHUTDOWN);
	assert_int_equal(pv_vm_state(vms[3]), PV_VM_PAUSED);
	assert_true(has_mark(vms[0]));
	assert_true(has_mark(vms[1]));
	assert_null(vms[2]->machine);

	/* And then all do. */
	assert_int_equal(truncate(path, info.st_size), 0);
	if (pv_lab_snapshot_restore(snapshot, world->lab, false, &err) < 0)
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pv_vm_state(vms[i]), PV_VM_BOOTED);
		assert_false(has_mark(vms[i]));
	}
	pv_lab_snapshot_destroy(snapshot);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_failure_takes_all_back),
	    TEST(a_damaged_guest_is_named),
	    TEST(all_in_place_go_back_or_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
