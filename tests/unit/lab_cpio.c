/*
 * The archive writer, read back by libarchive: names, modes, contents, sizes and padding.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "lab/cpio.h"

/* Opens a written archive with libarchive, and only as newc. */
static struct archive *open_archive(const struct pv_bytes *bytes)
{
	struct archive *archive = archive_read_new();
	assert_int_equal(archive_read_support_format_cpio(archive), ARCHIVE_OK);
	assert_int_equal(archive_read_open_memory(archive, bytes->data, bytes->len), ARCHIVE_OK);
	return archive;
}

static void expect_entry(
    struct archive *archive, const char *path, unsigned mode, const void *data, size_t len)
{
	struct archive_entry *entry;
	char buffer[8192];
	assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
	assert_int_equal(archive_format(archive), ARCHIVE_FORMAT_CPIO_SVR4_NOCRC);
	assert_string_equal(archive_entry_pathname(entry), path);
	assert_int_equal(archive_entry_mode(entry), mode);
	assert_int_equal(archive_entry_uid(entry), 0);
	assert_int_equal(archive_entry_gid(entry), 0);
	assert_int_equal(archive_entry_mtime(entry), 0);
	if (S_ISLNK(mode)) {
		assert_string_equal(archive_entry_symlink(entry), (const char *)data);
		return;
	}
	assert_int_equal(archive_entry_size(entry), len);
	assert_int_equal(archive_read_data(archive, buffer, sizeof(buffer)), len);
	if (len)
		assert_memory_equal(buffer, data, len);
}

static void expect_end(struct archive *archive)
{
	struct archive_entry *entry;
	assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_EOF);
	archive_read_free(archive);
}

static void what_was_written_is_read_back(void **state)
{
	struct pv_bytes out = {0};
	assert_int_equal(pv_cpio_add_dir(&out, "bin"), 0);
	assert_int_equal(pv_cpio_add_file(&out, "bin/a", 0755, "content", 7), 0);
	assert_int_equal(pv_cpio_add_file(&out, "empty", 0600, NULL, 0), 0);
	assert_int_equal(pv_cpio_add_symlink(&out, "bin/link", "/bin/a"), 0);
	assert_int_equal(pv_cpio_add(&out, "tmp", S_IFDIR | 01777, NULL, 0), 0);
	assert_int_equal(pv_cpio_add_file(&out, "set-uid", 04755, "\0\xff", 2), 0);
	assert_int_equal(pv_cpio_end(&out), 0);
	assert_int_equal(out.len % 512, 0);
	struct archive *archive = open_archive(&out);
	expect_entry(archive, "bin", S_IFDIR | 0755, NULL, 0);
	expect_entry(archive, "bin/a", S_IFREG | 0755, "content", 7);
	expect_entry(archive, "empty", S_IFREG | 0600, NULL, 0);
	expect_entry(archive, "bin/link", S_IFLNK | 0777, "/bin/a", 0);
	expect_entry(archive, "tmp", S_IFDIR | 01777, NULL, 0);
	expect_entry(archive, "set-uid", S_IFREG | 04755, "\0\xff", 2);
	expect_end(archive);
	pv_bytes_finish(&out);
}

static void names_and_contents_of_every_length_are_padded_right(void **state)
{
	struct pv_bytes out = {0};
	char data[20], name[24];
	memset(data, 'd', sizeof(data));
	for (size_t i = 1; i <= 16; i++) {
		memset(name, 'n', i);
		name[i] = '\0';
		assert_int_equal(pv_cpio_add_file(&out, name, 0644, data, 17 - i), 0);
		assert_int_equal(out.len % 4, 0);
	}
	assert_int_equal(pv_cpio_end(&out), 0);
	struct archive *archive = open_archive(&out);
	for (size_t i = 1; i <= 16; i++) {
		memset(name, 'n', i);
		name[i] = '\0';
		expect_entry(archive, name, S_IFREG | 0644, data, 17 - i);
	}
	expect_end(archive);
	pv_bytes_finish(&out);
}

static void parents_come_outermost_first(void **state)
{
	struct pv_bytes out = {0};
	assert_int_equal(pv_cpio_add_parents(&out, "a/bc/d/file"), 0);
	assert_int_equal(pv_cpio_add_parents(&out, "file"), 0);
	assert_int_equal(pv_cpio_end(&out), 0);
	struct archive *archive = open_archive(&out);
	expect_entry(archive, "a", S_IFDIR | 0755, NULL, 0);
	expect_entry(archive, "a/bc", S_IFDIR | 0755, NULL, 0);
	expect_entry(archive, "a/bc/d", S_IFDIR | 0755, NULL, 0);
	expect_end(archive);
	pv_bytes_finish(&out);
	char *long_path = malloc(5001);
	memset(long_path, 'x', 5000);
	long_path[5000] = '\0';
	assert_int_equal(pv_cpio_add_parents(&out, long_path), -ENAMETOOLONG);
	free(long_path);
	pv_bytes_finish(&out);
}

static void equal_input_gives_equal_bytes(void **state)
{
	struct pv_bytes out[2] = {{0}};
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pv_cpio_add_file(&out[i], "a", 0644, "x", 1), 0);
		assert_int_equal(pv_cpio_end(&out[i]), 0);
	}
	assert_int_equal(out[0].len, out[1].len);
	assert_memory_equal(out[0].data, out[1].data, out[0].len);
	pv_bytes_finish(&out[0]);
	pv_bytes_finish(&out[1]);
}

/* The kernel links files that share an inode number, when their link count says so. */
static void no_two_entries_are_hard_links(void **state)
{
	struct pv_bytes out = {0};
	assert_int_equal(pv_cpio_add_file(&out, "a", 0644, "x", 1), 0);
	assert_int_equal(pv_cpio_add_file(&out, "b", 0644, "y", 1), 0);
	assert_int_equal(pv_cpio_end(&out), 0);
	struct archive *archive = open_archive(&out);
	struct archive_entry *entry;
	assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
	int64_t first = archive_entry_ino(entry);
	assert_int_equal(archive_entry_nlink(entry), 1);
	assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
	assert_int_not_equal(archive_entry_ino(entry), first);
	assert_null(archive_entry_hardlink(entry));
	archive_read_free(archive);
	pv_bytes_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_written_is_read_back),
	    cmocka_unit_test(names_and_contents_of_every_length_are_padded_right),
	    cmocka_unit_test(parents_come_outermost_first),
	    cmocka_unit_test(equal_input_gives_equal_bytes),
	    cmocka_unit_test(no_two_entries_are_hard_links),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
