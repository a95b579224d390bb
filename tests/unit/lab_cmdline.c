/*
 * The command line of a boot: what it is put together from, in which order, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/cmdline.h"
#include "lab/options.h"
#include "lab/profile.h"

#define AGENT " rdinit=/sbin/provium-agent"

static void expect(
    const struct pv_profile *profile, const struct pv_options *options, const char *line)
{
	struct pv_bytes out = {0};
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_cmdline_build(profile, options, &out, &err), 0);
	assert_string_equal(pv_bytes_text(&out), line);
	pv_bytes_finish(&out);
}

static void refuse(
    const struct pv_profile *profile, const struct pv_options *options, const char *text)
{
	struct pv_bytes out = {0};
	struct pv_err err = PV_ERR_INIT;
	assert_true(pv_cmdline_build(profile, options, &out, &err) < 0);
	assert_string_equal(err.text, text);
	pv_bytes_finish(&out);
}

static void the_profile_comes_first_and_the_agent_last(void **state)
{
	struct pv_profile profile = {
	    .name = (char *)"p", .cmdline = (char *)"quiet", .inject_agent = true};
	struct pv_options options = {0};
	expect(&profile, &options, "quiet console=ttyS0" AGENT);
	profile.inject_agent = false;
	expect(&profile, &options, "quiet console=ttyS0");
	options.kernel_cmdline_append = (char *)"a=1 b";
	expect(&profile, &options, "quiet a=1 b console=ttyS0");
}

static void white_space_is_one_space(void **state)
{
	struct pv_profile profile = {.name = (char *)"p", .cmdline = (char *)"  a \t b\n\nc  "};
	struct pv_options options = {.kernel_cmdline_append = (char *)" d\r\n"};
	expect(&profile, &options, "a b c d console=ttyS0");
	profile.cmdline = NULL;
	options.kernel_cmdline_append = (char *)" \n ";
	expect(&profile, &options, "console=ttyS0");
}

static void a_given_line_replaces_the_profiles(void **state)
{
	struct pv_profile profile = {.name = (char *)"p",
	    .cmdline = (char *)"quiet",
	    .cmdline_file = (char *)"/no/such/file",
	    .inject_agent = true};
	struct pv_options options = {
	    .kernel_cmdline = (char *)"debug", .kernel_cmdline_append = (char *)"more"};
	expect(&profile, &options, "debug more console=ttyS0" AGENT);
}

static void a_console_is_added_only_when_there_is_none(void **state)
{
	struct pv_profile profile = {
	    .name = (char *)"p", .cmdline = (char *)"console=ttyS0,115200 quiet"};
	struct pv_options options = {0};
	expect(&profile, &options, "console=ttyS0,115200 quiet");
	profile.cmdline = (char *)"console=hvc0";
	expect(&profile, &options, "console=hvc0 console=ttyS0");
	profile.cmdline = (char *)"xconsole=ttyS0";
	expect(&profile, &options, "xconsole=ttyS0 console=ttyS0");
}

static void the_files_words_come_before_the_profiles(void **state)
{
	char path[] = "/tmp/pv-lab-cmdline-XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(pv_fd_write_all(fd, "from\n  file\0\n", 13), 0);
	close(fd);
	struct pv_profile profile = {
	    .name = (char *)"p", .cmdline = (char *)"from profile", .cmdline_file = path};
	struct pv_options options = {0};
	expect(&profile, &options, "from file from profile console=ttyS0");
	unlink(path);
	char text[256];
	snprintf(
	    text, sizeof(text), "profile `p`: cmdline_file `%s`: No such file or directory", path);
	refuse(&profile, &options, text);
}

static void another_rdinit_is_refused_only_with_the_agent(void **state)
{
	struct pv_profile profile = {
	    .name = (char *)"p", .cmdline = (char *)"rdinit=/init", .inject_agent = true};
	struct pv_options options = {0};
	refuse(&profile, &options,
	    "profile `p`: the command line has `rdinit=/init` but the agent is injected as "
	    "`rdinit=/sbin/provium-agent`; remove it, or set "
	    "inject_agent = false");
	profile.inject_agent = false;
	expect(&profile, &options, "rdinit=/init console=ttyS0");
	profile.inject_agent = true;
	profile.cmdline = (char *)"rdinit=/sbin/provium-agent x";
	expect(&profile, &options, "rdinit=/sbin/provium-agent x console=ttyS0");
	/* The kernel takes the last one. */
	profile.cmdline = (char *)"rdinit=/init rdinit=/sbin/provium-agent";
	expect(&profile, &options, "rdinit=/init rdinit=/sbin/provium-agent console=ttyS0");
	options.kernel_cmdline_append = (char *)"rdinit=/sbin/provium-agent2";
	refuse(&profile, &options,
	    "profile `p`: the command line has `rdinit=/sbin/provium-agent2` but the agent is "
	    "injected as `rdinit=/sbin/provium-agent`; remove "
	    "it, or set inject_agent = false");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_profile_comes_first_and_the_agent_last),
	    cmocka_unit_test(white_space_is_one_space),
	    cmocka_unit_test(a_given_line_replaces_the_profiles),
	    cmocka_unit_test(a_console_is_added_only_when_there_is_none),
	    cmocka_unit_test(the_files_words_come_before_the_profiles),
	    cmocka_unit_test(another_rdinit_is_refused_only_with_the_agent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
