/*
 * Random numbers of a guest that was copied: kernel and programs of all copies would go on with the
 * same ones.
 */
#ifndef PV_AGENT_GUEST_ENTROPY_H
#define PV_AGENT_GUEST_ENTROPY_H

#include "base/bytes.h"

/*
 * The kernel's random device, for as long as the process lives, from a node that is there for a
 * moment only: called before the guest's init runs, which may never make a /dev. To be closed; -1:
 * not possible, and then it is looked for in /dev each time.
 */
int pv_entropy_open(void);

/*
 * Gives the kernel these bytes of the host's as entropy, at most PV_PROTOCOL_ENTROPY_MAX, and makes
 * its generator begin anew with them: what is read from it afterwards depends on them. A kernel
 * that refuses is complained about on standard error. `device` is from pv_entropy_open. Loop
 * thread; does not block.
 */
void pv_entropy_add(int device, struct pv_span data);

#endif
