/*
 * News about a file that is followed: that it grew, and that its name belongs to another file now.
 * Any thread, one at a time, but for pv_tail_path_digest.
 */
#ifndef PV_AGENT_GUEST_TAIL_PATH_H
#define PV_AGENT_GUEST_TAIL_PATH_H

#include <stdbool.h>

struct pv_tail_path {
	int inotify; /* readable when there is news; -1: not watching */
	int next;    /* the file that has the name now; -1: none */
	bool ready;  /* there is something in it: the old one is read for the last time */
};

void pv_tail_path_init(struct pv_tail_path *path);
void pv_tail_path_finish(struct pv_tail_path *path);

/* Watches the file behind `fd`, and the directory entry `name` when it is not NULL. Returns 0 or
 * -errno. */
int pv_tail_path_watch(struct pv_tail_path *path, const char *name, int fd);

/* Forgets the news that came. Loop thread, also while the other functions run. */
void pv_tail_path_digest(const struct pv_tail_path *path);

enum pv_tail_path_next {
	PV_TAIL_PATH_SAME,     /* nothing to read now */
	PV_TAIL_PATH_LOOK,     /* read `*fd` again, and then ask again */
	PV_TAIL_PATH_SWITCHED, /* `*fd` is the new file, from its beginning; the old one is closed
				*/
};

/* At the end of the file behind `*fd`: what is to be done about its name. */
enum pv_tail_path_next pv_tail_path_next(struct pv_tail_path *path, const char *name, int *fd);

#endif
