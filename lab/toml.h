/*
 * A strict reader of TOML 1.0.0 (toml.io/en/v1.0.0). What it accepts, another TOML reader accepts
 * with the same meaning; errors carry line and column.
 */
#ifndef PV_LAB_TOML_H
#define PV_LAB_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;

/*
 * Nesting of arrays and inline tables, keys of one table (they are looked up one by one), and the
 * size of a document.
 */
#define PV_TOML_DEPTH_MAX   64
#define PV_TOML_MEMBERS_MAX 8192
#define PV_TOML_SIZE_MAX    (4u << 20)

enum pv_toml_type {
	PV_TOML_STRING,
	PV_TOML_INTEGER,
	PV_TOML_FLOAT,
	PV_TOML_BOOLEAN,
	PV_TOML_DATETIME, /* checked and kept as its text */
	PV_TOML_ARRAY,
	PV_TOML_TABLE,
};

struct pv_toml_value;

struct pv_toml_member {
	char *key; /* NUL-terminated; may hold no NUL itself */
	struct pv_toml_value *value;
};

struct pv_toml_value {
	enum pv_toml_type type;
	unsigned line; /* where it was defined, from 1 */
	/* How a table or array may still grow (the rules of "Table" and "Array of Tables"). */
	bool explicit_table; /* by its own [header] */
	bool dotted_table;   /* by a dotted key */
	bool closed;	     /* inline table or static array: nothing may be added */
	union {
		struct {
			char *text; /* NUL-terminated; `len` counts without it */
			size_t len;
		} string; /* and datetime */
		int64_t integer;
		double number;
		bool boolean;
		struct {
			struct pv_toml_value **items;
			size_t count;
		} array;
		struct {
			struct pv_toml_member *members; /* in order of definition */
			size_t count;
		} table;
	} u;
};

/* Parses a document into its root table. Returns 0, or -EINVAL with "line L, column C: ...";
 * -ENOMEM. The caller destroys the value. */
int pv_toml_parse(struct pv_toml_value **out, const char *text, size_t len, struct pv_err *err);
void pv_toml_destroy(struct pv_toml_value *value);

/* The member of a table, or NULL (also when `table` is NULL or no table). */
const struct pv_toml_value *pv_toml_get(const struct pv_toml_value *table, const char *key);

/* "a string", "an integer", ... for messages. */
const char *pv_toml_type_name(enum pv_toml_type type);

#endif
