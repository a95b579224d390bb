/*
 * The reference of the test language: programs in the background. What is written here is what
 * users read, so a change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("Process", "wait", METHOD, "proc:wait(timeout?) -> RunResult",
	"Closes its standard input, waits for its end, and returns all that it wrote from the "
	"beginning. After `timeout` the whole process group is killed and the result says "
	"`timed_out`; 0 is refused. One-shot: a second wait is an error.",
	"0.1"),
    ENTRY("Process", "status", METHOD, "proc:status() -> string",
	"`running` or `exited`, without waiting; `unknown` once it was waited for or closed.",
	"0.1"),
    ENTRY("Process", "kill", METHOD, "proc:kill(signal?)",
	"Sends a signal, `term` when none is given, to the program and not to its group. "
	"Nothing happens when it has ended.",
	"0.1"),
    ENTRY("Process", "signal", METHOD, "proc:signal(signal)",
	"Sends a signal by name (`\"hup\"`, `\"SIGRTMIN+1\"`) or number.", "0.1"),
    ENTRY("Process", "stdin_write", METHOD, "proc:stdin_write(data) -> integer",
	"Writes to its standard input and waits until it is in the pipe; returns the number of "
	"bytes. An error when nobody can read it any more.",
	"0.1"),
    ENTRY("Process", "close_stdin", METHOD, "proc:close_stdin()",
	"The program sees the end of its standard input after all that was written.", "0.1"),
    ENTRY("Process", "stdout_stream", METHOD, "proc:stdout_stream() -> Tail",
	"Follows its standard output from the first byte on; at its end when nobody can write it "
	"any more. Open it before `proc:wait`, which gives all output as well.",
	"0.1"),
    ENTRY("Process", "stderr_stream", METHOD, "proc:stderr_stream() -> Tail",
	"The same for its standard error.", "0.1"),
    ENTRY("Process", "pid", METHOD, "proc:pid() -> integer", "Its process number in the guest.",
	"0.1"),
    ENTRY("Process", "handle", METHOD, "proc:handle() -> integer",
	"The number by which the guest's agent knows it.", "0.1"),
    ENTRY("Process", "close", METHOD, "proc:close()",
	"Ends it: SIGTERM for its group, and SIGKILL two seconds later or when its first program "
	"has ended. Nothing after `proc:wait`. What is open at the end of a test is closed.",
	"0.1"),
};

const struct pv_reference_table pv_reference_process = PV_REFERENCE_TABLE(entries);
