/*
 * The reference of the test language: running programs. What is written here is what users read, so
 * a change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("RunOptions", "args", OPTION, "string[]",
	"Arguments, given as they are; without it the command is a text for the shell.", "0.1"),
    ENTRY("RunOptions", "env", OPTION, "{NAME = value}",
	"Environment variables, added to the agent's.", "0.1"),
    ENTRY("RunOptions", "env_clear", OPTION, "boolean", "Starts from an empty environment.", "0.1"),
    ENTRY("RunOptions", "cwd", OPTION, "string", "The working directory.", "0.1"),
    ENTRY("RunOptions", "stdin", OPTION, "string", "Standard input; empty when not given.", "0.1"),
    ENTRY("RunOptions", "timeout", OPTION, "number|string",
	"After this long the whole process group is killed and the result says `timed_out`.",
	"0.1"),
    ENTRY("RunOptions", "timeout_ms", OPTION, "number", "The same in milliseconds; `timeout` wins.",
	"0.1"),

    ENTRY("RunResult", "exit_code", FIELD, "integer",
	"The exit code; -1 when a signal ended it, -2 when it timed out.", "0.1"),
    ENTRY("RunResult", "stdout", FIELD, "string", "All of its standard output.", "0.1"),
    ENTRY("RunResult", "stderr", FIELD, "string", "All of its standard error.", "0.1"),
    ENTRY("RunResult", "status", FIELD, "string", "`exited`, `signalled` or `timed_out`.", "0.1"),
    ENTRY("RunResult", "timed_out", FIELD, "boolean", "True when the time limit ended it.", "0.1"),
    ENTRY("RunResult", "signal", FIELD, "integer?",
	"The number of the signal that ended it, else nil.", "0.1"),
    ENTRY("RunResult", "ok", METHOD, "result:ok() -> boolean", "True when the exit code is 0.",
	"0.1"),
    ENTRY("RunResult", "assert_ok", METHOD, "result:assert_ok() -> RunResult",
	"Raises an error with status and outputs unless the exit code is 0; returns the result.",
	"0.1"),
};

const struct pv_reference_table pv_reference_run = PV_REFERENCE_TABLE(entries);
