/*
 * The life of a feed. Its pump has a thread of the pool while there is something to do: after the
 * start, when the source stirs (pv_feed_kick), when the host grants more, when the queue to the
 * host has room again. What stirs while the pump runs makes it run once more, so nothing is lost
 * between its last look and its return. A source that stirs while the host wants nothing costs
 * nothing.
 *
 * The call ends, and the feed is freed, when the pump says so or when the call was cancelled, and
 * never under a running pump.
 */
#include "agent/guest/feed.h"

#include <errno.h>

#include "base/clock.h"

static struct pv_feed *feed_of(struct pv_call *call)
{
	return (struct pv_feed *)call;
}

/* [locked] */
static void end(struct pv_feed *feed, int status)
{
	struct pv_reply_number truncated = {"truncated", feed->truncated};
	if (status < 0)
		pv_call_fail(&feed->call, -status, NULL);
	else
		pv_call_end_numbers(&feed->call, &truncated, 1);
	feed->ops->destroy(feed);
}

static void run(struct pv_pool_job *job)
{
	struct pv_feed *feed = (struct pv_feed *)((char *)job - offsetof(struct pv_feed, job));
	struct pv_calls *calls = feed->call.calls;
	int status;
	pv_loop_lock(calls->loop);
	do {
		feed->again = false;
		pv_loop_unlock(calls->loop);
		status = feed->ops->pump(feed);
		pv_loop_lock(calls->loop);
	} while (status == PV_FEED_WAIT && feed->again && !feed->cancelled);
	feed->running = false;
	if (feed->cancelled)
		end(feed, -ECANCELED);
	else if (status != PV_FEED_WAIT)
		end(feed, status < 0 ? status : 0);
	else if (feed->ops->idle)
		feed->ops->idle(feed);
	pv_loop_unlock(calls->loop);
}

static bool may_send(struct pv_feed *feed)
{
	return feed->window > 0 && pv_call_has_room(&feed->call);
}

/* [locked] */
static void start_pump(struct pv_feed *feed)
{
	feed->again = true;
	if (feed->running)
		return;
	feed->running = true;
	int status = pv_pool_run(&feed->call.calls->pool, &feed->job);
	if (status == 0)
		return;
	feed->running = false;
	end(feed, status);
}

void pv_feed_kick(struct pv_feed *feed)
{
	if (!feed->cancelled && may_send(feed))
		start_pump(feed);
}

static void take_grant(struct pv_call *call, uint64_t bytes)
{
	struct pv_feed *feed = feed_of(call);
	if (__builtin_add_overflow(feed->window, bytes, &feed->window))
		feed->window = UINT64_MAX;
	pv_feed_kick(feed);
}

static void take_room(struct pv_call *call)
{
	pv_feed_kick(feed_of(call));
}

static void cancel(struct pv_call *call)
{
	struct pv_feed *feed = feed_of(call);
	if (feed->cancelled)
		return;
	feed->cancelled = true;
	/* A running pump sees it when it comes back. */
	if (!feed->running)
		end(feed, -ECANCELED);
}

static const struct pv_call_ops ops = {
    .grant = take_grant,
    .room = take_room,
    .cancel = cancel,
};

void pv_feed_start(
    struct pv_feed *feed, struct pv_calls *calls, uint64_t id, const struct pv_feed_ops *feed_ops)
{
	pv_call_begin(&feed->call, calls, id, &ops);
	feed->ops = feed_ops;
	feed->job.run = run;
	start_pump(feed);
}

static void send(
    struct pv_feed *feed, enum pv_protocol_channel channel, const void *data, size_t len)
{
	struct pv_loop *loop = feed->call.calls->loop;
	pv_loop_lock(loop);
	if (channel == PV_PROTOCOL_CHANNEL_FILE)
		feed->window -= len < feed->window ? len : feed->window;
	pv_call_data(&feed->call, channel, data, len);
	pv_call_flush(&feed->call);
	pv_loop_unlock(loop);
}

void pv_feed_begun(struct pv_feed *feed)
{
	send(feed, PV_PROTOCOL_CHANNEL_NOTICE, NULL, 0);
}

void pv_feed_notice(struct pv_feed *feed, enum pv_protocol_notice notice)
{
	uint8_t byte = (uint8_t)notice;
	send(feed, PV_PROTOCOL_CHANNEL_NOTICE, &byte, 1);
}

size_t pv_feed_room(struct pv_feed *feed)
{
	struct pv_loop *loop = feed->call.calls->loop;
	pv_loop_lock(loop);
	uint64_t room = feed->cancelled || !may_send(feed) ? 0 : feed->window;
	pv_loop_unlock(loop);
	return room < PV_PROTOCOL_CHUNK ? (size_t)room : PV_PROTOCOL_CHUNK;
}

void pv_feed_send(struct pv_feed *feed, const void *data, size_t len)
{
	send(feed, PV_PROTOCOL_CHANNEL_FILE, data, len);
}
