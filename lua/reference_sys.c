/*
 * The reference of the test language: names of the guest's kernel. What is written here is what
 * users read, so a change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("Lab", "sys", FIELD, "provium.sys: table",
	"Numbers and flags of the guest's kernel by their C names, with which tests need no magic "
	"numbers: `provium.sys.O_CREAT`, `provium.sys.ENOENT`, `provium.sys.openat`. Read-only; a "
	"name that it does not have is an error that offers similar ones. See sys.",
	"0.1"),

    ENTRY("sys", "nr", FIELD, "provium.sys.nr: table",
	"The numbers of system calls alone: `provium.sys.nr.openat`. `provium.sys.openat`, "
	"`SYS_openat` and `__NR_openat` are the same. Numbers and constants are those of x86-64 "
	"Linux, from the kernel headers of the machine that built this; `pairs` walks them.",
	"0.1"),
    ENTRY("sys", "errno_name", FUNCTION, "provium.sys.errno_name(number) -> string",
	"`\"ENOENT\"` for 2 and for -2; the number as text when no error has it.", "0.1"),
    ENTRY("sys", "errno_text", FUNCTION, "provium.sys.errno_text(number) -> string",
	"`\"No such file or directory\"` for 2 and for -2.", "0.1"),
    ENTRY("sys", "signal_name", FUNCTION, "provium.sys.signal_name(number) -> string",
	"`\"SIGTERM\"` for 15, `\"SIGRTMIN+1\"` for 35; the number as text when no signal has it.",
	"0.1"),
    ENTRY("sys", "signal_number", FUNCTION, "provium.sys.signal_number(signal) -> integer",
	"The number of a signal, as all functions take it that send one: a name in any case, with "
	"or without `SIG`, a real-time signal such as `\"RTMIN+1\"` (35; programs count from 34), "
	"digits, or an integer.",
	"0.1"),
};

const struct pv_reference_table pv_reference_sys = PV_REFERENCE_TABLE(entries);
