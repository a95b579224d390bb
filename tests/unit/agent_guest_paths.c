/*
 * Names in the guest from end to end: the client asks, the real agent does it on this machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/path.h"
#include "tests/unit/agent_rig.h"

static void make_file(const struct agent_rig *rig, const char *name)
{
	int fd = open(agent_rig_path(rig, name), O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void a_list_names_every_entry_and_its_type(void **state)
{
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes list = {0};
	const char *name, *types[3] = {0};
	enum pv_agent_entry_type type;
	size_t at = 0, count = 0;
	make_file(rig, "file");
	assert_int_equal(mkdir(agent_rig_path(rig, "dir"), 0700), 0);
	assert_int_equal(symlink("/nowhere", agent_rig_path(rig, "li\xff\nnk")), 0);
	assert_int_equal(pv_agent_list(PV_PRINCIPAL(rig->agent), rig->folder, &list, &err), 0);
	for (; pv_agent_list_next(&list, &at, &name, &type); count++) {
		if (strcmp(name, "file") == 0)
			types[0] = pv_agent_entry_name(type);
		else if (strcmp(name, "dir") == 0)
			types[1] = pv_agent_entry_name(type);
		else if (strcmp(name, "li\xff\nnk") == 0)
			types[2] = pv_agent_entry_name(type);
	}
	assert_int_equal(count, 3);
	assert_string_equal(types[0], "file");
	assert_string_equal(types[1], "directory");
	assert_string_equal(types[2], "symlink");
	pv_bytes_finish(&list);
}

static void a_list_of_many_entries_is_complete(void **state)
{
	enum { MANY = 20000 };
	static bool seen[MANY];
	struct agent_rig *rig = *state;
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes list = {0};
	const char *name;
	enum pv_agent_entry_type type;
	unsigned number;
	size_t at = 0, count = 0;
	struct pv_agent_exec_result made;
	char script[200];
	snprintf(script, sizeof(script),
	    "cd %s && seq -f 'an-entry-with-a-longer-name-%%05g' 0 %d | xargs touch", rig->folder,
	    MANY - 1);
	made = agent_rig_shell(rig, script);
	assert_int_equal(made.code, 0);
	agent_rig_free(&made);
	assert_int_equal(pv_agent_list(PV_PRINCIPAL(rig->agent), rig->folder, &list, &err), 0);
	for (; pv_agent_list_next(&list, &at, &name, &type); count++) {
		assert_int_equal(sscanf(name, "an-entry-with-a-longer-name-%u", &number), 1);
		assert_true(number < MANY && !seen[number]);
		seen[number] = true;
	}
	assert_int_equal(count, MANY);
	pv_bytes_finish(&list);
}

static void directories_are_made_with_their_permissions(void **state)
{
	struct agent_rig *rig = *state;
	const struct pv_principal *by = PV_PRINCIPAL(rig->agent);
	struct pv_err err = PV_ERR_INIT;
	struct stat info;
	assert_int_equal(pv_agent_mkdir(by, agent_rig_path(rig, "a"), false, 01777, &err), 0);
	assert_int_equal(stat(agent_rig_path(rig, "a"), &info), 0);
	assert_int_equal(info.st_mode, S_IFDIR | 01777);
	assert_int_equal(pv_agent_mkdir(by, agent_rig_path(rig, "a"), false, 0755, &err), -EEXIST);
	assert_int_equal(
	    pv_agent_mkdir(by, agent_rig_path(rig, "b/c/d"), false, 0700, &err), -ENOENT);
	assert_int_equal(pv_agent_mkdir(by, agent_rig_path(rig, "b//c/d"), true, 0700, &err), 0);
	assert_int_equal(stat(agent_rig_path(rig, "b/c"), &info), 0);
	assert_int_equal(info.st_mode, S_IFDIR | 0755);
	assert_int_equal(stat(agent_rig_path(rig, "b/c/d"), &info), 0);
	assert_int_equal(info.st_mode, S_IFDIR | 0700);
	/* What is there already keeps its permissions. */
	assert_int_equal(pv_agent_mkdir(by, agent_rig_path(rig, "b/c/d"), true, 0755, &err), 0);
	assert_int_equal(stat(agent_rig_path(rig, "b/c/d"), &info), 0);
	assert_int_equal(info.st_mode, S_IFDIR | 0700);
	make_file(rig, "file");
	assert_int_equal(
	    pv_agent_mkdir(by, agent_rig_path(rig, "file"), true, 0755, &err), -EEXIST);
	assert_int_equal(
	    pv_agent_mkdir(by, agent_rig_path(rig, "file/x"), true, 0755, &err), -EEXIST);
}

static void names_are_removed_and_renamed(void **state)
{
	struct agent_rig *rig = *state;
	const struct pv_principal *by = PV_PRINCIPAL(rig->agent);
	struct pv_err err = PV_ERR_INIT;
	make_file(rig, "from");
	make_file(rig, "to");
	assert_int_equal(
	    pv_agent_rename(by, agent_rig_path(rig, "from"), agent_rig_path(rig, "to"), &err), 0);
	assert_int_equal(access(agent_rig_path(rig, "from"), F_OK), -1);
	assert_int_equal(
	    pv_agent_rename(by, agent_rig_path(rig, "from"), agent_rig_path(rig, "to"), &err),
	    -ENOENT);
	assert_non_null(strstr(err.text, "/from` to `/tmp/agent_rig"));
	assert_non_null(strstr(err.text, "No such file or directory"));
	assert_int_equal(mkdir(agent_rig_path(rig, "dir"), 0700), 0);
	make_file(rig, "dir/inside");
	assert_int_equal(pv_agent_unlink(by, agent_rig_path(rig, "dir"), &err), -ENOTEMPTY);
	assert_int_equal(pv_agent_unlink(by, agent_rig_path(rig, "dir/inside"), &err), 0);
	assert_int_equal(pv_agent_unlink(by, agent_rig_path(rig, "dir"), &err), 0);
	assert_int_equal(pv_agent_unlink(by, agent_rig_path(rig, "to"), &err), 0);
	assert_int_equal(pv_agent_unlink(by, agent_rig_path(rig, "to"), &err), -ENOENT);
	assert_non_null(strstr(err.text, "unlink `/tmp/agent_rig"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_rig_setup, agent_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_list_names_every_entry_and_its_type),
	    TEST(a_list_of_many_entries_is_complete),
	    TEST(directories_are_made_with_their_permissions),
	    TEST(names_are_removed_and_renamed),
	};
	return cmocka_run_group_tests_name("agent_guest_paths", tests, NULL, NULL);
}
