/*
 * What host and guest agree on: version, numbers and names of the agent protocol. A change here
 * that an older end would misunderstand raises PV_PROTOCOL_VERSION.
 *
 * Each message is a frame (base/frame.h) with one map. The host sends requests `{id, op, ...}`
 * (proto/request.h), the agent answers `{id, kind, ...}` (proto/reply.h). Every call has a number
 * that the host chose, never 0; any number of calls is under way at once, and each gets exactly one
 * last frame: `result`, `error` or `refused`. Before it there may be `data` and `credit` frames.
 *
 * Bulk data towards the guest (standard input, file content) begins inside the request and goes on
 * in `chunk` requests of the same number; `finish` ends it. The host may have PV_PROTOCOL_WINDOW
 * bytes of one call on the way; the agent's `credit` frames raise that as it digests them, so that
 * a program that does not read its input blocks nobody else and costs bounded memory.
 *
 * Data towards the host of one answer comes as the stream of all calls takes it. A call that has no
 * natural end, because it follows something, sends only what the host's `grant` requests allow, so
 * that a stream which nobody reads stops its source and nobody else.
 *
 * A request may name a `worker`: one of the agent's worker processes is to do it. Numbers of calls
 * are of one space whoever does them.
 *
 * Connections come and go, the conversation stays: when the guest's driver resets its socket
 * device, as it does when the guest suspends itself, the agent connects again and both ends go on
 * in the middle (proto/link.h). Each connection begins with `hello`, outside the streams: the host
 * names the session that it has (`resume`, 0: none) with its count of bytes, and a fresh number.
 * The agent answers with the session that it is in now and its own count: the old one when it knows
 * that and has what the host lacks, else the fresh one, in which it knows of no call, file, process
 * or worker; or 0, when it keeps nothing (a worker). After that each end sends what the other
 * lacks, and `{ack: count}` frames now and then.
 *
 * `reseed` and `set_wall` have numbers of their own and no answer: they are sent ahead of the first
 * call to a guest that goes on from a snapshot, and the agent digests each before it looks at the
 * next frame.
 */
#ifndef PV_AGENT_PROTO_PROTOCOL_H
#define PV_AGENT_PROTO_PROTOCOL_H

#include <stdint.h>

#define PV_PROTOCOL_VERSION 4
#define PV_PROTOCOL_PORT    1234

/* Longest frame that either end accepts. */
#define PV_PROTOCOL_FRAME_MAX (16u << 20)
/* Data bytes that a sender puts into one frame, and that a receiver accepts. */
#define PV_PROTOCOL_CHUNK     (128u << 10)
#define PV_PROTOCOL_CHUNK_MAX (256u << 10)
/* Bytes towards the guest that one call may have on the way without new credit. */
#define PV_PROTOCOL_WINDOW (512u << 10)
/* Bytes of entropy in one `reseed`. */
#define PV_PROTOCOL_ENTROPY_MAX 256u
/* Calls under way at once, and strings of an argument or environment list. */
#define PV_PROTOCOL_CALLS_MAX	4096u
#define PV_PROTOCOL_STRINGS_MAX (1u << 18)

/* Bytes of all buffers of one system call, or of one access to memory. */
#define PV_PROTOCOL_MEMORY_MAX (INT64_C(1) << 30)
/* Numbers of one system call in a row of them: which, and six arguments. */
#define PV_PROTOCOL_SYSCALL_WORDS 7

/* How `open` opens. */
enum pv_protocol_open {
	PV_PROTOCOL_OPEN_READ = 1,
	PV_PROTOCOL_OPEN_WRITE = 2,
	PV_PROTOCOL_OPEN_CREATE = 4,
	PV_PROTOCOL_OPEN_TRUNCATE = 8,
	PV_PROTOCOL_OPEN_APPEND = 16, /* and write */
	PV_PROTOCOL_OPEN_EXCLUSIVE = 32,
	PV_PROTOCOL_OPEN_ALL = 63,
};

/* Where data of a `data` frame belongs. */
enum pv_protocol_channel {
	PV_PROTOCOL_CHANNEL_FILE,
	PV_PROTOCOL_CHANNEL_STDOUT,
	PV_PROTOCOL_CHANNEL_STDERR,
	PV_PROTOCOL_CHANNEL_MEMORY, /* of the process that issues system calls */
	/* Of a call that follows something: an empty piece when it does, and then a byte of enum
	 * pv_protocol_notice at the place where something happened. Needs no grant. */
	PV_PROTOCOL_CHANNEL_NOTICE,
	PV_PROTOCOL_CHANNEL_COUNT,
};

enum pv_protocol_notice {
	PV_PROTOCOL_NOTICE_ROTATED, /* the file was replaced: the new one begins here */
};

#endif
