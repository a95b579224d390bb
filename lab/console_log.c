/*
 * The console log. Theory: one growing buffer with offsets that count from the very first byte, so
 * that they stay right when the front is dropped. Whether the kernel panicked is decided as text
 * arrives, each byte looked at once (with an overlap of the pattern's length).
 */
#include "lab/console_log.h"

#include <string.h>

static const char panic_text[] = "Kernel panic - not syncing";

#define PANIC_LEN (sizeof(panic_text) - 1)

static void drop_front(struct pv_console_log *log)
{
	if (log->text.len <= PV_CONSOLE_LOG_MAX)
		return;
	/* A quarter at once, so that a chatty guest does not make every append move everything. */
	size_t count = log->text.len - PV_CONSOLE_LOG_MAX + PV_CONSOLE_LOG_MAX / 4;
	pv_bytes_consume(&log->text, count);
	log->dropped += count;
}

static void look_for_panic(struct pv_console_log *log)
{
	uint64_t from = log->scanned > PANIC_LEN ? log->scanned - PANIC_LEN : 0;
	if (from < log->boot_start)
		from = log->boot_start;
	if (!log->panicked)
		log->panicked = pv_console_log_find(log, panic_text, PANIC_LEN, &from);
	log->scanned = log->dropped + log->text.len;
}

void pv_console_log_append(struct pv_console_log *log, const void *data, size_t len)
{
	if (pv_bytes_append(&log->text, data, len))
		return;
	look_for_panic(log);
	drop_front(log);
}

void pv_console_log_mark_boot(struct pv_console_log *log)
{
	log->boot_start = log->dropped + log->text.len;
	log->boots++;
	log->scanned = log->boot_start;
	log->panicked = false;
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

bool pv_console_log_panic(const struct pv_console_log *log, char *out, size_t size)
{
	if (!log->panicked || size == 0)
		return false;
	uint64_t start = log->boot_start > log->dropped ? log->boot_start - log->dropped : 0;
	const char *text = (const char *)log->text.data + start;
	size_t left = log->text.len - (size_t)start;
	const char *at = memmem(text, left, panic_text, PANIC_LEN);
	if (!at)
		return false;
	size_t len = 0, limit = left - (size_t)(at - text);
	while (len < limit && len < size - 1 && at[len] != '\n' && at[len] != '\r')
		len++;
	memcpy(out, at, len);
	out[len] = '\0';
	return true;
}

void pv_console_log_finish(struct pv_console_log *log)
{
	pv_bytes_finish(&log->text);
}
