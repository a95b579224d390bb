/*
 * UTF-8 as RFC 3629 has it. Hostile input: consoles and scripts hold any bytes. No state, any
 * thread.
 */
#include "base/utf8.h"

#include <errno.h>
#include <stdint.h>

#include "base/bytes.h"

size_t pv_utf8_length(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text;
	if (len == 0)
		return 0;
	if (at[0] < 0x80)
		return 1;
	size_t want = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
	if (at[0] < 0xc2 || at[0] > 0xf4 || len < want)
		return 0;
	for (size_t i = 1; i < want; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	if (at[0] == 0xe0 && at[1] < 0xa0)
		return 0; /* overlong */
	if (at[0] == 0xed && at[1] >= 0xa0)
		return 0; /* surrogate */
	if (at[0] == 0xf0 && at[1] < 0x90)
		return 0; /* overlong */
	if (at[0] == 0xf4 && at[1] >= 0x90)
		return 0; /* over U+10FFFF */
	return want;
}

bool pv_utf8_is_valid(const char *text, size_t len)
{
	while (len > 0) {
		size_t step = pv_utf8_length(text, len);
		if (step == 0)
			return false;
		text += step;
		len -= step;
	}
	return true;
}

int pv_utf8_clean(struct pv_bytes *out, const char *text, size_t len)
{
	size_t good = 0; /* valid bytes at `text` that are not yet copied */
	while (good < len) {
		size_t step = pv_utf8_length(text + good, len - good);
		if (step > 0 && text[good] != '\0') {
			good += step;
			continue;
		}
		if (pv_bytes_append(out, text, good) < 0 ||
		    pv_bytes_append(out, "\xef\xbf\xbd", 3) < 0)
			return -ENOMEM;
		text += good + 1;
		len -= good + 1;
		good = 0;
	}
	return pv_bytes_append(out, text, good);
}
