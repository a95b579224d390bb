/*
 * The reference of the test language: one constant table. What is written here is what users read,
 * so a change of behaviour changes its entry in the same commit; tests/unit/lua_reference.c holds
 * the names against the real metatables. Constant, any thread.
 */
#include "lua/reference.h"

#define FUNCTION PV_REFERENCE_FUNCTION
#define METHOD	 PV_REFERENCE_METHOD
#define FIELD	 PV_REFERENCE_FIELD
#define SETTING	 PV_REFERENCE_SETTING
#define OPTION	 PV_REFERENCE_OPTION

static const struct pv_reference_entry entries[] = {
    {"global",	       "provium",		  FIELD,	 "provium: Lab",
	"The lab of the present scope: the file's while the file is loaded, the test's own inside "
	"of a test body. What is created in a test's lab is closed "
	"when the test ends; names of the file's lab are found from there, too.",										"0.1"},
    {"global",	       "test",		       FUNCTION, "test(name, [meta,] fn)",
	"Registers a test. `name` is unique in the file, `meta` a table (see Meta), `fn` gets the "
	"context `t`. The bodies run after the whole file has been "
	"loaded, in the order of registration.",														 "0.1"},
    {"global",	       "todo",		       FUNCTION, "todo(reason?)",
	"Reports every test of the file as skipped with this reason (`todo` when none is given); "
	"no body runs. Only outside of tests.",														  "0.1"},
    {"global",	       "wait_until",	     FUNCTION, "wait_until(predicate, opts?) -> value",
	"Calls `predicate` until it returns something true, and returns that. `opts` are `timeout` "
	"(10 seconds), `interval` (0.1 seconds) and `desc` (for "
	"the text of the error when time is up); times are seconds or strings such as `\"200ms\"`. "
	"An error of the predicate ends the wait.",													      "0.1"},
    {"global",	       "json",		       FIELD,    "json: table",				     "JSON: `json.encode` and `json.decode`.",	       "0.1"},

    {"json",	     "encode",		       FUNCTION, "json.encode(value) -> string",
	"Writes a value as JSON. A table whose keys are all positive integers is an array with "
	"null in its holes, the empty table is `{}`, others are objects "
	"with keys in order. NaN and the infinities are null. A byte that is not part of a UTF-8 "
	"character becomes U+FFFD.",															     "0.1"},
    {"json",	     "decode",		       FUNCTION, "json.decode(text) -> value",
	"Reads JSON. Integers that fit become integers, other numbers floats, null becomes nil: a "
	"member that is null vanishes, an element leaves a hole. "
	"Errors give line and column.",															  "0.1"},

    {"Lab",	    "vm",		    METHOD,	  "lab:vm(name, profile?, opts?) -> VM",
	"With a name alone: the VM of that name in this scope or an enclosing one; there must be "
	"one. With a profile of `provium.toml`: a new VM in this scope, "
	"not booted; `opts` as for `vm:boot`. `lab.NAME` finds a VM as well, and is nil when there "
	"is none.",																	      "0.1"},
    {"Lab",	    "lab",		   METHOD,   "lab:lab(name?) -> Lab",
	"The sub-lab of that name in this lab, made when there is none; without a name a new one, "
	"`__lab_0` and so on. A sub-lab has members of its own and does not see those of the lab "
	"around it. `lab.NAME` finds it as well.",													       "0.1"},
    {"Lab",	    "bridge",		      METHOD,   "lab:bridge(name)",
	"Not available yet: calling it raises an error that says so.",											      "0.1"},
    {"Lab",	    "include",	       METHOD,   "lab:include(member)",
	"Makes an existing VM or Lab a member of this lab, too; an array of them all at once, or "
	"none when one cannot be. It is closed where it was made.",											      "0.1"},
    {"Lab",	    "remove",		      METHOD,   "lab:remove(name_or_member)",
	"Forgets a VM or sub-lab, by its name or itself. It goes on living; only this lab does not "
	"know it any more.",																     "0.1"},
    {"Lab",	    "boot",		    METHOD,   "lab:boot() -> Lab",
	"Boots all VMs of this lab and its sub-labs that are not booted yet, in parallel. All are "
	"tried; then an error names those that failed.",													 "0.1"},
    {"Lab",	    "shutdown",		METHOD,	"lab:shutdown()",
	"Shuts all VMs of this lab and its sub-labs down.",													 "0.1"},
    {"Lab",	    "pause",		     METHOD,   "lab:pause()",
	"Pauses all VMs of this lab and its sub-labs. All are tried; then an error names those "
	"that could not be paused. Paused ones are left alone.",												 "0.1"},
    {"Lab",	    "resume",		      METHOD,   "lab:resume()",
	"Lets all paused VMs of this lab and its sub-labs go on, with errors as `lab:pause`. "
	"Booted ones are left alone.",															   "0.1"},
    {"Lab",	    "snapshot",		METHOD,	"lab:snapshot(directory?) -> LabSnapshot|string",
	"Saves all VMs of this lab and its sub-labs at one moment; they must be booted or paused "
	"and go on as they were. Without a directory the result is kept in memory and gone with "
	"the file of tests; with one it is that directory, which other runs can restore and which "
	"may be moved. Refused while operations are in progress or streams open.",									       "0.1"},
    {"Lab",	    "restore",	       METHOD,   "lab:restore(snapshot, opts?) -> Lab",
	"Lets all that was saved go on in this lab: a LabSnapshot, or the directory of one. "
	"Sub-labs and VMs that are missing are made, what the snapshot does not mention stays. A "
	"VM that is the one that was saved goes back in place, which only a LabSnapshot can tell; "
	"any other VM of the same name is an error, and then nothing was changed. See "
	"RestoreOptions.",									      "0.1"},
    {"Lab",	    "barrier",	       METHOD,   "lab:barrier(name, count, timeout?) -> boolean",
	"Waits until `count` have arrived at the barrier of that name: true, or false after "
	"`timeout` seconds (60). The first arrival fixes the count; with another one it is false "
	"at once. A file of tests has one thread, so only a count of 1 is met today.",									   "0.1"},
    {"Lab",	    "name",		    METHOD,   "lab:name() -> string",
	"The lab's name; that of the file's lab is `provium`.",												     "0.1"},
    {"Lab",	    "vm_names",		METHOD,	"lab:vm_names() -> string[]",
	"The names of the VMs in this lab, sorted; neither sub-labs nor enclosing scopes are "
	"asked.",																		"0.1"},
    {"Lab",	    "bridge_names",	    METHOD,   "lab:bridge_names() -> string[]",
	"Empty, until there are bridges.",															  "0.1"},
    {"Lab",	    "sub_lab_names",	     METHOD,   "lab:sub_lab_names() -> string[]",
	"The names of the sub-labs in this lab, sorted.",													   "0.1"},
    {"Lab",	    "members",	       METHOD,   "lab:members() -> table[]",
	"What is in this lab, as an array of `{kind=, name=}`; kinds are `vm` and `sub_lab`.",								      "0.1"},
    {"Lab",	    "vm_fixture",		  METHOD,	  "lab:vm_fixture(path) -> VM",
	"A running guest as the script `<root>/PATH.fixture.lua` left it: built once, kept in the "
	"cache and restored from there until something that it depends on changes. Each call "
	"gives another guest; it belongs to the file, and its name is `fixture:PATH`. Works with "
	"a dot, too.",																	   "0.1"},
    {"Lab",	    "lab_fixture",	   METHOD,   "lab:lab_fixture(path) -> Lab",
	"The same for a script that returns `provium:snapshot()`: a new sub-lab of the file's lab "
	"with all VMs and sub-labs that were saved, running.",												   "0.1"},
    {"Lab",	    "fixture",	       FUNCTION, "provium.fixture(name) -> VM",
	"The older spelling: the script is `fixtures/NAME.lua` in a root or in `tests/`, returns "
	"nothing, and the VM that it made last is what is restored. It is built once in each run "
	"and kept as long as that.",															     "0.1"},
    {"Lab",	    "depends_on_file",       METHOD,   "lab:depends_on_file(path)",
	"Does nothing when it runs: it tells the fixture cache that the result depends on this "
	"file.",																		 "0.1"},
    {"Lab",	    "pack",		    FUNCTION, "provium.pack(format, ...) -> string",
	"The same as `string.pack`; works with a colon, too.",												      "0.1"},
    {"Lab",	    "unpack",		      FUNCTION, "provium.unpack(format, data, pos?) -> ...",
	"The same as `string.unpack`; works with a colon, too.",												    "0.1"},
    {"Lab",	    "timeout",	       SETTING,	"provium.timeout: number|string",
	"Limit for each test of the file that has none of its own, in seconds or as a string such "
	"as `\"2m\"`; 0 is no limit. Assign it outside of tests.",											       "0.1"},
    {"Lab",	    "reset_between_tests",   SETTING,  "provium.reset_between_tests: boolean",
	"With true, assigned outside of tests, every test begins with the VMs and labs as the file "
	"left them before the first one: files, processes, memory, states, members. Handles stay "
	"good. Streams must then be opened in tests.",											  "0.1"},

    {"VM",	     "boot",		   METHOD,   "vm:boot(opts?) -> VM",
	"Starts the guest and waits for its agent. `opts` (see VmOptions) win over those of the "
	"creation, key by key. When the guest does not get there, the error "
	"holds the last 64 KiB of its console.",														 "0.1"},
    {"VM",	     "pause",		    METHOD,   "vm:pause()",					  "Stops the guest's CPUs; it keeps its state.",	 "0.1"},
    {"VM",	     "resume",		     METHOD,   "vm:resume()",				    "Lets a paused guest go on.",			  "0.1"},
    {"VM",	     "reset",		    METHOD,   "vm:reset()",
	"Reboots the guest and returns when its agent answers again. The console's log goes on.",								   "0.1"},
    {"VM",	     "power_button",	   METHOD,   "vm:power_button()",
	"Presses the power button and waits until the guest has powered off.",										      "0.1"},
    {"VM",	     "shutdown",	       METHOD,   "vm:shutdown()",
	"Ends the guest at once, from any state. Calling it again does nothing.",										   "0.1"},
    {"VM",	     "close",		    METHOD,   "vm:close()",
	"The same as `vm:shutdown`; also what happens at the end of a block with `local vm "
	"<close>`.",																	     "0.1"},
    {"VM",	     "snapshot",	       METHOD,   "vm:snapshot(path?) -> Snapshot",
	"Saves a booted or paused guest, which goes on as it was. Without a path the snapshot is "
	"kept in memory and gone with the file of tests; with one it is that file, which other "
	"runs can restore. Refused while operations are in progress.",											   "0.1"},
    {"VM",	     "restore",		      METHOD,   "vm:restore(snapshot, opts?) -> VM",
	"Lets a saved guest go on in a VM that is not booted, or was shut down: a Snapshot, or the "
	"path of one. Its processes continue where they were. Memory, CPUs, vsock address and "
	"profile are the saved guest's. See RestoreOptions.",												    "0.1"},
    {"VM",	     "fork",		   METHOD,   "vm:fork(n) -> VM[]",
	"`n` running copies of a booted or paused guest, which share its memory until they write. "
	"They are VMs of the present scope's lab, named `NAME#1`, `NAME#2` and so on.",									  "0.1"},
    {"VM",	     "name",		   METHOD,   "vm:name() -> string",				  "The VM's name.",				    "0.1"},
    {"VM",	     "profile",		      METHOD,   "vm:profile() -> string",				"The name of its profile.",			    "0.1"},
    {"VM",	     "state",		    METHOD,   "vm:state() -> string",
	"`created`, `booted`, `paused`, `shutdown` or `dead`.",												     "0.1"},
    {"VM",	     "cid",		   METHOD,	  "vm:cid() -> integer?",
	"The guest's vsock address, nil before it was booted.",												     "0.1"},
    {"VM",	     "is_quiescent",	   METHOD,   "vm:is_quiescent() -> boolean",
	"True when no operation, open file or stream is in progress.",											      "0.1"},
    {"VM",	     "open_file_count",	      METHOD,   "vm:open_file_count() -> integer",
	"How many files of the guest are open.",														    "0.1"},
    {"VM",	     "open_stream_count",	METHOD,	"vm:open_stream_count() -> integer",
	"How many streams from the guest are open.",														"0.1"},
    {"VM",	     "console",		      METHOD,   "vm:console() -> Console",
	"The guest's console; works in every state.",													       "0.1"},
    {"VM",	     "run",		   METHOD,	  "vm:run(command, args_or_opts?) -> RunResult",
	"Runs a command in the guest and waits for its end. With a string alone the guest's shell "
	"runs it; with an array of arguments it is a program that is looked "
	"up in PATH and gets them as they are; with options see RunOptions. A program that cannot "
	"be started is an error.",															       "0.1"},
    {"VM",	     "read_file",		METHOD,	"vm:read_file(path) -> string",
	"The content of a file of the guest, of any size; works for /proc and /sys.",										      "0.1"},
    {"VM",	     "write_file",		 METHOD,	 "vm:write_file(path, data)",
	"Creates the file (0644) or replaces its content.",													 "0.1"},
    {"VM",	     "push_file",		METHOD,	"vm:push_file(host, guest, opts?)",
	"Copies a file of the host into the guest, with its permission bits. A relative `host` "
	"starts at the directory of the Lua file with the call. `opts` is "
	"`{auto_dep = true}`, for the fixture cache.",													   "0.1"},
    {"VM",	     "stat",		   METHOD,   "vm:stat(path) -> Stat",
	"What the guest knows about a path; follows symbolic links.",											       "0.1"},

    {"RestoreOptions", "clock",			OPTION,	"string",
	"`\"now\"` sets the guest's wall clock to the host's time before anything else is asked of "
	"it; monotonic clocks and timers go on. Without it the clock goes on where it stood when the "
	"guest was saved.",														    "0.1"},

    {"VmOptions",	  "memory",		    OPTION,   "integer|string",
	"RAM in bytes or as a size such as `\"1G\"`; 512 MiB when not given.",										      "0.1"},
    {"VmOptions",	  "cpus",		  OPTION,	  "integer",					     "Number of virtual CPUs; 1 when not given.",	  "0.1"},
    {"VmOptions",	  "kernel_cmdline",	    OPTION,   "string",					      "Replaces the profile's kernel command line.",
	"0.1"																			    },
    {"VmOptions",	  "kernel_cmdline_append", OPTION,   "string",
	"Added behind the kernel command line.",														    "0.1"},
    {"VmOptions",	  "rng_seed",	      OPTION,   "integer",					 "Makes the guest's entropy the same in every run.",
	"0.1"																			    },
    {"VmOptions",	  "initial_time",	  OPTION,	  "number",
	"The guest's clock at boot, seconds since 1970, with fractions.",											   "0.1"},
    {"VmOptions",	  "agent_timeout",	   OPTION,   "number|string",
	"How long to wait for the agent; the profile's `agent_boot_timeout` when not given.",								       "0.1"},
    {"VmOptions",	  "files",		   OPTION,   "{path=, content=, mode=0644}[]",
	"Files that are there before any program of the guest runs.",											       "0.1"},
    {"VmOptions",	  "disks",		   OPTION,   "table[]",
	"Not available yet: giving one raises an error that says so.",											      "0.1"},

    {"RunOptions",	   "args",		   OPTION,   "string[]",
	"Arguments, given as they are; without it the command is a text for the shell.",										 "0.1"},
    {"RunOptions",	   "env",			  OPTION,	  "{NAME = value}",				    "Environment variables, added to the agent's.",
	"0.1"																			    },
    {"RunOptions",	   "env_clear",		OPTION,	"boolean",					   "Starts from an empty environment.",			"0.1"},
    {"RunOptions",	   "cwd",			  OPTION,	  "string",					    "The working directory.",			      "0.1"},
    {"RunOptions",	   "stdin",		    OPTION,   "string",					      "Standard input; empty when not given.",	       "0.1"},
    {"RunOptions",	   "timeout",		      OPTION,   "number|string",
	"After this long the whole process group is killed and the result says `timed_out`.",								       "0.1"},
    {"RunOptions",	   "timeout_ms",		 OPTION,	 "number",					   "The same in milliseconds; `timeout` wins.",
	"0.1"																			    },

    {"RunResult",	  "exit_code",	       FIELD,    "integer",
	"The exit code; -1 when a signal ended it, -2 when it timed out.",											  "0.1"},
    {"RunResult",	  "stdout",		    FIELD,	   "string",					     "All of its standard output.",			    "0.1"},
    {"RunResult",	  "stderr",		    FIELD,	   "string",					     "All of its standard error.",			   "0.1"},
    {"RunResult",	  "status",		    FIELD,	   "string",					     "`exited`, `signalled` or `timed_out`.",	      "0.1"},
    {"RunResult",	  "timed_out",	       FIELD,    "boolean",					 "True when the time limit ended it.",		       "0.1"},
    {"RunResult",	  "signal",		    FIELD,	   "integer?",				       "The number of the signal that ended it, else nil.",
	"0.1"																			    },
    {"RunResult",	  "ok",			METHOD,	"result:ok() -> boolean",			  "True when the exit code is 0.",			   "0.1"},
    {"RunResult",	  "assert_ok",	       METHOD,   "result:assert_ok() -> RunResult",
	"Raises an error with status and outputs unless the exit code is 0; returns the result.",								   "0.1"},

    {"Stat",	     "size",		     FIELD,    "integer",					"Bytes.",						 "0.1"},
    {"Stat",	     "mtime",		      FIELD,    "number",					 "Last change of the content, seconds since 1970.",	  "0.1"},
    {"Stat",	     "mtime_ns",		 FIELD,	"integer",					   "The same in nanoseconds.",			       "0.1"},
    {"Stat",	     "perm",		     FIELD,    "integer",					"Permission bits, at most 0o7777.",		   "0.1"},
    {"Stat",	     "entry_type",		   FIELD,	  "string",
	"`file`, `directory`, `symlink`, `fifo`, `socket`, `block_device`, `char_device` or "
	"`other`.",																	      "0.1"},

    {"Console",	"read_log",		    METHOD,   "console:read_log() -> string",
	"All that the guest wrote on its console since the first boot, as bytes.",										   "0.1"},
    {"Console",	"expect",		  METHOD,	  "console:expect(pattern, timeout?) -> string",
	"Waits until the plain text `pattern` is in the log of the latest boot, at most 30 seconds "
	"or `timeout`, and returns it. Text that is there already counts.",										      "0.1"},
    {"Console",	"write",		 METHOD,	 "console:write(data, opts?)",
	"Types on the guest's console. `opts.timeout` is how long to wait for a guest that does "
	"not read (30 seconds); 0 is for ever.",														 "0.1"},
    {"Console",	"close",		 METHOD,	 "console:close()",				    "Does nothing; there for symmetry.",		 "0.1"},

    {"Snapshot",	 "path",			 METHOD,	 "snapshot:path() -> string",
	"The path of the file. A snapshot in memory is written to a nameless temporary file when "
	"this is first called; its path ends with the run.",												     "0.1"},
    {"Snapshot",	 "size",			 METHOD,	 "snapshot:size() -> integer",
	"The length of the file in bytes, holes included; 0 when it is gone.",										      "0.1"},
    {"Snapshot",	 "delete",		   METHOD,   "snapshot:delete()",
	"Removes it. Guests that were restored from it go on. Calling it again does nothing.",								      "0.1"},

    {"LabSnapshot",    "path",		    METHOD,   "snapshot:path() -> string",
	"The path of the directory, which is written when this is first called; it ends with the "
	"run.",																		  "0.1"},
    {"LabSnapshot",    "size",		    METHOD,   "snapshot:size() -> integer",
	"The length of all files in it in bytes, holes included; 0 when it is gone.",										      "0.1"},
    {"LabSnapshot",    "delete",		      METHOD,   "snapshot:delete()",
	"Removes it. Guests that were restored from it go on. Calling it again does nothing.",								      "0.1"},

    {"Test",	     "name",		     FIELD,    "string",					 "The test's name.",				  "0.1"},
    {"Test",	     "meta",		     FIELD,    "table",					  "The meta table given to `test`, or an empty one.",	 "0.1"},
    {"Test",	     "assert",		       METHOD,   "t:assert(cond, msg?)",
	"Fails the test when `cond` is false or nil. A failure stays, even when pcall catches the "
	"error.",																		"0.1"},
    {"Test",	     "assert_eq",		  METHOD,	  "t:assert_eq(a, b, msg?)",			     "Fails unless `a == b`.",			       "0.1"},
    {"Test",	     "assert_neq",		   METHOD,   "t:assert_neq(a, b, msg?)",		       "Fails unless `a ~= b`.",				 "0.1"},
    {"Test",	     "assert_contains",	METHOD,	"t:assert_contains(hay, needle, msg?)",
	"Fails unless the string `hay` contains the plain text `needle`.",											  "0.1"},
    {"Test",	     "assert_raises",	      METHOD,   "t:assert_raises(fn, msg?) -> error",
	"Calls `fn` and returns the error that it raises; fails when it raises none. Failures "
	"inside of a `fn` that raised do not count.",													    "0.1"},
    {"Test",	     "fail",		     METHOD,   "t:fail(msg?)",				     "Fails the test.",					"0.1"},
    {"Test",	     "skip",		     METHOD,   "t:skip(reason)",				       "Ends the test as skipped.",			    "0.1"},
    {"Test",	     "log",		    METHOD,   "t:log(value)",				    "Adds a line to the test's log.",		      "0.1"},

    {"Meta",	     "skip",		     OPTION,   "boolean|string",
	"True or a reason: the test is reported as skipped and does not run.",										      "0.1"},
    {"Meta",	     "slow",		     OPTION,   "boolean",					"The test runs with `--include-slow` only.",	     "0.1"},
    {"Meta",	     "timeout",		OPTION,	"number|string",
	"Limit for this test; wins over `provium.timeout`; 0 is no limit.",											 "0.1"},
};

const struct pv_reference_entry *pv_reference_entries(size_t *count)
{
	*count = sizeof(entries) / sizeof(entries[0]);
	return entries;
}
