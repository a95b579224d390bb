/* Snapshot files that build on others are refused when they, or the other one, are not what they
 * were. Needs /dev/kvm. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "tests/unit/layer_rig.h"
#include "tests/unit/payload_guest.h"
#include "vmm/machine_private.h"
#include "vmm/template.h"
#include "vmm/template_header.h"

static struct pv_err err = PV_ERR_INIT;

static void ok(int code)
{
	if (code < 0)
		fail_msg("%s", err.text);
}

static void refuse(const char *path, int code, const char *text)
{
	struct pv_template *template = NULL;
	int got = pv_template_open(&template, path, true, &err);
	assert_null(template);
	assert_non_null(strstr(err.text, path));
	if (!strstr(err.text, text) || got != code)
		fail_msg("`%s` (%d) does not say `%s` (%d)", err.text, got, text, code);
}

static void test_a_base_that_is_not_what_it_was_is_refused(void **state)
{
	struct layer_rig *rig = *state;
	char text[512], aside[160];
	layer_rig_make_chain(rig, 3);
	snprintf(aside, sizeof(aside), "%s/aside", rig->root);
	assert_int_equal(rename(rig->paths[0], aside), 0);
	snprintf(text, sizeof(text),
	    "snapshot `%s` builds on `%s`, which is missing; build it again", rig->paths[1],
	    rig->paths[0]);
	refuse(rig->paths[1], -ENOENT, text);
	refuse(rig->paths[2], -ENOENT, text);
	/* A snapshot of the same guest, but another one. */
	struct pv_template *other = machine_freeze(rig->guest->machine);
	ok(pv_template_write(other, rig->paths[0], NULL, &err));
	pv_template_unref(other);
	snprintf(text, sizeof(text),
	    "snapshot `%s` builds on `%s`, which is another file now; build it again",
	    rig->paths[1], rig->paths[0]);
	refuse(rig->paths[1], -ESTALE, text);
	refuse(rig->paths[2], -ESTALE, text);
	/* Damaged, cut, something else, a folder. */
	assert_int_equal(rename(aside, rig->paths[0]), 0);
	assert_int_equal(chmod(rig->paths[0], 0600), 0);
	int fd = open(rig->paths[0], O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, (2 << 20) + LAYER_RIG_MARKS + 5), 1);
	refuse(rig->paths[2], -EBADMSG, "its memory is damaged at offset 0x200000");
	assert_int_equal(pwrite(fd, "\0", 1, (2 << 20) + LAYER_RIG_MARKS + 5), 1);
	pv_template_unref(layer_rig_open(rig->paths[2]));
	assert_int_equal(ftruncate(fd, (off_t)layer_rig_size(rig->paths[0]) - 1), 0);
	refuse(rig->paths[2], -EBADMSG, "it is cut short, ");
	assert_int_equal(ftruncate(fd, 100), 0);
	refuse(rig->paths[1], -EBADMSG, "within its header");
	close(fd);
	unlink(rig->paths[0]);
	assert_int_equal(mkdir(rig->paths[0], 0700), 0);
	refuse(rig->paths[1], -EINVAL, "not a regular file");
}

static void test_cut_layers_are_refused(void **state)
{
	struct layer_rig *rig = *state;
	layer_rig_make_chain(rig, 2);
	const char *path = rig->paths[1];
	assert_int_equal(chmod(path, 0600), 0);
	for (uint64_t size = layer_rig_size(path) & ~UINT64_C(4095); size > 4096; size -= 4096) {
		assert_int_equal(truncate(path, (off_t)size), 0);
		refuse(path, -EBADMSG, "it is cut short, ");
	}
	assert_int_equal(truncate(path, 4096), 0);
	refuse(path, -EBADMSG, "it is cut short, ");
	assert_int_equal(truncate(path, 4000), 0);
	refuse(path, -EBADMSG, "within its header");
}

static void test_every_byte_of_a_layer_counts(void **state)
{
	struct layer_rig *rig = *state;
	uint8_t byte;
	layer_rig_make_chain(rig, 2);
	const char *path = rig->paths[1];
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	const uint64_t size = layer_rig_size(path);
	for (uint64_t at = 0; at < size; at += at < 400 ? 1 : 37) {
		assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
		const uint8_t flipped = byte ^ (uint8_t)(1u << at % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
		refuse(path, -EBADMSG, at < 8 ? "no snapshot" : "damaged");
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	}
	close(fd);
	layer_rig_check(rig, path, 1);
}

/* Lies about the base, with a right checksum. */
static void test_names_of_bases_are_checked(void **state)
{
	struct layer_rig *rig = *state;
	struct pv_template_header header, good;
	layer_rig_make_chain(rig, 2);
	const char *path = rig->paths[1];
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ok(pv_template_header_read(&good, fd, path, &err));
	static const struct {
		const char *name;
		int code;
		const char *text;
	} names[] = {
	    {"/etc/passwd",		    -EBADMSG, "contradicts itself"	  },
	    {"",			     -EBADMSG, "contradicts itself"       },
	    {"1.snap",		       -ESTALE,	"which is another file now"},
	    {"../../../../../../etc/passwd", -EBADMSG, "this is no snapshot"	    },
	    {"../../../../../../dev/zero",   -EINVAL,  "not a regular file"	},
	    {"0.snap/x",			 -ENOENT,  "which is missing"	    },
	};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		header = good;
		memset(header.base_name, 0, sizeof(header.base_name));
		strcpy(header.base_name, names[i].name);
		pv_template_header_seal(&header);
		assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
		refuse(path, names[i].code, names[i].text);
	}
	header = good;
	memset(header.base_name, 'x', sizeof(header.base_name));
	pv_template_header_seal(&header);
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	refuse(path, -EBADMSG, "contradicts itself");
	assert_int_equal(pwrite(fd, &good, sizeof(good), 0), sizeof(good));
	close(fd);
	layer_rig_check(rig, path, 1);
}

static void test_a_base_that_was_cut_since_is_refused(void **state)
{
	struct layer_rig *rig = *state;
	struct pv_machine *machine = NULL;
	const struct pv_machine_restore options = {.boot = &rig->guest->config};
	layer_rig_make_chain(rig, 2);
	struct pv_template *template = layer_rig_open(rig->paths[1]);
	assert_int_equal(chmod(rig->paths[0], 0600), 0);
	assert_int_equal(truncate(rig->paths[0], 1 << 20), 0);
	assert_int_equal(pv_machine_restore(&machine, &rig->guest->kvm, rig->guest->loop, template,
			     &options, &err),
	    -EBADMSG);
	assert_non_null(strstr(err.text, "was cut short to 1048576 bytes since it was opened"));
	assert_non_null(strstr(err.text, rig->paths[1]));
	pv_template_unref(template);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, layer_rig_set_up, layer_rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_a_base_that_is_not_what_it_was_is_refused),
	    TEST(test_cut_layers_are_refused),
	    TEST(test_every_byte_of_a_layer_counts),
	    TEST(test_names_of_bases_are_checked),
	    TEST(test_a_base_that_was_cut_since_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
