/*
 * A real agent and the host's client whose connection is cut in the middle of everything: what is
 * under way goes on, without a byte lost or repeated, and ends for good with the agent or by the
 * host's word.
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/open_file.h"
#include "agent/host/process.h"
#include "agent/host/stream.h"
#include "agent/host/syscall.h"
#include "agent/host/worker.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

#define MUST(call)                                \
	do {                                      \
		struct pv_err err = PV_ERR_INIT;  \
		if ((call) < 0)                   \
			fail_msg("%s", err.text); \
	} while (0)

/* --- one exchange of everything small --- */

struct things {
	struct agent_rig *rig;
	struct pv_principal worker;
	struct pv_agent_process echo;
	struct pv_agent_stream *echoed;
	int64_t file;
	uint64_t boot;
	unsigned round;
};

static struct pv_agent_process start(struct agent_rig *rig, const char *script)
{
	struct pv_agent_process process;
	const char *argv[] = {"sh", "-c", script};
	struct pv_agent_exec exec = {.argv = argv, .argc = 3};
	MUST(pv_agent_process_start(PV_PRINCIPAL(rig->agent), &exec, &process, &err));
	return process;
}

static void begin(struct things *things, struct agent_rig *rig)
{
	char path[128];
	struct pv_agent_worker worker;
	const struct pv_agent_open how = {
	    .read = true, .write = true, .create = true, .perm = 0600};
	*things = (struct things){.rig = rig};
	MUST(pv_agent_worker_start(PV_PRINCIPAL(rig->agent), &worker, &err));
	things->worker = (struct pv_principal){
	    .agent = rig->agent, .worker = worker.number, .boot = worker.boot};
	things->echo = start(rig, "exec cat");
	MUST(pv_agent_process_stream(
	    PV_PRINCIPAL(rig->agent), things->echo.handle, false, &things->echoed, &err));
	snprintf(path, sizeof(path), "%s/file", rig->folder);
	MUST(pv_agent_open_file(
	    PV_PRINCIPAL(rig->agent), path, &how, &things->file, &things->boot, &err));
}

/* Takes `len` bytes of a stream. */
static void take(
    struct agent_rig *rig, struct pv_agent_stream *stream, struct pv_bytes *out, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	pv_loop_lock(rig->loop);
	while (out->len < len) {
		int status = pv_agent_stream_take(stream, out, len - out->len, &err);
		if (status == -EAGAIN)
			pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
		else if (status <= 0)
			fail_msg("the stream ends: %s", err.text);
	}
	pv_loop_unlock(rig->loop);
}

static void exchange(struct things *things)
{
	struct agent_rig *rig = things->rig;
	char text[32];
	struct pv_bytes out = {0};
	const int64_t lens[] = {8}, ptrs[] = {0}, args[] = {0, 8, 0};
	const struct pv_principal owner = {.agent = rig->agent, .boot = things->boot};
	things->round++;
	snprintf(text, sizeof(text), "round %u\n", things->round);
	/* Through a program and back, while the worker's kernel and the file are asked. */
	MUST(pv_agent_process_write(
	    PV_PRINCIPAL(rig->agent), things->echo.handle, text, strlen(text), &err));
	struct pv_agent_syscall call = {.nr = SYS_getrandom,
	    .args = args,
	    .arg_count = 3,
	    .lens = lens,
	    .buf_count = 1,
	    .ptrs = ptrs,
	    .ptr_count = 1,
	    .data = "01234567",
	    .len = 8};
	struct pv_agent_syscall_result result;
	MUST(pv_agent_syscall(&things->worker, &call, &result, &err));
	assert_int_equal(result.ret, 8);
	assert_int_equal(result.out.len, 8);
	pv_bytes_finish(&result.out);
	MUST(pv_agent_handle_write(&owner, things->file, text, strlen(text), &err));
	int64_t at;
	MUST(pv_agent_handle_seek(
	    &owner, things->file, -(int64_t)strlen(text), PV_AGENT_SEEK_CUR, &at, &err));
	MUST(pv_agent_handle_read(&owner, things->file, (int64_t)strlen(text), &out, &err));
	agent_rig_assert_text(&out, text);
	out.len = 0;
	take(rig, things->echoed, &out, strlen(text));
	agent_rig_assert_text(&out, text);
	pv_bytes_finish(&out);
}

static void cut_after(struct agent_rig *rig, size_t bytes)
{
	pv_loop_lock(rig->loop);
	rig->cut_after = bytes;
	pv_loop_unlock(rig->loop);
}

static unsigned cuts_of(struct agent_rig *rig)
{
	pv_loop_lock(rig->loop);
	unsigned cuts = rig->cuts;
	pv_loop_unlock(rig->loop);
	return cuts;
}

static void a_cut_at_any_byte_is_not_noticed(void **state)
{
	struct things things;
	struct agent_rig *rig = *state;
	begin(&things, rig);
	size_t at = 1;
	for (unsigned before = 0; cuts_of(rig) == before; at++, before++) {
		cut_after(rig, at);
		exchange(&things);
		if (cuts_of(rig) == before)
			break;
	}
	/* The whole of an exchange passes in less: all of its bytes were tried. */
	assert_in_range(at, 500, 5000);
	cut_after(rig, SIZE_MAX);
	exchange(&things);
	assert_int_equal(things.round, at + 1);
	pv_agent_stream_close(things.echoed);
	MUST(pv_agent_process_close(PV_PRINCIPAL(rig->agent), things.echo.handle, &err));
}

/* --- much --- */

#define MUCH (3u << 20)

static char *much(void)
{
	char *data = malloc(MUCH + 1);
	assert_non_null(data);
	for (size_t i = 0; i < MUCH; i += 8)
		snprintf(data + i, 9, "%08zu", i);
	return data;
}

static void large_data_outlives_many_cuts_in_both_directions(void **state)
{
	char path[128];
	struct agent_rig *rig = *state;
	char *data = much();
	struct pv_bytes got = {0};
	snprintf(path, sizeof(path), "%s/much", rig->folder);
	pv_loop_lock(rig->loop);
	rig->cut_after = rig->cut_again = 150001;
	pv_loop_unlock(rig->loop);
	MUST(pv_agent_write_file(PV_PRINCIPAL(rig->agent), path, data, MUCH, 0644, &err));
	const unsigned cuts = cuts_of(rig);
	assert_true(cuts >= 5);
	MUST(pv_agent_read_file(PV_PRINCIPAL(rig->agent), path, &got, &err));
	assert_true(cuts_of(rig) >= cuts + 5);
	assert_int_equal(got.len, MUCH);
	assert_memory_equal(got.data, data, MUCH);
	pv_bytes_finish(&got);
	free(data);
}

static void a_stream_loses_and_repeats_nothing(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_agent_stream *stream;
	struct pv_bytes out = {0}, expected = {0};
	struct pv_agent_process process =
	    start(rig, "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); echo $i; done");
	for (unsigned i = 1; i <= 60000; i++)
		assert_int_equal(pv_bytes_printf(&expected, "%u\n", i), 0);
	MUST(pv_agent_process_stream(
	    PV_PRINCIPAL(rig->agent), process.handle, false, &stream, &err));
	for (size_t len = 0; len < expected.len;) {
		len += 9973;
		len = len < expected.len ? len : expected.len;
		cut_after(rig, 5000 + len % 3000);
		take(rig, stream, &out, len);
	}
	cut_after(rig, SIZE_MAX);
	assert_int_equal(out.len, expected.len);
	assert_memory_equal(out.data, expected.data, out.len);
	assert_true(cuts_of(rig) >= 10);
	pv_agent_stream_close(stream);
	pv_bytes_finish(&out);
	pv_bytes_finish(&expected);
	MUST(pv_agent_process_close(PV_PRINCIPAL(rig->agent), process.handle, &err));
}

/* --- the end --- */

struct waiter {
	struct agent_rig *rig;
	pthread_t thread;
	int status;
	struct pv_err err;
};

static void *wait_for_sleep(void *ctx)
{
	struct waiter *waiter = ctx;
	struct pv_agent_exec_result result;
	const char *argv[] = {"sleep", "1000"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 2, .timeout_ns = PV_CLOCK_NEVER};
	waiter->status =
	    pv_agent_exec(PV_PRINCIPAL(waiter->rig->agent), &exec, &result, &waiter->err);
	return NULL;
}

/* Begins the call that is the `count`-th under way. With the lock held afterwards. */
static void begin_waiting(struct waiter *waiter, unsigned count)
{
	struct agent_rig *rig = waiter->rig;
	assert_int_equal(pthread_create(&waiter->thread, NULL, wait_for_sleep, waiter), 0);
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) < count) {
		pv_loop_unlock(rig->loop);
		sched_yield();
		pv_loop_lock(rig->loop);
	}
}

static void another_agent_begins_anew(void **state)
{
	struct agent_rig *rig = *state;
	struct things things;
	struct waiter waiter = {.rig = rig};
	begin(&things, rig);
	begin_waiting(&waiter, 2);
	/* It dies while nobody can see that. */
	agent_rig_suspend(rig);
	assert_true(pv_agent_is_interrupted(rig->agent));
	agent_rig_replace(rig);
	agent_rig_wake(rig);
	pv_loop_unlock(rig->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, -ECONNRESET);
	assert_string_equal(waiter.err.text, "exec `sleep`: cut");
	struct pv_err err = PV_ERR_INIT;
	const struct pv_principal owner = {.agent = rig->agent, .boot = things.boot};
	assert_int_equal(pv_agent_handle_close(&owner, things.file, &err), -ESTALE);
	assert_string_equal(err.text, "the guest was rebooted since");
	pv_agent_stream_close(things.echoed);
	begin(&things, rig);
	exchange(&things);
	pv_agent_stream_close(things.echoed);
	kill((pid_t)things.echo.pid, SIGKILL);
}

static void what_the_host_gives_up_ends_in_the_guest(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	bool running;
	struct pv_agent_process process = start(rig, "exec sleep 1000");
	pv_loop_lock(rig->loop);
	pv_agent_drop(rig->agent, "the VM was reset", true);
	while (!pv_agent_is_ready(rig->agent))
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
	assert_int_equal(
	    pv_agent_process_status(PV_PRINCIPAL(rig->agent), process.handle, &running, &err),
	    -ESRCH);
	while (kill((pid_t)process.pid, 0) == 0)
		sched_yield();
	assert_int_equal(errno, ESRCH);
}

static void nobody_waits_for_a_guest_that_sleeps(void **state)
{
	struct agent_rig *rig = *state;
	struct waiter waiter = {.rig = rig};
	struct things things;
	struct pv_err refusal = PV_ERR_INIT;
	begin(&things, rig);
	struct pv_agent_syscall_pending *pending;
	const struct pv_agent_syscall call = {.nr = SYS_pause, .aside = true};
	/* Only the call of who waits is given up. */
	MUST(pv_agent_syscall_begin(&things.worker, &call, &pending, &err));
	begin_waiting(&waiter, 3);
	agent_rig_suspend(rig);
	pv_agent_sleep(rig->agent, "the guest sleeps");
	pv_loop_unlock(rig->loop);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.status, -EBADFD);
	assert_string_equal(waiter.err.text, "exec `sleep`: the guest sleeps");
	/* What is asked now is refused. */
	const struct pv_principal owner = {.agent = rig->agent, .boot = things.boot};
	assert_int_equal(pv_agent_handle_close(&owner, things.file, &refusal), -ENOTCONN);
	pv_loop_lock(rig->loop);
	agent_rig_wake(rig);
	pv_loop_unlock(rig->loop);
	exchange(&things);
	pv_agent_syscall_drop(pending);
	pv_agent_stream_close(things.echoed);
	MUST(pv_agent_process_close(PV_PRINCIPAL(rig->agent), things.echo.handle, &err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup_cut, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_cut_at_any_byte_is_not_noticed),
	    TEST(large_data_outlives_many_cuts_in_both_directions),
	    TEST(a_stream_loses_and_repeats_nothing),
	    TEST(another_agent_begins_anew),
	    TEST(what_the_host_gives_up_ends_in_the_guest),
	    TEST(nobody_waits_for_a_guest_that_sleeps),
	};
	return cmocka_run_group_tests_name("agent_resume", tests, NULL, NULL);
}
