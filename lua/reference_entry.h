/*
 * What the files lua/reference_*.c are made of: one table for each corner of the language. Internal
 * to this layer.
 */
#ifndef PV_LUA_REFERENCE_ENTRY_H
#define PV_LUA_REFERENCE_ENTRY_H

#include "lua/reference.h"

#define FUNCTION PV_REFERENCE_FUNCTION
#define METHOD	 PV_REFERENCE_METHOD
#define FIELD	 PV_REFERENCE_FIELD
#define SETTING	 PV_REFERENCE_SETTING
#define OPTION	 PV_REFERENCE_OPTION

/* In this form the formatter leaves a table readable. */
#define ENTRY(...)          \
	{                   \
		__VA_ARGS__ \
	}

struct pv_reference_table {
	const struct pv_reference_entry *entries;
	size_t count;
};
#define PV_REFERENCE_TABLE(of)                   \
	{                                        \
		of, sizeof(of) / sizeof((of)[0]) \
	}

extern const struct pv_reference_table pv_reference_test;
extern const struct pv_reference_table pv_reference_lab;
extern const struct pv_reference_table pv_reference_vm;
extern const struct pv_reference_table pv_reference_run;
extern const struct pv_reference_table pv_reference_process;
extern const struct pv_reference_table pv_reference_worker;
extern const struct pv_reference_table pv_reference_file;
extern const struct pv_reference_table pv_reference_syscall;
extern const struct pv_reference_table pv_reference_console;
extern const struct pv_reference_table pv_reference_stream;
extern const struct pv_reference_table pv_reference_sys;
extern const struct pv_reference_table pv_reference_legacy;

#endif
