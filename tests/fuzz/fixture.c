/*
 * Fuzz target: the source of a fixture. The input is scanned for references; each must be text that
 * stands for something.
 */
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "lab/fixture_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_fixture_refs refs;
	struct pv_err err = PV_ERR_INIT;
	const int status = pv_fixture_scan(&refs, (const char *)data, size, &err);
	for (size_t i = 0; i < refs.count && status == 0; i++) {
		if (strlen(refs.items[i].text) == 0 || refs.items[i].kind > PV_FIXTURE_REF_FOLDER)
			__builtin_trap();
	}
	pv_fixture_refs_finish(&refs);
	return 0;
}
