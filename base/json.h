/*
 * Writing JSON (RFC 8259) piece by piece. Commas and colons come by themselves; bytes that are no
 * valid UTF-8 become U+FFFD.
 */
#ifndef PV_BASE_JSON_H
#define PV_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_bytes;

/* A writer. Zero it and set `out`. The first failure (out of memory) sticks in `status` and later
 * calls do nothing. */
struct pv_json {
	struct pv_bytes *out;
	int status;
	bool after_value; /* a comma is due before the next value */
};

void pv_json_null(struct pv_json *json);
void pv_json_bool(struct pv_json *json, bool value);
void pv_json_int(struct pv_json *json, int64_t value);
/* NaN and infinities become null, for JSON has no word for them. */
void pv_json_float(struct pv_json *json, double value);
void pv_json_str(struct pv_json *json, const char *text); /* NULL becomes null */
void pv_json_strn(struct pv_json *json, const char *text, size_t len);
void pv_json_array_begin(struct pv_json *json);
void pv_json_array_end(struct pv_json *json);
void pv_json_object_begin(struct pv_json *json);
void pv_json_object_end(struct pv_json *json);
/* Before the value of each member of an object. */
void pv_json_key(struct pv_json *json, const char *key);
void pv_json_keyn(struct pv_json *json, const char *key, size_t len);

#endif
