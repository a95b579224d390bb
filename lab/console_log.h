/*
 * What a guest printed on its consoles since its first boot. Under the loop lock.
 */
#ifndef PV_LAB_CONSOLE_LOG_H
#define PV_LAB_CONSOLE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* More than this is dropped from the front: a guest that prints for ever must not eat the host. */
#define PV_CONSOLE_LOG_MAX (64u << 20)

struct pv_console_log {
	struct pv_bytes text;
	uint64_t
	    dropped; /* bytes no longer in `text`; offsets below count from the first byte ever */
	uint64_t boot_start; /* offset at which the latest boot began */
	unsigned boots;	     /* how many began */
};

/* Adds what the guest printed. Out of memory drops the new bytes. */
void pv_console_log_append(struct pv_console_log *log, const void *data, size_t len);

/* A new boot begins: expectations match later text only. */
void pv_console_log_mark_boot(struct pv_console_log *log);

/*
 * Looks for `pattern` in the text of the latest boot, from `*from` on (an offset; 0 at first).
 * Returns true, or false and moves `*from` so that the next call looks at new text only, yet finds
 * a pattern that came in two pieces.
 */
bool pv_console_log_find(
    const struct pv_console_log *log, const void *pattern, size_t len, uint64_t *from);

void pv_console_log_finish(struct pv_console_log *log);

#endif
