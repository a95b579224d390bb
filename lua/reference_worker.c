/*
 * The reference of the test language: workers. What is written here is what users read, so a change
 * of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("WorkerOptions", "thread", OPTION, "boolean",
	"A worker is a process; true is not yet supported and an error.", "0.1"),

    ENTRY("Worker", "kill", METHOD, "worker:kill(signal?)",
	"Sends a signal, `term` when none is given, to each program that it has in the background. "
	"Works also while a system call of the worker blocks.",
	"0.1"),
    ENTRY("Worker", "join", METHOD, "worker:join() -> integer",
	"Ends the worker and returns the largest exit status of the programs that it had in the "
	"background (128 and the signal for killed ones, 0 for none). Waits up to two seconds for "
	"those that `worker:kill` told to end; others run on as orphans.",
	"0.1"),
    ENTRY("Worker", "handle", METHOD, "worker:handle() -> integer",
	"The number by which the guest's agent knows it.", "0.1"),
    ENTRY("Worker", "close", METHOD, "worker:close()",
	"Ends its programs and then the worker; never an error. What is open at the end of a test "
	"is closed.",
	"0.1"),
};

const struct pv_reference_table pv_reference_worker = PV_REFERENCE_TABLE(entries);
