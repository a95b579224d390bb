/*
 * Beside a real init: seeing the same root directory as that init, also after it has moved from the
 * initramfs to its disk.
 */
#ifndef PV_AGENT_GUEST_ROOT_H
#define PV_AGENT_GUEST_ROOT_H

/* `proc` -1 = nothing to follow. */
struct pv_root {
	int proc;
};

/* Prepares following PID 1. A kernel older than 5.2 cannot; the agent then stays in the root that
 * it was started in. */
void pv_root_init(struct pv_root *root);

/* Moves this process to the root of PID 1 when that has changed. Cheap when it has not, never
 * blocks on a file system. Loop thread. */
void pv_root_follow(struct pv_root *root);

#endif
