/*
 * lua/lab_snapshot.c, lab/lab_snapshot*.c, lab/lab_restore.c on guests that are fake: what is saved
 * and restored, what is refused, and that nothing is left behind (spec sections 5.6, 19, 23-5).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_template.h"
#include "tests/unit/lua_rig.h"

/* What the bodies below begin with. `dir` is a fresh directory, `has` and `fails` assert, `list`
 * says what is in a directory, `edit` changes lab.json. */
static const char prologue[] =
    "local dir = os.tmpname() os.remove(dir) dir = dir .. '.lab'\n"
    "local function fails(text, f, ...) local ok, e = pcall(f, ...) assert(not ok, 'no error: ' .. "
    "text) if not tostring(e):find(text, 1, true) then error(tostring(e) .. ' ~ ' .. text, 2) end "
    "end\n"
    "local function sh(c) local p = io.popen(c) local out = p:read('a') p:close() return out end\n"
    "local function list(d) return (sh('ls -A ' .. d .. ' 2>&1'):gsub('\\n', ' ')) end\n"
    "local function beside() return list('-d ' .. dir .. '*') end\n"
    "local function put(name, text) local f = assert(io.open(dir .. '/' .. name, 'w')) "
    "f:write(text) f:close() end\n"
    "local function get() local f = assert(io.open(dir .. '/lab.json')) local s = f:read('a') "
    "f:close() return s end\n"
    "local function states(...) local out = {} for i, v in ipairs({...}) do out[i] = v:state() end "
    "return table.concat(out, ' ') end\n"
    "local root = provium\n";

static void passes(const char *body)
{
	struct pv_bytes script = {0};
	pv_bytes_printf(&script, "%s%s sh('rm -rf ' .. dir)", prologue, body);
	fake_template_log[0] = '\0';
	rig_passes(pv_bytes_text(&script));
	pv_bytes_finish(&script);
	assert_int_equal(fake_templates, 0);
}

/* A lab of three VMs, one of them with two places. */
#define WORLD                                                                                     \
	"local a = root:vm('a', 'tiny', {memory = '64M', cpus = 2}):boot() local dc = "           \
	"root:lab('dc1') "                                                                        \
	"local w = dc:vm('web', 'tiny'):boot() local d = dc:lab('rack'):vm('db', 'tiny'):boot() " \
	"dc:include(a) root:lab('dc2'):include(dc) "

static void all_stand_still_together(void **state)
{
	passes(
	    WORLD "local s = root:snapshot() t:assert_eq(states(a, w, d), 'booted booted booted')");
	const char *log = fake_template_log;
	assert_non_null(strstr(log, "begin a;begin web;begin db;freeze "));
	for (const char *name = "a\0web\0db\0"; *name; name += strlen(name) + 1) {
		char frozen[32], ended[32];
		snprintf(frozen, sizeof(frozen), "freeze %s;", name);
		snprintf(ended, sizeof(ended), "end %s;", name);
		assert_non_null(strstr(log, frozen));
		assert_true(strstr(log, frozen) < strstr(log, "end a;"));
		assert_non_null(strstr(log, ended));
	}
	/* Nobody stays behind when one fails. */
	passes("root:vm('a', 'tiny'):boot() root:vm('unfrozen', 'tiny'):boot() "
	       "fails('lab:snapshot: vm `unfrozen`: too warm', root.snapshot, root)");
	assert_non_null(strstr(log, "end a;"));
	assert_non_null(strstr(log, "end unfrozen;"));
	passes("root:vm('a', 'tiny'):boot() root:vm('b', 'tiny', {kernel_cmdline_append = "
	       "'busy'}):boot() root:vm('c', 'tiny'):boot() fails('lab:snapshot: vm `b`: it is "
	       "busy', root.snapshot, root)");
	assert_string_equal(log, "begin a;end a;");
}

static void what_cannot_be_saved(void **state)
{
	passes("root:vm('a', 'tiny'):boot() local l = root:lab('l') l:vm('b', 'tiny') l:vm('c', "
	       "'tiny'):boot():shutdown() "
	       "fails('lab:snapshot: vm `l/b` is created, not booted\\nvm `l/c` is shutdown, not "
	       "booted (cannot snapshot); boot all VMs of the lab first', root.snapshot, root) "
	       "l:remove('b') l:remove('c') root:snapshot()");
	passes("root:lab('l'):vm('b', 'tiny', {kernel_cmdline_append = 'streams'}):boot() "
	       "fails('lab:snapshot: 2 stream(s) still open\\nvm `l/b`: 2 stream(s) open\\nclose "
	       "streams before the snapshot', root.snapshot, root)");
	passes("root:vm('\\xff', 'tiny'):boot() fails('lab:snapshot: the name of a VM is not UTF-8 "
	       "text', root.snapshot, root)");
	passes("root:lab('\\xff') fails('lab:snapshot: the name of a lab is not UTF-8 text', "
	       "root.snapshot, root)");
	passes(
	    "fails('lab:snapshot: directory must be a string, got number', root.snapshot, root, 5) "
	    "fails('lab:restore: snapshot must be a LabSnapshot or a directory, got nil', "
	    "root.restore, root, nil) fails('lab:restore: directory must not be empty', "
	    "root.restore, root, '')");
}

static void the_directory(void **state)
{
	passes(WORLD
	    "t:assert_eq(root:snapshot(dir), dir) t:assert_eq(list(dir), 'a.snap dc1_rack_db.snap "
	    "dc1_web.snap lab.json ') t:assert_eq(beside(), dir .. ' ') "
	    "local j = json.decode(get()) t:assert_eq(j.version, 1) t:assert_eq(#j.bridges, 0) "
	    "t:assert_eq(j.vms[1].vm_name, 'a') t:assert_eq(j.vms[1].snapshot_path, 'a.snap') "
	    "t:assert_eq(j.vms[1].memory, 64 << 20) t:assert_eq(j.vms[1].cpus, 2) "
	    "t:assert_eq(j.vms[1].profile, 'tiny') t:assert_eq(j.vms[2].vm_name, 'dc1/web') "
	    "t:assert_eq(j.vms[3].vm_name, 'dc1/a') t:assert_eq(j.vms[3].same_as[1], 'a') "
	    "t:assert_eq(j.vms[4].vm_name, 'dc1/rack/db') t:assert_eq(#j.labs, 4)");
	/* Moved, and restored elsewhere: what was one is one again. */
	passes(WORLD "root:snapshot(dir) sh('mv ' .. dir .. ' ' .. dir .. '2') dir = dir .. '2' "
		     "local l = root:lab('copy') t:assert_eq(l:restore(dir), l) "
		     "t:assert_eq(states(l.a, l.dc1.web, l.dc1.rack.db), 'booted booted booted') "
		     "t:assert_eq(l.dc1.a, l.a) t:assert_eq(l.dc2.dc1, l.dc1) t:assert_neq(l.a, a) "
		     "t:assert_eq(tostring(l), 'lab(copy; 1 vm(s))')");
	/* An old one and an empty directory are replaced, nothing else is. */
	passes("root:vm('a', 'tiny'):boot() root:snapshot(dir) root:vm('b', 'tiny'):boot() "
	       "root:snapshot(dir .. '/') t:assert_eq(list(dir), 'a.snap b.snap lab.json ') "
	       "root:remove('a') root:snapshot(dir) t:assert_eq(list(dir), 'b.snap lab.json ') "
	       "put('precious', 'x') fails('holds other things than a snapshot of a lab; give one "
	       "that is new or empty', root.snapshot, root, dir) t:assert_eq(beside(), dir .. ' ') "
	       "t:assert_eq(list(dir), 'b.snap lab.json precious ') "
	       "sh('rm ' .. dir .. '/*') root:snapshot(dir) t:assert_eq(list(dir), 'b.snap "
	       "lab.json ') sh('rm ' .. dir .. '/lab.json') fails('holds other things', "
	       "root.snapshot, root, dir)");
	passes(
	    "root:vm('a', 'tiny'):boot() fails('No such file or directory', root.snapshot, root, "
	    "dir .. '/x') sh('touch ' .. dir) fails('Not a directory', root.snapshot, root, dir)");
	/* Nothing is left behind when the disk is full. */
	passes(
	    "root:vm('a', 'tiny'):boot() root:vm('unwritten', 'tiny'):boot() "
	    "fails('unwritten.snap`: cannot be written: No space left on device', root.snapshot, "
	    "root, dir) t:assert_contains(beside(), 'No such file') "
	    "root:remove('unwritten') root:snapshot(dir) root:vm('unwritten2', 'tiny'):boot() "
	    "fails('No space left', root.snapshot, root, dir) t:assert_eq(list(dir), 'a.snap "
	    "lab.json ') t:assert_eq(beside(), dir .. ' ')");
}

static void names_do_not_collide(void **state)
{
	passes("local names = {'a_b', 'a/b', 'a b', '..', '.', 'x\\ny', 'lab.json', "
	       "('long'):rep(100), ('long'):rep(101), ('\\u{e4}'):rep(150)} "
	       "for _, n in ipairs(names) do root:vm(n, 'tiny'):boot() end "
	       "root:lab('a'):vm('b', 'tiny'):boot() root:lab('a_b-2'):vm('x', 'tiny'):boot() "
	       "root:vm('a_b-2', 'tiny'):boot() root:snapshot(dir) "
	       "t:assert_eq(tonumber(sh('ls -A ' .. dir .. ' | wc -l')), 15) "
	       "local l = root:lab('copy') l:restore(dir) for _, n in ipairs(names) do "
	       "t:assert_eq(l:vm(n):state(), 'booted') end t:assert_eq(l.a.b:state(), 'booted') "
	       "t:assert_neq(l.a.b, l['a/b']) t:assert_eq(l['a_b-2']:state(), 'booted')");
}

static void restoring_is_additive(void **state)
{
	passes(WORLD "local s = dc:snapshot() local l = root:lab('l') local other = l:vm('other', "
		     "'tiny') local rack = l:lab('rack') t:assert_eq(l:restore(s), l) "
		     "t:assert_eq(other:state(), 'created') t:assert_eq(l.rack, rack) "
		     "t:assert_eq(rack.db:state(), 'booted') t:assert_neq(rack.db, d)");
	passes("local l = root:lab('l') local s = l:snapshot() root:restore(s) "
	       "t:assert_eq(#root:members(), 1)");
}

static void restoring_in_place(void **state)
{
	passes(WORLD
	    "local s = root:snapshot() w:shutdown() d:pause() t:assert_eq(root:restore(s), root) "
	    "t:assert_eq(states(a, w, d), 'booted booted booted') t:assert_eq(root.a, a) "
	    "t:assert_eq(dc.web, w) t:assert_eq(#root:members(), 3) "
	    /* One is gone from the lab and is made anew. */
	    "dc:remove(w) root:restore(s) t:assert_neq(dc.web, w) t:assert_eq(dc.web:state(), "
	    "'booted') "
	    /* Paused guests run afterwards. */
	    "root:pause() fails('name `dc1/web` already used', root.restore, root, s) s = "
	    "root:snapshot() root:resume() root:restore(s) t:assert_eq(states(a, d), 'booted "
	    "booted')");
	/* All are back before the first goes on. */
	fake_template_log[0] = '\0';
	passes("root:vm('a', 'tiny'):boot() root:vm('b', 'tiny'):boot() local s = root:snapshot() "
	       "root:remove('b') root:restore(s)");
	assert_non_null(strstr(fake_template_log, "build b;back a;go a;go b;"));
}

static void the_date_may_be_the_hosts(void **state)
{
	passes("root:vm('a', 'tiny'):boot() root:vm('b', 'tiny'):boot() local s = root:snapshot() "
	       "root:remove('b') t:assert_eq(root:restore(s, {clock = 'now'}), root)");
	assert_non_null(strstr(fake_template_log, "build now b;back now a;"));
	passes(
	    "local a = root:vm('a', 'tiny'):boot() root:snapshot(dir) root:lab('l'):restore(dir, "
	    "{clock = 'now'}) root:lab('m'):restore(dir, {})");
	assert_non_null(strstr(fake_template_log, "build now a;go a;build a;go a;"));
	passes(
	    "root:vm('a', 'tiny'):boot() local s = root:snapshot() "
	    "fails('lab:restore: opts.clock must be \"now\", got `then`', root.restore, root, s, "
	    "{clock = 'then'}) "
	    "fails('lab:restore: opts.clock must be \"now\", got boolean', root.restore, root, "
	    "dir, {clock = true}) "
	    "fails('lab:restore: opts must be a table', root.restore, root, s, 'now')");
	assert_null(strstr(fake_template_log, "back"));
}

static void names_of_others_are_refused(void **state)
{
	passes(WORLD
	    "local s = root:snapshot() dc:remove(w) local new = dc:vm('web', 'tiny') d:shutdown() "
	    "fails('lab:restore: vm name `dc1/web` already used in this lab, by another one than "
	    "was saved; take it out with lab:remove', root.restore, root, s) "
	    "t:assert_eq(states(a, new, d), 'booted created shutdown')");
	/* A directory does not know whose it is. */
	passes(
	    WORLD "root:snapshot(dir) fails('vm name `a` already used in this lab', root.restore, "
		  "root, dir) t:assert_eq(states(a, w, d), 'booted booted booted') "
		  "root:remove('a') fails('vm name `dc1/web` already used', root.restore, root, "
		  "dir) t:assert_eq(root.a, nil)");
	passes(WORLD "local s = root:snapshot() root:remove('dc2') local other = root:lab('dc2') "
		     "other:lab('dc1') fails('sub-lab name `dc2/dc1` already used in this lab, by "
		     "another', root.restore, root, s)");
	rig_expect("local v = provium:vm('v', 'tiny'):boot() local s = provium:snapshot()\n"
		   "local l = provium:lab('l')\n"
		   "test('a', function(t) local ok, e = pcall(provium.restore, provium, s) "
		   "t:assert_contains(e, 'lab:restore: vm `v`: name already declared at a parent "
		   "scope (lab `provium`)') t:assert_eq(#provium:members(), 0) end)\n"
		   "local s2 = provium:snapshot()\n"
		   "test('b', function(t) v:shutdown() l:restore(s) t:assert_eq(v:state(), "
		   "'shutdown') t:assert_eq(l.v:state(), 'booted') end)\n",
	    "passed a\n", "passed b\n", NULL);
}

static void failures_take_back(void **state)
{
	static const char *const bad[] = {"unbuilt", "unmoved"};
	static const char *const sentence[] = {
	    "vm `unbuilt`: cannot restore: no more machines; nothing was changed",
	    "vm `unmoved`: restore: the guest died"};
	for (size_t i = 0; i < 2; i++) {
		struct pv_bytes body = {0};
		pv_bytes_printf(&body,
		    "local l = root:lab('l') local a = l:vm('a', 'tiny'):boot() local s = "
		    "l:lab('in') s:vm('%s', 'tiny'):boot() s:include(a) l:lab('too'):include(s) "
		    "root:snapshot(dir) root:remove('l') "
		    "fails('lab:restore: %s', root.restore, root, dir) "
		    "t:assert_eq(#root:members(), 0) t:assert_eq(a:state(), 'booted') "
		    "root:vm('l', 'tiny') root:lab('l')",
		    bad[i], sentence[i]);
		passes(pv_bytes_text(&body));
		pv_bytes_finish(&body);
	}
	/* What can be known before is known before: nobody is touched. */
	passes("local a, u = root:vm('a', 'tiny'):boot(), root:vm('unprepared', 'tiny'):boot() "
	       "local c = root:vm('c', 'tiny'):boot() root:vm('d', 'tiny'):boot() local s = "
	       "root:snapshot() root:remove('d') c:pause() u:shutdown() fails('lab:restore: vm "
	       "`unprepared`: cannot go back to its baseline: no room; nothing was changed', "
	       "root.restore, root, s) t:assert_eq(states(a, u, c), 'booted shutdown paused') "
	       "t:assert_eq(root.d, nil)");
	assert_null(strstr(fake_template_log, "back "));
	assert_non_null(strstr(fake_template_log, "stay a;stay unprepared;stay c;"));
	/* And what fails later concerns that one alone. */
	passes("local a, u = root:vm('a', 'tiny'):boot(), root:vm('unreturned', 'tiny'):boot() "
	       "local c = root:vm('c', 'tiny'):boot() root:vm('d', 'tiny'):boot() local s = "
	       "root:snapshot() root:remove('d') c:pause() fails('lab:restore: vm `unreturned`: "
	       "cannot go back to its baseline; it is dead, 2 other VM(s) of the snapshot went "
	       "back, and nothing was made', root.restore, root, s) t:assert_eq(states(a, u, c), "
	       "'booted dead booted') t:assert_eq(root.d, nil)");
}

static void lab_snapshots(void **state)
{
	passes(WORLD
	    "local s = root:snapshot() t:assert_eq(s:path(), s:path()) "
	    "t:assert_eq(list(s:path()), 'a.snap dc1_rack_db.snap dc1_web.snap lab.json ') "
	    "local sum = 0 for n in sh('stat -c %s ' .. s:path() .. '/*'):gmatch('%d+') do sum = "
	    "sum + n end t:assert_eq(s:size(), sum) t:assert(sum > 0) "
	    "root:lab('c'):restore(s:path()) local p = s:path() s:delete() s:delete() "
	    "t:assert_eq(s:size(), 0) t:assert_contains(list(p .. '/lab.json'), 'ls: ') "
	    "fails('it was deleted; take a new one', root.restore, root, s)");
	passes("local s = root:snapshot() s:delete() fails('deleted before it had a path', s.path, "
	       "s) fails('snapshot:size: expected a LabSnapshot', s.size, root)");
	passes("local s = root:snapshot() local p = s:path() local gc = debug.getmetatable(s).__gc "
	       "gc(s) gc(s) gc({}) t:assert_contains(list(p .. '/lab.json'), 'ls: ') fails('this "
	       "handle is "
	       "released', s.path, s) fails('this snapshot is released', root.restore, root, s)");
	passes("root:vm('unwritten', 'tiny'):boot() local s = root:snapshot() for i = 1, 3 do "
	       "fails('No space left', s.path, s) fails('No space left', s.size, s) end");
}

static void hostile_directories(void **state)
{
	passes(
	    "fails('lab.json`: No such file', root.restore, root, '/nowhere') "
	    "root:vm('a', 'tiny'):boot() root:snapshot(dir) root:remove('a') local good = get() "
	    "local function bad(text, from, to) local s, n = good:gsub(from, to) assert(n > 0) "
	    "put('lab.json', s) fails('lab:restore: ', root.restore, root, dir) fails(text, "
	    "root.restore, root, dir) t:assert_eq(#root:members(), 0) end "
	    "bad('lab.json`: line 1: ', '^{', '') "
	    "bad('its format has version 2, and this provium reads version 1', '\"version\":1', "
	    "'\"version\":2') "
	    "bad('its `snapshot_path` is not the name of a file', 'a%.snap', '../a.snap') "
	    "bad('a.snap`: its guest has other memory or cpus', '\"cpus\":1', '\"cpus\":2') "
	    "bad('profile `nope` not in provium.toml', 'tiny', 'nope') "
	    "bad('b.snap`: cannot be opened: No such file', 'a%.snap', 'b.snap') "
	    "bad('lab.json`: this is no snapshot', 'a%.snap', 'lab.json') "
	    "put('lab.json', good) put('a.snap', 'hello') fails('a.snap`: this is no snapshot', "
	    "root.restore, root, dir) sh('cd ' .. dir .. ' && rm a.snap && ln -s lab.json a.snap') "
	    "fails('a.snap`: not a regular file', root.restore, root, dir)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_stand_still_together),
	    cmocka_unit_test(what_cannot_be_saved),
	    cmocka_unit_test(the_directory),
	    cmocka_unit_test(names_do_not_collide),
	    cmocka_unit_test(restoring_is_additive),
	    cmocka_unit_test(restoring_in_place),
	    cmocka_unit_test(the_date_may_be_the_hosts),
	    cmocka_unit_test(names_of_others_are_refused),
	    cmocka_unit_test(failures_take_back),
	    cmocka_unit_test(lab_snapshots),
	    cmocka_unit_test(hostile_directories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
