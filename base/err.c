/*
 * Error records. All text is formatted into a scratch array first and copied afterwards, so that
 * the arguments may point into the record itself (`pv_err_set(err, ..., "%s", err->text)`), and
 * text that does not fit is cut between characters, because reports write it into JSON and XML,
 * which must be whole UTF-8. No state, any thread.
 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Removes the beginning of a multi-byte character that the cut left at the end of a full record. */
static void trim_cut_character(char *text)
{
	size_t len = strlen(text);
	if (len + 1 < PV_ERR_TEXT_MAX)
		return;
	size_t start = len;
	while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	unsigned char lead = (unsigned char)text[start - 1];
	size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (want > 1 && len - (start - 1) < want)
		text[start - 1] = '\0';
}

static void store(struct pv_err *err, const char *text)
{
	size_t len = strnlen(text, sizeof(err->text) - 1);
	memcpy(err->text, text, len);
	err->text[len] = '\0';
	trim_cut_character(err->text);
}

/* Appends to a text of PV_ERR_TEXT_MAX bytes, cutting what does not fit. */
static void append(char *text, const char *more)
{
	size_t len = strlen(text);
	size_t extra = strnlen(more, PV_ERR_TEXT_MAX - 1 - len);
	memcpy(text + len, more, extra);
	text[len + extra] = '\0';
}

int pv_err_set(struct pv_err *err, enum pv_err_kind kind, int code, const char *fmt, ...)
{
	char text[PV_ERR_TEXT_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	err->kind = kind;
	err->code = code;
	store(err, text);
	return -code;
}

int pv_err_system(struct pv_err *err, int code, const char *fmt, ...)
{
	char text[PV_ERR_TEXT_MAX];
	char reason[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	append(text, ": ");
	append(text, strerror_r(code, reason, sizeof(reason)));
	err->kind = PV_ERR_SYSTEM;
	err->code = code;
	store(err, text);
	return -code;
}

int pv_err_prefix(struct pv_err *err, const char *fmt, ...)
{
	char text[PV_ERR_TEXT_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	append(text, ": ");
	append(text, err->text);
	store(err, text);
	return -err->code;
}

int pv_err_nomem(struct pv_err *err, const char *what)
{
	return pv_err_set(err, PV_ERR_SYSTEM, ENOMEM, "out of memory (%s)", what);
}
