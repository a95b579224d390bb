/*
 * lua/state.h: the environment of a test file (spec section 1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/lua_rig.h"

static void the_whole_library_is_there(void **state)
{
	rig_passes("for _, n in ipairs{'io', 'os', 'debug', 'package', 'string', 'table', 'math', "
		   "'utf8', 'coroutine'} do t:assert_eq(type(_G[n]), 'table') end "
		   "t:assert_eq(_VERSION, 'Lua 5.4') t:assert_eq(io.popen('echo x'):read('a'), "
		   "'x\\n') t:assert(os.execute('true')) t:assert(os.time() > 0) "
		   "t:assert_eq(type(os.tmpname()), 'string')");
}

static void roots_are_searched_first(void **state)
{
	struct lua_rig rig;
	char one[128], two[128];
	rig_init(&rig);
	rig_write(&rig, "one/helpers/net.lua", "return {from = 'one'}");
	rig_write(&rig, "two/helpers/net.lua", "return {from = 'two'}");
	rig_write(&rig, "two/pkg/init.lua", "return {from = 'init', arg = ...}");
	strcat(strcpy(one, rig.dir), "/one");
	strcat(strcpy(two, rig.dir), "/two");
	rig.file.roots = (const char *const[]){one, two};
	rig.file.root_count = 2;
	const char *report =
	    rig_run(&rig, "local net, pkg = require('helpers.net'), require('pkg')\n"
			  "test('a', function(t) t:log(net.from .. ' ' .. pkg.from .. ' ' .. "
			  "pkg.arg) t:log(package.path) end)");
	assert_non_null(strstr(report, "log a: one init pkg\n"));
	struct pv_bytes want = {0};
	pv_bytes_printf(
	    &want, "log a: %s/?.lua;%s/?/init.lua;%s/?.lua;%s/?/init.lua;", one, one, two, two);
	assert_non_null(strstr(report, pv_bytes_text(&want)));
	pv_bytes_finish(&want);
	rig_finish(&rig);
	rig_expect("require('no.such')", "chunk_error: ", "module 'no.such' not found", NULL);
}

static void each_file_has_a_state_of_its_own(void **state)
{
	struct lua_rig rig;
	rig_init(&rig);
	rig_run(&rig, "leaked = 5 string.rep = nil");
	const char *report = rig_run(&rig, "test('a', function(t) t:assert_eq(leaked, nil) "
					   "t:assert_eq(type(string.rep), 'function') end)");
	assert_non_null(strstr(report, "passed a\n"));
	rig_finish(&rig);
}

static void text_of_reports_is_clean(void **state)
{
	rig_expect("test('a', function(t) "
		   "t:log('\\u{fc}\\xc3\\xe2\\x82\\xac\\xf0\\x9f\\x98\\x80\\xc0\\x80\\xf5') end)",
	    "log a: "
	    "\xc3\xbc\xef\xbf\xbd\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
	    "\n",
	    NULL);
	rig_expect("error('\\xff', 0)", "chunk_error: \xef\xbf\xbd\n", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_whole_library_is_there),
	    cmocka_unit_test(roots_are_searched_first),
	    cmocka_unit_test(each_file_has_a_state_of_its_own),
	    cmocka_unit_test(text_of_reports_is_clean),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
