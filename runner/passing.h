/*
 * Bytes with a descriptor beside them through a socket (unix(7), SCM_RIGHTS), as workers, builders
 * and the dispatcher exchange, and the events that such bytes are.
 */
#ifndef PV_RUNNER_PASSING_H
#define PV_RUNNER_PASSING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pv_event;
struct pv_frame_reader;

/* Sends all of `data`, and a copy of `passed` with its first byte unless that is -1. `flags` as of
 * sendmsg. Returns 0 or -errno; -EAGAIN may come after a part was sent. Retries EINTR. */
int pv_passing_send(int socket, const void *data, size_t len, int passed, int flags);

/*
 * Receives what is there, at most `size` bytes. A descriptor that came along replaces `*passed`,
 * which is closed before; it is closed on exec. Returns the count, 0 at the end, or -errno.
 */
ssize_t pv_passing_receive(int socket, void *data, size_t size, int *passed, int flags);

/*
 * Receives what is there of event frames, without waiting for more, and gives each event to `take`;
 * what is no event is passed over. `*passed` is as above: the descriptor that came last. Returns
 * false when the other end is closed, or what comes is no frame.
 */
bool pv_passing_receive_events(int socket, struct pv_frame_reader *frames, int *passed,
    void (*take)(void *ctx, const struct pv_event *event), void *ctx);

#endif
