/*
 * The reference of the test language: the older spelling (docs/legacy.md). What is written here is
 * what users read, so a change of behaviour changes its entry in the same commit. Constant, any
 * thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("global", "assert_eq", FUNCTION, "assert_eq(expected, actual, message?)",
	"Older spelling: raises an error unless the two are equal. In a test use `t:assert_eq`, "
	"which pcall cannot hide.",
	"0.1"),
    ENTRY("global", "assert_contains", FUNCTION, "assert_contains(hay, needle, message?)",
	"Older spelling: raises an error unless the string `hay` contains the plain text `needle`. "
	"In a test use `t:assert_contains`.",
	"0.1"),

    ENTRY("Lab", "create", FUNCTION, "provium.create(profile) -> VM",
	"Older spelling: a new VM in the present scope, not booted, named `PROFILE#1` and so on. "
	"In a file that calls this or `provium.fixture`, tests whose function takes no argument "
	"run where they stand, while the file is loaded.",
	"0.1"),
    ENTRY("Lab", "shutdown_all", FUNCTION, "provium.shutdown_all()",
	"Older spelling: shuts down all VMs that the file and the test that runs have made.",
	"0.1"),

    ENTRY("VM", "exec", METHOD, "vm:exec(command, args_or_opts?) -> table",
	"Older spelling of `vm:run`. The result has the field `ok`, true when the exit code is 0, "
	"beside `exit_code`, `status`, `signal` and `timed_out`; `stdout` and `stderr` are objects "
	"with `value`, `contains(text)`, `starts_with(text)`, `ends_with(text)`, `trim()` and the "
	"functions of `string`, with a dot or a colon.",
	"0.1"),
    ENTRY("VM", "json", METHOD, "vm:json(command) -> value",
	"Older spelling: runs a shell command and decodes its output; an exit code other than 0, "
	"or output that is no JSON, is an error.",
	"0.1"),
    ENTRY("VM", "mount_vfs", METHOD, "vm:mount_vfs()",
	"Older spelling: mounts proc, sysfs, devtmpfs and securityfs at /proc, /sys, /dev and "
	"/sys/kernel/security, those that are not there yet.",
	"0.1"),
    ENTRY("VM", "dmesg", METHOD, "vm:dmesg(pattern?) -> string",
	"Older spelling: the kernel's log, or those of its lines that contain `pattern`, plain or "
	"as a pattern of Lua.",
	"0.1"),
    ENTRY("VM", "wait_until", METHOD, "vm:wait_until(predicate, opts?) -> value",
	"Older spelling of the global `wait_until`; the interval is 0.5 seconds when none is "
	"given.",
	"0.1"),
    ENTRY("VM", "syscall_buf", METHOD, "vm:syscall_buf(nr, args, index, data) -> integer, string",
	"Older spelling of `vm:syscall` with one buffer, whose address becomes argument `index`, "
	"counted from 0. Here and below, `data` may be a number of zeros; the results are what the "
	"kernel returned, a negative error number when it failed, and the buffer afterwards.",
	"0.1"),
    ENTRY("VM", "syscall_bufs", METHOD, "vm:syscall_bufs(nr, args, bufs) -> integer, table",
	"Older spelling: `bufs` is `{[index] = data}`, and so is the second result.", "0.1"),
    ENTRY("VM", "syscall_ptr", METHOD,
	"vm:syscall_ptr(nr, args, index, data, pointers) -> integer, string, table",
	"Older spelling: as `vm:syscall_buf`, and `data` has pointers in it. `pointers` is "
	"`{[offset] = data}`: what is pointed to from that byte on; so is the third result.",
	"0.1"),
    ENTRY("VM", "ioctl_buf", METHOD, "vm:ioctl_buf(fd, request, data) -> integer, string",
	"Older spelling: ioctl(2) on a descriptor of the agent's, with a buffer.", "0.1"),
    ENTRY("VM", "background", METHOD, "vm:background(command) -> table",
	"Older spelling of `vm:run_async`: a job, `{id=, pid=}`.", "0.1"),
    ENTRY("VM", "job_wait", METHOD, "vm:job_wait(job, timeout?) -> table",
	"Older spelling: waits for the end of a job and gives a result as `vm:exec`. After "
	"`timeout` the job is killed and the result says `timed_out`.",
	"0.1"),
    ENTRY("VM", "job_kill", METHOD, "vm:job_kill(job)",
	"Older spelling: SIGKILL for a job and all that it has started.", "0.1"),
    ENTRY("VM", "spawn", METHOD, "vm:spawn(opts?) -> Worker",
	"Older spelling of `vm:spawn_worker`. A worker has the older methods of a VM, too.", "0.1"),
    ENTRY("VM", "kill", METHOD, "vm:kill()", "Older spelling of `vm:shutdown`.", "0.1"),
};

const struct pv_reference_table pv_reference_legacy = PV_REFERENCE_TABLE(entries);
