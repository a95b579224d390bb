/*
 * The scanner of fixture keys. Theory: a Lua lexer (manual of Lua 5.4, section 3.1) that knows
 * comments, strings of all shapes and single signs, and a look at what stands behind the names that
 * matter. Syntax is not checked: in text that is no Lua something is found or not, and that is all.
 *
 * Whether code is reached is not asked either, so a key may depend on more than what happens; what
 * is computed is not seen, and `depends_on_file` is for that. Pure functions on memory, any thread.
 */
#include "lab/fixture_scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

/* How far behind a push_file its `auto_dep = false` may stand; bounds the work on hostile text. */
#define CALL_MAX 1024

enum token {
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_STRING, /* its value is in lexer.string */
	TOKEN_SIGN,   /* one character, lexer.sign */
	TOKEN_CONCAT, /* .. */
	TOKEN_OTHER,  /* numbers, signs of several characters, broken strings */
};

struct lexer {
	const char *at;
	const char *end;
	enum token token;
	const char *name; /* of TOKEN_NAME; not terminated */
	size_t name_len;
	char sign;
	struct pv_bytes string;
	int status; /* -ENOMEM sticks */
};

/* --- characters --- */

static int peek(const struct lexer *lexer, size_t ahead)
{
	return (size_t)(lexer->end - lexer->at) > ahead ? (uint8_t)lexer->at[ahead] : -1;
}

static bool is_name_char(int c)
{
	return c == '_' || (c >= 0 && c < 0x80 && isalnum(c));
}

static void put(struct lexer *lexer, const void *data, size_t len)
{
	if (!lexer->status && pv_bytes_append(&lexer->string, data, len))
		lexer->status = -ENOMEM;
}

static void put_char(struct lexer *lexer, int c)
{
	const uint8_t byte = (uint8_t)c;
	put(lexer, &byte, 1);
}

/* --- long brackets --- */

/* The level of the long bracket that opens here, or -1. */
static int bracket_level(const struct lexer *lexer)
{
	size_t level = 0;
	if (peek(lexer, 0) != '[')
		return -1;
	while (peek(lexer, 1 + level) == '=')
		level++;
	return peek(lexer, 1 + level) == '[' && level < 255 ? (int)level : -1;
}

/* Passes over the bracket; its content is [*from, *to). Returns false when it does not close. */
static bool pass_bracket(struct lexer *lexer, int level, const char **from, const char **to)
{
	char close[258] = "]";
	memset(close + 1, '=', (size_t)level);
	close[1 + level] = ']';
	*from = lexer->at + level + 2;
	/* A line end right behind it is not part of the content. */
	if (*from < lexer->end && (**from == '\r' || **from == '\n')) {
		const char first = *(*from)++;
		if (*from < lexer->end && (**from == '\r' || **from == '\n') && **from != first)
			(*from)++;
	}
	*to = memmem(*from, (size_t)(lexer->end - *from), close, (size_t)level + 2);
	lexer->at = *to ? *to + level + 2 : lexer->end;
	return *to != NULL;
}

static void pass_line(struct lexer *lexer)
{
	const char *newline = memchr(lexer->at, '\n', (size_t)(lexer->end - lexer->at));
	lexer->at = newline ? newline : lexer->end;
}

static void pass_blanks_and_comments(struct lexer *lexer)
{
	const char *from, *to;
	for (;;) {
		const int c = peek(lexer, 0);
		if (c == ' ' || (c >= '\t' && c <= '\r')) {
			lexer->at++;
		} else if (c == '-' && peek(lexer, 1) == '-') {
			lexer->at += 2;
			const int level = bracket_level(lexer);
			if (level >= 0)
				pass_bracket(lexer, level, &from, &to);
			else
				pass_line(lexer);
		} else {
			return;
		}
	}
}

/* --- quoted strings --- */

static int hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \xXX; behind the x. */
static bool read_hex(struct lexer *lexer)
{
	const int high = hex_digit(peek(lexer, 0)), low = hex_digit(peek(lexer, 1));
	if (high < 0 || low < 0)
		return false;
	put_char(lexer, high * 16 + low);
	lexer->at += 2;
	return true;
}

/* \ddd, up to three digits. */
static bool read_decimal(struct lexer *lexer)
{
	int value = 0;
	for (int i = 0; i < 3 && isdigit(peek(lexer, 0)); i++)
		value = value * 10 + (*lexer->at++ - '0');
	put_char(lexer, value);
	return value < 256;
}

/* \u{...}; behind the u. UTF-8 with up to six bytes, as Lua writes it. */
static bool read_code_point(struct lexer *lexer)
{
	uint64_t value = 0;
	uint8_t text[8];
	size_t len = 0;
	if (peek(lexer, 0) != '{' || hex_digit(peek(lexer, 1)) < 0)
		return false;
	for (lexer->at++; hex_digit(peek(lexer, 0)) >= 0; lexer->at++) {
		value = value * 16 + (uint64_t)hex_digit(peek(lexer, 0));
		if (value > INT32_MAX)
			return false;
	}
	if (peek(lexer, 0) != '}')
		return false;
	lexer->at++;
	if (value < 0x80) {
		put_char(lexer, (int)value);
		return true;
	}
	uint64_t first = 0x3f;
	do {
		text[sizeof(text) - ++len] = (uint8_t)(0x80 | (value & 0x3f));
		value >>= 6;
		first >>= 1;
	} while (value > first);
	text[sizeof(text) - ++len] = (uint8_t)((~first << 1) | value);
	put(lexer, text + sizeof(text) - len, len);
	return true;
}

/* What follows a backslash. */
static bool read_escape(struct lexer *lexer)
{
	static const char letters[] = "abfnrtv\\\"'\n", values[] = "\a\b\f\n\r\t\v\\\"'\n";
	const int c = peek(lexer, 0);
	const char *letter = c > 0 ? strchr(letters, c) : NULL;
	if (isdigit(c))
		return read_decimal(lexer);
	if (c < 0)
		return false;
	lexer->at++;
	if (letter) {
		put_char(lexer, values[letter - letters]);
		return true;
	}
	if (c == 'z') {
		while (isspace(peek(lexer, 0)))
			lexer->at++;
		return true;
	}
	if (c == '\r') {
		lexer->at += peek(lexer, 0) == '\n';
		put_char(lexer, '\n');
		return true;
	}
	return c == 'x' ? read_hex(lexer) : c == 'u' && read_code_point(lexer);
}

/* At the opening quote. A broken string ends with its line. */
static enum token read_quoted(struct lexer *lexer)
{
	const int quote = peek(lexer, 0);
	lexer->at++;
	for (int c; (c = peek(lexer, 0)) != quote;) {
		if (c < 0 || c == '\n' || c == '\r')
			return TOKEN_OTHER;
		lexer->at++;
		if (c != '\\') {
			put_char(lexer, c);
		} else if (!read_escape(lexer)) {
			pass_line(lexer);
			return TOKEN_OTHER;
		}
	}
	lexer->at++;
	return TOKEN_STRING;
}

/* --- tokens --- */

static enum token read_name(struct lexer *lexer)
{
	lexer->name = lexer->at;
	while (is_name_char(peek(lexer, 0)))
		lexer->at++;
	lexer->name_len = (size_t)(lexer->at - lexer->name);
	return TOKEN_NAME;
}

static enum token read_number(struct lexer *lexer)
{
	while (is_name_char(peek(lexer, 0)) || peek(lexer, 0) == '.')
		lexer->at++;
	return TOKEN_OTHER;
}

static enum token read_sign(struct lexer *lexer)
{
	const int c = peek(lexer, 0);
	lexer->at++;
	if (c == '.' && peek(lexer, 0) == '.') {
		lexer->at++;
		if (peek(lexer, 0) != '.')
			return TOKEN_CONCAT;
		lexer->at++;
		return TOKEN_OTHER;
	}
	if (c != 0 && strchr("=~<>", c) && peek(lexer, 0) == '=') {
		lexer->at++;
		return TOKEN_OTHER;
	}
	lexer->sign = (char)c;
	return TOKEN_SIGN;
}

static void next(struct lexer *lexer)
{
	const char *from, *to;
	pass_blanks_and_comments(lexer);
	lexer->string.len = 0;
	const int c = peek(lexer, 0), level = bracket_level(lexer);
	if (c < 0) {
		lexer->token = TOKEN_END;
	} else if (level >= 0) {
		lexer->token = TOKEN_OTHER;
		if (pass_bracket(lexer, level, &from, &to)) {
			put(lexer, from, (size_t)(to - from));
			lexer->token = TOKEN_STRING;
		}
	} else if (c == '"' || c == '\'') {
		lexer->token = read_quoted(lexer);
	} else if (isdigit(c) || (c == '.' && isdigit(peek(lexer, 1)))) {
		lexer->token = read_number(lexer);
	} else if (is_name_char(c)) {
		lexer->token = read_name(lexer);
	} else {
		lexer->token = read_sign(lexer);
	}
}

static bool is_sign(const struct lexer *lexer, char sign)
{
	return lexer->token == TOKEN_SIGN && lexer->sign == sign;
}

static bool is_name(const struct lexer *lexer, const char *name)
{
	return lexer->token == TOKEN_NAME && lexer->name_len == strlen(name) &&
	       memcmp(lexer->name, name, lexer->name_len) == 0;
}

/* --- references --- */

static const struct callee {
	const char *name;
	enum pv_fixture_ref_kind kind;
	bool member;	  /* a word of its own means something else */
	bool may_opt_out; /* by auto_dep = false */
} callees[] = {
    {"vm_fixture",	   PV_FIXTURE_REF_FIXTURE, false, false},
    {"lab_fixture",	    PV_FIXTURE_REF_FIXTURE, false, false},
    {"fixture",		PV_FIXTURE_REF_LEGACY,  true,  false},
    {"require",		PV_FIXTURE_REF_MODULE,  false, false},
    {"dofile",	       PV_FIXTURE_REF_SCRIPT,  false, false},
    {"loadfile",	 PV_FIXTURE_REF_SCRIPT,	false, false},
    {"push_file",	  PV_FIXTURE_REF_FILE,    false, true },
    {"push_dir",	 PV_FIXTURE_REF_FOLDER,  false, true },
    {"depends_on_file", PV_FIXTURE_REF_FILE,    false, false},
};

static const struct callee *find_callee(const struct lexer *lexer, bool is_member)
{
	for (size_t i = 0; i < sizeof(callees) / sizeof(callees[0]); i++) {
		if (is_name(lexer, callees[i].name) && (is_member || !callees[i].member))
			return &callees[i];
	}
	return NULL;
}

/* Whether `auto_dep = false` stands before the end of the call, in whose arguments `lexer` is. A
 * copy, so that the arguments are looked at again for references of their own. */
static bool opts_out(struct lexer lexer)
{
	int depth = 1;	 /* of brackets of all kinds */
	int matched = 0; /* tokens of `auto_dep = false` */
	if (lexer.end - lexer.at > CALL_MAX)
		lexer.end = lexer.at + CALL_MAX;
	lexer.string = (struct pv_bytes){0};
	while (depth > 0 && lexer.token != TOKEN_END && matched < 3) {
		const bool is_key =
		    is_name(&lexer, "auto_dep") ||
		    (lexer.token == TOKEN_STRING && lexer.string.len == strlen("auto_dep") &&
			memcmp(lexer.string.data, "auto_dep", lexer.string.len) == 0);
		if (is_key)
			matched = 1;
		else if (matched == 1 && is_sign(&lexer, '='))
			matched = 2;
		else if (matched == 2 && is_name(&lexer, "false"))
			matched = 3;
		else if (!(matched == 1 && is_sign(&lexer, ']'))) /* ["auto_dep"] */
			matched = 0;
		if (is_sign(&lexer, '(') || is_sign(&lexer, '[') || is_sign(&lexer, '{'))
			depth++;
		else if (is_sign(&lexer, ')') || is_sign(&lexer, ']') || is_sign(&lexer, '}'))
			depth--;
		next(&lexer);
	}
	pv_bytes_finish(&lexer.string);
	return matched == 3;
}

static int add(struct pv_fixture_refs *refs, enum pv_fixture_ref_kind kind, struct pv_bytes *text)
{
	/* What is empty or has a NUL in it names nothing. */
	if (text->len == 0 || memchr(text->data, '\0', text->len))
		return 0;
	struct pv_fixture_ref *grown = reallocarray(refs->items, refs->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	refs->items = grown;
	char *copy = strndup((const char *)text->data, text->len);
	if (!copy)
		return -ENOMEM;
	grown[refs->count++] = (struct pv_fixture_ref){.kind = kind, .text = copy};
	return 0;
}

/* The strings joined by `..` from the present token on. Returns false when there is none, or when
 * the last `..` is followed by something else. */
static bool read_literal(struct lexer *lexer, struct pv_bytes *out)
{
	for (;;) {
		if (lexer->token != TOKEN_STRING)
			return false;
		if (pv_bytes_append(out, lexer->string.data, lexer->string.len))
			lexer->status = -ENOMEM;
		next(lexer);
		if (lexer->token != TOKEN_CONCAT)
			return true;
		next(lexer);
	}
}

/* Behind the name of a callee. Leaves the lexer at a token that nobody has looked at yet. */
static void read_call(
    struct lexer *lexer, const struct callee *callee, struct pv_fixture_refs *refs)
{
	struct pv_bytes text = {0};
	bool found = false;
	if (lexer->token == TOKEN_STRING) {
		found = true;
		if (pv_bytes_append(&text, lexer->string.data, lexer->string.len))
			lexer->status = -ENOMEM;
		next(lexer);
	} else if (is_sign(lexer, '(')) {
		next(lexer);
		found = read_literal(lexer, &text) && (is_sign(lexer, ')') || is_sign(lexer, ','));
		if (found && callee->may_opt_out && is_sign(lexer, ','))
			found = !opts_out(*lexer);
	}
	if (found && !lexer->status)
		lexer->status = add(refs, callee->kind, &text);
	pv_bytes_finish(&text);
}

int pv_fixture_scan(struct pv_fixture_refs *refs, const char *text, size_t len, struct pv_err *err)
{
	struct lexer lexer = {.at = text, .end = text + len};
	bool is_member = false;
	*refs = (struct pv_fixture_refs){0};
	/* A first line for the shell. */
	if (peek(&lexer, 0) == '#')
		pass_line(&lexer);
	next(&lexer);
	while (lexer.token != TOKEN_END && !lexer.status) {
		const struct callee *callee = find_callee(&lexer, is_member);
		is_member = is_sign(&lexer, '.') || is_sign(&lexer, ':');
		next(&lexer);
		if (callee)
			read_call(&lexer, callee, refs);
	}
	pv_bytes_finish(&lexer.string);
	return lexer.status ? pv_err_nomem(err, "the references of a fixture") : 0;
}

void pv_fixture_refs_finish(struct pv_fixture_refs *refs)
{
	for (size_t i = 0; i < refs->count; i++)
		free(refs->items[i].text);
	free(refs->items);
	*refs = (struct pv_fixture_refs){0};
}
