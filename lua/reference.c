/*
 * The reference of the test language: the tables of lua/reference_*.c in one row.
 * tests/unit/lua_reference.c holds their names against the real metatables. Constant, any thread.
 */
#include "lua/reference.h"

#include "lua/reference_entry.h"

static const struct pv_reference_table *const tables[] = {
    &pv_reference_test,
    &pv_reference_lab,
    &pv_reference_sys,
    &pv_reference_vm,
    &pv_reference_run,
    &pv_reference_process,
    &pv_reference_worker,
    &pv_reference_file,
    &pv_reference_syscall,
    &pv_reference_console,
    &pv_reference_stream,
    &pv_reference_legacy,
};

const struct pv_reference_entry *pv_reference_at(size_t index)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (index < tables[i]->count)
			return &tables[i]->entries[index];
		index -= tables[i]->count;
	}
	return NULL;
}
