/*
 * News about files and directories: inotify(7), of which a user may have few instances, shared by
 * all who follow something in this process.
 */
#ifndef PV_AGENT_GUEST_FILE_NEWS_H
#define PV_AGENT_GUEST_FILE_NEWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

#define PV_FILE_NEWS_BUCKETS 64u

struct pv_file_news_subject;
struct pv_file_news_watch;

/* Zeroed: nobody follows anything. Lives as long as the process. Under the loop lock. */
struct pv_file_news {
	struct pv_loop_watch ready; /* of the instance, once there is one */
	int inotify;		    /* when `ready` is watched */
	unsigned beginning;	    /* threads between the kernel's answer and our list */
	struct pv_file_news_subject *subjects[PV_FILE_NEWS_BUCKETS];
	struct pv_file_news_subject *next_subject; /* of a walk over all of them */
	struct pv_file_news_watch *next_watch;	   /* of a walk over those of one subject */
};

/* Who follows what. In its owner's memory; zeroed: nothing. */
struct pv_file_news_watch {
	struct pv_file_news *news;
	struct pv_file_news_subject *subject;
	struct pv_file_news_watch *next;
	struct pv_file_news_watch **at; /* what points to this one */
	void (*came)(void *ctx);
	void *ctx;
};

/*
 * Follows what is behind `fd` (any open file; also one of O_PATH) for `events` of inotify, the same
 * for all who follow the same thing. `came` runs on the loop thread under the lock, for news of
 * `events` and others, and may end this watch and others. What happens before this returns may be
 * missed: look afterwards. `watch` must be zeroed or ended. Returns 0 or -errno. On any thread but
 * the loop's, without the lock.
 */
int pv_file_news_begin(struct pv_file_news *news, struct pv_loop *loop,
    struct pv_file_news_watch *watch, int fd, uint32_t events, void (*came)(void *ctx), void *ctx);

/* [locked] `to`, which must be zeroed or ended, follows what `from` did. */
void pv_file_news_move(struct pv_file_news_watch *to, struct pv_file_news_watch *from);

/* [locked] `came` does not run after this returns. A zeroed or ended watch is fine. */
void pv_file_news_end(struct pv_file_news_watch *watch);

#endif
