/*
 * Programs in the background, from end to end: the client asks, the real agent does it on this
 * machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/process.h"
#include "agent/host/stream.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

#define MIB (1u << 20)

static struct pv_agent_process start_with(
    struct agent_rig *rig, const char *script, const void *input, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_process process;
	const char *argv[] = {"sh", "-c", script};
	struct pv_agent_exec exec = {.argv = argv, .argc = 3, .input = input, .input_len = len};
	if (pv_agent_process_start(PV_PRINCIPAL(rig->agent), &exec, &process, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(process.handle > 0 && process.pid > 0 && process.boot != 0);
	return process;
}

static struct pv_agent_process start(struct agent_rig *rig, const char *script)
{
	return start_with(rig, script, NULL, 0);
}

static struct pv_agent_exec_result wait_for(
    struct agent_rig *rig, const struct pv_agent_process *process, int64_t timeout_ns)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	if (pv_agent_process_wait(
		PV_PRINCIPAL(rig->agent), process->handle, timeout_ns, &result, &err) < 0)
		fail_msg("%s", err.text);
	return result;
}

static bool is_running(struct agent_rig *rig, const struct pv_agent_process *process)
{
	struct pv_err err = PV_ERR_INIT;
	bool running = false;
	if (pv_agent_process_status(PV_PRINCIPAL(rig->agent), process->handle, &running, &err) < 0)
		fail_msg("%s", err.text);
	return running;
}

/* Waits inside of the guest until nobody of the group lives, at most ten seconds. */
static void assert_group_gone(struct agent_rig *rig, int64_t group)
{
	char script[256];
	snprintf(script, sizeof(script),
	    "for i in $(seq 100); do n=$(ps -eo pgid=,stat= | grep -v Z | grep -c '^ *%d '); "
	    "[ $n = 0 ] && break; sleep 0.1; done; echo $n",
	    (int)group);
	struct pv_agent_exec_result result = agent_rig_shell(rig, script);
	agent_rig_assert_text(&result.out, "0\n");
	agent_rig_free(&result);
}

static void a_program_runs_beside_others_and_is_waited_for(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_agent_process process =
	    start(rig, "read line; echo got $line; echo bad >&2; exit 7");
	struct pv_err err = PV_ERR_INIT;
	assert_true(is_running(rig, &process));
	assert_int_equal(kill((pid_t)process.pid, 0), 0);
	struct pv_agent_exec_result other = agent_rig_shell(rig, "echo other");
	agent_rig_assert_text(&other.out, "other\n");
	agent_rig_free(&other);
	assert_int_equal(
	    pv_agent_process_write(PV_PRINCIPAL(rig->agent), process.handle, "it\n", 3, &err), 0);
	struct pv_agent_exec_result result = wait_for(rig, &process, PV_CLOCK_NEVER);
	assert_int_equal(result.kind, PV_AGENT_EXITED);
	assert_int_equal(result.code, 7);
	agent_rig_assert_text(&result.out, "got it\n");
	agent_rig_assert_text(&result.err, "bad\n");
	agent_rig_free(&result);
	assert_int_equal(pv_agent_process_wait(PV_PRINCIPAL(rig->agent), process.handle,
			     PV_CLOCK_NEVER, &result, &err),
	    -ESRCH);
	assert_non_null(strstr(err.text, "there is no such process any more"));
}

static void what_cannot_be_executed_is_an_error_at_once(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_process process;
	const char *argv[] = {"no-such-program"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 1};
	assert_int_equal(
	    pv_agent_process_start(PV_PRINCIPAL(rig->agent), &exec, &process, &err), -ENOENT);
	assert_string_equal(err.text, "start `no-such-program`: No such file or directory");
	argv[0] = "true";
	exec.cwd = "/nowhere";
	assert_int_equal(
	    pv_agent_process_start(PV_PRINCIPAL(rig->agent), &exec, &process, &err), -ENOENT);
	assert_string_equal(err.text,
	    "start `true`: cannot enter the working directory: No such file or directory");
}

static void the_end_is_seen_without_waiting_and_signals_are_harmless_then(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_process process = start(rig, "exit 3");
	while (is_running(rig, &process))
		;
	assert_int_equal(
	    pv_agent_process_signal(PV_PRINCIPAL(rig->agent), process.handle, SIGTERM, &err), 0);
	struct pv_agent_exec_result result = wait_for(rig, &process, PV_CLOCK_NEVER);
	assert_int_equal(result.code, 3);
	agent_rig_free(&result);
}

static void a_signal_reaches_the_program_and_not_its_group(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_process process = start(rig, "sleep 1000 & echo $!; wait");
	assert_int_equal(
	    pv_agent_process_signal(PV_PRINCIPAL(rig->agent), process.handle, 64, &err), 0);
	struct pv_agent_exec_result result = wait_for(rig, &process, PV_CLOCK_NEVER);
	assert_int_equal(result.kind, PV_AGENT_SIGNALLED);
	assert_int_equal(result.code, 64);
	/* Its child lives, if it came so far. */
	if (result.out.len > 0)
		assert_int_equal(kill(atoi(pv_bytes_text(&result.out)), SIGKILL), 0);
	agent_rig_free(&result);
}

static void a_time_limit_kills_the_group_and_keeps_output(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_agent_process process =
	    start(rig, "echo before; sleep 1000 & sleep 1000; echo after");
	struct pv_agent_exec_result result =
	    wait_for(rig, &process, 300 * (PV_CLOCK_SECOND / 1000));
	assert_int_equal(result.kind, PV_AGENT_TIMED_OUT);
	agent_rig_assert_text(&result.out, "before\n");
	agent_rig_free(&result);
	assert_group_gone(rig, process.pid);
}

static void closing_ends_the_group_also_when_it_does_not_want_to(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	const struct pv_principal *by = &(struct pv_principal){.agent = rig->agent};
	struct pv_agent_process polite = start(rig, "sleep 1000 & sleep 1000");
	assert_int_equal(pv_agent_process_close(by, polite.handle, &err), 0);
	assert_group_gone(rig, polite.pid);
	struct pv_agent_process stubborn =
	    start(rig, "trap '' TERM; echo deaf; while :; do sleep 1; done");
	assert_int_equal(pv_agent_process_close(by, stubborn.handle, &err), 0);
	assert_group_gone(rig, stubborn.pid);
	assert_int_equal(pv_agent_process_close(by, stubborn.handle, &err), -ESRCH);
	/* A leader that has ended and left somebody. */
	struct pv_agent_process left = start(rig, "sleep 1000 & exit 0");
	while (is_running(rig, &left))
		;
	assert_int_equal(pv_agent_process_close(by, left.handle, &err), 0);
	assert_group_gone(rig, left.pid);
}

static void output_of_100_mib_waits_outside_of_the_agents_memory(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_agent_process process =
	    start(rig, "head -c 104857600 /dev/zero | tr '\\0' x; echo end >&2");
	while (is_running(rig, &process))
		;
	assert_true(agent_rig_peak_memory(rig->pid) < 16 * 1024);
	struct pv_agent_exec_result result = wait_for(rig, &process, PV_CLOCK_NEVER);
	assert_true(agent_rig_peak_memory(rig->pid) < 16 * 1024);
	assert_int_equal(result.out.len, 100 * MIB);
	for (size_t i = 0; i < result.out.len; i += 4093)
		assert_int_equal(result.out.data[i], 'x');
	agent_rig_assert_text(&result.err, "end\n");
	agent_rig_free(&result);
}

static void first_input_of_any_size_does_not_hold_up_the_start(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	char *data = malloc(4 * MIB);
	assert_non_null(data);
	memset(data, 'i', 4 * MIB);
	struct pv_agent_process deaf = start_with(rig, "exec sleep 1000", data, 4 * MIB);
	struct pv_agent_process reader = start_with(rig, "wc -c", data, 4 * MIB);
	assert_int_equal(
	    pv_agent_process_write(PV_PRINCIPAL(rig->agent), reader.handle, data, MIB, &err), 0);
	struct pv_agent_exec_result result = wait_for(rig, &reader, PV_CLOCK_NEVER);
	assert_int_equal(atoi(pv_bytes_text(&result.out)), 5 * (int)MIB);
	agent_rig_free(&result);
	assert_int_equal(pv_agent_process_close(PV_PRINCIPAL(rig->agent), deaf.handle, &err), 0);
	free(data);
}

static void input_can_be_closed_and_be_broken(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	const struct pv_principal *by = &(struct pv_principal){.agent = rig->agent};
	struct pv_agent_process cat = start(rig, "cat; echo end; read never");
	assert_int_equal(pv_agent_process_write(by, cat.handle, "text ", 5, &err), 0);
	assert_int_equal(pv_agent_process_write(by, cat.handle, "", 0, &err), 0);
	assert_int_equal(pv_agent_process_close_input(by, cat.handle, &err), 0);
	assert_int_equal(pv_agent_process_close_input(by, cat.handle, &err), 0);
	assert_int_equal(pv_agent_process_write(by, cat.handle, "x", 1, &err), -EPIPE);
	assert_non_null(strstr(err.text, ": its input is closed"));
	struct pv_agent_exec_result result = wait_for(rig, &cat, PV_CLOCK_NEVER);
	agent_rig_assert_text(&result.out, "text end\n");
	agent_rig_free(&result);
	char *data = calloc(1, MIB);
	assert_non_null(data);
	struct pv_agent_process rude = start(rig, "exec <&-; exec sleep 1000");
	assert_int_equal(pv_agent_process_write(by, rude.handle, data, MIB, &err), -EPIPE);
	assert_non_null(strstr(err.text, ": Broken pipe"));
	assert_int_equal(pv_agent_process_close(by, rude.handle, &err), 0);
	free(data);
}

static void fifty_write_at_once(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_agent_process processes[50];
	char script[128];
	for (int i = 0; i < 50; i++) {
		snprintf(script, sizeof(script), "head -c %d /dev/zero | tr '\\0' '\\%o'; exit %d",
		    100000 + i, 'A' + i % 26, i);
		processes[i] = start(rig, script);
	}
	for (int i = 49; i >= 0; i--) {
		struct pv_agent_exec_result result = wait_for(rig, &processes[i], PV_CLOCK_NEVER);
		assert_int_equal(result.code, i);
		assert_int_equal(result.out.len, 100000 + i);
		for (size_t at = 0; at < result.out.len; at += 997)
			assert_int_equal(result.out.data[at], 'A' + i % 26);
		agent_rig_free(&result);
	}
}

/* Reads to the end, and gives the number of bytes. */
static uint64_t read_stream(struct agent_rig *rig, struct pv_agent_stream *stream)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes bytes = {0};
	uint64_t size = 0;
	int got;
	pv_loop_lock(rig->loop);
	while ((got = pv_agent_stream_take(stream, &bytes, MIB, &err)) != 0) {
		if (got == -EAGAIN)
			pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
		else if (got < 0)
			fail_msg("%s", err.text);
		size += bytes.len;
		bytes.len = 0;
	}
	pv_loop_unlock(rig->loop);
	pv_bytes_finish(&bytes);
	return size;
}

static void streams_and_the_wait_see_everything_each(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	const struct pv_principal *by = &(struct pv_principal){.agent = rig->agent};
	struct pv_agent_stream *first, *second, *errors;
	struct pv_agent_process process = start(
	    rig, "head -c 4000000 /dev/zero; echo oops >&2; read x; head -c 4000000 /dev/zero");
	assert_int_equal(pv_agent_process_stream(by, process.handle, false, &first, &err), 0);
	assert_int_equal(pv_agent_process_stream(by, process.handle, true, &errors, &err), 0);
	assert_int_equal(pv_agent_process_write(by, process.handle, "\n", 1, &err), 0);
	assert_int_equal(pv_agent_process_stream(by, process.handle, false, &second, &err), 0);
	/* Nobody reads them yet, and that holds up nobody. */
	struct pv_agent_exec_result result = wait_for(rig, &process, PV_CLOCK_NEVER);
	assert_int_equal(result.out.len, 8000000);
	agent_rig_free(&result);
	assert_int_equal(read_stream(rig, second), 8000000);
	assert_int_equal(read_stream(rig, first), 8000000);
	assert_int_equal(read_stream(rig, errors), 5);
	pv_agent_stream_close(first);
	pv_agent_stream_close(second);
	pv_agent_stream_close(errors);
	assert_int_equal(pv_agent_process_stream(by, process.handle, false, &first, &err), -ESRCH);
	/* One that is given up in the middle. */
	process = start(rig, "cat /dev/zero");
	assert_int_equal(pv_agent_process_stream(by, process.handle, false, &first, &err), 0);
	pv_agent_stream_close(first);
	assert_int_equal(pv_agent_process_close(by, process.handle, &err), 0);
}

struct waiting {
	struct agent_rig *rig;
	const struct pv_agent_process *process;
	int status;
	struct pv_err err;
};

static void *wait_in_vain(void *ctx)
{
	struct waiting *waiting = ctx;
	struct pv_agent_exec_result result;
	waiting->status = pv_agent_process_wait(PV_PRINCIPAL(waiting->rig->agent),
	    waiting->process->handle, PV_CLOCK_NEVER, &result, &waiting->err);
	return NULL;
}

static void a_wait_that_is_given_up_leaves_the_program(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_process process = start(rig, "echo out; exec sleep 1000");
	struct waiting waiting = {.rig = rig, .process = &process, .err = PV_ERR_INIT};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, wait_in_vain, &waiting), 0);
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) == 0) {
		pv_loop_unlock(rig->loop);
		sched_yield();
		pv_loop_lock(rig->loop);
	}
	pv_agent_cancel(rig->agent, "time is up");
	pv_loop_unlock(rig->loop);
	pthread_join(thread, NULL);
	assert_int_equal(waiting.status, -ECANCELED);
	assert_non_null(strstr(waiting.err.text, ": time is up"));
	assert_true(is_running(rig, &process));
	/* It can be waited for as if nothing had been. */
	assert_int_equal(
	    pv_agent_process_signal(PV_PRINCIPAL(rig->agent), process.handle, SIGKILL, &err), 0);
	struct pv_agent_exec_result result = wait_for(rig, &process, PV_CLOCK_NEVER);
	assert_int_equal(result.kind, PV_AGENT_SIGNALLED);
	agent_rig_free(&result);
}

static void the_end_of_the_agent_ends_what_it_had_started(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	struct pv_agent_process process = start(rig, "exec sleep 1000");
	assert_int_equal(kill(rig->pid, SIGKILL), 0);
	int status = pv_agent_process_wait(
	    PV_PRINCIPAL(rig->agent), process.handle, PV_CLOCK_NEVER, &result, &err);
	/* The client may have seen its end before it is asked. */
	assert_true(status == -ECONNRESET || status == -ENOTCONN);
	kill((pid_t)process.pid, SIGKILL);
}

static void the_end_of_the_stream_kills_programs(void **state)
{
	struct agent_rig *rig = *state;
	/* The orphan comes to us. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	struct pv_agent_process process = start(rig, "exec sleep 1000");
	pv_loop_lock(rig->loop);
	pv_agent_drop(rig->agent, "the test is over", true);
	pv_loop_unlock(rig->loop);
	int status = 0;
	assert_int_equal(waitpid(rig->pid, NULL, 0), rig->pid);
	assert_int_equal(waitpid((pid_t)process.pid, &status, 0), process.pid);
	assert_int_equal(status, SIGKILL);
}

/* A command that holds up the pipe of its output, and the rest of a script behind it. */
static const char *holding_up(
    char *script, size_t size, const struct agent_rig *rig, const char *rest)
{
	snprintf(script, size, "%s %d %s", PV_TEST_SPLICER, (int)rig->pid, rest);
	return script;
}

static void a_pipe_that_is_held_up_holds_up_nobody_else(void **state)
{
	struct agent_rig *rig = *state;
	char script[512];
	struct pv_agent_process process = start(rig, holding_up(script, sizeof(script), rig, ""));
	for (int i = 0; i < 20; i++) {
		struct pv_agent_exec_result result = agent_rig_shell(rig, "sleep 0.01; echo alive");
		agent_rig_assert_text(&result.out, "alive\n");
		agent_rig_free(&result);
		assert_true(is_running(rig, &process));
	}
	struct pv_agent_exec_result result = wait_for(rig, &process, PV_CLOCK_SECOND / 10);
	assert_int_equal(result.kind, PV_AGENT_TIMED_OUT);
	agent_rig_assert_text(&result.out, "held\n");
	agent_rig_free(&result);
}

/* What is left behind holds up the pipe of a program that has ended. */
static void the_end_does_not_wait_for_a_pipe_that_is_held_up(void **state)
{
	struct agent_rig *rig = *state;
	char script[512];
	struct pv_agent_exec_result result =
	    agent_rig_shell(rig, holding_up(script, sizeof(script), rig, "& sleep 0.2; exit 7"));
	assert_int_equal(result.kind, PV_AGENT_EXITED);
	assert_int_equal(result.code, 7);
	agent_rig_free(&result);
	struct pv_agent_process process =
	    start(rig, holding_up(script, sizeof(script), rig, "& sleep 0.2; exit 8"));
	result = wait_for(rig, &process, PV_CLOCK_NEVER);
	assert_int_equal(result.code, 8);
	agent_rig_free(&result);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_program_runs_beside_others_and_is_waited_for),
	    TEST(what_cannot_be_executed_is_an_error_at_once),
	    TEST(the_end_is_seen_without_waiting_and_signals_are_harmless_then),
	    TEST(a_signal_reaches_the_program_and_not_its_group),
	    TEST(a_time_limit_kills_the_group_and_keeps_output),
	    TEST(closing_ends_the_group_also_when_it_does_not_want_to),
	    TEST(output_of_100_mib_waits_outside_of_the_agents_memory),
	    TEST(first_input_of_any_size_does_not_hold_up_the_start),
	    TEST(input_can_be_closed_and_be_broken),
	    TEST(fifty_write_at_once),
	    TEST(streams_and_the_wait_see_everything_each),
	    TEST(a_wait_that_is_given_up_leaves_the_program),
	    TEST(a_pipe_that_is_held_up_holds_up_nobody_else),
	    TEST(the_end_does_not_wait_for_a_pipe_that_is_held_up),
	    TEST(the_end_of_the_agent_ends_what_it_had_started),
	    TEST(the_end_of_the_stream_kills_programs),
	};
	return cmocka_run_group_tests_name("agent_process", tests, NULL, NULL);
}
