/*
 * Descriptors: whole transfers over pipes and files, files in memory, files that appear at once.
 * Works in a fresh folder under /tmp.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"

static char folder[] = "/tmp/pv-base-fd-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static int set_up(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[300];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static void close_makes_the_number_invalid_once(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int number = fd;
	assert_true(fd >= 0);
	pv_fd_close(&fd);
	assert_int_equal(fd, -1);
	assert_int_equal(fcntl(number, F_GETFD), -1);
	pv_fd_close(&fd);
	assert_int_equal(fd, -1);
}

#define LARGE (1u << 20)

static void *write_large(void *ctx)
{
	uint8_t *data = malloc(LARGE);
	for (unsigned i = 0; i < LARGE; i++)
		data[i] = (uint8_t)(i * 31);
	intptr_t status = pv_fd_write_all(*(int *)ctx, data, LARGE);
	free(data);
	pv_fd_close(ctx);
	return (void *)status;
}

static void whole_transfers_cross_a_pipe_that_is_smaller(void **state)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pthread_t writer;
	assert_int_equal(pthread_create(&writer, NULL, write_large, &ends[1]), 0);
	uint8_t *data = malloc(LARGE);
	assert_int_equal(pv_fd_read_all(ends[0], data, LARGE), 0);
	for (unsigned i = 0; i < LARGE; i++) {
		if (data[i] != (uint8_t)(i * 31))
			fail_msg("byte %u differs", i);
	}
	void *status;
	pthread_join(writer, &status);
	assert_null(status);
	/* The writer closed its end: there is no more. */
	assert_int_equal(pv_fd_read_all(ends[0], data, 1), -ENODATA);
	assert_int_equal(pv_fd_read_all(ends[0], data, 0), 0);
	free(data);
	pv_fd_close(&ends[0]);
}

static void failures_are_the_errno(void **state)
{
	char byte = 0;
	assert_int_equal(pv_fd_write_all(-1, &byte, 1), -EBADF);
	assert_int_equal(pv_fd_read_all(-1, &byte, 1), -EBADF);
	assert_int_equal(pv_fd_pread_all(-1, &byte, 1, 0), -EBADF);
	assert_int_equal(pv_fd_set_nonblocking(-1), -EBADF);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pv_fd_pread_all(fd, &byte, 1, UINT64_MAX), -EINVAL);
	pv_fd_close(&fd);
}

static void pread_leaves_the_position_and_refuses_short_files(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_fd_replace_file(in_folder("p"), "0123456789", 10, 0600, &err), 0);
	int fd = open(in_folder("p"), O_RDONLY | O_CLOEXEC);
	char data[8];
	assert_int_equal(pv_fd_pread_all(fd, data, 4, 6), 0);
	assert_memory_equal(data, "6789", 4);
	assert_int_equal(pv_fd_pread_all(fd, data, 5, 6), -ENODATA);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	pv_fd_close(&fd);
}

static void nonblocking_sets_the_flag(void **state)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pv_fd_set_nonblocking(ends[0]), 0);
	char byte;
	assert_int_equal(pv_fd_read_all(ends[0], &byte, 1), -EAGAIN);
	pv_fd_close(&ends[0]);
	pv_fd_close(&ends[1]);
}

static void slurp_appends_a_whole_file_up_to_the_limit(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	pv_bytes_append(&out, "<", 1);
	assert_int_equal(pv_fd_replace_file(in_folder("s"), "0123456789", 10, 0600, &err), 0);
	assert_int_equal(pv_fd_slurp("thing", in_folder("s"), 10, &out, &err), 0);
	assert_string_equal(pv_bytes_text(&out), "<0123456789");
	assert_int_equal(pv_fd_slurp("thing", in_folder("s"), 9, &out, &err), -EFBIG);
	assert_int_equal(err.kind, PV_ERR_LIMIT);
	assert_non_null(strstr(err.text, "thing `"));
	assert_int_equal(out.len, 11);
	pv_bytes_finish(&out);
}

static void slurp_reads_files_that_claim_to_be_empty(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	assert_int_equal(pv_fd_slurp("proc", "/proc/self/status", 1 << 20, &out, &err), 0);
	assert_memory_equal(out.data, "Name:", 5);
	pv_bytes_finish(&out);
	assert_int_equal(pv_fd_slurp("proc", "/proc/self/status", 10, &out, &err), -EFBIG);
	assert_int_equal(out.len, 0);
	pv_bytes_finish(&out);
}

static void slurp_says_what_is_wrong_with_the_path(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	assert_int_equal(pv_fd_slurp("kernel", "/nowhere/x", 10, &out, &err), -ENOENT);
	assert_string_equal(err.text, "kernel `/nowhere/x`: No such file or directory");
	assert_int_equal(pv_fd_slurp("kernel", "/tmp", 10, &out, &err), -EISDIR);
	assert_string_equal(err.text, "kernel `/tmp`: this is a folder; give a file");
	assert_int_equal(pv_fd_slurp("kernel", "/dev/null", 10, &out, &err), -EINVAL);
	/* A pipe that nobody writes to must not hang. */
	assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
	assert_int_equal(pv_fd_slurp("kernel", in_folder("fifo"), 10, &out, &err), -EINVAL);
	assert_int_equal(out.len, 0);
	pv_bytes_finish(&out);
}

static void replace_makes_folders_and_leaves_no_traces(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	const char *path = in_folder("r/a/b/file");
	char copy[256];
	strcpy(copy, path);
	assert_int_equal(pv_fd_replace_file(copy, "old", 3, 0640, &err), 0);
	assert_int_equal(pv_fd_replace_file(copy, "newer", 5, 0640, &err), 0);
	assert_int_equal(pv_fd_slurp("file", copy, 100, &out, &err), 0);
	assert_string_equal(pv_bytes_text(&out), "newer");
	struct stat info;
	assert_int_equal(stat(copy, &info), 0);
	assert_int_equal(info.st_mode & 0137, 0);
	pv_bytes_finish(&out);
	/* rmdir of the folder works only when no temporary name is left in it. */
	assert_int_equal(unlink(copy), 0);
	assert_int_equal(rmdir(in_folder("r/a/b")), 0);
}

static void replace_fails_in_words_and_cleans_up(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(mkdir(in_folder("d"), 0700), 0);
	assert_int_equal(mkdir(in_folder("d/full"), 0700), 0);
	assert_int_equal(mkdir(in_folder("d/full/x"), 0700), 0);
	/* The target is a folder with something in it: rename refuses. */
	char path[256];
	strcpy(path, in_folder("d/full"));
	assert_true(pv_fd_replace_file(path, "x", 1, 0600, &err) < 0);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(rmdir(in_folder("d/full/x")), 0);
	assert_int_equal(rmdir(in_folder("d/full")), 0);
	assert_int_equal(rmdir(in_folder("d")), 0);
	/* A file stands where a folder must be. */
	assert_int_equal(pv_fd_replace_file(in_folder("plain"), "x", 1, 0600, &err), 0);
	strcpy(path, in_folder("plain/below"));
	assert_int_equal(pv_fd_replace_file(path, "x", 1, 0600, &err), -ENOTDIR);
}

static void make_dirs_is_idempotent_and_refuses_files(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	char path[256];
	strcpy(path, in_folder("m//n/o/"));
	assert_int_equal(pv_fd_make_dirs(path, &err), 0);
	assert_int_equal(pv_fd_make_dirs(path, &err), 0);
	struct stat info;
	assert_int_equal(stat(path, &info), 0);
	assert_true(S_ISDIR(info.st_mode));
	assert_int_equal(pv_fd_replace_file(in_folder("m/file"), "x", 1, 0600, &err), 0);
	strcpy(path, in_folder("m/file/sub"));
	assert_int_equal(pv_fd_make_dirs(path, &err), -ENOTDIR);
	assert_int_equal(pv_fd_make_dirs("/", &err), 0);
	assert_int_equal(pv_fd_make_dirs("/proc/nothing-can-be-made-here", &err), -ENOENT);
}

/* The size of the kernel's descriptor table of this process. */
static unsigned table_size(void)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	assert_int_equal(pv_fd_slurp("status", "/proc/self/status", 1 << 20, &out, &err), 0);
	const char *line = strstr(pv_bytes_text(&out), "FDSize:");
	assert_non_null(line);
	unsigned size = (unsigned)strtoul(line + 7, NULL, 10);
	pv_bytes_finish(&out);
	return size;
}

static void presize_raises_the_limit_and_grows_the_table(void **state)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < 600) {
		print_message("hard limit of descriptors is below 600\n");
		skip();
	}
	limit.rlim_cur = 256;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	pv_fd_presize_table(600);
	struct rlimit after;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
	assert_true(after.rlim_cur == 600);
	assert_true(after.rlim_max == limit.rlim_max);
	assert_true(table_size() >= 600);
	assert_int_equal(fcntl(599, F_GETFD), -1);
	/* Nothing is lowered, and the impossible is harmless. */
	pv_fd_presize_table(10);
	pv_fd_presize_table(0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
	assert_true(after.rlim_cur == 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(close_makes_the_number_invalid_once),
	    cmocka_unit_test(whole_transfers_cross_a_pipe_that_is_smaller),
	    cmocka_unit_test(failures_are_the_errno),
	    cmocka_unit_test(pread_leaves_the_position_and_refuses_short_files),
	    cmocka_unit_test(nonblocking_sets_the_flag),
	    cmocka_unit_test(slurp_appends_a_whole_file_up_to_the_limit),
	    cmocka_unit_test(slurp_reads_files_that_claim_to_be_empty),
	    cmocka_unit_test(slurp_says_what_is_wrong_with_the_path),
	    cmocka_unit_test(replace_makes_folders_and_leaves_no_traces),
	    cmocka_unit_test(replace_fails_in_words_and_cleans_up),
	    cmocka_unit_test(make_dirs_is_idempotent_and_refuses_files),
	    cmocka_unit_test(presize_raises_the_limit_and_grows_the_table),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
