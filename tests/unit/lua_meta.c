/*
 * lua/meta.h: conversion of meta tables (spec section 4), and the keys that decide whether a test
 * runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/pack.h"
#include "tests/unit/lua_rig.h"

/* The document as text: maps {k=v}, arrays [v], strings "s", binaries <n>. */
static void show(const struct pv_val *val, struct pv_bytes *out)
{
	const char *text;
	const void *data;
	size_t len;
	int64_t number = 0;
	double real = 0;
	bool flag = false;
	switch (pv_val_type(val)) {
	case PV_VAL_NIL: pv_bytes_printf(out, "nil"); break;
	case PV_VAL_BOOL:
		pv_val_bool(val, &flag);
		pv_bytes_printf(out, "%s", flag ? "true" : "false");
		break;
	case PV_VAL_INT:
		pv_val_int(val, &number);
		pv_bytes_printf(out, "%lld", (long long)number);
		break;
	case PV_VAL_FLOAT:
		pv_val_float(val, &real);
		pv_bytes_printf(out, "f%g", real);
		break;
	case PV_VAL_STR:
		pv_val_str(val, &text, &len);
		pv_bytes_printf(out, "\"%.*s\"", (int)len, text);
		break;
	case PV_VAL_BIN:
		pv_val_bytes(val, &data, &len);
		pv_bytes_printf(out, "<%zu>", len);
		break;
	case PV_VAL_ARRAY:
		pv_bytes_printf(out, "[");
		for (uint32_t i = 0; i < pv_val_count(val); i++) {
			pv_bytes_printf(out, "%s", i > 0 ? "," : "");
			show(pv_val_at(val, i), out);
		}
		pv_bytes_printf(out, "]");
		break;
	case PV_VAL_MAP:
		pv_bytes_printf(out, "{");
		for (uint32_t i = 0; i < pv_val_count(val); i++) {
			pv_bytes_printf(out, "%s", i > 0 ? "," : "");
			show(pv_val_key_at(val, i), out);
			pv_bytes_printf(out, "=");
			show(pv_val_value_at(val, i), out);
		}
		pv_bytes_printf(out, "}");
		break;
	default: pv_bytes_printf(out, "?");
	}
}

/* Registers a test with this meta expression and compares what is shipped. */
static void ships(const char *meta, const char *expected)
{
	struct lua_rig rig;
	struct pv_bytes script = {0}, shown = {0};
	struct pv_doc *doc = NULL;
	struct pv_err err = PV_ERR_INIT;
	rig_init(&rig);
	pv_bytes_printf(
	    &script, "test('a', %s%s function(t) end)", meta, meta[0] != '\0' ? "," : "");
	const char *report = rig_run(&rig, pv_bytes_text(&script));
	if (pv_doc_parse(&doc, rig.meta.data, rig.meta.len, &err) < 0)
		fail_msg("%s: %s\n%s", meta, err.text, report);
	show(pv_doc_root(doc), &shown);
	assert_string_equal(pv_bytes_text(&shown), expected);
	pv_doc_destroy(doc);
	pv_bytes_finish(&script);
	pv_bytes_finish(&shown);
	rig_finish(&rig);
}

static void values_are_converted(void **state)
{
	ships("", "{}");
	ships("{}", "{}");
	ships("{a = 1, b = true, c = false, d = 'x', e = 1.5, f = -3}",
	    "{\"a\"=1,\"b\"=true,\"c\"=false,\"d\"=\"x\",\"e\"=f1.5,\"f\"=-3}");
	ships("{spec = {'a', 'b'}, empty = {}, deep = {x = {1, {2}}}}",
	    "{\"deep\"={\"x\"=[1,[2]]},\"empty\"={},\"spec\"=[\"a\",\"b\"]}");
	ships("{b = '\\xff\\0', s = 'gr\\u{fc}n'}", "{\"b\"=<2>,\"s\"=\"gr\xc3\xbcn\"}");
	ships("{x = {1, nil, 3}}", "{\"x\"=[1,nil,3]}");
	ships("{x = {[2] = 'b', y = 1}}", "{\"x\"={\"2\"=\"b\",\"y\"=1}}");
	/* The top is a map even when it looks like an array. */
	ships("{'a', 'b', k = 1}", "{\"1\"=\"a\",\"2\"=\"b\",\"k\"=1}");
	ships("{[true] = 1, [1.5] = 2}", "{\"1.5\"=2,\"true\"=1}");
	ships("{i = math.maxinteger, j = math.mininteger}",
	    "{\"i\"=9223372036854775807,\"j\"=-9223372036854775808}");
	ships("{n = 1/0}", "{\"n\"=finf}");
}

static void what_cannot_be_shipped_is_refused(void **state)
{
	rig_expect("test('a', {f = print}, print)",
	    "chunk_error: ", ":1: test: meta: cannot ship a function", NULL);
	rig_expect("test('a', {f = provium}, print)", "cannot ship a userdata", NULL);
	rig_expect(
	    "test('a', {[print] = 1}, print)", "test: meta: unsupported key type `function`", NULL);
	rig_expect("test('a', {['\\xff'] = 1}, print)", "a key is not valid UTF-8", NULL);
	rig_expect("local m = {} m.m = m test('a', m, print)",
	    "test: meta: nested deeper than 16 levels", NULL);
	rig_expect("local m = {} m[1] = {m} test('a', {m}, print)",
	    "test: meta: nested deeper than 16 levels", NULL);
}

static void skip_is_interpreted(void **state)
{
	rig_expect("test('a', {skip = true}, error)",
	    "skipped a: skipped (meta.skip)\nresult: passed passed=0 failed=0 skipped=1", NULL);
	rig_expect("test('a', {skip = 1}, error)", "skipped a: skipped (meta.skip)\n", NULL);
	rig_expect("test('a', {skip = 'no kvm'}, error)", "skipped a: skipped: no kvm\n", NULL);
	rig_expect("test('a', {skip = ''}, error)", "skipped a: skipped: \n", NULL);
	rig_expect(
	    "test('a', {skip = '\\xff'}, error)", "skipped a: skipped: \xef\xbf\xbd\n", NULL);
	rig_expect("test('a', {skip = false}, function() end)", "passed a\n", NULL);
	rig_expect("test('a', {skip = 0}, function() end)", "passed a\n", NULL);
	rig_expect("test('a', {skip = true, slow = true}, error)",
	    "skipped a: skipped (meta.skip)\n", NULL);
}

static void slow_is_interpreted(void **state)
{
	const char *reason = "skipped a: filtered: slow tests skipped (pass --include-slow)\n";
	rig_expect("test('a', {slow = true}, error)", reason, NULL);
	rig_expect("test('a', {slow = 2}, error)", reason, NULL);
	rig_expect("test('a', {slow = 0}, function() end)", "passed a\n", NULL);
	rig_expect("test('a', {slow = false}, function() end)", "passed a\n", NULL);
	rig_expect("test('a', {slow = 'yes'}, function() end)", "passed a\n", NULL);
	struct lua_rig rig;
	rig_init(&rig);
	rig.file.filter.include_slow = true;
	assert_non_null(
	    strstr(rig_run(&rig, "test('a', {slow = true}, function() end)"), "passed a\n"));
	rig_finish(&rig);
}

static void timeout_is_checked(void **state)
{
	rig_expect("test('a', {timeout = 'soon'}, print)",
	    "chunk_error: ", "test: meta.timeout: duration: cannot parse `soon`", NULL);
	rig_expect("test('a', {timeout = -1}, print)",
	    "duration: must be a finite, non-negative number (got -1)", NULL);
	rig_expect("test('a', {timeout = 0/0}, print)",
	    "duration: must be a finite, non-negative number (got", NULL);
	rig_expect("test('a', {timeout = {}}, print)",
	    "duration: expected number|string, got table", NULL);
	rig_expect("test('a', {timeout = '5s'}, function() end)", "passed a\n", NULL);
	rig_expect("test('a', {timeout = 1e300}, function() end)", "passed a\n", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_are_converted),
	    cmocka_unit_test(what_cannot_be_shipped_is_refused),
	    cmocka_unit_test(skip_is_interpreted),
	    cmocka_unit_test(slow_is_interpreted),
	    cmocka_unit_test(timeout_is_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
