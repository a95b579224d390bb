/*
 * lua/reference.h against the real tables: every public name has its entry, every entry its name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lua/reference.h"
#include "tests/unit/lua_rig.h"

/* Logs "OWNER.NAME" of every public name that a script can see. Names that begin with _ are not
 * public. */
static const char walker[] =
    "local standard = {}\n"
    "for n in ('_G _VERSION assert collectgarbage coroutine debug dofile error getmetatable io "
    "ipairs load loadfile math next os package pairs pcall '\n"
    " .. 'print rawequal rawget rawlen rawset require select setmetatable string table tonumber "
    "tostring type utf8 warn xpcall'):gmatch('%S+') do standard[n] = true end\n"
    "test('walk', function(t)\n"
    " local function all(owner, names) for n in pairs(names) do if n:sub(1, 1) ~= '_' then "
    "t:log('=' .. owner .. '.' .. n .. '=') end end end\n"
    " for n in pairs(_G) do if not standard[n] then all('global', {[n] = true}) end end\n"
    " all('json', json)\n"
    " local _, methods = debug.getupvalue(debug.getmetatable(provium).__index, 1)\n"
    " all('Lab', methods) all('Lab', {timeout = 1, reset_between_tests = 1})\n"
    " local _, sys = debug.getupvalue(debug.getmetatable(provium.sys).__index, 1)\n"
    " all('sys', sys)\n"
    " local v = provium:vm('v', 'tiny'):boot()\n"
    " all('VM', debug.getmetatable(v).__index)\n"
    " all('Snapshot', debug.getmetatable(v:snapshot()).__index)\n"
    " all('LabSnapshot', debug.getmetatable(provium:snapshot()).__index)\n"
    " all('Console', debug.getmetatable(v:console()).__index)\n"
    " local r = v:run('kill 9') all('RunResult', r) all('RunResult', "
    "debug.getmetatable(r).__index)\n"
    " v:write_file('/x', '') all('Stat', v:stat('/x'))\n"
    " all('Test', t) all('Test', debug.getmetatable(t).__index)\n"
    "end)\n";

static void names_and_entries_match(void **state)
{
	struct lua_rig rig;
	size_t count, seen = 0, logged = 0;
	const struct pv_reference_entry *entries = pv_reference_entries(&count);
	rig_init(&rig);
	const char *report = rig_run(&rig, walker);
	if (strstr(report, "passed walk\n") == NULL)
		fail_msg("%s", report);
	for (size_t i = 0; i < count; i++) {
		char mark[128];
		snprintf(mark, sizeof(mark), "=%s.%s=\n", entries[i].owner, entries[i].name);
		if (entries[i].kind == PV_REFERENCE_OPTION)
			continue;
		if (strstr(report, mark) == NULL)
			fail_msg("the reference has %s.%s, the language has not", entries[i].owner,
			    entries[i].name);
		seen++;
	}
	for (const char *at = report; (at = strstr(at, "log walk: =")) != NULL; at++) {
		char name[128] = "";
		bool found = false;
		sscanf(at, "log walk: =%120[^=]", name);
		for (size_t i = 0; i < count && !found; i++) {
			char full[128];
			snprintf(full, sizeof(full), "%s.%s", entries[i].owner, entries[i].name);
			found = strcmp(full, name) == 0;
		}
		if (!found)
			fail_msg("the language has %s, the reference has not", name);
		logged++;
	}
	assert_int_equal(seen, logged);
	rig_finish(&rig);
}

static void entries_are_whole(void **state)
{
	size_t count;
	const struct pv_reference_entry *entries = pv_reference_entries(&count);
	for (size_t i = 0; i < count; i++) {
		assert_true(strlen(entries[i].owner) > 0 && strlen(entries[i].name) > 0);
		assert_true(strlen(entries[i].signature) > 0 && strlen(entries[i].since) > 0);
		size_t len = strlen(entries[i].text);
		if (len < 6 || entries[i].text[len - 1] != '.' ||
		    strchr(entries[i].text, '\n') != NULL)
			fail_msg("text of %s.%s", entries[i].owner, entries[i].name);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(entries[i].owner, entries[j].owner) == 0 &&
			    strcmp(entries[i].name, entries[j].name) == 0)
				fail_msg("%s.%s is there twice", entries[i].owner, entries[i].name);
		}
	}
}

/* An option that is really read complains about a value of a type that no option takes. */
static void options_are_read(void **state)
{
	size_t count;
	const struct pv_reference_entry *entries = pv_reference_entries(&count);
	for (size_t i = 0; i < count; i++) {
		struct pv_bytes script = {0};
		const char *name = entries[i].name;
		if (entries[i].kind != PV_REFERENCE_OPTION || strcmp(name, "skip") == 0 ||
		    strcmp(name, "slow") == 0)
			continue;
		if (strcmp(entries[i].owner, "VmOptions") == 0)
			pv_bytes_printf(&script, "provium:vm('v', 'tiny', {%s = print})", name);
		else if (strcmp(entries[i].owner, "RestoreOptions") == 0)
			pv_bytes_printf(
			    &script, "provium:vm('v', 'tiny'):restore('x', {%s = print})", name);
		else if (strcmp(entries[i].owner, "RunOptions") == 0)
			pv_bytes_printf(
			    &script, "provium:vm('v', 'tiny'):boot():run('x', {%s = print})", name);
		else
			pv_bytes_printf(&script, "test('a', {%s = print}, print)", name);
		rig_expect(pv_bytes_text(&script), "chunk_error: ", name, "got function", NULL);
		pv_bytes_finish(&script);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_and_entries_match),
	    cmocka_unit_test(entries_are_whole),
	    cmocka_unit_test(options_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
