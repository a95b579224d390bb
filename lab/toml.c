/*
 * The TOML reader: structure. Theory: one pass over the text with a cursor (lab/toml_scan.c has the
 * scalars). `current` is the table of the last [header]; keys are added to it. The rules about what
 * may be defined twice are kept by three marks on tables: made by a header, made by a dotted key,
 * or closed (inline). Recursion happens only in arrays and inline tables and is bounded by
 * PV_TOML_DEPTH_MAX.
 */
#include "lab/toml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "lab/toml_scan.h"

static int parse_value(struct pv_toml_scan *scan, unsigned depth, struct pv_toml_value **out);
static int parse_pair(struct pv_toml_scan *scan, struct pv_toml_value *table, unsigned depth);

static struct pv_toml_value *new_value(struct pv_toml_scan *scan, enum pv_toml_type type)
{
	struct pv_toml_value *value = calloc(1, sizeof(*value));
	if (value) {
		value->type = type;
		value->line = pv_toml_line(scan);
	}
	return value;
}

void pv_toml_destroy(struct pv_toml_value *value)
{
	if (!value)
		return;
	switch (value->type) {
	case PV_TOML_STRING:
	case PV_TOML_DATETIME: free(value->u.string.text); break;
	case PV_TOML_ARRAY:
		for (size_t i = 0; i < value->u.array.count; i++)
			pv_toml_destroy(value->u.array.items[i]);
		free(value->u.array.items);
		break;
	case PV_TOML_TABLE:
		for (size_t i = 0; i < value->u.table.count; i++) {
			free(value->u.table.members[i].key);
			pv_toml_destroy(value->u.table.members[i].value);
		}
		free(value->u.table.members);
		break;
	case PV_TOML_INTEGER:
	case PV_TOML_FLOAT:
	case PV_TOML_BOOLEAN: break;
	}
	free(value);
}

const struct pv_toml_value *pv_toml_get(const struct pv_toml_value *table, const char *key)
{
	if (!table || table->type != PV_TOML_TABLE)
		return NULL;
	for (size_t i = 0; i < table->u.table.count; i++) {
		if (strcmp(table->u.table.members[i].key, key) == 0)
			return table->u.table.members[i].value;
	}
	return NULL;
}

const char *pv_toml_type_name(enum pv_toml_type type)
{
	static const char *const names[] = {
	    [PV_TOML_STRING] = "a string",
	    [PV_TOML_INTEGER] = "an integer",
	    [PV_TOML_FLOAT] = "a float",
	    [PV_TOML_BOOLEAN] = "a boolean",
	    [PV_TOML_DATETIME] = "a date or time",
	    [PV_TOML_ARRAY] = "an array",
	    [PV_TOML_TABLE] = "a table",
	};
	return names[type];
}

/* Adds a member; takes `key` and `value` over, also on failure. */
static int add_member(
    struct pv_toml_scan *scan, struct pv_toml_value *table, char *key, struct pv_toml_value *value)
{
	if (table->u.table.count == PV_TOML_MEMBERS_MAX) {
		free(key);
		pv_toml_destroy(value);
		return pv_toml_error(scan, "a table of more than %d keys", PV_TOML_MEMBERS_MAX);
	}
	struct pv_toml_member *grown = key && value ? reallocarray(table->u.table.members,
							  table->u.table.count + 1, sizeof(*grown))
						    : NULL;
	if (!grown) {
		free(key);
		pv_toml_destroy(value);
		return pv_err_nomem(scan->err, "TOML");
	}
	table->u.table.members = grown;
	grown[table->u.table.count++] = (struct pv_toml_member){.key = key, .value = value};
	return 0;
}

/* Appends to an array; takes `value` over, also on failure. */
static int add_item(
    struct pv_toml_scan *scan, struct pv_toml_value *array, struct pv_toml_value *value)
{
	struct pv_toml_value **grown =
	    value ? reallocarray(array->u.array.items, array->u.array.count + 1, sizeof(*grown))
		  : NULL;
	if (!grown) {
		pv_toml_destroy(value);
		return pv_err_nomem(scan->err, "TOML");
	}
	array->u.array.items = grown;
	grown[array->u.array.count++] = value;
	return 0;
}

/* --- keys --- */

static bool is_bare(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

/* One part of a key, NUL-terminated in `out`. */
static int parse_key_part(struct pv_toml_scan *scan, struct pv_bytes *out)
{
	int c = pv_toml_peek(scan, 0), status = 0;
	out->len = 0;
	if (c == '"' || c == '\'') {
		status = pv_toml_scan_string(scan, false, out);
	} else {
		size_t start = scan->at;
		while (is_bare(pv_toml_peek(scan, 0)))
			scan->at++;
		if (scan->at == start)
			return pv_toml_error(scan, "expected a key");
		status = pv_bytes_append(out, scan->text + start, scan->at - start);
	}
	if (!status && !pv_bytes_text(out))
		status = -ENOMEM;
	return status == -ENOMEM ? pv_err_nomem(scan->err, "TOML") : status;
}

/* Steps over the dot behind a key part. Returns true when another part follows. */
static bool next_part(struct pv_toml_scan *scan)
{
	pv_toml_skip_blanks(scan);
	if (pv_toml_peek(scan, 0) != '.')
		return false;
	scan->at++;
	pv_toml_skip_blanks(scan);
	return true;
}

/* The last table of an array of tables, or the table itself; NULL when `value` cannot hold keys. */
static struct pv_toml_value *as_table(struct pv_toml_value *value)
{
	if (value && value->type == PV_TOML_ARRAY && !value->closed && value->u.array.count)
		value = value->u.array.items[value->u.array.count - 1];
	return value && value->type == PV_TOML_TABLE && !value->closed ? value : NULL;
}

/* Finds or makes the table `key` in `table`, for a part of a dotted key or header that is not its
 * last. */
static int descend(
    struct pv_toml_scan *scan, struct pv_toml_value **table, const char *key, bool dotted)
{
	struct pv_toml_value *found = (struct pv_toml_value *)pv_toml_get(*table, key);
	if (!found) {
		found = new_value(scan, PV_TOML_TABLE);
		if (found)
			found->dotted_table = dotted;
		int status = add_member(scan, *table, strdup(key), found);
		*table = found;
		return status;
	}
	struct pv_toml_value *inner = as_table(found);
	if (!inner)
		return pv_toml_error(scan,
		    "key `%s` is already %s (line %u) and cannot be extended", key,
		    pv_toml_type_name(found->type), found->line);
	/* A dotted key may not reach into a table that a header made, nor into an array of tables.
	 */
	if (dotted && (!inner->dotted_table || found != inner))
		return pv_toml_error(scan,
		    "table `%s` (line %u) cannot be extended by a dotted key", key, found->line);
	*table = inner;
	return 0;
}

/* --- values --- */

static int parse_array(struct pv_toml_scan *scan, unsigned depth, struct pv_toml_value *array)
{
	scan->at++;
	array->closed = true;
	for (;;) {
		struct pv_toml_value *item = NULL;
		if (pv_toml_skip_lines(scan))
			return -EINVAL;
		if (pv_toml_peek(scan, 0) == ']')
			break;
		int status = parse_value(scan, depth + 1, &item);
		if (!status)
			status = add_item(scan, array, item);
		if (!status)
			status = pv_toml_skip_lines(scan);
		if (status)
			return status;
		if (pv_toml_peek(scan, 0) == ',')
			scan->at++;
		else if (pv_toml_peek(scan, 0) != ']')
			return pv_toml_error(scan, "expected `,` or `]` in an array");
	}
	scan->at++;
	return 0;
}

/* Nothing below an inline table can be extended later. */
static void close_table(struct pv_toml_value *table)
{
	table->closed = true;
	for (size_t i = 0; i < table->u.table.count; i++) {
		struct pv_toml_value *value = table->u.table.members[i].value;
		if (value->type == PV_TOML_TABLE && !value->closed)
			close_table(value);
	}
}

static int parse_inline_table(
    struct pv_toml_scan *scan, unsigned depth, struct pv_toml_value *table)
{
	scan->at++;
	pv_toml_skip_blanks(scan);
	while (pv_toml_peek(scan, 0) != '}') {
		int status = parse_pair(scan, table, depth + 1);
		if (status)
			return status;
		pv_toml_skip_blanks(scan);
		if (pv_toml_peek(scan, 0) == '}')
			break;
		if (pv_toml_peek(scan, 0) != ',')
			return pv_toml_error(scan, "expected `,` or `}` in an inline table");
		scan->at++;
		pv_toml_skip_blanks(scan);
		if (pv_toml_peek(scan, 0) == '}')
			return pv_toml_error(scan, "an inline table cannot end with a comma");
	}
	scan->at++;
	close_table(table);
	return 0;
}

static int parse_string(struct pv_toml_scan *scan, struct pv_toml_value *value)
{
	struct pv_bytes text = {0};
	int status = pv_toml_scan_string(scan, true, &text);
	if (status == -ENOMEM || (!status && !pv_bytes_text(&text)))
		status = pv_err_nomem(scan->err, "TOML");
	if (status) {
		pv_bytes_finish(&text);
		return status;
	}
	value->u.string.text = (char *)text.data;
	value->u.string.len = text.len;
	return 0;
}

static int parse_value(struct pv_toml_scan *scan, unsigned depth, struct pv_toml_value **out)
{
	if (depth > PV_TOML_DEPTH_MAX)
		return pv_toml_error(scan, "nested deeper than %d", PV_TOML_DEPTH_MAX);
	int c = pv_toml_peek(scan, 0), status;
	enum pv_toml_type type = c == '['		 ? PV_TOML_ARRAY
				 : c == '{'		 ? PV_TOML_TABLE
				 : c == '"' || c == '\'' ? PV_TOML_STRING
							 : PV_TOML_BOOLEAN;
	struct pv_toml_value *value = new_value(scan, type);
	if (!value)
		return pv_err_nomem(scan->err, "TOML");
	if (type == PV_TOML_ARRAY)
		status = parse_array(scan, depth, value);
	else if (type == PV_TOML_TABLE)
		status = parse_inline_table(scan, depth, value);
	else if (type == PV_TOML_STRING)
		status = parse_string(scan, value);
	else
		status = pv_toml_scan_plain(scan, value);
	if (status) {
		pv_toml_destroy(value);
		return status;
	}
	*out = value;
	return 0;
}

/* key = value, with a dotted key if need be, into `table`. */
static int parse_pair(struct pv_toml_scan *scan, struct pv_toml_value *table, unsigned depth)
{
	struct pv_bytes key = {0};
	struct pv_toml_value *value = NULL;
	size_t parts = 0;
	int status = parse_key_part(scan, &key);
	while (!status && next_part(scan)) {
		if (++parts > PV_TOML_DEPTH_MAX)
			status =
			    pv_toml_error(scan, "a key of more than %d parts", PV_TOML_DEPTH_MAX);
		if (!status)
			status = descend(scan, &table, (const char *)key.data, true);
		if (!status)
			status = parse_key_part(scan, &key);
	}
	if (!status) {
		const struct pv_toml_value *old = pv_toml_get(table, (const char *)key.data);
		if (old)
			status = pv_toml_error(scan, "key `%s` is already defined in line %u",
			    (const char *)key.data, old->line);
		else if (pv_toml_peek(scan, 0) != '=')
			status = pv_toml_error(
			    scan, "expected `=` behind key `%s`", (const char *)key.data);
	}
	if (!status) {
		scan->at++;
		pv_toml_skip_blanks(scan);
		status = parse_value(scan, depth, &value);
	}
	if (!status)
		status = add_member(scan, table, strdup((const char *)key.data), value);
	pv_bytes_finish(&key);
	return status;
}

/* --- headers --- */

/* The table of [header]: new, or made before only as the parent of another one. */
static int open_table(struct pv_toml_scan *scan, struct pv_toml_value *parent, const char *key,
    struct pv_toml_value **current)
{
	struct pv_toml_value *found = (struct pv_toml_value *)pv_toml_get(parent, key);
	if (found) {
		if (found->type != PV_TOML_TABLE || found->closed || found->explicit_table ||
		    found->dotted_table)
			return pv_toml_error(
			    scan, "table `%s` is already defined in line %u", key, found->line);
		found->explicit_table = true;
		found->line = pv_toml_line(scan);
		*current = found;
		return 0;
	}
	found = new_value(scan, PV_TOML_TABLE);
	if (found)
		found->explicit_table = true;
	*current = found;
	return add_member(scan, parent, strdup(key), found);
}

/* The next table of [[header]]. */
static int open_array_table(struct pv_toml_scan *scan, struct pv_toml_value *parent,
    const char *key, struct pv_toml_value **current)
{
	struct pv_toml_value *array = (struct pv_toml_value *)pv_toml_get(parent, key);
	if (array && (array->type != PV_TOML_ARRAY || array->closed))
		return pv_toml_error(scan,
		    "key `%s` is already %s (line %u), not an array of tables", key,
		    pv_toml_type_name(array->type), array->line);
	int status = 0;
	if (!array) {
		array = new_value(scan, PV_TOML_ARRAY);
		status = add_member(scan, parent, strdup(key), array);
	}
	if (status)
		return status;
	struct pv_toml_value *table = new_value(scan, PV_TOML_TABLE);
	if (table)
		table->explicit_table = true;
	*current = table;
	return add_item(scan, array, table);
}

static int parse_header(
    struct pv_toml_scan *scan, struct pv_toml_value *root, struct pv_toml_value **current)
{
	bool array = pv_toml_peek(scan, 1) == '[';
	struct pv_bytes key = {0};
	struct pv_toml_value *parent = root;
	size_t parts = 0;
	scan->at += array ? 2 : 1;
	pv_toml_skip_blanks(scan);
	int status = parse_key_part(scan, &key);
	while (!status && next_part(scan)) {
		if (++parts > PV_TOML_DEPTH_MAX)
			status = pv_toml_error(
			    scan, "a header of more than %d parts", PV_TOML_DEPTH_MAX);
		if (!status)
			status = descend(scan, &parent, (const char *)key.data, false);
		if (!status)
			status = parse_key_part(scan, &key);
	}
	if (!status && (pv_toml_peek(scan, 0) != ']' || (array && pv_toml_peek(scan, 1) != ']')))
		status = pv_toml_error(scan, "expected `%s` behind the header", array ? "]]" : "]");
	if (!status) {
		scan->at += array ? 2 : 1;
		status = array ? open_array_table(scan, parent, (const char *)key.data, current)
			       : open_table(scan, parent, (const char *)key.data, current);
	}
	pv_bytes_finish(&key);
	return status ? status : pv_toml_end_line(scan);
}

/* --- the document --- */

/* Valid UTF-8 (RFC 3629) is checked once for the whole text, so that the scanner need not. */
static int check_utf8(struct pv_toml_scan *scan)
{
	for (scan->at = 0; scan->at < scan->len;) {
		size_t len = pv_utf8_length(scan->text + scan->at, scan->len - scan->at);
		if (len == 0)
			return pv_toml_error(scan, "not UTF-8 text");
		scan->at += len;
	}
	scan->at = 0;
	return 0;
}

static int parse_document(struct pv_toml_scan *scan, struct pv_toml_value *root)
{
	struct pv_toml_value *current = root;
	int status = check_utf8(scan);
	if (!status && scan->len >= 3 && memcmp(scan->text, "\xef\xbb\xbf", 3) == 0)
		scan->at = 3;
	while (!status) {
		status = pv_toml_skip_lines(scan);
		if (status || pv_toml_peek(scan, 0) == -1)
			break;
		if (pv_toml_peek(scan, 0) == '[') {
			status = parse_header(scan, root, &current);
		} else {
			status = parse_pair(scan, current, 0);
			if (!status)
				status = pv_toml_end_line(scan);
		}
	}
	return status;
}

int pv_toml_parse(struct pv_toml_value **out, const char *text, size_t len, struct pv_err *err)
{
	struct pv_toml_scan scan = {.text = text, .len = len, .err = err};
	if (len > PV_TOML_SIZE_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, EFBIG,
		    "%zu bytes are more than the %u a configuration may have", len,
		    PV_TOML_SIZE_MAX);
	struct pv_toml_value *root = new_value(&scan, PV_TOML_TABLE);
	if (!root)
		return pv_err_nomem(err, "TOML");
	int status = parse_document(&scan, root);
	if (status) {
		pv_toml_destroy(root);
		return status;
	}
	*out = root;
	return 0;
}
