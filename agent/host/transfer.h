/*
 * The usual course of an operation: ask, send bulk data, collect data, wait for the answer; private
 * to agent/host.
 */
#ifndef PV_AGENT_HOST_TRANSFER_H
#define PV_AGENT_HOST_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/host/call.h"

struct pv_agent_transfer {
	struct pv_request request;
	struct pv_bytes *sink; /* for data from the guest, or NULL */
	struct pv_span first;  /* data for the guest that is in the request */
	struct pv_span rest;   /* and what follows it; the request must say that there is more */
	bool (*result)(void *ctx, const struct pv_reply *reply); /* NULL: without fields */
	void *ctx;
};

/* How much of `len` bytes fits into the request. */
size_t pv_agent_transfer_first(size_t len);

/* Returns 0 or -errno; the error has no word about the operation yet. Script thread, without the
 * loop lock. */
int pv_agent_transfer_run(
    const struct pv_principal *by, struct pv_agent_transfer *transfer, struct pv_err *err);

#endif
