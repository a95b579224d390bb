/*
 * One instance with a watch for each thing that somebody follows, and a list of who follows it.
 *
 * The kernel gives the same number to all who watch the same inode, so a watch is taken out of the
 * kernel when the last of them ends. Asking the kernel may take time (it looks at the permissions,
 * which a file system may have to ask for), so that is done without the lock; while somebody is
 * between the kernel's answer and our list, no watch is taken out, because it might be just the one
 * that he was told.
 *
 * News of a watch that is in no list are of one that has ended, or of one that is about to be in
 * it: whoever begins looks at his file afterwards. When the kernel has lost news, everybody looks.
 */
#include "agent/guest/file_news.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

struct pv_file_news_subject {
	struct pv_file_news_subject *next; /* in its bucket */
	int number;			   /* the kernel's */
	struct pv_file_news_watch *first;
};

static struct pv_file_news_subject **bucket_of(struct pv_file_news *news, int number)
{
	return &news->subjects[(unsigned)number % PV_FILE_NEWS_BUCKETS];
}

static struct pv_file_news_subject *find(struct pv_file_news *news, int number)
{
	struct pv_file_news_subject *subject = *bucket_of(news, number);
	while (subject && subject->number != number)
		subject = subject->next;
	return subject;
}

/* --- news --- */

/* Watches end while this walks, also the one that it is at. */
static void tell(struct pv_file_news *news, const struct pv_file_news_subject *subject)
{
	news->next_watch = subject ? subject->first : NULL;
	while (news->next_watch) {
		struct pv_file_news_watch *watch = news->next_watch;
		news->next_watch = watch->next;
		watch->came(watch->ctx);
	}
}

static void tell_all(struct pv_file_news *news)
{
	for (unsigned i = 0; i < PV_FILE_NEWS_BUCKETS; i++) {
		news->next_subject = news->subjects[i];
		while (news->next_subject) {
			const struct pv_file_news_subject *subject = news->next_subject;
			news->next_subject = subject->next;
			tell(news, subject);
		}
	}
}

/* Takes a piece of the news; what is left makes this run again. */
static void take_news(void *ctx, uint32_t events)
{
	struct pv_file_news *news = ctx;
	_Alignas(struct inotify_event) char piece[4096];
	(void)events;
	ssize_t got = read(news->inotify, piece, sizeof(piece));
	for (ssize_t at = 0; at < got;) {
		const struct inotify_event *event = (const void *)(piece + at);
		at += (ssize_t)(sizeof(*event) + event->len);
		if (event->mask & IN_Q_OVERFLOW)
			tell_all(news);
		else
			tell(news, find(news, event->wd));
	}
}

/* --- subjects: lock held --- */

static void remove_subject(struct pv_file_news *news, struct pv_file_news_subject *subject)
{
	struct pv_file_news_subject **at = bucket_of(news, subject->number);
	while (*at != subject)
		at = &(*at)->next;
	*at = subject->next;
	if (news->next_subject == subject)
		news->next_subject = subject->next;
	/* Fails when the inode is gone, and the watch with it. */
	inotify_rm_watch(news->inotify, subject->number);
	free(subject);
}

/* What nobody followed any more while somebody was beginning. */
static void remove_unwatched(struct pv_file_news *news)
{
	for (unsigned i = 0; i < PV_FILE_NEWS_BUCKETS; i++) {
		for (struct pv_file_news_subject *at = news->subjects[i], *next; at; at = next) {
			next = at->next;
			if (!at->first)
				remove_subject(news, at);
		}
	}
}

static struct pv_file_news_subject *subject_of(struct pv_file_news *news, int number)
{
	struct pv_file_news_subject *subject = find(news, number);
	if (subject)
		return subject;
	/* Without memory the kernel's watch stays: it may be the one that somebody else begins. */
	subject = calloc(1, sizeof(*subject));
	if (!subject)
		return NULL;
	subject->number = number;
	subject->next = *bucket_of(news, number);
	*bucket_of(news, number) = subject;
	return subject;
}

static int make_instance(struct pv_file_news *news, struct pv_loop *loop)
{
	struct pv_err err = PV_ERR_INIT;
	if (news->ready.loop)
		return 0;
	news->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (news->inotify < 0)
		return -errno;
	int status =
	    pv_loop_watch_add(loop, &news->ready, news->inotify, EPOLLIN, take_news, news, &err);
	if (status < 0)
		pv_fd_close(&news->inotify);
	return status;
}

/* --- watches --- */

static int list(struct pv_file_news *news, struct pv_file_news_watch *watch, int number)
{
	struct pv_file_news_subject *subject = subject_of(news, number);
	if (!subject)
		return -ENOMEM;
	watch->news = news;
	watch->subject = subject;
	watch->next = subject->first;
	watch->at = &subject->first;
	if (watch->next)
		watch->next->at = &watch->next;
	subject->first = watch;
	return 0;
}

int pv_file_news_begin(struct pv_file_news *news, struct pv_loop *loop,
    struct pv_file_news_watch *watch, int fd, uint32_t events, void (*came)(void *ctx), void *ctx)
{
	char name[32];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	pv_loop_lock(loop);
	int status = make_instance(news, loop);
	if (status < 0) {
		pv_loop_unlock(loop);
		return status;
	}
	news->beginning++;
	pv_loop_unlock(loop);
	int number = inotify_add_watch(news->inotify, name, events);
	status = number < 0 ? -errno : 0;
	pv_loop_lock(loop);
	*watch = (struct pv_file_news_watch){.came = came, .ctx = ctx};
	if (status == 0)
		status = list(news, watch, number);
	if (--news->beginning == 0)
		remove_unwatched(news);
	pv_loop_unlock(loop);
	return status;
}

void pv_file_news_move(struct pv_file_news_watch *to, struct pv_file_news_watch *from)
{
	struct pv_file_news *news = from->news;
	*to = *from;
	*from = (struct pv_file_news_watch){0};
	if (!news)
		return;
	*to->at = to;
	if (to->next)
		to->next->at = &to->next;
	if (news->next_watch == from)
		news->next_watch = to;
}

void pv_file_news_end(struct pv_file_news_watch *watch)
{
	struct pv_file_news *news = watch->news;
	if (!news)
		return;
	if (news->next_watch == watch)
		news->next_watch = watch->next;
	*watch->at = watch->next;
	if (watch->next)
		watch->next->at = watch->at;
	if (!watch->subject->first && news->beginning == 0)
		remove_subject(news, watch->subject);
	*watch = (struct pv_file_news_watch){0};
}
