/*
 * Descriptors through sockets. Theory: a descriptor travels with the first byte that was sent with
 * it, and reading stops at such a byte, so it is never late for the frame that speaks of it. No
 * shared state, any thread.
 */
#include "runner/passing.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/frame.h"
#include "runner/event.h"

/* Room for one descriptor, aligned as the kernel wants it. */
union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static ssize_t send_some(int socket, const char *data, size_t len, int passed, int flags)
{
	union control control = {0};
	struct iovec part = {.iov_base = (char *)data, .iov_len = len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (passed >= 0) {
		message.msg_control = control.room;
		message.msg_controllen = sizeof(control.room);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(passed));
		memcpy(CMSG_DATA(header), &passed, sizeof(passed));
	}
	ssize_t done;
	do {
		done = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done;
}

int pv_passing_send(int socket, const void *data, size_t len, int passed, int flags)
{
	const char *at = data;
	while (len > 0) {
		const ssize_t done = send_some(socket, at, len, passed, flags);
		if (done < 0)
			return (int)done;
		at += done;
		len -= (size_t)done;
		passed = -1;
	}
	return 0;
}

ssize_t pv_passing_receive(int socket, void *data, size_t size, int *passed, int flags)
{
	union control control = {0};
	struct iovec part = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = control.room,
	    .msg_controllen = sizeof(control.room)};
	ssize_t done;
	do {
		done = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
	} while (done < 0 && errno == EINTR);
	if (done < 0)
		return -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int))) {
		pv_fd_close(passed);
		memcpy(passed, CMSG_DATA(header), sizeof(*passed));
	}
	return done;
}

bool pv_passing_receive_events(int socket, struct pv_frame_reader *frames, int *passed,
    void (*take)(void *ctx, const struct pv_event *event), void *ctx)
{
	char buffer[65536];
	struct pv_span payload;
	struct pv_err err = PV_ERR_INIT;
	const ssize_t got =
	    pv_passing_receive(socket, buffer, sizeof(buffer), passed, MSG_DONTWAIT);
	if (got < 0)
		return got == -EAGAIN;
	if (got == 0 || pv_frame_feed(frames, buffer, (size_t)got))
		return false;
	int more;
	while ((more = pv_frame_next(frames, &payload, &err)) > 0) {
		struct pv_event event;
		if (pv_event_parse(&event, payload.data, payload.len, &err))
			continue;
		take(ctx, &event);
		pv_event_finish(&event);
	}
	return more == 0;
}
