/*
 * Names of the kernel's interface: the tables against this compiler's headers, the order that the
 * search relies on, what is offered for unknown names, and signals in all spellings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "base/sys_names.h"

static int64_t value_of(const char *name)
{
	struct pv_err err = PV_ERR_INIT;
	int64_t value = 0;
	if (pv_sys_names_value(name, &value, &err) < 0)
		fail_msg("%s", err.text);
	return value;
}

static void refused(const char *name, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	int64_t value = 4711;
	assert_int_equal(pv_sys_names_value(name, &value, &err), -ENOENT);
	if (strstr(err.text, text) == NULL)
		fail_msg("`%s` is not in: %s", text, err.text);
	assert_int_equal(value, 4711);
}

static void tables_are_in_order(void **state)
{
	size_t count;
	const struct pv_sys_names_entry *table = pv_sys_names_calls(&count);
	assert_true(count > 300);
	for (size_t i = 1; i < count; i++)
		assert_true(strcmp(table[i - 1].name, table[i].name) < 0);
	table = pv_sys_names_constants(&count);
	assert_true(count > 5000);
	for (size_t i = 1; i < count; i++)
		assert_true(strcmp(table[i - 1].name, table[i].name) < 0);
}

static void each_name_is_found(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	size_t count;
	int64_t value;
	const struct pv_sys_names_entry *table = pv_sys_names_calls(&count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(pv_sys_names_call(table[i].name, &value, &err), 0);
		assert_int_equal(value, table[i].value);
	}
	table = pv_sys_names_constants(&count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(value_of(table[i].name), table[i].value);
}

#if defined(__x86_64__) && !defined(__ILP32__)
static void values_are_the_compilers(void **state)
{
	assert_int_equal(value_of("openat"), SYS_openat);
	assert_int_equal(value_of("SYS_openat"), SYS_openat);
	assert_int_equal(value_of("__NR_pidfd_open"), SYS_pidfd_open);
	assert_int_equal(value_of("O_CREAT"), O_CREAT);
	assert_int_equal(value_of("AT_FDCWD"), -100);
	assert_int_equal(value_of("ENOENT"), ENOENT);
	assert_int_equal(value_of("ENOTSUP"), ENOTSUP);
	assert_int_equal(value_of("MAP_ANONYMOUS"), MAP_ANONYMOUS);
	assert_int_equal(value_of("PROT_READ"), PROT_READ);
	assert_int_equal(value_of("S_IFREG"), S_IFREG);
	assert_int_equal(value_of("SIGTERM"), SIGTERM);
	assert_int_equal(value_of("AF_UNIX"), AF_UNIX);
	assert_int_equal(value_of("SOCK_STREAM"), SOCK_STREAM); /* an enumerator */
	assert_int_equal(value_of("CLONE_NEWNS"), CLONE_NEWNS);
	assert_int_equal(value_of("EPOLLET"), UINT32_C(1) << 31); /* not sign-extended */
	assert_int_equal(value_of("IN_CREATE"), IN_CREATE);
	assert_int_equal(value_of("LOOP_CTL_GET_FREE"), LOOP_CTL_GET_FREE);
	assert_int_equal(value_of("KEYCTL_REVOKE"), KEYCTL_REVOKE);
	assert_int_equal(value_of("RLIM_INFINITY"), -1);
	assert_int_equal(value_of("TUNSETIFF"), 0x400454ca); /* with a size in it */
	assert_int_equal(value_of("BPF_MAP_TYPE_ARRAY"), 2);
}
#endif

static void unknown_names_offer_similar_ones(void **state)
{
	struct pv_err err = PV_ERR_INIT;
	int64_t number;
	refused("O_CRAET", "unknown name `O_CRAET`; did you mean `O_CREAT`");
	refused("o_creat", "`O_CREAT`");
	refused("ENOEN", "`ENOENT`");
	refused("opneat", "`openat`");
	refused("SYS_opneat", "`openat`");
	refused("SIGTREM", "`SIGTERM`");
	refused("FALLOC_FL_PUNCH", "`FALLOC_FL_PUNCH_HOLE`");
	refused("a name that looks like nothing else at all", "can be given as a number");
	refused("", "unknown name ``");
	assert_int_equal(pv_sys_names_call("MAP_SHARED", &number, &err), -ENOENT);
	assert_string_equal(err.text,
	    "unknown system call `MAP_SHARED`; one that the headers of this "
	    "build do not have can be given by its number");
	char endless[5000];
	memset(endless, 'E', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	refused(endless, "unknown name `EEEE");
}

static void numbers_have_names(void **state)
{
	assert_string_equal(pv_sys_names_errno(2), "ENOENT");
	assert_string_equal(pv_sys_names_errno(-2), "ENOENT");
	assert_string_equal(pv_sys_names_errno(11), "EAGAIN");
	assert_string_equal(pv_sys_names_errno(95), "EOPNOTSUPP");
	assert_null(pv_sys_names_errno(0));
	assert_null(pv_sys_names_errno(4711));
	assert_null(pv_sys_names_errno(INT64_MIN));
	assert_string_equal(pv_sys_names_signal(15), "SIGTERM");
	assert_string_equal(pv_sys_names_signal(6), "SIGABRT");
	assert_null(pv_sys_names_signal(-15));
	for (int number = 1; number < 32; number++)
		assert_non_null(pv_sys_names_signal(number));
	assert_null(pv_sys_names_signal(32));
}

static int signal_of(const char *name)
{
	struct pv_err err = PV_ERR_INIT;
	int number = -1;
	if (pv_sys_names_signal_number(name, &number, &err) < 0)
		fail_msg("%s", err.text);
	return number;
}

static void signals_in_all_spellings(void **state)
{
	for (int number = 1; number < 32; number++) {
		assert_int_equal(signal_of(pv_sys_names_signal(number)), number);
		assert_int_equal(signal_of(pv_sys_names_signal(number) + 3), number);
	}
	assert_int_equal(signal_of("term"), 15);
	assert_int_equal(signal_of("sigTerm"), 15);
	assert_int_equal(signal_of("SIGIOT"), 6);
	assert_int_equal(signal_of("cld"), 17);
	assert_int_equal(signal_of("winch"), 28);
	assert_int_equal(signal_of("poll"), 29);
	assert_int_equal(signal_of("9"), 9);
	assert_int_equal(signal_of("0"), 0);
	assert_int_equal(signal_of("64"), 64);
	assert_int_equal(signal_of("RTMIN"), 34);
	assert_int_equal(signal_of("SIGRTMIN+1"), 35);
	assert_int_equal(signal_of("rtmax-2"), 62);
	assert_int_equal(signal_of("RTMIN+30"), 64);
}

static void what_is_no_signal(void **state)
{
	static const char *const names[] = {"", "SIG", "TERN", "SIG_BLOCK", "SIGEV_THREAD",
	    "EV_THREAD", "65", "-1", "9x", " 9", "1e1", "RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMIN+",
	    "RTMIN+-1", "RTMINx", "99999999999999999999", "SIGSIGTERM",
	    "a word of more than sixty-four letters, which no signal has for its name"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct pv_err err = PV_ERR_INIT;
		int number = -1;
		if (pv_sys_names_signal_number(names[i], &number, &err) != -EINVAL)
			fail_msg("`%s` is %d", names[i], number);
		assert_non_null(strstr(err.text, "unknown signal name `"));
		assert_non_null(strstr(err.text, names[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_in_order),
		cmocka_unit_test(each_name_is_found),
#if defined(__x86_64__) && !defined(__ILP32__)
		cmocka_unit_test(values_are_the_compilers),
#endif
		cmocka_unit_test(unknown_names_offer_similar_ones),
		cmocka_unit_test(numbers_have_names),
		cmocka_unit_test(signals_in_all_spellings),
		cmocka_unit_test(what_is_no_signal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
