/*
 * Kernels by path: files that are no files, files that change, and the cache of unpacked kernels.
 * Works in a fresh folder under /tmp.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "kernel_files.h"
#include "vmm/kernel.h"
#include "vmm/kernel_cache.h"
#include "vmm/kernel_image.h"

/* A folder of its own for each test. */
struct place {
	char folder[32];
	char kernel[64]; /* a bzImage */
	char cache[64];	 /* not there yet */
};

static void write_file(const char *path, const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_fd_replace_file(path, data, len, 0644, &err) < 0)
		fail_msg("%s", err.text);
}

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	struct pv_bytes file = {0};
	strcpy(place->folder, "/tmp/pv-vmm-kernel-XXXXXX");
	if (!mkdtemp(place->folder))
		return -1;
	snprintf(place->kernel, sizeof(place->kernel), "%s/bzImage", place->folder);
	snprintf(place->cache, sizeof(place->cache), "%s/a/cache", place->folder);
	make_tiny_bzimage(PV_KERNEL_ZSTD, &file);
	write_file(place->kernel, file.data, file.len);
	pv_bytes_finish(&file);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;
	char command[64];
	snprintf(command, sizeof(command), "rm -rf '%s'", place->folder);
	int status = system(command);
	free(place);
	return status;
}

static struct pv_kernel *open_kernel(const char *path, const char *cache)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	if (pv_kernel_open(&kernel, path, cache, &err) < 0)
		fail_msg("%s", err.text);
	return kernel;
}

static void expect_refused(const char *path, int code, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	char start[128];
	snprintf(start, sizeof(start), "kernel `%s`: ", path);
	assert_int_equal(pv_kernel_open(&kernel, path, NULL, &err), -code);
	assert_memory_equal(err.text, start, strlen(start));
	if (!strstr(err.text, text))
		fail_msg("`%s` is not in `%s`", text, err.text);
}

static void expect_tiny(const struct pv_kernel *kernel)
{
	struct pv_bytes elf = {0};
	make_tiny_elf(&elf);
	assert_int_equal(kernel->image_size, elf.len);
	assert_memory_equal(kernel->image, elf.data, elf.len);
	assert_int_equal(kernel->segment_count, 2);
	pv_bytes_finish(&elf);
}

/* Opens the place's kernel with its cache, and checks all of it. */
static void expect_opens(const struct place *place)
{
	struct pv_kernel *kernel = open_kernel(place->kernel, place->cache);
	expect_tiny(kernel);
	assert_int_equal(kernel->header_size, 0x26c - 0x1f1);
	assert_int_equal(kernel->cmdline_max, 2047);
	pv_kernel_destroy(kernel);
}

/* The path of the only entry of the cache. */
static void find_entry(const struct place *place, char *path, size_t size)
{
	DIR *dir = opendir(place->cache);
	assert_non_null(dir);
	unsigned count = 0;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, "index-", 6) == 0)
			continue;
		assert_in_range(
		    snprintf(path, size, "%s/%s", place->cache, entry->d_name), 1, size - 1);
		count++;
	}
	closedir(dir);
	assert_int_equal(count, 1);
}

/* --- files --- */

static void what_is_no_file_is_named(void **state)
{
	const struct place *place = *state;
	char path[128];
	snprintf(path, sizeof(path), "%s/nothing", place->folder);
	expect_refused(path, ENOENT, "No such file");
	expect_refused(place->folder, EISDIR, "this is a folder");
	expect_refused("/dev/zero", EINVAL, "device, pipe or socket");
	snprintf(path, sizeof(path), "%s/fifo", place->folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused(path, EINVAL, "device, pipe or socket");
	snprintf(path, sizeof(path), "%s/empty", place->folder);
	write_file(path, "", 0);
	expect_refused(path, ENOEXEC, "the file is empty");
}

static void an_unreadable_file_is_named(void **state)
{
	const struct place *place = *state;
	assert_int_equal(chmod(place->kernel, 0), 0);
	if (access(place->kernel, R_OK) == 0) {
		print_message("[  SKIPPED ] this user reads any file, so none is unreadable\n");
		skip();
	}
	expect_refused(place->kernel, EACCES, "Permission denied");
}

static void a_file_that_shrinks_below_an_open_kernel_does_no_harm(void **state)
{
	const struct place *place = *state;
	struct pv_bytes elf = {0};
	make_tiny_elf(&elf);
	write_file(place->kernel, elf.data, elf.len);
	struct pv_kernel *kernel = open_kernel(place->kernel, place->cache);
	assert_int_equal(truncate(place->kernel, 0), 0);
	expect_tiny(kernel);
	pv_kernel_destroy(kernel);
	pv_bytes_finish(&elf);
}

static void debug_information_is_not_read(void **state)
{
	const struct place *place = *state;
	struct pv_bytes elf = {0};
	make_tiny_elf(&elf);
	write_file(place->kernel, elf.data, elf.len);
	/* More than PV_KERNEL_FILE_MAX, behind all segments. */
	assert_int_equal(truncate(place->kernel, (off_t)5 << 30), 0);
	struct pv_kernel *kernel = open_kernel(place->kernel, NULL);
	assert_in_range(kernel->image_size, elf.len, 1 << 20);
	assert_memory_equal(kernel->image, elf.data, elf.len);
	pv_kernel_destroy(kernel);
	pv_bytes_finish(&elf);
}

static void a_packed_file_over_the_limit_is_refused(void **state)
{
	const struct place *place = *state;
	assert_int_equal(truncate(place->kernel, (off_t)5 << 30), 0);
	expect_refused(place->kernel, EFBIG, "it has 5120 MiB, more than the limit of 1024 MiB");
}

/* --- cache --- */

static void the_second_opening_takes_the_first_ones_work(void **state)
{
	const struct place *place = *state;
	char entry[320];
	struct stat before, after;
	expect_opens(place);
	find_entry(place, entry, sizeof(entry));
	assert_int_equal(stat(entry, &before), 0);
	expect_opens(place);
	find_entry(place, entry, sizeof(entry));
	assert_int_equal(stat(entry, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void a_copy_elsewhere_finds_the_same_entry(void **state)
{
	struct place *place = *state, other = *place;
	struct pv_bytes file = {0};
	char entry[320];
	expect_opens(place);
	snprintf(other.kernel, sizeof(other.kernel), "%s/copy", place->folder);
	make_tiny_bzimage(PV_KERNEL_ZSTD, &file);
	write_file(other.kernel, file.data, file.len);
	expect_opens(&other);
	find_entry(place, entry, sizeof(entry));
	pv_bytes_finish(&file);
}

static void no_cache_folder_is_fine(void **state)
{
	const struct place *place = *state;
	struct pv_kernel *kernel = open_kernel(place->kernel, NULL);
	expect_tiny(kernel);
	pv_kernel_destroy(kernel);
	/* A folder that cannot be made. */
	kernel = open_kernel(place->kernel, "/dev/null/cache");
	expect_tiny(kernel);
	pv_kernel_destroy(kernel);
}

static void a_kernel_outlives_its_cache_entry(void **state)
{
	const struct place *place = *state;
	char entry[320];
	struct pv_kernel *kernel = open_kernel(place->kernel, place->cache);
	find_entry(place, entry, sizeof(entry));
	assert_int_equal(unlink(entry), 0);
	expect_tiny(kernel);
	pv_kernel_destroy(kernel);
	expect_opens(place);
}

/* Whatever an entry is replaced by, the kernel opens and the entry is whole again. */
static void expect_repaired(const struct place *place, const void *data, size_t len)
{
	char entry[320];
	find_entry(place, entry, sizeof(entry));
	write_file(entry, data, len);
	expect_opens(place);
	struct pv_kernel_image image = {0};
	if (!pv_kernel_cache_map(place->cache, strrchr(entry, '/') + 1, &image))
		fail_msg("a damaged entry of %zu bytes was not replaced", len);
	image.kernel.segment_count = 2;
	expect_tiny(&image.kernel);
	assert_int_equal(munmap(image.mapping, image.mapping_size), 0);
}

static void damaged_entries_are_replaced(void **state)
{
	const struct place *place = *state;
	struct pv_bytes good = {0};
	struct pv_err err = PV_ERR_INIT;
	char entry[320];
	expect_opens(place);
	find_entry(place, entry, sizeof(entry));
	assert_int_equal(pv_fd_slurp("entry", entry, 1 << 20, &good, &err), 0);
	static const size_t cuts[] = {0, 1, 100, 4095, 4096, 4097, 5000};
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
		expect_repaired(place, good.data, cuts[i]);
	expect_repaired(place, good.data, good.len - 1);
	/* Each byte of the header, and of the sample at the front of the image. */
	for (size_t at = 0; at < 4096 + 64; at++) {
		/* Padding of the page: nobody reads it. */
		if (at >= 256 && at < 4096)
			continue;
		good.data[at] ^= 0x10;
		expect_repaired(place, good.data, good.len);
		good.data[at] ^= 0x10;
	}
	/* What a power cut can leave. */
	memset(good.data, 0, good.len);
	expect_repaired(place, good.data, good.len);
	pv_bytes_finish(&good);
}

static void a_folder_in_place_of_an_entry_is_fine(void **state)
{
	const struct place *place = *state;
	char entry[320];
	expect_opens(place);
	find_entry(place, entry, sizeof(entry));
	assert_int_equal(unlink(entry), 0);
	assert_int_equal(mkdir(entry, 0700), 0);
	expect_opens(place);
}

static void another_content_at_the_same_path_is_noticed(void **state)
{
	const struct place *place = *state;
	struct pv_bytes elf = {0}, packed = {0}, file = {0};
	expect_opens(place);
	make_tiny_elf(&elf);
	elf_header(&elf)->e_entry = TINY_CODE_GPA + 64;
	make_packed(PV_KERNEL_GZIP, elf.data, elf.len, &packed);
	make_bzimage(packed.data, packed.len, 0, &file);
	write_file(place->kernel, file.data, file.len);
	struct pv_kernel *kernel = open_kernel(place->kernel, place->cache);
	assert_int_equal(kernel->entry64, TINY_CODE_GPA + 64);
	pv_kernel_destroy(kernel);
	pv_bytes_finish(&file);
	pv_bytes_finish(&packed);
	pv_bytes_finish(&elf);
}

static void a_damaged_file_leaves_nothing_in_the_cache(void **state)
{
	const struct place *place = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_kernel *kernel = NULL;
	assert_int_equal(truncate(place->kernel, 2000), 0);
	assert_int_equal(pv_kernel_open(&kernel, place->kernel, place->cache, &err), -ENOEXEC);
	assert_int_equal(access(place->cache, F_OK), -1);
}

static void many_processes_may_fill_the_cache_at_once(void **state)
{
	const struct place *place = *state;
	pid_t children[8];
	char entry[320];
	for (size_t i = 0; i < 8; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] > 0)
			continue;
		struct pv_err err = PV_ERR_INIT;
		struct pv_kernel *kernel = NULL;
		int status = pv_kernel_open(&kernel, place->kernel, place->cache, &err);
		_exit(status < 0 || kernel->segment_count != 2);
	}
	for (size_t i = 0; i < 8; i++) {
		int status;
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	find_entry(place, entry, sizeof(entry));
}

/* --- index --- */

static const char some_hash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static const struct stat settled = {
    .st_dev = 1,
    .st_ino = 2,
    .st_size = 3,
    .st_mtim = {.tv_sec = 1000, .tv_nsec = 4},
    .st_ctim = {.tv_sec = 1000, .tv_nsec = 5},
};

static void a_file_is_recalled_until_anything_about_it_changes(void **state)
{
	const struct place *place = *state;
	char hash[PV_HASH_TEXT];
	assert_false(pv_kernel_cache_recall(place->cache, "/k", &settled, hash));
	pv_kernel_cache_remember(place->cache, "/k", &settled, some_hash);
	assert_true(pv_kernel_cache_recall(place->cache, "/k", &settled, hash));
	assert_string_equal(hash, some_hash);
	assert_false(pv_kernel_cache_recall(place->cache, "/l", &settled, hash));
	struct stat changed[6];
	for (size_t i = 0; i < 6; i++)
		changed[i] = settled;
	changed[0].st_dev++;
	changed[1].st_ino++;
	changed[2].st_size++;
	changed[3].st_mtim.tv_nsec++;
	changed[4].st_ctim.tv_nsec++;
	changed[5].st_mtim.tv_sec++;
	for (size_t i = 0; i < 6; i++)
		assert_false(pv_kernel_cache_recall(place->cache, "/k", &changed[i], hash));
}

static void a_file_that_just_changed_is_not_remembered(void **state)
{
	const struct place *place = *state;
	char hash[PV_HASH_TEXT];
	struct stat info;
	assert_int_equal(stat(place->kernel, &info), 0);
	pv_kernel_cache_remember(place->cache, place->kernel, &info, some_hash);
	assert_false(pv_kernel_cache_recall(place->cache, place->kernel, &info, hash));
}

static void a_damaged_index_is_not_believed(void **state)
{
	const struct place *place = *state;
	static const char *const bad[] = {"", "0123",
	    "../../../../../../../../../../../../../../../etc/passwd/////////////",
	    "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"};
	char hash[PV_HASH_TEXT];
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pv_kernel_cache_remember(place->cache, "/k", &settled, bad[i]);
		assert_false(pv_kernel_cache_recall(place->cache, "/k", &settled, hash));
	}
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(what_is_no_file_is_named),
	    IN_PLACE(an_unreadable_file_is_named),
	    IN_PLACE(a_file_that_shrinks_below_an_open_kernel_does_no_harm),
	    IN_PLACE(debug_information_is_not_read),
	    IN_PLACE(a_packed_file_over_the_limit_is_refused),
	    IN_PLACE(the_second_opening_takes_the_first_ones_work),
	    IN_PLACE(a_copy_elsewhere_finds_the_same_entry),
	    IN_PLACE(no_cache_folder_is_fine),
	    IN_PLACE(a_kernel_outlives_its_cache_entry),
	    IN_PLACE(damaged_entries_are_replaced),
	    IN_PLACE(a_folder_in_place_of_an_entry_is_fine),
	    IN_PLACE(another_content_at_the_same_path_is_noticed),
	    IN_PLACE(a_damaged_file_leaves_nothing_in_the_cache),
	    IN_PLACE(many_processes_may_fill_the_cache_at_once),
	    IN_PLACE(a_file_is_recalled_until_anything_about_it_changes),
	    IN_PLACE(a_file_that_just_changed_is_not_remembered),
	    IN_PLACE(a_damaged_index_is_not_believed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
