/* See state_doc.h. A document is copied value by value, and the copy is changed on its way. */
#include "tests/unit/state_doc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/pack.h"

struct pv_bytes state_save(const struct state_kind *kind, const void *ctx)
{
	struct pv_bytes bytes = {0};
	struct pv_pack pack = {.out = &bytes};
	kind->save(ctx, &pack);
	assert_int_equal(pack.status, 0);
	return bytes;
}

int state_load(const struct state_kind *kind, void *ctx, const struct pv_bytes *state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_doc *doc;
	assert_int_equal(pv_doc_parse(&doc, state->data, state->len, &err), 0);
	const int status = kind->load(ctx, pv_doc_root(doc), &err);
	pv_doc_destroy(doc);
	if (status == 0)
		return 0;
	assert_true(status == -EBADMSG || status == -EBUSY);
	assert_int_equal(err.code, -status);
	assert_true(strlen(err.text) > 10);
	return status;
}

void state_restore(const struct state_kind *kind, void *ctx, const struct pv_bytes *state)
{
	assert_int_equal(state_load(kind, ctx, state), 0);
}

static bool same(const struct pv_bytes *a, const struct pv_bytes *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

void state_expect(const struct state_kind *kind, const void *ctx, const struct pv_bytes *state)
{
	struct pv_bytes now = state_save(kind, ctx);
	assert_true(same(&now, state));
	pv_bytes_finish(&now);
}

/* --- changes --- */

struct copy {
	struct pv_pack pack;
	unsigned seen;	/* values so far */
	unsigned index; /* the value to change */
	enum change change;
	enum changed result;
	bool field;
	/* For state_with: instead of by index, the nth number under `key` becomes `value`. */
	const char *key;
	unsigned nth;
	uint64_t value;
};

static void copy_value(struct copy *copy, const struct pv_val *val, bool field);

static bool is_key(const struct pv_val *val, const char *key)
{
	const char *text;
	size_t len;
	return key && pv_val_str(val, &text, &len) && len == strlen(key) && !memcmp(text, key, len);
}

/* Values in `val`, itself included. */
static unsigned tree_size(const struct pv_val *val)
{
	unsigned size = 1;
	const bool map = pv_val_type(val) == PV_VAL_MAP;
	for (uint32_t i = 0; i < pv_val_count(val); i++)
		size += tree_size(map ? pv_val_value_at(val, i) : pv_val_at(val, i));
	return size;
}

/* What a change does to the number of children of `val`, of which the first has number `seen`. */
static int count_change(const struct pv_val *val, unsigned seen, unsigned index, enum change change)
{
	const bool map = pv_val_type(val) == PV_VAL_MAP;
	if (change != CHANGE_GONE && change != CHANGE_TWICE)
		return 0;
	for (uint32_t i = 0; i < pv_val_count(val); i++) {
		if (seen == index)
			return change == CHANGE_GONE ? -1 : 1;
		seen += tree_size(map ? pv_val_value_at(val, i) : pv_val_at(val, i));
	}
	return 0;
}

/* How many times the child that comes next is to be written: 1 but for two changes. */
static unsigned times(struct copy *copy, bool field)
{
	if (copy->seen != copy->index ||
	    (copy->change != CHANGE_GONE && copy->change != CHANGE_TWICE))
		return 1;
	copy->result = CHANGED;
	copy->field = field;
	return copy->change == CHANGE_GONE ? 0 : 2;
}

static void copy_children(struct copy *copy, const struct pv_val *val, bool stranger)
{
	const bool map = pv_val_type(val) == PV_VAL_MAP;
	const uint32_t count =
	    pv_val_count(val) + stranger + count_change(val, copy->seen, copy->index, copy->change);
	if (map)
		pv_pack_map(&copy->pack, count);
	else
		pv_pack_array(&copy->pack, count);
	for (uint32_t i = 0; i < pv_val_count(val); i++) {
		const struct pv_val *key = map ? pv_val_key_at(val, i) : NULL;
		const struct pv_val *child = map ? pv_val_value_at(val, i) : pv_val_at(val, i);
		unsigned again = times(copy, map);
		const unsigned seen = copy->seen + tree_size(child);
		while (again--) {
			const char *text;
			size_t len;
			if (pv_val_str(key, &text, &len))
				pv_pack_strn(&copy->pack, text, len);
			uint64_t number;
			if (is_key(key, copy->key) && pv_val_uint(child, &number) &&
			    copy->nth-- == 0) {
				pv_pack_uint(&copy->pack, copy->value);
				copy->result = CHANGED;
			} else {
				copy_value(copy, child, map);
			}
		}
		copy->seen = seen;
	}
	if (stranger) {
		pv_pack_str(&copy->pack, "stranger");
		pv_pack_nil(&copy->pack);
	}
}

/* Writes a number in its changed form; false when that is what it was. */
static bool change_uint(struct copy *copy, uint64_t number)
{
	uint64_t changed = number;
	switch (copy->change) {
	case CHANGE_ZERO: changed = 0; break;
	case CHANGE_ONE_MORE: changed = number + 1; break;
	case CHANGE_ONE_LESS: changed = number - 1; break;
	case CHANGE_HIGH_BIT: changed = number ^ (UINT64_C(1) << 31); break;
	case CHANGE_LARGEST: changed = UINT64_MAX; break;
	default: return false;
	}
	pv_pack_uint(&copy->pack, changed);
	return changed != number;
}

static bool change_bytes(struct copy *copy, const uint8_t *data, size_t len)
{
	uint8_t changed[1 << 17];
	assert_true(len < sizeof(changed));
	memcpy(changed, data, len);
	switch (copy->change) {
	case CHANGE_ZERO: len = 0; break;
	case CHANGE_ONE_MORE: changed[len++] = 'x'; break;
	case CHANGE_ONE_LESS: len -= len > 0; break;
	case CHANGE_HIGH_BIT: changed[0] ^= 0x80; break;
	case CHANGE_LARGEST: memset(changed, 0xff, len); break;
	default: return false;
	}
	pv_pack_bin(&copy->pack, changed, len);
	return true;
}

/* Changes a value that is neither map nor array; false when the change does not apply. */
static bool change_plain(struct copy *copy, const struct pv_val *val)
{
	uint64_t number;
	const void *data;
	size_t len;
	bool flag;
	if (copy->change == CHANGE_TYPE) {
		if (pv_val_type(val) == PV_VAL_NIL)
			pv_pack_float(&copy->pack, 1.5);
		else
			pv_pack_nil(&copy->pack);
		return true;
	}
	if (pv_val_uint(val, &number))
		return change_uint(copy, number);
	if (pv_val_bool(val, &flag)) {
		pv_pack_bool(&copy->pack, !flag);
		return copy->change == CHANGE_ONE_MORE;
	}
	if (pv_val_type(val) == PV_VAL_BIN && pv_val_bytes(val, &data, &len))
		return change_bytes(copy, data, len);
	return false;
}

static void copy_plain(struct copy *copy, const struct pv_val *val)
{
	uint64_t number;
	const void *data;
	const char *text;
	size_t len;
	bool flag;
	if (pv_val_uint(val, &number))
		pv_pack_uint(&copy->pack, number);
	else if (pv_val_bool(val, &flag))
		pv_pack_bool(&copy->pack, flag);
	else if (pv_val_str(val, &text, &len))
		pv_pack_strn(&copy->pack, text, len);
	else if (pv_val_bytes(val, &data, &len))
		pv_pack_bin(&copy->pack, data, len);
	else
		pv_pack_nil(&copy->pack);
}

static void copy_value(struct copy *copy, const struct pv_val *val, bool field)
{
	const bool here = copy->seen++ == copy->index && copy->result == CHANGED_NO_SUCH_VALUE;
	const bool nested = pv_val_type(val) == PV_VAL_MAP || pv_val_type(val) == PV_VAL_ARRAY;
	if (here)
		copy->field = field;
	if (here && nested) {
		const bool stranger =
		    copy->change == CHANGE_STRANGER && pv_val_type(val) == PV_VAL_MAP;
		copy->result =
		    stranger || copy->change == CHANGE_TYPE ? CHANGED : CHANGED_TO_NOTHING_NEW;
		if (copy->change == CHANGE_TYPE)
			pv_pack_nil(&copy->pack);
		else
			copy_children(copy, val, stranger);
	} else if (here) {
		const bool changed = change_plain(copy, val);
		copy->result = changed ? CHANGED : CHANGED_TO_NOTHING_NEW;
	} else if (nested) {
		copy_children(copy, val, false);
	} else {
		copy_plain(copy, val);
	}
}

static struct pv_doc *parse(const struct pv_bytes *state)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_doc *doc;
	assert_int_equal(pv_doc_parse(&doc, state->data, state->len, &err), 0);
	return doc;
}

enum changed state_change(const struct pv_bytes *from, unsigned index, enum change change,
    struct pv_bytes *to, bool *field)
{
	struct pv_doc *doc = parse(from);
	*to = (struct pv_bytes){0};
	struct copy copy = {
	    .pack = {.out = to},
	    .index = index,
	    .change = change,
	    .result = CHANGED_NO_SUCH_VALUE,
	};
	copy_value(&copy, pv_doc_root(doc), false);
	pv_doc_destroy(doc);
	assert_int_equal(copy.pack.status, 0);
	*field = copy.field;
	return copy.result;
}

struct pv_bytes state_with(
    const struct pv_bytes *state, const char *key, unsigned nth, uint64_t value)
{
	struct pv_doc *doc = parse(state);
	struct pv_bytes to = {0};
	struct copy copy = {
	    .pack = {.out = &to},
	    .index = UINT32_MAX,
	    .result = CHANGED_NO_SUCH_VALUE,
	    .key = key,
	    .nth = nth,
	    .value = value,
	};
	copy_value(&copy, pv_doc_root(doc), false);
	pv_doc_destroy(doc);
	assert_int_equal(copy.result, CHANGED);
	return to;
}

/* --- all changes --- */

static void try_change(const struct state_kind *kind, const struct pv_bytes *changed, bool hopeless,
    void *(*fresh)(void), void (*done)(void *ctx, bool loaded))
{
	void *ctx = fresh();
	struct pv_bytes before = state_save(kind, ctx);
	const int status = state_load(kind, ctx, changed);
	if (status < 0) {
		state_expect(kind, ctx, &before);
	} else {
		assert_false(hopeless);
		/* What was taken is there, and stays the same through another round. */
		struct pv_bytes after = state_save(kind, ctx);
		assert_true(kind->sorts || same(&after, changed));
		void *other = fresh();
		state_restore(kind, other, &after);
		state_expect(kind, other, &after);
		done(other, false);
		pv_bytes_finish(&after);
	}
	done(ctx, status == 0);
	pv_bytes_finish(&before);
}

/* All changes to one value; false when there is no such value. */
static bool change_one(const struct state_kind *kind, const struct pv_bytes *state, unsigned index,
    void *(*fresh)(void), void (*done)(void *ctx, bool loaded))
{
	enum changed result = CHANGED;
	for (unsigned change = 0; change < CHANGE_COUNT; change++) {
		struct pv_bytes to;
		bool field;
		result = state_change(state, index, change, &to, &field);
		const bool counts = change == CHANGE_GONE || change == CHANGE_TWICE;
		const bool hopeless =
		    change == CHANGE_TYPE || change == CHANGE_STRANGER || (field && counts);
		if (result == CHANGED)
			try_change(kind, &to, hopeless, fresh, done);
		pv_bytes_finish(&to);
	}
	return result != CHANGED_NO_SUCH_VALUE;
}

void state_change_everything(const struct state_kind *kind, const struct pv_bytes *state,
    void *(*fresh)(void), void (*done)(void *ctx, bool loaded))
{
	unsigned index = 0;
	while (change_one(kind, state, index, fresh, done))
		index++;
	assert_true(index > 10);
	for (size_t len = 0; len < state->len; len++) {
		struct pv_err err = PV_ERR_INIT;
		struct pv_doc *doc;
		assert_true(pv_doc_parse(&doc, state->data, len, &err) < 0);
	}
}
