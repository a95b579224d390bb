/*
 * Making a guest, from a package and from folders that the test makes itself: which modules are
 * chosen and in which order, what the archive and the profile hold, and when nothing is done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "lab/config.h"
#include "tests/unit/image_rig.h"

static const char loaded[] =
    "# Loaded by the agent, in this order.\n"
    "/" IMAGE_RIG_MODULES "kernel/drivers/virtio/virtio.ko\n"
    "/" IMAGE_RIG_MODULES "kernel/drivers/virtio/virtio_ring.ko\n"
    "/" IMAGE_RIG_MODULES "kernel/drivers/virtio/virtio_pci.ko\n"
    "/" IMAGE_RIG_MODULES "kernel/net/vmw_vsock/vsock.ko\n"
    "/" IMAGE_RIG_MODULES "kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko\n";
static const char later[] = "# Loaded by the agent when it has said hello.\n"
			    "/" IMAGE_RIG_MODULES "kernel/drivers/char/virtio_console.ko\n"
			    "/" IMAGE_RIG_MODULES "kernel/drivers/char/hw_random/virtio-rng.ko\n";

static void expect_usual_image(const struct pv_image_result *result)
{
	struct image_files files;
	assert_string_equal(result->release, IMAGE_RIG_RELEASE);
	assert_int_equal(result->modules_loaded, 7);
	assert_int_equal(result->modules_included, 3);
	assert_string_equal(result->missing, "virtio_blk,virtio_net,af_packet,evdev");
	image_rig_read(result->initrd, &files);
	assert_string_equal((const char *)files.agent_modules.data, loaded);
	assert_string_equal((const char *)files.later_modules.data, later);
	assert_true(image_rig_has_line(&files.dep, "kernel/drivers/virtio/virtio.ko:"));
	assert_true(image_rig_has_line(&files.dep,
	    "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko "
	    "kernel/drivers/virtio/virtio.ko"));
	assert_true(
	    image_rig_has_line(&files.dep, "kernel/fs/overlayfs/overlay.ko: kernel/lib/crc-x.ko"));
	assert_string_equal((const char *)files.alias.data,
	    "alias pci:v00001AF4d* virtio_pci\nalias virtio:d00000013v* "
	    "vmw_vsock_virtio_transport\nalias char-major-10-237 loop\n"
	    "alias block-major-7-* loop\nalias fs-overlay overlay\n");
	assert_true(image_rig_has_line(
	    &files.list, IMAGE_RIG_MODULES "kernel/drivers/virtio/virtio_ring.ko 100644"));
	assert_true(image_rig_has_line(
	    &files.list, IMAGE_RIG_MODULES "kernel/drivers/block/loop.ko 100644"));
	assert_true(image_rig_has_line(&files.list, IMAGE_RIG_MODULES "modules.builtin 100644"));
	assert_null(strstr((const char *)files.list.data, "dummy"));
	image_rig_finish(&files);
}

static void packages_of_every_compression_make_the_same_guest(void **state)
{
	static const struct {
		const char *member;
		int filter;
		const char *prefix;
	} kinds[] = {
	    {"data.tar.xz",  ARCHIVE_FILTER_XZ,    "./"	   },
	    {"data.tar.zst", ARCHIVE_FILTER_ZSTD,  "./usr/"},
	    {"data.tar.gz",  ARCHIVE_FILTER_GZIP,	 "usr/"  },
	    {"data.tar.bz2", ARCHIVE_FILTER_BZIP2, "./"    },
	    {"data.tar",	 ARCHIVE_FILTER_NONE,  ""	},
	};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct pv_image_options options = image_rig_options("from-package/linux");
		struct pv_image_result result;
		image_rig_put_package("kernel.deb", kinds[i].member, kinds[i].filter,
		    kinds[i].prefix, WITH_KERNEL | WITH_MODULES);
		options.source.package = image_rig_path("kernel.deb");
		image_rig_build(&options, &result);
		assert_false(result.unchanged);
		expect_usual_image(&result);
		pv_image_result_finish(&result);
	}
}

static void a_folder_of_compressed_modules_makes_the_same_guest(void **state)
{
	struct pv_image_options options = image_rig_options("from-folder");
	struct pv_image_result result;
	options.source.kernel = image_rig_path("vmlinuz");
	options.source.modules = image_rig_path("lib/modules/" IMAGE_RIG_RELEASE "/");
	image_rig_build(&options, &result);
	expect_usual_image(&result);
	pv_image_result_finish(&result);
	pv_image_result_finish(&result);
}

static void the_archive_holds_a_root_without_an_init(void **state)
{
	static const char *const lines[] = {"bin/busybox 100755", "bin/sh 120777 -> /bin/busybox",
	    "sbin/modprobe 120777 -> /bin/busybox", "usr/bin/[ 120777 -> /bin/busybox", "opt 40755",
	    "opt/odd 40755", "opt/odd/x 120777 -> /bin/busybox", "etc/passwd 100644", "tmp 41777",
	    "root 40700", "proc 40555", "dev 40755", "mnt 40755", "run 40755", "var/log 40755"};
	struct pv_image_options options = image_rig_options("root");
	struct pv_image_result result;
	struct image_files files;
	options.source.kernel = image_rig_path("vmlinuz");
	image_rig_build(&options, &result);
	assert_int_equal(result.modules_loaded + result.modules_included, 0);
	assert_string_equal(result.missing, "");
	assert_string_equal(result.release, IMAGE_RIG_RELEASE);
	image_rig_read(result.initrd, &files);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!image_rig_has_line(&files.list, lines[i]))
			fail_msg("`%s` is not in the archive", lines[i]);
	}
	assert_null(strstr((const char *)files.list.data, "evil"));
	assert_null(strstr((const char *)files.list.data, "abs"));
	assert_null(strstr((const char *)files.list.data, "\ninit "));
	image_rig_finish(&files);
	pv_image_result_finish(&result);
}

static void the_profile_can_be_read_as_configuration(void **state)
{
	struct pv_image_options options = image_rig_options("guests/mine");
	struct pv_image_result result;
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	char text[512];
	options.name = "mine";
	options.source.kernel = image_rig_path("vmlinuz");
	image_rig_build(&options, &result);
	snprintf(text, sizeof(text), "profiles.from_dir = \"%s\"", image_rig_path("guests"));
	assert_int_equal(pv_config_parse(&config, text, strlen(text), ".", "x", &err), 0);
	const struct pv_profile *profile = pv_config_profile(&config, "mine");
	assert_non_null(profile);
	assert_string_equal(profile->kernel, result.kernel);
	assert_string_equal(profile->initrd, result.initrd);
	assert_string_equal(profile->guest_os, "linux");
	assert_non_null(strstr(profile->cmdline, "quiet"));
	assert_int_equal(config.warning_count, 0);
	pv_config_finish(&config);
	pv_image_result_finish(&result);
	options.cmdline = "say=\"a \\ b\" x";
	image_rig_build(&options, &result);
	assert_int_equal(pv_config_parse(&config, text, strlen(text), ".", "x", &err), 0);
	assert_string_equal(pv_config_profile(&config, "mine")->cmdline, options.cmdline);
	pv_config_finish(&config);
	pv_image_result_finish(&result);
}

/* A name with a line break must not write lines of its own into the profile. */
static void an_odd_path_stays_in_its_comment(void **state)
{
	struct pv_image_options options = image_rig_options("odd/linux");
	struct pv_image_result result;
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes kernel = {0};
	char text[512];
	image_rig_write_kernel(&kernel, IMAGE_RIG_RELEASE);
	image_rig_put("vm\ninject_agent = 5\n", kernel.data, kernel.len, 0644);
	pv_bytes_finish(&kernel);
	options.source.kernel = image_rig_path("vm\ninject_agent = 5\n");
	image_rig_build(&options, &result);
	snprintf(text, sizeof(text), "profiles.from_dir = \"%s\"", image_rig_path("odd"));
	assert_int_equal(pv_config_parse(&config, text, strlen(text), ".", "x", &err), 0);
	pv_config_finish(&config);
	pv_image_result_finish(&result);
}

static void the_same_again_writes_nothing(void **state)
{
	struct pv_image_options options = image_rig_options("again");
	struct pv_image_result result;
	struct stat before, after;
	options.source.kernel = image_rig_path("vmlinuz");
	options.source.modules = image_rig_path(IMAGE_RIG_MODULES);
	image_rig_build(&options, &result);
	assert_int_equal(stat(result.initrd, &before), 0);
	pv_image_result_finish(&result);
	image_rig_build(&options, &result);
	assert_true(result.unchanged);
	expect_usual_image(&result);
	assert_int_equal(stat(result.initrd, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	/* A file that went, or was cut, comes back. */
	assert_int_equal(truncate(result.initrd, 100), 0);
	pv_image_result_finish(&result);
	image_rig_build(&options, &result);
	assert_false(result.unchanged);
	unlink(result.kernel);
	pv_image_result_finish(&result);
	image_rig_build(&options, &result);
	assert_false(result.unchanged);
	expect_usual_image(&result);
	pv_image_result_finish(&result);
	/* Other options make another image. */
	const char *const extra[] = {"dummy"};
	options.extra_modules = extra;
	options.extra_module_count = 1;
	image_rig_build(&options, &result);
	assert_false(result.unchanged);
	pv_image_result_finish(&result);
	image_rig_build(&options, &result);
	assert_true(result.unchanged);
	pv_image_result_finish(&result);
}

static void extra_modules_are_loaded_with_what_they_need(void **state)
{
	const char *const extra[] = {"dummy", "crc-x", "ext4"};
	struct pv_image_options options = image_rig_options("extra");
	struct pv_image_result result;
	struct image_files files;
	options.source.kernel = image_rig_path("vmlinuz");
	options.source.modules = image_rig_path(IMAGE_RIG_MODULES);
	options.extra_modules = extra;
	options.extra_module_count = 3;
	image_rig_build(&options, &result);
	assert_int_equal(result.modules_loaded, 9);
	image_rig_read(result.initrd, &files);
	assert_true(
	    image_rig_has_line(&files.later_modules, "/" IMAGE_RIG_MODULES "kernel/net/dummy.ko"));
	assert_true(
	    image_rig_has_line(&files.later_modules, "/" IMAGE_RIG_MODULES "kernel/lib/crc-x.ko"));
	/* An alias cannot begin a line of its own. */
	assert_null(strstr((const char *)files.alias.data, "evil"));
	assert_null(strstr((const char *)files.alias.data, "words"));
	image_rig_finish(&files);
	pv_image_result_finish(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(packages_of_every_compression_make_the_same_guest),
	    cmocka_unit_test(a_folder_of_compressed_modules_makes_the_same_guest),
	    cmocka_unit_test(the_archive_holds_a_root_without_an_init),
	    cmocka_unit_test(the_profile_can_be_read_as_configuration),
	    cmocka_unit_test(an_odd_path_stays_in_its_comment),
	    cmocka_unit_test(the_same_again_writes_nothing),
	    cmocka_unit_test(extra_modules_are_loaded_with_what_they_need),
	};
	return cmocka_run_group_tests(tests, image_rig_set_up, image_rig_tear_down);
}
