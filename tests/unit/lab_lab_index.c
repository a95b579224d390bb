/*
 * lab/lab_index.h: names of files, the way through lab.json and back, and what is refused in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/lab_index.h"

#define GUEST                                                                            \
	"\"profile\":\"linux\",\"snapshot_path\":\"a.snap\",\"memory\":4096,\"cpus\":2," \
	"\"disks\":[]"

static void add_vm(struct pv_lab_index *index, const char *name, size_t parent)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_lab_index_add_vm(index, name, parent, SIZE_MAX, &err), 0);
	assert_int_equal(
	    pv_lab_index_set_guest(index, index->vm_count - 1, "linux", 4096, 1, &err), 0);
}

static void files_have_names_of_their_own(void **state)
{
	struct pv_lab_index index = {0};
	struct pv_err err = PV_ERR_INIT;
	char name[700];
	assert_int_equal(pv_lab_index_add_lab(&index, "root", 0, SIZE_MAX, &err), 0);
	assert_int_equal(pv_lab_index_add_lab(&index, "a", 0, SIZE_MAX, &err), 0);
	add_vm(&index, "a_b", 0);
	add_vm(&index, "a/b", 0);
	add_vm(&index, "b", 1);
	add_vm(&index, "a_b-2", 0);
	add_vm(&index, "..", 0);
	memset(name, 'x', sizeof(name));
	name[600] = '\0';
	add_vm(&index, name, 0);
	name[601] = '\0';
	name[600] = 'x';
	add_vm(&index, name, 0);
	/* Not in the middle of a character. */
	name[199] = (char)0xc3;
	name[200] = (char)0xa4;
	add_vm(&index, name, 0);
	static const char *const want[] = {
	    "a_b.snap", "a_b-2.snap", "a_b-3.snap", "a_b-2-2.snap", "...snap"};
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_string_equal(index.vms[i].file, want[i]);
	assert_int_equal(strlen(index.vms[5].file), 205);
	assert_string_equal(index.vms[6].file + 200, "-2.snap");
	assert_int_equal(strlen(index.vms[7].file), 204);
	pv_lab_index_finish(&index);
	pv_lab_index_finish(&index);
}

static int read_text(struct pv_lab_index *index, const char *text, struct pv_err *err)
{
	return pv_lab_index_read(index, text, strlen(text), err);
}

static void there_and_back(void **state)
{
	struct pv_lab_index index = {0}, again = {0};
	struct pv_err err = PV_ERR_INIT;
	struct pv_bytes text = {0}, path = {0};
	assert_int_equal(pv_lab_index_add_lab(&index, "root", 0, SIZE_MAX, &err), 0);
	assert_int_equal(pv_lab_index_add_lab(&index, "dc/1", 0, SIZE_MAX, &err), 0);
	assert_int_equal(pv_lab_index_add_lab(&index, "dc2", 0, SIZE_MAX, &err), 0);
	assert_int_equal(pv_lab_index_add_lab(&index, "dc/1", 2, 1, &err), 0);
	add_vm(&index, "v \"\n\xc3\xa4", 1);
	assert_int_equal(pv_lab_index_add_vm(&index, "v \"\n\xc3\xa4", 0, 0, &err), 0);
	assert_int_equal(pv_lab_index_write(&index, &text), 0);
	assert_int_equal(pv_lab_index_read(&again, text.data, text.len, &err), 0);
	assert_int_equal(again.lab_count, 4);
	assert_int_equal(again.vm_count, 2);
	assert_string_equal(again.labs[0].name, "root");
	assert_string_equal(again.labs[3].name, "dc/1");
	assert_int_equal(again.labs[3].parent, 2);
	assert_int_equal(again.labs[3].first, 1);
	assert_string_equal(again.vms[0].name, "v \"\n\xc3\xa4");
	assert_string_equal(again.vms[0].file, index.vms[0].file);
	assert_string_equal(again.vms[0].profile, "linux");
	assert_int_equal(again.vms[0].memory, 4096);
	assert_int_equal(again.vms[1].first, 0);
	assert_null(again.vms[1].file);
	assert_int_equal(pv_lab_index_vm_path(&again, 0, &path), 0);
	assert_string_equal(pv_bytes_text(&path), "dc/1/v \"\n\xc3\xa4");
	pv_bytes_finish(&path);
	assert_int_equal(pv_lab_index_lab_path(&again, 3, &path), 0);
	assert_string_equal(pv_bytes_text(&path), "dc2/dc/1");
	pv_bytes_finish(&path);
	pv_bytes_finish(&text);
	pv_lab_index_finish(&index);
	pv_lab_index_finish(&again);
}

static void names_with_slashes_and_unknown_keys(void **state)
{
	struct pv_lab_index index = {0};
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(read_text(&index,
			     "{\"version\":1,\"colour\":1,\"vms\":[{\"vm_name\":\"x/y/z\","
			     "\"new\":{}," GUEST "}]}",
			     &err),
	    0);
	assert_int_equal(index.lab_count, 3);
	assert_string_equal(index.labs[2].name, "y");
	assert_string_equal(index.vms[0].name, "z");
	assert_int_equal(index.vms[0].parent, 2);
	assert_int_equal(index.vms[0].cpus, 2);
	pv_lab_index_finish(&index);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
	    {"",										    "line 1: "					    },
	    {"[]",										  "it holds no object"				       },
	    {"{\"vms\":[]}",									"it has no `version`"				  },
	    {"{\"version\":\"1\",\"vms\":[]}",						      "it has no `version`"				    },
	    {"{\"version\":0,\"vms\":[]}",							  "it has no `version`"					},
	    {"{\"version\":2,\"vms\":[]}",							  "its format has version 2, and this provium reads"    },
	    {"{\"version\":1,\"version\":1,\"vms\":[]}",						 "duplicate object key"				       },
	    {"{\"version\":1}",								     "it has no array `vms`"			       },
	    {"{\"version\":1,\"vms\":[],\"labs\":{}}",					       "`labs` is no array"				   },
	    {"{\"version\":1,\"vms\":[],\"labs\":[1]}",						"an entry of `labs` is no object"			 },
	    {"{\"version\":1,\"vms\":[],\"labs\":[{}]}",						 "an entry has no `path`"				 },
	    {"{\"version\":1,\"vms\":[],\"bridges\":[{}]}",					    "it has bridges, which"				   },
	    {"{\"version\":1,\"vms\":[],\"bridges\":1}",						 "it has bridges, which"				},
	    {"{\"version\":1,\"vms\":[5]}",							 "an entry of `vms` is no object"			    },
	    {"{\"version\":1,\"vms\":[{}]}",							"an entry has no `path`"				     },
	    {"{\"version\":1,\"vms\":[{\"path\":[]}]}",						"a path is empty or too long"			     },
	    {"{\"version\":1,\"vms\":[{\"path\":[1]}]}",						 "a path is not an array of names"			  },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"\"]}]}",					    "a VM has an empty name"				    },
	    {"{\"version\":1,\"vms\":[{\"vm_name\":\"/a\"}]}",				       "a lab has an empty name"				},
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"]}]}",					     "vm `a`: its `snapshot_path` is not"			 },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"],\"snapshot_path\":\"/etc/passwd\"}]}",
		"vm `a`: its `snapshot_path` is not the name of a file in the same directory"								     },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"],\"snapshot_path\":\"..\"}]}",
		"vm `a`: its `snapshot_path` is not"													 },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"],\"snapshot_path\":\"x\"}]}",
		"vm `a`: it has no `profile`"														},
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"],\"snapshot_path\":\"x\",\"profile\":"
	     "\"p\",\"memory\":0,\"cpus\":1}]}",				       "vm `a`: its `memory` or `cpus` is missing or wrong"  },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"],\"snapshot_path\":\"x\",\"profile\":"
	     "\"p\",\"memory\":1,\"cpus\":1,\"disks\":[1]}]}",			 "vm `a`: it has disks, which"			     },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"]," GUEST "},{\"path\":[\"a\"]," GUEST "}]}",
		"two VMs `a` in one place"														   },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"],\"same_as\":[\"a\"]}]}",
		"`same_as` leads nowhere"														    },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"],\"same_as\":[\"l\",\"a\"]}]}",
		"`same_as` leads nowhere"														    },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"]," GUEST
	     "},{\"path\":[\"l\",\"b\"],\"same_as\":[\"a\"]}]}",		       "a VM is `same_as` one with another name"		 },
	    {"{\"version\":1,\"vms\":[{\"path\":[\"a\"]," GUEST
	     "},{\"path\":[\"l\",\"a\"],\"same_as\":[\"a\"]},{\"path\":[\"m\",\"a\"],\"same_as\":["
	     "\"l\",\"a\"]}]}",							"`same_as` leads to another `same_as`"		      },
	    {"{\"version\":1,\"vms\":[],\"labs\":[{\"path\":[\"a\",\"b\",\"a\"],\"same_as\":"
	     "[\"a\"]}]}",							     "a lab is `same_as` another that it cannot be"	      },
	    {"{\"version\":1,\"vms\":[],\"labs\":[{\"path\":[\"a\"]},{\"path\":[\"b\",\"a\"],"
	     "\"same_as\":[\"a\"]},{\"path\":[\"b\",\"a\",\"c\"]}]}",		  "a path leads through a lab that is `same_as` another"},
	    {"{\"version\":1,\"vms\":[],\"labs\":[{\"path\":[\"a\"]},{\"path\":[\"b\",\"a\"],"
	     "\"same_as\":5}]}",						       "an entry has no `path`"				},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pv_lab_index index = {0};
		struct pv_err err = PV_ERR_INIT;
		if (read_text(&index, cases[i].text, &err) >= 0 ||
		    !strstr(err.text, cases[i].sentence))
			fail_msg("`%s` of %s", err.text, cases[i].text);
		pv_lab_index_finish(&index);
	}
}

static void limits(void **state)
{
	struct pv_lab_index index = {0};
	struct pv_err err = PV_ERR_INIT;
	char name[PV_LAB_INDEX_NAME_MAX + 2] = {0};
	memset(name, 'n', PV_LAB_INDEX_NAME_MAX);
	assert_int_equal(pv_lab_index_add_lab(&index, name, 0, SIZE_MAX, &err), 0);
	name[PV_LAB_INDEX_NAME_MAX] = 'n';
	assert_int_equal(pv_lab_index_add_lab(&index, name, 0, SIZE_MAX, &err), -ENAMETOOLONG);
	assert_int_equal(pv_lab_index_add_vm(&index, "\xff", 0, SIZE_MAX, &err), -EILSEQ);
	for (unsigned i = 1; i < PV_LAB_INDEX_LABS_MAX; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(pv_lab_index_add_lab(&index, name, 0, SIZE_MAX, &err), 0);
	}
	assert_int_equal(pv_lab_index_add_lab(&index, "one", 0, SIZE_MAX, &err), -ENOSPC);
	for (unsigned i = 0; i < PV_LAB_INDEX_VMS_MAX; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(pv_lab_index_add_vm(&index, name, 0, SIZE_MAX, &err), 0);
	}
	assert_int_equal(pv_lab_index_add_vm(&index, "one", 0, SIZE_MAX, &err), -ENOSPC);
	pv_lab_index_finish(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_have_names_of_their_own),
	    cmocka_unit_test(there_and_back),
	    cmocka_unit_test(names_with_slashes_and_unknown_keys),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
