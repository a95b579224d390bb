/*
 * agent/host/batch.h with the real agent: operations in a row, in order, whatever fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/host/batch.h"
#include "agent/host/path.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

static void batch(struct agent_rig *rig, struct pv_agent_item *items, size_t count)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_batch(PV_PRINCIPAL(rig->agent), items, count, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pv_agent_in_flight(rig->agent), 0);
}

static void release(struct pv_agent_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pv_agent_item_release(&items[i]);
}

static struct pv_agent_item command(const char *const *argv, size_t argc)
{
	return (struct pv_agent_item){
	    .kind = PV_AGENT_ITEM_EXEC,
	    .exec = {.argv = argv, .argc = argc, .timeout_ns = PV_CLOCK_NEVER}
	      };
}

static struct pv_agent_item call(int64_t nr, int64_t first)
{
	return (struct pv_agent_item){
	    .kind = PV_AGENT_ITEM_SYSCALL, .words = {nr, first}
	       };
}

static void each_kind_works_and_order_is_kept(void **state)
{
	struct agent_rig *rig = *state;
	char folder[128], file[128], moved[128];
	const char *const argv[] = {"cat", file};
	snprintf(folder, sizeof(folder), "%s/a/b", rig->folder);
	snprintf(file, sizeof(file), "%s/a/b/file", rig->folder);
	snprintf(moved, sizeof(moved), "%s/a/b/moved", rig->folder);
	struct pv_agent_item items[] = {
	    {.kind = PV_AGENT_ITEM_MKDIR, .path = folder,	  .parents = true, .perm = 0700},
	    {.kind = PV_AGENT_ITEM_WRITE_FILE,	       .path = file,				     .data = "con\0tent", .len = 8},
	    command(argv, 2),
	    {.kind = PV_AGENT_ITEM_RENAME, .path = file,.to = moved},
	    {.kind = PV_AGENT_ITEM_READ_FILE,			      .path = file		  },
	    {.kind = PV_AGENT_ITEM_READ_FILE,		      .path = moved								   },
	    {.kind = PV_AGENT_ITEM_STAT,.path = moved},
	    {.kind = PV_AGENT_ITEM_LIST,.path = folder},
	    call(SYS_getpid, 0),
	    call(SYS_close, -1),
	    {.kind = PV_AGENT_ITEM_UNLINK,			   .path = moved							},
	    {.kind = PV_AGENT_ITEM_STAT,		 .path = moved										   },
	};
	batch(rig, items, 12);
	for (size_t i = 0; i < 12; i++) {
		if (i != 4 && i != 11 && items[i].error)
			fail_msg("item %zu: %s", i, items[i].error);
	}
	assert_int_equal(items[2].exec_result.kind, PV_AGENT_EXITED);
	assert_int_equal(items[2].exec_result.out.len, 8);
	assert_memory_equal(items[2].exec_result.out.data, "con\0tent", 8);
	assert_non_null(strstr(items[4].error, "read_file `"));
	assert_non_null(strstr(items[4].error, "No such file"));
	assert_memory_equal(items[5].out.data, "con\0tent", 8);
	assert_int_equal(items[6].stat.size, 8);
	assert_int_equal(items[6].stat.perm, 0644);
	const char *name;
	size_t at = 0;
	enum pv_agent_entry_type type;
	assert_true(pv_agent_list_next(&items[7].out, &at, &name, &type));
	assert_string_equal(name, "moved");
	assert_int_equal(items[8].syscall_result.ret, rig->pid);
	assert_int_equal(items[9].syscall_result.ret, -1);
	assert_int_equal(items[9].syscall_result.code, EBADF);
	assert_non_null(strstr(items[11].error, "stat `"));
	release(items, 12);
}

static void large_data_goes_in_between(void **state)
{
	struct agent_rig *rig = *state;
	const size_t len = 3u << 20;
	char file[128];
	uint8_t *data = malloc(len);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 11);
	snprintf(file, sizeof(file), "%s/file", rig->folder);
	const char *const argv[] = {"wc", "-c"};
	struct pv_agent_item items[] = {
	    {.kind = PV_AGENT_ITEM_WRITE_FILE, .path = file,     .data = "x", .len = 1},
	    {.kind = PV_AGENT_ITEM_WRITE_FILE,			       .path = file,					     .data = data, .len = len},
	    {.kind = PV_AGENT_ITEM_READ_FILE,.path = file},
	    command(argv, 2),
	    {.kind = PV_AGENT_ITEM_WRITE_FILE,				       .path = file,		     .data = "y", .len = 1},
	    {.kind = PV_AGENT_ITEM_READ_FILE,				      .path = file							  },
	};
	items[3].exec.input = data;
	items[3].exec.input_len = len;
	batch(rig, items, 6);
	for (size_t i = 0; i < 6; i++)
		assert_null(items[i].error);
	assert_int_equal(items[2].out.len, len);
	assert_int_equal(memcmp(items[2].out.data, data, len), 0);
	agent_rig_assert_text(&items[3].exec_result.out, "3145728\n");
	agent_rig_assert_text(&items[5].out, "y");
	release(items, 6);
	free(data);
}

static void many_of_them(void **state)
{
	struct agent_rig *rig = *state;
	enum { COUNT = 9000 };
	struct pv_agent_item *items = calloc(COUNT, sizeof(*items));
	char file[128];
	snprintf(file, sizeof(file), "%s/file", rig->folder);
	/* More system calls than a row has, and more steps than a wave; what one writes the next
	 * reads. */
	for (size_t i = 0; i < COUNT; i++) {
		if (i < 5000)
			items[i] = call(SYS_getpid, 0);
		else
			items[i] = (struct pv_agent_item){
			    .kind = i % 2 == 0 ? PV_AGENT_ITEM_WRITE_FILE : PV_AGENT_ITEM_READ_FILE,
			    .path = file,
			    .data = &items[i].len,
			    .len = sizeof(size_t)};
		if (i >= 5000 && i % 2 == 0) {
			items[i].data = &items[i].words;
			items[i].words[0] = (int64_t)i;
		}
	}
	batch(rig, items, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		if (items[i].error)
			fail_msg("item %zu: %s", i, items[i].error);
		if (i < 5000)
			assert_int_equal(items[i].syscall_result.ret, rig->pid);
		else if (i % 2 == 1)
			assert_int_equal(pv_le64(items[i].out.data), i - 1);
	}
	release(items, COUNT);
	free(items);
}

static void a_command_holds_up_those_behind_it_and_nobody_else(void **state)
{
	struct agent_rig *rig = *state;
	char script[200], file[128];
	snprintf(file, sizeof(file), "%s/file", rig->folder);
	snprintf(script, sizeof(script), "sleep 0.3; echo done > %s", file);
	const char *const argv[] = {"sh", "-c", script};
	struct pv_agent_item items[] = {
	    command(argv, 3),
	    {.kind = PV_AGENT_ITEM_READ_FILE, .path = file},
	};
	batch(rig, items, 2);
	agent_rig_assert_text(&items[1].out, "done\n");
	release(items, 2);
}

static void programs_that_cannot_start_are_errors(void **state)
{
	const char *const argv[] = {"/no/such"};
	struct pv_agent_item items[] = {command(argv, 1), call(SYS_getpid, 0)};
	batch(*state, items, 2);
	assert_string_equal(items[0].error, "exec `/no/such`: No such file or directory");
	assert_null(items[1].error);
	release(items, 2);
}

static void *cancel_soon(void *ctx)
{
	struct agent_rig *rig = ctx;
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) < 3)
		pv_loop_wait(rig->loop, pv_clock_deadline(PV_CLOCK_SECOND / 100));
	pv_agent_cancel(rig->agent, "the test is over");
	pv_loop_unlock(rig->loop);
	return NULL;
}

static void a_cancelled_batch_ends_whole(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	pthread_t thread;
	char file[128];
	snprintf(file, sizeof(file), "%s/never", rig->folder);
	const char *const argv[] = {"sleep", "1000"};
	struct pv_agent_item items[] = {
	    command(argv, 2),
	    {.kind = PV_AGENT_ITEM_WRITE_FILE, .path = file, .data = "x", .len = 1},
	    {.kind = PV_AGENT_ITEM_READ_FILE,			      .path = file					  },
	};
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, rig), 0);
	assert_int_equal(pv_agent_batch(PV_PRINCIPAL(rig->agent), items, 3, &err), 0);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < 3; i++)
		assert_non_null(strstr(items[i].error, "the test is over"));
	release(items, 3);
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) > 0)
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
	/* What waited has not been done. */
	assert_int_equal(access(file, F_OK), -1);
}

static void without_an_agent_there_is_no_batch(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_item item = call(SYS_getpid, 0);
	pv_loop_lock(rig->loop);
	pv_agent_drop(rig->agent, "the guest was paused", true);
	pv_loop_unlock(rig->loop);
	assert_int_equal(pv_agent_batch(PV_PRINCIPAL(rig->agent), &item, 1, &err), -ENOTCONN);
	assert_non_null(strstr(err.text, "the guest was paused"));
	pv_agent_item_release(&item);
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RIG_TEST(each_kind_works_and_order_is_kept),
	    RIG_TEST(large_data_goes_in_between),
	    RIG_TEST(many_of_them),
	    RIG_TEST(a_command_holds_up_those_behind_it_and_nobody_else),
	    RIG_TEST(programs_that_cannot_start_are_errors),
	    RIG_TEST(a_cancelled_batch_ends_whole),
	    RIG_TEST(without_an_agent_there_is_no_batch),
	};
	return cmocka_run_group_tests_name("agent_batch", tests, NULL, NULL);
}
