/*
 * Looking names up in the tables of base/sys_names.list: binary search for the names, a scan for
 * numbers, and similar names for those that are unknown. Similarity is the number of letters to
 * insert, drop, replace or swap, upper and lower case being the same; a name that begins as the
 * unknown one does counts as near. The tables are constants, so everything is pure.
 */
#include "base/sys_names.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/sys_names_table.h" /* made by base/generate-sys-names */

#define COUNT(table) (sizeof(table) / sizeof(table[0]))

/* Longer words are not compared; no name is that long. */
#define WORD_MAX 64

/* How many similar names an error offers, and how far they may be off. */
#define OFFERED_MAX 3
#define FAR	    4

const struct pv_sys_names_entry *pv_sys_names_calls(size_t *count)
{
	*count = COUNT(calls);
	return calls;
}

const struct pv_sys_names_entry *pv_sys_names_constants(size_t *count)
{
	*count = COUNT(constants);
	return constants;
}

static int compare(const void *key, const void *entry)
{
	return strcmp(key, ((const struct pv_sys_names_entry *)entry)->name);
}

static bool find(
    const struct pv_sys_names_entry *table, size_t count, const char *name, int64_t *value)
{
	const struct pv_sys_names_entry *entry =
	    bsearch(name, table, count, sizeof(*table), compare);
	if (entry != NULL)
		*value = entry->value;
	return entry != NULL;
}

/* --- similar names --- */

/* Edits from `a` to `b`, neighbours swapped being one; FAR when there are as many or more. */
static int distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	int rows[3][WORD_MAX + 1];
	if (a_len > WORD_MAX || b_len > WORD_MAX || a_len > b_len + FAR || b_len > a_len + FAR)
		return FAR;
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = (int)j;
	for (size_t i = 1; i <= a_len; i++) {
		int *row = rows[i % 3], *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
		row[0] = (int)i;
		for (size_t j = 1; j <= b_len; j++) {
			int x = tolower((unsigned char)a[i - 1]);
			int y = tolower((unsigned char)b[j - 1]);
			int best = above[j - 1] + (x != y);
			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]) && above2[j - 2] + 1 < best)
				best = above2[j - 2] + 1;
			row[j] = best;
		}
	}
	int edits = rows[a_len % 3][b_len];
	return edits < FAR ? edits : FAR;
}

struct offer {
	const char *name;
	int distance;
};

/* Keeps the nearest OFFERED_MAX in order; of equals the first found stays. */
static void consider(struct offer offers[OFFERED_MAX], const char *name, int how_far)
{
	size_t at = OFFERED_MAX;
	while (at > 0 && (offers[at - 1].name == NULL || how_far < offers[at - 1].distance))
		at--;
	if (at == OFFERED_MAX)
		return;
	memmove(&offers[at + 1], &offers[at], (OFFERED_MAX - 1 - at) * sizeof(*offers));
	offers[at] = (struct offer){name, how_far};
}

static void consider_all(struct offer offers[OFFERED_MAX], const struct pv_sys_names_entry *table,
    size_t count, const char *word)
{
	size_t len = strlen(word);
	/* A short word is near to everything. */
	int limit = len < 4 ? 2 : len < 7 ? 3 : FAR;
	for (size_t i = 0; i < count; i++) {
		int how_far = distance(word, table[i].name);
		if (how_far >= limit && len >= 4 && strncasecmp(word, table[i].name, len) == 0)
			how_far = limit - 1;
		if (how_far < limit)
			consider(offers, table[i].name, how_far);
	}
}

/* "<what> `X`; did you mean `A` or `B`?" */
static int refuse(struct pv_err *err, const char *what, const char *name,
    const struct offer offers[OFFERED_MAX], const char *otherwise)
{
	char list[OFFERED_MAX * (WORD_MAX + 8)] = "";
	size_t len = 0;
	for (size_t i = 0; i < OFFERED_MAX && offers[i].name != NULL; i++) {
		bool last = i + 1 == OFFERED_MAX || offers[i + 1].name == NULL;
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s`%s`",
		    i == 0 ? ""
		    : last ? " or "
			   : ", ",
		    offers[i].name);
	}
	if (len == 0)
		return pv_err_set(
		    err, PV_ERR_INPUT, ENOENT, "%s `%.100s`; %s", what, name, otherwise);
	return pv_err_set(
	    err, PV_ERR_INPUT, ENOENT, "%s `%.100s`; did you mean %s?", what, name, list);
}

/* --- names to numbers --- */

static const char *without_prefix(const char *name)
{
	if (strncmp(name, "SYS_", 4) == 0)
		return name + 4;
	if (strncmp(name, "__NR_", 5) == 0)
		return name + 5;
	return name;
}

int pv_sys_names_call(const char *name, int64_t *number, struct pv_err *err)
{
	struct offer offers[OFFERED_MAX] = {0};
	const char *word = without_prefix(name);
	if (find(calls, COUNT(calls), word, number))
		return 0;
	consider_all(offers, calls, COUNT(calls), word);
	return refuse(err, "unknown system call", name, offers,
	    "one that the headers of this build do not have can be given by its number");
}

int pv_sys_names_value(const char *name, int64_t *value, struct pv_err *err)
{
	struct offer offers[OFFERED_MAX] = {0};
	const char *word = without_prefix(name);
	if (find(constants, COUNT(constants), name, value) ||
	    find(calls, COUNT(calls), word, value))
		return 0;
	consider_all(offers, constants, COUNT(constants), name);
	consider_all(offers, calls, COUNT(calls), word);
	return refuse(err, "unknown name", name, offers,
	    "a constant that the headers of this build do not have can be given as a number");
}

/* --- numbers to names --- */

static const char *find_tagged(enum pv_sys_names_tag tag, int64_t number)
{
	for (size_t i = 0; i < COUNT(constants); i++) {
		if (constants[i].tag == tag && constants[i].value == number)
			return constants[i].name;
	}
	return NULL;
}

const char *pv_sys_names_errno(int64_t number)
{
	if (number == INT64_MIN)
		return NULL;
	return find_tagged(PV_SYS_NAMES_ERRNO, number < 0 ? -number : number);
}

const char *pv_sys_names_signal(int64_t number)
{
	return find_tagged(PV_SYS_NAMES_SIGNAL, number);
}

/* --- signals --- */

/* Decimal digits alone, at most `max`. Returns -1 when it is something else. */
static int read_digits(const char *text, int max)
{
	int number = 0;
	if (*text == '\0')
		return -1;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		number = 10 * number + (*text - '0');
		if (number > max)
			return -1;
	}
	return number;
}

/* "RTMIN", "RTMIN+n", "RTMAX", "RTMAX-n", in any case. Returns -1 when it is something else. */
static int read_realtime(const char *word)
{
	bool from_end = strncasecmp(word, "RTMAX", 5) == 0;
	if (!from_end && strncasecmp(word, "RTMIN", 5) != 0)
		return -1;
	int offset = 0, span = PV_SYS_NAMES_SIGNAL_MAX - PV_SYS_NAMES_RTMIN;
	if (word[5] != '\0') {
		offset = word[5] == (from_end ? '-' : '+') ? read_digits(word + 6, span) : -1;
		if (offset < 0)
			return -1;
	}
	return from_end ? PV_SYS_NAMES_SIGNAL_MAX - offset : PV_SYS_NAMES_RTMIN + offset;
}

int pv_sys_names_signal_number(const char *name, int *number, struct pv_err *err)
{
	const char *word = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
	char full[3 + WORD_MAX + 1] = "SIG";
	int64_t value;
	int found = read_digits(name, PV_SYS_NAMES_SIGNAL_MAX);
	if (found < 0)
		found = read_realtime(word);
	/* Names with `_` are no signals: SIG_BLOCK, SIGEV_NONE. */
	if (found < 0 && strlen(word) <= WORD_MAX && strchr(word, '_') == NULL) {
		for (size_t i = 0; word[i] != '\0'; i++)
			full[3 + i] = (char)toupper((unsigned char)word[i]);
		if (find(constants, COUNT(constants), full, &value) && value > 0 &&
		    value <= PV_SYS_NAMES_SIGNAL_MAX)
			found = (int)value;
	}
	if (found < 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL, "unknown signal name `%.100s`", name);
	*number = found;
	return 0;
}
