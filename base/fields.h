/*
 * Reading a map of a snapshot field by field, strictly: every field that is asked for must be there
 * with its type and within its limit, and nothing else may be. The first error sticks, so a struct
 * is read in a row and checked once. No state of its own; any thread.
 */
#ifndef PV_BASE_FIELDS_H
#define PV_BASE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_val;

struct pv_fields {
	const struct pv_val *map;
	const char *what;   /* names the map in errors; constant text */
	struct pv_err *err; /* filled with the first error */
	uint32_t taken;	    /* fields found so far */
	int status;	    /* 0, or -EBADMSG since the first error */
};

/* Begins to read `map`, which may be anything. */
struct pv_fields pv_fields_begin(const struct pv_val *map, const char *what, struct pv_err *err);

/* A field's value; 0, false or NULL after an error. `max` and the counts are limits that hold. */
uint64_t pv_fields_uint(struct pv_fields *fields, const char *key, uint64_t max);
bool pv_fields_bool(struct pv_fields *fields, const char *key);
/* Binary data, not copied. */
const void *pv_fields_bytes(struct pv_fields *fields, const char *key, size_t max, size_t *len);
/* An array with `min` to `max` elements. */
const struct pv_val *pv_fields_array(
    struct pv_fields *fields, const char *key, uint32_t min, uint32_t max);
/* An array of exactly `count` numbers. */
void pv_fields_uints(
    struct pv_fields *fields, const char *key, uint32_t count, uint64_t max, uint64_t *out);
/* A field of any type; whoever reads it checks the type. */
const struct pv_val *pv_fields_value(struct pv_fields *fields, const char *key);

/* Fails for a reason of the caller's, unless something failed before. */
void pv_fields_fail(struct pv_fields *fields, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Ends reading: 0, or -EBADMSG when something failed or the map has other fields too. */
int pv_fields_end(struct pv_fields *fields);

#endif
