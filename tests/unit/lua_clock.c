/*
 * lua/clock.h: the clocks of a VM (spec section 15).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

#define BOOT "local v = provium:vm('v', 'tiny'):boot() local c = v:clock() "

static void getting_and_setting(void **state)
{
	rig_passes(BOOT "c:set(1000000000.5) t:assert_eq(c:get(), 1000000000.5) "
			"t:assert_eq(c:get_ns(), 1000000000500000000) "
			"t:assert_eq(math.type(c:get()), 'float') "
			"t:assert_eq(math.type(c:get_ns()), 'integer') "
			"t:assert_eq(tostring(c), 'clock(v)')");
	rig_passes(BOOT "c:set(17) t:assert_eq(c:get_ns(), 17000000000) c:set_ns(18) "
			"t:assert_eq(c:get_ns(), 18) c:set(9007199254.75) "
			"t:assert_eq(c:get_ns(), 9007199254750000000)");
	rig_fails(BOOT "c:set(0/0)", "case.test.lua:1: clock:set: value must be a finite number");
	rig_fails(BOOT "c:set(1/0)", "clock:set: value must be a finite number");
	rig_fails(BOOT "c:set('5')", "clock:set: value must be a finite number");
	rig_fails(BOOT "c:set(1e300)", "clock:set: value must be within 292 years of 1970");
	rig_fails(BOOT "c:set(math.maxinteger)", "clock:set: value must be within 292 years");
	rig_fails(BOOT "c:set_ns(1.5)", "clock:set_ns: value must be an integer");
	rig_fails(BOOT "c:set_ns()", "clock:set_ns: value must be an integer");
	rig_fails(BOOT "c:set(-1)", "clock_settime: Invalid argument");
	rig_fails("provium:vm('v', 'tiny'):clock():get()", "not booted");
}

static void advancing(void **state)
{
	rig_passes(BOOT "c:set(1000) c:advance(5) t:assert_eq(c:get(), 1005.0) c:advance('-2s') "
			"t:assert_eq(c:get(), 1003.0) c:advance(-0.25) t:assert_eq(c:get(), "
			"1002.75) c:advance('1.5h') t:assert_eq(c:get(), 6402.75) "
			"c:advance('+1m', {}) t:assert_eq(c:get(), 6462.75)");
	rig_fails(BOOT "c:advance('soon')", "case.test.lua:1: clock:advance: cannot parse `soon`");
	rig_fails(BOOT "c:advance('--2s')", "clock:advance: cannot parse `--2s`");
	rig_fails(BOOT "c:advance('')", "clock:advance: cannot parse ``");
	rig_fails(BOOT "c:advance()", "clock:advance: expected number|string, got no value");
	rig_fails(BOOT "c:advance({})", "clock:advance: expected number|string, got table");
	rig_fails(BOOT "c:advance(0/0)", "clock:advance: must be finite");
	rig_fails(BOOT "c:advance(-1/0)", "clock:advance: must be finite");
}

static void advancing_all_time(void **state)
{
	rig_passes(BOOT "c:set(1000) c:advance('24h', {monotonic = true}) c:advance(0, {monotonic "
			"= true}) t:assert_eq(c:get(), 1000.0)");
	rig_fails(BOOT "c:advance(-1, {monotonic = true})", "monotonic time cannot go back");
	rig_fails(BOOT "c:advance(1, {monotonic = 1})", "clock:advance: ");
	rig_fails(BOOT "c:advance(1, true)", "clock:advance: opts");
	rig_fails(
	    "provium:vm('v', 'tiny'):clock():advance(1, {monotonic = true})", "cannot advance");
}

static void sleeping(void **state)
{
	rig_passes(BOOT "c:set(1000) c:sleep('250ms') t:assert_eq(c:get(), 1000.25) c:sleep(0)");
	rig_fails(BOOT "c:sleep()", "clock:sleep: duration: expected number|string, got no value");
	rig_fails(BOOT "c:sleep(-1)", "clock:sleep: duration: must be a finite, non-negative");
	rig_fails(BOOT "c:sleep('x')", "clock:sleep: duration: cannot parse `x`");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(getting_and_setting),
	    cmocka_unit_test(advancing),
	    cmocka_unit_test(advancing_all_time),
	    cmocka_unit_test(sleeping),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
