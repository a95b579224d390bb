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
    " local p, w = v:run_async('x'), v:spawn_worker()\n"
    " all('Process', debug.getmetatable(p).__index)\n"
    " local shared, own = debug.getmetatable(v).__index, {}\n"
    " for n in pairs(debug.getmetatable(w).__index) do own[n] = n == 'close' or n == 'kill' or not "
    "shared[n] or "
    "nil end\n"
    " all('Worker', own)\n"
    " all('SyscallHandle', debug.getmetatable(v:syscall_async(39)).__index)\n"
    " v:batch(function(b) all('Batch', debug.getmetatable(b).__index) end)\n"
    " all('IoctlResult', v:ioctl(1, 2, 'x'))\n"
    " all('SyscallResult', v:syscall(39))\n"
    " all('Console', debug.getmetatable(v:console()).__index)\n"
    " all('Clock', debug.getmetatable(v:clock()).__index)\n"
    " local r = v:run('kill 9') all('RunResult', r) all('RunResult', "
    "debug.getmetatable(r).__index)\n"
    " v:write_file('/x', '') all('Stat', v:stat('/x')) all('DirEntry', v:listdir('/full')[1])\n"
    " all('File', debug.getmetatable(v:open_file('/f', {read = true})).__index)\n"
    " local s, c = v:tail_file('x'), v:console():read()\n"
    " all('Tail', debug.getmetatable(s).__index) all('ConsoleStream', debug.getmetatable(c).__index) s:close() c:close()\n"
    " all('Test', t) all('Test', debug.getmetatable(t).__index)\n"
    "end)\n";

static void names_and_entries_match(void **state)
{
	struct lua_rig rig;
	size_t seen = 0, logged = 0;
	const struct pv_reference_entry *entry;
	rig_init(&rig);
	const char *report = rig_run(&rig, walker);
	if (strstr(report, "passed walk\n") == NULL)
		fail_msg("%s", report);
	for (size_t i = 0; (entry = pv_reference_at(i)) != NULL; i++) {
		char mark[128];
		snprintf(mark, sizeof(mark), "=%s.%s=\n", entry->owner, entry->name);
		if (entry->kind == PV_REFERENCE_OPTION)
			continue;
		if (strstr(report, mark) == NULL)
			fail_msg("the reference has %s.%s, the language has not", entry->owner,
			    entry->name);
		seen++;
	}
	for (const char *at = report; (at = strstr(at, "log walk: =")) != NULL; at++) {
		char name[128] = "";
		bool found = false;
		sscanf(at, "log walk: =%120[^=]", name);
		for (size_t i = 0; !found && (entry = pv_reference_at(i)) != NULL; i++) {
			char full[128];
			snprintf(full, sizeof(full), "%s.%s", entry->owner, entry->name);
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
	const struct pv_reference_entry *entry;
	for (size_t i = 0; (entry = pv_reference_at(i)) != NULL; i++) {
		assert_true(strlen(entry->owner) > 0 && strlen(entry->name) > 0);
		assert_true(strlen(entry->signature) > 0 && strlen(entry->since) > 0);
		size_t len = strlen(entry->text);
		if (len < 6 || entry->text[len - 1] != '.' || strchr(entry->text, '\n') != NULL)
			fail_msg("text of %s.%s", entry->owner, entry->name);
		for (size_t j = 0; j < i; j++) {
			const struct pv_reference_entry *other = pv_reference_at(j);
			if (strcmp(entry->owner, other->owner) == 0 &&
			    strcmp(entry->name, other->name) == 0)
				fail_msg("%s.%s is there twice", entry->owner, entry->name);
		}
	}
}

/* An option that is really read complains about a value of a type that no option takes. */
static void options_are_read(void **state)
{
	const struct pv_reference_entry *entry;
	for (size_t i = 0; (entry = pv_reference_at(i)) != NULL; i++) {
		struct pv_bytes script = {0};
		const char *name = entry->name;
		if (entry->kind != PV_REFERENCE_OPTION || strcmp(name, "skip") == 0 ||
		    strcmp(name, "slow") == 0)
			continue;
		if (strcmp(entry->owner, "VmOptions") == 0)
			pv_bytes_printf(&script, "provium:vm('v', 'tiny', {%s = print})", name);
		else if (strcmp(entry->owner, "ClaimOptions") == 0)
			pv_bytes_printf(&script, "provium:claim({%s = print})", name);
		else if (strcmp(entry->owner, "RestoreOptions") == 0)
			pv_bytes_printf(
			    &script, "provium:vm('v', 'tiny'):restore('x', {%s = print})", name);
		else if (strcmp(entry->owner, "AdvanceOptions") == 0)
			pv_bytes_printf(&script,
			    "provium:vm('v', 'tiny'):boot():clock():advance(1, {%s = print})",
			    name);
		else if (strcmp(entry->owner, "WorkerOptions") == 0)
			pv_bytes_printf(&script,
			    "provium:vm('v', 'tiny'):boot():spawn_worker({%s = print})", name);
		else if (strcmp(entry->owner, "RunOptions") == 0)
			pv_bytes_printf(
			    &script, "provium:vm('v', 'tiny'):boot():run('x', {%s = print})", name);
		else if (strcmp(entry->owner, "IoctlOptions") == 0)
			pv_bytes_printf(&script,
			    "provium:vm('v', 'tiny'):boot():ioctl(1, 2, '', {%s = print})", name);
		else if (strcmp(entry->owner, "SyscallShape") == 0)
			pv_bytes_printf(&script,
			    "provium:vm('v', 'tiny'):boot():syscall(1, {%s = print})", name);
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
