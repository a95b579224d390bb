/*
 * Wrong arguments, generated: the reference says which functions take what, and
 * tests/unit/lua_arguments.lua calls each with values of every other kind. A function or an
 * argument that is new fails here until its kind is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "lua/reference.h"
#include "tests/unit/lua_rig.h"

static const char *const kinds[] = {
    [PV_REFERENCE_FUNCTION] = "function",
    [PV_REFERENCE_METHOD] = "method",
    [PV_REFERENCE_FIELD] = "field",
    [PV_REFERENCE_SETTING] = "setting",
    [PV_REFERENCE_OPTION] = "option",
};

static void wrong_arguments_raise_at_the_call_and_are_named(void **state)
{
	struct pv_bytes script = {0};
	struct pv_err err = PV_ERR_INIT;
	const struct pv_reference_entry *entry;
	pv_bytes_printf(&script, "local entries = {\n");
	for (size_t i = 0; (entry = pv_reference_at(i)) != NULL; i++)
		pv_bytes_printf(&script,
		    "{owner = [[%s]], name = [[%s]], kind = '%s', signature = [==[%s]==]},\n",
		    entry->owner, entry->name, kinds[entry->kind], entry->signature);
	pv_bytes_printf(&script, "}\n");
	assert_int_equal(pv_fd_slurp("script", PV_ARGUMENTS_LUA, 1 << 20, &script, &err), 0);
	struct lua_rig rig;
	rig_init(&rig);
	const char *report = rig_run(&rig, pv_bytes_text(&script));
	if (strstr(report, "passed every argument of every function\n") == NULL)
		fail_msg("%s", report);
	rig_finish(&rig);
	pv_bytes_finish(&script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wrong_arguments_raise_at_the_call_and_are_named),
	};
	return cmocka_run_group_tests_name("lua_arguments", tests, NULL, NULL);
}
