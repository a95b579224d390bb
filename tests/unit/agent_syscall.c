/*
 * agent/host/syscall.h with the real agent: its system calls and its memory. The kernel is this
 * machine's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/host/open_file.h"
#include "agent/host/syscall.h"
#include "base/clock.h"
#include "tests/unit/agent_rig.h"

/* Of a call without buffers. */
static int64_t call(struct agent_rig *rig, int *code, int64_t nr, size_t count, const int64_t *args)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	struct pv_agent_syscall syscall = {.nr = nr, .args = args, .arg_count = count};
	if (pv_agent_syscall(PV_PRINCIPAL(rig->agent), &syscall, &result, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(result.out.len, 0);
	*code = result.code;
	return result.ret;
}

#define ARGS(...) \
	sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]) { __VA_ARGS__ }

/* A call that must work. */
static int64_t works(struct agent_rig *rig, int64_t nr, size_t count, const int64_t *args)
{
	int code;
	int64_t ret = call(rig, &code, nr, count, args);
	assert_int_equal(code, 0);
	return ret;
}

static int fails(struct agent_rig *rig, int64_t nr, size_t count, const int64_t *args)
{
	int code;
	assert_int_equal(call(rig, &code, nr, count, args), -1);
	return code;
}

/* A call with one buffer behind argument `ptr`. Returns its result; `buffer` is replaced. */
static struct pv_agent_syscall_result with_buffer(struct agent_rig *rig, int64_t nr, size_t count,
    const int64_t *args, int64_t ptr, const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	int64_t length = (int64_t)len;
	struct pv_agent_syscall syscall = {.nr = nr,
	    .args = args,
	    .arg_count = count,
	    .lens = &length,
	    .buf_count = 1,
	    .ptrs = &ptr,
	    .ptr_count = 1,
	    .data = data,
	    .len = len};
	if (pv_agent_syscall(PV_PRINCIPAL(rig->agent), &syscall, &result, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(result.out.len, len);
	return result;
}

static void make_pipe(struct agent_rig *rig, int fds[2])
{
	char none[8] = {0};
	struct pv_agent_syscall_result result =
	    with_buffer(rig, SYS_pipe2, ARGS(0, O_CLOEXEC), 0, none, sizeof(none));
	assert_int_equal(result.ret, 0);
	memcpy(fds, result.out.data, sizeof(none));
	pv_bytes_finish(&result.out);
}

static void one_process_issues_all(void **state)
{
	struct agent_rig *rig = *state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(works(rig, SYS_getpid, 0, NULL), rig->pid);
}

static void the_kernel_s_errors_are_results(void **state)
{
	assert_int_equal(fails(*state, SYS_close, ARGS(-1)), EBADF);
	assert_int_equal(fails(*state, 100000, 0, NULL), ENOSYS);
	assert_int_equal(fails(*state, SYS_openat, ARGS(AT_FDCWD, 0, 0)), EFAULT);
}

static void arguments_have_64_bits(void **state)
{
	/* An offset beyond 32 bits, and a negative one. */
	char name[] = "x";
	struct pv_agent_syscall_result made =
	    with_buffer(*state, SYS_memfd_create, ARGS(0, 0), 0, name, sizeof(name));
	int64_t fd = made.ret;
	pv_bytes_finish(&made.out);
	assert_int_equal(works(*state, SYS_lseek, ARGS(fd, INT64_C(0x123456789ab), SEEK_SET)),
	    INT64_C(0x123456789ab));
	assert_int_equal(works(*state, SYS_lseek, ARGS(fd, -0xab, SEEK_CUR)),
	    INT64_C(0x12345678900));
}

static void descriptors_persist_and_buffers_go_both_ways(void **state)
{
	struct agent_rig *rig = *state;
	int fds[2];
	make_pipe(rig, fds);
	struct pv_agent_syscall_result wrote =
	    with_buffer(rig, SYS_write, ARGS(fds[1], 0, 5), 1, "a\0b\xff!", 5);
	assert_int_equal(wrote.ret, 5);
	assert_memory_equal(wrote.out.data, "a\0b\xff!", 5);
	struct pv_agent_syscall_result got =
	    with_buffer(rig, SYS_read, ARGS(fds[0], 0, 8), 1, "........", 8);
	assert_int_equal(got.ret, 5);
	assert_memory_equal(got.out.data, "a\0b\xff!...", 8);
	pv_bytes_finish(&wrote.out);
	pv_bytes_finish(&got.out);
}

static void buffers_refer_to_buffers(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	int fds[2];
	make_pipe(rig, fds);
	/* writev of two parts, the second first. */
	struct {
		uint64_t vectors[4];
		char parts[5];
	} __attribute__((packed)) data = {{0, 2, 0, 3}, "abcde"};
	data.parts[0] = 'a';
	struct pv_agent_syscall_result result;
	struct pv_agent_syscall syscall = {.nr = SYS_writev,
	    .args = (const int64_t[]){fds[1], 0, 2},
	    .arg_count = 3,
	    .lens = (const int64_t[]){32, 3, 2},
	    .buf_count = 3,
	    .ptrs = (const int64_t[]){1},
	    .ptr_count = 1,
	    .nested = (const int64_t[]){0, 2, 0, 0, 1, 16},
	    .nested_count = 2,
	    .data = &data,
	    .len = 37};
	assert_int_equal(
	    pv_agent_syscall(PV_PRINCIPAL(rig->agent), &syscall, &result, &err), 0);
	assert_int_equal(result.ret, 5);
	assert_int_equal(result.out.len, 37);
	pv_bytes_finish(&result.out);
	struct pv_agent_syscall_result got =
	    with_buffer(rig, SYS_read, ARGS(fds[0], 0, 8), 1, "........", 8);
	assert_memory_equal(got.out.data, "deabc", 5);
	pv_bytes_finish(&got.out);
}

static void a_kernel_that_writes_too_far_gets_a_fault(void **state)
{
	struct agent_rig *rig = *state;
	static const size_t lens[] = {16, 4096, 100000};
	char *big = calloc(1, 200000);
	for (size_t i = 0; i < 3; i++) {
		/* getrandom reports what it wrote before the fault. */
		struct pv_agent_syscall_result result =
		    with_buffer(rig, SYS_getrandom, ARGS(0, 200000, 0), 0, big, lens[i]);
		assert_true(result.ret == (int64_t)lens[i] || result.code == EFAULT ||
			    (result.ret >= 0 && result.ret < (int64_t)lens[i] + 16));
		pv_bytes_finish(&result.out);
	}
	free(big);
	assert_int_equal(works(rig, SYS_getpid, 0, NULL), rig->pid);
}

static void buffers_are_aligned(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	uint8_t data[8 + 1 + 3 + 17] = {0};
	struct pv_agent_syscall_result result;
	/* The first buffer gets the address of the last. */
	for (int64_t child = 1; child < 4; child++) {
		struct pv_agent_syscall syscall = {.nr = SYS_getpid,
		    .lens = (const int64_t[]){8, 1, 3, 17},
		    .buf_count = 4,
		    .nested = (const int64_t[]){0, child, 0},
		    .nested_count = 1,
		    .data = data,
		    .len = sizeof(data)};
		assert_int_equal(
		    pv_agent_syscall(PV_PRINCIPAL(rig->agent), &syscall, &result, &err), 0);
		uint64_t address = pv_le64(result.out.data);
		assert_int_not_equal(address, 0);
		assert_int_equal(address % 16, 0);
		pv_bytes_finish(&result.out);
	}
}

static void no_small_limits(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	const size_t count = 50000, big = (20u << 20) + 7;
	int64_t *lens = calloc(count + 1, sizeof(*lens));
	size_t len = big;
	lens[0] = (int64_t)big;
	for (size_t i = 1; i <= count; i++) {
		lens[i] = (int64_t)(i % 5);
		len += i % 5;
	}
	uint8_t *data = malloc(len);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	struct pv_agent_syscall_result result;
	struct pv_agent_syscall syscall = {
	    .nr = SYS_getpid, .lens = lens, .buf_count = count + 1, .data = data, .len = len};
	if (pv_agent_syscall(PV_PRINCIPAL(rig->agent), &syscall, &result, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(result.out.len, len);
	assert_int_equal(memcmp(result.out.data, data, len), 0);
	pv_bytes_finish(&result.out);
	free(data);
	free(lens);
}

static void wrong_links_are_refused(void **state)
{
	struct agent_rig *rig = *state;
	static const int64_t lens[] = {16, 16};
	static const int64_t wrong[] = {2, 0, 0, 0, 2, 0, -1, 0, 0, 0, 1, 9, 0, 1, -1};
	static const int64_t ptrs[] = {6, -1};
	uint8_t data[32] = {0};
	struct pv_agent_syscall_result result;
	for (size_t i = 0; i < 7; i++) {
		struct pv_err err = PV_ERR_INIT;
		struct pv_agent_syscall syscall = {.nr = SYS_getpid,
		    .lens = lens,
		    .buf_count = 2,
		    .data = data,
		    .len = sizeof(data)};
		if (i < 5) {
			syscall.nested = &wrong[3 * i];
			syscall.nested_count = 1;
		} else {
			syscall.ptrs = &ptrs[i - 5];
			syscall.ptr_count = 1;
		}
		assert_int_equal(
		    pv_agent_syscall(PV_PRINCIPAL(rig->agent), &syscall, &result, &err), -EPROTO);
		assert_non_null(strstr(err.text, i < 5 ? "`nested`" : "`ptrs`"));
	}
}

static void a_child_of_fork_ends_at_once(void **state)
{
	struct agent_rig *rig = *state;
	int64_t pid = works(rig, SYS_fork, 0, NULL);
	assert_true(pid > 0);
	pid = works(rig, SYS_vfork, 0, NULL);
	assert_true(pid > 0);
	/* On our very stack, at the same time. */
	pid = works(rig, SYS_clone, ARGS(CLONE_VM | CLONE_FS | SIGCHLD, 0, 0, 0, 0));
	assert_true(pid > 0);
	assert_int_equal(fails(rig, SYS_clone, ARGS(CLONE_SIGHAND, 0, 0, 0, 0)), EINVAL);
	assert_int_equal(works(rig, SYS_getpid, 0, NULL), rig->pid);
}

/* The threads of the loop issue calls as well, but none that would change them. */
static void a_call_that_changes_its_thread_changes_no_program(void **state)
{
	struct agent_rig *rig = *state;
	const int64_t per_linux32 = 8;
	/* Twice: the first call of all finds other threads than later ones do. */
	for (int i = 0; i < 2; i++) {
		works(rig, SYS_getpid, 0, NULL);
		works(rig, SYS_personality, ARGS(per_linux32));
		works(rig, SYS_getpid, 0, NULL);
		struct pv_agent_exec_result result =
		    agent_rig_shell(rig, "cat /proc/self/personality");
		agent_rig_assert_text(&result.out, "00000000\n");
		agent_rig_free(&result);
	}
}

static void a_buffer_may_be_unmapped(void **state)
{
	struct agent_rig *rig = *state;
	char page[4096];
	memset(page, 'x', sizeof(page));
	struct pv_agent_syscall_result result =
	    with_buffer(rig, SYS_mprotect, ARGS(0, 4096, PROT_NONE), 0, page, sizeof(page));
	assert_int_equal(result.ret, 0);
	pv_bytes_finish(&result.out);
	result = with_buffer(rig, SYS_munmap, ARGS(0, 4096), 0, page, sizeof(page));
	assert_int_equal(result.ret, 0);
	assert_int_equal(result.out.data[17], 0);
	pv_bytes_finish(&result.out);
	result = with_buffer(rig, SYS_getpid, 0, NULL, 0, page, sizeof(page));
	assert_int_equal(result.out.data[17], 'x');
	pv_bytes_finish(&result.out);
}

static void what_would_end_the_agent_has_a_reason(void **state)
{
	static const int64_t deadly[] = {SYS_exit, SYS_exit_group, SYS_execve, SYS_execveat,
	    SYS_rt_sigreturn, SYS_exit + (INT64_C(1) << 32), 0x40000000 | SYS_exit_group};
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		assert_non_null(pv_agent_syscall_refusal(deadly[i], 0));
	assert_non_null(pv_agent_syscall_refusal(SYS_arch_prctl, 0x1002));
	assert_null(pv_agent_syscall_refusal(SYS_arch_prctl, 0x1003));
	assert_null(pv_agent_syscall_refusal(SYS_clone3, 0));
	assert_null(pv_agent_syscall_refusal(-1, 0));
}

static int64_t seek(struct agent_rig *rig, int64_t handle, int64_t where, int *status)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	const int64_t args[] = {-1, where, SEEK_SET};
	struct pv_agent_syscall syscall = {
	    .nr = SYS_lseek, .args = args, .arg_count = 3, .handle = handle};
	*status = pv_agent_syscall(PV_PRINCIPAL(rig->agent), &syscall, &result, &err);
	return result.ret;
}

static void the_descriptor_of_an_open_file_is_put_in(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	const struct pv_agent_open how = {.read = true};
	struct pv_bytes rest = {0};
	int64_t handle;
	uint64_t boot;
	int status;
	assert_int_equal(pv_agent_open_file(PV_PRINCIPAL(rig->agent), "/proc/version", &how,
			     &handle, &boot, &err),
	    0);
	assert_int_equal(seek(rig, handle, 6, &status), 6);
	assert_int_equal(status, 0);
	assert_int_equal(
	    pv_agent_handle_read(PV_PRINCIPAL(rig->agent), handle, 7, &rest, &err), 0);
	agent_rig_assert_text(&rest, "version");
	pv_bytes_finish(&rest);
	seek(rig, handle + 1, 6, &status);
	assert_int_equal(status, -EPROTO);
	assert_int_equal(pv_agent_handle_close(PV_PRINCIPAL(rig->agent), handle, &err), 0);
	seek(rig, handle, 6, &status);
	assert_int_equal(status, -EPROTO);
}

/* --- side by side --- */

static struct pv_agent_syscall_pending *begin_read(struct agent_rig *rig, int fd)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_pending *pending;
	const int64_t args[] = {fd, 0, 1}, len = 1, ptr = 1;
	struct pv_agent_syscall syscall = {.nr = SYS_read,
	    .args = args,
	    .arg_count = 3,
	    .lens = &len,
	    .buf_count = 1,
	    .ptrs = &ptr,
	    .ptr_count = 1,
	    .data = "?",
	    .len = 1,
	    .aside = true};
	if (pv_agent_syscall_begin(PV_PRINCIPAL(rig->agent), &syscall, &pending, &err) < 0)
		fail_msg("%s", err.text);
	return pending;
}

static void calls_that_block_hold_up_nobody(void **state)
{
	struct agent_rig *rig = *state;
	enum { COUNT = 200 };
	static struct pv_agent_syscall_pending *pending[COUNT];
	bool seen[256] = {false};
	int fds[2];
	uint8_t data[COUNT];
	make_pipe(rig, fds);
	for (int i = 0; i < COUNT; i++) {
		pending[i] = begin_read(rig, fds[0]);
		data[i] = (uint8_t)i;
	}
	assert_int_equal(works(rig, SYS_getpid, 0, NULL), rig->pid);
	struct pv_agent_syscall_result result =
	    with_buffer(rig, SYS_write, ARGS(fds[1], 0, COUNT), 1, data, COUNT);
	pv_bytes_finish(&result.out);
	/* Each has got another byte, in whatever order. */
	for (int i = COUNT - 1; i >= 0; i--) {
		struct pv_err err = PV_ERR_INIT;
		assert_int_equal(pv_agent_syscall_end(pending[i], &result, &err), 0);
		assert_int_equal(result.ret, 1);
		assert_false(seen[result.out.data[0]]);
		seen[result.out.data[0]] = true;
		pv_bytes_finish(&result.out);
	}
}

/* Resident memory of a process, in KiB. */
static long resident(pid_t pid)
{
	char path[64];
	long pages = 0;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*s %ld", &pages), 1);
	fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 200 calls that wait, with a buffer each, answered at once. Returns the agent's memory while they
 * wait. */
static long round_of_waiting(struct agent_rig *rig, const int fds[2])
{
	enum { COUNT = 200 };
	static struct pv_agent_syscall_pending *pending[COUNT];
	static const uint8_t data[COUNT];
	struct pv_agent_syscall_result result;
	for (int i = 0; i < COUNT; i++)
		pending[i] = begin_read(rig, fds[0]);
	works(rig, SYS_getpid, 0, NULL);
	long meanwhile = resident(rig->pid);
	result = with_buffer(rig, SYS_write, ARGS(fds[1], 0, COUNT), 1, data, COUNT);
	pv_bytes_finish(&result.out);
	for (int i = 0; i < COUNT; i++) {
		struct pv_err err = PV_ERR_INIT;
		assert_int_equal(pv_agent_syscall_end(pending[i], &result, &err), 0);
		pv_bytes_finish(&result.out);
	}
	return meanwhile;
}

static void two_hundred_waiting_calls_cost_no_memory_that_stays(void **state)
{
	struct agent_rig *rig = *state;
	int fds[2];
	make_pipe(rig, fds);
	long before = resident(rig->pid);
	long first = round_of_waiting(rig, fds);
	for (int i = 0; i < 8; i++)
		round_of_waiting(rig, fds);
	long last = round_of_waiting(rig, fds);
	/* A thread and a page for each of them, and no more for the tenth time than for the first. */
	if (first - before > 200 * 64 || last - first > 2048)
		fail_msg("%ld KiB before, %ld while the first wait, %ld while the last do", before,
		    first, last);
}

static void wait_until_nothing_is_in_flight(struct agent_rig *rig)
{
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) > 0)
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	pv_loop_unlock(rig->loop);
}

static void a_dropped_call_is_interrupted_in_the_kernel(void **state)
{
	struct agent_rig *rig = *state;
	int fds[2];
	make_pipe(rig, fds);
	for (int i = 0; i < 20; i++)
		pv_agent_syscall_drop(begin_read(rig, fds[0]));
	/* Nobody ever writes, and yet they end. */
	wait_until_nothing_is_in_flight(rig);
	pv_agent_syscall_drop(NULL);
}

static void a_cancelled_call_fails_and_ends(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	int fds[2];
	make_pipe(rig, fds);
	struct pv_agent_syscall_pending *pending = begin_read(rig, fds[0]);
	pv_loop_lock(rig->loop);
	pv_agent_cancel(rig->agent, "the test is over");
	pv_loop_unlock(rig->loop);
	assert_int_equal(pv_agent_syscall_end(pending, &result, &err), -ECANCELED);
	assert_string_equal(err.text, "syscall: the test is over");
	wait_until_nothing_is_in_flight(rig);
}

static void a_killed_agent_fails_what_is_under_way(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_syscall_result result;
	int fds[2];
	make_pipe(rig, fds);
	struct pv_agent_syscall_pending *pending = begin_read(rig, fds[0]);
	kill(rig->pid, SIGKILL);
	assert_int_equal(pv_agent_syscall_end(pending, &result, &err), -ECONNRESET);
	assert_non_null(strstr(err.text, "connection was lost"));
}

/* --- memory --- */

static uint64_t map_page(struct agent_rig *rig, int prot)
{
	return (uint64_t)works(
	    rig, SYS_mmap, ARGS(0, 8192, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void memory_is_read_and_written(void **state)
{
	struct agent_rig *rig = *state;
	const struct pv_principal *by = PV_PRINCIPAL(rig->agent);
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	int code = -1;
	uint64_t at = map_page(rig, PROT_READ | PROT_WRITE);
	assert_int_equal(pv_agent_write_mem(by, at + 3, "a\0b", 3, &code, &err), 0);
	assert_int_equal(code, 0);
	pv_bytes_append(&out, "-", 1);
	assert_int_equal(pv_agent_read_mem(by, at + 2, 5, &out, &code, &err), 0);
	assert_int_equal(code, 0);
	assert_int_equal(out.len, 6);
	assert_memory_equal(out.data, "-\0a\0b\0", 6);
	assert_int_equal(pv_agent_read_mem(by, at, 0, &out, &code, &err), 0);
	assert_int_equal(code, 0);
	assert_int_equal(out.len, 6);
	pv_bytes_finish(&out);
}

static void memory_that_is_not_there_is_an_errno(void **state)
{
	struct agent_rig *rig = *state;
	const struct pv_principal *by = PV_PRINCIPAL(rig->agent);
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	int code = 0;
	uint64_t read_only = map_page(rig, PROT_READ);
	works(rig, SYS_munmap, ARGS((int64_t)read_only + 4096, 4096));
	const uint64_t bad[] = {0, 8, UINT64_MAX - 3, UINT64_C(1) << 63, read_only + 4090};
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(pv_agent_read_mem(by, bad[i], 16, &out, &code, &err), 0);
		assert_int_equal(code, EFAULT);
		assert_int_equal(out.len, 0);
		code = 0;
		assert_int_equal(pv_agent_write_mem(by, bad[i], "x", 1, &code, &err), 0);
		assert_int_equal(code, EFAULT);
	}
	assert_int_equal(pv_agent_write_mem(by, read_only, "x", 1, &code, &err), 0);
	assert_int_equal(code, EFAULT);
	assert_int_equal(works(rig, SYS_getpid, 0, NULL), rig->pid);
}

static void memory_of_many_megabytes(void **state)
{
	struct agent_rig *rig = *state;
	const struct pv_principal *by = PV_PRINCIPAL(rig->agent);
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes out = {0};
	const size_t len = (9u << 20) + 1;
	int code = -1;
	uint8_t *data = malloc(len);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 40503u >> 7);
	uint64_t at = (uint64_t)works(rig, SYS_mmap,
	    ARGS(0, (int64_t)len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	assert_int_equal(pv_agent_write_mem(by, at, data, len, &code, &err), 0);
	assert_int_equal(code, 0);
	assert_int_equal(pv_agent_read_mem(by, at, len, &out, &code, &err), 0);
	assert_int_equal(code, 0);
	assert_int_equal(out.len, len);
	assert_int_equal(memcmp(out.data, data, len), 0);
	pv_bytes_finish(&out);
	free(data);
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RIG_TEST(one_process_issues_all),
	    RIG_TEST(the_kernel_s_errors_are_results),
	    RIG_TEST(arguments_have_64_bits),
	    RIG_TEST(descriptors_persist_and_buffers_go_both_ways),
	    RIG_TEST(buffers_refer_to_buffers),
	    RIG_TEST(a_kernel_that_writes_too_far_gets_a_fault),
	    RIG_TEST(buffers_are_aligned),
	    RIG_TEST(no_small_limits),
	    RIG_TEST(wrong_links_are_refused),
	    RIG_TEST(a_child_of_fork_ends_at_once),
	    RIG_TEST(a_call_that_changes_its_thread_changes_no_program),
	    RIG_TEST(a_buffer_may_be_unmapped),
	    cmocka_unit_test(what_would_end_the_agent_has_a_reason),
	    RIG_TEST(the_descriptor_of_an_open_file_is_put_in),
	    RIG_TEST(calls_that_block_hold_up_nobody),
	    RIG_TEST(two_hundred_waiting_calls_cost_no_memory_that_stays),
	    RIG_TEST(a_dropped_call_is_interrupted_in_the_kernel),
	    RIG_TEST(a_cancelled_call_fails_and_ends),
	    RIG_TEST(a_killed_agent_fails_what_is_under_way),
	    RIG_TEST(memory_is_read_and_written),
	    RIG_TEST(memory_that_is_not_there_is_an_errno),
	    RIG_TEST(memory_of_many_megabytes),
	};
	return cmocka_run_group_tests_name("agent_syscall", tests, NULL, NULL);
}
