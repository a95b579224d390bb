/*
 * lab/fixture_lock.h, among processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "lab/fixture_lock.h"

#define KEY   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char folder[64];

static int set_up(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/pv-fixture-lock-XXXXXX");
	assert_non_null(mkdtemp(folder));
	return 0;
}

static int tear_down(void **state)
{
	/* Fails when a lock was left. */
	return rmdir(folder);
}

static int take(struct pv_fixture_lock *lock, const char *key, bool wait)
{
	struct pv_err err = PV_ERR_INIT;
	return pv_fixture_lock_take(lock, folder, key, wait, &err);
}

/* A process that takes the lock, says so, and keeps it until it is told. */
struct holder {
	pid_t pid;
	int says; /* one byte when it has the lock */
	int told; /* closed: let go */
};

static void hold(struct holder *holder, bool wait)
{
	int says[2], told[2];
	assert_int_equal(pipe(says), 0);
	assert_int_equal(pipe(told), 0);
	holder->pid = fork();
	assert_true(holder->pid >= 0);
	if (holder->pid == 0) {
		struct pv_fixture_lock lock;
		char byte;
		close(told[1]);
		close(says[0]);
		if (take(&lock, KEY, wait) || write(says[1], "x", 1) != 1)
			_exit(1);
		const ssize_t got = read(told[0], &byte, 1);
		pv_fixture_lock_release(&lock);
		_exit(got == 0 ? 0 : 1);
	}
	close(says[1]);
	close(told[0]);
	holder->says = says[0];
	holder->told = told[1];
}

static void await(const struct holder *holder)
{
	char byte;
	assert_int_equal(read(holder->says, &byte, 1), 1);
}

static int finish(struct holder *holder)
{
	int status;
	close(holder->told);
	assert_int_equal(waitpid(holder->pid, &status, 0), holder->pid);
	close(holder->says);
	return status;
}

static void one_holds_it_and_others_see_who(void **state)
{
	struct holder holder;
	struct pv_fixture_lock lock;
	char expected[64];
	hold(&holder, false);
	await(&holder);
	assert_int_equal(take(&lock, KEY, false), -EWOULDBLOCK);
	pv_fixture_lock_release(&lock); /* harmless */
	char *text = pv_fixture_lock_holder(folder, KEY);
	assert_non_null(text);
	snprintf(expected, sizeof(expected), "pid=%d host=", (int)holder.pid);
	assert_ptr_equal(strstr(text, expected), text);
	assert_non_null(strstr(text, " started="));
	assert_non_null(strstr(text, " argv="));
	assert_null(strchr(text, '\n'));
	free(text);
	assert_int_equal(take(&lock, OTHER, false), 0);
	pv_fixture_lock_release(&lock);
	assert_int_equal(finish(&holder), 0);
	assert_null(pv_fixture_lock_holder(folder, KEY));
	assert_int_equal(take(&lock, KEY, false), 0);
	pv_fixture_lock_release(&lock);
	pv_fixture_lock_release(&lock);
}

static void it_goes_with_its_killed_holder(void **state)
{
	struct holder holder;
	struct pv_fixture_lock lock;
	hold(&holder, false);
	await(&holder);
	kill(holder.pid, SIGKILL);
	assert_int_equal(take(&lock, KEY, true), 0);
	assert_true(WIFSIGNALED(finish(&holder)));
	char *text = pv_fixture_lock_holder(folder, KEY);
	char expected[64];
	snprintf(expected, sizeof(expected), "pid=%d host=", (int)getpid());
	assert_ptr_equal(strstr(text, expected), text);
	free(text);
	pv_fixture_lock_release(&lock);
}

/* Each of them has a file of its own for its lock, as the one before removed its own. */
static void many_take_turns(void **state)
{
	enum { COUNT = 8, ROUNDS = 200 };
	char path[96];
	pid_t pids[COUNT];
	snprintf(path, sizeof(path), "%s/inside", folder);
	for (int i = 0; i < COUNT; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		for (int round = 0; pids[i] == 0 && round < ROUNDS; round++) {
			struct pv_fixture_lock lock;
			if (take(&lock, KEY, true) || mkdir(path, 0700) || rmdir(path))
				_exit(1);
			pv_fixture_lock_release(&lock);
		}
		if (pids[i] == 0)
			_exit(0);
	}
	for (int i = 0; i < COUNT; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
	struct pv_fixture_lock lock;
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_fixture_lock_take(&lock, "/nowhere/at/all", KEY, true, &err), -ENOENT);
	assert_string_equal(err.text, "fixture cache `/nowhere/at/all`: cannot take the lock of an "
				      "entry: No such file or directory");
	assert_int_equal(lock.fd, -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(one_holds_it_and_others_see_who),
	    TEST(it_goes_with_its_killed_holder),
	    TEST(many_take_turns),
	    TEST(a_folder_that_is_not_there_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
