/*
 * Watched descriptors of a loop.
 *
 * Stale events: epoll_wait fills its batch without the lock, so a watch may be removed (and its
 * memory freed) when its event is already fetched. Events therefore carry no pointers: they carry
 * the descriptor and the generation of the watch, and `slots` says under the lock whether that
 * generation still lives. A descriptor closed and reused gets a new generation.
 *
 * Events fetched twice: the kernel offers a level-triggered descriptor to the next sleeper before
 * the first one has had time to read it. So an event whose watch was served after its fetcher had
 * fallen asleep is looked at again with poll(2), and dropped when there is nothing any more.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/loop_private.h"

/* The generation of our own two descriptors; watches count from 1. */
#define OWN_GENERATION 0

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
		   EPOLLHUP == POLLHUP && EPOLLRDHUP == POLLRDHUP,
    "what epoll says is what poll says");

static uint64_t event_key(int fd, uint32_t generation)
{
	return (uint64_t)generation << 32 | (uint32_t)fd;
}

static int grow_slots(struct pv_loop *loop, int fd)
{
	unsigned count = loop->slot_count ? loop->slot_count : 64;
	while (count <= (unsigned)fd)
		count *= 2;
	if (count == loop->slot_count)
		return 0;
	struct pv_loop_slot *slots = realloc(loop->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + loop->slot_count, 0, (count - loop->slot_count) * sizeof(*slots));
	loop->slots = slots;
	loop->slot_count = count;
	return 0;
}

int pv_loop_watch_add(struct pv_loop *loop, struct pv_loop_watch *watch, int fd, uint32_t events,
    void (*ready)(void *ctx, uint32_t events), void *ctx, struct pv_err *err)
{
	if (fd < 0)
		return pv_err_set(err, PV_ERR_INTERNAL, EBADF, "cannot watch descriptor %d", fd);
	if (grow_slots(loop, fd) < 0)
		return pv_err_nomem(err, "event loop");
	struct pv_loop_slot *slot = &loop->slots[fd];
	if (watch->loop || slot->watch)
		return pv_err_set(err, PV_ERR_INTERNAL, EEXIST,
		    "cannot watch descriptor %d: it is watched already", fd);
	if (++loop->generation == OWN_GENERATION)
		loop->generation++;
	struct epoll_event event = {.events = events, .data.u64 = event_key(fd, loop->generation)};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return pv_err_system(err, errno, "cannot watch descriptor %d", fd);
	*slot = (struct pv_loop_slot){.watch = watch, .generation = loop->generation};
	*watch = (struct pv_loop_watch){
	    .loop = loop, .fd = fd, .events = events, .ready = ready, .ctx = ctx};
	return 0;
}

void pv_loop_watch_set(struct pv_loop_watch *watch, uint32_t events)
{
	struct pv_loop *loop = watch->loop;
	if (!loop || watch->events == events)
		return;
	watch->events = events;
	struct epoll_event event = {
	    .events = events, .data.u64 = event_key(watch->fd, loop->slots[watch->fd].generation)};
	/*
	 * Fails only when the descriptor was closed under us; then there is nothing to hear from
	 * it.
	 */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void pv_loop_watch_remove(struct pv_loop_watch *watch)
{
	struct pv_loop *loop = watch->loop;
	if (!loop)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	loop->slots[watch->fd].watch = NULL;
	*watch = (struct pv_loop_watch){.fd = -1};
}

/* --- what comes of them --- */

int pv_loop_watch_own(struct pv_loop *loop, int fd)
{
	/* Edge-triggered: each signal is one event for one thread, and nobody has to read. */
	struct epoll_event event = {
	    .events = EPOLLIN | EPOLLET, .data.u64 = event_key(fd, OWN_GENERATION)};
	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

bool pv_loop_watch_is_own(const struct epoll_event *event, int *fd)
{
	*fd = (int)(uint32_t)event->data.u64;
	return (uint32_t)(event->data.u64 >> 32) == OWN_GENERATION;
}

/* The slot of an event whose watch still lives, or NULL. */
static struct pv_loop_slot *slot_of(struct pv_loop *loop, const struct epoll_event *event)
{
	struct pv_loop_slot *slot = &loop->slots[(uint32_t)event->data.u64];
	uint32_t generation = (uint32_t)(event->data.u64 >> 32);
	return slot->watch && slot->generation == generation ? slot : NULL;
}

/* What of `events` is still so. */
static uint32_t look_again(const struct pv_loop_watch *watch, uint32_t events)
{
	struct pollfd look = {
	    .fd = watch->fd, .events = (short)(watch->events & (POLLIN | POLLOUT | POLLRDHUP))};
	if (poll(&look, 1, 0) < 0)
		return events;
	return (uint32_t)(unsigned short)look.revents & events;
}

bool pv_loop_watch_deliver(
    struct pv_loop *loop, struct pv_loop_runner *self, const struct epoll_event *event)
{
	struct pv_loop_slot *slot = slot_of(loop, event);
	if (!slot)
		return false;
	struct pv_loop_watch *watch = slot->watch;
	uint32_t events = event->events & (watch->events | EPOLLERR | EPOLLHUP);
	if (slot->served > self->since)
		events = look_again(watch, events);
	if (events == 0)
		return false;
	slot->served = ++loop->moment;
	pv_loop_enter(loop);
	watch->ready(watch->ctx, events);
	pv_loop_leave(loop);
	return true;
}

void pv_loop_watch_put_back(struct pv_loop *loop, const struct epoll_event *event)
{
	const struct pv_loop_slot *slot = slot_of(loop, event);
	if (!slot)
		return;
	struct epoll_event again = {.events = slot->watch->events, .data.u64 = event->data.u64};
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, slot->watch->fd, &again);
}
