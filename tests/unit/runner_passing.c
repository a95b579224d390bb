/*
 * runner/passing.h: bytes and descriptors through a socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "runner/passing.h"

static int ends[2];

static int set_up(void **state)
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
	pv_fd_close(&ends[0]);
	pv_fd_close(&ends[1]);
	return 0;
}

static bool is_same_file(int one, int other)
{
	struct stat a, b;
	return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static void bytes_come_without_a_descriptor(void **state)
{
	char buffer[16];
	int passed = -1;
	assert_int_equal(pv_passing_send(ends[0], "hello", 5, -1, 0), 0);
	assert_int_equal(pv_passing_receive(ends[1], buffer, sizeof(buffer), &passed, 0), 5);
	assert_memory_equal(buffer, "hello", 5);
	assert_int_equal(passed, -1);
	assert_int_equal(
	    pv_passing_receive(ends[1], buffer, sizeof(buffer), &passed, MSG_DONTWAIT), -EAGAIN);
	pv_fd_close(&ends[0]);
	assert_int_equal(pv_passing_receive(ends[1], buffer, sizeof(buffer), &passed, 0), 0);
}

static void a_descriptor_comes_with_its_bytes(void **state)
{
	char buffer[16];
	int passed = -1;
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pv_passing_send(ends[0], "before", 6, -1, 0), 0);
	assert_int_equal(pv_passing_send(ends[0], "with", 4, file, 0), 0);
	ssize_t got = 0;
	while (got < 10) {
		const ssize_t more = pv_passing_receive(
		    ends[1], buffer + got, sizeof(buffer) - (size_t)got, &passed, 0);
		assert_true(more > 0);
		got += more;
	}
	assert_memory_equal(buffer, "beforewith", 10);
	assert_true(passed >= 0 && passed != file);
	assert_true(is_same_file(passed, file));
	assert_int_equal(fcntl(passed, F_GETFD), FD_CLOEXEC);
	close(passed);
	close(file);
}

static void a_later_one_takes_the_place(void **state)
{
	char buffer[16];
	int passed = open("/dev/null", O_RDONLY | O_CLOEXEC), first = passed;
	int file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pv_passing_send(ends[0], "x", 1, file, 0), 0);
	assert_int_equal(pv_passing_receive(ends[1], buffer, sizeof(buffer), &passed, 0), 1);
	assert_true(is_same_file(passed, file));
	assert_true(passed == first || fcntl(first, F_GETFD) < 0);
	close(passed);
	close(file);
}

static void a_reader_that_does_not_read_is_an_error(void **state)
{
	static char block[1 << 20];
	assert_int_equal(pv_passing_send(ends[0], block, sizeof(block), -1, MSG_DONTWAIT), -EAGAIN);
	pv_fd_close(&ends[1]);
	assert_int_equal(pv_passing_send(ends[0], "x", 1, -1, 0), -EPIPE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(bytes_come_without_a_descriptor),
	    TEST(a_descriptor_comes_with_its_bytes),
	    TEST(a_later_one_takes_the_place),
	    TEST(a_reader_that_does_not_read_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
