/*
 * Open files in the guest from end to end: the client asks, the real agent does it on this machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/open_file.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

/* An open file and on whose behalf. */
struct opened {
	struct pv_principal by;
	int64_t handle;
};

static struct opened open_file(
    const struct agent_rig *rig, const char *name, struct pv_agent_open how)
{
	struct pv_err err = PV_ERR_INIT;
	struct opened file = {.by = {.agent = rig->agent}};
	if (pv_agent_open_file(
		&file.by, agent_rig_path(rig, name), &how, &file.handle, &file.by.boot, &err) < 0)
		fail_msg("%s", err.text);
	return file;
}

static void write_text(const struct opened *file, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_handle_write(&file->by, file->handle, text, strlen(text), &err) < 0)
		fail_msg("%s", err.text);
}

static void expect_read(const struct opened *file, int64_t size, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	if (pv_agent_handle_read(&file->by, file->handle, size, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	if (text[0] == '\0')
		assert_int_equal(bytes.len, 0);
	else
		agent_rig_assert_text(&bytes, text);
	pv_bytes_finish(&bytes);
}

static int64_t seek(const struct opened *file, int64_t offset, enum pv_agent_whence whence)
{
	struct pv_err err = PV_ERR_INIT;
	int64_t at = -1;
	int status = pv_agent_handle_seek(&file->by, file->handle, offset, whence, &at, &err);
	return status < 0 ? status : at;
}

static void close_file(const struct opened *file)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_agent_handle_close(&file->by, file->handle, &err), 0);
}

static void a_file_is_written_moved_in_and_read(void **state)
{
	struct agent_rig *rig = *state;
	struct stat info;
	struct opened file = open_file(rig, "f",
	    (struct pv_agent_open){.read = true, .write = true, .create = true, .perm = 0666});
	assert_int_equal(stat(agent_rig_path(rig, "f"), &info), 0);
	assert_int_equal(info.st_mode & 07777, 0666);
	write_text(&file, "0123456789");
	expect_read(&file, 5, "");
	assert_int_equal(seek(&file, 2, PV_AGENT_SEEK_SET), 2);
	expect_read(&file, 3, "234");
	assert_int_equal(seek(&file, 0, PV_AGENT_SEEK_CUR), 5);
	assert_int_equal(seek(&file, -1, PV_AGENT_SEEK_END), 9);
	expect_read(&file, -1, "9");
	assert_int_equal(seek(&file, -1, PV_AGENT_SEEK_SET), -EINVAL);
	close_file(&file);
}

static void modes_are_those_of_open(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_open exclusive = {.write = true, .create = true, .exclusive = true};
	struct opened file = open_file(rig, "f", exclusive), other = {0};
	write_text(&file, "one");
	close_file(&file);
	assert_int_equal(pv_agent_open_file(&file.by, agent_rig_path(rig, "f"), &exclusive,
			     &other.handle, &other.by.boot, &err),
	    -EEXIST);
	assert_non_null(strstr(err.text, "open `/tmp/agent_rig"));
	file = open_file(rig, "f", (struct pv_agent_open){.append = true, .read = true});
	write_text(&file, "two");
	assert_int_equal(seek(&file, 0, PV_AGENT_SEEK_SET), 0);
	expect_read(&file, -1, "onetwo");
	close_file(&file);
	file = open_file(rig, "f", (struct pv_agent_open){.write = true, .truncate = true});
	write_text(&file, "3");
	assert_int_equal(
	    pv_agent_handle_read(&file.by, file.handle, 1, &(struct pv_bytes){0}, &err), -EBADF);
	close_file(&file);
	file = open_file(rig, "f", (struct pv_agent_open){.read = true});
	expect_read(&file, -1, "3");
	assert_int_equal(pv_agent_handle_write(&file.by, file.handle, "x", 1, &err), -EBADF);
	close_file(&file);
}

static void a_closed_number_is_never_good_again(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_open how = {.write = true, .create = true};
	struct opened file = open_file(rig, "f", how);
	close_file(&file);
	struct opened second = open_file(rig, "f", how);
	assert_true(second.handle != file.handle);
	assert_int_equal(pv_agent_handle_write(&file.by, file.handle, "x", 1, &err), -EPROTO);
	assert_string_equal(
	    err.text, "the guest's agent refused (unknown_handle): no open file has this number");
	assert_int_equal(pv_agent_handle_close(&file.by, file.handle, &err), -EPROTO);
	close_file(&second);
}

static void more_than_any_window_passes_through_a_handle(void **state)
{
	enum { SIZE = 9 << 20 };
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes back = {0};
	uint8_t *data = malloc(SIZE);
	assert_non_null(data);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	struct opened file = open_file(
	    rig, "f", (struct pv_agent_open){.read = true, .write = true, .create = true});
	assert_int_equal(pv_agent_handle_write(&file.by, file.handle, data, SIZE, &err), 0);
	assert_int_equal(seek(&file, 0, PV_AGENT_SEEK_SET), 0);
	assert_int_equal(pv_agent_handle_read(&file.by, file.handle, 3, &back, &err), 0);
	assert_int_equal(pv_agent_handle_read(&file.by, file.handle, SIZE - 4, &back, &err), 0);
	assert_int_equal(back.len, SIZE - 1);
	assert_int_equal(pv_agent_handle_read(&file.by, file.handle, -1, &back, &err), 0);
	assert_int_equal(back.len, SIZE);
	assert_memory_equal(back.data, data, SIZE);
	pv_bytes_finish(&back);
	free(data);
	close_file(&file);
}

/* A read in another thread, for the test's thread to do something meanwhile. */
struct reader {
	struct opened file;
	struct pv_bytes bytes;
	struct pv_err err;
	int status;
	pthread_t thread;
};

static void *reader_main(void *ctx)
{
	struct reader *reader = ctx;
	reader->status = pv_agent_handle_read(
	    &reader->file.by, reader->file.handle, 100, &reader->bytes, &reader->err);
	return NULL;
}

/* A FIFO with nothing in it, being read. */
static void start_reader(struct agent_rig *rig, struct reader *reader)
{
	*reader = (struct reader){.err = PV_ERR_INIT};
	assert_int_equal(mkfifo(agent_rig_path(rig, "fifo"), 0600), 0);
	reader->file = open_file(rig, "fifo", (struct pv_agent_open){.read = true, .write = true});
	assert_int_equal(pthread_create(&reader->thread, NULL, reader_main, reader), 0);
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) == 0) {
		pv_loop_unlock(rig->loop);
		sched_yield();
		pv_loop_lock(rig->loop);
	}
	pv_loop_unlock(rig->loop);
}

static void a_read_that_waits_blocks_nobody(void **state)
{
	struct agent_rig *rig = *state;
	struct reader reader;
	start_reader(rig, &reader);
	struct pv_agent_exec_result result = agent_rig_shell(rig, "echo here");
	agent_rig_assert_text(&result.out, "here\n");
	agent_rig_free(&result);
	write_text(&reader.file, "at last");
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.status, 0);
	agent_rig_assert_text(&reader.bytes, "at last");
	pv_bytes_finish(&reader.bytes);
}

static void a_read_that_waits_can_be_cancelled(void **state)
{
	struct agent_rig *rig = *state;
	struct reader reader;
	start_reader(rig, &reader);
	pv_loop_lock(rig->loop);
	pv_agent_cancel(rig->agent, "time is up");
	pv_loop_unlock(rig->loop);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.status, -ECANCELED);
	assert_string_equal(reader.err.text, "time is up");
	/* The agent has let go of it: nothing is in flight any more, with nothing written. */
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) > 0)
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
	write_text(&reader.file, "later");
	expect_read(&reader.file, 100, "later");
	pv_bytes_finish(&reader.bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_file_is_written_moved_in_and_read),
	    TEST(modes_are_those_of_open),
	    TEST(a_closed_number_is_never_good_again),
	    TEST(more_than_any_window_passes_through_a_handle),
	    TEST(a_read_that_waits_blocks_nobody),
	    TEST(a_read_that_waits_can_be_cancelled),
	};
	return cmocka_run_group_tests_name("agent_guest_handles", tests, NULL, NULL);
}
