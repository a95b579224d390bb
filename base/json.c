/*
 * The JSON writer. Theory: `after_value` is the whole state: it is set behind a value and cleared
 * behind an opening bracket or a colon, and decides whether a comma comes first. Text is copied in
 * runs; only what JSON or UTF-8 forbids is replaced.
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/utf8.h"

static void put(struct pv_json *json, const char *text, size_t len)
{
	if (!json->status)
		json->status = pv_bytes_append(json->out, text, len);
}

static void begin_value(struct pv_json *json)
{
	if (json->after_value)
		put(json, ",", 1);
	json->after_value = true;
}

static void put_word(struct pv_json *json, const char *word)
{
	begin_value(json);
	put(json, word, strlen(word));
}

static void put_escape(struct pv_json *json, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	char text[8];
	const char *at = c ? strchr(from, c) : NULL;
	int len = at ? snprintf(text, sizeof(text), "\\%c", to[at - from])
		     : snprintf(text, sizeof(text), "\\u%04x", c);
	put(json, text, (size_t)len);
}

static void put_text(struct pv_json *json, const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t run = 0;
	put(json, "\"", 1);
	for (size_t i = 0; i < len;) {
		size_t valid = pv_utf8_length(text + i, len - i);
		if (valid && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] != 0x7f) {
			i += valid;
			continue;
		}
		put(json, text + run, i - run);
		if (valid)
			put_escape(json, s[i]);
		else
			put(json, "\xef\xbf\xbd", 3);
		run = ++i;
	}
	put(json, text + run, len - run);
	put(json, "\"", 1);
}

void pv_json_null(struct pv_json *json)
{
	put_word(json, "null");
}

void pv_json_bool(struct pv_json *json, bool value)
{
	put_word(json, value ? "true" : "false");
}

void pv_json_int(struct pv_json *json, int64_t value)
{
	char text[32];
	snprintf(text, sizeof(text), "%lld", (long long)value);
	put_word(json, text);
}

void pv_json_float(struct pv_json *json, double value)
{
	char text[40];
	if (!isfinite(value)) {
		pv_json_null(json);
		return;
	}
	snprintf(text, sizeof(text), "%.17g", value);
	put_word(json, text);
}

void pv_json_str(struct pv_json *json, const char *text)
{
	if (text)
		pv_json_strn(json, text, strlen(text));
	else
		pv_json_null(json);
}

void pv_json_strn(struct pv_json *json, const char *text, size_t len)
{
	begin_value(json);
	put_text(json, text, len);
}

void pv_json_array_begin(struct pv_json *json)
{
	put_word(json, "[");
	json->after_value = false;
}

void pv_json_array_end(struct pv_json *json)
{
	put(json, "]", 1);
	json->after_value = true;
}

void pv_json_object_begin(struct pv_json *json)
{
	put_word(json, "{");
	json->after_value = false;
}

void pv_json_object_end(struct pv_json *json)
{
	put(json, "}", 1);
	json->after_value = true;
}

void pv_json_key(struct pv_json *json, const char *key)
{
	pv_json_keyn(json, key, strlen(key));
}

void pv_json_keyn(struct pv_json *json, const char *key, size_t len)
{
	begin_value(json);
	put_text(json, key, len);
	put(json, ":", 1);
	json->after_value = false;
}
