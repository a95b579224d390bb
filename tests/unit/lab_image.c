/*
 * Making a guest, from a package and from folders that the test makes itself: which modules are
 * chosen and in which order, what the archive and the profile hold, when nothing is done, and what
 * is said when it cannot be done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/config.h"
#include "lab/image.h"
#include "tests/unit/elf_module.h"

#define RELEASE "6.1.0-9-test"
#define MODULES "lib/modules/" RELEASE "/"
#define MAGIC	"vermagic=" RELEASE " SMP mod_unload "

static char folder[] = "/tmp/pv-lab-image-XXXXXX";

/* A kernel with the usual shapes of things: names with `-`, dependencies, compressed files,
 * aliases, soft dependencies, built-in ones. */
static const struct {
	const char *path;
	const char *info[6];
} modules[] = {
    {"kernel/drivers/virtio/virtio.ko",			{"depends="}						    },
    {"kernel/drivers/virtio/virtio_ring.ko",		     {"depends=virtio"}					       },
    {"kernel/drivers/virtio/virtio_pci.ko",
	{"depends=virtio_ring,virtio", "alias=pci:v00001AF4d*"}							       },
    {"kernel/net/vmw_vsock/vsock.ko",		      {"depends="}						  },
    {"kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko",
	{"depends=vsock,virtio", "alias=virtio:d00000013v*"}							     },
    {"kernel/drivers/char/hw_random/virtio-rng.ko",	    {"depends=virtio"}					      },
    {"kernel/drivers/char/virtio_console.ko",	      {"depends=virtio_ring"}				     },
    {"kernel/drivers/block/loop.ko",
	{"depends=", "alias=char-major-10-237", "alias=block-major-7-*"}							},
    {"kernel/fs/overlayfs/overlay.ko",		       {"depends=", "alias=fs-overlay", "softdep=pre: crc_x gone"}},
    {"kernel/lib/crc-x.ko",				{"depends="}					       },
    {"kernel/net/dummy.ko",				{"depends=", "alias=evil\nalias x y", "alias=two words"}   },
    {"kernel/loop-a.ko",				   {"depends=loop_b"}					   },
    {"kernel/loop-b.ko",				   {"depends=loop_a"}					   },
    {"kernel/needy.ko",				    {"depends=gone"}					   },
};

#define MODULE_COUNT (sizeof(modules) / sizeof(modules[0]))

static const char builtin[] =
    "kernel/drivers/acpi/button.ko\nkernel/net/unix/unix.ko\nkernel/fs/ext4/ext4.ko\n";

/* --- the test's files --- */

static const char *in_folder(const char *name)
{
	static char paths[8][512];
	static unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void put(const char *name, const void *data, size_t len, mode_t mode)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_fd_replace_file(in_folder(name), data, len, mode, &err), 0);
}

/* A file that looks like a bzImage and names its release. */
static void write_kernel(struct pv_bytes *out, const char *version)
{
	uint8_t image[1024] = {0};
	memcpy(image + 0x1fe, "\x55\xaa", 2);
	memcpy(image + 0x202, "HdrS", 4);
	pv_put_le16(image + 0x206, 0x20f);
	pv_put_le16(image + 0x20e, 0x100);
	strcpy((char *)image + 0x300, version);
	pv_bytes_append(out, image, sizeof(image));
}

static void write_module(struct pv_bytes *out, size_t index)
{
	const char *info[8] = {MAGIC};
	for (size_t i = 0; i < 6 && modules[index].info[i]; i++)
		info[i + 1] = modules[index].info[i];
	elf_module_write(out, info);
}

static void add_entry(struct archive *archive, const char *path, const void *data, size_t len)
{
	struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, path);
	archive_entry_set_size(entry, (la_int64_t)len);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(archive, data, len), len);
	archive_entry_free(entry);
}

enum content {
	WITH_KERNEL = 1,
	WITH_MODULES = 2,
	WITH_TWO_KERNELS = 4,
	WITH_OTHER_RELEASE = 8,
};

/* data.tar in the compression of `filter`. */
static void write_tar(struct pv_bytes *out, int filter, const char *prefix, unsigned content)
{
	struct archive *archive = archive_write_new();
	static char buffer[1 << 20];
	size_t used = 0;
	struct pv_bytes kernel = {0};
	archive_write_set_format_gnutar(archive);
	archive_write_add_filter(archive, filter);
	assert_int_equal(
	    archive_write_open_memory(archive, buffer, sizeof(buffer), &used), ARCHIVE_OK);
	write_kernel(&kernel, RELEASE " (me@host) #1 SMP");
	char path[256];
	for (unsigned i = 0; i < (content & WITH_TWO_KERNELS ? 2
				     : content & WITH_KERNEL ? 1
							     : 0);
	     i++) {
		snprintf(path, sizeof(path), "./boot/vmlinuz-" RELEASE "%s", i ? "-b" : "");
		add_entry(archive, path, kernel.data, kernel.len);
	}
	for (size_t i = 0; i < MODULE_COUNT && content & WITH_MODULES; i++) {
		struct pv_bytes module = {0};
		write_module(&module, i);
		snprintf(path, sizeof(path), "%s" MODULES "%s", prefix, modules[i].path);
		add_entry(archive, path, module.data, module.len);
		pv_bytes_finish(&module);
	}
	snprintf(path, sizeof(path), "%s" MODULES "modules.builtin", prefix);
	if (content & WITH_MODULES)
		add_entry(archive, path, builtin, sizeof(builtin) - 1);
	if (content & WITH_OTHER_RELEASE)
		add_entry(archive, "lib/modules/5.0/kernel/x.ko", "x", 1);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
	pv_bytes_append(out, buffer, used);
	pv_bytes_finish(&kernel);
}

static void put_package(
    const char *name, const char *member, int filter, const char *prefix, unsigned content)
{
	struct archive *archive = archive_write_new();
	struct pv_bytes tar = {0};
	write_tar(&tar, filter, prefix, content);
	archive_write_set_format_ar_svr4(archive);
	assert_int_equal(archive_write_open_filename(archive, in_folder(name)), ARCHIVE_OK);
	add_entry(archive, "debian-binary", "2.0\n", 4);
	add_entry(archive, "control.tar.xz", "?", 1);
	add_entry(archive, member, tar.data, tar.len);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
	pv_bytes_finish(&tar);
}

/* Compresses with libarchive's raw format. */
static void put_compressed(const char *name, const void *data, size_t len, int filter)
{
	struct archive *archive = archive_write_new();
	static char buffer[1 << 16];
	size_t used = 0;
	archive_write_set_format_raw(archive);
	archive_write_add_filter(archive, filter);
	assert_int_equal(
	    archive_write_open_memory(archive, buffer, sizeof(buffer), &used), ARCHIVE_OK);
	add_entry(archive, "x", data, len);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
	put(name, buffer, used, 0644);
}

static int set_up(void **state)
{
	static const int filters[] = {
	    0, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_ZSTD};
	static const char *const suffixes[] = {"", ".gz", ".xz", ".zst"};
	struct pv_bytes kernel = {0}, busybox = {0};
	if (!mkdtemp(folder))
		return -1;
	write_kernel(&kernel, RELEASE " x");
	put("vmlinuz", kernel.data, kernel.len, 0644);
	elf_program_write(&busybox,
	    "bin/sh\nbin/busybox\nsbin/modprobe\nusr/bin/[\nopt/odd/x\n../evil\n/abs\nlinuxrc\n");
	put("busybox", busybox.data, busybox.len, 0755);
	/* A modules folder in which each fourth file has another compression. */
	for (size_t i = 0; i < MODULE_COUNT; i++) {
		struct pv_bytes module = {0};
		char name[256];
		write_module(&module, i);
		snprintf(name, sizeof(name), MODULES "%s%s", modules[i].path, suffixes[i % 4]);
		if (i % 4)
			put(name, "", 0, 0644),
			    put_compressed(name, module.data, module.len, filters[i % 4]);
		else
			put(name, module.data, module.len, 0644);
		pv_bytes_finish(&module);
	}
	put(MODULES "modules.builtin", builtin, sizeof(builtin) - 1, 0644);
	pv_bytes_finish(&kernel);
	pv_bytes_finish(&busybox);
	return 0;
}

static int tear_down(void **state)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

/* --- looking at an image --- */

struct files {
	struct pv_bytes list; /* "path mode [-> target]", one a line */
	struct pv_bytes agent_modules, later_modules, dep, alias;
};

static void read_image(const char *path, struct files *files)
{
	struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	*files = (struct files){0};
	archive_read_support_format_cpio(archive);
	assert_int_equal(archive_read_open_filename(archive, path, 65536), ARCHIVE_OK);
	while (archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry),
			   *link = archive_entry_symlink(entry);
		pv_bytes_printf(&files->list, "%s %o%s%s\n", name, archive_entry_mode(entry),
		    link ? " -> " : "", link ? link : "");
		struct pv_bytes *content =
		    strcmp(name, "etc/provium/modules") == 0	     ? &files->agent_modules
		    : strcmp(name, "etc/provium/modules.later") == 0 ? &files->later_modules
		    : strstr(name, "/modules.dep")		     ? &files->dep
		    : strstr(name, "/modules.alias")		     ? &files->alias
								     : NULL;
		char buffer[8192];
		la_ssize_t len = content ? archive_read_data(archive, buffer, sizeof(buffer)) : 0;
		if (len > 0)
			pv_bytes_append(content, buffer, (size_t)len);
	}
	archive_read_free(archive);
	pv_bytes_text(&files->list);
	pv_bytes_text(&files->agent_modules);
	pv_bytes_text(&files->later_modules);
	pv_bytes_text(&files->dep);
	pv_bytes_text(&files->alias);
}

static void finish_files(struct files *files)
{
	pv_bytes_finish(&files->list);
	pv_bytes_finish(&files->agent_modules);
	pv_bytes_finish(&files->later_modules);
	pv_bytes_finish(&files->dep);
	pv_bytes_finish(&files->alias);
}

static bool has_line(const struct pv_bytes *text, const char *line)
{
	size_t len = strlen(line);
	for (const char *at = (const char *)text->data; at && (at = strstr(at, line)); at++) {
		if ((at == (const char *)text->data || at[-1] == '\n') && at[len] == '\n')
			return true;
	}
	return false;
}

static struct pv_image_options usual(const char *out)
{
	static char out_dir[512], busybox[512];
	snprintf(out_dir, sizeof(out_dir), "%s", in_folder(out));
	snprintf(busybox, sizeof(busybox), "%s", in_folder("busybox"));
	return (struct pv_image_options){.out_dir = out_dir, .name = "linux", .busybox = busybox};
}

static void build(const struct pv_image_options *options, struct pv_image_result *result)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_image_build(options, result, &err))
		fail_msg("%s", err.text);
}

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

/* --- what is promised --- */

static const char loaded[] = "# Loaded by the agent, in this order.\n"
			     "/" MODULES "kernel/drivers/virtio/virtio.ko\n"
			     "/" MODULES "kernel/drivers/virtio/virtio_ring.ko\n"
			     "/" MODULES "kernel/drivers/virtio/virtio_pci.ko\n"
			     "/" MODULES "kernel/net/vmw_vsock/vsock.ko\n"
			     "/" MODULES "kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko\n";
static const char later[] = "# Loaded by the agent when it has said hello.\n"
			    "/" MODULES "kernel/drivers/char/virtio_console.ko\n"
			    "/" MODULES "kernel/drivers/char/hw_random/virtio-rng.ko\n";

static void expect_usual_image(const struct pv_image_result *result)
{
	struct files files;
	assert_string_equal(result->release, RELEASE);
	assert_int_equal(result->modules_loaded, 7);
	assert_int_equal(result->modules_included, 3);
	assert_string_equal(result->missing, "virtio_blk,virtio_net,af_packet,evdev");
	read_image(result->initrd, &files);
	assert_string_equal((const char *)files.agent_modules.data, loaded);
	assert_string_equal((const char *)files.later_modules.data, later);
	assert_true(has_line(&files.dep, "kernel/drivers/virtio/virtio.ko:"));
	assert_true(has_line(&files.dep,
	    "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko "
	    "kernel/drivers/virtio/virtio.ko"));
	assert_true(has_line(&files.dep, "kernel/fs/overlayfs/overlay.ko: kernel/lib/crc-x.ko"));
	assert_string_equal((const char *)files.alias.data,
	    "alias pci:v00001AF4d* virtio_pci\nalias virtio:d00000013v* "
	    "vmw_vsock_virtio_transport\nalias char-major-10-237 loop\n"
	    "alias block-major-7-* loop\nalias fs-overlay overlay\n");
	assert_true(has_line(&files.list, MODULES "kernel/drivers/virtio/virtio_ring.ko 100644"));
	assert_true(has_line(&files.list, MODULES "kernel/drivers/block/loop.ko 100644"));
	assert_true(has_line(&files.list, MODULES "modules.builtin 100644"));
	assert_null(strstr((const char *)files.list.data, "dummy"));
	finish_files(&files);
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
		struct pv_image_options options = usual("from-package/linux");
		struct pv_image_result result;
		put_package("kernel.deb", kinds[i].member, kinds[i].filter, kinds[i].prefix,
		    WITH_KERNEL | WITH_MODULES);
		options.source.package = in_folder("kernel.deb");
		build(&options, &result);
		assert_false(result.unchanged);
		expect_usual_image(&result);
		pv_image_result_finish(&result);
	}
}

static void a_folder_of_compressed_modules_makes_the_same_guest(void **state)
{
	struct pv_image_options options = usual("from-folder");
	struct pv_image_result result;
	options.source.kernel = in_folder("vmlinuz");
	options.source.modules = in_folder("lib/modules/" RELEASE "/");
	build(&options, &result);
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
	struct pv_image_options options = usual("root");
	struct pv_image_result result;
	struct files files;
	options.source.kernel = in_folder("vmlinuz");
	build(&options, &result);
	assert_int_equal(result.modules_loaded + result.modules_included, 0);
	assert_string_equal(result.missing, "");
	assert_string_equal(result.release, RELEASE);
	read_image(result.initrd, &files);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!has_line(&files.list, lines[i]))
			fail_msg("`%s` is not in the archive", lines[i]);
	}
	assert_null(strstr((const char *)files.list.data, "evil"));
	assert_null(strstr((const char *)files.list.data, "abs"));
	assert_null(strstr((const char *)files.list.data, "\ninit "));
	finish_files(&files);
	pv_image_result_finish(&result);
}

static void the_profile_can_be_read_as_configuration(void **state)
{
	struct pv_image_options options = usual("guests/mine");
	struct pv_image_result result;
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	char text[512];
	options.name = "mine";
	options.source.kernel = in_folder("vmlinuz");
	build(&options, &result);
	snprintf(text, sizeof(text), "profiles.from_dir = \"%s\"", in_folder("guests"));
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
	build(&options, &result);
	assert_int_equal(pv_config_parse(&config, text, strlen(text), ".", "x", &err), 0);
	assert_string_equal(pv_config_profile(&config, "mine")->cmdline, options.cmdline);
	pv_config_finish(&config);
	pv_image_result_finish(&result);
}

/* A name with a line break must not write lines of its own into the profile. */
static void an_odd_path_stays_in_its_comment(void **state)
{
	struct pv_image_options options = usual("odd/linux");
	struct pv_image_result result;
	struct pv_config config;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes kernel = {0};
	char text[512];
	write_kernel(&kernel, RELEASE);
	put("vm\ninject_agent = 5\n", kernel.data, kernel.len, 0644);
	pv_bytes_finish(&kernel);
	options.source.kernel = in_folder("vm\ninject_agent = 5\n");
	build(&options, &result);
	snprintf(text, sizeof(text), "profiles.from_dir = \"%s\"", in_folder("odd"));
	assert_int_equal(pv_config_parse(&config, text, strlen(text), ".", "x", &err), 0);
	pv_config_finish(&config);
	pv_image_result_finish(&result);
}

static void the_same_again_writes_nothing(void **state)
{
	struct pv_image_options options = usual("again");
	struct pv_image_result result;
	struct stat before, after;
	options.source.kernel = in_folder("vmlinuz");
	options.source.modules = in_folder(MODULES);
	build(&options, &result);
	assert_int_equal(stat(result.initrd, &before), 0);
	pv_image_result_finish(&result);
	build(&options, &result);
	assert_true(result.unchanged);
	expect_usual_image(&result);
	assert_int_equal(stat(result.initrd, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	/* A file that went, or was cut, comes back. */
	assert_int_equal(truncate(result.initrd, 100), 0);
	pv_image_result_finish(&result);
	build(&options, &result);
	assert_false(result.unchanged);
	unlink(result.kernel);
	pv_image_result_finish(&result);
	build(&options, &result);
	assert_false(result.unchanged);
	expect_usual_image(&result);
	pv_image_result_finish(&result);
	/* Other options make another image. */
	const char *const extra[] = {"dummy"};
	options.extra_modules = extra;
	options.extra_module_count = 1;
	build(&options, &result);
	assert_false(result.unchanged);
	pv_image_result_finish(&result);
	build(&options, &result);
	assert_true(result.unchanged);
	pv_image_result_finish(&result);
}

static void extra_modules_are_loaded_with_what_they_need(void **state)
{
	const char *const extra[] = {"dummy", "crc-x", "ext4"};
	struct pv_image_options options = usual("extra");
	struct pv_image_result result;
	struct files files;
	options.source.kernel = in_folder("vmlinuz");
	options.source.modules = in_folder(MODULES);
	options.extra_modules = extra;
	options.extra_module_count = 3;
	build(&options, &result);
	assert_int_equal(result.modules_loaded, 9);
	read_image(result.initrd, &files);
	assert_true(has_line(&files.later_modules, "/" MODULES "kernel/net/dummy.ko"));
	assert_true(has_line(&files.later_modules, "/" MODULES "kernel/lib/crc-x.ko"));
	/* An alias cannot begin a line of its own. */
	assert_null(strstr((const char *)files.alias.data, "evil"));
	assert_null(strstr((const char *)files.alias.data, "words"));
	finish_files(&files);
	pv_image_result_finish(&result);
}

static void modules_that_cannot_be_had_are_named(void **state)
{
	const char *extra[] = {"nothing"};
	struct pv_image_options options = usual("refused");
	options.source.kernel = in_folder("vmlinuz");
	options.source.modules = in_folder(MODULES);
	options.extra_modules = extra;
	options.extra_module_count = 1;
	refuse(&options, "module `nothing`: the kernel has it neither as a module nor built in; "
			 "leave out --module nothing");
	extra[0] = "needy";
	refuse(&options, "module `needy` needs module `gone`, which did not come with the kernel; "
			 "give a complete modules folder");
	extra[0] = "loop_a";
	refuse(&options, "module `loop_a` needs itself; give an unbroken modules folder");
	assert_int_equal(access(in_folder("refused"), F_OK), -1);
}

static void broken_packages_are_named(void **state)
{
	struct pv_image_options options = usual("refused");
	options.source.package = in_folder("broken.deb");
	refuse_with(&options, "package `%s`: No such file or directory", options.source.package);
	put("broken.deb", "hello, this is text", 19, 0644);
	refuse_with(&options,
	    "package `%s`: this is no Debian package (Unrecognized archive format)",
	    options.source.package);
	put_package("broken.deb", "other.tar", ARCHIVE_FILTER_NONE, "", WITH_KERNEL | WITH_MODULES);
	refuse_with(&options, "package `%s`: this is no Debian package (it has no data.tar)",
	    options.source.package);
	put_package("broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "", WITH_MODULES);
	refuse_with(&options,
	    "package `%s`: it holds no kernel; give a linux-image-<release> package "
	    "(linux-image-amd64 and the like only depend on one)",
	    options.source.package);
	put_package("broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "", WITH_KERNEL);
	refuse_with(&options,
	    "package `%s`: it holds a kernel without modules; unpack it and the package of its "
	    "modules by `dpkg -x` and give --kernel and --modules",
	    options.source.package);
	put_package(
	    "broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "", WITH_TWO_KERNELS | WITH_MODULES);
	refuse_with(&options,
	    "package `%s`: it holds two kernels; unpack it and give --kernel and --modules",
	    options.source.package);
	put_package("broken.deb", "data.tar", ARCHIVE_FILTER_NONE, "",
	    WITH_KERNEL | WITH_MODULES | WITH_OTHER_RELEASE);
	refuse_with(&options,
	    "package `%s`: it holds the modules of two kernels; unpack it and give --kernel and "
	    "--modules",
	    options.source.package);
	assert_int_equal(access(in_folder("refused"), F_OK), -1);
}

/* A package that ends anywhere is an error, never an image. */
static void cut_packages_are_refused(void **state)
{
	struct pv_image_options options = usual("cut");
	struct pv_bytes whole = {0};
	struct pv_err err = PV_ERR_INIT;
	put_package(
	    "whole.deb", "data.tar.xz", ARCHIVE_FILTER_XZ, "./", WITH_KERNEL | WITH_MODULES);
	assert_int_equal(pv_fd_slurp("package", in_folder("whole.deb"), 1 << 20, &whole, &err), 0);
	options.source.package = in_folder("cut.deb");
	for (size_t len = 0; len + 2 < whole.len; len += 7) {
		struct pv_image_result result;
		put("cut.deb", whole.data, len, 0644);
		err = (struct pv_err)PV_ERR_INIT;
		assert_true(pv_image_build(&options, &result, &err) < 0);
		if (!strstr(err.text, "package `"))
			fail_msg("cut at %zu: %s", len, err.text);
	}
	pv_bytes_finish(&whole);
}

static void sources_that_contradict_are_refused(void **state)
{
	struct pv_image_options options = usual("refused");
	refuse(&options, "give the kernel by exactly one of --deb, --kernel and --running");
	options.source = (struct pv_image_source){.kernel = "k", .package = "p"};
	refuse(&options, "give the kernel by exactly one of --deb, --kernel and --running");
	options.source = (struct pv_image_source){.running = true, .modules = "m"};
	refuse(&options, "--modules goes with --kernel only");
	options.source = (struct pv_image_source){.kernel = in_folder("vmlinuz")};
	options.name = "a/b";
	refuse(&options, "`a/b` is no name for a guest; give one like `linux`");
	options.name = "linux";
	options.cmdline = "  ";
	refuse(&options, "the command line is empty; give at least `console=ttyS0`");
}

static void kernels_that_do_not_fit_are_named(void **state)
{
	struct pv_image_options options = usual("refused");
	struct pv_bytes other = {0};
	options.source.kernel = in_folder("text");
	refuse_with(&options, "kernel `%s`: No such file or directory", options.source.kernel);
	put("text", "#!/bin/sh\n", 10, 0644);
	refuse_with(&options,
	    "kernel `%s`: this is no x86-64 Linux kernel; give a bzImage (vmlinuz) or a vmlinux",
	    options.source.kernel);
	write_kernel(&other, "5.5-other x");
	put("other", other.data, other.len, 0644);
	pv_bytes_finish(&other);
	options.source.kernel = in_folder("other");
	options.source.modules = in_folder(MODULES);
	refuse(&options, "the modules are for release `" RELEASE
			 "`, the kernel is `5.5-other`; give the modules of this kernel");
	options.source.modules = in_folder("none");
	refuse_with(&options, "modules `%s`: cannot read it: No such file or directory",
	    options.source.modules);
	mkdir(in_folder("none"), 0755);
	refuse_with(&options,
	    "modules `%s`: no *.ko file is in it; give the folder .../lib/modules/<release>",
	    options.source.modules);
}

static void a_busybox_that_cannot_work_is_named(void **state)
{
	struct pv_image_options options = usual("refused");
	struct pv_bytes program = {0};
	options.source.kernel = in_folder("vmlinuz");
	options.busybox = in_folder("no-busybox");
	refuse_with(
	    &options, "busybox `%s`: cannot run it: No such file or directory", options.busybox);
	put("no-busybox",
	    "#!/bin/sh\necho bin/sh; # and enough text to be as long as the header of a program\n",
	    83, 0755);
	refuse_with(&options,
	    "busybox `%s` is no ELF program; install busybox-static or give another one",
	    options.busybox);
	options.busybox = "/bin/cat";
	refuse(&options, "busybox `/bin/cat` is not static, so it cannot run without libraries; "
			 "install busybox-static or give another one");
	elf_program_write(&program, "bin/true\n");
	put("no-shell", program.data, program.len, 0755);
	pv_bytes_finish(&program);
	options.busybox = in_folder("no-shell");
	refuse_with(&options,
	    "busybox `%s` does not list a shell among its applets; install busybox-static or give "
	    "--busybox",
	    options.busybox);
	options.busybox = NULL;
	char *path = strdup(getenv("PATH"));
	setenv("PATH", folder, 1);
	struct pv_image_result result;
	build(&options, &result);
	pv_image_result_finish(&result);
	setenv("PATH", path, 1);
	free(path);
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
	    cmocka_unit_test(modules_that_cannot_be_had_are_named),
	    cmocka_unit_test(broken_packages_are_named),
	    cmocka_unit_test(cut_packages_are_refused),
	    cmocka_unit_test(sources_that_contradict_are_refused),
	    cmocka_unit_test(kernels_that_do_not_fit_are_named),
	    cmocka_unit_test(a_busybox_that_cannot_work_is_named),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
