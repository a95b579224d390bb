/*
 * The reference of the test language: VMs and their snapshots. What is written here is what users
 * read, so a change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("VM", "boot", METHOD, "vm:boot(opts?) -> VM",
	"Starts the guest and waits for its agent. `opts` (see VmOptions) win over those of the "
	"creation, key by key. When the guest does not get there, the error "
	"holds the last 64 KiB of its console.",
	"0.1"),
    ENTRY(
	"VM", "pause", METHOD, "vm:pause()", "Stops the guest's CPUs; it keeps its state.", "0.1"),
    ENTRY("VM", "resume", METHOD, "vm:resume()", "Lets a paused guest go on.", "0.1"),
    ENTRY("VM", "reset", METHOD, "vm:reset()",
	"Reboots the guest and returns when its agent answers again. The console's log goes on.",
	"0.1"),
    ENTRY("VM", "wakeup", METHOD, "vm:wakeup()",
	"Wakes a guest that suspended itself to RAM (`echo mem > /sys/power/state`) or to idle "
	"(`freeze`), and returns "
	"when its agent answers again. An error when it is not suspended. Calls, programs, files, "
	"streams and workers go on where they were; only who waits for an answer while the guest "
	"sleeps gets an error.",
	"0.1"),
    ENTRY("VM", "power_button", METHOD, "vm:power_button()",
	"Presses the power button and waits until the guest has powered off.", "0.1"),
    ENTRY("VM", "shutdown", METHOD, "vm:shutdown()",
	"Ends the guest at once, from any state. Calling it again does nothing.", "0.1"),
    ENTRY("VM", "close", METHOD, "vm:close()",
	"The same as `vm:shutdown`; also what happens at the end of a block with `local vm "
	"<close>`.",
	"0.1"),
    ENTRY("VM", "snapshot", METHOD, "vm:snapshot(path?) -> Snapshot",
	"Saves a booted or paused guest, which goes on as it was. Without a path the snapshot is "
	"kept in memory and gone with the file of tests; with one it is that file, which other "
	"runs can restore. Refused while operations are in progress.",
	"0.1"),
    ENTRY("VM", "restore", METHOD, "vm:restore(snapshot, opts?) -> VM",
	"Lets a saved guest go on in a VM that is not booted, or was shut down: a Snapshot, or the "
	"path of one. Its processes continue where they were. Memory, CPUs, vsock address and "
	"profile are the saved guest's. See RestoreOptions.",
	"0.1"),
    ENTRY("VM", "fork", METHOD, "vm:fork(n) -> VM[]",
	"`n` running copies of a booted or paused guest, which share its memory until they write. "
	"They are VMs of the present scope's lab, named `NAME#1`, `NAME#2` and so on.",
	"0.1"),
    ENTRY("VM", "name", METHOD, "vm:name() -> string", "The VM's name.", "0.1"),
    ENTRY("VM", "profile", METHOD, "vm:profile() -> string", "The name of its profile.", "0.1"),
    ENTRY("VM", "state", METHOD, "vm:state() -> string",
	"`created`, `booted`, `paused`, `shutdown` or `dead`.", "0.1"),
    ENTRY("VM", "cid", METHOD, "vm:cid() -> integer?",
	"The guest's vsock address, nil before it was booted.", "0.1"),
    ENTRY("VM", "is_quiescent", METHOD, "vm:is_quiescent() -> boolean",
	"True when no operation, open file or stream is in progress.", "0.1"),
    ENTRY("VM", "open_file_count", METHOD, "vm:open_file_count() -> integer",
	"How many files of the guest are open.", "0.1"),
    ENTRY("VM", "open_stream_count", METHOD, "vm:open_stream_count() -> integer",
	"How many streams from the guest are open.", "0.1"),
    ENTRY("VM", "console", METHOD, "vm:console() -> Console",
	"The guest's console; works in every state.", "0.1"),
    ENTRY("VM", "clock", METHOD, "vm:clock() -> Clock",
	"The guest's clocks: the date, and time that passes.", "0.1"),
    ENTRY("VM", "run", METHOD, "vm:run(command, args_or_opts?) -> RunResult",
	"Runs a command in the guest and waits for its end. With a string alone the guest's shell "
	"runs it; with an array of arguments it is a program that is looked "
	"up in PATH and gets them as they are; with options see RunOptions. A program that cannot "
	"be started is an error.",
	"0.1"),
    ENTRY("VM", "run_async", METHOD, "vm:run_async(command, args_or_opts?) -> Process",
	"Starts a command as `vm:run` does and returns as soon as it runs; what cannot be started "
	"is an error. `stdin` is the beginning of its input, which stays open. The time limits of "
	"RunOptions are refused: they belong to `proc:wait`.",
	"0.1"),
    ENTRY("VM", "spawn_worker", METHOD, "vm:spawn_worker(opts?) -> Worker",
	"A second process of the agent with credentials, descriptors and a thread of its own. It "
	"has the methods of a VM that act in the guest: `run`, `run_async`, files, and system "
	"calls, which all run on that thread, so what one changes (user, processor, name space) "
	"the next ones and new programs have. See WorkerOptions.",
	"0.1"),
    ENTRY("VM", "read_file", METHOD, "vm:read_file(path) -> string",
	"The content of a file of the guest, of any size; works for /proc and /sys.", "0.1"),
    ENTRY("VM", "write_file", METHOD, "vm:write_file(path, data)",
	"Creates the file (0644) or replaces its content.", "0.1"),
    ENTRY("VM", "push_file", METHOD, "vm:push_file(host, guest, opts?)",
	"Copies a file of the host into the guest, with its permission bits. A relative `host` "
	"starts at the directory of the Lua file with the call. `opts` is "
	"`{auto_dep = true}`, for the fixture cache.",
	"0.1"),
    ENTRY("VM", "push_dir", METHOD, "vm:push_dir(host, guest, opts?)",
	"Copies a directory of the host with all that is in it: permissions, symbolic links, "
	"FIFOs, "
	"files with their holes. It is added to what is at `guest`; files that are there are "
	"replaced. Devices and sockets are left out. Otherwise as `push_file`.",
	"0.1"),
    ENTRY("VM", "pull_file", METHOD, "vm:pull_file(guest, host)",
	"Copies a file of the guest to the host, of any size.", "0.1"),
    ENTRY("VM", "pull_dir", METHOD, "vm:pull_dir(guest, host)",
	"Copies a directory of the guest to the host, as `push_dir` does; nothing outside of "
	"`host` is "
	"written, whatever the guest has there. Set-user-ID and set-group-ID bits are dropped.",
	"0.1"),
    ENTRY("VM", "stat", METHOD, "vm:stat(path) -> Stat",
	"What the guest knows about a path; follows symbolic links.", "0.1"),
    ENTRY("VM", "listdir", METHOD, "vm:listdir(path) -> DirEntry[]",
	"The entries of a directory, in no order, without `.` and `..`.", "0.1"),
    ENTRY("VM", "mkdir", METHOD, "vm:mkdir(path, opts?)",
	"Makes a directory with the permission bits `opts.perm` (0755), whatever the guest's "
	"umask. "
	"With `opts.parents` missing directories above it are made as well, and one that is there "
	"already is no error.",
	"0.1"),
    ENTRY("VM", "unlink", METHOD, "vm:unlink(path)",
	"Removes a file, a link, or an empty directory.", "0.1"),
    ENTRY("VM", "rename", METHOD, "vm:rename(from, to)",
	"Renames in one step; a file that is at `to` is replaced.", "0.1"),
    ENTRY("VM", "open_file", METHOD, "vm:open_file(path, mode) -> File",
	"Opens a file of the guest. `mode` is a table with at least one of `read`, `write` and "
	"`append`, and with `create`, `truncate`, `exclusive` and `perm` (of a new file, 0644) as "
	"needed. The scope closes what a test leaves open.",
	"0.1"),
    ENTRY("VM", "tail_file", METHOD, "vm:tail_file(path, opts?) -> Tail",
	"Follows a file of the guest as it grows. `opts.start` is `\"end\"` (the default: only "
	"what "
	"is appended after the call), `\"beginning\"`, or a byte offset; a negative one counts "
	"from "
	"the end. When the file is renamed and a new one takes its place (log rotation), the rest "
	"of the old one is delivered, then the new one from its beginning; `tail:notices()` tells. "
	"A file that is truncated ends the stream.",
	"0.1"),
    ENTRY("VM", "fd_stream", METHOD, "vm:fd_stream(handle) -> Tail",
	"Follows an open file, a File or its number, from its position on; that position does not "
	"move.",
	"0.1"),
    ENTRY("VM", "syscall", METHOD, "vm:syscall(nr, ...) -> SyscallResult",
	"Issues one system call in the guest, by number or by name (`\"openat\"`): up to six "
	"integers follow, or one table, see SyscallShape. All calls of a VM are issued by one "
	"process, so descriptors stay open between them, but on any of its threads: what belongs "
	"to a thread, such as credentials, sticks only in a worker. A call that blocks holds up no "
	"other. A child of `fork` or `clone` ends at once with 0. `exit`, `execve` and "
	"`rt_sigreturn` raise.",
	"0.1"),
    ENTRY("VM", "syscall_async", METHOD, "vm:syscall_async(nr, ...) -> SyscallHandle",
	"The same, without waiting for the end of the call. Any number of them may be in progress. "
	"One that nobody has awaited when the test, or the file, ends is interrupted.",
	"0.1"),
    ENTRY("VM", "batch", METHOD, "vm:batch(fn) -> {ok=, err=}[]",
	"Calls `fn(b)`, which notes operations on `b` (see Batch), and then sends them all to the "
	"guest in one go. The guest does them in order; one that fails does not keep the next from "
	"being done. The results are in the same order: `ok` is what the VM's method would return, "
	"`err` the sentence that it would raise.",
	"0.1"),
    ENTRY("VM", "ioctl", METHOD, "vm:ioctl(file, cmd, data?, opts?) -> IoctlResult",
	"An `ioctl` on an open File, or its handle (`file:fd()`). `data` is an integer that is "
	"passed as it is, or bytes whose address is passed and which come back in `out_data`; for "
	"what they refer to see IoctlOptions. Raises what the guest's kernel says when it fails. "
	"For a descriptor that a system call gave, use `vm:syscall(\"ioctl\", ...)`.",
	"0.1"),
    ENTRY("VM", "read_mem", METHOD, "vm:read_mem(addr, len) -> string|nil, integer?",
	"Memory of the process that issues the VM's system calls; nil and the errno when it cannot "
	"be read.",
	"0.1"),
    ENTRY("VM", "write_mem", METHOD, "vm:write_mem(addr, data) -> true|nil, integer?",
	"Writes to memory of that process; nil and the errno when it cannot be written.", "0.1"),

    ENTRY("RestoreOptions", "clock", OPTION, "string",
	"`\"now\"` sets the guest's wall clock to the host's time before anything else is asked of "
	"it; monotonic clocks and timers go on. Without it the clock goes on where it stood when "
	"the "
	"guest was saved.",
	"0.1"),

    ENTRY("VmOptions", "memory", OPTION, "integer|string",
	"RAM in bytes or as a size such as `\"1G\"`; 512 MiB when not given.", "0.1"),
    ENTRY(
	"VmOptions", "cpus", OPTION, "integer", "Number of virtual CPUs; 1 when not given.", "0.1"),
    ENTRY("VmOptions", "kernel_cmdline", OPTION, "string",
	"Replaces the profile's kernel command line.", "0.1"),
    ENTRY("VmOptions", "kernel_cmdline_append", OPTION, "string",
	"Added behind the kernel command line.", "0.1"),
    ENTRY("VmOptions", "rng_seed", OPTION, "integer",
	"Makes the guest's entropy the same in every run.", "0.1"),
    ENTRY("VmOptions", "initial_time", OPTION, "number",
	"The guest's clock at boot, seconds since 1970, with fractions.", "0.1"),
    ENTRY("VmOptions", "agent_timeout", OPTION, "number|string",
	"How long to wait for the agent; the profile's `agent_boot_timeout` when not given.",
	"0.1"),
    ENTRY("VmOptions", "files", OPTION, "{path=, content=, mode=0644}[]",
	"Files that are there before any program of the guest runs.", "0.1"),
    ENTRY("VmOptions", "disks", OPTION, "table[]",
	"Not available yet: giving one raises an error that says so.", "0.1"),

    ENTRY("Snapshot", "path", METHOD, "snapshot:path() -> string",
	"The path of the file. A snapshot in memory is written to a nameless temporary file when "
	"this is first called; its path ends with the run.",
	"0.1"),
    ENTRY("Snapshot", "size", METHOD, "snapshot:size() -> integer",
	"The length of the file in bytes, holes included; 0 when it is gone.", "0.1"),
    ENTRY("Snapshot", "delete", METHOD, "snapshot:delete()",
	"Removes it. Guests that were restored from it go on. Calling it again does nothing.",
	"0.1"),
};

const struct pv_reference_table pv_reference_vm = PV_REFERENCE_TABLE(entries);
