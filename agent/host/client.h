/*
 * The host's end of the connection to a guest agent: many requests in flight on one stream, each answered by frames that carry its number.
 * The stream comes from outside (`struct pv_agent_link`), so this layer knows no device. The agent may be hostile: every answer is checked,
 * a violation of the protocol loses the connection and fails the calls, never the process.
 *
 * Calls are made on the script thread without the loop lock and block until the answer, their deadline, or the loss of the connection.
 * Functions marked [locked] are for the owner of the stream and run under the loop lock, on any thread.
 */
#ifndef PV_AGENT_HOST_CLIENT_H
#define PV_AGENT_HOST_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_agent;
struct pv_err;
struct pv_loop;

/* The guest's agent connects to this port of CID 2 as soon as it can serve. */
#define PV_AGENT_PORT 1234

/* The way to the guest. All [locked]. */
struct pv_agent_link_ops {
	/* Queues bytes; returns how many were taken. After a short answer the owner calls pv_agent_writable when there is room. */
	size_t (*send)(void *ctx, const void *data, size_t len);
	/* `len` received bytes were digested. */
	void (*digested)(void *ctx, size_t len);
	/* The client gives the connection up (protocol violation, or pv_agent_drop); nothing is called on this link afterwards. */
	void (*close)(void *ctx);
};

int pv_agent_create(struct pv_agent **out, struct pv_loop *loop, struct pv_err *err);
/* Outstanding calls must have ended. Closes the link. NULL is fine. */
void pv_agent_destroy(struct pv_agent *agent);

/* [locked] The guest's agent connected; the client says hello. Refused (false) while another link is up. */
bool pv_agent_attach(struct pv_agent *agent, const struct pv_agent_link_ops *ops, void *ctx);
/*
 * Where the conversation with an agent stands while the client is quiescent; all that a snapshot needs to know of it. `boot` is pv_agent_boot,
 * the others count: the number of the next request, and bytes each way of a session (agent/proto/link.h).
 */
struct pv_agent_mark {
	uint64_t next_id;
	uint64_t boot;
	uint64_t session;
	uint64_t sent;
	uint64_t received;
};
/* [locked] */
struct pv_agent_mark pv_agent_mark(const struct pv_agent *agent);
/*
 * [locked] Takes over a connection that was restored together with its guest: both ends stand where a quiescent client left them, so there is no
 * hello, calls are possible at once, and all goes on from `mark`. Refused (false) while another connection is up, and for numbers that no
 * client would give.
 */
bool pv_agent_adopt(struct pv_agent *agent, const struct pv_agent_link_ops *ops, void *ctx, const struct pv_agent_mark *mark);
/*
 * [locked] Gives the guest's kernel `len` bytes of entropy, ahead of every later call: a program that is
 * run next gets no random numbers that would have come without them. Nothing is waited for and there is
 * no answer; without a link, or memory, nothing happens. May be called as soon as a link is adopted.
 */
#define PV_AGENT_ENTROPY_MAX 256u
void pv_agent_reseed(struct pv_agent *agent, const void *data, size_t len);
/* [locked] Sets the guest's wall clock, in the same manner. */
void pv_agent_set_wall(struct pv_agent *agent, int64_t wall_ns);
/* [locked] Bytes came, room came, the stream ended. */
void pv_agent_receive(struct pv_agent *agent, const void *data, size_t len);
void pv_agent_writable(struct pv_agent *agent);
void pv_agent_closed(struct pv_agent *agent);

/*
 * [locked] Fails every outstanding and later call with `reason` (copied) until the next pv_agent_attach: the guest died, was paused, reset or shut
 * down, or the test ran out of time. Closes the link when `close_link`; otherwise the owner knows already that the stream has ended.
 */
void pv_agent_drop(struct pv_agent *agent, const char *reason, bool close_link);

/*
 * [locked] The connection is gone, and the agent perhaps lives on: it may connect again (pv_agent_attach) and both go on in the middle.
 * Outstanding calls stay; they fail with `reason` when the agent that connects is another one. Later calls fail with it until then. Without
 * anything to go on with, this is pv_agent_drop.
 */
void pv_agent_interrupt(struct pv_agent *agent, const char *reason);
/* [locked] True after that, until it is known which agent connects. */
bool pv_agent_is_interrupted(const struct pv_agent *agent);
/*
 * [locked] The guest sleeps until somebody who may be waiting for it wakes it: who waits for a call is told `reason` (-EBADFD), and that call is
 * given up. Others stay. Until the next connection.
 */
void pv_agent_sleep(struct pv_agent *agent, const char *reason);

/*
 * [locked] Fails every outstanding call with `reason` (-ECANCELED) and asks the agent to end them; the link stays up and late answers are
 * ignored. They count as in flight until the agent's last word.
 */
void pv_agent_cancel(struct pv_agent *agent, const char *reason);

/* [locked] True once the handshake is done and the link is up. Changes wake pv_loop_wait. */
bool pv_agent_is_ready(const struct pv_agent *agent);
/* [locked] Why a handshake failed ("agent speaks protocol 3, this provium speaks 1"), or NULL. */
const char *pv_agent_refusal(const struct pv_agent *agent);
/* [locked] Requests without final answer. */
unsigned pv_agent_in_flight(const struct pv_agent *agent);
/* [locked] The number of the next request; at least 1. */
uint64_t pv_agent_next_id(const struct pv_agent *agent);
/*
 * [locked] Which life of the agent this is: another number after each handshake, the same after a restore and when an interrupted agent goes on. What the agent gave a number (open
 * files, processes, workers) is known to that life only. 0 before the first handshake.
 */
uint64_t pv_agent_boot(const struct pv_agent *agent);
/* [locked] Ready, no request without final answer, and no part of a frame on its way: the conversation is nothing but its mark. */
bool pv_agent_is_quiescent(const struct pv_agent *agent);

/* --- operations --- */

/* Who does an operation in the guest: its agent, or one of the agent's worker processes. */
struct pv_principal {
	struct pv_agent *agent;
	uint64_t worker; /* of the number that the agent gave it; 0: the agent itself */
	/* The life of the agent that gave the numbers which an operation uses, pv_agent_boot: after
	 * another handshake the operation is -ESTALE "the guest was rebooted since". 0: any. */
	uint64_t boot;
};
#define PV_PRINCIPAL(the_agent) (&(const struct pv_principal){.agent = (the_agent)})

/* An error that the guest's kernel reported is PV_ERR_GUEST with its errno; text "<op> `<path>`: No such file or directory". */

enum pv_agent_exit_kind {
	PV_AGENT_EXITED,
	PV_AGENT_SIGNALLED,
	PV_AGENT_TIMED_OUT, /* the process group was killed; output so far is there */
};

struct pv_agent_exec {
	const char *const *argv; /* argv[0] is looked up in PATH */
	size_t argc;
	const char *const *env; /* "K=V" strings, merged onto the agent's environment */
	size_t env_count;
	bool env_clear;
	const char *cwd; /* or NULL */
	const void *input; /* standard input; empty means end of file at once */
	size_t input_len;
	int64_t timeout_ns; /* in the guest; PV_CLOCK_NEVER for none */
};

struct pv_agent_exec_result {
	enum pv_agent_exit_kind kind;
	int code; /* exit code or signal number */
	struct pv_bytes out;
	struct pv_bytes err;
};

/* Runs a program and collects its output, of any size. A program that cannot be started is an error. The caller finishes the buffers. */
int pv_agent_exec(const struct pv_principal *by, const struct pv_agent_exec *exec, struct pv_agent_exec_result *result, struct pv_err *err);

/* Reads a whole file of any size, in chunks; works for /proc and /sys. Appends to `out`. */
int pv_agent_read_file(const struct pv_principal *by, const char *path, struct pv_bytes *out, struct pv_err *err);

/* Creates (0644) or truncates and writes, of any size, in chunks; `mode` is used on creation. */
int pv_agent_write_file(const struct pv_principal *by, const char *path, const void *data, size_t len, unsigned mode, struct pv_err *err);

enum pv_agent_entry_type {
	PV_AGENT_FILE,
	PV_AGENT_DIRECTORY,
	PV_AGENT_SYMLINK,
	PV_AGENT_FIFO,
	PV_AGENT_SOCKET,
	PV_AGENT_BLOCK_DEVICE,
	PV_AGENT_CHAR_DEVICE,
	PV_AGENT_OTHER,
};
/* "file", "directory", ... as the test language spells them. */
const char *pv_agent_entry_name(enum pv_agent_entry_type type);

struct pv_agent_stat {
	uint64_t size;
	int64_t mtime_ns;
	unsigned perm; /* at most 07777 */
	enum pv_agent_entry_type type;
};
int pv_agent_stat(const struct pv_principal *by, const char *path, bool follow_symlinks, struct pv_agent_stat *out, struct pv_err *err);

#endif
