/*
 * lab/crew.h: each job once, and all done at the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <unistd.h>

#include "lab/crew.h"

static void count_up(void *ctx, size_t index)
{
	atomic_uint *counts = ctx;
	atomic_fetch_add(&counts[index], 1);
}

static void each_job_once(void **state)
{
	atomic_uint counts[1000];
	for (size_t count = 0; count <= 1000; count += count < 5 ? 1 : 199) {
		for (size_t i = 0; i < 1000; i++)
			atomic_init(&counts[i], 0);
		pv_crew_run(count, count_up, counts);
		for (size_t i = 0; i < 1000; i++)
			assert_int_equal(atomic_load(&counts[i]), i < count ? 1 : 0);
	}
}

struct meeting {
	atomic_uint arrived;
	int pipes[2][2];
};

/* Two jobs that need each other. */
static void meet(void *ctx, size_t index)
{
	struct meeting *meeting = ctx;
	char byte = 0;
	assert_int_equal(write(meeting->pipes[index][1], &byte, 1), 1);
	assert_int_equal(read(meeting->pipes[1 - index][0], &byte, 1), 1);
	atomic_fetch_add(&meeting->arrived, 1);
}

static void jobs_run_side_by_side(void **state)
{
	struct meeting meeting = {0};
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	assert_int_equal(pipe(meeting.pipes[0]), 0);
	assert_int_equal(pipe(meeting.pipes[1]), 0);
	pv_crew_run(2, meet, &meeting);
	assert_int_equal(atomic_load(&meeting.arrived), 2);
	for (int i = 0; i < 4; i++)
		close(meeting.pipes[i / 2][i % 2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_job_once),
	    cmocka_unit_test(jobs_run_side_by_side),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
