/*
 * Start-up checks. Theory: the built-in VMM needs nothing but /dev/kvm, so there is one check; the
 * sentence of the failed open already says what to do, behind its semicolon.
 */
#include "runner/preflight.h"

#include <string.h>

#include "base/err.h"
#include "vmm/kvm.h"

static void print_finding(FILE *out, const struct pv_err *err)
{
	const char *advice = strstr(err->text, "; ");
	if (!advice) {
		fprintf(out, "provium: %s\n", err->text);
		return;
	}
	fprintf(out, "provium: %.*s\n  → %s\n", (int)(advice - err->text), err->text, advice + 2);
}

int pv_preflight_check(FILE *out)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kvm kvm;
	int status = pv_kvm_open(&kvm, &err);
	if (!status) {
		status = pv_kvm_require_hardware(&kvm, &err);
		pv_kvm_close(&kvm);
	}
	if (!status)
		return 0;
	print_finding(out, &err);
	return 1;
}
