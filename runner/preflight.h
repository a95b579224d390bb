/*
 * What must be there before any test can boot a guest: /dev/kvm, and hardware under it.
 */
#ifndef PV_RUNNER_PREFLIGHT_H
#define PV_RUNNER_PREFLIGHT_H

#include <stdio.h>

/* Checks and prints a line and an arrow with the advice for each finding. Returns the number of
 * findings. */
int pv_preflight_check(FILE *out);

#endif
