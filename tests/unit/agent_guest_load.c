/*
 * The guest agent under load and in trouble: much data, many calls at once, blocked operations,
 * calls given up, an agent that dies.
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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/unit/agent_rig.h"

#define MIB (1u << 20)

/* Bytes that show when a piece is lost, doubled or out of order. */
static uint8_t *make_pattern(size_t len)
{
	uint8_t *data = malloc(len);
	assert_non_null(data);
	uint32_t state = 1;
	for (size_t i = 0; i < len; i++) {
		state = state * 1664525u + 1013904223u;
		data[i] = (uint8_t)(state >> 24);
	}
	return data;
}

static struct pv_agent_exec_result run_with_input(
    struct agent_rig *rig, const char *script, const void *input, size_t len)
{
	return agent_rig_run(PV_PRINCIPAL(rig->agent), script, input, len);
}

static void output_of_64_mib_comes_whole(void **state)
{
	struct pv_agent_exec_result result =
	    agent_rig_shell(*state, "head -c 67108864 /dev/zero | tr '\\0' x; echo end >&2");
	assert_int_equal(result.out.len, 64 * MIB);
	for (size_t i = 0; i < result.out.len; i += 4093)
		assert_int_equal(result.out.data[i], 'x');
	agent_rig_assert_text(&result.err, "end\n");
	agent_rig_free(&result);
}

static void input_of_8_mib_passes_through_a_program(void **state)
{
	uint8_t *data = make_pattern(8 * MIB);
	struct pv_agent_exec_result result = run_with_input(*state, "cat", data, 8 * MIB);
	assert_int_equal(result.out.len, 8 * MIB);
	assert_memory_equal(result.out.data, data, 8 * MIB);
	agent_rig_free(&result);
	free(data);
}

static void input_that_a_program_does_not_read_is_thrown_away(void **state)
{
	uint8_t *data = make_pattern(4 * MIB);
	struct pv_agent_exec_result result =
	    run_with_input(*state, "exec <&-; sleep 0.2; echo done", data, 4 * MIB);
	agent_rig_assert_text(&result.out, "done\n");
	agent_rig_free(&result);
	/* Ends while the upload still waits for credit. */
	result = run_with_input(*state, "sleep 0.1; exit 5", data, 4 * MIB);
	assert_int_equal(result.code, 5);
	agent_rig_free(&result);
	free(data);
}

static void files_of_20_mib_are_written_and_read(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes content = {0};
	uint8_t *data = make_pattern(20 * MIB);
	char path[128];
	snprintf(path, sizeof(path), "%s/large", rig->folder);
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(rig->agent), path, data, 20 * MIB, 0644, &err), 0);
	assert_int_equal(pv_agent_read_file(PV_PRINCIPAL(rig->agent), path, &content, &err), 0);
	assert_int_equal(content.len, 20 * MIB);
	assert_memory_equal(content.data, data, 20 * MIB);
	pv_bytes_finish(&content);
	/* The disk is full after the first piece, while more is on its way. */
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(rig->agent), "/dev/full", data, 4 * MIB, 0644, &err),
	    -ENOSPC);
	assert_string_equal(err.text, "write_file `/dev/full`: No space left on device");
	free(data);
}

/* --- many at once --- */

struct caller {
	struct agent_rig *rig;
	pthread_t thread;
	unsigned number;
	char failure[PV_ERR_TEXT_MAX];
};

/* cmocka's assertions work on the test's own thread only. */
static void *call_in_thread(void *ctx)
{
	struct caller *caller = ctx;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	char script[96], expected[32];
	snprintf(script, sizeof(script), "sleep 0.1; cat; echo %u; exit %u", caller->number,
	    caller->number % 100);
	snprintf(expected, sizeof(expected), "in%u\n", caller->number);
	const char *argv[] = {"sh", "-c", script};
	struct pv_agent_exec exec = {
	    .argv = argv, .argc = 3, .input = "in", .input_len = 2, .timeout_ns = PV_CLOCK_NEVER};
	if (pv_agent_exec(PV_PRINCIPAL(caller->rig->agent), &exec, &result, &err) < 0) {
		snprintf(caller->failure, sizeof(caller->failure), "%s", err.text);
		return NULL;
	}
	if (result.code != (int)caller->number % 100 || result.out.len != strlen(expected) ||
	    memcmp(result.out.data, expected, result.out.len) != 0)
		snprintf(caller->failure, sizeof(caller->failure), "code %d, output `%.*s`",
		    result.code, (int)result.out.len, (const char *)result.out.data);
	agent_rig_free(&result);
	return NULL;
}

static void a_hundred_programs_run_at_once(void **state)
{
	static struct caller callers[100];
	memset(callers, 0, sizeof(callers));
	for (unsigned i = 0; i < 100; i++) {
		callers[i].rig = *state;
		callers[i].number = i;
		assert_int_equal(
		    pthread_create(&callers[i].thread, NULL, call_in_thread, &callers[i]), 0);
	}
	for (unsigned i = 0; i < 100; i++)
		pthread_join(callers[i].thread, NULL);
	for (unsigned i = 0; i < 100; i++)
		assert_string_equal(callers[i].failure, "");
}

static void *read_fifo(void *ctx)
{
	struct caller *caller = ctx;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes content = {0};
	char path[128];
	snprintf(path, sizeof(path), "%s/fifo", caller->rig->folder);
	if (pv_agent_read_file(PV_PRINCIPAL(caller->rig->agent), path, &content, &err) < 0)
		snprintf(caller->failure, sizeof(caller->failure), "%s", err.text);
	pv_bytes_finish(&content);
	return NULL;
}

static unsigned in_flight(struct agent_rig *rig)
{
	pv_loop_lock(rig->loop);
	unsigned count = pv_agent_in_flight(rig->agent);
	pv_loop_unlock(rig->loop);
	return count;
}

static void wait_until_in_flight(struct agent_rig *rig, unsigned count)
{
	while (in_flight(rig) != count)
		sched_yield();
}

static void a_blocked_operation_does_not_hold_up_others(void **state)
{
	struct caller readers[20] = {0};
	struct agent_rig *rig = *state;
	char fifo[128];
	snprintf(fifo, sizeof(fifo), "%s/fifo", rig->folder);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (unsigned i = 0; i < 20; i++) {
		readers[i].rig = rig;
		pthread_create(&readers[i].thread, NULL, read_fifo, &readers[i]);
	}
	wait_until_in_flight(rig, 20);
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_stat info;
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(rig->agent), "/", true, &info, &err), 0);
	assert_int_equal(in_flight(rig), 20);
	/* Whoever waits for a writer gets one, and the end of the file when it goes. */
	while (in_flight(rig) > 0)
		close(open(fifo, O_RDWR | O_CLOEXEC));
	for (unsigned i = 0; i < 20; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_string_equal(readers[i].failure, "");
	}
}

/* --- the end --- */

static void *run_long(void *ctx)
{
	struct caller *caller = ctx;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	const char *argv[] = {"sh", "-c", "yes & yes"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 3, .timeout_ns = PV_CLOCK_NEVER};
	if (pv_agent_exec(PV_PRINCIPAL(caller->rig->agent), &exec, &result, &err) == 0)
		agent_rig_free(&result);
	snprintf(caller->failure, sizeof(caller->failure), "%d %.100s", err.code, err.text);
	return NULL;
}

static void a_killed_agent_fails_calls_promptly(void **state)
{
	struct caller caller = {.rig = *state};
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_stat info;
	pthread_create(&caller.thread, NULL, run_long, &caller);
	wait_until_in_flight(caller.rig, 1);
	kill(caller.rig->pid, SIGKILL);
	pthread_join(caller.thread, NULL);
	assert_string_equal(caller.failure, "104 exec `sh`: the agent connection was lost");
	assert_int_equal(
	    pv_agent_stat(PV_PRINCIPAL(caller.rig->agent), "/", true, &info, &err), -ENOTCONN);
	assert_string_equal(err.text,
	    "stat `/`: the guest's agent cannot be reached: the agent connection was lost");
}

static void a_cancelled_call_ends_and_the_link_goes_on(void **state)
{
	struct caller caller = {.rig = *state};
	pthread_create(&caller.thread, NULL, run_long, &caller);
	wait_until_in_flight(caller.rig, 1);
	pv_loop_lock(caller.rig->loop);
	pv_agent_cancel(caller.rig->agent, "the test ran out of time");
	pv_loop_unlock(caller.rig->loop);
	pthread_join(caller.thread, NULL);
	assert_string_equal(caller.failure, "125 exec `sh`: the test ran out of time");
	/* The agent kills the programs and says so; then nothing is in flight. */
	wait_until_in_flight(caller.rig, 0);
	struct pv_agent_exec_result result = agent_rig_shell(caller.rig, "echo on");
	agent_rig_assert_text(&result.out, "on\n");
	agent_rig_free(&result);
}

static void the_agent_kills_what_runs_when_the_link_ends(void **state)
{
	struct caller caller = {.rig = *state};
	struct agent_rig *rig = *state;
	pthread_create(&caller.thread, NULL, run_long, &caller);
	wait_until_in_flight(rig, 1);
	pv_loop_lock(rig->loop);
	pv_agent_drop(rig->agent, "the VM was reset", true);
	pv_loop_unlock(rig->loop);
	pthread_join(caller.thread, NULL);
	assert_string_equal(caller.failure, "104 exec `sh`: the VM was reset");
	int status;
	assert_int_equal(waitpid(rig->pid, &status, 0), rig->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(output_of_64_mib_comes_whole),
	    TEST(input_of_8_mib_passes_through_a_program),
	    TEST(input_that_a_program_does_not_read_is_thrown_away),
	    TEST(files_of_20_mib_are_written_and_read),
	    TEST(a_hundred_programs_run_at_once),
	    TEST(a_blocked_operation_does_not_hold_up_others),
	    TEST(a_killed_agent_fails_calls_promptly),
	    TEST(a_cancelled_call_ends_and_the_link_goes_on),
	    TEST(the_agent_kills_what_runs_when_the_link_ends),
	};
	return cmocka_run_group_tests_name("agent_guest_load", tests, NULL, NULL);
}
