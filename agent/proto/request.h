/*
 * What the host asks of the agent: encoding for the host, decoding for the guest.
 */
#ifndef PV_AGENT_PROTO_REQUEST_H
#define PV_AGENT_PROTO_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_doc;
struct pv_err;

enum pv_request_op {
	PV_REQUEST_HELLO,
	PV_REQUEST_EXEC,
	PV_REQUEST_READ_FILE,
	PV_REQUEST_WRITE_FILE,
	PV_REQUEST_STAT,
	/* Programs that go on by themselves: each has a handle of the process that started it. */
	PV_REQUEST_PROCESS_START,
	PV_REQUEST_PROCESS_WAIT, /* sends all output, then ends the handle */
	PV_REQUEST_PROCESS_STATUS,
	PV_REQUEST_PROCESS_SIGNAL,
	PV_REQUEST_PROCESS_WRITE,
	PV_REQUEST_PROCESS_CLOSE_INPUT,
	PV_REQUEST_PROCESS_CLOSE,  /* ends program and handle */
	PV_REQUEST_PROCESS_STREAM, /* output from its beginning, as far as it is granted */
	PV_REQUEST_WORKER_START,   /* of the agent, the other two of a worker */
	PV_REQUEST_WORKER_SIGNAL,
	PV_REQUEST_WORKER_JOIN,
	PV_REQUEST_LIST,
	PV_REQUEST_MKDIR,
	PV_REQUEST_UNLINK,
	PV_REQUEST_RENAME,
	PV_REQUEST_SYSCALL,
	PV_REQUEST_SYSCALLS,
	PV_REQUEST_READ_MEM,
	PV_REQUEST_WRITE_MEM,
	PV_REQUEST_OPEN,
	PV_REQUEST_READ,
	PV_REQUEST_WRITE,
	PV_REQUEST_SEEK,
	PV_REQUEST_CLOSE,
	PV_REQUEST_TAIL,
	PV_REQUEST_TAIL_HANDLE,
	PV_REQUEST_GET_TREE,
	PV_REQUEST_PUT_TREE,
	PV_REQUEST_RESEED,   /* has no answer */
	PV_REQUEST_SET_WALL, /* has no answer */
	/* These belong to the call whose number they carry, and have no answer of their own. */
	PV_REQUEST_CHUNK,
	PV_REQUEST_FINISH,
	PV_REQUEST_CANCEL, /* the host no longer wants the answer: end the call soon */
	PV_REQUEST_GRANT,  /* the agent may send so many bytes more of a stream */
	PV_REQUEST_OP_COUNT,
};

struct pv_request_hello {
	uint64_t version;
	const char *host;  /* for people: "provium 0.1.0" */
	uint64_t session;  /* the one that begins, unless */
	uint64_t resume;   /* this one goes on; 0: none */
	uint64_t received; /* bytes of the agent's stream in that session */
};

/* Lists are of `count` elements; lists of strings end with a NULL after decoding, too. */
struct pv_request_strings {
	const char *const *at;
	size_t count;
};

struct pv_request_numbers {
	const int64_t *at;
	size_t count;
};

struct pv_request_exec {
	struct pv_request_strings argv; /* at least one */
	struct pv_request_strings env;	/* "K=V" */
	bool env_clear;
	const char *cwd;     /* or NULL */
	int64_t timeout_ns;  /* PV_CLOCK_NEVER for none */
	struct pv_span data; /* the beginning of standard input */
	bool more;	     /* chunks follow, then `finish` */
};

struct pv_request_file {
	const char *path;
	const char *to;	     /* rename */
	bool follow;	     /* stat: through a symbolic link */
	bool parents;	     /* mkdir: missing ones, too, and what is there is fine */
	bool directory;	     /* trees: what the root is */
	int64_t mode;	     /* write_file, mkdir: permissions on creation, at most 07777 */
	struct pv_span data; /* write_file: the beginning of the content */
	bool more;
};

struct pv_request_process {
	int64_t handle;	     /* at least 1 */
	int64_t timeout_ns;  /* wait: then its group is killed; PV_CLOCK_NEVER for none */
	int64_t signal;	     /* signal: 0 to 64; 0 only looks */
	bool from_err;	     /* stream: of standard error rather than standard output */
	struct pv_span data; /* write: the beginning of the data */
	bool more;
};

struct pv_request_worker {
	int64_t signal; /* for its programs */
	bool force;	/* join: end its programs first */
};

/*
 * A system call with buffers: `lens` are theirs, their content follows one after another in `data`
 * and chunks, and comes back so. `ptrs[i]` is the argument (from 0) that gets the address of
 * buffer i; `nested` holds triples: parent and child (from 0), and where in the parent the child's
 * address goes.
 */
struct pv_request_syscall {
	int64_t nr;
	struct pv_request_numbers args; /* at most six */
	struct pv_request_numbers lens;
	struct pv_request_numbers ptrs;
	struct pv_request_numbers nested;
	int64_t handle; /* of an open file whose descriptor is the first argument; 0: none */
	bool aside;	/* not on the thread that does one after another */
	struct pv_span data;
	bool more;
};

/* `len` bytes at `addr` of the process; the content of a write as with a buffer. */
struct pv_request_memory {
	int64_t addr; /* the bits of an address */
	int64_t len;
	struct pv_span data;
	bool more;
};

/* `open` gives a number, the others take it. */
struct pv_request_handle {
	const char *path;    /* open */
	int64_t flags;	     /* open: of enum pv_protocol_open */
	int64_t mode;	     /* open: permissions on creation, at most 07777 */
	int64_t handle;	     /* at least 1 */
	int64_t size;	     /* read: at most so many bytes; -1: to the end */
	int64_t offset;	     /* seek */
	int64_t whence;	     /* seek: 0 from the beginning, 1 from here, 2 from the end */
	struct pv_span data; /* write */
	bool more;
};

/* Follows a file, by its name or by its number. */
struct pv_request_tail {
	const char *path;
	int64_t from;	/* 0: `offset` counts from the beginning, 1: from the end */
	int64_t offset; /* what lies before the beginning is the beginning */
	int64_t handle; /* at least 1 */
};

struct pv_request {
	uint64_t id;
	/* The worker process of the guest that is to do it; 0: the agent itself. */
	uint64_t worker;
	/* It begins when the call of this number has ended; 0: at once. Not for follow-ups. */
	uint64_t after;
	enum pv_request_op op;
	union {
		struct pv_request_hello hello;
		struct pv_request_exec exec;
		struct pv_request_file file;
		struct pv_request_process process;
		struct pv_request_worker of_worker;
		struct pv_request_syscall syscall;
		struct pv_request_numbers syscalls; /* PV_PROTOCOL_SYSCALL_WORDS for each */
		struct pv_request_memory memory_at;
		struct pv_request_handle handle;
		struct pv_request_tail tail;
		struct pv_span chunk;
		struct pv_span entropy;
		int64_t wall_ns; /* since 1970, not before */
		int64_t grant;	 /* bytes, at least 1 */
	};
	/* After decoding: one block with every string and list; pv_request_finish frees it, whoever
	 * sets it to NULL has taken it over. */
	void *memory;
	struct pv_doc *doc;
};

/* "exec", "read_file", ...: as it goes over the wire and as people read it. */
const char *pv_request_name(enum pv_request_op op);

/* Appends the request as one frame. Returns 0, -ENOMEM, or -E2BIG over PV_PROTOCOL_FRAME_MAX; `out`
 * is as before on failure. */
int pv_request_encode(const struct pv_request *request, struct pv_bytes *out, struct pv_err *err);

/*
 * Decodes the payload of a frame. Data spans point into `data`, strings into `request->memory`.
 * Returns 0; -EBADMSG when there is no call number in it (the stream is then unusable); -ENOSYS for
 * an operation that is not known and -EINVAL for wrong arguments, with `request->id` set.
 * pv_request_finish afterwards in every case.
 */
int pv_request_decode(struct pv_request *request, const void *data, size_t len, struct pv_err *err);

void pv_request_finish(struct pv_request *request);

#endif
