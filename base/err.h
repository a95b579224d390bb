/*
 * Errors as values: a fixed-size record that says what went wrong in words. Functions that can fail return 0 or a negative errno and
 * fill the record that they were given as last argument; nothing is allocated, so reporting an error cannot fail.
 */
#ifndef PV_BASE_ERR_H
#define PV_BASE_ERR_H

#include <stdarg.h>

/* Long enough for a sentence with two paths in it; longer text is cut. */
#define PV_ERR_TEXT_MAX 1024

enum pv_err_kind {
	PV_ERR_NONE,
	PV_ERR_SYSTEM,	/* the host's kernel refused */
	PV_ERR_INPUT,	/* a file, an option or a script is wrong */
	PV_ERR_STATE,	/* the object is not in a state for that */
	PV_ERR_GUEST,	/* the guest did something, or died */
	PV_ERR_TIMEOUT, /* a deadline passed */
	PV_ERR_LIMIT,	/* a named limit would be exceeded */
	PV_ERR_INTERNAL,
};

struct pv_err {
	enum pv_err_kind kind;
	int code; /* positive errno */
	char text[PV_ERR_TEXT_MAX];
};

/* An empty record: `struct pv_err err = PV_ERR_INIT;` */
#define PV_ERR_INIT {.kind = PV_ERR_NONE}

/* Fills `err` and returns -code. `code` is a positive errno. Thread-safe; `err` must not be NULL. */
int pv_err_set(struct pv_err *err, enum pv_err_kind kind, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As pv_err_set with kind PV_ERR_SYSTEM; appends ": " and the text of errno `code`. Returns -code. */
int pv_err_system(struct pv_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<formatted>: " before the text that is there. Returns -err->code, so that `return pv_err_prefix(...)` passes the error on. */
int pv_err_prefix(struct pv_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "out of memory (<what>)". Returns -ENOMEM. */
int pv_err_nomem(struct pv_err *err, const char *what);

#endif
