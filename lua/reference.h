/*
 * Every public name of the test language in one place: the reference pages, the editor stubs and a
 * test that compares it with the real metatables are made from it.
 */
#ifndef PV_LUA_REFERENCE_H
#define PV_LUA_REFERENCE_H

#include <stddef.h>

enum pv_reference_kind {
	PV_REFERENCE_FUNCTION, /* called with a dot or as a global */
	PV_REFERENCE_METHOD,   /* called with a colon */
	PV_REFERENCE_FIELD,    /* read */
	PV_REFERENCE_SETTING,  /* read and assigned */
	PV_REFERENCE_OPTION,   /* a key of an options table */
};

/* Strings are constants in UTF-8; `text` is one paragraph without line breaks, names in back-ticks.
 */
struct pv_reference_entry {
	/* The type or library it belongs to: `global`, `json`, `Lab`, `sys`, `VM`, `VmOptions`,
	 * `RestoreOptions`, `RunOptions`, `RunResult`, `Stat`, `DirEntry`, `File`, `Tail`, `ConsoleStream`, `Console`, `Snapshot`,
	 * `LabSnapshot`, `Test`, `Meta`. */
	const char *owner;
	const char *name;
	enum pv_reference_kind kind;
	const char *signature; /* `vm:read_file(path) -> string`; for fields and options the type */
	const char *text;
	const char *since; /* version */
};

/* The entries in order, those of one owner in a row; NULL behind the last. */
const struct pv_reference_entry *pv_reference_at(size_t index);

#endif
