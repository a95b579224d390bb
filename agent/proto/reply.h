/*
 * What the agent answers: encoding for the guest, decoding for the host.
 */
#ifndef PV_AGENT_PROTO_REPLY_H
#define PV_AGENT_PROTO_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/proto/protocol.h"
#include "base/bytes.h"

struct pv_doc;
struct pv_err;
struct pv_val;

enum pv_reply_kind {
	PV_REPLY_RESULT,  /* last: the operation worked */
	PV_REPLY_DATA,	  /* bytes for the caller */
	PV_REPLY_CREDIT,  /* the host may send so many bytes more */
	PV_REPLY_ERROR,	  /* last: the guest's kernel said no */
	PV_REPLY_REFUSED, /* last: the agent itself cannot or will not */
	PV_REPLY_KIND_COUNT,
};

/* Why the agent refused; apart from errors of the guest's kernel. */
enum pv_reply_reason {
	PV_REPLY_BAD_REQUEST,
	PV_REPLY_UNSUPPORTED,
	PV_REPLY_UNKNOWN_HANDLE,
	PV_REPLY_INTERNAL,
	PV_REPLY_REASON_COUNT,
};

struct pv_reply {
	uint64_t id;
	enum pv_reply_kind kind;
	enum pv_protocol_channel channel; /* data */
	struct pv_span data;		  /* data */
	uint64_t credit;		  /* credit */
	int code;			  /* error: a positive errno */
	enum pv_reply_reason reason;	  /* refused */
	struct pv_span message;		  /* error, refused: hostile text without NUL */
	const struct pv_val *map;	  /* result: its fields, for pv_reply_get_* */
	struct pv_doc *doc;
};

/* The text of a reason as on the wire ("bad_request"). */
const char *pv_reply_reason_name(enum pv_reply_reason reason);

/*
 * Decodes the payload of a frame; spans point into `data`. Returns 0, -EBADMSG, or -ENOMEM.
 * pv_reply_finish afterwards in every case.
 */
int pv_reply_decode(struct pv_reply *reply, const void *data, size_t len, struct pv_err *err);
void pv_reply_finish(struct pv_reply *reply);

struct pv_reply_hello {
	uint64_t version;
	struct pv_span kernel; /* uname's release */
	struct pv_span agent;  /* the agent's own version */
	uint64_t session;      /* in which it is now; 0: nothing is kept */
	uint64_t received;     /* bytes of the host's stream in it */
};

enum pv_reply_exit {
	PV_REPLY_EXITED,
	PV_REPLY_SIGNALLED,
	PV_REPLY_TIMED_OUT,
	PV_REPLY_EXIT_COUNT,
};

enum pv_reply_entry {
	PV_REPLY_FILE,
	PV_REPLY_DIRECTORY,
	PV_REPLY_SYMLINK,
	PV_REPLY_FIFO,
	PV_REPLY_SOCKET,
	PV_REPLY_BLOCK_DEVICE,
	PV_REPLY_CHAR_DEVICE,
	PV_REPLY_OTHER,
	PV_REPLY_ENTRY_COUNT,
};
/* "file", "directory", ... as the test language spells them. */
const char *pv_reply_entry_name(enum pv_reply_entry entry);

struct pv_reply_stat {
	uint64_t size;
	int64_t mtime_ns;
	uint32_t perm; /* at most 07777 */
	enum pv_reply_entry entry;
};

/* A field of a result that is a whole number. */
struct pv_reply_number {
	const char *key;
	int64_t value;
};
#define PV_REPLY_NUMBERS_MAX 8

/* The fields of a result. Return false when they are missing or wrong. */
bool pv_reply_get_number(const struct pv_reply *reply, const char *key, int64_t *value);
bool pv_reply_get_hello(const struct pv_reply *reply, struct pv_reply_hello *out);
bool pv_reply_get_exit(const struct pv_reply *reply, enum pv_reply_exit *exit, int *code);
bool pv_reply_get_size(const struct pv_reply *reply, uint64_t *size);
bool pv_reply_get_stat(const struct pv_reply *reply, struct pv_reply_stat *out);

/* Append one frame each. Return 0 or -ENOMEM; `out` is as before on failure. */
int pv_reply_put_data(struct pv_bytes *out, uint64_t id, enum pv_protocol_channel channel,
    const void *data, size_t len);
int pv_reply_put_credit(struct pv_bytes *out, uint64_t id, uint64_t credit);
int pv_reply_put_error(struct pv_bytes *out, uint64_t id, int code, const char *message);
int pv_reply_put_refused(
    struct pv_bytes *out, uint64_t id, enum pv_reply_reason reason, const char *message);
/* `kernel` is uname's release; the versions are ours. */
int pv_reply_put_hello(struct pv_bytes *out, uint64_t id, const char *kernel, uint64_t session,
    uint64_t received, const char *const *capabilities, size_t count);
int pv_reply_put_exit(struct pv_bytes *out, uint64_t id, enum pv_reply_exit exit, int code);
int pv_reply_put_size(struct pv_bytes *out, uint64_t id, uint64_t size);
int pv_reply_put_stat(struct pv_bytes *out, uint64_t id, const struct pv_reply_stat *stat);
int pv_reply_put_numbers(
    struct pv_bytes *out, uint64_t id, const struct pv_reply_number *numbers, size_t count);

#endif
