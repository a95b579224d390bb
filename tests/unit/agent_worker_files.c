/*
 * Files and streams on behalf of a worker, from end to end: the client asks, the real agent passes
 * it on, its worker does it on this machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/host/open_file.h"
#include "agent/host/path.h"
#include "agent/host/stream.h"
#include "agent/host/tree.h"
#include "agent/host/worker.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

static struct pv_principal start(struct agent_rig *rig)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_worker worker;
	if (pv_agent_worker_start(PV_PRINCIPAL(rig->agent), &worker, &err) < 0)
		fail_msg("%s", err.text);
	return (struct pv_principal){
	    .agent = rig->agent, .worker = worker.number, .boot = worker.boot};
}

static const char *make_file(struct agent_rig *rig, const char *script)
{
	static char path[200];
	char command[400];
	snprintf(path, sizeof(path), "%s/f", rig->folder);
	snprintf(command, sizeof(command), "%s > %s", script, path);
	struct pv_agent_exec_result result = agent_rig_shell(rig, command);
	assert_int_equal(result.code, 0);
	agent_rig_free(&result);
	return path;
}

/* Takes until there are `len` bytes. */
static void take(
    struct agent_rig *rig, struct pv_agent_stream *stream, size_t len, struct pv_bytes *out)
{
	struct pv_err err = PV_ERR_INIT;
	int count = 1;
	pv_loop_lock(rig->loop);
	while (out->len < len && count != 0) {
		count = pv_agent_stream_take(stream, out, len - out->len, &err);
		if (count == -EAGAIN)
			pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
		else if (count < 0)
			fail_msg("%s", err.text);
	}
	pv_loop_unlock(rig->loop);
}

static void its_files_are_its_own(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_principal by = start(rig);
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	struct pv_agent_open how = {.read = true, .write = true};
	int64_t handle, worst;
	uint64_t boot;
	const char *path = make_file(rig, "printf 0123456789");
	assert_int_equal(pv_agent_open_file(&by, path, &how, &handle, &boot, &err), 0);
	assert_int_equal(pv_agent_handle_read(&by, handle, 4, &bytes, &err), 0);
	assert_int_equal(pv_agent_handle_write(&by, handle, "abc", 3, &err), 0);
	assert_int_equal(pv_agent_handle_read(&by, handle, -1, &bytes, &err), 0);
	agent_rig_assert_text(&bytes, "0123789");
	/* Its number is none of the agent's own. */
	assert_int_equal(
	    pv_agent_handle_read(PV_PRINCIPAL(rig->agent), handle, 1, &bytes, &err), -EPROTO);
	assert_int_equal(pv_agent_worker_join(&by, false, &worst, &err), 0);
	assert_true(pv_agent_handle_read(&by, handle, 1, &bytes, &err) < 0);
	pv_bytes_finish(&bytes);
}

static void an_unread_stream_of_it_holds_up_nobody(void **state)
{
	enum { SIZE = 4000000 };
	struct agent_rig *rig = *state;
	struct pv_principal by = start(rig);
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0}, list = {0};
	struct pv_agent_stream *stream;
	int64_t worst;
	const char *path = make_file(rig, "head -c 4000000 /dev/zero");
	assert_int_equal(
	    pv_agent_stream_tail(&by, path, PV_AGENT_STREAM_FROM_START, 0, &stream, &err), 0);
	assert_int_equal(pv_agent_list(&by, rig->folder, &list, &err), 0);
	struct pv_agent_exec_result result = agent_rig_shell(rig, "echo here");
	agent_rig_assert_text(&result.out, "here\n");
	agent_rig_free(&result);
	take(rig, stream, SIZE, &bytes);
	assert_int_equal(bytes.len, SIZE);
	/* Its end is the end of the stream, with a reason. */
	assert_int_equal(pv_agent_worker_join(&by, false, &worst, &err), 0);
	pv_loop_lock(rig->loop);
	int count;
	while ((count = pv_agent_stream_take(stream, &bytes, 1, &err)) == -EAGAIN)
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
	assert_true(count < 0 && err.text[0] != '\0');
	pv_agent_stream_close(stream);
	pv_bytes_finish(&bytes);
	pv_bytes_finish(&list);
}

static void it_copies_trees(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_principal by = start(rig);
	struct pv_err err = PV_ERR_INIT;
	char from[200], to[200], back[200];
	struct stat info;
	int64_t worst;
	snprintf(from, sizeof(from), "%s/a", rig->folder);
	snprintf(to, sizeof(to), "%s/b", rig->folder);
	snprintf(back, sizeof(back), "%s/c", rig->folder);
	assert_int_equal(mkdir(from, 0750), 0);
	assert_int_equal(pv_agent_push(&by, from, to, true, &err), 0);
	assert_int_equal(pv_agent_pull(&by, to, back, true, &err), 0);
	assert_int_equal(stat(back, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0750);
	assert_int_equal(pv_agent_worker_join(&by, false, &worst, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(its_files_are_its_own),
	    TEST(an_unread_stream_of_it_holds_up_nobody),
	    TEST(it_copies_trees),
	};
	return cmocka_run_group_tests_name("agent_worker_files", tests, NULL, NULL);
}
