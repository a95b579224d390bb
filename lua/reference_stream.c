/*
 * The reference of the test language: streams. What is written here is what users read, so a change
 * of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("Tail", "next", METHOD, "tail:next(timeout?) -> string|nil",
	"The next piece, at most 64 KiB; nil at the end, and when none comes within 10 seconds or "
	"`timeout`.",
	"0.1"),
    ENTRY("Tail", "read_until", METHOD, "tail:read_until(pattern, timeout?) -> string",
	"Everything up to the plain text `pattern`, which it includes; waits for it at most 10 "
	"seconds or `timeout`. What was read beyond it, or without finding it, comes next.",
	"0.1"),
    ENTRY("Tail", "expect", METHOD, "tail:expect(pattern, timeout?)", "The same, without a result.",
	"0.1"),
    ENTRY("Tail", "drain", METHOD, "tail:drain(timeout?) -> string[]",
	"All pieces that come within half a second or `timeout`.", "0.1"),
    ENTRY("Tail", "eof", METHOD, "tail:eof() -> boolean",
	"True when it has ended and everything was read.", "0.1"),
    ENTRY("Tail", "creation_site", METHOD, "tail:creation_site() -> {file=, line=}|nil",
	"The line of the test or fixture that made it.", "0.1"),
    ENTRY("Tail", "close", METHOD, "tail:close()",
	"Ends it and drops what is pending. Calling it again does nothing.", "0.1"),
    ENTRY("Tail", "notices", METHOD, "tail:notices() -> {kind=, offset=}[]",
	"What happened to the file that is no byte of the stream: `kind` is `\"rotated\"`, "
	"`offset` "
	"is how many bytes of the stream came before the new file.",
	"0.1"),

    ENTRY("ConsoleStream", "next", METHOD, "stream:next(timeout?) -> string|nil",
	"The next piece, at most 64 KiB; nil at the end, and when none comes within 10 seconds or "
	"`timeout`.",
	"0.1"),
    ENTRY("ConsoleStream", "read_until", METHOD, "stream:read_until(pattern, timeout?) -> string",
	"Everything up to the plain text `pattern`, which it includes; waits for it at most 10 "
	"seconds or `timeout`. What was read beyond it, or without finding it, comes next.",
	"0.1"),
    ENTRY("ConsoleStream", "expect", METHOD, "stream:expect(pattern, timeout?)",
	"The same, without a result.", "0.1"),
    ENTRY("ConsoleStream", "drain", METHOD, "stream:drain(timeout?) -> string[]",
	"All pieces that come within half a second or `timeout`.", "0.1"),
    ENTRY("ConsoleStream", "eof", METHOD, "stream:eof() -> boolean",
	"True when it has ended and everything was read.", "0.1"),
    ENTRY("ConsoleStream", "creation_site", METHOD, "stream:creation_site() -> {file=, line=}|nil",
	"The line of the test or fixture that made it.", "0.1"),
    ENTRY("ConsoleStream", "close", METHOD, "stream:close()",
	"Ends it and drops what is pending. Calling it again does nothing.", "0.1"),
};

const struct pv_reference_table pv_reference_stream = PV_REFERENCE_TABLE(entries);
