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
};

const struct pv_reference_table pv_reference_file = PV_REFERENCE_TABLE(entries);
