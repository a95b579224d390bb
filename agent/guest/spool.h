/*
 * What a program wrote, kept from the first byte on in a file without a name, for any number of
 * readers that each begin at the beginning. Everything here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_SPOOL_H
#define PV_AGENT_GUEST_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/proto/protocol.h"

struct pv_call;
struct pv_spool_reader;

struct pv_spool {
	unsigned references;
	int fd; /* -1 until there is something to keep */
	uint64_t size;
	bool ended; /* nothing more comes */
	int error;  /* why it ended early, a positive errno, or 0 */
	struct pv_spool_reader *first;
};

#define PV_SPOOL_NO_LIMIT UINT64_MAX

/* In the memory of who reads; zeroed: not reading. */
struct pv_spool_reader {
	struct pv_spool_reader *next;
	struct pv_spool *spool;
	struct pv_call *call;
	enum pv_protocol_channel channel;
	uint64_t offset;
	uint64_t allowance; /* bytes that may be sent, PV_SPOOL_NO_LIMIT */
	/* There is more to read, or the end. May end this reader, and no other one of its spool. */
	void (*moved)(struct pv_spool_reader *reader);
};

/* One reference. Returns NULL when out of memory. */
struct pv_spool *pv_spool_create(void);
struct pv_spool *pv_spool_ref(struct pv_spool *spool);
/* NULL is fine. */
void pv_spool_unref(struct pv_spool *spool);

/* Keeps a copy of `len` bytes. Returns 0, or -errno when they found no place. */
int pv_spool_append(struct pv_spool *spool, const void *data, size_t len);

/* Nothing more comes; `error` is 0 or a positive errno. Idempotent. */
void pv_spool_end(struct pv_spool *spool, int error);

/* Begins to read, with `call`, `channel`, `allowance` and `moved` set. Takes a reference. */
void pv_spool_reader_begin(struct pv_spool_reader *reader, struct pv_spool *spool);
/* Idempotent. */
void pv_spool_reader_end(struct pv_spool_reader *reader);

/* Sends what there is, may be sent, and finds room. Returns true when all has been sent. */
bool pv_spool_reader_send(struct pv_spool_reader *reader);

#endif
