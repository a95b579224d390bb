/*
 * The reference of the test language: tests: globals, json, the context, meta. What is written here
 * is what users read, so a change of behaviour changes its entry in the same commit. Constant, any
 * thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("global", "provium", FIELD, "provium: Lab",
	"The lab of the present scope: the file's while the file is loaded, the test's own inside "
	"of a test body. What is created in a test's lab is closed "
	"when the test ends; names of the file's lab are found from there, too.",
	"0.1"),
    ENTRY("global", "test", FUNCTION, "test(name, [meta,] fn)",
	"Registers a test. `name` is unique in the file, `meta` a table (see Meta), `fn` gets the "
	"context `t`. The bodies run after the whole file has been "
	"loaded, in the order of registration.",
	"0.1"),
    ENTRY("global", "todo", FUNCTION, "todo(reason?)",
	"Reports every test of the file as skipped with this reason (`todo` when none is given); "
	"no body runs. Only outside of tests.",
	"0.1"),
    ENTRY("global", "wait_until", FUNCTION, "wait_until(predicate, opts?) -> value",
	"Calls `predicate` until it returns something true, and returns that. `opts` are `timeout` "
	"(10 seconds), `interval` (0.1 seconds) and `desc` (for "
	"the text of the error when time is up); times are seconds or strings such as `\"200ms\"`. "
	"An error of the predicate ends the wait.",
	"0.1"),
    ENTRY("global", "json", FIELD, "json: table", "JSON: `json.encode` and `json.decode`.", "0.1"),

    ENTRY("json", "encode", FUNCTION, "json.encode(value) -> string",
	"Writes a value as JSON. A table whose keys are all positive integers is an array with "
	"null in its holes, the empty table is `{}`, others are objects "
	"with keys in order. NaN and the infinities are null. A byte that is not part of a UTF-8 "
	"character becomes U+FFFD.",
	"0.1"),
    ENTRY("json", "decode", FUNCTION, "json.decode(text) -> value",
	"Reads JSON. Integers that fit become integers, other numbers floats, null becomes nil: a "
	"member that is null vanishes, an element leaves a hole. "
	"Errors give line and column.",
	"0.1"),

    ENTRY("Test", "name", FIELD, "string", "The test's name.", "0.1"),
    ENTRY(
	"Test", "meta", FIELD, "table", "The meta table given to `test`, or an empty one.", "0.1"),
    ENTRY("Test", "assert", METHOD, "t:assert(cond, msg?)",
	"Fails the test when `cond` is false or nil. A failure stays, even when pcall catches the "
	"error.",
	"0.1"),
    ENTRY("Test", "assert_eq", METHOD, "t:assert_eq(a, b, msg?)", "Fails unless `a == b`.", "0.1"),
    ENTRY(
	"Test", "assert_neq", METHOD, "t:assert_neq(a, b, msg?)", "Fails unless `a ~= b`.", "0.1"),
    ENTRY("Test", "assert_contains", METHOD, "t:assert_contains(hay, needle, msg?)",
	"Fails unless the string `hay` contains the plain text `needle`.", "0.1"),
    ENTRY("Test", "assert_raises", METHOD, "t:assert_raises(fn, msg?) -> error",
	"Calls `fn` and returns the error that it raises; fails when it raises none. Failures "
	"inside of a `fn` that raised do not count.",
	"0.1"),
    ENTRY("Test", "fail", METHOD, "t:fail(msg?)", "Fails the test.", "0.1"),
    ENTRY("Test", "skip", METHOD, "t:skip(reason)", "Ends the test as skipped.", "0.1"),
    ENTRY("Test", "log", METHOD, "t:log(value)", "Adds a line to the test's log.", "0.1"),

    ENTRY("Meta", "expect_oops", OPTION, "boolean",
	"A panic, oops, BUG, lockdep, hung-task or stall report on the console of a guest fails "
	"the "
	"test that runs and ends the operation that waits for this guest. With true it is a line "
	"of "
	"the test's log instead, and only a panic ends what waits for its guest. Reports are then "
	"allowed, not demanded: a test that needs one waits for its text with `console:expect`.",
	"0.1"),
    ENTRY("Meta", "skip", OPTION, "boolean|string",
	"True or a reason: the test is reported as skipped and does not run.", "0.1"),
    ENTRY("Meta", "slow", OPTION, "boolean", "The test runs with `--include-slow` only.", "0.1"),
    ENTRY("Meta", "timeout", OPTION, "number|string",
	"Limit for this test; wins over `provium.timeout`; 0 is no limit.", "0.1"),
};

const struct pv_reference_table pv_reference_test = PV_REFERENCE_TABLE(entries);
