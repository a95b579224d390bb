/*
 * The composed initramfs: its parts, their order and alignment, and that it does not change when
 * its files do.
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

#include "agent/host/image.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/cpio.h"
#include "lab/initramfs.h"
#include "lab/options.h"
#include "lab/profile.h"

static char folder[] = "/tmp/pv-lab-initramfs-XXXXXX";

static int set_up(void **state)
{
	unsetenv("PROVIUM_OVERLAY");
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static char *put(const char *name, const void *data, size_t len)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];
	struct pv_err err = PV_ERR_INIT;
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	assert_int_equal(pv_fd_replace_file(path, data, len, 0644, &err), 0);
	return path;
}

/* An archive with one file, `extra` bytes longer than a whole number of blocks. */
static char *put_archive(const char *name, const char *entry, const char *content, size_t extra)
{
	struct pv_bytes archive = {0};
	assert_int_equal(pv_cpio_add_file(&archive, entry, 0644, content, strlen(content)), 0);
	assert_int_equal(pv_cpio_end(&archive), 0);
	pv_bytes_append(&archive, "\0\0\0", extra);
	char *path = put(name, archive.data, archive.len);
	pv_bytes_finish(&archive);
	return path;
}

/* The entries of all parts, as "path" or "path=content" of small files, one a line; each part must
 * begin at a multiple of four. */
static char *list(const struct pv_initramfs *initramfs)
{
	struct pv_bytes out = {0};
	const char *data = initramfs->data;
	size_t at = 0;
	while (at < initramfs->len) {
		/* The kernel skips zeroes between archives. */
		if (!data[at]) {
			at++;
			continue;
		}
		assert_int_equal(at % 4, 0);
		struct archive *archive = archive_read_new();
		struct archive_entry *entry;
		archive_read_support_format_cpio(archive);
		assert_int_equal(
		    archive_read_open_memory(archive, data + at, initramfs->len - at), ARCHIVE_OK);
		while (archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
			char content[17] = "";
			la_ssize_t len = archive_entry_size(entry) <= 16
					     ? archive_read_data(archive, content, 16)
					     : 0;
			pv_bytes_printf(&out, "%s%s%s\n", archive_entry_pathname(entry),
			    len > 0 ? "=" : "", content);
		}
		archive_read_free(archive);
		const char *end = memmem(data + at, initramfs->len - at, "TRAILER!!!", 11);
		assert_non_null(end);
		at = ((size_t)(end - data) + 11 + 3) & ~(size_t)3;
	}
	return (char *)pv_bytes_text(&out);
}

static void build(struct pv_initramfs *initramfs, const struct pv_profile *profile,
    const struct pv_options *options)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_initramfs_build(initramfs, profile, options, &err))
		fail_msg("%s", err.text);
}

static void expect(
    const struct pv_profile *profile, const struct pv_options *options, const char *entries)
{
	struct pv_initramfs initramfs;
	build(&initramfs, profile, options);
	char *found = list(&initramfs);
	assert_string_equal(found, entries);
	free(found);
	pv_initramfs_finish(&initramfs);
	assert_null(initramfs.data);
	pv_initramfs_finish(&initramfs);
}

static void parts_come_in_the_documented_order(void **state)
{
	struct pv_options options = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_profile profile = {.name = (char *)"p", .inject_agent = true};
	expect(&profile, &options, "sbin\nsbin/provium-agent\n");
	profile.initrd = put_archive("initrd", "init", "profile", 0);
	expect(&profile, &options, "sbin\ninit=profile\nsbin/provium-agent\n");
	assert_int_equal(pv_options_add_file(&options, "/etc/a/b", "one", 3, 0644, &err), 0);
	assert_int_equal(pv_options_add_file(&options, "/init", "two", 3, 0755, &err), 0);
	expect(&profile, &options,
	    "sbin\netc\netc/a\ninit=profile\nsbin/provium-agent\netc/a/b=one\ninit=two\n");
	profile.inject_agent = false;
	expect(&profile, &options, "etc\netc/a\ninit=profile\netc/a/b=one\ninit=two\n");
	pv_options_finish(&options);
	expect(&profile, &options, "init=profile\n");
}

static void the_agent_is_the_embedded_program(void **state)
{
	struct pv_options options = {0};
	struct pv_profile profile = {.name = (char *)"p", .inject_agent = true};
	struct pv_initramfs initramfs;
	struct pv_span agent = pv_agent_image();
	build(&initramfs, &profile, &options);
	assert_non_null(memmem(initramfs.data, initramfs.len, agent.data, agent.len));
	pv_initramfs_finish(&initramfs);
}

static void an_overlay_replaces_the_agent(void **state)
{
	struct pv_options options = {0};
	struct pv_profile profile = {.name = (char *)"p", .inject_agent = true};
	setenv("PROVIUM_OVERLAY", put_archive("env", "sbin/provium-agent", "environment", 0), 1);
	expect(&profile, &options, "sbin\nsbin/provium-agent=environment\n");
	profile.agent_overlay_path = put_archive("own", "sbin/provium-agent", "profile", 0);
	expect(&profile, &options, "sbin\nsbin/provium-agent=profile\n");
	unsetenv("PROVIUM_OVERLAY");
}

/* Archives of any length: the next one must still begin at a multiple of four, or the kernel does
 * not see it. */
static void a_part_of_odd_length_is_padded(void **state)
{
	struct pv_options options = {0};
	struct pv_profile profile = {.name = (char *)"p", .inject_agent = true};
	for (size_t extra = 0; extra < 4; extra++) {
		profile.initrd = put_archive("odd", "init", "x", extra);
		expect(&profile, &options, "sbin\ninit=x\nsbin/provium-agent\n");
	}
}

static void it_does_not_change_when_the_file_does(void **state)
{
	struct pv_options options = {0};
	struct pv_profile profile = {.name = (char *)"p"};
	struct pv_initramfs initramfs;
	profile.initrd = put_archive("changing", "init", "before", 0);
	build(&initramfs, &profile, &options);
	assert_int_equal(truncate(profile.initrd, 0), 0);
	pv_initramfs_cool(&initramfs);
	char *found = list(&initramfs);
	assert_string_equal(found, "init=before\n");
	free(found);
	pv_initramfs_finish(&initramfs);
}

static void refuse(const struct pv_profile *profile, int code, const char *text)
{
	struct pv_options options = {0};
	struct pv_initramfs initramfs;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_initramfs_build(&initramfs, profile, &options, &err), -code);
	assert_string_equal(err.text, text);
	assert_null(initramfs.data);
}

static void what_is_no_archive_is_named(void **state)
{
	char text[600], missing[300];
	struct pv_profile profile = {.name = (char *)"p"};
	refuse(&profile, EINVAL,
	    "profile `p` has neither an initrd nor the agent; set `initrd`, or inject_agent = "
	    "true");
	profile.initrd = folder;
	snprintf(
	    text, sizeof(text), "initrd `%s`: not a regular file; give a cpio archive", folder);
	refuse(&profile, EINVAL, text);
	profile.initrd = put("nothing", "", 0);
	snprintf(text, sizeof(text), "initrd `%s`: the file is empty; give a cpio archive",
	    profile.initrd);
	refuse(&profile, EINVAL, text);
	snprintf(missing, sizeof(missing), "%s/missing", folder);
	profile.initrd = missing;
	snprintf(
	    text, sizeof(text), "initrd `%s`: cannot open it: No such file or directory", missing);
	refuse(&profile, ENOENT, text);
	profile = (struct pv_profile){
	    .name = (char *)"p", .inject_agent = true, .agent_overlay_path = missing};
	snprintf(text, sizeof(text),
	    "agent overlay `%s`: cannot open it: No such file or directory", missing);
	refuse(&profile, ENOENT, text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_come_in_the_documented_order),
	    cmocka_unit_test(the_agent_is_the_embedded_program),
	    cmocka_unit_test(an_overlay_replaces_the_agent),
	    cmocka_unit_test(a_part_of_odd_length_is_padded),
	    cmocka_unit_test(it_does_not_change_when_the_file_does),
	    cmocka_unit_test(what_is_no_archive_is_named),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
