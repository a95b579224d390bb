/*
 * The byte link under the frames. A guest that suspends itself, or binds its driver anew, loses
 * all its sockets and lives on; the conversation with its agent does as well, because it is two
 * streams of bytes whose ends are counted:
 *
 *   - each end counts what it has received of the other's stream since the session began;
 *   - each end keeps what it has sent until the other has acknowledged it, which is a frame of
 *     its own, `{ack: count}`, in the stream like any other, sent after every PV_LINK_ACK_EVERY
 *     bytes: so calls cost no message more, and bulk data one in 256 KiB;
 *   - a connection begins with a handshake outside the streams (protocol.h), in which both ends
 *     tell their counts; then each sends again from where the other is.
 *
 * When to acknowledge follows from the count alone, so an end that was restored from a snapshot
 * does it at the same places as the one that was saved.
 *
 * The other end may be hostile: a count is checked against what was sent and what is still there,
 * and what is kept has a limit, at which the owner gives the connection up. Sent bytes are dropped
 * from the front of the buffer when they are at least as many as those behind them, so the moving
 * is linear in what was sent.
 */
#include "agent/proto/link.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"

/* A map of one pair: "ack", and an unsigned number of 64 bits. */
static const uint8_t ack_head[] = {0x81, 0xa3, 'a', 'c', 'k', 0xcf};
#define ACK_SIZE (sizeof(ack_head) + sizeof(uint64_t))

void pv_link_init(struct pv_link *link, size_t frame_max)
{
	*link = (struct pv_link){
	    .reader = {.limit = frame_max},
	    .greeting = {.limit = frame_max},
	};
}

void pv_link_finish(struct pv_link *link)
{
	const size_t frame_max = link->reader.limit;
	pv_link_cut(link);
	pv_frame_reader_finish(&link->reader);
	pv_bytes_finish(&link->out);
	pv_link_init(link, frame_max);
}

void pv_link_cut(struct pv_link *link)
{
	pv_frame_reader_finish(&link->greeting);
	pv_bytes_finish(&link->hail);
	link->hailed = 0;
	link->open = false;
}

struct pv_bytes *pv_link_hail(struct pv_link *link)
{
	return &link->hail;
}

/* --- the session --- */

void pv_link_begin(struct pv_link *link, uint64_t session)
{
	pv_frame_reader_finish(&link->reader);
	pv_bytes_finish(&link->out);
	link->session = session;
	link->received = link->acknowledged = 0;
	link->done = link->sent = 0;
}

void pv_link_adopt(struct pv_link *link, uint64_t session, uint64_t sent, uint64_t received)
{
	pv_link_cut(link);
	pv_link_begin(link, session);
	link->acknowledged = sent;
	link->received = received;
	link->open = true;
}

int pv_link_open(struct pv_link *link, struct pv_err *err)
{
	struct pv_frame_reader *greeting = &link->greeting;
	int status = 0;
	link->open = true;
	if (greeting->used < greeting->in.len)
		status = pv_link_feed(link, greeting->in.data + greeting->used,
		    greeting->in.len - greeting->used, err);
	/* The handshake's frame lies in there: its reader is freed with the connection. */
	greeting->used = greeting->in.len;
	return status;
}

static void drop_done(struct pv_link *link)
{
	if (link->done < link->out.len - link->done)
		return;
	pv_bytes_consume(&link->out, link->done);
	link->sent -= link->done;
	link->done = 0;
}

uint64_t pv_link_sent(const struct pv_link *link)
{
	return link->acknowledged + (link->sent - link->done);
}

/* The other end has so many bytes of our stream, no fewer than it had. */
static int acknowledge(struct pv_link *link, uint64_t count, struct pv_err *err)
{
	if (count > pv_link_sent(link))
		return pv_err_set(err, PV_ERR_GUEST, EBADMSG,
		    "%" PRIu64 " bytes were received of %" PRIu64 " that were sent", count,
		    pv_link_sent(link));
	link->done += (size_t)(count - link->acknowledged);
	link->acknowledged = count;
	drop_done(link);
	return 0;
}

int pv_link_resume(struct pv_link *link, uint64_t received, struct pv_err *err)
{
	if (received < link->acknowledged)
		return pv_err_set(err, PV_ERR_GUEST, EBADMSG,
		    "%" PRIu64 " bytes were received, after %" PRIu64 " were", received,
		    link->acknowledged);
	int status = acknowledge(link, received, err);
	if (status == 0)
		link->sent = link->done;
	return status;
}

/* --- sending --- */

bool pv_link_is_hailing(const struct pv_link *link)
{
	return link->hailed < link->hail.len;
}

struct pv_span pv_link_unsent(const struct pv_link *link)
{
	if (pv_link_is_hailing(link))
		return (struct pv_span){
		    .data = link->hail.data + link->hailed, .len = link->hail.len - link->hailed};
	if (!link->open || link->sent == link->out.len)
		return (struct pv_span){.data = "", .len = 0};
	return (struct pv_span){
	    .data = link->out.data + link->sent, .len = link->out.len - link->sent};
}

void pv_link_mark_sent(struct pv_link *link, size_t len)
{
	if (pv_link_is_hailing(link)) {
		link->hailed += len;
		return;
	}
	link->sent += len;
	if (link->session != 0)
		return;
	link->acknowledged += link->sent - link->done;
	link->done = link->sent;
	drop_done(link);
}

size_t pv_link_kept(const struct pv_link *link)
{
	return link->out.len - link->done;
}

bool pv_link_is_overdue(const struct pv_link *link)
{
	return link->sent - link->done > PV_LINK_KEPT_MAX;
}

/* --- receiving --- */

static int put_ack(struct pv_link *link)
{
	uint8_t frame[PV_FRAME_HEADER + ACK_SIZE];
	uint64_t count = __builtin_bswap64(link->received);
	pv_put_be32(frame, ACK_SIZE);
	memcpy(frame + PV_FRAME_HEADER, ack_head, sizeof(ack_head));
	memcpy(frame + PV_FRAME_HEADER + sizeof(ack_head), &count, sizeof(count));
	return pv_bytes_append(&link->out, frame, sizeof(frame));
}

static bool is_ack(struct pv_span payload)
{
	return payload.len == ACK_SIZE && memcmp(payload.data, ack_head, sizeof(ack_head)) == 0;
}

static int take_ack(struct pv_link *link, struct pv_span payload, struct pv_err *err)
{
	uint64_t count;
	memcpy(&count, (const uint8_t *)payload.data + sizeof(ack_head), sizeof(count));
	count = __builtin_bswap64(count);
	/* One that a connection lost comes behind the handshake, which told more. */
	return count < link->acknowledged ? 0 : acknowledge(link, count, err);
}

int pv_link_feed(struct pv_link *link, const void *data, size_t len, struct pv_err *err)
{
	struct pv_frame_reader *reader = link->open ? &link->reader : &link->greeting;
	int status = pv_frame_feed(reader, data, len);
	if (status == 0 && link->open) {
		const uint64_t before = link->received;
		link->received += len;
		if (link->session != 0 &&
		    before / PV_LINK_ACK_EVERY != link->received / PV_LINK_ACK_EVERY)
			status = put_ack(link);
	}
	return status < 0 ? pv_err_nomem(err, "frames of the agent protocol") : 0;
}

int pv_link_next(struct pv_link *link, struct pv_span *payload, struct pv_err *err)
{
	if (!link->open)
		return pv_frame_next(&link->greeting, payload, err);
	int status;
	do
		status = pv_frame_next(&link->reader, payload, err);
	while (status > 0 && link->session != 0 && is_ack(*payload) &&
	       (status = take_ack(link, *payload, err)) == 0);
	return status;
}

bool pv_link_is_idle(const struct pv_link *link)
{
	return pv_link_unsent(link).len == 0 && pv_frame_at_boundary(&link->reader);
}
