/*
 * Requests as msgpack maps. What an operation is made of stands in one table: for each field its
 * key, its type, its place in struct pv_request and its bounds. Encoder and decoder walk that
 * table. The encoder writes what it is given; the decoder trusts nothing: it checks every type and
 * count, then copies all lists and strings into one block, because the wire has no closing NULs and
 * system calls want them. Pure functions; any thread.
 */
#include "agent/proto/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto/protocol.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/pack.h"

enum type {
	UINT,  /* uint64_t */
	INT,   /* int64_t from `min` to `max` */
	TIME,  /* int64_t from 0, PV_CLOCK_NEVER goes as nil */
	BOOL,  /* bool */
	TEXT,  /* const char *, without NUL */
	MAYBE, /* the same, NULL goes as nil */
	TEXTS, /* struct pv_request_strings, at least `min` of them */
	NUMBERS /* struct pv_request_numbers, at most `max` of them */,
	DATA,	/* struct pv_span of at most `max` bytes */
	IGNORED /* written from a const char *, not read: for people */
};

struct field {
	const char *key;
	enum type type;
	size_t offset; /* in struct pv_request */
	int64_t min;
	int64_t max;
};

#define AT(member) offsetof(struct pv_request, member)
#define UPLOAD(of)                                             \
	{"data", DATA, AT(of.data), 0, PV_PROTOCOL_CHUNK_MAX}, \
	{                                                      \
		"more", BOOL, AT(of.more), 0, 0                \
	}
#define MODE_MAX 07777

#define SIGNAL_MAX 64

#define FIELDS_MAX 10

struct op {
	const char *name;
	struct field fields[FIELDS_MAX]; /* ends with the first that has no key */
};

/* clang-format off */
#define COMMAND \
	{"argv", TEXTS, AT(exec.argv), 1, 0}, {"env", TEXTS, AT(exec.env), 0, 0}, \
	{"env_clear", BOOL, AT(exec.env_clear), 0, 0}, {"cwd", MAYBE, AT(exec.cwd), 0, 0}, \
	UPLOAD(exec)
#define HANDLE {"handle", INT, AT(process.handle), 1, INT64_MAX}

static const struct op ops[PV_REQUEST_OP_COUNT] = {
    [PV_REQUEST_HELLO] = {"hello",
	{{"version", UINT, AT(hello.version), 0, 0}, {"host", IGNORED, AT(hello.host), 0, 0},
	    {"session", UINT, AT(hello.session), 0, 0}, {"resume", UINT, AT(hello.resume), 0, 0},
	    {"received", UINT, AT(hello.received), 0, 0}}},
    [PV_REQUEST_EXEC] = {"exec", {COMMAND, {"timeout_ns", TIME, AT(exec.timeout_ns), 0, 0}}},
    [PV_REQUEST_READ_FILE] = {"read_file", {{"path", TEXT, AT(file.path), 0, 0}}},
    [PV_REQUEST_WRITE_FILE] = {"write_file",
	{{"path", TEXT, AT(file.path), 0, 0}, {"mode", INT, AT(file.mode), 0, MODE_MAX},
	    UPLOAD(file)}},
    [PV_REQUEST_STAT] = {"stat",
	{{"path", TEXT, AT(file.path), 0, 0}, {"follow", BOOL, AT(file.follow), 0, 0}}},
    [PV_REQUEST_PROCESS_START] = {"process_start", {COMMAND}},
    [PV_REQUEST_PROCESS_WAIT] = {"process_wait",
	{HANDLE, {"timeout_ns", TIME, AT(process.timeout_ns), 0, 0}}},
    [PV_REQUEST_PROCESS_STATUS] = {"process_status", {HANDLE}},
    [PV_REQUEST_PROCESS_SIGNAL] = {"process_signal",
	{HANDLE, {"signal", INT, AT(process.signal), 0, SIGNAL_MAX}}},
    [PV_REQUEST_PROCESS_WRITE] = {"process_write", {HANDLE, UPLOAD(process)}},
    [PV_REQUEST_PROCESS_CLOSE_INPUT] = {"process_close_input", {HANDLE}},
    [PV_REQUEST_PROCESS_CLOSE] = {"process_close", {HANDLE}},
    [PV_REQUEST_PROCESS_STREAM] = {"process_stream",
	{HANDLE, {"from_err", BOOL, AT(process.from_err), 0, 0}}},
    [PV_REQUEST_WORKER_START] = {"worker_start", {{0}}},
    [PV_REQUEST_WORKER_SIGNAL] = {"worker_signal",
	{{"signal", INT, AT(of_worker.signal), 0, SIGNAL_MAX}}},
    [PV_REQUEST_WORKER_JOIN] = {"worker_join", {{"force", BOOL, AT(of_worker.force), 0, 0}}},
    [PV_REQUEST_LIST] = {"list", {{"path", TEXT, AT(file.path), 0, 0}}},
    [PV_REQUEST_MKDIR] = {"mkdir",
	{{"path", TEXT, AT(file.path), 0, 0}, {"mode", INT, AT(file.mode), 0, MODE_MAX},
	    {"parents", BOOL, AT(file.parents), 0, 0}}},
    [PV_REQUEST_UNLINK] = {"unlink", {{"path", TEXT, AT(file.path), 0, 0}}},
    [PV_REQUEST_RENAME] = {"rename",
	{{"path", TEXT, AT(file.path), 0, 0}, {"to", TEXT, AT(file.to), 0, 0}}},
    [PV_REQUEST_SYSCALL] = {"syscall",
	{{"nr", INT, AT(syscall.nr), INT64_MIN, INT64_MAX},
	    {"args", NUMBERS, AT(syscall.args), 0, 6},
	    {"lens", NUMBERS, AT(syscall.lens), 0, PV_PROTOCOL_STRINGS_MAX},
	    {"ptrs", NUMBERS, AT(syscall.ptrs), 0, 6},
	    {"nested", NUMBERS, AT(syscall.nested), 0, PV_PROTOCOL_STRINGS_MAX},
	    {"handle", INT, AT(syscall.handle), 0, INT64_MAX},
	    {"aside", BOOL, AT(syscall.aside), 0, 0}, UPLOAD(syscall)}},
    [PV_REQUEST_SYSCALLS] = {"syscalls",
	{{"words", NUMBERS, AT(syscalls), 0, PV_PROTOCOL_STRINGS_MAX}}},
    [PV_REQUEST_READ_MEM] = {"read_mem",
	{{"addr", INT, AT(memory_at.addr), INT64_MIN, INT64_MAX},
	    {"len", INT, AT(memory_at.len), 0, PV_PROTOCOL_MEMORY_MAX}}},
    [PV_REQUEST_WRITE_MEM] = {"write_mem",
	{{"addr", INT, AT(memory_at.addr), INT64_MIN, INT64_MAX},
	    {"len", INT, AT(memory_at.len), 0, PV_PROTOCOL_MEMORY_MAX}, UPLOAD(memory_at)}},
    [PV_REQUEST_OPEN] = {"open",
	{{"path", TEXT, AT(handle.path), 0, 0},
	    {"flags", INT, AT(handle.flags), 0, PV_PROTOCOL_OPEN_ALL},
	    {"mode", INT, AT(handle.mode), 0, MODE_MAX}}},
    [PV_REQUEST_READ] = {"read",
	{{"handle", INT, AT(handle.handle), 1, INT64_MAX},
	    {"size", INT, AT(handle.size), -1, INT64_MAX}}},
    [PV_REQUEST_WRITE] = {"write",
	{{"handle", INT, AT(handle.handle), 1, INT64_MAX}, UPLOAD(handle)}},
    [PV_REQUEST_SEEK] = {"seek",
	{{"handle", INT, AT(handle.handle), 1, INT64_MAX},
	    {"offset", INT, AT(handle.offset), INT64_MIN, INT64_MAX},
	    {"whence", INT, AT(handle.whence), 0, 2}}},
    [PV_REQUEST_CLOSE] = {"close", {{"handle", INT, AT(handle.handle), 1, INT64_MAX}}},
    [PV_REQUEST_TAIL] = {"tail",
	{{"path", TEXT, AT(tail.path), 0, 0}, {"from", INT, AT(tail.from), 0, 1},
	    {"offset", INT, AT(tail.offset), INT64_MIN, INT64_MAX}}},
    [PV_REQUEST_TAIL_HANDLE] = {"tail_handle",
	{{"handle", INT, AT(tail.handle), 1, INT64_MAX}}},
    [PV_REQUEST_GET_TREE] = {"get_tree",
	{{"path", TEXT, AT(file.path), 0, 0}, {"directory", BOOL, AT(file.directory), 0, 0}}},
    [PV_REQUEST_PUT_TREE] = {"put_tree",
	{{"path", TEXT, AT(file.path), 0, 0}, {"directory", BOOL, AT(file.directory), 0, 0},
	    UPLOAD(file)}},
    [PV_REQUEST_RESEED] = {"reseed", {{"data", DATA, AT(entropy), 0, PV_PROTOCOL_ENTROPY_MAX}}},
    [PV_REQUEST_SET_WALL] = {"set_wall", {{"wall_ns", INT, AT(wall_ns), 0, INT64_MAX}}},
    [PV_REQUEST_CHUNK] = {"chunk", {{"data", DATA, AT(chunk), 0, PV_PROTOCOL_CHUNK_MAX}}},
    [PV_REQUEST_FINISH] = {"finish", {{0}}},
    [PV_REQUEST_CANCEL] = {"cancel", {{0}}},
    [PV_REQUEST_GRANT] = {"grant", {{"bytes", INT, AT(grant), 1, INT64_MAX}}},
};
/* clang-format on */

const char *pv_request_name(enum pv_request_op op)
{
	return op < PV_REQUEST_OP_COUNT ? ops[op].name : "unknown";
}

static const struct field *field_at(enum pv_request_op op, unsigned index)
{
	return index < FIELDS_MAX && ops[op].fields[index].key ? &ops[op].fields[index] : NULL;
}

static uint32_t field_count(enum pv_request_op op)
{
	uint32_t count = 0;
	while (field_at(op, count))
		count++;
	return count;
}

/* --- encoding --- */

static void put_strings(struct pv_pack *pack, const struct pv_request_strings *strings)
{
	pv_pack_array(pack, (uint32_t)strings->count);
	for (size_t i = 0; i < strings->count; i++)
		pv_pack_str(pack, strings->at[i]);
}

static void put_numbers(struct pv_pack *pack, const struct pv_request_numbers *numbers)
{
	pv_pack_array(pack, (uint32_t)numbers->count);
	for (size_t i = 0; i < numbers->count; i++)
		pv_pack_int(pack, numbers->at[i]);
}

static void put_time(struct pv_pack *pack, int64_t ns)
{
	if (ns == PV_CLOCK_NEVER)
		pv_pack_nil(pack);
	else
		pv_pack_int(pack, ns);
}

static void put_field(
    struct pv_pack *pack, const struct field *field, const struct pv_request *request)
{
	const void *at = (const char *)request + field->offset;
	const struct pv_span *span = at;
	pv_pack_str(pack, field->key);
	switch (field->type) {
	case UINT: pv_pack_uint(pack, *(const uint64_t *)at); break;
	case INT: pv_pack_int(pack, *(const int64_t *)at); break;
	case TIME: put_time(pack, *(const int64_t *)at); break;
	case BOOL: pv_pack_bool(pack, *(const bool *)at); break;
	case TEXT:
	case MAYBE:
	case IGNORED: pv_pack_str(pack, *(const char *const *)at); break;
	case TEXTS: put_strings(pack, at); break;
	case NUMBERS: put_numbers(pack, at); break;
	case DATA: pv_pack_bin(pack, span->data, span->len); break;
	}
}

int pv_request_encode(const struct pv_request *request, struct pv_bytes *out, struct pv_err *err)
{
	size_t before = out->len;
	int64_t start = pv_frame_begin(out);
	if (start < 0)
		return pv_err_nomem(err, "a request to the guest's agent");
	struct pv_pack pack = {.out = out};
	pv_pack_map(
	    &pack, 2 + (request->worker != 0) + (request->after != 0) + field_count(request->op));
	pv_pack_str(&pack, "id");
	pv_pack_uint(&pack, request->id);
	pv_pack_str(&pack, "op");
	pv_pack_str(&pack, pv_request_name(request->op));
	if (request->worker != 0) {
		pv_pack_str(&pack, "worker");
		pv_pack_uint(&pack, request->worker);
	}
	if (request->after != 0) {
		pv_pack_str(&pack, "after");
		pv_pack_uint(&pack, request->after);
	}
	for (unsigned i = 0; field_at(request->op, i); i++)
		put_field(&pack, field_at(request->op, i), request);
	if (pack.status < 0) {
		out->len = before;
		return pv_err_nomem(err, "a request to the guest's agent");
	}
	if (out->len - (size_t)start - PV_FRAME_HEADER > PV_PROTOCOL_FRAME_MAX) {
		out->len = before;
		return pv_err_set(err, PV_ERR_LIMIT, E2BIG,
		    "the arguments are longer than %u bytes", PV_PROTOCOL_FRAME_MAX);
	}
	pv_frame_end(out, start);
	return 0;
}

/* --- decoding --- */

/*
 * The block under construction. Pass one measures, pass two copies. Lists come first, because they
 * want alignment; all their elements have eight bytes.
 */
struct arena {
	char *lists; /* NULL while measuring */
	char *texts;
	size_t list_size;
	size_t text_size;
};

_Static_assert(sizeof(char *) <= sizeof(int64_t), "an element of a list has eight bytes");

/* Returns the place of `count` elements, NULL while measuring. */
static void *take_list(struct arena *arena, size_t count)
{
	char *at = arena->lists;
	arena->list_size += count * sizeof(int64_t);
	if (at)
		arena->lists += count * sizeof(int64_t);
	return at;
}

/* Returns false when it is no text. */
static bool take_text(struct arena *arena, const struct pv_val *val, const char **out)
{
	const void *text;
	size_t len;
	if (!pv_val_bytes(val, &text, &len) || memchr(text, '\0', len))
		return false;
	arena->text_size += len + 1;
	*out = NULL;
	if (!arena->texts)
		return true;
	memcpy(arena->texts, text, len);
	arena->texts[len] = '\0';
	*out = arena->texts;
	arena->texts += len + 1;
	return true;
}

static bool is_list(const struct pv_val *val, int64_t min)
{
	return pv_val_type(val) == PV_VAL_ARRAY && pv_val_count(val) >= min &&
	       pv_val_count(val) <= PV_PROTOCOL_STRINGS_MAX;
}

static bool take_texts(
    struct arena *arena, const struct pv_val *val, int64_t min, struct pv_request_strings *out)
{
	if (!is_list(val, min))
		return false;
	const uint32_t count = pv_val_count(val);
	const char **slots = take_list(arena, count + 1);
	for (uint32_t i = 0; i < count; i++) {
		const char *text;
		if (!take_text(arena, pv_val_at(val, i), &text))
			return false;
		if (slots)
			slots[i] = text;
	}
	if (slots)
		slots[count] = NULL;
	*out = (struct pv_request_strings){.at = slots, .count = count};
	return true;
}

static bool take_numbers(
    struct arena *arena, const struct pv_val *val, int64_t max, struct pv_request_numbers *out)
{
	if (!is_list(val, 0) || pv_val_count(val) > max)
		return false;
	const uint32_t count = pv_val_count(val);
	int64_t *slots = take_list(arena, count);
	for (uint32_t i = 0; i < count; i++) {
		int64_t number;
		if (!pv_val_int(pv_val_at(val, i), &number))
			return false;
		if (slots)
			slots[i] = number;
	}
	*out = (struct pv_request_numbers){.at = slots, .count = count};
	return true;
}

static bool is_nil(const struct pv_val *val)
{
	return !val || pv_val_type(val) == PV_VAL_NIL;
}

static bool take_int(const struct pv_val *val, int64_t min, int64_t max, int64_t *out)
{
	return pv_val_int(val, out) && *out >= min && *out <= max;
}

static bool take_time(const struct pv_val *val, int64_t *out)
{
	*out = PV_CLOCK_NEVER;
	return is_nil(val) || take_int(val, 0, INT64_MAX, out);
}

/* Returns false when the value is not what the field wants. */
static bool take_field(struct arena *arena, const struct field *field, const struct pv_val *val,
    struct pv_request *request)
{
	void *at = (char *)request + field->offset;
	struct pv_span *span = at;
	switch (field->type) {
	case UINT: return pv_val_uint(val, at);
	case INT: return take_int(val, field->min, field->max, at);
	case TIME: return take_time(val, at);
	case BOOL: return pv_val_bool(val, at);
	case TEXT: return take_text(arena, val, at);
	case MAYBE: return is_nil(val) || take_text(arena, val, at);
	case TEXTS: return take_texts(arena, val, field->min, at);
	case NUMBERS: return take_numbers(arena, val, field->max, at);
	case DATA:
		return pv_val_bytes(val, &span->data, &span->len) &&
		       span->len <= (uint64_t)field->max;
	case IGNORED: return true;
	}
	return false;
}

static const char *wanted(enum type type)
{
	switch (type) {
	case UINT: return "a number from 0";
	case INT: return "a number within its bounds";
	case TIME: return "a number from 0, or nothing";
	case BOOL: return "a boolean";
	case TEXT: return "a string without NUL";
	case MAYBE: return "a string without NUL, or nothing";
	case TEXTS: return "a list of strings without NUL, with enough of them and not too many";
	case NUMBERS: return "a list of numbers, and not too many";
	case DATA: return "bytes, and not too many";
	case IGNORED: break;
	}
	return "there";
}

static int take_fields(
    struct arena *arena, const struct pv_val *map, struct pv_request *request, struct pv_err *err)
{
	for (unsigned i = 0; field_at(request->op, i); i++) {
		const struct field *field = field_at(request->op, i);
		if (!take_field(arena, field, pv_val_get(map, field->key), request))
			return pv_err_set(err, PV_ERR_INPUT, EINVAL, "%s: `%s` must be %s",
			    pv_request_name(request->op), field->key, wanted(field->type));
	}
	return 0;
}

static int get_arguments(struct pv_request *request, const struct pv_val *map, struct pv_err *err)
{
	struct arena arena = {0};
	int status = take_fields(&arena, map, request, err);
	size_t size = arena.list_size + arena.text_size;
	if (status < 0 || size == 0)
		return status;
	request->memory = malloc(size);
	if (!request->memory)
		return pv_err_nomem(err, "the arguments of a request");
	arena.lists = request->memory;
	arena.texts = arena.lists + arena.list_size;
	return take_fields(&arena, map, request, err);
}

static bool find_op(const struct pv_val *val, enum pv_request_op *out)
{
	const char *text;
	size_t len;
	if (!pv_val_str(val, &text, &len))
		return false;
	for (unsigned op = 0; op < PV_REQUEST_OP_COUNT; op++) {
		if (strlen(ops[op].name) == len && memcmp(ops[op].name, text, len) == 0) {
			*out = op;
			return true;
		}
	}
	return false;
}

int pv_request_decode(struct pv_request *request, const void *data, size_t len, struct pv_err *err)
{
	*request = (struct pv_request){.op = PV_REQUEST_OP_COUNT};
	int status = pv_doc_parse(&request->doc, data, len, err);
	if (status < 0)
		return status == -ENOMEM ? status : -EBADMSG;
	const struct pv_val *map = pv_doc_root(request->doc);
	if (!pv_val_uint(pv_val_get(map, "id"), &request->id) || request->id == 0)
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG, "request without a call number");
	const struct pv_val *worker = pv_val_get(map, "worker");
	if (!is_nil(worker) && !pv_val_uint(worker, &request->worker))
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG, "request for no worker");
	const struct pv_val *after = pv_val_get(map, "after");
	if (!is_nil(after) && !pv_val_uint(after, &request->after))
		return pv_err_set(err, PV_ERR_INPUT, EBADMSG, "request after no call");
	if (!find_op(pv_val_get(map, "op"), &request->op))
		return pv_err_set(
		    err, PV_ERR_INPUT, ENOSYS, "this agent does not know the operation");
	return get_arguments(request, map, err);
}

void pv_request_finish(struct pv_request *request)
{
	if (!request)
		return;
	free(request->memory);
	request->memory = NULL;
	pv_doc_destroy(request->doc);
	request->doc = NULL;
}
