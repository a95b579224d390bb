/*
 * What people write for times and sizes. Parsed by hand in integers: no locale, no rounding
 * surprises, and a definite answer for every overflow. Durations saturate, because a very long wait
 * is as good as for ever; sizes do not, because nobody can have them. Any thread.
 */
#include "base/units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS     INT64_C(1000000)
#define NS_PER_SECOND INT64_C(1000000000)

/* More digits behind the point than these cannot change the result by a nanosecond. */
#define FRACTION_DIGITS 18

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Nanoseconds of a unit, 0 when there is no such unit. */
static uint64_t duration_unit(const char *name)
{
	if (strcmp(name, "ms") == 0)
		return NS_PER_MS;
	if (strcmp(name, "s") == 0)
		return NS_PER_SECOND;
	if (strcmp(name, "m") == 0)
		return 60 * NS_PER_SECOND;
	if (strcmp(name, "h") == 0)
		return 3600 * NS_PER_SECOND;
	return 0;
}

int pv_units_duration(const char *text, int64_t *out_ns)
{
	uint64_t whole = 0, fraction = 0, scale = 1;
	const char *at = text;
	if (!is_digit(*at))
		return -EINVAL;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(whole, UINT64_C(10), &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*at - '0'), &whole))
			whole = UINT64_MAX / 10; /* stays above every limit: see below */
	}
	if (*at == '.') {
		at++;
		if (!is_digit(*at))
			return -EINVAL;
		for (unsigned digits = 0; is_digit(*at); at++, digits++) {
			if (digits >= FRACTION_DIGITS)
				continue;
			fraction = fraction * 10 + (uint64_t)(*at - '0');
			scale *= 10;
		}
	}
	uint64_t unit = duration_unit(at);
	if (unit == 0)
		return -EINVAL;
	/*
	 * UINT64_MAX / 10 of the smallest unit is already beyond INT64_MAX nanoseconds, and the
	 * product of two 64-bit numbers fits 128.
	 */
	unsigned __int128 total = (unsigned __int128)whole * unit;
	total += (unsigned __int128)fraction * unit / scale;
	*out_ns = total > INT64_MAX ? INT64_MAX : (int64_t)total;
	return 0;
}

bool pv_units_seconds(double seconds, int64_t *out_ns)
{
	if (!isfinite(seconds) || seconds < 0)
		return false;
	double ns = seconds * 1e9 + 0.5;
	/* 2^63 as a double: the first value that does not fit. */
	*out_ns = ns >= 9223372036854775808.0 ? INT64_MAX : (int64_t)ns;
	return true;
}

/* The power of 1024 behind a prefix letter, 0 when it is none. */
static unsigned size_power(char c)
{
	switch (c) {
	case 'k':
	case 'K': return 1;
	case 'm':
	case 'M': return 2;
	case 'g':
	case 'G': return 3;
	case 't':
	case 'T': return 4;
	default: return 0;
	}
}

int pv_units_size(const char *text, bool allow_t, uint64_t *out_bytes)
{
	uint64_t value = 0;
	bool too_large = false;
	const char *at = text;
	if (!is_digit(*at))
		return -EINVAL;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			too_large = true;
	}
	unsigned power = size_power(*at);
	if (power == 4 && !allow_t)
		return -EINVAL;
	if (power > 0) {
		at++;
		if (*at == 'i' || *at == 'I') {
			at++;
			if (*at != 'b' && *at != 'B')
				return -EINVAL;
		}
	}
	if (*at == 'b' || *at == 'B')
		at++;
	if (*at != '\0')
		return -EINVAL;
	if (too_large || value > (uint64_t)INT64_MAX >> (10 * power))
		return -ERANGE;
	*out_bytes = value << (10 * power);
	return 0;
}

/* "<whole>.<fraction><unit>" without zeros at the end; `digits` is the width of the fraction. */
static void show(
    char *out, size_t size, int64_t whole, int64_t fraction, int digits, const char *unit)
{
	while (digits > 0 && fraction % 10 == 0) {
		fraction /= 10;
		digits--;
	}
	if (digits == 0)
		snprintf(out, size, "%lld%s", (long long)whole, unit);
	else
		snprintf(out, size, "%lld.%0*lld%s", (long long)whole, digits, (long long)fraction,
		    unit);
}

const char *pv_units_show_duration(int64_t ns, char *out, size_t size)
{
	if (ns <= 0) {
		snprintf(out, size, "0s");
	} else if (ns < NS_PER_SECOND) {
		show(out, size, ns / NS_PER_MS, ns % NS_PER_MS, 6, "ms");
	} else {
		/* To the nearest millisecond; finer digits only hide the number. */
		int64_t ms = ns / NS_PER_MS + (ns % NS_PER_MS >= NS_PER_MS / 2);
		show(out, size, ms / 1000, ms % 1000, 3, "s");
	}
	return out;
}
