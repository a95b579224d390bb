/*
 * The lock of one entry of the fixture cache: a file that its builder holds, in this process or in
 * another one, and that says who that is.
 */
#ifndef PV_LAB_FIXTURE_LOCK_H
#define PV_LAB_FIXTURE_LOCK_H

#include <stdbool.h>

struct pv_err;

/* `struct pv_fixture_lock lock = PV_FIXTURE_LOCK_INIT;` */
struct pv_fixture_lock {
	int fd;
	char *path;
};
#define PV_FIXTURE_LOCK_INIT \
	{                    \
		.fd = -1     \
	}

/*
 * Takes the lock `<dir>/<key>.lock`; blocks without end while another one has it when `wait` is
 * set. The kernel gives it back when the process dies. Returns 0, -EWOULDBLOCK when it is held, or
 * another -errno (the folder is not there, or cannot be written).
 */
int pv_fixture_lock_take(
    struct pv_fixture_lock *lock, const char *dir, const char *key, bool wait, struct pv_err *err);

/* Gives it back and removes its file. Harmless when it is not held. */
void pv_fixture_lock_release(struct pv_fixture_lock *lock);

/* What the holder says of itself: "pid=... host=... started=... argv=...", or NULL. The caller
 * frees it. */
char *pv_fixture_lock_holder(const char *dir, const char *key);

#endif
