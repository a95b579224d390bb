/*
 * Working sets: what of a frozen guest's RAM is touched between its going on and its first answer.
 * The same pages each time, so whoever restored a snapshot once knows what the next one needs.
 * Nothing here knows of machines.
 */
#ifndef PV_VMM_WORKING_SET_H
#define PV_VMM_WORKING_SET_H

#include <stdint.h>

#include "base/bytes.h"
#include "vmm/ram_runs.h"

struct pv_err;
struct pv_ram;

/* RAM is looked at in pieces of the size of a huge page. */
#define PV_WORKING_SET_PIECE (UINT64_C(2) << 20)

/* More is not kept of one. */
#define PV_WORKING_SET_PIECES_MAX 256u
#define PV_WORKING_SET_RUNS_MAX	  1024u

/* A piece that was touched, and about how many faults a guest takes in it when it is mapped page by
 * page. */
struct pv_working_set_piece {
	uint32_t number; /* from the start of RAM, as it lies in the file */
	uint32_t faults;
};

/* Immutable after it was made; any thread. */
struct pv_working_set {
	uint64_t ram_size;
	unsigned piece_count; /* ascending */
	struct pv_working_set_piece pieces[PV_WORKING_SET_PIECES_MAX];
	/* Pages that were written. */
	unsigned run_count;
	struct pv_ram_run runs[PV_WORKING_SET_RUNS_MAX];
};

/*
 * Looks at what is mapped of private RAM that nobody has touched before its guest went on, which
 * may run. NULL when the host does not tell, or there is no memory. The caller frees it. Any
 * thread.
 */
struct pv_working_set *pv_working_set_take(const struct pv_ram *ram);

/* Appends it to `out`. Returns 0 or -ENOMEM. */
int pv_working_set_write(const struct pv_working_set *set, struct pv_bytes *out);

/* Reads what was written; anything else is -EBADMSG. The caller frees it. Returns 0 or -errno. */
int pv_working_set_read(struct pv_working_set **out, const void *data, size_t len);

#endif
