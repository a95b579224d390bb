/*
 * Worker processes of the real agent on this machine: who does what, what they share, and what
 * becomes of calls when one ends.
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
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/process.h"
#include "agent/host/syscall.h"
#include "agent/host/worker.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

#define MIB (1u << 20)

static struct pv_principal start_worker(struct agent_rig *rig, int64_t *pid)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_worker worker;
	if (pv_agent_worker_start(PV_PRINCIPAL(rig->agent), &worker, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(worker.number > 0 && worker.pid > 0 && worker.boot != 0);
	if (pid)
		*pid = worker.pid;
	return (struct pv_principal){
	    .agent = rig->agent, .worker = worker.number, .boot = worker.boot};
}

static struct pv_agent_process start(const struct pv_principal *by, const char *script)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_process process;
	const char *argv[] = {"sh", "-c", script};
	struct pv_agent_exec exec = {.argv = argv, .argc = 3};
	if (pv_agent_process_start(by, &exec, &process, &err) < 0)
		fail_msg("%s", err.text);
	return process;
}

static int64_t join(const struct pv_principal *by, bool force)
{
	struct pv_err err = PV_ERR_INIT;
	int64_t worst;
	if (pv_agent_worker_join(by, force, &worst, &err) < 0)
		fail_msg("%s", err.text);
	return worst;
}

static void a_worker_is_a_process_whose_children_are_its_own(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	int64_t pid, other_pid;
	struct pv_principal worker = start_worker(rig, &pid), other = start_worker(rig, &other_pid);
	assert_true(pid != other_pid && pid != rig->pid && worker.worker != other.worker);
	struct pv_agent_exec_result result = agent_rig_run(&worker, "echo $PPID", NULL, 0);
	assert_int_equal(atoi(pv_bytes_text(&result.out)), pid);
	agent_rig_free(&result);
	result = agent_rig_shell(rig, "echo $PPID");
	assert_int_equal(atoi(pv_bytes_text(&result.out)), rig->pid);
	agent_rig_free(&result);
	assert_int_equal(join(&worker, false), 0);
	struct pv_agent_stat info;
	assert_int_equal(pv_agent_stat(&worker, "/", true, &info, &err), -ESRCH);
	assert_string_equal(err.text, "stat `/`: worker 1 has ended");
	assert_int_equal(pv_agent_stat(&other, "/", true, &info, &err), 0);
	struct pv_principal nobody = {.agent = rig->agent, .worker = 99};
	assert_int_equal(pv_agent_stat(&nobody, "/", true, &info, &err), -ESRCH);
	assert_string_equal(err.text, "stat `/`: worker 99 does not exist");
	assert_int_equal(join(&other, true), 0);
}

static void files_and_much_data_go_through_a_worker(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_principal worker = start_worker(rig, NULL);
	struct pv_bytes content = {0};
	char path[128];
	uint8_t *data = malloc(8 * MIB);
	assert_non_null(data);
	for (size_t i = 0; i < 8 * MIB; i++)
		data[i] = (uint8_t)(i * 7 ^ i >> 9);
	snprintf(path, sizeof(path), "%s/large", rig->folder);
	assert_int_equal(pv_agent_write_file(&worker, path, data, 8 * MIB, 0600, &err), 0);
	assert_int_equal(pv_agent_read_file(&worker, path, &content, &err), 0);
	assert_int_equal(content.len, 8 * MIB);
	assert_memory_equal(content.data, data, 8 * MIB);
	pv_bytes_finish(&content);
	struct pv_agent_exec_result result =
	    agent_rig_run(&worker, "cat; cat >&2 /proc/self/comm", data, 8 * MIB);
	assert_int_equal(result.out.len, 8 * MIB);
	assert_memory_equal(result.out.data, data, 8 * MIB);
	agent_rig_assert_text(&result.err, "cat\n");
	agent_rig_free(&result);
	result = agent_rig_run(&worker, "head -c 67108864 /dev/zero", NULL, 0);
	assert_int_equal(result.out.len, 64 * MIB);
	agent_rig_free(&result);
	assert_int_equal(pv_agent_read_file(&worker, "/nowhere", &content, &err), -ENOENT);
	assert_string_equal(err.text, "read_file `/nowhere`: No such file or directory");
	free(data);
}

static void background_programs_of_a_worker_have_handles_of_its_own(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	struct pv_principal worker = start_worker(rig, NULL);
	struct pv_agent_process mine = start(&worker, "read x; echo worker $x; exit 5");
	struct pv_agent_process agents = start(PV_PRINCIPAL(rig->agent), "echo agent");
	assert_int_equal(mine.handle, agents.handle);
	assert_int_equal(pv_agent_process_write(&worker, mine.handle, "1\n", 2, &err), 0);
	assert_int_equal(
	    pv_agent_process_wait(&worker, mine.handle, PV_CLOCK_NEVER, &result, &err), 0);
	agent_rig_assert_text(&result.out, "worker 1\n");
	agent_rig_free(&result);
	assert_int_equal(pv_agent_process_wait(PV_PRINCIPAL(rig->agent), agents.handle,
			     PV_CLOCK_NEVER, &result, &err),
	    0);
	agent_rig_assert_text(&result.out, "agent\n");
	agent_rig_free(&result);
	start(&worker, "exit 2");
	assert_int_equal(join(&worker, false), 5);
}

static void signals_reach_all_of_a_worker_and_joining_gives_the_worst(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_principal worker = start_worker(rig, NULL);
	start(&worker, "exec sleep 1000");
	start(&worker, "exec sleep 1000");
	assert_int_equal(pv_agent_worker_signal(&worker, SIGTERM, &err), 0);
	assert_int_equal(join(&worker, false), 128 + SIGTERM);
	/* What was not told to end becomes an orphan, here one of ours. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	worker = start_worker(rig, NULL);
	struct pv_agent_process left = start(&worker, "exec sleep 1000");
	assert_int_equal(join(&worker, false), 0);
	assert_int_equal(kill((pid_t)left.pid, SIGKILL), 0);
	worker = start_worker(rig, NULL);
	struct pv_agent_process forced =
	    start(&worker, "trap '' TERM; echo; while :; do sleep 1; done");
	int64_t worst = join(&worker, true);
	assert_true(worst == 128 + SIGTERM || worst == 128 + SIGKILL || worst == 0);
	int status = 0;
	waitpid((pid_t)forced.pid, &status, 0);
}

static void *wait_for_end(void *ctx)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	const char *argv[] = {"sh", "-c", "echo $PPID; kill -9 $PPID; sleep 1000"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 3, .timeout_ns = PV_CLOCK_NEVER};
	assert_int_equal(pv_agent_exec(ctx, &exec, &result, &err), -ECONNRESET);
	assert_string_equal(err.text, "exec `sh`: worker 1 has ended (killed by signal 9)");
	return NULL;
}

static void the_end_of_a_worker_fails_its_calls_and_no_others(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_principal worker = start_worker(rig, NULL);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_end, &worker), 0);
	struct pv_agent_exec_result result = agent_rig_shell(rig, "echo here");
	agent_rig_assert_text(&result.out, "here\n");
	agent_rig_free(&result);
	pthread_join(thread, NULL);
	assert_int_equal(pv_agent_worker_signal(&worker, SIGTERM, &err), -ESRCH);
	assert_string_equal(err.text, "worker 1 has ended");
	result = agent_rig_shell(rig, "pkill -x -f 'sleep 1000'; echo still");
	agent_rig_assert_text(&result.out, "still\n");
	agent_rig_free(&result);
}

static void cancelled_calls_of_a_worker_end(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_principal worker = start_worker(rig, NULL);
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_process process = start(&worker, "exec sleep 1000");
	pv_loop_lock(rig->loop);
	pv_agent_cancel(rig->agent, "nothing is under way");
	pv_loop_unlock(rig->loop);
	assert_int_equal(pv_agent_process_close(&worker, process.handle, &err), 0);
	assert_int_equal(join(&worker, false), 128 + SIGTERM);
}

static void a_stopped_worker_holds_up_nobody_else(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	int64_t pid;
	struct pv_principal worker = start_worker(rig, &pid), other = start_worker(rig, NULL);
	assert_int_equal(kill((pid_t)pid, SIGSTOP), 0);
	struct pv_agent_exec_result result = agent_rig_run(&other, "echo there", NULL, 0);
	agent_rig_assert_text(&result.out, "there\n");
	agent_rig_free(&result);
	result = agent_rig_shell(rig, "echo here");
	agent_rig_assert_text(&result.out, "here\n");
	agent_rig_free(&result);
	assert_int_equal(kill((pid_t)pid, SIGCONT), 0);
	struct pv_agent_stat info;
	assert_int_equal(pv_agent_stat(&worker, "/", true, &info, &err), 0);
}

static void *write_much(void *ctx)
{
	struct pv_agent_exec_result result =
	    agent_rig_run(ctx, "head -c 67108864 /dev/zero", NULL, 0);
	assert_int_equal(result.out.len, 64 * MIB);
	agent_rig_free(&result);
	return NULL;
}

static void a_host_that_does_not_read_stops_workers_not_memory(void **state)
{
	struct agent_rig *rig = *state;
	int64_t pid;
	int waiting = 0, before = -1;
	struct pv_principal worker = start_worker(rig, &pid);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, write_much, &worker), 0);
	/* Some of it has come. Then nobody reads, until no more comes. */
	while (ioctl(rig->fd, FIONREAD, &waiting) == 0 && waiting == 0)
		sched_yield();
	pv_loop_lock(rig->loop);
	for (int same = 0; same < 20000; same++) {
		assert_int_equal(ioctl(rig->fd, FIONREAD, &waiting), 0);
		if (waiting != before)
			same = 0;
		before = waiting;
		sched_yield();
	}
	pv_loop_unlock(rig->loop);
	pthread_join(thread, NULL);
	assert_true(agent_rig_peak_memory(rig->pid) < 16 * 1024);
	assert_true(agent_rig_peak_memory(pid) < 16 * 1024);
	assert_int_equal(join(&worker, false), 0);
}

static void *wait_in_the_kernel(void *ctx)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	const struct pv_agent_syscall pause = {.nr = SYS_pause};
	assert_int_equal(pv_agent_syscall(ctx, &pause, &result, &err), -ECONNRESET);
	assert_non_null(strstr(err.text, "worker 1 has ended (exit code 0)"));
	return NULL;
}

static void a_blocked_call_of_a_worker_holds_up_no_end_of_it(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	int64_t pid;
	char path[64], line[64] = "";
	struct pv_principal worker = start_worker(rig, &pid);
	struct pv_agent_process process = start(&worker, "exec sleep 1000");
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, wait_in_the_kernel, &worker), 0);
	/* Until its main thread is in there. */
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	while (atoi(line) != SYS_pause) {
		FILE *file = fopen(path, "r");
		assert_non_null(file);
		assert_non_null(fgets(line, sizeof(line), file));
		fclose(file);
	}
	bool running = false;
	assert_int_equal(pv_agent_process_status(&worker, process.handle, &running, &err), 0);
	assert_true(running);
	struct pv_agent_exec_result result = agent_rig_shell(rig, "echo here");
	agent_rig_assert_text(&result.out, "here\n");
	agent_rig_free(&result);
	assert_int_equal(pv_agent_worker_signal(&worker, SIGTERM, &err), 0);
	assert_int_equal(join(&worker, false), 128 + SIGTERM);
	pthread_join(thread, NULL);
}

static void identity_of_a_worker_is_that_of_its_calls_programs_and_files(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	if (geteuid() != 0) {
		skip(); /* nobody else can become somebody else */
		return;
	}
	struct pv_principal worker = start_worker(rig, NULL);
	struct pv_agent_syscall_result called;
	const int64_t nobody = 65534;
	const struct pv_agent_syscall setuid_call = {
	    .nr = SYS_setuid, .args = &nobody, .arg_count = 1};
	const struct pv_agent_syscall getuid_call = {.nr = SYS_getuid};
	const struct pv_agent_syscall aside = {.nr = SYS_getuid, .aside = true};
	assert_int_equal(pv_agent_syscall(&worker, &setuid_call, &called, &err), 0);
	assert_int_equal(called.ret, 0);
	assert_int_equal(pv_agent_syscall(&worker, &getuid_call, &called, &err), 0);
	assert_int_equal(called.ret, nobody);
	assert_int_equal(pv_agent_syscall(&worker, &aside, &called, &err), 0);
	assert_int_equal(called.ret, nobody);
	assert_int_equal(
	    pv_agent_syscall(PV_PRINCIPAL(rig->agent), &getuid_call, &called, &err), 0);
	assert_int_equal(called.ret, 0);
	struct pv_agent_exec_result result = agent_rig_run(&worker, "id -u", NULL, 0);
	agent_rig_assert_text(&result.out, "65534\n");
	agent_rig_free(&result);
	struct pv_bytes content = {0};
	assert_int_equal(pv_agent_read_file(&worker, "/etc/shadow", &content, &err), -EACCES);
	/* Its loop is still who it was: it can end a program that is not the worker's any more. */
	int64_t worst = join(&worker, true);
	assert_int_equal(worst, 0);
}

/* Has the worker itself write to its stream to the agent. Returns the status of that call. */
static int scribble(
    const struct pv_principal *worker, const void *data, size_t len, struct pv_err *err)
{
	struct pv_agent_syscall_result result;
	const int64_t args[] = {3, 0, (int64_t)len}, lens[] = {(int64_t)len}, ptrs[] = {1};
	const struct pv_agent_syscall call = {
	    .nr = SYS_write,
	    .args = args,
	    .arg_count = 3,
	    .lens = lens,
	    .buf_count = 1,
	    .ptrs = ptrs,
	    .ptr_count = 1,
	    .data = data,
	    .len = len,
	};
	int status = pv_agent_syscall(worker, &call, &result, err);
	if (status == 0)
		pv_bytes_finish(&result.out);
	return status;
}

static void a_worker_that_runs_wild_spoils_its_own_calls_only(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	/* No frame; a frame too long; an answer to nothing, to a call of the agent's own. */
	static const char garbage[] = "garbage, and enough of it to be a frame of its own";
	static const char too_long[] = "\x7f\xff\xff\xff";
	static const char foreign[] = "\0\0\0\x11\x82\xa2id\x01\xa4kind\xa6result";
	static const struct pv_span frames[] = {
	    {garbage,  sizeof(garbage) - 1 },
	    {too_long, sizeof(too_long) - 1},
	    {foreign,  sizeof(foreign) - 1 },
	};
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct pv_principal worker = start_worker(rig, NULL);
		assert_int_equal(
		    scribble(&worker, frames[i].data, frames[i].len, &err), -ECONNRESET);
		assert_non_null(strstr(err.text, "has ended"));
		struct pv_agent_exec_result result = agent_rig_shell(rig, "echo here");
		agent_rig_assert_text(&result.out, "here\n");
		agent_rig_free(&result);
	}
	/* Its stream, closed under it. */
	struct pv_principal worker = start_worker(rig, NULL);
	const int64_t descriptor = 3;
	const struct pv_agent_syscall closing = {
	    .nr = SYS_close, .args = &descriptor, .arg_count = 1};
	struct pv_agent_syscall_result called;
	assert_int_equal(pv_agent_syscall(&worker, &closing, &called, &err), -ECONNRESET);
	assert_int_equal(join(&(struct pv_principal){.agent = rig->agent,
				  .worker = start_worker(rig, NULL).worker},
			     false),
	    0);
}

static void the_end_of_the_stream_ends_workers(void **state)
{
	struct agent_rig *rig = *state;
	int64_t pid;
	int status = 1;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	start_worker(rig, &pid);
	pv_loop_lock(rig->loop);
	pv_agent_drop(rig->agent, "the test is over", true);
	pv_loop_unlock(rig->loop);
	assert_int_equal(waitpid(rig->pid, NULL, 0), rig->pid);
	assert_int_equal(waitpid((pid_t)pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_worker_is_a_process_whose_children_are_its_own),
	    TEST(files_and_much_data_go_through_a_worker),
	    TEST(background_programs_of_a_worker_have_handles_of_its_own),
	    TEST(signals_reach_all_of_a_worker_and_joining_gives_the_worst),
	    TEST(the_end_of_a_worker_fails_its_calls_and_no_others),
	    TEST(cancelled_calls_of_a_worker_end),
	    TEST(a_stopped_worker_holds_up_nobody_else),
	    TEST(a_host_that_does_not_read_stops_workers_not_memory),
	    TEST(a_blocked_call_of_a_worker_holds_up_no_end_of_it),
	    TEST(identity_of_a_worker_is_that_of_its_calls_programs_and_files),
	    TEST(a_worker_that_runs_wild_spoils_its_own_calls_only),
	    TEST(the_end_of_the_stream_ends_workers),
	};
	return cmocka_run_group_tests_name("agent_worker", tests, NULL, NULL);
}
