/*
 * Answers as msgpack maps. The agent's side builds each frame in a row; the host's side takes a
 * frame from a guest that may be hostile, so every field is checked for type and range here and
 * what leaves this file is in range. Pure functions; any thread.
 */
#include "agent/proto/reply.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/err.h"
#include "base/frame.h"
#include "base/pack.h"

/* Larger than any errno that Linux knows (MAX_ERRNO of include/linux/err.h). */
#define ERRNO_MAX 4095

static const char *const kind_names[PV_REPLY_KIND_COUNT] = {
    [PV_REPLY_RESULT] = "result",
    [PV_REPLY_DATA] = "data",
    [PV_REPLY_CREDIT] = "credit",
    [PV_REPLY_ERROR] = "error",
    [PV_REPLY_REFUSED] = "refused",
};

static const char *const reason_names[PV_REPLY_REASON_COUNT] = {
    [PV_REPLY_BAD_REQUEST] = "bad_request",
    [PV_REPLY_UNSUPPORTED] = "unsupported",
    [PV_REPLY_UNKNOWN_HANDLE] = "unknown_handle",
    [PV_REPLY_INTERNAL] = "internal",
};

static const char *const exit_names[PV_REPLY_EXIT_COUNT] = {
    [PV_REPLY_EXITED] = "exited",
    [PV_REPLY_SIGNALLED] = "signalled",
    [PV_REPLY_TIMED_OUT] = "timed_out",
};

static const char *const entry_names[PV_REPLY_ENTRY_COUNT] = {
    [PV_REPLY_FILE] = "file",
    [PV_REPLY_DIRECTORY] = "directory",
    [PV_REPLY_SYMLINK] = "symlink",
    [PV_REPLY_FIFO] = "fifo",
    [PV_REPLY_SOCKET] = "socket",
    [PV_REPLY_BLOCK_DEVICE] = "block_device",
    [PV_REPLY_CHAR_DEVICE] = "char_device",
    [PV_REPLY_OTHER] = "other",
};

const char *pv_reply_reason_name(enum pv_reply_reason reason)
{
	return reason < PV_REPLY_REASON_COUNT ? reason_names[reason] : "internal";
}

const char *pv_reply_entry_name(enum pv_reply_entry entry)
{
	return entry < PV_REPLY_ENTRY_COUNT ? entry_names[entry] : "other";
}

/* --- decoding --- */

/* The index of a string among `names`, or -1. */
static int find_name(const struct pv_val *val, const char *const *names, int count)
{
	const char *text;
	size_t len;
	if (!pv_val_str(val, &text, &len))
		return -1;
	for (int i = 0; i < count; i++) {
		if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0)
			return i;
	}
	return -1;
}

static bool get_message(const struct pv_val *map, struct pv_span *out)
{
	const char *text;
	if (!pv_val_str(pv_val_get(map, "message"), &text, &out->len))
		return false;
	out->data = text;
	return true;
}

static bool get_fields(struct pv_reply *reply, const struct pv_val *map)
{
	uint64_t number;
	switch (reply->kind) {
	case PV_REPLY_RESULT: reply->map = map; return true;
	case PV_REPLY_DATA:
		if (!pv_val_uint(pv_val_get(map, "channel"), &number) ||
		    number >= PV_PROTOCOL_CHANNEL_COUNT)
			return false;
		reply->channel = (enum pv_protocol_channel)number;
		return pv_val_bytes(pv_val_get(map, "data"), &reply->data.data, &reply->data.len) &&
		       reply->data.len <= PV_PROTOCOL_CHUNK_MAX;
	case PV_REPLY_CREDIT: return pv_val_uint(pv_val_get(map, "credit"), &reply->credit);
	case PV_REPLY_ERROR:
		if (!pv_val_uint(pv_val_get(map, "errno"), &number) || number == 0 ||
		    number > ERRNO_MAX)
			return false;
		reply->code = (int)number;
		return get_message(map, &reply->message);
	case PV_REPLY_REFUSED: {
		int reason =
		    find_name(pv_val_get(map, "reason"), reason_names, PV_REPLY_REASON_COUNT);
		reply->reason = (enum pv_reply_reason)reason;
		return reason >= 0 && get_message(map, &reply->message);
	}
	default: return false;
	}
}

int pv_reply_decode(struct pv_reply *reply, const void *data, size_t len, struct pv_err *err)
{
	*reply = (struct pv_reply){.kind = PV_REPLY_KIND_COUNT};
	int status = pv_doc_parse(&reply->doc, data, len, err);
	if (status < 0)
		return status;
	const struct pv_val *map = pv_doc_root(reply->doc);
	if (!pv_val_uint(pv_val_get(map, "id"), &reply->id) || reply->id == 0)
		return pv_err_set(err, PV_ERR_GUEST, EBADMSG, "answer without a call number");
	int kind = find_name(pv_val_get(map, "kind"), kind_names, PV_REPLY_KIND_COUNT);
	if (kind < 0)
		return pv_err_set(err, PV_ERR_GUEST, EBADMSG, "answer of an unknown kind");
	reply->kind = (enum pv_reply_kind)kind;
	if (!get_fields(reply, map))
		return pv_err_set(
		    err, PV_ERR_GUEST, EBADMSG, "wrong fields in a `%s` answer", kind_names[kind]);
	return 0;
}

void pv_reply_finish(struct pv_reply *reply)
{
	if (!reply)
		return;
	pv_doc_destroy(reply->doc);
	reply->doc = NULL;
}

static void get_text(const struct pv_val *map, const char *key, struct pv_span *out)
{
	const char *text;
	*out = (struct pv_span){.data = ""};
	if (pv_val_str(pv_val_get(map, key), &text, &out->len))
		out->data = text;
}

bool pv_reply_get_hello(const struct pv_reply *reply, struct pv_reply_hello *out)
{
	if (!pv_val_uint(pv_val_get(reply->map, "version"), &out->version))
		return false;
	/* An agent of another version may lack these, and must still be told apart by its version.
	 */
	get_text(reply->map, "kernel", &out->kernel);
	get_text(reply->map, "agent", &out->agent);
	out->session = out->received = 0;
	return out->version != PV_PROTOCOL_VERSION ||
	       (pv_val_uint(pv_val_get(reply->map, "session"), &out->session) &&
		   pv_val_uint(pv_val_get(reply->map, "received"), &out->received));
}

bool pv_reply_get_exit(const struct pv_reply *reply, enum pv_reply_exit *exit, int *code)
{
	int kind = find_name(pv_val_get(reply->map, "status"), exit_names, PV_REPLY_EXIT_COUNT);
	uint64_t number;
	if (kind < 0 || !pv_val_uint(pv_val_get(reply->map, "code"), &number) || number > UINT8_MAX)
		return false;
	*exit = (enum pv_reply_exit)kind;
	*code = (int)number;
	return true;
}

bool pv_reply_get_number(const struct pv_reply *reply, const char *key, int64_t *value)
{
	return pv_val_int(pv_val_get(reply->map, key), value);
}

bool pv_reply_get_size(const struct pv_reply *reply, uint64_t *size)
{
	return pv_val_uint(pv_val_get(reply->map, "size"), size);
}

bool pv_reply_get_stat(const struct pv_reply *reply, struct pv_reply_stat *out)
{
	uint64_t perm;
	int entry = find_name(pv_val_get(reply->map, "entry"), entry_names, PV_REPLY_ENTRY_COUNT);
	if (entry < 0 || !pv_reply_get_size(reply, &out->size) ||
	    !pv_val_int(pv_val_get(reply->map, "mtime_ns"), &out->mtime_ns) ||
	    !pv_val_uint(pv_val_get(reply->map, "perm"), &perm) || perm > 07777)
		return false;
	out->entry = (enum pv_reply_entry)entry;
	out->perm = (uint32_t)perm;
	return true;
}

/* --- encoding --- */

/* A frame under construction; `start` < 0 or pack.status < 0: out of memory. */
struct answer {
	struct pv_pack pack;
	int64_t start;
	size_t before;
};

static struct answer begin(
    struct pv_bytes *out, uint64_t id, enum pv_reply_kind kind, uint32_t fields)
{
	struct answer answer = {.pack = {.out = out}, .before = out->len};
	answer.start = pv_frame_begin(out);
	if (answer.start < 0)
		answer.pack.status = -ENOMEM;
	pv_pack_map(&answer.pack, 2 + fields);
	pv_pack_str(&answer.pack, "id");
	pv_pack_uint(&answer.pack, id);
	pv_pack_str(&answer.pack, "kind");
	pv_pack_str(&answer.pack, kind_names[kind]);
	return answer;
}

static int end(struct answer *answer)
{
	if (answer->pack.status < 0) {
		answer->pack.out->len = answer->before;
		return -ENOMEM;
	}
	return pv_frame_end(answer->pack.out, answer->start);
}

int pv_reply_put_data(struct pv_bytes *out, uint64_t id, enum pv_protocol_channel channel,
    const void *data, size_t len)
{
	struct answer answer = begin(out, id, PV_REPLY_DATA, 2);
	pv_pack_str(&answer.pack, "channel");
	pv_pack_uint(&answer.pack, channel);
	pv_pack_str(&answer.pack, "data");
	pv_pack_bin(&answer.pack, data, len);
	return end(&answer);
}

int pv_reply_put_credit(struct pv_bytes *out, uint64_t id, uint64_t credit)
{
	struct answer answer = begin(out, id, PV_REPLY_CREDIT, 1);
	pv_pack_str(&answer.pack, "credit");
	pv_pack_uint(&answer.pack, credit);
	return end(&answer);
}

int pv_reply_put_error(struct pv_bytes *out, uint64_t id, int code, const char *message)
{
	struct answer answer = begin(out, id, PV_REPLY_ERROR, 2);
	pv_pack_str(&answer.pack, "errno");
	pv_pack_uint(&answer.pack, (uint64_t)code);
	pv_pack_str(&answer.pack, "message");
	pv_pack_str(&answer.pack, message);
	return end(&answer);
}

int pv_reply_put_refused(
    struct pv_bytes *out, uint64_t id, enum pv_reply_reason reason, const char *message)
{
	struct answer answer = begin(out, id, PV_REPLY_REFUSED, 2);
	pv_pack_str(&answer.pack, "reason");
	pv_pack_str(&answer.pack, pv_reply_reason_name(reason));
	pv_pack_str(&answer.pack, "message");
	pv_pack_str(&answer.pack, message);
	return end(&answer);
}

int pv_reply_put_hello(struct pv_bytes *out, uint64_t id, const char *kernel, uint64_t session,
    uint64_t received, const char *const *capabilities, size_t count)
{
	struct answer answer = begin(out, id, PV_REPLY_RESULT, 7);
	pv_pack_str(&answer.pack, "version");
	pv_pack_uint(&answer.pack, PV_PROTOCOL_VERSION);
	pv_pack_str(&answer.pack, "os");
	pv_pack_str(&answer.pack, "linux");
	pv_pack_str(&answer.pack, "agent");
	pv_pack_str(&answer.pack, PV_VERSION);
	pv_pack_str(&answer.pack, "kernel");
	pv_pack_str(&answer.pack, kernel);
	pv_pack_str(&answer.pack, "session");
	pv_pack_uint(&answer.pack, session);
	pv_pack_str(&answer.pack, "received");
	pv_pack_uint(&answer.pack, received);
	pv_pack_str(&answer.pack, "capabilities");
	pv_pack_array(&answer.pack, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		pv_pack_str(&answer.pack, capabilities[i]);
	return end(&answer);
}

int pv_reply_put_exit(struct pv_bytes *out, uint64_t id, enum pv_reply_exit exit, int code)
{
	struct answer answer = begin(out, id, PV_REPLY_RESULT, 2);
	pv_pack_str(&answer.pack, "status");
	pv_pack_str(&answer.pack, exit_names[exit]);
	pv_pack_str(&answer.pack, "code");
	pv_pack_uint(&answer.pack, (uint64_t)code);
	return end(&answer);
}

int pv_reply_put_size(struct pv_bytes *out, uint64_t id, uint64_t size)
{
	struct answer answer = begin(out, id, PV_REPLY_RESULT, 1);
	pv_pack_str(&answer.pack, "size");
	pv_pack_uint(&answer.pack, size);
	return end(&answer);
}

int pv_reply_put_stat(struct pv_bytes *out, uint64_t id, const struct pv_reply_stat *stat)
{
	struct answer answer = begin(out, id, PV_REPLY_RESULT, 4);
	pv_pack_str(&answer.pack, "size");
	pv_pack_uint(&answer.pack, stat->size);
	pv_pack_str(&answer.pack, "mtime_ns");
	pv_pack_int(&answer.pack, stat->mtime_ns);
	pv_pack_str(&answer.pack, "perm");
	pv_pack_uint(&answer.pack, stat->perm);
	pv_pack_str(&answer.pack, "entry");
	pv_pack_str(&answer.pack, pv_reply_entry_name(stat->entry));
	return end(&answer);
}

int pv_reply_put_numbers(
    struct pv_bytes *out, uint64_t id, const struct pv_reply_number *numbers, size_t count)
{
	struct answer answer = begin(out, id, PV_REPLY_RESULT, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		pv_pack_str(&answer.pack, numbers[i].key);
		pv_pack_int(&answer.pack, numbers[i].value);
	}
	return end(&answer);
}
