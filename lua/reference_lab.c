/*
 * The reference of the test language: labs. What is written here is what users read, so a
 * change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("Lab", "vm", METHOD, "lab:vm(name, profile?, opts?) -> VM",
	"With a name alone: the VM of that name in this scope or an enclosing one; there must be "
	"one. With a profile of `provium.toml`: a new VM in this scope, "
	"not booted; `opts` as for `vm:boot`. `lab.NAME` finds a VM as well, and is nil when there "
	"is none.",
	"0.1"),
    ENTRY("Lab", "lab", METHOD, "lab:lab(name?) -> Lab",
	"The sub-lab of that name in this lab, made when there is none; without a name a new one, "
	"`__lab_0` and so on. A sub-lab has members of its own and does not see those of the lab "
	"around it. `lab.NAME` finds it as well.",
	"0.1"),
    ENTRY("Lab", "bridge", METHOD, "lab:bridge(name)",
	"Not available yet: calling it raises an error that says so.", "0.1"),
    ENTRY("Lab", "include", METHOD, "lab:include(member)",
	"Makes an existing VM or Lab a member of this lab, too; an array of them all at once, or "
	"none when one cannot be. It is closed where it was made.",
	"0.1"),
    ENTRY("Lab", "remove", METHOD, "lab:remove(name_or_member)",
	"Forgets a VM or sub-lab, by its name or itself. It goes on living; only this lab does not "
	"know it any more.",
	"0.1"),
    ENTRY("Lab", "boot", METHOD, "lab:boot() -> Lab",
	"Boots all VMs of this lab and its sub-labs that are not booted yet, in parallel. All are "
	"tried; then an error names those that failed.",
	"0.1"),
    ENTRY("Lab", "shutdown", METHOD, "lab:shutdown()",
	"Shuts all VMs of this lab and its sub-labs down.", "0.1"),
    ENTRY("Lab", "pause", METHOD, "lab:pause()",
	"Pauses all VMs of this lab and its sub-labs. All are tried; then an error names those "
	"that could not be paused. Paused ones are left alone.",
	"0.1"),
    ENTRY("Lab", "resume", METHOD, "lab:resume()",
	"Lets all paused VMs of this lab and its sub-labs go on, with errors as `lab:pause`. "
	"Booted ones are left alone.",
	"0.1"),
    ENTRY("Lab", "snapshot", METHOD, "lab:snapshot(directory?) -> LabSnapshot|string",
	"Saves all VMs of this lab and its sub-labs at one moment; they must be booted or paused "
	"and go on as they were. Without a directory the result is kept in memory and gone with "
	"the file of tests; with one it is that directory, which other runs can restore and which "
	"may be moved. Refused while operations are in progress or streams open.",
	"0.1"),
    ENTRY("Lab", "restore", METHOD, "lab:restore(snapshot, opts?) -> Lab",
	"Lets all that was saved go on in this lab: a LabSnapshot, or the directory of one. "
	"Sub-labs and VMs that are missing are made, what the snapshot does not mention stays. A "
	"VM that is the one that was saved goes back in place, which only a LabSnapshot can tell; "
	"any other VM of the same name is an error, and then nothing was changed. See "
	"RestoreOptions.",
	"0.1"),
    ENTRY("Lab", "barrier", METHOD, "lab:barrier(name, count, timeout?) -> boolean",
	"Waits until `count` have arrived at the barrier of that name: true, or false after "
	"`timeout` seconds (60). The first arrival fixes the count; with another one it is false "
	"at once. A file of tests has one thread, so only a count of 1 is met today.",
	"0.1"),
    ENTRY("Lab", "claim", METHOD, "lab:claim(opts)",
	"Says, once a file, what its guests need at their peak. There is no pool of memory and "
	"processors yet: the claim is checked, and nothing waits for it. See ClaimOptions.",
	"0.1"),
    ENTRY("ClaimOptions", "memory", OPTION, "integer|string",
	"Of all guests that run at a time, with 100 MiB for each.", "0.1"),
    ENTRY("ClaimOptions", "cpus", OPTION, "integer", "Of all guests that run at a time.", "0.1"),
    ENTRY("Lab", "name", METHOD, "lab:name() -> string",
	"The lab's name; that of the file's lab is `provium`.", "0.1"),
    ENTRY("Lab", "vm_names", METHOD, "lab:vm_names() -> string[]",
	"The names of the VMs in this lab, sorted; neither sub-labs nor enclosing scopes are "
	"asked.",
	"0.1"),
    ENTRY("Lab", "bridge_names", METHOD, "lab:bridge_names() -> string[]",
	"Empty, until there are bridges.", "0.1"),
    ENTRY("Lab", "sub_lab_names", METHOD, "lab:sub_lab_names() -> string[]",
	"The names of the sub-labs in this lab, sorted.", "0.1"),
    ENTRY("Lab", "members", METHOD, "lab:members() -> table[]",
	"What is in this lab, as an array of `{kind=, name=}`; kinds are `vm` and `sub_lab`.",
	"0.1"),
    ENTRY("Lab", "vm_fixture", METHOD, "lab:vm_fixture(path) -> VM",
	"A running guest as the script `<root>/PATH.fixture.lua` left it: built once, kept in the "
	"cache and restored from there until something that it depends on changes. Each call "
	"gives another guest; it belongs to the file, and its name is `fixture:PATH`. Works with "
	"a dot, too.",
	"0.1"),
    ENTRY("Lab", "lab_fixture", METHOD, "lab:lab_fixture(path) -> Lab",
	"The same for a script that returns `provium:snapshot()`: a new sub-lab of the file's lab "
	"with all VMs and sub-labs that were saved, running.",
	"0.1"),
    ENTRY("Lab", "fixture", FUNCTION, "provium.fixture(name) -> VM",
	"The older spelling: the script is `fixtures/NAME.lua` in a root or in `tests/`, returns "
	"nothing, and the VM that it made last is what is restored. It is built once in each run "
	"and kept as long as that.",
	"0.1"),
    ENTRY("Lab", "depends_on_file", METHOD, "lab:depends_on_file(path)",
	"Does nothing when it runs: it tells the fixture cache that the result depends on this "
	"file.",
	"0.1"),
    ENTRY("Lab", "pack", FUNCTION, "provium.pack(format, ...) -> string",
	"The same as `string.pack`; works with a colon, too. A format of the words `u8 u16 i16 u32 "
	"i32 u64 i64`, with spaces between them, is of the older kind: little-endian, without "
	"padding.",
	"0.1"),
    ENTRY("Lab", "unpack", FUNCTION, "provium.unpack(format, data, pos?) -> ...",
	"The same as `string.unpack`; works with a colon, too. With a format of the older kind it "
	"gives the values alone, without the position behind them.",
	"0.1"),
    ENTRY("Lab", "timeout", SETTING, "provium.timeout: number|string",
	"Limit for each test of the file that has none of its own, in seconds or as a string such "
	"as `\"2m\"`; 0 is no limit. Assign it outside of tests.",
	"0.1"),
    ENTRY("Lab", "reset_between_tests", SETTING, "provium.reset_between_tests: boolean",
	"With true, assigned outside of tests, every test begins with the VMs and labs as the file "
	"left them before the first one: files, processes, memory, states, members. Handles stay "
	"good. Streams must then be opened in tests.",
	"0.1"),

    ENTRY("LabSnapshot", "path", METHOD, "snapshot:path() -> string",
	"The path of the directory, which is written when this is first called; it ends with the "
	"run.",
	"0.1"),
    ENTRY("LabSnapshot", "size", METHOD, "snapshot:size() -> integer",
	"The length of all files in it in bytes, holes included; 0 when it is gone.", "0.1"),
    ENTRY("LabSnapshot", "delete", METHOD, "snapshot:delete()",
	"Removes it. Guests that were restored from it go on. Calling it again does nothing.",
	"0.1"),
};

const struct pv_reference_table pv_reference_lab = PV_REFERENCE_TABLE(entries);
