/*
 * Trees of files between host and guest from end to end, and the builder against rows of bytes that
 * a hostile end could send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/tree.h"
#include "agent/proto/tree.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "tests/unit/agent_rig.h"

/* Runs a script in the test's folder, which must succeed. */
static void script(const struct agent_rig *rig, const char *text)
{
	char command[1200];
	snprintf(command, sizeof(command), "cd %s && %s", rig->folder, text);
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void push(const struct agent_rig *rig, const char *from, const char *to, bool directory)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_push(PV_PRINCIPAL(rig->agent), agent_rig_path(rig, from),
		agent_rig_path(rig, to), directory, &err) < 0)
		fail_msg("%s", err.text);
}

static void pull(const struct agent_rig *rig, const char *from, const char *to, bool directory)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_agent_pull(PV_PRINCIPAL(rig->agent), agent_rig_path(rig, from),
		agent_rig_path(rig, to), directory, &err) < 0)
		fail_msg("%s", err.text);
}

static const char make_tree[] =
    "mkdir -p a/sub/deep a/empty && printf 'x\\000y' > a/binary && : > a/nothing && "
    "head -c 3000000 /dev/urandom > a/sub/big && printf text > a/sub/deep/file && "
    "ln -s ../binary a/sub/link && ln -s /nowhere/at/all a/dangling && mkfifo -m 622 a/fifo && "
    "printf odd > \"$(printf 'a/o d\\nd\\377')\" && chmod 4751 a/binary && chmod 500 a/sub/deep && "
    "truncate -s 8M a/sparse && printf end | dd of=a/sparse bs=1 seek=4000000 conv=notrunc "
    "status=none";

static void compare_trees(const struct agent_rig *rig, const char *other, bool same_modes)
{
	char command[400];
	snprintf(command, sizeof(command),
	    "diff -r --no-dereference --exclude=fifo a %s && test -p %s/fifo && "
	    "test \"$(stat -c %%a %s/fifo)\" = 622 && test -L %s/dangling && "
	    "test \"$(stat -c %%a %s/sub/deep)\" = 500 && test \"$(stat -c %%a %s/binary)\" = %s "
	    "&& "
	    "test $(stat -c %%b %s/sparse) -lt 2000 && test $(stat -c %%s %s/sparse) = 8388608",
	    other, other, other, other, other, other, same_modes ? "4751" : "751", other, other);
	script(rig, command);
}

static void a_tree_goes_there_and_back(void **state)
{
	struct agent_rig *rig = *state;
	script(rig, make_tree);
	push(rig, "a", "pushed", true);
	compare_trees(rig, "pushed", true);
	pull(rig, "a", "pulled", true);
	compare_trees(rig, "pulled", false); /* without the set-user-ID bit */
	/* Again over what is there. */
	script(rig, "printf other > pulled/nothing && printf more > pulled/more && "
		    "chmod 700 pulled/sub/deep");
	pull(rig, "a", "pulled", true);
	script(rig, "test ! -s pulled/nothing && test -s pulled/more && rm pulled/more");
	compare_trees(rig, "pulled", false);
	script(rig, "chmod -R u+w .");
}

static void one_file_goes_there_and_back(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	script(rig, make_tree);
	push(rig, "a/sparse", "one", false);
	script(rig, "cmp a/sparse one && test $(stat -c %b one) -lt 2000");
	pull(rig, "a/sub/big", "two", false);
	script(rig, "cmp a/sub/big two");
	/* Through links, at the root only; what is there keeps its permissions. */
	script(rig, "printf 123456789 > target && chmod 604 target && ln -s target way");
	pull(rig, "a/sub/link", "way", false);
	script(rig, "cmp a/binary target && test -L way && test $(stat -c %a target) = 604");
	assert_int_equal(pv_agent_pull(PV_PRINCIPAL(rig->agent), "/proc/self/status",
			     agent_rig_path(rig, "status"), false, &err),
	    0);
	script(rig, "grep -q ^VmRSS: status");
	script(rig, "chmod -R u+w .");
}

static void errors_say_which_end_and_what(void **state)
{
	struct agent_rig *rig = *state;
	const struct pv_principal *by = PV_PRINCIPAL(rig->agent);
	struct pv_err err = PV_ERR_INIT;
	script(rig, "mkdir a && printf 1 > a/file && mkdir -p b/file");
	assert_int_equal(
	    pv_agent_push(by, "/nope", agent_rig_path(rig, "x"), false, &err), -ENOENT);
	assert_string_equal(err.text, "read `/nope` failed: No such file or directory");
	assert_int_equal(
	    pv_agent_push(by, agent_rig_path(rig, "a"), agent_rig_path(rig, "x"), false, &err),
	    -EISDIR);
	assert_int_equal(
	    pv_agent_push(by, agent_rig_path(rig, "a/file"), agent_rig_path(rig, "x"), true, &err),
	    -ENOTDIR);
	assert_int_equal(
	    pv_agent_push(by, agent_rig_path(rig, "a"), "/nowhere/x", true, &err), -ENOENT);
	assert_string_equal(err.text, "push `/nowhere/x`: No such file or directory");
	assert_int_equal(
	    pv_agent_push(by, agent_rig_path(rig, "a"), agent_rig_path(rig, "b"), true, &err),
	    -EISDIR);
	assert_non_null(strstr(err.text, "/b`: file: Is a directory"));
	assert_int_equal(
	    pv_agent_pull(by, "/nope", agent_rig_path(rig, "x"), false, &err), -ENOENT);
	assert_string_equal(err.text, "pull `/nope`: No such file or directory");
	assert_int_equal(
	    pv_agent_pull(by, agent_rig_path(rig, "a"), agent_rig_path(rig, "b"), true, &err),
	    -EISDIR);
	assert_non_null(strstr(err.text, "/b/file` failed: Is a directory"));
	assert_int_equal(
	    pv_agent_pull(by, agent_rig_path(rig, "a/file"), "/nowhere/x", false, &err), -ENOENT);
	assert_string_equal(err.text, "write `/nowhere/x` failed: No such file or directory");
	/* Nothing of all this is left in the agent. */
	pv_loop_lock(rig->loop);
	while (pv_agent_in_flight(rig->agent) > 0)
		pv_loop_wait(rig->loop, INT64_MAX);
	pv_loop_unlock(rig->loop);
	struct pv_agent_exec_result result = agent_rig_shell(rig, "echo here");
	agent_rig_assert_text(&result.out, "here\n");
	agent_rig_free(&result);
}

/* --- rows of bytes from a hostile end --- */

static void put_name(struct pv_bytes *row, const char *name)
{
	uint8_t length[2];
	pv_put_le16(length, (uint16_t)strlen(name));
	pv_bytes_append(row, length, 2);
	pv_bytes_append(row, name, strlen(name));
}

static void put_record(struct pv_bytes *row, char kind, const char *name)
{
	static const uint8_t mode[4] = {0xff, 0x01, 0, 0}, size[8] = {4};
	pv_bytes_append(row, &kind, 1);
	if (kind != 'l')
		pv_bytes_append(row, mode, 4);
	if (kind == 'f')
		pv_bytes_append(row, size, 8);
	put_name(row, name);
}

static void put_file(struct pv_bytes *row, const char *name)
{
	static const uint8_t part[13] = {'x', 0, 0, 0, 0, 0, 0, 0, 0, 4};
	put_record(row, 'f', name);
	pv_bytes_append(row, part, sizeof(part));
	pv_bytes_append(row, "evile", 5); /* four of data, and the end */
}

/* Builds at `in`, in pieces of `piece` bytes, and finishes the row. */
static int build(const struct agent_rig *rig, const char *in, struct pv_bytes *row, size_t piece)
{
	struct pv_tree_build *tree = pv_tree_build_create(agent_rig_path(rig, in), true, 0777);
	int status = 0;
	for (size_t at = 0; at < row->len && status == 0; at += piece) {
		size_t len = row->len - at < piece ? row->len - at : piece;
		status = pv_tree_build_take(tree, row->data + at, len);
	}
	if (status == 0)
		status = pv_tree_build_end(tree);
	pv_tree_build_destroy(tree);
	pv_bytes_finish(row);
	return status;
}

static void a_row_may_come_in_any_pieces(void **state)
{
	struct agent_rig *rig = *state;
	for (size_t piece = 1; piece < 40; piece++) {
		struct pv_bytes row = {0};
		put_record(&row, 'd', "");
		put_file(&row, "one");
		put_record(&row, 'd', "sub");
		put_file(&row, "two");
		put_record(&row, 'l', "link");
		put_name(&row, "target");
		pv_bytes_append(&row, "uu", 2);
		assert_int_equal(build(rig, "t", &row, piece), 0);
		script(rig, "test $(cat t/one) = evil && test $(cat t/sub/two) = evil && "
			    "test $(readlink t/sub/link) = target && rm -r t");
	}
}

static void names_lead_nowhere_else(void **state)
{
	static const char *const bad[] = {
	    "..", ".", "", "/etc/x", "../x", "a/b", "sub/../../x", "x/"};
	static const char kinds[] = "dfpl";
	struct agent_rig *rig = *state;
	script(rig, "mkdir -p out/in");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (const char *kind = kinds; *kind; kind++) {
			struct pv_bytes row = {0};
			put_record(&row, 'd', "");
			put_record(&row, *kind, bad[i]);
			if (*kind == 'l')
				put_name(&row, "target");
			assert_int_equal(build(rig, "out/in", &row, 1000), -EBADMSG);
		}
	}
	script(rig, "test \"$(find out | sort | tr '\\n' ' ')\" = 'out out/in '");
}

static void links_of_the_row_are_not_followed(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_bytes row = {0};
	script(rig, "mkdir outside in");
	/* A link that leads out, then a directory of its name to be filled. */
	put_record(&row, 'd', "");
	put_record(&row, 'l', "way");
	put_name(&row, "../outside");
	put_record(&row, 'd', "way");
	put_file(&row, "file");
	pv_bytes_append(&row, "uu", 2);
	assert_true(build(rig, "in", &row, 1000) < 0);
	/* The same in two pulls, and a file written through a link and through a hard link. */
	put_record(&row, 'd', "");
	put_record(&row, 'd', "way");
	put_file(&row, "file");
	pv_bytes_append(&row, "uu", 2);
	assert_true(build(rig, "in", &row, 1000) < 0);
	script(rig, "printf good > outside/victim && ln -s ../outside/victim in/file && "
		    "ln outside/victim in/hard && mkfifo in/pipe");
	put_record(&row, 'd', "");
	put_file(&row, "file");
	put_file(&row, "hard");
	put_file(&row, "pipe");
	pv_bytes_append(&row, "u", 1);
	assert_int_equal(build(rig, "in", &row, 1000), 0);
	script(rig, "test \"$(ls outside)\" = victim && test $(cat outside/victim) = good && "
		    "test $(cat in/file in/hard in/pipe) = evilevilevil");
}

static void rows_that_are_no_trees_are_refused(void **state)
{
	static const char *const rows[] = {
	    "", "u", "e", "x", "z", "l", "\xff\xff\xff\xff", "d", "duu", "dxxxxxxxxxxxxx"};
	struct agent_rig *rig = *state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pv_bytes row = {0};
		pv_bytes_append(&row, rows[i], strlen(rows[i]));
		assert_int_equal(build(rig, "in", &row, 1000), -EBADMSG);
	}
	/* Deeper than is allowed, longer than names are, something behind the end, a file as root,
	 * a directory in a file. */
	struct pv_bytes row = {0};
	put_record(&row, 'd', "");
	for (int i = 0; i < PV_TREE_DEPTH_MAX + 5; i++)
		put_record(&row, 'd', "d");
	assert_int_equal(build(rig, "in", &row, 1000), -EBADMSG);
	char name[300];
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	put_record(&row, 'd', "");
	put_file(&row, name);
	assert_int_equal(build(rig, "in", &row, 1000), -EBADMSG);
	put_record(&row, 'd', "");
	pv_bytes_append(&row, "uu", 2);
	assert_int_equal(build(rig, "in", &row, 1000), -EBADMSG);
	put_file(&row, "");
	assert_int_equal(build(rig, "in", &row, 1000), -EBADMSG);
	put_record(&row, 'd', "");
	put_record(&row, 'f', "f");
	put_record(&row, 'd', "d");
	assert_int_equal(build(rig, "in", &row, 1000), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_tree_goes_there_and_back),
	    TEST(one_file_goes_there_and_back),
	    TEST(errors_say_which_end_and_what),
	    TEST(a_row_may_come_in_any_pieces),
	    TEST(names_lead_nowhere_else),
	    TEST(links_of_the_row_are_not_followed),
	    TEST(rows_that_are_no_trees_are_refused),
	};
	return cmocka_run_group_tests_name("agent_guest_trees", tests, NULL, NULL);
}
