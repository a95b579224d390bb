/*
 * Trees of files as a row of bytes, and back: host and guest have the same sender and the same
 * builder. In a row stand records of one byte and fields in little-endian:
 *
 *   d mode:4 length:2 name		a directory begins; what follows is in it
 *   u					it ends
 *   f mode:4 size:8 length:2 name	a file begins
 *   x offset:8 length:4 data		a part of it; what no part covers is a hole
 *   e					it ends
 *   l length:2 name length:2 target	a symbolic link
 *   p mode:4 length:2 name		a FIFO
 *
 * The first record is the root, a directory or a file without a name; the row ends with it. Devices
 * and sockets are left out. Memory is that of one piece, whatever the size of the tree.
 */
#ifndef PV_AGENT_PROTO_TREE_H
#define PV_AGENT_PROTO_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How deep directories may lie in each other: a level takes about 600 bytes of stack. */
#define PV_TREE_DEPTH_MAX 100
/* Enough for what went wrong where. */
#define PV_TREE_WHERE_MAX 256

/* --- sending --- */

struct pv_tree_send {
	const char *root;
	bool is_directory; /* what the root must be, after following links */
	/* Takes bytes; negative ends the sending with that. */
	int (*write)(void *ctx, const void *data, size_t len);
	void *ctx;
	/* After an error of reading: the path below the root, cut at its front; empty for the root
	 * and for errors of `write`. */
	char where[PV_TREE_WHERE_MAX];
	bool wrote_badly; /* the error came from `write` */
};

/* Returns 0 or -errno. What changes or goes while it is read is sent as it was met. */
int pv_tree_send(struct pv_tree_send *send);

/* --- building --- */

struct pv_tree_build;

/*
 * Begins to build at `root`, which links may lead to: a directory that is there is added to, a file
 * that is there is replaced by content. Below it nothing is followed: a name of the row can only
 * make or replace what lies in its own directory. `mask` are the permission bits that are taken
 * over. Returns NULL when out of memory.
 */
struct pv_tree_build *pv_tree_build_create(const char *root, bool is_directory, mode_t mask);
/* Takes the next bytes. Returns 0, -EBADMSG when they are no tree, or -errno; no more after that.
 */
int pv_tree_build_take(struct pv_tree_build *build, const void *data, size_t len);
/* Returns 0 when the tree is whole, else -EBADMSG. */
int pv_tree_build_end(const struct pv_tree_build *build);
/* The name that the last error is about, or empty for the root. */
const char *pv_tree_build_where(const struct pv_tree_build *build);
/* Closes what is open; what was built stays. NULL is fine. */
void pv_tree_build_destroy(struct pv_tree_build *build);

#endif
