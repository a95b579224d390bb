/*
 * Scalars of TOML. Theory: the text was checked to be valid UTF-8 before, so only ASCII decides
 * here and everything above passes through. Control characters other than tab are refused wherever
 * they stand.
 */
#include "lab/toml_scan.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

unsigned pv_toml_line(struct pv_toml_scan *scan)
{
	if (scan->at < scan->line_at)
		scan->line_at = 0, scan->lines_before = 0;
	for (; scan->line_at < scan->at && scan->line_at < scan->len; scan->line_at++)
		scan->lines_before += scan->text[scan->line_at] == '\n';
	return scan->lines_before + 1;
}

int pv_toml_error(struct pv_toml_scan *scan, const char *fmt, ...)
{
	char message[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	size_t start = scan->at;
	while (start > 0 && scan->text[start - 1] != '\n')
		start--;
	return pv_err_set(scan->err, PV_ERR_INPUT, EINVAL, "line %u, column %zu: %s",
	    pv_toml_line(scan), scan->at - start + 1, message);
}

void pv_toml_skip_blanks(struct pv_toml_scan *scan)
{
	while (pv_toml_peek(scan, 0) == ' ' || pv_toml_peek(scan, 0) == '\t')
		scan->at++;
}

/* A newline at the cursor is LF or CR LF: returns its length, or 0. */
static size_t newline(const struct pv_toml_scan *scan)
{
	if (pv_toml_peek(scan, 0) == '\n')
		return 1;
	return pv_toml_peek(scan, 0) == '\r' && pv_toml_peek(scan, 1) == '\n' ? 2 : 0;
}

static bool is_control(int c)
{
	return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f;
}

static int skip_comment(struct pv_toml_scan *scan)
{
	if (pv_toml_peek(scan, 0) != '#')
		return 0;
	while (pv_toml_peek(scan, 0) != -1 && !newline(scan)) {
		if (is_control(pv_toml_peek(scan, 0)))
			return pv_toml_error(scan, "control character in a comment");
		scan->at++;
	}
	return 0;
}

int pv_toml_skip_lines(struct pv_toml_scan *scan)
{
	for (;;) {
		pv_toml_skip_blanks(scan);
		if (skip_comment(scan))
			return -EINVAL;
		size_t len = newline(scan);
		if (!len)
			return 0;
		scan->at += len;
	}
}

int pv_toml_end_line(struct pv_toml_scan *scan)
{
	pv_toml_skip_blanks(scan);
	if (skip_comment(scan))
		return -EINVAL;
	if (pv_toml_peek(scan, 0) == -1)
		return 0;
	size_t len = newline(scan);
	if (!len)
		return pv_toml_error(scan, "expected the end of the line");
	scan->at += len;
	return 0;
}

/* --- strings --- */

static int append_code_point(struct pv_toml_scan *scan, unsigned long code, struct pv_bytes *out)
{
	unsigned char utf8[4];
	size_t len;
	if (code == 0)
		return pv_toml_error(scan, "a NUL character cannot be used here");
	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return pv_toml_error(scan, "escape does not name a Unicode character");
	if (code < 0x80) {
		utf8[0] = (unsigned char)code, len = 1;
	} else if (code < 0x800) {
		utf8[0] = (unsigned char)(0xc0 | code >> 6),
		utf8[1] = (unsigned char)(0x80 | (code & 0x3f)), len = 2;
	} else if (code < 0x10000) {
		utf8[0] = (unsigned char)(0xe0 | code >> 12),
		utf8[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
		utf8[2] = (unsigned char)(0x80 | (code & 0x3f)), len = 3;
	} else {
		utf8[0] = (unsigned char)(0xf0 | code >> 18),
		utf8[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
		utf8[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f)),
		utf8[3] = (unsigned char)(0x80 | (code & 0x3f)), len = 4;
	}
	return pv_bytes_append(out, utf8, len);
}

static int scan_escape(struct pv_toml_scan *scan, bool multiline, struct pv_bytes *out)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	int c = pv_toml_peek(scan, 1);
	const char *known = c > 0 ? strchr(from, c) : NULL;
	if (known) {
		scan->at += 2;
		return pv_bytes_append(out, &to[known - from], 1);
	}
	if (c == 'u' || c == 'U') {
		size_t digits = c == 'u' ? 4 : 8;
		unsigned long code = 0;
		for (size_t i = 0; i < digits; i++) {
			int digit = pv_toml_peek(scan, 2 + i);
			if (digit < 0 || !isxdigit(digit))
				return pv_toml_error(
				    scan, "\\%c needs %zu hexadecimal digits", c, digits);
			code =
			    code << 4 | (unsigned long)(isdigit(digit) ? digit - '0'
								       : tolower(digit) - 'a' + 10);
		}
		int status = append_code_point(scan, code, out);
		scan->at += 2 + digits;
		return status;
	}
	if (multiline) {
		/* A line-ending backslash swallows white space up to the next text. */
		size_t start = scan->at++;
		pv_toml_skip_blanks(scan);
		if (newline(scan)) {
			while (pv_toml_peek(scan, 0) == ' ' || pv_toml_peek(scan, 0) == '\t' ||
			       newline(scan))
				scan->at += newline(scan) ? newline(scan) : 1;
			return 0;
		}
		scan->at = start;
	}
	return pv_toml_error(scan, "unknown escape in a string");
}

/* At the closing delimiter of a triple-quoted string: up to two more quotes belong to the content.
 */
static int end_multiline(struct pv_toml_scan *scan, char quote, struct pv_bytes *out)
{
	size_t quotes = 3;
	while (quotes < 5 && pv_toml_peek(scan, quotes) == quote)
		quotes++;
	scan->at += quotes;
	char extra[2] = {quote, quote};
	return pv_bytes_append(out, extra, quotes - 3);
}

int pv_toml_scan_string(struct pv_toml_scan *scan, bool multiline, struct pv_bytes *out)
{
	char quote = (char)pv_toml_peek(scan, 0);
	bool triple = pv_toml_peek(scan, 1) == quote && pv_toml_peek(scan, 2) == quote;
	if (triple && !multiline)
		return pv_toml_error(scan, "a multi-line string cannot be a key");
	scan->at += triple ? 3 : 1;
	if (triple)
		scan->at += newline(scan);
	for (;;) {
		int c = pv_toml_peek(scan, 0), status = 0;
		size_t line_end = newline(scan);
		if (c == quote && triple && pv_toml_peek(scan, 1) == quote &&
		    pv_toml_peek(scan, 2) == quote)
			return end_multiline(scan, quote, out);
		if (c == quote && !triple) {
			scan->at++;
			return 0;
		}
		if (c == -1)
			return pv_toml_error(scan, "the string is not closed");
		if (line_end && !triple)
			return pv_toml_error(
			    scan, "a newline ends the string before its closing quote");
		if (is_control(c) && !line_end)
			return pv_toml_error(scan, "control character in a string; use an escape");
		if (c == '\\' && quote == '"') {
			status = scan_escape(scan, triple, out);
		} else {
			/* CR LF is one newline of the content, as other readers have it. */
			status = pv_bytes_append(out, line_end ? "\n" : scan->text + scan->at, 1);
			scan->at += line_end ? line_end : 1;
		}
		if (status)
			return status;
	}
}

/* --- numbers, booleans, dates --- */

/* Copies digits of `base`, without underscores, which must stand between digits. Returns the count,
 * or 0 with the error set. */
static size_t take_digits(
    struct pv_toml_scan *scan, int base, char *out, size_t *out_len, size_t size)
{
	size_t count = 0;
	for (bool after_digit = false;; scan->at++) {
		int c = pv_toml_peek(scan, 0);
		bool digit = c >= 0 && (base == 16 ? isxdigit(c) : c >= '0' && c < '0' + base);
		if (digit) {
			if (*out_len + 2 > size)
				return pv_toml_error(scan, "the number is too long"), 0;
			out[(*out_len)++] = (char)c;
			out[*out_len] = '\0';
			count++;
		} else if (c == '_' && after_digit) {
			int next = pv_toml_peek(scan, 1);
			if (next < 0 ||
			    (base == 16 ? !isxdigit(next) : next < '0' || next >= '0' + base))
				return pv_toml_error(
					   scan, "an underscore must stand between digits"),
				       0;
		} else if (count == 0) {
			return pv_toml_error(scan, "expected a value"), 0;
		} else {
			return count;
		}
		after_digit = digit;
	}
}

static int scan_based(struct pv_toml_scan *scan, int base, struct pv_toml_value *value)
{
	char digits[128];
	size_t len = 0;
	scan->at += 2;
	if (!take_digits(scan, base, digits, &len, sizeof(digits)))
		return -EINVAL;
	errno = 0;
	value->u.integer = strtoll(digits, NULL, base);
	value->type = PV_TOML_INTEGER;
	return errno ? pv_toml_error(scan, "the integer does not fit into 64 bits") : 0;
}

/* `digits` holds sign and integer part; the cursor is at '.', 'e' or 'E'. */
static int scan_float(
    struct pv_toml_scan *scan, char *digits, size_t len, size_t size, struct pv_toml_value *value)
{
	if (pv_toml_peek(scan, 0) == '.') {
		scan->at++;
		digits[len++] = '.';
		if (!take_digits(scan, 10, digits, &len, size - 8))
			return -EINVAL;
	}
	int c = pv_toml_peek(scan, 0);
	if (c == 'e' || c == 'E') {
		scan->at++;
		digits[len++] = 'e';
		c = pv_toml_peek(scan, 0);
		if (c == '+' || c == '-') {
			digits[len++] = (char)c;
			scan->at++;
		}
		if (!take_digits(scan, 10, digits, &len, size))
			return -EINVAL;
	}
	value->type = PV_TOML_FLOAT;
	value->u.number = strtod(digits, NULL);
	return isfinite(value->u.number) ? 0 : pv_toml_error(scan, "the number is too large");
}

static int scan_number(struct pv_toml_scan *scan, struct pv_toml_value *value)
{
	char digits[512];
	size_t len = 0;
	int sign = pv_toml_peek(scan, 0);
	if (sign == '+' || sign == '-') {
		digits[len++] = (char)sign;
		scan->at++;
	}
	if (scan->at + 3 <= scan->len && (memcmp(scan->text + scan->at, "inf", 3) == 0 ||
					     memcmp(scan->text + scan->at, "nan", 3) == 0)) {
		double special = scan->text[scan->at] == 'i' ? INFINITY : NAN;
		value->type = PV_TOML_FLOAT;
		value->u.number = sign == '-' ? -special : special;
		scan->at += 3;
		return 0;
	}
	if (len == 0 && pv_toml_peek(scan, 0) == '0') {
		int c = pv_toml_peek(scan, 1);
		int base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
		if (base)
			return scan_based(scan, base, value);
	}
	size_t first = len;
	if (!take_digits(scan, 10, digits, &len, 400))
		return -EINVAL;
	if (digits[first] == '0' && len - first > 1)
		return pv_toml_error(scan, "a number cannot begin with 0");
	int c = pv_toml_peek(scan, 0);
	if (c == '.' || c == 'e' || c == 'E')
		return scan_float(scan, digits, len, sizeof(digits), value);
	errno = 0;
	value->type = PV_TOML_INTEGER;
	value->u.integer = strtoll(digits, NULL, 10);
	return errno ? pv_toml_error(scan, "the integer does not fit into 64 bits") : 0;
}

/* Exactly `count` digits with a value of `min` to `max`; -1 otherwise. */
static int date_part(const struct pv_toml_scan *scan, size_t offset, size_t count, int min, int max)
{
	int number = 0;
	for (size_t i = 0; i < count; i++) {
		int c = pv_toml_peek(scan, offset + i);
		if (c < '0' || c > '9')
			return -1;
		number = number * 10 + (c - '0');
	}
	return number >= min && number <= max ? number : -1;
}

static size_t time_length(const struct pv_toml_scan *scan, size_t at)
{
	if (date_part(scan, at, 2, 0, 23) < 0 || pv_toml_peek(scan, at + 2) != ':' ||
	    date_part(scan, at + 3, 2, 0, 59) < 0 || pv_toml_peek(scan, at + 5) != ':' ||
	    date_part(scan, at + 6, 2, 0, 59) < 0)
		return 0;
	size_t len = 8;
	if (pv_toml_peek(scan, at + len) == '.' && date_part(scan, at + len + 1, 1, 0, 9) >= 0) {
		len++;
		while (date_part(scan, at + len, 1, 0, 9) >= 0)
			len++;
	}
	return len;
}

static size_t offset_length(const struct pv_toml_scan *scan, size_t at)
{
	int c = pv_toml_peek(scan, at);
	if (c == 'Z' || c == 'z')
		return 1;
	bool valid = (c == '+' || c == '-') && date_part(scan, at + 1, 2, 0, 23) >= 0 &&
		     pv_toml_peek(scan, at + 3) == ':' && date_part(scan, at + 4, 2, 0, 59) >= 0;
	return valid ? 6 : 0;
}

/* Length of a date, time or both at the cursor; 0 when there is none; -1 when it is one but wrong.
 */
static long datetime_length(const struct pv_toml_scan *scan)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	if (date_part(scan, 0, 2, 0, 99) >= 0 && pv_toml_peek(scan, 2) == ':') {
		size_t len = time_length(scan, 0);
		return len ? (long)len : -1;
	}
	if (date_part(scan, 0, 4, 0, 9999) < 0 || pv_toml_peek(scan, 4) != '-')
		return 0;
	int year = date_part(scan, 0, 4, 0, 9999), month = date_part(scan, 5, 2, 1, 12),
	    day = date_part(scan, 8, 2, 1, 31);
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (month < 0 || day < 0 || pv_toml_peek(scan, 7) != '-' ||
	    day > days[month - 1] + (month == 2 && leap))
		return -1;
	int separator = pv_toml_peek(scan, 10);
	if (separator != 'T' && separator != 't' &&
	    !(separator == ' ' && date_part(scan, 11, 2, 0, 99) >= 0))
		return 10;
	size_t len = time_length(scan, 11);
	return len ? (long)(11 + len + offset_length(scan, 11 + len)) : -1;
}

int pv_toml_scan_plain(struct pv_toml_scan *scan, struct pv_toml_value *value)
{
	static const char *const words[] = {"false", "true"};
	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(words[i]);
		if (scan->len - scan->at >= len &&
		    memcmp(scan->text + scan->at, words[i], len) == 0) {
			scan->at += len;
			value->type = PV_TOML_BOOLEAN;
			value->u.boolean = i == 1;
			return 0;
		}
	}
	long len = datetime_length(scan);
	if (len < 0)
		return pv_toml_error(scan, "no such date or time");
	if (len == 0)
		return scan_number(scan, value);
	value->type = PV_TOML_DATETIME;
	value->u.string.text = strndup(scan->text + scan->at, (size_t)len);
	value->u.string.len = (size_t)len;
	scan->at += (size_t)len;
	return value->u.string.text ? 0 : pv_err_nomem(scan->err, "TOML");
}
