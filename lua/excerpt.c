/*
 * Console excerpts of failed tests (events-and-protocol section 4). Taken before anything of the
 * test is closed. Script thread only.
 */
#include "lua/excerpt.h"

#include <stddef.h>

#include "base/bytes.h"
#include "base/utf8.h"
#include "lab/lab.h"
#include "lab/vm.h"
#include "lua/state.h"

#define TAIL_MAX 4096

static int write_vm(struct pv_vm *vm, struct pv_bytes *out)
{
	struct pv_bytes tail = {0};
	int status = 0;
	if (pv_vm_state(vm) == PV_VM_CREATED)
		return 0;
	status = pv_vm_console_tail(vm, TAIL_MAX, &tail);
	if (status == 0)
		status = pv_bytes_printf(
		    out, "---- vm %s (last %zu bytes) ----\n", pv_vm_name(vm), tail.len);
	if (status == 0)
		status = pv_utf8_clean(out, (const char *)tail.data, tail.len);
	if (status == 0 && tail.len > 0 && tail.data[tail.len - 1] != '\n')
		status = pv_bytes_append(out, "\n", 1);
	pv_bytes_finish(&tail);
	return status;
}

/* All VMs of a scope, those in sub-labs too. */
static int write_lab(const struct pv_lab *lab, struct pv_bytes *out)
{
	for (size_t i = 0; lab != NULL && i < pv_lab_made_count(lab); i++) {
		int status = write_vm(pv_lab_made_at(lab, i), out);
		if (status < 0)
			return status;
	}
	return 0;
}

int pv_lua_excerpt_write(struct pv_lua *lua, struct pv_bytes *out)
{
	int status = write_lab(lua->test_lab, out);
	return status < 0 ? status : write_lab(lua->root_lab, out);
}
