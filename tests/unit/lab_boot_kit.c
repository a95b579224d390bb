/* Kits of what guests boot: files are held from the start, read when they are needed, and a kit
 * that cannot be had says why each time. Needs no KVM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "kernel_files.h"
#include "lab/boot_kit.h"
#include "lab/host.h"
#include "lab/options.h"
#include "lab/profile.h"
#include "vmm/machine.h"

static char profile_name[] = "p", cmdline[] = "quiet";

struct fixture {
	char folder[64];
	char kernel[128];
	char initrd[128];
	struct pv_profile profile;
	struct pv_options options;
	struct pv_config config;
	struct pv_host host;
};

static void put(const char *path, const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_fd_replace_file(path, data, len, 0644, &err), 0);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes elf = {0};
	unsetenv("PROVIUM_OVERLAY");
	strcpy(fixture->folder, "/tmp/pv-boot-kit-XXXXXX");
	if (!mkdtemp(fixture->folder))
		return -1;
	setenv("XDG_CACHE_HOME", fixture->folder, 1);
	snprintf(fixture->kernel, sizeof(fixture->kernel), "%s/kernel", fixture->folder);
	snprintf(fixture->initrd, sizeof(fixture->initrd), "%s/initrd", fixture->folder);
	make_tiny_elf(&elf);
	put(fixture->kernel, elf.data, elf.len);
	put(fixture->initrd, "the archive", 11);
	pv_bytes_finish(&elf);
	fixture->profile = (struct pv_profile){.name = profile_name,
	    .kernel = fixture->kernel,
	    .initrd = fixture->initrd,
	    .cmdline = cmdline};
	*state = fixture;
	return pv_host_init(&fixture->host, &fixture->config, NULL, NULL, &err);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char command[100];
	pv_host_finish(&fixture->host);
	snprintf(command, sizeof(command), "rm -rf '%s'", fixture->folder);
	free(fixture);
	return system(command);
}

static struct pv_boot_kit *make_kit(struct fixture *fixture)
{
	struct pv_boot_kit *kit;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(
	    pv_boot_kit_create(&kit, &fixture->host, &fixture->profile, &fixture->options, &err),
	    0);
	return kit;
}

static void check_kit(struct pv_boot_kit *kit)
{
	struct pv_machine_boot boot = {0};
	struct pv_err err = PV_ERR_INIT;
	if (pv_boot_kit_get(kit, &boot, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(boot.kernel->entry_pvh, TINY_PVH_ENTRY);
	assert_string_equal(boot.cmdline, "quiet console=ttyS0");
	assert_int_equal(boot.initrd.len, 12);
	assert_memory_equal(boot.initrd.data, "the archive", 12);
}

static void files_that_are_deleted_are_still_there(void **state)
{
	struct fixture *fixture = *state;
	struct pv_boot_kit *kit = make_kit(fixture);
	assert_int_equal(unlink(fixture->kernel), 0);
	assert_int_equal(unlink(fixture->initrd), 0);
	check_kit(kit);
	pv_boot_kit_cool(kit);
	check_kit(kit);
	pv_boot_kit_unref(kit);
}

static void files_that_are_replaced_are_the_old_ones(void **state)
{
	struct fixture *fixture = *state;
	struct pv_boot_kit *kit = make_kit(fixture);
	put(fixture->kernel, "no kernel", 9);
	put(fixture->initrd, "another", 7);
	check_kit(kit);
	pv_boot_kit_unref(kit);
}

static void nothing_is_read_before_it_is_needed(void **state)
{
	struct fixture *fixture = *state;
	struct pv_machine_boot boot;
	struct pv_err err = PV_ERR_INIT;
	put(fixture->kernel, "no kernel", 9);
	struct pv_boot_kit *kit = make_kit(fixture);
	assert_int_equal(fixture->host.kernel_count, 1);
	assert_null(fixture->host.kernels[0].kernel);
	assert_int_equal(pv_boot_kit_get(kit, &boot, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, fixture->kernel));
	/* Once said, it is said again, and whoever tries anew may find another file. */
	struct pv_err again = PV_ERR_INIT;
	assert_int_equal(pv_boot_kit_get(kit, &boot, &again), -ENOEXEC);
	assert_string_equal(again.text, err.text);
	assert_int_equal(fixture->host.kernel_count, 0);
	pv_boot_kit_unref(kit);
	struct pv_bytes elf = {0};
	make_tiny_elf(&elf);
	put(fixture->kernel, elf.data, elf.len);
	pv_bytes_finish(&elf);
	kit = make_kit(fixture);
	check_kit(kit);
	pv_boot_kit_unref(kit);
}

static void what_is_missing_is_told_when_it_is_needed(void **state)
{
	struct fixture *fixture = *state;
	struct pv_machine_boot boot;
	struct pv_err err = PV_ERR_INIT;
	char path[sizeof(fixture->kernel) + 8];
	snprintf(path, sizeof(path), "%s.away", fixture->kernel);
	assert_int_equal(rename(fixture->kernel, path), 0);
	struct pv_boot_kit *first = make_kit(fixture);
	assert_int_equal(pv_boot_kit_get(first, &boot, &err), -ENOENT);
	assert_non_null(strstr(err.text, fixture->kernel));
	assert_int_equal(rename(path, fixture->kernel), 0);
	assert_int_equal(unlink(fixture->initrd), 0);
	struct pv_boot_kit *second = make_kit(fixture);
	assert_int_equal(pv_boot_kit_get(second, &boot, &err), -ENOENT);
	assert_non_null(strstr(err.text, fixture->initrd));
	pv_boot_kit_unref(second);
	pv_boot_kit_unref(first);
	fixture->profile.kernel = NULL;
	struct pv_boot_kit *kit = make_kit(fixture);
	assert_int_equal(pv_boot_kit_get(kit, &boot, &err), -EINVAL);
	assert_string_equal(
	    err.text, "profile `p` names no kernel; set `kernel` (or `root`) in provium.toml");
	pv_boot_kit_unref(kit);
}

static void *get_it(void *kit)
{
	struct pv_machine_boot boot = {0};
	struct pv_err err = PV_ERR_INIT;
	return pv_boot_kit_get(kit, &boot, &err) == 0 ? (void *)(uintptr_t)boot.kernel : NULL;
}

static void threads_get_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct pv_boot_kit *kits[] = {make_kit(fixture), make_kit(fixture)};
	pthread_t threads[4];
	void *kernels[4];
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_it, kits[i % 2]), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], &kernels[i]);
	assert_non_null(kernels[0]);
	for (unsigned i = 1; i < 4; i++)
		assert_ptr_equal(kernels[i], kernels[0]);
	for (unsigned i = 0; i < 2; i++) {
		check_kit(kits[i]);
		pv_boot_kit_unref(kits[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		files_that_are_deleted_are_still_there, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		files_that_are_replaced_are_the_old_ones, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(nothing_is_read_before_it_is_needed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		what_is_missing_is_told_when_it_is_needed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(threads_get_the_same, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
