/*
 * The scanner under the TOML reader: a cursor over the text, and the scalar values. Private to
 * lab/toml*.c.
 */
#ifndef PV_LAB_TOML_SCAN_H
#define PV_LAB_TOML_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "lab/toml.h"

struct pv_toml_scan {
	const char *text;
	size_t len;
	size_t at;
	struct pv_err *err;
	/* The line of an earlier position, so that lines are counted once. */
	size_t line_at;
	unsigned lines_before;
};

/* The byte at the cursor plus `ahead`, or -1 at the end. */
static inline int pv_toml_peek(const struct pv_toml_scan *scan, size_t ahead)
{
	return scan->at + ahead < scan->len ? (unsigned char)scan->text[scan->at + ahead] : -1;
}

/* Sets the error at the cursor. Returns -EINVAL. */
int pv_toml_error(struct pv_toml_scan *scan, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The line of the cursor, from 1. */
unsigned pv_toml_line(struct pv_toml_scan *scan);

/* Skips blanks and tabs. */
void pv_toml_skip_blanks(struct pv_toml_scan *scan);

/* Skips white space, newlines and comments. Returns 0 or -EINVAL for a bad byte in a comment. */
int pv_toml_skip_lines(struct pv_toml_scan *scan);

/* Demands the end of a line: blanks, a comment, then a newline or the end of the text. */
int pv_toml_end_line(struct pv_toml_scan *scan);

/* A string in any of the four forms; `multiline` admits the triple-quoted ones. Appends the content
 * to `out`. */
int pv_toml_scan_string(struct pv_toml_scan *scan, bool multiline, struct pv_bytes *out);

/* Booleans, numbers and dates at the cursor into `value` (type and content). */
int pv_toml_scan_plain(struct pv_toml_scan *scan, struct pv_toml_value *value);

#endif
