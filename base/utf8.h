/*
 * Text for reports: events, JSON and XML must be whole UTF-8, Lua strings and consoles hold any
 * bytes.
 */
#ifndef PV_BASE_UTF8_H
#define PV_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

struct pv_bytes;

/* The length of the valid character at `text` (RFC 3629: no surrogates, nothing overlong), or 0
 * when there is none. */
size_t pv_utf8_length(const char *text, size_t len);

bool pv_utf8_is_valid(const char *text, size_t len);

/* Appends `text` with each byte that is part of no character, and each NUL, replaced by U+FFFD.
 * Returns 0 or -ENOMEM. */
int pv_utf8_clean(struct pv_bytes *out, const char *text, size_t len);

#endif
