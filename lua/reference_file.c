/*
 * The reference of the test language: files of the guest. What is written here is what users read,
 * so a change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("Stat", "size", FIELD, "integer", "Bytes.", "0.1"),
    ENTRY(
	"Stat", "mtime", FIELD, "number", "Last change of the content, seconds since 1970.", "0.1"),
    ENTRY("Stat", "mtime_ns", FIELD, "integer", "The same in nanoseconds.", "0.1"),
    ENTRY("Stat", "perm", FIELD, "integer", "Permission bits, at most 0o7777.", "0.1"),
    ENTRY("Stat", "entry_type", FIELD, "string",
	"`file`, `directory`, `symlink`, `fifo`, `socket`, `block_device`, `char_device` or "
	"`other`.",
	"0.1"),

    ENTRY("DirEntry", "name", FIELD, "string", "Its name in the directory.", "0.1"),
    ENTRY("DirEntry", "entry_type", FIELD, "string", "As of Stat.", "0.1"),

    ENTRY("File", "read", METHOD, "file:read(n) -> string",
	"At most `n` bytes; the empty string at the end. From a FIFO or a device it waits until "
	"there is something, and gives what there is.",
	"0.1"),
    ENTRY("File", "read_all", METHOD, "file:read_all() -> string",
	"All from here to the end, of any size.", "0.1"),
    ENTRY("File", "write", METHOD, "file:write(data) -> integer",
	"Writes all of `data` and returns how many bytes that were.", "0.1"),
    ENTRY("File", "seek", METHOD, "file:seek(offset, whence?) -> integer",
	"Moves the position and returns it, counted from the beginning of the file. `whence` is "
	"`\"set\"` (the default), `\"cur\"` or `\"end\"`.",
	"0.1"),
    ENTRY("File", "tell", METHOD, "file:tell() -> integer", "The position.", "0.1"),
    ENTRY("File", "tail_stream", METHOD, "file:tail_stream() -> Tail",
	"Follows the file from its position to its end and beyond.", "0.1"),
    ENTRY("File", "fd", METHOD, "file:fd() -> integer",
	"The number of the handle, for `vm:ioctl` and `vm:fd_stream`; it is no descriptor of the "
	"guest's kernel. 0 when the file is closed.",
	"0.1"),
    ENTRY("File", "close", METHOD, "file:close()", "Closes it. Calling it again does nothing.",
	"0.1"),
};

const struct pv_reference_table pv_reference_file = PV_REFERENCE_TABLE(entries);
