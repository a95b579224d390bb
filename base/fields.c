/*
 * Reading the maps of a snapshot. The file may be hostile: nothing is taken that was not checked
 * here or by the caller. Unknown fields are errors, not ignored, because a state that is understood
 * by half runs a guest into the ground in ways that nobody can explain; compatibility is the
 * business of the snapshot's version.
 *
 * Called by whoever loads the state of a device or a machine.
 */
#include "base/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/pack.h"

void pv_fields_fail(struct pv_fields *fields, const char *fmt, ...)
{
	if (fields->status < 0)
		return;
	char text[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fields->status =
	    pv_err_set(fields->err, PV_ERR_INPUT, EBADMSG, "state of %s: %s", fields->what, text);
}

struct pv_fields pv_fields_begin(const struct pv_val *map, const char *what, struct pv_err *err)
{
	struct pv_fields fields = {.map = map, .what = what, .err = err};
	if (pv_val_type(map) != PV_VAL_MAP)
		pv_fields_fail(&fields, "it is not a map");
	return fields;
}

const struct pv_val *pv_fields_value(struct pv_fields *fields, const char *key)
{
	if (fields->status < 0)
		return NULL;
	const struct pv_val *val = pv_val_get(fields->map, key);
	if (val)
		fields->taken++;
	else
		pv_fields_fail(fields, "field `%s` is missing", key);
	return val;
}

/* Takes a number that is not negative; false after an error. */
static bool take_uint(struct pv_fields *fields, const char *key, const struct pv_val *val,
    uint64_t max, uint64_t *out)
{
	uint64_t value;
	if (!pv_val_uint(val, &value)) {
		pv_fields_fail(fields, "field `%s` is not a number from 0 up", key);
		return false;
	}
	if (value > max) {
		pv_fields_fail(fields,
		    "field `%s` is %" PRIu64 ", and its largest value is %" PRIu64, key, value,
		    max);
		return false;
	}
	*out = value;
	return true;
}

uint64_t pv_fields_uint(struct pv_fields *fields, const char *key, uint64_t max)
{
	const struct pv_val *val = pv_fields_value(fields, key);
	uint64_t value = 0;
	return val && take_uint(fields, key, val, max, &value) ? value : 0;
}

bool pv_fields_bool(struct pv_fields *fields, const char *key)
{
	const struct pv_val *val = pv_fields_value(fields, key);
	bool value = false;
	if (val && !pv_val_bool(val, &value))
		pv_fields_fail(fields, "field `%s` is not true or false", key);
	return value;
}

const void *pv_fields_bytes(struct pv_fields *fields, const char *key, size_t max, size_t *len)
{
	const struct pv_val *val = pv_fields_value(fields, key);
	const void *data = NULL;
	*len = 0;
	if (!val)
		return NULL;
	if (pv_val_type(val) != PV_VAL_BIN || !pv_val_bytes(val, &data, len)) {
		pv_fields_fail(fields, "field `%s` is not binary data", key);
		return NULL;
	}
	if (*len > max) {
		pv_fields_fail(fields, "field `%s` has %zu bytes, more than %zu", key, *len, max);
		*len = 0;
		return NULL;
	}
	return data;
}

const struct pv_val *pv_fields_array(
    struct pv_fields *fields, const char *key, uint32_t min, uint32_t max)
{
	const struct pv_val *val = pv_fields_value(fields, key);
	if (!val)
		return NULL;
	if (pv_val_type(val) != PV_VAL_ARRAY) {
		pv_fields_fail(fields, "field `%s` is not an array", key);
		return NULL;
	}
	const uint32_t count = pv_val_count(val);
	if (count < min || count > max) {
		pv_fields_fail(fields,
		    "field `%s` has %" PRIu32 " elements instead of %" PRIu32 " to %" PRIu32, key,
		    count, min, max);
		return NULL;
	}
	return val;
}

void pv_fields_uints(
    struct pv_fields *fields, const char *key, uint32_t count, uint64_t max, uint64_t *out)
{
	const struct pv_val *array = pv_fields_array(fields, key, count, count);
	for (uint32_t i = 0; i < count; i++) {
		out[i] = 0;
		if (array)
			take_uint(fields, key, pv_val_at(array, i), max, &out[i]);
	}
}

int pv_fields_end(struct pv_fields *fields)
{
	if (fields->status == 0 && pv_val_count(fields->map) != fields->taken)
		pv_fields_fail(fields,
		    "it has %" PRIu32 " fields, of which only %" PRIu32 " are known",
		    pv_val_count(fields->map), fields->taken);
	return fields->status;
}
