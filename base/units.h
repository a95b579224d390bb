/*
 * Durations ("500ms", "1.5s", "2m", "1h") and sizes ("512M", "2G") as people write them.
 */
#ifndef PV_BASE_UNITS_H
#define PV_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parses `<number><ms|s|m|h>`, decimals allowed, no sign. Returns 0 and nanoseconds (saturated), or -EINVAL. */
int pv_units_duration(const char *text, int64_t *out_ns);

/* Seconds to nanoseconds, saturated; false when not finite or negative. */
bool pv_units_seconds(double seconds, int64_t *out_ns);

/* Parses `<digits>[K|M|G|T][B|iB]`, 1024-based, any case. `allow_t` admits T. Returns 0, -EINVAL, or -ERANGE over 2^63-1. */
int pv_units_size(const char *text, bool allow_t, uint64_t *out_bytes);

/* Writes a duration as "30s", "1.5s" or "250ms" into `out`. Returns `out`. */
const char *pv_units_show_duration(int64_t ns, char *out, size_t size);

#endif
