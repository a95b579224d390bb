/*
 * Streams from the guest from end to end: the client asks, the real agent follows files of this
 * machine. Waits are for bytes that are on their way, never for a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/open_file.h"
#include "agent/host/stream.h"
#include "base/clock.h"
#include "base/fd.h"
#include "tests/unit/agent_rig.h"

static void append(const struct agent_rig *rig, const char *name, const char *text)
{
	int fd = open(agent_rig_path(rig, name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pv_fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static struct pv_agent_stream *tail(
    const struct agent_rig *rig, const char *name, enum pv_agent_stream_from from, int64_t offset)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_stream *stream;
	if (pv_agent_stream_tail(PV_PRINCIPAL(rig->agent), agent_rig_path(rig, name), from, offset,
		&stream, &err) < 0)
		fail_msg("%s", err.text);
	return stream;
}

/* Takes until there are `len` bytes, or the stream ends. Returns the last status. */
static int take(struct agent_rig *rig, struct pv_agent_stream *stream, size_t len,
    struct pv_bytes *out, struct pv_err *err)
{
	int status = 1;
	pv_loop_lock(rig->loop);
	while (out->len < len && status != 0) {
		status = pv_agent_stream_take(stream, out, len - out->len, err);
		if (status == -EAGAIN)
			pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
		else if (status < 0)
			break;
	}
	pv_loop_unlock(rig->loop);
	return status;
}

static void expect(struct agent_rig *rig, struct pv_agent_stream *stream, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	int status = take(rig, stream, strlen(text), &bytes, &err);
	if (status <= 0)
		fail_msg("`%.*s` and then status %d %s instead of `%s`", (int)bytes.len,
		    (const char *)bytes.data, status, err.text, text);
	agent_rig_assert_text(&bytes, text);
	pv_bytes_finish(&bytes);
}

static int wait_for_end(struct agent_rig *rig, struct pv_agent_stream *stream)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	int status = take(rig, stream, 1, &bytes, &err);
	assert_int_equal(bytes.len, 0);
	assert_true(pv_agent_stream_is_over(stream));
	return status;
}

static bool has_rotation(
    struct agent_rig *rig, struct pv_agent_stream *stream, size_t index, uint64_t *offset)
{
	pv_loop_lock(rig->loop);
	bool found = pv_agent_stream_rotation(stream, index, offset);
	pv_loop_unlock(rig->loop);
	return found;
}

static void a_tail_begins_where_it_is_told(void **state)
{
	struct agent_rig *rig = *state;
	append(rig, "f", "0123456789");
	struct pv_agent_stream *end = tail(rig, "f", PV_AGENT_STREAM_FROM_END, 0);
	struct pv_agent_stream *last = tail(rig, "f", PV_AGENT_STREAM_FROM_END, -3);
	struct pv_agent_stream *start = tail(rig, "f", PV_AGENT_STREAM_FROM_START, 0);
	struct pv_agent_stream *middle = tail(rig, "f", PV_AGENT_STREAM_FROM_START, 6);
	struct pv_agent_stream *before = tail(rig, "f", PV_AGENT_STREAM_FROM_END, INT64_MIN);
	append(rig, "f", "new");
	expect(rig, end, "new");
	expect(rig, last, "789new");
	expect(rig, start, "0123456789new");
	expect(rig, middle, "6789new");
	expect(rig, before, "0123456789new");
	append(rig, "f", "er");
	expect(rig, end, "er");
	expect(rig, start, "er");
	struct pv_agent_stream *all[] = {end, last, start, middle, before};
	for (size_t i = 0; i < 5; i++)
		pv_agent_stream_close(all[i]);
	/* The agent lets go of them by itself. */
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) > 0)
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
}

static void a_tail_beyond_the_end_waits_there(void **state)
{
	struct agent_rig *rig = *state;
	append(rig, "f", "0123456789");
	int fd = open(agent_rig_path(rig, "f"), O_WRONLY | O_APPEND | O_CLOEXEC);
	struct pv_agent_stream *stream = tail(rig, "f", PV_AGENT_STREAM_FROM_START, 10);
	assert_int_equal(pv_fd_write_all(fd, "x", 1), 0);
	expect(rig, stream, "x");
	close(fd);
	pv_agent_stream_close(stream);
}

static void what_is_not_there_or_no_file_is_an_error(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_stream *stream;
	const struct pv_principal *by = PV_PRINCIPAL(rig->agent);
	assert_int_equal(
	    pv_agent_stream_tail(by, "/nope", PV_AGENT_STREAM_FROM_END, 0, &stream, &err), -ENOENT);
	assert_string_equal(err.text, "tail `/nope`: No such file or directory");
	assert_null(stream);
	assert_int_equal(
	    pv_agent_stream_tail(by, rig->folder, PV_AGENT_STREAM_FROM_END, 0, &stream, &err),
	    -EISDIR);
	assert_int_equal(pv_agent_stream_handle(by, 77, &stream, &err), -EPROTO);
}

static void a_rotation_by_renaming_loses_nothing(void **state)
{
	struct agent_rig *rig = *state;
	uint64_t offset;
	append(rig, "log", "old ");
	int writer = open(agent_rig_path(rig, "log"), O_WRONLY | O_APPEND | O_CLOEXEC);
	struct pv_agent_stream *stream = tail(rig, "log", PV_AGENT_STREAM_FROM_START, 0);
	expect(rig, stream, "old ");
	assert_int_equal(rename(agent_rig_path(rig, "log"), agent_rig_path(rig, "log.1")), 0);
	/* The daemon does not know yet, and the new file is there already, empty. */
	assert_int_equal(pv_fd_write_all(writer, "late ", 5), 0);
	expect(rig, stream, "late ");
	append(rig, "log", "");
	assert_int_equal(pv_fd_write_all(writer, "later ", 6), 0);
	expect(rig, stream, "later ");
	assert_false(has_rotation(rig, stream, 0, &offset));
	/* Both at once: what was in the old one comes first. */
	assert_int_equal(pv_fd_write_all(writer, "last ", 5), 0);
	close(writer);
	append(rig, "log", "new ");
	expect(rig, stream, "last new ");
	assert_true(has_rotation(rig, stream, 0, &offset));
	assert_int_equal(offset, strlen("old late later last "));
	/* And again, this time with the new file in place at once. */
	append(rig, "log.tmp", "third");
	assert_int_equal(rename(agent_rig_path(rig, "log.tmp"), agent_rig_path(rig, "log")), 0);
	expect(rig, stream, "third");
	assert_true(has_rotation(rig, stream, 1, &offset));
	assert_false(has_rotation(rig, stream, 2, &offset));
	pv_agent_stream_close(stream);
}

static void a_rotation_behind_a_symbolic_link_is_seen(void **state)
{
	struct agent_rig *rig = *state;
	assert_int_equal(mkdir(agent_rig_path(rig, "d"), 0700), 0);
	append(rig, "d/log", "one ");
	assert_int_equal(symlink("d/log", agent_rig_path(rig, "link")), 0);
	struct pv_agent_stream *stream = tail(rig, "link", PV_AGENT_STREAM_FROM_START, 0);
	assert_int_equal(rename(agent_rig_path(rig, "d/log"), agent_rig_path(rig, "d/log.1")), 0);
	append(rig, "d/log", "two ");
	expect(rig, stream, "one two ");
	append(rig, "other", "three ");
	assert_int_equal(symlink("other", agent_rig_path(rig, "link.new")), 0);
	assert_int_equal(rename(agent_rig_path(rig, "link.new"), agent_rig_path(rig, "link")), 0);
	expect(rig, stream, "three ");
	/* From here on that is the folder to look at. */
	assert_int_equal(mkdir(agent_rig_path(rig, "e"), 0700), 0);
	append(rig, "e/log", "four ");
	assert_int_equal(symlink("e/log", agent_rig_path(rig, "link.new")), 0);
	assert_int_equal(rename(agent_rig_path(rig, "link.new"), agent_rig_path(rig, "link")), 0);
	expect(rig, stream, "four ");
	assert_int_equal(unlink(agent_rig_path(rig, "e/log")), 0);
	append(rig, "e/log.tmp", "five ");
	/* What tells of it is the folder: the old file is gone. */
	assert_int_equal(rename(agent_rig_path(rig, "e/log.tmp"), agent_rig_path(rig, "e/log")), 0);
	expect(rig, stream, "five ");
	pv_agent_stream_close(stream);
}

static void a_truncated_file_ends_the_stream(void **state)
{
	struct agent_rig *rig = *state;
	append(rig, "f", "content");
	struct pv_agent_stream *stream = tail(rig, "f", PV_AGENT_STREAM_FROM_START, 0);
	expect(rig, stream, "content");
	assert_int_equal(truncate(agent_rig_path(rig, "f"), 3), 0);
	assert_int_equal(wait_for_end(rig, stream), 0);
	assert_true(pv_agent_stream_is_truncated(stream));
	pv_agent_stream_close(stream);
}

static void a_file_of_proc_is_read_and_not_taken_for_truncated(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_stream *stream;
	struct pv_bytes bytes = {0};
	assert_int_equal(pv_agent_stream_tail(PV_PRINCIPAL(rig->agent), "/proc/version",
			     PV_AGENT_STREAM_FROM_START, 0, &stream, &err),
	    0);
	assert_int_equal(take(rig, stream, 13, &bytes, &err), 13);
	agent_rig_assert_text(&bytes, "Linux version");
	assert_false(pv_agent_stream_is_over(stream));
	pv_bytes_finish(&bytes);
	pv_agent_stream_close(stream);
}

static void a_fifo_is_followed_to_its_end(void **state)
{
	struct agent_rig *rig = *state;
	assert_int_equal(mkfifo(agent_rig_path(rig, "fifo"), 0600), 0);
	struct pv_agent_stream *stream = tail(rig, "fifo", PV_AGENT_STREAM_FROM_END, 0);
	int writer = open(agent_rig_path(rig, "fifo"), O_WRONLY | O_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pv_fd_write_all(writer, "piece", 5), 0);
		expect(rig, stream, "piece");
	}
	close(writer);
	assert_int_equal(wait_for_end(rig, stream), 0);
	assert_false(pv_agent_stream_is_truncated(stream));
	pv_agent_stream_close(stream);
}

static void an_open_file_is_followed_from_its_position(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	struct pv_agent_open how = {.read = true};
	struct pv_agent_stream *stream;
	struct pv_principal by = {.agent = rig->agent};
	int64_t handle;
	append(rig, "f", "0123456789");
	assert_int_equal(
	    pv_agent_open_file(&by, agent_rig_path(rig, "f"), &how, &handle, &by.boot, &err), 0);
	assert_int_equal(pv_agent_handle_read(&by, handle, 4, &bytes, &err), 0);
	assert_int_equal(pv_agent_stream_handle(&by, handle, &stream, &err), 0);
	expect(rig, stream, "456789");
	append(rig, "f", "more");
	expect(rig, stream, "more");
	/* The file's own position has not moved, and the stream outlives it. */
	assert_int_equal(pv_agent_handle_read(&by, handle, 2, &bytes, &err), 0);
	agent_rig_assert_text(&bytes, "012345");
	assert_int_equal(pv_agent_handle_close(&by, handle, &err), 0);
	append(rig, "f", "!");
	expect(rig, stream, "!");
	pv_bytes_finish(&bytes);
	pv_agent_stream_close(stream);
}

/* A stream that nobody reads stops within its window and holds up nobody; read later, it is whole.
 */
static void an_unread_stream_stops_its_source_and_nobody_else(void **state)
{
	enum { SIZE = 3 << 20 };
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	struct pv_agent_exec_result made;
	char script[200];
	snprintf(script, sizeof(script), "seq -f %%015g 1 %d > %s", SIZE / 16,
	    agent_rig_path(rig, "big"));
	made = agent_rig_shell(rig, script);
	agent_rig_free(&made);
	struct pv_agent_stream *unread = tail(rig, "big", PV_AGENT_STREAM_FROM_START, 0);
	struct pv_agent_stream *other = tail(rig, "big", PV_AGENT_STREAM_FROM_START, 0);
	assert_int_equal(take(rig, other, SIZE, &bytes, &err) > 0, 1);
	assert_int_equal(bytes.len, SIZE);
	made = agent_rig_shell(rig, "echo here");
	agent_rig_assert_text(&made.out, "here\n");
	agent_rig_free(&made);
	struct pv_bytes again = {0};
	assert_int_equal(take(rig, unread, SIZE, &again, &err) > 0, 1);
	assert_memory_equal(again.data, bytes.data, SIZE);
	pv_bytes_finish(&bytes);
	pv_bytes_finish(&again);
	pv_agent_stream_close(unread);
	pv_agent_stream_close(other);
}

static void many_streams_follow_one_file(void **state)
{
	enum { MANY = 300 };
	struct agent_rig *rig = *state;
	struct pv_agent_stream *streams[MANY];
	append(rig, "f", "");
	for (int i = 0; i < MANY; i++)
		streams[i] = tail(rig, "f", PV_AGENT_STREAM_FROM_END, 0);
	for (int round = 0; round < 3; round++) {
		append(rig, "f", "line\n");
		for (int i = 0; i < MANY; i++)
			expect(rig, streams[i], "line\n");
	}
	for (int i = 0; i < MANY; i++)
		pv_agent_stream_close(streams[i]);
}

/* Descriptors of inotify in the agent: a user may have 128 of them, for all programs. */
static unsigned inotify_instances(struct agent_rig *rig)
{
	char script[100];
	snprintf(script, sizeof(script), "ls -l /proc/%d/fd | grep -c inotify", (int)rig->pid);
	struct pv_agent_exec_result result = agent_rig_shell(rig, script);
	unsigned count = (unsigned)strtoul((const char *)result.out.data, NULL, 10);
	agent_rig_free(&result);
	return count;
}

/* How many inodes they watch. */
static unsigned inotify_watches(struct agent_rig *rig)
{
	char script[100];
	snprintf(script, sizeof(script), "cat /proc/%d/fdinfo/* | grep -c ^inotify", (int)rig->pid);
	struct pv_agent_exec_result result = agent_rig_shell(rig, script);
	unsigned count = (unsigned)strtoul((const char *)result.out.data, NULL, 10);
	agent_rig_free(&result);
	return count;
}

static void let_go(struct agent_rig *rig, unsigned left)
{
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) > left)
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
}

static void streams_share_one_instance_of_inotify(void **state)
{
	enum { FILES = 150, EACH = 2 };
	struct agent_rig *rig = *state;
	struct pv_agent_stream *streams[FILES][EACH];
	char name[16];
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		append(rig, name, "");
		for (int j = 0; j < EACH; j++)
			streams[i][j] = tail(rig, name, PV_AGENT_STREAM_FROM_END, 0);
	}
	assert_int_equal(inotify_instances(rig), 1);
	assert_int_equal(inotify_watches(rig), FILES + 1);
	for (int i = FILES - 1; i >= 0; i--) {
		snprintf(name, sizeof(name), "f%d", i);
		append(rig, name, name);
		for (int j = 0; j < EACH; j++)
			expect(rig, streams[i][j], name);
	}
	/* One of two that follow the same file goes, and then both of all but the last. */
	for (int i = 0; i < FILES; i++)
		pv_agent_stream_close(streams[i][0]);
	let_go(rig, FILES);
	assert_int_equal(inotify_watches(rig), FILES + 1);
	for (int i = 0; i < FILES - 1; i++)
		pv_agent_stream_close(streams[i][1]);
	let_go(rig, 1);
	assert_int_equal(inotify_watches(rig), 2);
	append(rig, name, "");
	snprintf(name, sizeof(name), "f%d", FILES - 1);
	append(rig, name, "still here");
	expect(rig, streams[FILES - 1][1], "still here");
	pv_agent_stream_close(streams[FILES - 1][1]);
	let_go(rig, 0);
	assert_int_equal(inotify_watches(rig), 0);
}

static void a_cancelled_wait_leaves_streams_alone(void **state)
{
	struct agent_rig *rig = *state;
	append(rig, "f", "");
	struct pv_agent_stream *stream = tail(rig, "f", PV_AGENT_STREAM_FROM_END, 0);
	pv_loop_lock(rig->loop);
	pv_agent_cancel(rig->agent, "time is up");
	pv_loop_unlock(rig->loop);
	append(rig, "f", "still here");
	expect(rig, stream, "still here");
	pv_agent_stream_close(stream);
}

static void the_loss_of_the_agent_ends_streams_with_the_reason(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	append(rig, "f", "rest");
	struct pv_agent_stream *stream = tail(rig, "f", PV_AGENT_STREAM_FROM_START, 0);
	expect(rig, stream, "rest");
	pv_loop_lock(rig->loop);
	pv_agent_drop(rig->agent, "the VM was reset", true);
	pv_loop_unlock(rig->loop);
	assert_int_equal(take(rig, stream, 1, &bytes, &err), -ECONNRESET);
	assert_string_equal(err.text, "the VM was reset");
	pv_agent_stream_close(stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_tail_begins_where_it_is_told),
	    TEST(a_tail_beyond_the_end_waits_there),
	    TEST(what_is_not_there_or_no_file_is_an_error),
	    TEST(a_rotation_by_renaming_loses_nothing),
	    TEST(a_rotation_behind_a_symbolic_link_is_seen),
	    TEST(a_truncated_file_ends_the_stream),
	    TEST(a_file_of_proc_is_read_and_not_taken_for_truncated),
	    TEST(a_fifo_is_followed_to_its_end),
	    TEST(an_open_file_is_followed_from_its_position),
	    TEST(an_unread_stream_stops_its_source_and_nobody_else),
	    TEST(many_streams_follow_one_file),
	    TEST(streams_share_one_instance_of_inotify),
	    TEST(a_cancelled_wait_leaves_streams_alone),
	    TEST(the_loss_of_the_agent_ends_streams_with_the_reason),
	};
	return cmocka_run_group_tests_name("agent_guest_streams", tests, NULL, NULL);
}
