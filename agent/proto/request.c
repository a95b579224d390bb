/*
 * Requests as msgpack maps. The encoder writes what it is given; the decoder trusts nothing: it
 * checks every type and count against the limits of proto/protocol.h, then copies all strings into
 * one block, because the wire has no closing NULs and system calls want them. Pure functions; any
 * thread.
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

static const char *const op_names[PV_REQUEST_OP_COUNT] = {
    [PV_REQUEST_HELLO] = "hello",
    [PV_REQUEST_EXEC] = "exec",
    [PV_REQUEST_READ_FILE] = "read_file",
    [PV_REQUEST_WRITE_FILE] = "write_file",
    [PV_REQUEST_STAT] = "stat",
    [PV_REQUEST_RESEED] = "reseed",
    [PV_REQUEST_SET_WALL] = "set_wall",
    [PV_REQUEST_CHUNK] = "chunk",
    [PV_REQUEST_FINISH] = "finish",
    [PV_REQUEST_CANCEL] = "cancel",
};

const char *pv_request_name(enum pv_request_op op)
{
	return op < PV_REQUEST_OP_COUNT ? op_names[op] : "unknown";
}

/* --- encoding --- */

static void put_strings(
    struct pv_pack *pack, const char *key, const char *const *strings, size_t count)
{
	pv_pack_str(pack, key);
	pv_pack_array(pack, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		pv_pack_str(pack, strings[i]);
}

static void put_upload(struct pv_pack *pack, struct pv_span data, bool more)
{
	pv_pack_str(pack, "data");
	pv_pack_bin(pack, data.data, data.len);
	pv_pack_str(pack, "more");
	pv_pack_bool(pack, more);
}

static void put_exec(struct pv_pack *pack, const struct pv_request_exec *exec)
{
	put_strings(pack, "argv", exec->argv, exec->argc);
	put_strings(pack, "env", exec->env, exec->env_count);
	pv_pack_str(pack, "env_clear");
	pv_pack_bool(pack, exec->env_clear);
	pv_pack_str(pack, "cwd");
	pv_pack_str(pack, exec->cwd);
	pv_pack_str(pack, "timeout_ns");
	if (exec->timeout_ns == PV_CLOCK_NEVER)
		pv_pack_nil(pack);
	else
		pv_pack_int(pack, exec->timeout_ns);
	put_upload(pack, exec->data, exec->more);
}

/* Writes the pairs behind `id` and `op`. */
static void put_arguments(struct pv_pack *pack, const struct pv_request *request)
{
	switch (request->op) {
	case PV_REQUEST_HELLO:
		pv_pack_str(pack, "version");
		pv_pack_uint(pack, request->hello.version);
		pv_pack_str(pack, "host");
		pv_pack_str(pack, request->hello.host);
		break;
	case PV_REQUEST_EXEC: put_exec(pack, &request->exec); break;
	case PV_REQUEST_WRITE_FILE:
		pv_pack_str(pack, "mode");
		pv_pack_uint(pack, request->file.mode);
		put_upload(pack, request->file.data, request->file.more);
		/* fall through */
	case PV_REQUEST_READ_FILE:
		pv_pack_str(pack, "path");
		pv_pack_str(pack, request->file.path);
		break;
	case PV_REQUEST_STAT:
		pv_pack_str(pack, "path");
		pv_pack_str(pack, request->file.path);
		pv_pack_str(pack, "follow");
		pv_pack_bool(pack, request->file.follow);
		break;
	case PV_REQUEST_RESEED:
		pv_pack_str(pack, "data");
		pv_pack_bin(pack, request->entropy.data, request->entropy.len);
		break;
	case PV_REQUEST_SET_WALL:
		pv_pack_str(pack, "wall_ns");
		pv_pack_int(pack, request->wall_ns);
		break;
	case PV_REQUEST_CHUNK:
		pv_pack_str(pack, "data");
		pv_pack_bin(pack, request->chunk.data, request->chunk.len);
		break;
	default: break;
	}
}

static uint32_t argument_count(enum pv_request_op op)
{
	switch (op) {
	case PV_REQUEST_HELLO: return 2;
	case PV_REQUEST_EXEC: return 7;
	case PV_REQUEST_READ_FILE: return 1;
	case PV_REQUEST_WRITE_FILE: return 4;
	case PV_REQUEST_STAT: return 2;
	case PV_REQUEST_RESEED: return 1;
	case PV_REQUEST_SET_WALL: return 1;
	case PV_REQUEST_CHUNK: return 1;
	default: return 0;
	}
}

int pv_request_encode(const struct pv_request *request, struct pv_bytes *out, struct pv_err *err)
{
	size_t before = out->len;
	int64_t start = pv_frame_begin(out);
	if (start < 0)
		return pv_err_nomem(err, "a request to the guest's agent");
	struct pv_pack pack = {.out = out};
	pv_pack_map(&pack, 2 + argument_count(request->op));
	pv_pack_str(&pack, "id");
	pv_pack_uint(&pack, request->id);
	pv_pack_str(&pack, "op");
	pv_pack_str(&pack, pv_request_name(request->op));
	put_arguments(&pack, request);
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

/* The block of strings under construction: pass one measures, pass two copies. */
struct arena {
	char *at; /* NULL while measuring */
	size_t size;
	bool broken; /* a value has the wrong type, or a NUL inside */
};

static const char *take_string(struct arena *arena, const struct pv_val *val)
{
	const void *text;
	size_t len;
	if (!pv_val_bytes(val, &text, &len) || memchr(text, '\0', len)) {
		arena->broken = true;
		return NULL;
	}
	arena->size += len + 1;
	if (!arena->at)
		return NULL;
	char *copy = arena->at;
	memcpy(copy, text, len);
	copy[len] = '\0';
	arena->at += len + 1;
	return copy;
}

/* The list's pointers come first in the block, so `slots` is aligned. */
static void take_strings(struct arena *arena, const struct pv_val *list, const char **slots)
{
	for (uint32_t i = 0; i < pv_val_count(list) && !arena->broken; i++) {
		const char *copy = take_string(arena, pv_val_at(list, i));
		if (slots)
			slots[i] = copy;
	}
}

static bool is_list(const struct pv_val *val)
{
	return pv_val_type(val) == PV_VAL_ARRAY && pv_val_count(val) <= PV_PROTOCOL_STRINGS_MAX;
}

static bool get_data(const struct pv_val *map, size_t limit, struct pv_span *out)
{
	const struct pv_val *data = pv_val_get(map, "data");
	return pv_val_bytes(data, &out->data, &out->len) && out->len <= limit;
}

static int wrong(struct pv_err *err, const struct pv_request *request, const char *what)
{
	return pv_err_set(err, PV_ERR_INPUT, EINVAL, "%s: %s", pv_request_name(request->op), what);
}

static int copy_exec_strings(
    struct pv_request *request, const struct pv_val *map, struct pv_err *err)
{
	struct pv_request_exec *exec = &request->exec;
	const struct pv_val *argv = pv_val_get(map, "argv"), *env = pv_val_get(map, "env");
	const struct pv_val *cwd = pv_val_get(map, "cwd");
	bool has_cwd = cwd && pv_val_type(cwd) != PV_VAL_NIL;
	if (!is_list(argv) || pv_val_count(argv) == 0 || !is_list(env))
		return wrong(err, request, "`argv` and `env` must be lists of strings");
	struct arena arena = {0};
	take_strings(&arena, argv, NULL);
	take_strings(&arena, env, NULL);
	if (has_cwd)
		take_string(&arena, cwd);
	if (arena.broken)
		return wrong(err, request, "`argv`, `env` and `cwd` must hold strings without NUL");
	exec->argc = pv_val_count(argv);
	exec->env_count = pv_val_count(env);
	size_t pointers = (exec->argc + exec->env_count + 2) * sizeof(char *);
	const char **slots = malloc(pointers + arena.size);
	if (!slots)
		return pv_err_nomem(err, "the arguments of a program");
	request->memory = slots;
	exec->argv = slots;
	exec->env = slots + exec->argc + 1;
	arena.at = (char *)slots + pointers;
	take_strings(&arena, argv, slots);
	slots[exec->argc] = NULL;
	take_strings(&arena, env, slots + exec->argc + 1);
	slots[exec->argc + 1 + exec->env_count] = NULL;
	exec->cwd = has_cwd ? take_string(&arena, cwd) : NULL;
	return 0;
}

static int get_exec(struct pv_request *request, const struct pv_val *map, struct pv_err *err)
{
	struct pv_request_exec *exec = &request->exec;
	int status = copy_exec_strings(request, map, err);
	if (status < 0)
		return status;
	const struct pv_val *timeout = pv_val_get(map, "timeout_ns");
	exec->timeout_ns = PV_CLOCK_NEVER;
	if (timeout && pv_val_type(timeout) != PV_VAL_NIL &&
	    (!pv_val_int(timeout, &exec->timeout_ns) || exec->timeout_ns < 0))
		return wrong(err, request, "`timeout_ns` must be a number from 0");
	if (!pv_val_bool(pv_val_get(map, "env_clear"), &exec->env_clear) ||
	    !pv_val_bool(pv_val_get(map, "more"), &exec->more))
		return wrong(err, request, "`env_clear` and `more` must be booleans");
	if (!get_data(map, PV_PROTOCOL_CHUNK_MAX, &exec->data))
		return wrong(err, request, "`data` must be bytes, and not too many");
	return 0;
}

static int get_file(struct pv_request *request, const struct pv_val *map, struct pv_err *err)
{
	struct pv_request_file *file = &request->file;
	struct arena arena = {0};
	const struct pv_val *path = pv_val_get(map, "path");
	take_string(&arena, path);
	if (arena.broken)
		return wrong(err, request, "`path` must be a string without NUL");
	request->memory = arena.at = malloc(arena.size);
	if (!request->memory)
		return pv_err_nomem(err, "a path");
	file->path = take_string(&arena, path);
	if (request->op == PV_REQUEST_STAT &&
	    !pv_val_bool(pv_val_get(map, "follow"), &file->follow))
		return wrong(err, request, "`follow` must be a boolean");
	if (request->op != PV_REQUEST_WRITE_FILE)
		return 0;
	uint64_t mode;
	if (!pv_val_uint(pv_val_get(map, "mode"), &mode) || mode > 07777)
		return wrong(err, request, "`mode` must be permission bits");
	file->mode = (uint32_t)mode;
	if (!get_data(map, PV_PROTOCOL_CHUNK_MAX, &file->data) ||
	    !pv_val_bool(pv_val_get(map, "more"), &file->more))
		return wrong(err, request, "`data` must be bytes, not too many, `more` a boolean");
	return 0;
}

static int get_arguments(struct pv_request *request, const struct pv_val *map, struct pv_err *err)
{
	switch (request->op) {
	case PV_REQUEST_HELLO:
		if (!pv_val_uint(pv_val_get(map, "version"), &request->hello.version))
			return wrong(err, request, "`version` must be a number");
		return 0;
	case PV_REQUEST_EXEC: return get_exec(request, map, err);
	case PV_REQUEST_READ_FILE:
	case PV_REQUEST_WRITE_FILE:
	case PV_REQUEST_STAT: return get_file(request, map, err);
	case PV_REQUEST_RESEED:
		if (!get_data(map, PV_PROTOCOL_ENTROPY_MAX, &request->entropy))
			return wrong(err, request, "`data` must be bytes, and not too many");
		return 0;
	case PV_REQUEST_SET_WALL:
		if (!pv_val_int(pv_val_get(map, "wall_ns"), &request->wall_ns) ||
		    request->wall_ns < 0)
			return wrong(err, request, "`wall_ns` must be a number from 0");
		return 0;
	case PV_REQUEST_CHUNK:
		if (!get_data(map, PV_PROTOCOL_CHUNK_MAX, &request->chunk))
			return wrong(err, request, "`data` must be bytes, and not too many");
		return 0;
	default: return 0;
	}
}

static bool find_op(const struct pv_val *val, enum pv_request_op *out)
{
	const char *text;
	size_t len;
	if (!pv_val_str(val, &text, &len))
		return false;
	for (unsigned op = 0; op < PV_REQUEST_OP_COUNT; op++) {
		if (strlen(op_names[op]) == len && memcmp(op_names[op], text, len) == 0) {
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
