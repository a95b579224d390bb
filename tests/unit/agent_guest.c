/*
 * The guest agent's operations from end to end: the client asks, the real program does it on this
 * machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/unit/agent_rig.h"

static struct pv_agent_exec_result run(struct agent_rig *rig, const struct pv_agent_exec *exec)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	if (pv_agent_exec(PV_PRINCIPAL(rig->agent), exec, &result, &err) < 0)
		fail_msg("%s", err.text);
	return result;
}

static void exec_gives_output_and_exit_code(void **state)
{
	struct pv_agent_exec_result result =
	    agent_rig_shell(*state, "echo out; echo err >&2; exit 7");
	assert_int_equal(result.kind, PV_AGENT_EXITED);
	assert_int_equal(result.code, 7);
	agent_rig_assert_text(&result.out, "out\n");
	agent_rig_assert_text(&result.err, "err\n");
	agent_rig_free(&result);
}

static void exec_passes_arguments_verbatim(void **state)
{
	const char *argv[] = {"printf", "%s|", "a b", "$HOME", "", "\xff\n"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 6, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result = run(*state, &exec);
	agent_rig_assert_text(&result.out, "a b|$HOME||\xff\n|");
	agent_rig_free(&result);
}

static void exec_reports_the_signal(void **state)
{
	struct pv_agent_exec_result result = agent_rig_shell(*state, "kill -9 $$");
	assert_int_equal(result.kind, PV_AGENT_SIGNALLED);
	assert_int_equal(result.code, SIGKILL);
	agent_rig_free(&result);
}

static void exec_gives_default_signals_and_an_own_group(void **state)
{
	struct pv_agent_exec_result result =
	    agent_rig_shell(*state, "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2; "
				    "test $(ps -o pgid= -p $$) -eq $$ && echo leader");
	agent_rig_assert_text(&result.out, "0000000000000000\n0000000000000000\nleader\n");
	agent_rig_free(&result);
}

static void exec_leaks_no_descriptors(void **state)
{
	struct pv_agent_exec_result result =
	    agent_rig_shell(*state, "cd /proc/self/fd; set -- *; echo $#; readlink 0");
	/* 0, 1, 2 and what the shell opened to read the folder. */
	agent_rig_assert_text(&result.out, "4\n/dev/null\n");
	agent_rig_free(&result);
}

static void exec_merges_the_environment(void **state)
{
	const char *argv[] = {"sh", "-c", "echo $RIG,$A,$PATH"};
	const char *env[] = {"A=1", "RIG=no", "A=2"};
	struct pv_agent_exec exec = {
	    .argv = argv, .argc = 3, .env = env, .env_count = 3, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result = run(*state, &exec);
	agent_rig_assert_text(&result.out, "no,2,/usr/bin:/bin\n");
	agent_rig_free(&result);
}

static void exec_clears_the_environment(void **state)
{
	const char *argv[] = {"env"};
	const char *env[] = {"ONLY=this"};
	struct pv_agent_exec exec = {.argv = argv,
	    .argc = 1,
	    .env = env,
	    .env_count = 1,
	    .env_clear = true,
	    .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result = run(*state, &exec);
	agent_rig_assert_text(&result.out, "ONLY=this\n");
	agent_rig_free(&result);
}

static void exec_looks_in_the_path_it_is_given(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	char script[128], path[128];
	snprintf(script, sizeof(script), "%s/only-here", rig->folder);
	snprintf(path, sizeof(path), "PATH=/nowhere:%s:/bin", rig->folder);
	/* No `#!`: the shell runs it, as with execvp(3). */
	assert_int_equal(pv_agent_write_file(
			     PV_PRINCIPAL(rig->agent), script, "echo found $1\n", 14, 0755, &err),
	    0);
	const char *argv[] = {"only-here", "it"};
	const char *env[] = {path};
	struct pv_agent_exec exec = {
	    .argv = argv, .argc = 2, .env = env, .env_count = 1, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result = run(rig, &exec);
	agent_rig_assert_text(&result.out, "found it\n");
	agent_rig_free(&result);
}

static void exec_runs_in_a_folder(void **state)
{
	const char *argv[] = {"pwd"};
	struct pv_agent_exec exec = {
	    .argv = argv, .argc = 1, .cwd = "/usr/bin", .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result = run(*state, &exec);
	agent_rig_assert_text(&result.out, "/usr/bin\n");
	agent_rig_free(&result);
}

static void fails(
    struct agent_rig *rig, const char *program, const char *cwd, int code, const char *text)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	struct pv_agent_exec exec = {
	    .argv = &program, .argc = 1, .cwd = cwd, .timeout_ns = PV_CLOCK_NEVER};
	assert_int_equal(pv_agent_exec(PV_PRINCIPAL(rig->agent), &exec, &result, &err), -code);
	assert_int_equal(err.kind, PV_ERR_GUEST);
	assert_int_equal(err.code, code);
	assert_string_equal(err.text, text);
}

static void exec_says_why_a_program_cannot_start(void **state)
{
	struct agent_rig *rig = *state;
	fails(rig, "no-such-program", NULL, ENOENT,
	    "exec `no-such-program`: No such file or directory");
	fails(rig, "/etc/passwd", NULL, EACCES, "exec `/etc/passwd`: Permission denied");
	fails(rig, "/usr", NULL, EACCES, "exec `/usr`: Permission denied");
	fails(rig, "", NULL, ENOENT, "exec ``: No such file or directory");
	fails(rig, "true", "/nowhere", ENOENT,
	    "exec `true`: cannot enter the working directory: No such file or directory");
}

static void exec_feeds_standard_input(void **state)
{
	const char *argv[] = {"cat"};
	struct pv_agent_exec exec = {
	    .argv = argv, .argc = 1, .input = "a\0b", .input_len = 3, .timeout_ns = PV_CLOCK_NEVER};
	struct pv_agent_exec_result result = run(*state, &exec);
	assert_int_equal(result.out.len, 3);
	assert_memory_equal(result.out.data, "a\0b", 3);
	agent_rig_free(&result);
}

static void exec_without_input_sees_its_end_at_once(void **state)
{
	struct pv_agent_exec_result result = agent_rig_shell(*state, "cat; echo end");
	agent_rig_assert_text(&result.out, "end\n");
	agent_rig_free(&result);
}

static void exec_timeout_kills_the_group_and_keeps_output(void **state)
{
	struct agent_rig *rig = *state;
	const char *argv[] = {
	    "sh", "-c", "echo $$; echo before; sleep 1000 & sleep 1000; echo after"};
	struct pv_agent_exec exec = {
	    .argv = argv, .argc = 3, .timeout_ns = 300 * (PV_CLOCK_SECOND / 1000)};
	struct pv_agent_exec_result result = run(rig, &exec);
	assert_int_equal(result.kind, PV_AGENT_TIMED_OUT);
	int group = atoi((const char *)pv_bytes_text(&result.out));
	char expected[64], script[256];
	snprintf(expected, sizeof(expected), "%d\nbefore\n", group);
	agent_rig_assert_text(&result.out, expected);
	agent_rig_free(&result);
	/* The dead may wait for whoever inherits them: look for living members only, which may take
	 * a moment to see that they were killed. */
	snprintf(script, sizeof(script),
	    "for i in $(seq 100); do n=$(ps -eo pgid=,stat= | grep -v Z | grep -c '^ *%d '); "
	    "[ $n = 0 ] && break; sleep 0.1; done; echo $n",
	    group);
	result = agent_rig_shell(rig, script);
	agent_rig_assert_text(&result.out, "0\n");
	agent_rig_free(&result);
}

static void exec_timeout_of_zero_ends_at_once(void **state)
{
	const char *argv[] = {"sleep", "1000"};
	struct pv_agent_exec exec = {.argv = argv, .argc = 2, .timeout_ns = 0};
	struct pv_agent_exec_result result = run(*state, &exec);
	assert_int_equal(result.kind, PV_AGENT_TIMED_OUT);
	agent_rig_free(&result);
}

static void exec_does_not_wait_for_a_daemon_that_holds_its_output(void **state)
{
	struct pv_agent_exec_result result = agent_rig_shell(*state, "sleep 30 & echo $!");
	assert_int_equal(result.kind, PV_AGENT_EXITED);
	assert_int_equal(kill(atoi(pv_bytes_text(&result.out)), SIGKILL), 0);
	agent_rig_free(&result);
}

static void exec_of_a_program_that_closes_its_output_waits_for_its_end(void **state)
{
	struct pv_agent_exec_result result =
	    agent_rig_shell(*state, "exec >&- 2>&-; sleep 0.2; exit 3");
	assert_int_equal(result.code, 3);
	assert_int_equal(result.out.len, 0);
	agent_rig_free(&result);
}

static void files_are_written_and_read(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes content = {0};
	struct pv_agent_stat info;
	char path[128];
	snprintf(path, sizeof(path), "%s/file", rig->folder);
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(rig->agent), path, "long content", 12, 0666, &err), 0);
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(rig->agent), path, "\0\n\xff", 3, 0600, &err), 0);
	assert_int_equal(pv_bytes_append(&content, "before", 6), 0);
	assert_int_equal(pv_agent_read_file(PV_PRINCIPAL(rig->agent), path, &content, &err), 0);
	assert_int_equal(content.len, 9);
	assert_memory_equal(content.data, "before\0\n\xff", 9);
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(rig->agent), path, true, &info, &err), 0);
	assert_int_equal(info.size, 3);
	/* Exactly what was asked for at its creation, whatever the umask. */
	assert_int_equal(info.perm, 0666);
	assert_int_equal(info.type, PV_AGENT_FILE);
	struct stat own;
	assert_int_equal(stat(path, &own), 0);
	assert_int_equal(info.mtime_ns, own.st_mtim.tv_sec * PV_CLOCK_SECOND + own.st_mtim.tv_nsec);
	pv_bytes_finish(&content);
}

static void an_empty_file_is_written_and_read(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes content = {0};
	char path[128];
	snprintf(path, sizeof(path), "%s/empty", rig->folder);
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(rig->agent), path, NULL, 0, 0644, &err), 0);
	assert_int_equal(pv_agent_read_file(PV_PRINCIPAL(rig->agent), path, &content, &err), 0);
	assert_int_equal(content.len, 0);
}

static void files_of_proc_are_read_whole(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes content = {0};
	assert_int_equal(
	    pv_agent_read_file(PV_PRINCIPAL(rig->agent), "/proc/self/maps", &content, &err), 0);
	assert_true(content.len > 0);
	assert_non_null(strstr(pv_bytes_text(&content), "[stack]"));
	pv_bytes_finish(&content);
}

static void file_errors_name_operation_path_and_reason(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes content = {0};
	struct pv_agent_stat info;
	assert_int_equal(
	    pv_agent_read_file(PV_PRINCIPAL(rig->agent), "/nowhere/x", &content, &err), -ENOENT);
	assert_string_equal(err.text, "read_file `/nowhere/x`: No such file or directory");
	assert_int_equal(
	    pv_agent_read_file(PV_PRINCIPAL(rig->agent), "/etc", &content, &err), -EISDIR);
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(rig->agent), "/etc", "x", 1, 0644, &err), -EISDIR);
	assert_string_equal(err.text, "write_file `/etc`: Is a directory");
	assert_int_equal(
	    pv_agent_write_file(PV_PRINCIPAL(rig->agent), "/nowhere/x", "x", 1, 0644, &err),
	    -ENOENT);
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(rig->agent), "", true, &info, &err), -ENOENT);
	assert_int_equal(err.kind, PV_ERR_GUEST);
	assert_int_equal(content.len, 0);
}

static void stat_tells_what_an_entry_is(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_stat info;
	char link[128], fifo[128];
	snprintf(link, sizeof(link), "%s/link", rig->folder);
	snprintf(fifo, sizeof(fifo), "%s/fifo", rig->folder);
	assert_int_equal(symlink("/nowhere", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(rig->agent), link, false, &info, &err), 0);
	assert_string_equal(pv_agent_entry_name(info.type), "symlink");
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(rig->agent), link, true, &info, &err), -ENOENT);
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(rig->agent), fifo, true, &info, &err), 0);
	assert_string_equal(pv_agent_entry_name(info.type), "fifo");
	assert_int_equal(pv_agent_stat(PV_PRINCIPAL(rig->agent), "/tmp", true, &info, &err), 0);
	assert_string_equal(pv_agent_entry_name(info.type), "directory");
	assert_int_equal(info.perm, 01777);
	assert_int_equal(
	    pv_agent_stat(PV_PRINCIPAL(rig->agent), "/dev/null", true, &info, &err), 0);
	assert_string_equal(pv_agent_entry_name(info.type), "char_device");
}

/* What the kernel makes of it is shown by guests (tests/guest/identity.test.lua). */
static void entropy_is_digested_without_an_answer(void **state)
{
	struct agent_rig *rig = *state;
	uint8_t entropy[PV_AGENT_ENTROPY_MAX] = {0};
	pv_loop_lock(rig->loop);
	pv_agent_reseed(rig->agent, entropy, sizeof(entropy));
	pv_agent_reseed(rig->agent, entropy, 1);
	pv_agent_reseed(rig->agent, entropy, 0);
	assert_int_equal(pv_agent_in_flight(rig->agent), 0);
	pv_loop_unlock(rig->loop);
	/* An answer to what had none would cost the link. */
	for (int i = 0; i < 3; i++) {
		struct pv_agent_exec_result result = agent_rig_shell(rig, "echo here");
		agent_rig_assert_text(&result.out, "here\n");
		agent_rig_free(&result);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(exec_gives_output_and_exit_code),
	    TEST(exec_passes_arguments_verbatim),
	    TEST(exec_reports_the_signal),
	    TEST(exec_gives_default_signals_and_an_own_group),
	    TEST(exec_leaks_no_descriptors),
	    TEST(exec_merges_the_environment),
	    TEST(exec_clears_the_environment),
	    TEST(exec_looks_in_the_path_it_is_given),
	    TEST(exec_runs_in_a_folder),
	    TEST(exec_says_why_a_program_cannot_start),
	    TEST(exec_feeds_standard_input),
	    TEST(exec_without_input_sees_its_end_at_once),
	    TEST(exec_timeout_kills_the_group_and_keeps_output),
	    TEST(exec_timeout_of_zero_ends_at_once),
	    TEST(exec_does_not_wait_for_a_daemon_that_holds_its_output),
	    TEST(exec_of_a_program_that_closes_its_output_waits_for_its_end),
	    TEST(files_are_written_and_read),
	    TEST(an_empty_file_is_written_and_read),
	    TEST(files_of_proc_are_read_whole),
	    TEST(file_errors_name_operation_path_and_reason),
	    TEST(stat_tells_what_an_entry_is),
	    TEST(entropy_is_digested_without_an_answer),
	};
	return cmocka_run_group_tests_name("agent_guest", tests, NULL, NULL);
}
