/*
 * The console log. Theory: one growing buffer with offsets that count from the very first byte, so
 * that they stay right when the front is dropped. (What the kernel reports about itself is found
 * elsewhere, in the consoles one by one: lab/report_scan.c.)
 */
#include "lab/console_log.h"

#include <string.h>

static void drop_front(struct pv_console_log *log)
{
	if (log->text.len <= PV_CONSOLE_LOG_MAX)
		return;
	/* A quarter at once, so that a chatty guest does not make every append move everything. */
	size_t count = log->text.len - PV_CONSOLE_LOG_MAX + PV_CONSOLE_LOG_MAX / 4;
	pv_bytes_consume(&log->text, count);
	log->dropped += count;
}

void pv_console_log_append(struct pv_console_log *log, const void *data, size_t len)
{
	if (pv_bytes_append(&log->text, data, len))
		return;
	drop_front(log);
}

void pv_console_log_mark_boot(struct pv_console_log *log)
{
	log->boot_start = log->dropped + log->text.len;
	log->boots++;
}

bool pv_console_log_find(
    const struct pv_console_log *log, const void *pattern, size_t len, uint64_t *from)
{
	uint64_t start = *from < log->boot_start ? log->boot_start : *from;
	if (start < log->dropped)
		start = log->dropped;
	uint64_t end = log->dropped + log->text.len;
	if (len == 0)
		return true;
	if (start < end &&
	    memmem(log->text.data + (start - log->dropped), (size_t)(end - start), pattern, len))
		return true;
	/* A match may have begun in the last len - 1 bytes. */
	uint64_t next = end > len - 1 ? end - (len - 1) : 0;
	*from = next > start ? next : start;
	return false;
}

void pv_console_log_finish(struct pv_console_log *log)
{
	pv_bytes_finish(&log->text);
}
