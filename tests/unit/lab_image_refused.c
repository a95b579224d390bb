/*
 * Making a guest when it cannot be done: from what is missing, broken, cut, contradictory or does
 * not fit, each of which is named, and nothing is written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "tests/unit/elf_module.h"
#include "tests/unit/image_rig.h"

static void refuse(const struct pv_image_options *options, const char *text)
{
	struct pv_image_result result;
	struct pv_err err = PV_ERR_INIT;
	assert_true(pv_image_build(options, &result, &err) < 0);
	assert_string_equal(err.text, text);
	assert_null(result.kernel);
}

static void refuse_with(
    const struct pv_image_options *options, const char *format, const char *path)
{
	char text[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format, path);
#pragma GCC diagnostic pop
	refuse(options, text);
}

static void modules_that_cannot_be_had_are_named(void **state)
{
	const char *extra[] = {"nothing"};
	struct pv_image_options options = image_rig_options("refused");
	options.source.kernel = image_rig_path("vmlinuz");
	options.source.modules = image_rig_path(IMAGE_RIG_MODULES);
	options.extra_modules = extra;
	options.extra_module_count = 1;
	refuse(&options, "module `nothing`: the kernel has it neither as a module nor built in; "
			 "leave out --module nothing");
	extra[0] = "needy";
	refuse(&options, "module `needy` needs module `gone`, which did not come with the kernel; "
			 "give a complete modules folder");
	extra[0] = "loop_a";
	refuse(&options, "module `loop_a` needs itself; give an unbroken modules folder");
	assert_int_equal(access(image_rig_path("refused"), F_OK), -1);
}

static void broken_packages_are_named(void **state)
{
	struct pv_image_options options = image_rig_options("refused");
	options.source.package = image_rig_path("broken.deb");
	refuse_with(&options, "package `%s`: No such file or directory", options.source.package);
	image_rig_put("broken.deb", "hello, this is text", 19, 0644);
	refuse_with(&options,
	    "package `%s`: this is no Debian package (Unrecognized archive format)",
	    options.source.package);
	image_rig_put_package(
	    "broken.deb", "other.tar", ARCHIVE_FILTER_NONE, "", WITH_KERNEL | WITH_MODULES);
	refuse_with(&options, "package `%s`: this is no Debian package (it has no data.tar)",
	    options.source.package);
	image_rig_put_package("broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "", WITH_MODULES);
	refuse_with(&options,
	    "package `%s`: it holds no kernel; give a linux-image-<release> package "
	    "(linux-image-amd64 and the like only depend on one)",
	    options.source.package);
	image_rig_put_package("broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "", WITH_KERNEL);
	refuse_with(&options,
	    "package `%s`: it holds a kernel without modules; unpack it and the package of its "
	    "modules by `dpkg -x` and give --kernel and --modules",
	    options.source.package);
	image_rig_put_package(
	    "broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "", WITH_TWO_KERNELS | WITH_MODULES);
	refuse_with(&options,
	    "package `%s`: it holds two kernels; unpack it and give --kernel and --modules",
	    options.source.package);
	image_rig_put_package("broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "",
	    WITH_KERNEL | WITH_MODULES | WITH_OTHER_RELEASE);
	refuse_with(&options,
	    "package `%s`: it holds the modules of two kernels; unpack it and give --kernel and "
	    "--modules",
	    options.source.package);
	assert_int_equal(access(image_rig_path("refused"), F_OK), -1);
}

/* A package that ends anywhere is an error, never an image. */
static void cut_packages_are_refused(void **state)
{
	struct pv_image_options options = image_rig_options("cut");
	struct pv_bytes whole = {0};
	struct pv_err err = PV_ERR_INIT;
	image_rig_put_package(
	    "whole.deb", "data.tar.xz", ARCHIVE_FILTER_XZ, "./", WITH_KERNEL | WITH_MODULES);
	assert_int_equal(
	    pv_fd_slurp("package", image_rig_path("whole.deb"), 1 << 20, &whole, &err), 0);
	options.source.package = image_rig_path("cut.deb");
	for (size_t len = 0; len + 2 < whole.len; len += 7) {
		struct pv_image_result result;
		image_rig_put("cut.deb", whole.data, len, 0644);
		err = (struct pv_err)PV_ERR_INIT;
		assert_true(pv_image_build(&options, &result, &err) < 0);
		if (!strstr(err.text, "package `"))
			fail_msg("cut at %zu: %s", len, err.text);
	}
	pv_bytes_finish(&whole);
}

static void sources_that_contradict_are_refused(void **state)
{
	struct pv_image_options options = image_rig_options("refused");
	refuse(&options, "give the kernel by exactly one of --deb, --kernel and --running");
	options.source = (struct pv_image_source){.kernel = "k", .package = "p"};
	refuse(&options, "give the kernel by exactly one of --deb, --kernel and --running");
	options.source = (struct pv_image_source){.running = true, .modules = "m"};
	refuse(&options, "--modules goes with --kernel only");
	options.source = (struct pv_image_source){.kernel = image_rig_path("vmlinuz")};
	options.name = "a/b";
	refuse(&options, "`a/b` is no name for a guest; give one like `linux`");
	options.name = "linux";
	options.cmdline = "  ";
	refuse(&options, "the command line is empty; give at least `console=ttyS0`");
}

static void kernels_that_do_not_fit_are_named(void **state)
{
	struct pv_image_options options = image_rig_options("refused");
	struct pv_bytes other = {0};
	options.source.kernel = image_rig_path("text");
	refuse_with(&options, "kernel `%s`: No such file or directory", options.source.kernel);
	image_rig_put("text", "#!/bin/sh\n", 10, 0644);
	refuse_with(&options,
	    "kernel `%s`: this is no x86-64 Linux kernel; give a bzImage (vmlinuz) or a vmlinux",
	    options.source.kernel);
	image_rig_write_kernel(&other, "5.5-other x");
	image_rig_put("other", other.data, other.len, 0644);
	pv_bytes_finish(&other);
	options.source.kernel = image_rig_path("other");
	options.source.modules = image_rig_path(IMAGE_RIG_MODULES);
	refuse(&options, "the modules are for release `" IMAGE_RIG_RELEASE
			 "`, the kernel is `5.5-other`; give the modules of this kernel");
	options.source.modules = image_rig_path("none");
	refuse_with(&options, "modules `%s`: cannot read it: No such file or directory",
	    options.source.modules);
	mkdir(image_rig_path("none"), 0755);
	refuse_with(&options,
	    "modules `%s`: no *.ko file is in it; give the folder .../lib/modules/<release>",
	    options.source.modules);
}

static void a_busybox_that_cannot_work_is_named(void **state)
{
	struct pv_image_options options = image_rig_options("refused");
	struct pv_bytes program = {0};
	options.source.kernel = image_rig_path("vmlinuz");
	options.busybox = image_rig_path("no-busybox");
	refuse_with(
	    &options, "busybox `%s`: cannot run it: No such file or directory", options.busybox);
	image_rig_put("no-busybox",
	    "#!/bin/sh\necho bin/sh; # and enough text to be as long as the header of a program\n",
	    83, 0755);
	refuse_with(&options,
	    "busybox `%s` is no ELF program; install busybox-static or give another one",
	    options.busybox);
	options.busybox = "/bin/cat";
	refuse(&options, "busybox `/bin/cat` is not static, so it cannot run without libraries; "
			 "install busybox-static or give another one");
	elf_program_write(&program, "bin/true\n");
	image_rig_put("no-shell", program.data, program.len, 0755);
	pv_bytes_finish(&program);
	options.busybox = image_rig_path("no-shell");
	refuse_with(&options,
	    "busybox `%s` does not list a shell among its applets; install busybox-static or give "
	    "--busybox",
	    options.busybox);
	options.busybox = NULL;
	char *path = strdup(getenv("PATH"));
	setenv("PATH", image_rig_folder, 1);
	struct pv_image_result result;
	image_rig_build(&options, &result);
	pv_image_result_finish(&result);
	setenv("PATH", path, 1);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modules_that_cannot_be_had_are_named),
	    cmocka_unit_test(broken_packages_are_named),
	    cmocka_unit_test(cut_packages_are_refused),
	    cmocka_unit_test(sources_that_contradict_are_refused),
	    cmocka_unit_test(kernels_that_do_not_fit_are_named),
	    cmocka_unit_test(a_busybox_that_cannot_work_is_named),
	};
	return cmocka_run_group_tests(tests, image_rig_set_up, image_rig_tear_down);
}
