/*
 * msgpack, the one binary encoding of the house: events, agent messages and snapshot sections. Writing appends to a byte buffer; reading
 * parses a whole document into values that are looked at by type. The library behind it shows nowhere else.
 */
#ifndef PV_BASE_PACK_H
#define PV_BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_bytes;
struct pv_err;

/*
 * A writer. Zero it and set `out`. The first failure (out of memory) sticks in `status` and later calls do nothing, so a message is written
 * in a row and checked once.
 */
struct pv_pack {
	struct pv_bytes *out;
	int status; /* 0 or -ENOMEM */
};

void pv_pack_nil(struct pv_pack *pack);
void pv_pack_bool(struct pv_pack *pack, bool value);
void pv_pack_int(struct pv_pack *pack, int64_t value);
void pv_pack_uint(struct pv_pack *pack, uint64_t value);
void pv_pack_float(struct pv_pack *pack, double value);
void pv_pack_str(struct pv_pack *pack, const char *text); /* NULL becomes nil */
void pv_pack_strn(struct pv_pack *pack, const char *text, size_t len);
void pv_pack_bin(struct pv_pack *pack, const void *data, size_t len);
void pv_pack_array(struct pv_pack *pack, uint32_t count); /* `count` values follow */
void pv_pack_map(struct pv_pack *pack, uint32_t count);	  /* `count` pairs follow */

/* A value of a parsed document; valid until the document is destroyed. NULL stands for "not there" and is accepted by every accessor. */
struct pv_val;
struct pv_doc;

enum pv_val_type {
	PV_VAL_NONE, /* not there */
	PV_VAL_NIL,
	PV_VAL_BOOL,
	PV_VAL_INT, /* fits int64 */
	PV_VAL_UINT, /* larger than INT64_MAX */
	PV_VAL_FLOAT,
	PV_VAL_STR,
	PV_VAL_BIN,
	PV_VAL_ARRAY,
	PV_VAL_MAP,
	PV_VAL_EXT,
};

/*
 * Parses one document that fills `len` bytes exactly. Hostile input is expected: nesting is at most 32 deep, and memory is bounded by a small
 * multiple of `len`. Strings and binaries point into `data`, which must outlive the document. Returns 0 or -EBADMSG/-ENOMEM.
 */
int pv_doc_parse(struct pv_doc **out, const void *data, size_t len, struct pv_err *err);
const struct pv_val *pv_doc_root(const struct pv_doc *doc);
void pv_doc_destroy(struct pv_doc *doc);

enum pv_val_type pv_val_type(const struct pv_val *val);
/* The accessors return false, and leave the output alone, when the value has another type or does not fit. */
bool pv_val_bool(const struct pv_val *val, bool *out);
bool pv_val_int(const struct pv_val *val, int64_t *out);
bool pv_val_uint(const struct pv_val *val, uint64_t *out);
bool pv_val_float(const struct pv_val *val, double *out); /* also takes integers */
bool pv_val_str(const struct pv_val *val, const char **text, size_t *len); /* str only; not NUL-terminated */
bool pv_val_bytes(const struct pv_val *val, const void **data, size_t *len); /* str or bin */
/* Number of elements of an array or pairs of a map, else 0. */
uint32_t pv_val_count(const struct pv_val *val);
const struct pv_val *pv_val_at(const struct pv_val *array, uint32_t index);
/* The value of a string key (the first, when a hostile map repeats it). */
const struct pv_val *pv_val_get(const struct pv_val *map, const char *key);
const struct pv_val *pv_val_key_at(const struct pv_val *map, uint32_t index);
const struct pv_val *pv_val_value_at(const struct pv_val *map, uint32_t index);

#endif
