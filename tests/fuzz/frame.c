/*
 * Fuzz target: what a peer may send on any of our streams. The input is fed to a frame reader in
 * two pieces (its first byte says where it is cut), every frame is parsed as a document and every
 * value of it is looked at; the input as a whole is parsed as a document too.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/frame.h"
#include "base/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads each byte, so that a sanitizer sees a length that is a lie. */
static unsigned touch(const void *data, size_t len)
{
	unsigned sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += ((const uint8_t *)data)[i];
	return sum;
}

/* Visits a value and all inside it; the reader promises that this is at most 33 calls deep. */
static unsigned walk(const struct pv_val *val)
{
	bool flag = false;
	int64_t number = 0;
	uint64_t large = 0;
	double real = 0;
	const char *text = NULL;
	const void *bytes = NULL;
	size_t len = 0;
	unsigned sum = (unsigned)pv_val_type(val);
	sum += pv_val_bool(val, &flag) + pv_val_int(val, &number) + pv_val_uint(val, &large);
	sum += pv_val_float(val, &real) + pv_val_str(val, &text, &len);
	if (pv_val_bytes(val, &bytes, &len))
		sum += touch(bytes, len);
	uint32_t count = pv_val_count(val);
	bool map = pv_val_type(val) == PV_VAL_MAP;
	for (uint32_t i = 0; i < count; i++) {
		sum += map ? walk(pv_val_key_at(val, i)) : 0;
		sum += walk(map ? pv_val_value_at(val, i) : pv_val_at(val, i));
	}
	sum += pv_val_get(val, "id") != NULL;
	return sum;
}

static void parse(const void *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_doc *doc = NULL;
	if (pv_doc_parse(&doc, data, len, &err) == 0) {
		/* Kept, or the compiler may drop the walk. */
		volatile unsigned sum = walk(pv_doc_root(doc));
		(void)sum;
	}
	pv_doc_destroy(doc);
}

static void feed(struct pv_frame_reader *reader, const uint8_t *data, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_span payload;
	if (pv_frame_feed(reader, data, len) < 0)
		return;
	while (pv_frame_next(reader, &payload, &err) == 1)
		parse(payload.data, payload.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_frame_reader reader = {.limit = 1 << 16};
	if (size == 0)
		return 0;
	size_t cut = data[0];
	data++;
	size--;
	if (cut > size)
		cut = size;
	feed(&reader, data, cut);
	feed(&reader, data + cut, size - cut);
	pv_frame_reader_finish(&reader);
	parse(data, size);
	return 0;
}
