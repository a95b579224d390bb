/*
 * Fixtures without a cache, for tests of the test language: the name decides what happens.
 *
 *   "missing"	is not found
 *   "broken"	could not be built, with a story of several lines
 *   else	is a lab NAME, or a VM `fixture:NAME` or `old:NAME` (of the older kind) of the profile
 * `tiny`, booted
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/fixture.h"
#include "lab/lab.h"
#include "lab/vm.h"

int pv_fixture_vm(const struct pv_fixtures *fixtures, struct pv_lab *lab, const char *name,
    bool legacy, struct pv_vm **out, struct pv_bytes *why, struct pv_err *err)
{
	char vm_name[128];
	if (strcmp(name, "missing") == 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT, "fixture `missing` not found");
	if (strcmp(name, "broken") == 0) {
		pv_bytes_printf(why, "fixture `broken` could not be built: x.fixture.lua:3: boom\n"
				     "---- vm v (last 5 bytes) ----\nhello\n");
		return pv_err_set(err, PV_ERR_GUEST, EIO, "short");
	}
	snprintf(vm_name, sizeof(vm_name), "%s:%s", legacy ? "old" : "fixture", name);
	int status = pv_lab_add_vm(lab, vm_name, "tiny", NULL, out, err);
	return status ? status : pv_vm_boot(*out, NULL, err);
}

int pv_fixture_lab(const struct pv_fixtures *fixtures, struct pv_lab *lab, const char *name,
    struct pv_lab **out, struct pv_bytes *why, struct pv_err *err)
{
	if (strcmp(name, "missing") == 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOENT, "fixture `missing` not found");
	return pv_lab_sub(lab, name, out, err);
}
