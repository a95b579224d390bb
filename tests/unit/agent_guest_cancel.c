/*
 * Operations of the guest that wait for somebody who never comes, and their cancellation: a FIFO
 * without its other end, or one that is full. The real agent works on this machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/host/open_file.h"
#include "agent/host/tree.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

/* More than a pipe holds. */
#define MUCH (200u << 10)

/* An operation in a thread of its own. */
struct waiting {
	struct agent_rig *rig;
	struct pv_principal by;
	char fifo[128], copy[128];
	int64_t handle;
	int (*run)(struct waiting *waiting);
	long nr; /* of the system call in which the agent waits */
	pthread_t thread;
	int status;
	struct pv_err err;
};

static int open_to_read(struct waiting *w)
{
	const struct pv_agent_open how = {.read = true};
	return pv_agent_open_file(&w->by, w->fifo, &how, &w->handle, &w->by.boot, &w->err);
}

static int open_to_write(struct waiting *w)
{
	const struct pv_agent_open how = {.write = true, .create = true, .truncate = true};
	return pv_agent_open_file(&w->by, w->fifo, &how, &w->handle, &w->by.boot, &w->err);
}

static int read_whole(struct waiting *w)
{
	struct pv_bytes bytes = {0};
	int status = pv_agent_read_file(&w->by, w->fifo, &bytes, &w->err);
	pv_bytes_finish(&bytes);
	return status;
}

static int write_whole(struct waiting *w)
{
	return pv_agent_write_file(&w->by, w->fifo, "data", 4, 0600, &w->err);
}

static int write_too_much(struct waiting *w)
{
	static const char data[MUCH];
	return pv_agent_handle_write(&w->by, w->handle, data, sizeof(data), &w->err);
}

static int pull(struct waiting *w)
{
	return pv_agent_pull(&w->by, w->fifo, w->copy, false, &w->err);
}

static void *thread_main(void *ctx)
{
	struct waiting *waiting = ctx;
	waiting->status = waiting->run(waiting);
	return NULL;
}

/* True when a thread of the agent is in this system call. */
static bool is_in_kernel(const struct agent_rig *rig, long nr)
{
	char path[300], text[64];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)rig->pid);
	DIR *tasks = opendir(path);
	assert_non_null(tasks);
	for (const struct dirent *task; !found && (task = readdir(tasks));) {
		snprintf(
		    path, sizeof(path), "/proc/%d/task/%s/syscall", (int)rig->pid, task->d_name);
		FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!file)
			continue;
		if (fgets(text, sizeof(text), file))
			found = text[0] >= '0' && text[0] <= '9' && strtol(text, NULL, 10) == nr;
		fclose(file);
	}
	closedir(tasks);
	return found;
}

static void begin(struct agent_rig *rig, struct waiting *waiting)
{
	waiting->rig = rig;
	waiting->by.agent = rig->agent;
	waiting->err = (struct pv_err)PV_ERR_INIT;
	assert_int_equal(pthread_create(&waiting->thread, NULL, thread_main, waiting), 0);
}

static unsigned in_flight(struct agent_rig *rig)
{
	pv_loop_lock(rig->loop);
	unsigned count = pv_agent_in_flight(rig->agent);
	pv_loop_unlock(rig->loop);
	return count;
}

/* Cancels, and waits until the agent has let go of it: with a thread that is stuck, for ever. */
static void cancel(struct agent_rig *rig, struct waiting *waiting)
{
	pv_loop_lock(rig->loop);
	pv_agent_cancel(rig->agent, "time is up");
	pv_loop_unlock(rig->loop);
	pthread_join(waiting->thread, NULL);
	assert_int_equal(waiting->status, -ECANCELED);
	assert_non_null(strstr(waiting->err.text, "time is up"));
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) > 0)
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
}

static void make_fifo(const struct agent_rig *rig, struct waiting *waiting)
{
	snprintf(waiting->fifo, sizeof(waiting->fifo), "%s/fifo", rig->folder);
	snprintf(waiting->copy, sizeof(waiting->copy), "%s/copy", rig->folder);
	if (mkfifo(waiting->fifo, 0600) < 0)
		assert_int_equal(errno, EEXIST);
}

/* Once when it hangs in the kernel, and many times at whatever moment it is just then. */
static void cancel_always_works(
    struct agent_rig *rig, struct waiting *waiting, int (*run)(struct waiting *w), long nr)
{
	waiting->run = run;
	waiting->nr = nr;
	begin(rig, waiting);
	while (!is_in_kernel(rig, nr))
		sched_yield();
	cancel(rig, waiting);
	for (unsigned i = 0; i < 50; i++) {
		begin(rig, waiting);
		while (in_flight(rig) == 0)
			sched_yield();
		cancel(rig, waiting);
	}
}

static void opening_a_fifo_that_nobody_writes(void **state)
{
	struct waiting waiting = {0};
	make_fifo(*state, &waiting);
	cancel_always_works(*state, &waiting, open_to_read, SYS_openat);
}

static void opening_a_fifo_that_nobody_reads(void **state)
{
	struct waiting waiting = {0};
	make_fifo(*state, &waiting);
	cancel_always_works(*state, &waiting, open_to_write, SYS_openat);
}

static void whole_files_that_are_fifos(void **state)
{
	struct waiting waiting = {0};
	make_fifo(*state, &waiting);
	cancel_always_works(*state, &waiting, read_whole, SYS_openat);
	cancel_always_works(*state, &waiting, write_whole, SYS_openat);
}

static void reading_a_whole_fifo_whose_writer_stays(void **state)
{
	struct waiting waiting = {0};
	make_fifo(*state, &waiting);
	int writer = open(waiting.fifo, O_RDWR | O_CLOEXEC);
	cancel_always_works(*state, &waiting, read_whole, SYS_read);
	close(writer);
}

static void writing_into_a_fifo_that_is_full(void **state)
{
	struct waiting waiting = {0};
	make_fifo(*state, &waiting);
	int reader = open(waiting.fifo, O_RDWR | O_CLOEXEC);
	waiting.by.agent = ((struct agent_rig *)*state)->agent;
	assert_int_equal(open_to_write(&waiting), 0);
	cancel_always_works(*state, &waiting, write_too_much, SYS_write);
	close(reader);
}

static void pulling_a_fifo_that_nobody_writes(void **state)
{
	struct agent_rig *rig = *state;
	struct waiting waiting = {.run = pull, .nr = SYS_openat};
	make_fifo(rig, &waiting);
	begin(rig, &waiting);
	while (!is_in_kernel(rig, SYS_openat))
		sched_yield();
	cancel(rig, &waiting);
}

static void a_fifo_that_gets_its_other_end_is_opened(void **state)
{
	struct agent_rig *rig = *state;
	struct waiting waiting = {.run = open_to_read, .nr = SYS_openat};
	struct pv_bytes bytes = {0};
	make_fifo(rig, &waiting);
	begin(rig, &waiting);
	while (!is_in_kernel(rig, SYS_openat))
		sched_yield();
	int writer = open(waiting.fifo, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(writer, "hello", 5), 5);
	close(writer);
	pthread_join(waiting.thread, NULL);
	assert_int_equal(waiting.status, 0);
	assert_int_equal(
	    pv_agent_handle_read(&waiting.by, waiting.handle, -1, &bytes, &waiting.err), 0);
	agent_rig_assert_text(&bytes, "hello");
	pv_bytes_finish(&bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(opening_a_fifo_that_nobody_writes),
	    TEST(opening_a_fifo_that_nobody_reads),
	    TEST(whole_files_that_are_fifos),
	    TEST(reading_a_whole_fifo_whose_writer_stays),
	    TEST(writing_into_a_fifo_that_is_full),
	    TEST(pulling_a_fifo_that_nobody_writes),
	    TEST(a_fifo_that_gets_its_other_end_is_opened),
	};
	return cmocka_run_group_tests_name("agent_guest_cancel", tests, NULL, NULL);
}
