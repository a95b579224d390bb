/*
 * News about a file that is followed: that it grew, and that its name belongs to another file now.
 * Any thread but the loop's and without the lock, one at a time, where nothing else is said.
 */
#ifndef PV_AGENT_GUEST_TAIL_PATH_H
#define PV_AGENT_GUEST_TAIL_PATH_H

#include <stdbool.h>

#include "agent/guest/file_news.h"

struct pv_tail_path {
	struct pv_file_news *news;
	struct pv_loop *loop;
	void (*came)(void *ctx); /* loop thread, under the lock: look again */
	void *ctx;
	struct pv_file_news_watch file;
	struct pv_file_news_watch next_file;
	struct pv_file_news_watch folders[2]; /* of the name, and of what it leads to */
	int next;			      /* the file that has the name now; -1: none */
	bool ready; /* there is something in it: the old one is read for the last time */
};

/* Any thread. */
void pv_tail_path_init(struct pv_tail_path *path, struct pv_file_news *news, struct pv_loop *loop,
    void (*came)(void *ctx), void *ctx);
/* [locked] */
void pv_tail_path_finish(struct pv_tail_path *path);

/* Watches the file behind `fd`, and the directory entry `name` when it is not NULL. What happened
 * before this returns may have been missed. Returns 0 or -errno. */
int pv_tail_path_watch(struct pv_tail_path *path, const char *name, int fd);

enum pv_tail_path_next {
	PV_TAIL_PATH_SAME,     /* nothing to read now */
	PV_TAIL_PATH_LOOK,     /* read `*fd` again, and then ask again */
	PV_TAIL_PATH_SWITCHED, /* `*fd` is the new file, from its beginning; the old one is closed
				*/
};

/* At the end of the file behind `*fd`: what is to be done about its name. */
enum pv_tail_path_next pv_tail_path_next(struct pv_tail_path *path, const char *name, int *fd);

#endif
