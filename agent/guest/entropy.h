/*
 * Random numbers of a guest that was copied: kernel and programs of all copies would go on with the
 * same ones.
 */
#ifndef PV_AGENT_GUEST_ENTROPY_H
#define PV_AGENT_GUEST_ENTROPY_H

#include "base/bytes.h"

/*
 * Gives the kernel these bytes of the host's as entropy, at most PV_PROTOCOL_ENTROPY_MAX, and makes
 * its generator begin anew with them: what is read from it afterwards depends on them. A kernel
 * that refuses is complained about on standard error. Loop thread; does not block.
 */
void pv_entropy_add(struct pv_span data);

#endif
