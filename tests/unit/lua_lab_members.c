/*
 * lua/lab_members.c, lab/lab_members.c: sub-labs, including, forgetting, dot access, and what a
 * handle says when its scope is over (spec sections 5.2, 6.1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lua_rig.h"

static void sub_labs(void **state)
{
	rig_passes("local a = provium:lab('dc1') t:assert_eq(a:name(), 'dc1') "
		   "t:assert_eq(provium:lab('dc1'), a) t:assert_eq(provium.dc1, a) "
		   "t:assert_eq(tostring(a), 'lab(dc1; 0 vm(s))') "
		   "t:assert_eq(provium:lab():name(), '__lab_0') "
		   "t:assert_eq(provium:lab(nil):name(), '__lab_1') "
		   "t:assert_eq(a:lab():name(), '__lab_0') "
		   "t:assert_eq(table.concat(provium:sub_lab_names(), ' '), '__lab_0 __lab_1 dc1') "
		   "t:assert_eq(#provium:bridge_names(), 0)");
	rig_passes("provium:lab('__lab_0') t:assert_eq(provium:lab():name(), '__lab_1')");
	rig_fails("provium:lab('vm_fixture')", "sub-lab name `vm_fixture` is reserved");
	rig_fails("provium:lab('')", "lab:lab: name must not be empty");
	rig_fails("provium:lab(5)", "lab:lab: name must be a string, got number");
	rig_fails("provium.lab('a')", "lab:lab: expected a Lab before the arguments, got string");
	rig_passes("provium:vm('x', 'tiny') local l = provium:lab('x') t:assert_eq(provium.x, "
		   "provium:vm('x')) t:assert_neq(provium.x, l)");
}

static void sub_labs_have_no_enclosing_scope(void **state)
{
	rig_passes("provium:vm('v', 'tiny') local a = provium:lab('a') "
		   "t:assert_eq(a.v, nil) local ok, e = pcall(a.vm, a, 'v') "
		   "t:assert_contains(e, 'no vm named `v` in this lab') "
		   "local w = a:vm('v', 'tiny') t:assert_neq(w, provium.v) t:assert_eq(a.v, w) "
		   "t:assert_eq(a.a, nil) local b = a:lab('a') t:assert_eq(a.a, b) "
		   "t:assert_eq(a:sub_lab_names()[1], 'a')");
	rig_fails("provium:lab('a'):vm('v', 'nope')", "profile `nope` not in provium.toml");
}

static void lookups_walk_outwards(void **state)
{
	rig_expect("local dc = provium:lab('dc1') local v = dc:vm('v', 'tiny')\n"
		   "test('a', function(t) t:assert_eq(provium.dc1, dc) t:assert_eq(provium.dc1.v, "
		   "v) t:assert_eq(#provium:sub_lab_names(), 0) end)\n"
		   "test('b', function(t) provium:lab('dc1') end)\n"
		   "test('c', function(t) provium:include(dc) end)\n"
		   "test('d', function(t) provium:vm('out', 'tiny') provium:lab('out') end)\n"
		   "test('e', function(t) provium:include(provium:vm('root')) end)\n"
		   "provium:vm('root', 'tiny')",
	    "passed a\n", "failed b: ",
	    ":3: lab `dc1`: sub-lab name already declared at a parent scope (lab "
	    "`provium`); use provium[\"dc1\"] to look it up",
	    "failed c: ", ":4: lab:include: lab `dc1`: sub-lab name already declared at a parent",
	    "passed d\n", "failed e: ",
	    "lab:include: vm `root`: name already declared at a parent scope (lab `provium`)",
	    NULL);
}

static void members_in_order(void **state)
{
	rig_passes(
	    "provium:lab('z') provium:vm('b', 'tiny') provium:vm('a', 'tiny') provium:lab('y') "
	    "local out = {} for _, m in ipairs(provium:members()) do out[#out + 1] = m.kind .. "
	    "':' .. m.name end t:assert_eq(table.concat(out, ' '), 'vm:b vm:a sub_lab:z "
	    "sub_lab:y') "
	    "t:assert_eq(tostring(provium), 'lab(test:it; 2 vm(s))') "
	    "t:assert_eq(table.concat(provium:vm_names(), ' '), 'a b')");
}

static void including(void **state)
{
	rig_passes("local v, w = provium:vm('v', 'tiny'), provium:vm('w', 'tiny') "
		   "local a, b = provium:lab('a'), provium:lab('b') a:include(v) "
		   "t:assert_eq(a.v, v) t:assert_eq(a:vm('v'), v) "
		   "b:include({v, w, a}) t:assert_eq(b.a.v, v) t:assert_eq(b.w, w) b:lab('c') "
		   "b:include({}) t:assert_eq(#b:members(), 4)");
	rig_fails("local v = provium:vm('v', 'tiny') provium:include(v)",
	    "lab:include: vm name `v` already used in this lab");
	rig_fails("local a = provium:lab('a') a:lab('b') a:include(provium:lab('b'))",
	    "lab:include: sub-lab name `b` already used in this lab");
	rig_fails("local v = provium:lab('a'):vm('v', 'tiny') local b = provium:lab('b') "
		  "b:vm('v', 'tiny') b:include(v)",
	    "vm name `v` already used in this lab");
	static const char *const wrong[] = {"5", "'v'", "nil", "json.encode"};
	static const char *const types[] = {"number", "string", "nil", "function"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct pv_bytes body = {0}, want = {0};
		pv_bytes_printf(&body, "provium:include(%s)", wrong[i]);
		pv_bytes_printf(
		    &want, "lab:include: expected vm, bridge, or lab userdata, got %s", types[i]);
		rig_fails(pv_bytes_text(&body), pv_bytes_text(&want));
		pv_bytes_finish(&body);
		pv_bytes_finish(&want);
	}
	rig_fails("provium:include({5})", "array entries must be userdata, got number at 1");
	rig_fails("local v = provium:lab('a'):vm('v', 'tiny') provium:include({v, 'x'})",
	    "array entries must be userdata, got string at 2");
	rig_fails("local v = provium:vm('v', 'tiny'):boot() provium:include({v:console()})",
	    "lab:include: expected vm, bridge, or lab userdata, got Console at 1");
	/* All or none. */
	rig_passes("local a, b = provium:lab('a'), provium:lab('b') local v = a:vm('v', 'tiny') "
		   "b:vm('w', 'tiny') local w = a:vm('w', 'tiny') "
		   "t:assert(not pcall(b.include, b, {v, a, w})) t:assert_eq(#b:members(), 1) "
		   "t:assert_eq(b.v, nil) t:assert_eq(b.a, nil) "
		   "t:assert(not pcall(b.include, b, {v, 7})) t:assert_eq(#b:members(), 1)");
}

static void no_circles(void **state)
{
	rig_fails("local a = provium:lab('a') a:include(a)",
	    "lab:include: lab `a` cannot be a member of lab `a`, which is inside of it");
	rig_fails("local a = provium:lab('a') local c = a:lab('b'):lab('c') c:include(a)",
	    "lab `a` cannot be a member of lab `c`, which is inside of it");
	rig_fails("provium:lab('a'):include(provium)",
	    "lab `test:it` cannot be a member of lab `a`, which is inside of it");
	rig_expect("local root = provium test('a', function(t) provium:include(root) end)",
	    "lab `provium` cannot be a member of lab `test:a`, which is inside of it", NULL);
	/* As deep as memory allows, and no stack is used up. */
	rig_passes("local l = provium for i = 1, 1000 do l = l:lab('x') end l:vm('v', 'tiny') "
		   "provium:boot() t:assert_eq(l.v:state(), 'booted')");
	rig_fails("for i = 1, 1100 do provium:lab() end",
	    "lab `__lab_1024`: one test file can have at most 1024 sub-labs at a time");
}

static void forgetting(void **state)
{
	rig_passes("local v = provium:vm('v', 'tiny'):boot() provium:remove('v') "
		   "t:assert_eq(provium.v, nil) t:assert_eq(v:state(), 'booted') "
		   "local w = provium:vm('v', 'tiny') provium:remove(w) provium:include(v) "
		   "local l = provium:lab('v') provium:remove('v') t:assert_eq(provium.v, l) "
		   "provium:remove('v') t:assert_eq(provium.v, nil) provium:include(l) "
		   "provium:remove(l) t:assert_eq(#provium:members(), 0) "
		   "t:assert_eq(l:vm('x', 'tiny'):boot():state(), 'booted')");
	rig_fails("provium:remove('x')",
	    "lab:remove: no vm, bridge or sub-lab named `x` directly in this lab");
	rig_fails("local v = provium:lab('a'):vm('v', 'tiny') provium:remove(v)",
	    "lab:remove: vm `v` is not directly in this lab");
	rig_fails("local b = provium:lab('a'):lab('b') provium:remove(b)",
	    "lab:remove: lab `b` is not directly in this lab");
	rig_fails("provium:remove()",
	    "lab:remove: expected a name, or vm, bridge, or lab userdata, got no value");
	rig_expect("provium:vm('v', 'tiny') test('a', function(t) provium:remove('v') end)",
	    "no vm, bridge or sub-lab named `v` directly in this lab", NULL);
}

static void the_end_of_a_scope(void **state)
{
	/* What was made in a test is closed with it, wherever it is a member by then. */
	rig_expect(
	    "local outer = provium:lab('outer') local root = provium local kept, lab, moved, sub\n"
	    "test('a', function(t) lab = provium:lab('inner') kept = lab:vm('v', 'tiny'):boot()\n"
	    " moved = provium:vm('m', 'tiny'):boot() provium:remove(moved)\n"
	    " outer:include({kept, lab}) root:include(moved)\n"
	    " sub = outer:lab('late') sub:vm('s', 'tiny'):boot() end)\n"
	    "test('b', function(t)\n"
	    " t:assert_eq(kept:state(), 'shutdown') t:assert_eq(moved:state(), 'shutdown')\n"
	    " t:assert_eq(outer.v, nil) t:assert_eq(outer.inner, nil) t:assert_eq(root.m, nil)\n"
	    " t:assert_eq(tostring(lab), 'lab(closed)')\n"
	    " for _, f in ipairs({'vm', 'lab', 'name', 'boot', 'members', 'remove', 'barrier'}) "
	    "do\n"
	    "  local ok, e = pcall(lab[f], lab) t:assert_contains(e, 'lab:' .. f .. ': this lab is "
	    "closed, its test is over') end\n"
	    " local ok, e = pcall(function() return lab.v end) t:assert_contains(e, 'v: this lab "
	    "is "
	    "closed')\n"
	    " local ok, e = pcall(outer.include, outer, lab) t:assert_contains(e, 'lab:include: "
	    "this lab is closed')\n"
	    " t:assert_eq(outer.late, sub) t:assert_eq(sub.s:state(), 'booted')\n"
	    " t:assert_eq(provium:lab('inner'):name(), 'inner') end)\n",
	    "passed a\n", "passed b\n", NULL);
	/* A finalizer that runs when the file is over. */
	rig_expect(
	    "local l = provium:lab('l') setmetatable({}, {__gc = function() warn(tostring(l) "
	    ".. ' ' .. select(2, pcall(l.name, l))) end})",
	    "note: lua warning: lab(closed) ", "lab:name: this lab is closed, its file is over",
	    NULL);
	rig_passes("local l = provium:lab('l') local gc = debug.getmetatable(l).__gc gc(l) gc(l) "
		   "gc({}) t:assert_eq(tostring(l), 'lab(closed)') collectgarbage() "
		   "t:assert(not pcall(l.name, l))");
	/* The excerpt shows guests of sub-labs. */
	struct lua_rig rig;
	rig_init(&rig);
	rig_run(&rig, "test('a', function(t) provium:lab('l'):vm('deep', 'tiny'):boot() t:fail() "
		      "end)");
	assert_string_equal(
	    pv_bytes_text(&rig.console), "---- vm deep (last 14 bytes) ----\nboot of deep\r\n");
	rig_finish(&rig);
}

static void settings_are_the_files(void **state)
{
	rig_expect("provium:lab('a').timeout = 5",
	    "cannot set `timeout` of lab `a`: only the file's "
	    "lab has settings; assign `provium.timeout`",
	    NULL);
	rig_expect(
	    "provium.timeout = 5 assert(provium:lab('a').timeout == 5)", "result: passed", NULL);
	rig_fails("provium:bridge('lan')", "lab:bridge: not available yet in this version");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sub_labs),
	    cmocka_unit_test(sub_labs_have_no_enclosing_scope),
	    cmocka_unit_test(lookups_walk_outwards),
	    cmocka_unit_test(members_in_order),
	    cmocka_unit_test(including),
	    cmocka_unit_test(no_circles),
	    cmocka_unit_test(forgetting),
	    cmocka_unit_test(the_end_of_a_scope),
	    cmocka_unit_test(settings_are_the_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
