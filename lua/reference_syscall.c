/*
 * The reference of the test language: system calls and memory. What is written here is what users
 * read, so a change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("SyscallShape", "args", OPTION, "integer[]", "Up to six arguments.", "0.1"),
    ENTRY("SyscallShape", "bufs", OPTION, "string[]",
	"Buffers: each is copied into memory of its own in the guest, 16-byte aligned, and comes "
	"back in `out_bufs`. A kernel that writes beyond one gets a fault there.",
	"0.1"),
    ENTRY("SyscallShape", "ptrs", OPTION, "integer[]",
	"`ptrs[i]` is the argument, counted from 0, that becomes the address of `bufs[i]`.", "0.1"),
    ENTRY("SyscallShape", "nested", OPTION, "{parent, child, offset}[]",
	"Before the call the address of `bufs[child]` is written to byte `offset` of "
	"`bufs[parent]`; buffers count from 1, bytes from 0.",
	"0.1"),

    ENTRY("SyscallResult", "ret", FIELD, "integer", "What the call returned; -1 when it failed.",
	"0.1"),
    ENTRY("SyscallResult", "result", FIELD, "integer", "The same.", "0.1"),
    ENTRY("SyscallResult", "errno", FIELD, "integer", "Why it failed, or 0.", "0.1"),
    ENTRY("SyscallResult", "out_bufs", FIELD, "string[]",
	"The buffers after the call: as many, as long, in the same order.", "0.1"),

    ENTRY("SyscallHandle", "await", METHOD, "handle:await() -> SyscallResult",
	"Waits for the end of the call. A second await raises.", "0.1"),

    ENTRY("IoctlOptions", "bufs", OPTION, "string[]",
	"Buffers that `data` refers to; they come back in `out_bufs`.", "0.1"),
    ENTRY("IoctlOptions", "ptr_offsets", OPTION, "integer[]",
	"`ptr_offsets[i]` is the byte of `data` where the address of `bufs[i]` is written.", "0.1"),

    ENTRY("IoctlResult", "ret", FIELD, "integer", "What the call returned.", "0.1"),
    ENTRY("IoctlResult", "result", FIELD, "integer", "The same.", "0.1"),
    ENTRY("IoctlResult", "out_data", FIELD, "string",
	"`data` after the call; empty when it was an integer or nothing.", "0.1"),
    ENTRY("IoctlResult", "out_bufs", FIELD, "string[]",
	"The buffers after the call, in the same order.", "0.1"),

    ENTRY("Batch", "run", METHOD, "b:run(command, args_or_opts?)",
	"Notes a command, in all the shapes of `vm:run`.", "0.1"),
    ENTRY("Batch", "read_file", METHOD, "b:read_file(path)", "Notes a `vm:read_file`.", "0.1"),
    ENTRY("Batch", "write_file", METHOD, "b:write_file(path, data)", "Notes a `vm:write_file`.",
	"0.1"),
    ENTRY("Batch", "stat", METHOD, "b:stat(path)", "Notes a `vm:stat`.", "0.1"),
    ENTRY("Batch", "listdir", METHOD, "b:listdir(path)", "Notes a `vm:listdir`.", "0.1"),
    ENTRY("Batch", "mkdir", METHOD, "b:mkdir(path, parents_or_opts?)",
	"Notes a `vm:mkdir`; `true` stands for `{parents = true}`.", "0.1"),
    ENTRY("Batch", "unlink", METHOD, "b:unlink(path)", "Notes a `vm:unlink`.", "0.1"),
    ENTRY("Batch", "rename", METHOD, "b:rename(from, to)", "Notes a `vm:rename`.", "0.1"),
    ENTRY("Batch", "syscall", METHOD, "b:syscall(nr, ...)",
	"Notes a system call with integers only. Those that follow one another are done in one "
	"row.",
	"0.1"),
};

const struct pv_reference_table pv_reference_syscall = PV_REFERENCE_TABLE(entries);
