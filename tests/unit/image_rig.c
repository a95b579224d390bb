/* See image_rig.h. */
#include "tests/unit/image_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "tests/unit/elf_module.h"

#define MAGIC "vermagic=" IMAGE_RIG_RELEASE " SMP mod_unload "

char image_rig_folder[] = "/tmp/pv-lab-image-XXXXXX";

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

const char *image_rig_path(const char *name)
{
	static char paths[8][512];
	static unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof(paths[0]), "%s/%s", image_rig_folder, name);
	return path;
}

void image_rig_put(const char *name, const void *data, size_t len, mode_t mode)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_fd_replace_file(image_rig_path(name), data, len, mode, &err), 0);
}

void image_rig_write_kernel(struct pv_bytes *out, const char *version)
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
	image_rig_write_kernel(&kernel, IMAGE_RIG_RELEASE " (me@host) #1 SMP");
	char path[256];
	for (unsigned i = 0; i < (content & WITH_TWO_KERNELS ? 2
				     : content & WITH_KERNEL ? 1
							     : 0);
	     i++) {
		snprintf(
		    path, sizeof(path), "./boot/vmlinuz-" IMAGE_RIG_RELEASE "%s", i ? "-b" : "");
		add_entry(archive, path, kernel.data, kernel.len);
	}
	for (size_t i = 0; i < MODULE_COUNT && content & WITH_MODULES; i++) {
		struct pv_bytes module = {0};
		write_module(&module, i);
		snprintf(path, sizeof(path), "%s" IMAGE_RIG_MODULES "%s", prefix, modules[i].path);
		add_entry(archive, path, module.data, module.len);
		pv_bytes_finish(&module);
	}
	snprintf(path, sizeof(path), "%s" IMAGE_RIG_MODULES "modules.builtin", prefix);
	if (content & WITH_MODULES)
		add_entry(archive, path, builtin, sizeof(builtin) - 1);
	if (content & WITH_OTHER_RELEASE)
		add_entry(archive, "lib/modules/5.0/kernel/x.ko", "x", 1);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
	pv_bytes_append(out, buffer, used);
	pv_bytes_finish(&kernel);
}

void image_rig_put_package(
    const char *name, const char *member, int filter, const char *prefix, unsigned content)
{
	struct archive *archive = archive_write_new();
	struct pv_bytes tar = {0};
	write_tar(&tar, filter, prefix, content);
	archive_write_set_format_ar_svr4(archive);
	assert_int_equal(archive_write_open_filename(archive, image_rig_path(name)), ARCHIVE_OK);
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
	image_rig_put(name, buffer, used, 0644);
}

int image_rig_set_up(void **state)
{
	static const int filters[] = {
	    0, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_ZSTD};
	static const char *const suffixes[] = {"", ".gz", ".xz", ".zst"};
	struct pv_bytes kernel = {0}, busybox = {0};
	if (!mkdtemp(image_rig_folder))
		return -1;
	image_rig_write_kernel(&kernel, IMAGE_RIG_RELEASE " x");
	image_rig_put("vmlinuz", kernel.data, kernel.len, 0644);
	elf_program_write(&busybox,
	    "bin/sh\nbin/busybox\nsbin/modprobe\nusr/bin/[\nopt/odd/x\n../evil\n/abs\nlinuxrc\n");
	image_rig_put("busybox", busybox.data, busybox.len, 0755);
	/* A modules folder in which each fourth file has another compression. */
	for (size_t i = 0; i < MODULE_COUNT; i++) {
		struct pv_bytes module = {0};
		char name[256];
		write_module(&module, i);
		snprintf(
		    name, sizeof(name), IMAGE_RIG_MODULES "%s%s", modules[i].path, suffixes[i % 4]);
		if (i % 4)
			image_rig_put(name, "", 0, 0644),
			    put_compressed(name, module.data, module.len, filters[i % 4]);
		else
			image_rig_put(name, module.data, module.len, 0644);
		pv_bytes_finish(&module);
	}
	image_rig_put(IMAGE_RIG_MODULES "modules.builtin", builtin, sizeof(builtin) - 1, 0644);
	pv_bytes_finish(&kernel);
	pv_bytes_finish(&busybox);
	return 0;
}

int image_rig_tear_down(void **state)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", image_rig_folder);
	return system(command);
}

/* --- looking at an image --- */

void image_rig_read(const char *path, struct image_files *files)
{
	struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	*files = (struct image_files){0};
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

void image_rig_finish(struct image_files *files)
{
	pv_bytes_finish(&files->list);
	pv_bytes_finish(&files->agent_modules);
	pv_bytes_finish(&files->later_modules);
	pv_bytes_finish(&files->dep);
	pv_bytes_finish(&files->alias);
}

bool image_rig_has_line(const struct pv_bytes *text, const char *line)
{
	size_t len = strlen(line);
	for (const char *at = (const char *)text->data; at && (at = strstr(at, line)); at++) {
		if ((at == (const char *)text->data || at[-1] == '\n') && at[len] == '\n')
			return true;
	}
	return false;
}

struct pv_image_options image_rig_options(const char *out)
{
	static char out_dir[512], busybox[512];
	snprintf(out_dir, sizeof(out_dir), "%s", image_rig_path(out));
	snprintf(busybox, sizeof(busybox), "%s", image_rig_path("busybox"));
	return (struct pv_image_options){.out_dir = out_dir, .name = "linux", .busybox = busybox};
}

void image_rig_build(const struct pv_image_options *options, struct pv_image_result *result)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_image_build(options, result, &err))
		fail_msg("%s", err.text);
}
