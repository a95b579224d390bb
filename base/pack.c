/*
 * msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md) by msgpack-c; no other file
 * knows that library.
 *
 * Writing: a struct pv_pack is a thin front of the library's packer whose output goes to a byte
 * buffer.
 *
 * Reading is in two steps because documents come from guests. First `scan` walks the whole document
 * with a small stack of counters: it allocates nothing, and it proves that every announced length
 * and count is really there, that nesting is at most DEPTH_MAX and that the document fills the
 * input exactly. Only then the library builds its objects, whose number is now known to be at most
 * the number of bytes. A struct pv_val is the library's object under another name. No state; a
 * document belongs to whoever parsed it, any thread may read it.
 */
#include "base/pack.h"

#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * Arrays and maps inside each other. The library's own stack is as deep (MSGPACK_EMBED_STACK_SIZE).
 */
#define DEPTH_MAX 32

struct pv_doc {
	msgpack_unpacked unpacked;
};

static int write_bytes(void *ctx, const char *data, size_t len)
{
	struct pv_pack *pack = ctx;
	if (pack->status == 0)
		pack->status = pv_bytes_append(pack->out, data, len);
	return pack->status;
}

static msgpack_packer packer(struct pv_pack *pack)
{
	return (msgpack_packer){.data = pack, .callback = write_bytes};
}

void pv_pack_nil(struct pv_pack *pack)
{
	msgpack_packer to = packer(pack);
	msgpack_pack_nil(&to);
}

void pv_pack_bool(struct pv_pack *pack, bool value)
{
	msgpack_packer to = packer(pack);
	if (value)
		msgpack_pack_true(&to);
	else
		msgpack_pack_false(&to);
}

void pv_pack_int(struct pv_pack *pack, int64_t value)
{
	msgpack_packer to = packer(pack);
	msgpack_pack_int64(&to, value);
}

void pv_pack_uint(struct pv_pack *pack, uint64_t value)
{
	msgpack_packer to = packer(pack);
	msgpack_pack_uint64(&to, value);
}

void pv_pack_float(struct pv_pack *pack, double value)
{
	msgpack_packer to = packer(pack);
	msgpack_pack_double(&to, value);
}

void pv_pack_str(struct pv_pack *pack, const char *text)
{
	if (text)
		pv_pack_strn(pack, text, strlen(text));
	else
		pv_pack_nil(pack);
}

void pv_pack_strn(struct pv_pack *pack, const char *text, size_t len)
{
	msgpack_packer to = packer(pack);
	if (len > UINT32_MAX) {
		/* The format has no longer strings; no frame could carry one either. */
		if (pack->status == 0)
			pack->status = -ENOMEM;
		return;
	}
	msgpack_pack_str(&to, len);
	write_bytes(pack, text, len);
}

void pv_pack_bin(struct pv_pack *pack, const void *data, size_t len)
{
	msgpack_packer to = packer(pack);
	if (len > UINT32_MAX) {
		if (pack->status == 0)
			pack->status = -ENOMEM;
		return;
	}
	msgpack_pack_bin(&to, len);
	write_bytes(pack, data, len);
}

void pv_pack_array(struct pv_pack *pack, uint32_t count)
{
	msgpack_packer to = packer(pack);
	msgpack_pack_array(&to, count);
}

void pv_pack_map(struct pv_pack *pack, uint32_t count)
{
	msgpack_packer to = packer(pack);
	msgpack_pack_map(&to, count);
}

/* The head of one value: how many bytes it takes itself and how many values follow inside it. */
struct head {
	unsigned size_bytes; /* width of a big-endian length behind the tag */
	uint64_t body;	     /* bytes behind tag and length */
	uint64_t children;
	bool container;
	bool valid;
};

/*
 * Reads tag and length at `at`, `left` > 0 bytes before the end. See the format overview of the
 * specification.
 */
static struct head read_head(const uint8_t *at, size_t left)
{
	uint8_t tag = at[0];
	struct head head = {.valid = true};
	unsigned multiplier = 1;
	bool counted = false;
	if (tag <= 0x7f || tag >= 0xe0) { /* fixint */
	} else if (tag <= 0x8f) {	  /* fixmap */
		head.container = true;
		head.children = 2 * (uint64_t)(tag & 0x0f);
	} else if (tag <= 0x9f) { /* fixarray */
		head.container = true;
		head.children = tag & 0x0f;
	} else if (tag <= 0xbf) { /* fixstr */
		head.body = tag & 0x1f;
	} else if (tag == 0xc1) { /* never used */
		head.valid = false;
	} else if (tag <= 0xc3) { /* nil, false, true */
	} else if (tag <= 0xc6) { /* bin 8, 16, 32 */
		head.size_bytes = 1u << (tag - 0xc4);
	} else if (tag <= 0xc9) { /* ext 8, 16, 32: one more byte says the type */
		head.size_bytes = 1u << (tag - 0xc7);
		head.body = 1;
	} else if (tag <= 0xcb) { /* float 32, 64 */
		head.body = 4u << (tag - 0xca);
	} else if (tag <= 0xcf) { /* uint 8 to 64 */
		head.body = 1u << (tag - 0xcc);
	} else if (tag <= 0xd3) { /* int 8 to 64 */
		head.body = 1u << (tag - 0xd0);
	} else if (tag <= 0xd8) { /* fixext 1 to 16, with its type */
		head.body = 1 + (1u << (tag - 0xd4));
	} else if (tag <= 0xdb) { /* str 8, 16, 32 */
		head.size_bytes = 1u << (tag - 0xd9);
	} else { /* array 16, 32, map 16, 32 */
		head.container = counted = true;
		head.size_bytes = 2u << ((tag - 0xdc) & 1);
		multiplier = tag >= 0xde ? 2 : 1;
	}
	if (head.size_bytes >= left)
		head.valid = head.valid && head.size_bytes == 0;
	if (!head.valid)
		return head;
	uint64_t size = 0;
	for (unsigned i = 0; i < head.size_bytes; i++)
		size = size << 8 | at[1 + i];
	if (counted)
		head.children = size * multiplier;
	else
		head.body += size;
	return head;
}

/* Proves that the library may read the document: see the top of the file. */
static int scan(const uint8_t *data, size_t len, struct pv_err *err)
{
	uint64_t missing[DEPTH_MAX + 1] = {1}; /* values still to come at each level */
	unsigned depth = 0;
	size_t at = 0;
	for (;;) {
		while (missing[depth] == 0) {
			if (depth == 0) {
				if (at == len)
					return 0;
				return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
				    "message: %zu bytes follow its end at byte %zu", len - at, at);
			}
			depth--;
		}
		missing[depth]--;
		if (at == len)
			return pv_err_set(
			    err, PV_ERR_INPUT, EBADMSG, "message: it is cut off at byte %zu", at);
		struct head head = read_head(data + at, len - at);
		if (!head.valid)
			return pv_err_set(
			    err, PV_ERR_INPUT, EBADMSG, "message: broken value at byte %zu", at);
		size_t left = len - at - 1 - head.size_bytes;
		if (head.body > left || head.children > left)
			return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
			    "message: the value at byte %zu announces more than there is", at);
		at = len - left + head.body;
		if (!head.container)
			continue;
		if (depth == DEPTH_MAX)
			return pv_err_set(err, PV_ERR_INPUT, EBADMSG,
			    "message: nested deeper than %d at byte %zu", DEPTH_MAX, at);
		missing[++depth] = head.children;
	}
}

int pv_doc_parse(struct pv_doc **out, const void *data, size_t len, struct pv_err *err)
{
	*out = NULL;
	int status = scan(data, len, err);
	if (status < 0)
		return status;
	struct pv_doc *doc = calloc(1, sizeof(*doc));
	if (!doc)
		return pv_err_nomem(err, "a message");
	msgpack_unpacked_init(&doc->unpacked);
	size_t used = 0;
	msgpack_unpack_return result = msgpack_unpack_next(&doc->unpacked, data, len, &used);
	if (result == MSGPACK_UNPACK_SUCCESS && used == len) {
		*out = doc;
		return 0;
	}
	/* The scan has excluded all that is wrong with the bytes, but two readers may disagree. */
	if (result == MSGPACK_UNPACK_NOMEM_ERROR)
		status = pv_err_nomem(err, "a message");
	else
		status = pv_err_set(err, PV_ERR_INPUT, EBADMSG, "message: it cannot be read");
	pv_doc_destroy(doc);
	return status;
}

const struct pv_val *pv_doc_root(const struct pv_doc *doc)
{
	return doc ? (const struct pv_val *)&doc->unpacked.data : NULL;
}

void pv_doc_destroy(struct pv_doc *doc)
{
	if (!doc)
		return;
	msgpack_unpacked_destroy(&doc->unpacked);
	free(doc);
}

static const msgpack_object *object(const struct pv_val *val)
{
	return (const msgpack_object *)val;
}

static const struct pv_val *value(const msgpack_object *from)
{
	return (const struct pv_val *)from;
}

enum pv_val_type pv_val_type(const struct pv_val *val)
{
	if (!val)
		return PV_VAL_NONE;
	switch (object(val)->type) {
	case MSGPACK_OBJECT_NIL: return PV_VAL_NIL;
	case MSGPACK_OBJECT_BOOLEAN: return PV_VAL_BOOL;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		return object(val)->via.u64 > INT64_MAX ? PV_VAL_UINT : PV_VAL_INT;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: return PV_VAL_INT;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64: return PV_VAL_FLOAT;
	case MSGPACK_OBJECT_STR: return PV_VAL_STR;
	case MSGPACK_OBJECT_BIN: return PV_VAL_BIN;
	case MSGPACK_OBJECT_ARRAY: return PV_VAL_ARRAY;
	case MSGPACK_OBJECT_MAP: return PV_VAL_MAP;
	case MSGPACK_OBJECT_EXT: return PV_VAL_EXT;
	}
	return PV_VAL_NONE;
}

bool pv_val_bool(const struct pv_val *val, bool *out)
{
	if (pv_val_type(val) != PV_VAL_BOOL)
		return false;
	*out = object(val)->via.boolean;
	return true;
}

bool pv_val_int(const struct pv_val *val, int64_t *out)
{
	if (pv_val_type(val) != PV_VAL_INT)
		return false;
	*out = object(val)->via.i64;
	return true;
}

bool pv_val_uint(const struct pv_val *val, uint64_t *out)
{
	if (!val || object(val)->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return false;
	*out = object(val)->via.u64;
	return true;
}

bool pv_val_float(const struct pv_val *val, double *out)
{
	switch (pv_val_type(val)) {
	case PV_VAL_FLOAT: *out = object(val)->via.f64; return true;
	case PV_VAL_INT: *out = (double)object(val)->via.i64; return true;
	case PV_VAL_UINT: *out = (double)object(val)->via.u64; return true;
	default: return false;
	}
}

/* The library gives NULL for what is empty, which memcpy and friends must not see. */
static const char *content(const char *ptr)
{
	return ptr ? ptr : "";
}

bool pv_val_str(const struct pv_val *val, const char **text, size_t *len)
{
	if (pv_val_type(val) != PV_VAL_STR)
		return false;
	*text = content(object(val)->via.str.ptr);
	*len = object(val)->via.str.size;
	return true;
}

bool pv_val_bytes(const struct pv_val *val, const void **data, size_t *len)
{
	switch (pv_val_type(val)) {
	case PV_VAL_STR:
		*data = content(object(val)->via.str.ptr);
		*len = object(val)->via.str.size;
		return true;
	case PV_VAL_BIN:
		*data = content(object(val)->via.bin.ptr);
		*len = object(val)->via.bin.size;
		return true;
	default: return false;
	}
}

uint32_t pv_val_count(const struct pv_val *val)
{
	switch (pv_val_type(val)) {
	case PV_VAL_ARRAY: return object(val)->via.array.size;
	case PV_VAL_MAP: return object(val)->via.map.size;
	default: return 0;
	}
}

const struct pv_val *pv_val_at(const struct pv_val *array, uint32_t index)
{
	if (pv_val_type(array) != PV_VAL_ARRAY || index >= pv_val_count(array))
		return NULL;
	return value(&object(array)->via.array.ptr[index]);
}

/* The pair at `index`, or NULL. */
static const msgpack_object_kv *pair_at(const struct pv_val *map, uint32_t index)
{
	if (pv_val_type(map) != PV_VAL_MAP || index >= pv_val_count(map))
		return NULL;
	return &object(map)->via.map.ptr[index];
}

const struct pv_val *pv_val_get(const struct pv_val *map, const char *key)
{
	size_t key_len = strlen(key);
	const msgpack_object_kv *pair;
	for (uint32_t i = 0; (pair = pair_at(map, i)); i++) {
		if (pair->key.type != MSGPACK_OBJECT_STR || pair->key.via.str.size != key_len)
			continue;
		if (memcmp(pair->key.via.str.ptr, key, key_len) == 0)
			return value(&pair->val);
	}
	return NULL;
}

const struct pv_val *pv_val_key_at(const struct pv_val *map, uint32_t index)
{
	const msgpack_object_kv *pair = pair_at(map, index);
	return pair ? value(&pair->key) : NULL;
}

const struct pv_val *pv_val_value_at(const struct pv_val *map, uint32_t index)
{
	const msgpack_object_kv *pair = pair_at(map, index);
	return pair ? value(&pair->val) : NULL;
}
