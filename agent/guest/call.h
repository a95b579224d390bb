/*
 * Calls under way in the guest: which request has which number, and the ways to answer. Everything
 * here needs the loop lock.
 */
#ifndef PV_AGENT_GUEST_CALL_H
#define PV_AGENT_GUEST_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/guest/buffers.h"
#include "agent/guest/connection.h"
#include "agent/guest/file_news.h"
#include "agent/guest/identity.h"
#include "agent/guest/open_file.h"
#include "agent/guest/pool.h"
#include "agent/guest/process.h"
#include "agent/guest/reaper.h"
#include "agent/guest/root.h"
#include "agent/guest/turns.h"
#include "agent/guest/worker.h"
#include "agent/proto/reply.h"
#include "agent/proto/request.h"

struct pv_call;

/* What a call can be told; NULL members are not of interest to it. */
struct pv_call_ops {
	void (*chunk)(struct pv_call *call, struct pv_span data);
	void (*grant)(struct pv_call *call, uint64_t bytes);
	void (*finish)(struct pv_call *call);
	/* The host does not want the answer any more, or is gone (`detached`): end soon. Comes at
	 * most twice. */
	void (*cancel)(struct pv_call *call);
	/* The queue to the host has room again. */
	void (*room)(struct pv_call *call);
	/* A frame that belongs to the call, as it came, instead of the first three: it is for
	 * somebody else. */
	void (*pass)(struct pv_call *call, struct pv_span payload);
};

/* Lives in the memory of the operation, from pv_call_begin until pv_call_end, pv_call_fail or
 * pv_call_refuse returns. */
struct pv_call {
	struct pv_calls *calls;
	struct pv_call *prev;
	struct pv_call *next;
	uint64_t id;
	const struct pv_call_ops *ops;
	bool detached; /* its session ended: answers go nowhere */
};

struct pv_calls {
	struct pv_loop *loop;
	struct pv_connection connection;
	struct pv_pool pool;
	struct pv_pool syscalls; /* threads that issue system calls and do nothing else */
	struct pv_pool asides;	 /* the same for those that may not hold up others */
	struct pv_pool outlets;	 /* readers of pipes; of no identity, in a worker too */
	struct pv_buffers_spares spares;
	struct pv_identity identity; /* of a worker; else without a thread */
	struct pv_reaper reaper;
	struct pv_root root;
	struct pv_open_files files;
	struct pv_file_news news;
	struct pv_processes processes;
	struct pv_workers workers;
	bool is_worker;		   /* this is the process of one */
	struct pv_loop_watch rest; /* of what is still being loaded */
	int rest_fd;		   /* -1: everything is there */
	int entropy_fd;		   /* of pv_entropy_open; not owned */
	struct pv_call *first;
	unsigned count;
	struct pv_turns turns;
};

void pv_calls_init(struct pv_calls *calls, struct pv_loop *loop);

/* Until `fd` reads as ended, answers hello and nothing else: requests wait. Takes it over. */
void pv_calls_wait_for(struct pv_calls *calls, int fd);

/* Registers the call of a request. The number is free: the dispatcher has looked. */
void pv_call_begin(
    struct pv_call *call, struct pv_calls *calls, uint64_t id, const struct pv_call_ops *ops);

/* Queues bytes or credit; pv_call_flush sends them. */
void pv_call_data(
    struct pv_call *call, enum pv_protocol_channel channel, const void *data, size_t len);
void pv_call_credit(struct pv_call *call, uint64_t credit);
void pv_call_flush(struct pv_call *call);
bool pv_call_has_room(struct pv_call *call);

/* Appends a chunk to what waits of a call's input. False when the host sends more than the window
 * allows, or there is no memory: then the connection is over. */
bool pv_call_take_input(struct pv_call *call, struct pv_bytes *input, struct pv_span data);

/* Queues and sends a frame from somebody else that is an answer of this call; with `last` the call
 * is over. */
void pv_call_pass(struct pv_call *call, struct pv_span payload, bool last);

/* The last answers. The caller owns the memory of the call again. */
void pv_call_end_exit(struct pv_call *call, enum pv_reply_exit exit, int code);
void pv_call_end_size(struct pv_call *call, uint64_t size);
void pv_call_end_stat(struct pv_call *call, const struct pv_reply_stat *stat);
void pv_call_end_numbers(struct pv_call *call, const struct pv_reply_number *numbers, size_t count);
/* `message` NULL: the text of errno `code`. */
void pv_call_fail(struct pv_call *call, int code, const char *message);
void pv_call_refuse(struct pv_call *call, enum pv_reply_reason reason, const char *message);

/* A call that is answered at once and has no memory of its own: by nothing, or when `code` is not
 * 0 by an error (`message` as above). */
void pv_call_answer(struct pv_calls *calls, uint64_t id, int code, const char *message);

/* The operations, each in its file; they answer by themselves, at once or later. They may take
 * `request->memory` over. */
void pv_exec_start(struct pv_calls *calls, struct pv_request *request);
void pv_files_start(struct pv_calls *calls, struct pv_request *request);
void pv_paths_start(struct pv_calls *calls, struct pv_request *request);
void pv_kernel_start(struct pv_calls *calls, struct pv_request *request);
void pv_handles_start(struct pv_calls *calls, struct pv_request *request);
void pv_tail_start(struct pv_calls *calls, struct pv_request *request);
void pv_trees_start(struct pv_calls *calls, struct pv_request *request);

#endif
