/*
 * lua/options.h: creation and boot options (spec 7.2): what arrives, and what is refused with which
 * words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/fake_lab.h"
#include "tests/unit/lua_rig.h"

/* Boots with these options and compares what arrived. */
static void arrives(const char *options, const char *expected)
{
	struct pv_bytes body = {0};
	pv_bytes_printf(&body, "provium:vm('v', 'tiny'):boot(%s)", options);
	rig_passes(pv_bytes_text(&body));
	if (strcmp(fake_lab_last_boot, expected) != 0)
		fail_msg("%s: got `%s`", options, fake_lab_last_boot);
	body.len = 0;
	pv_bytes_printf(&body, "provium:vm('v', 'tiny', %s):boot()", options);
	rig_passes(pv_bytes_text(&body));
	assert_string_equal(fake_lab_last_boot, expected);
	pv_bytes_finish(&body);
}

static void refused(const char *options, const char *reason)
{
	struct pv_bytes body = {0}, want = {0};
	pv_bytes_printf(&body, "provium:vm('v', 'tiny'):boot(%s)", options);
	pv_bytes_printf(&want, "case.test.lua:1: vm:boot: %s", reason);
	rig_fails(pv_bytes_text(&body), pv_bytes_text(&want));
	body.len = want.len = 0;
	pv_bytes_printf(&body, "provium:vm('v', 'tiny', %s)", options);
	pv_bytes_printf(&want, "case.test.lua:1: lab:vm: %s", reason);
	rig_fails(pv_bytes_text(&body), pv_bytes_text(&want));
	pv_bytes_finish(&body);
	pv_bytes_finish(&want);
}

static void what_is_given_arrives(void **state)
{
	arrives("nil", "");
	arrives("{}", "");
	arrives("{colour = 'red', 1, 2}", "");
	arrives("{memory = 1 << 30, cpus = 2}", "memory=1073741824 cpus=2 ");
	arrives("{memory = '512M'}", "memory=536870912 ");
	arrives("{memory = '1g'}", "memory=1073741824 ");
	arrives("{memory = 1024.0 * 1024}", "memory=1048576 ");
	arrives("{rng_seed = 7}", "rng_seed=7 ");
	arrives("{rng_seed = -1}", "rng_seed=18446744073709551615 ");
	arrives("{initial_time = 1}", "initial_time_ns=1000000000 ");
	arrives("{initial_time = 1.25}", "initial_time_ns=1250000000 ");
	arrives("{initial_time = -1.25}", "initial_time_ns=-1250000000 ");
	arrives("{agent_timeout = 12}", "agent_timeout_ns=12000000000 ");
	arrives("{agent_timeout = '1.5s'}", "agent_timeout_ns=1500000000 ");
	arrives("{kernel_cmdline = 'a b', kernel_cmdline_append = ''}", "cmdline=a b append= ");
	arrives("{files = {{path = '/etc/x', content = 'a\\0b'}, {path = 'y', content = 5, mode = "
		"tonumber('755', 8)}}}",
	    "file=etc/x:644:3 file=y:755:1 ");
	arrives("{files = {}}", "");
	arrives("{disks = {}}", "");
	rig_passes("provium:vm('v', 'tiny', {memory = '1G', cpus = 2}):boot({cpus = 4})");
	assert_string_equal(fake_lab_last_boot, "memory=1073741824 cpus=4 ");
}

static void memory_is_checked(void **state)
{
	refused("{memory = true}", "opts.memory must be int or string, got boolean");
	refused("{memory = {}}", "opts.memory must be int or string, got table");
	refused("{memory = 1.5}", "opts.memory must be int or string, got 1.5");
	refused("{memory = 0/0}", "opts.memory must be int or string, got ");
	refused("{memory = 1/0}", "opts.memory must be int or string, got inf");
	refused("{memory = 'much'}", "opts.memory: cannot parse `much`");
	refused("{memory = ''}", "opts.memory: cannot parse ``");
	refused("{memory = '1T'}", "opts.memory: cannot parse `1T`");
	refused("{memory = '-1M'}", "opts.memory: cannot parse `-1M`");
	refused("{memory = '1M\\0'}", "opts.memory: cannot parse `1M");
	refused("{memory = '99999999999999999999'}", "opts.memory: cannot parse");
	refused("{memory = 0}", "opts.memory: must be positive, got `0`");
	refused("{memory = -5}", "opts.memory: must be positive, got `-5`");
	refused("{memory = '0M'}", "opts.memory: must be positive, got `0M`");
}

static void numbers_are_checked(void **state)
{
	refused("{cpus = 0}", "opts.cpus: 0 is out of range (1 to 2147483647)");
	refused("{cpus = -1}", "opts.cpus: -1 is out of range");
	refused("{cpus = 1 << 40}", "opts.cpus: 1099511627776 is out of range");
	refused("{cpus = 1.5}", "opts.cpus must be an integer, got 1.5");
	refused("{cpus = '2'}", "opts.cpus must be an integer, got string");
	refused("{cpus = 0/0}", "opts.cpus must be an integer, got ");
	refused("{rng_seed = 'x'}", "opts.rng_seed must be an integer, got string");
	refused("{rng_seed = 2^64}", "opts.rng_seed must be an integer, got 1.844674407371e+19");
	refused("{initial_time = 'now'}",
	    "opts.initial_time must be a number of seconds since 1970, got string");
	refused("{initial_time = 0/0}", "opts.initial_time: must be finite, got ");
	refused("{initial_time = -1/0}", "opts.initial_time: must be finite, got -inf");
	refused("{initial_time = 1e300}", "opts.initial_time: 1e+300 is out of range");
	refused("{initial_time = math.maxinteger}",
	    "opts.initial_time: 9223372036854775807 is out of range");
	refused("{initial_time = -1e18}", "opts.initial_time: -1e+18 is out of range");
	refused("{agent_timeout = 0}", "opts.agent_timeout: must be positive, got 0");
	refused("{agent_timeout = -1}",
	    "opts.agent_timeout: duration: must be a finite, non-negative number (got -1)");
	refused("{agent_timeout = 'x'}", "opts.agent_timeout: duration: cannot parse `x`");
	refused("{agent_timeout = {}}",
	    "opts.agent_timeout: duration: expected number|string, got table");
}

static void texts_are_checked(void **state)
{
	refused("{kernel_cmdline = 5}", "opts.kernel_cmdline must be a string, got number");
	refused("{kernel_cmdline = 'a\\0b'}", "opts.kernel_cmdline must not contain NUL bytes");
	refused("{kernel_cmdline_append = {}}",
	    "opts.kernel_cmdline_append must be a string, got table");
}

static void files_are_checked(void **state)
{
	refused("{files = 'x'}", "opts.files must be a table, got string");
	refused("{files = {path = '/etc/x', content = 'y'}}",
	    "opts.files must be an array of {path=, content=, mode=}");
	refused("{files = {['/etc/x'] = '/nowhere'}}",
	    "opts.files[\"/etc/x\"]: host file `/nowhere`: No such file or directory");
	refused(
	    "{files = {['/etc/x'] = 5}}", "opts.files[\"/etc/x\"] must be a string, got number");
	refused("{files = {['/etc/../x'] = '/etc/hostname'}}", "opts.files: path `/etc/../x`");
	refused("{files = {'x'}}",
	    "opts.files[1] must be a table {path=, content=, mode=}, got string");
	refused("{files = {{content = ''}}}", "opts.files[1].path must be a string, got nil");
	refused("{files = {{path = '', content = ''}}}", "opts.files[1].path must not be empty");
	refused("{files = {{path = 'a\\0b', content = ''}}}",
	    "opts.files[1].path must not contain NUL bytes");
	refused("{files = {{path = 'a', content = ''}, {path = 'b'}}}",
	    "opts.files[2].content must be a string, got nil");
	refused("{files = {{path = 'a', content = {}}}}",
	    "opts.files[1].content must be a string, got table");
	refused("{files = {{path = 'a', content = '', mode = 4096}}}",
	    "opts.files[1].mode: 4096 is out of range (0 to 4095)");
	refused("{files = {{path = 'a', content = '', mode = -1}}}",
	    "opts.files[1].mode: -1 is out of range");
	refused("{files = {{path = 'a', content = '', mode = '0644'}}}",
	    "opts.files[1].mode must be an integer, got string");
	refused("{files = {{path = '/a/../b', content = ''}}}", "opts.files: path `/a/../b`");
}

static void disks_are_not_there_yet(void **state)
{
	refused("{disks = {{scratch = '1G'}}}",
	    "opts.disks: block devices are not available yet in this version");
	refused("{disks = 5}", "opts.disks must be a table, got number");
}

static void options_that_raise_while_read(void **state)
{
	rig_fails(
	    "provium:vm('v', 'tiny'):boot(setmetatable({files = {{path = 'a', content = 'b'}}}, "
	    "{__index = function(_, k) if k == 'disks' then error('from __index', 0) end end}))",
	    "failed it: from __index\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_given_arrives),
	    cmocka_unit_test(memory_is_checked),
	    cmocka_unit_test(numbers_are_checked),
	    cmocka_unit_test(texts_are_checked),
	    cmocka_unit_test(files_are_checked),
	    cmocka_unit_test(disks_are_not_there_yet),
	    cmocka_unit_test(options_that_raise_while_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
