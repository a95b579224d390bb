/*
 * The agent as the first process of a guest: hand over to the guest's own init, or be the init.
 */
#ifndef PV_AGENT_GUEST_BOOT_H
#define PV_AGENT_GUEST_BOOT_H

#include <stdbool.h>

/*
 * For PID 1. When the initramfs has an /init, the calling process becomes that and a child returns
 * true from here, to serve beside it. False: there is none (or it cannot be executed), and this
 * process is the init. What the connection needs is loaded by then, and standard input, output and
 * error are open. `argv` is passed on. `rest_fd` becomes a descriptor that reads as ended when all
 * else is loaded and the init runs; the caller owns it. -1: there is nothing to wait for.
 */
bool pv_boot_begin(char **argv, int *rest_fd);

/*
 * For an init without a real one: file systems, loopback, the other modules, by a thread of its
 * own. Failures are a line on the console each. Returns a descriptor that reads as ended when all
 * is there, which the caller owns; or -1 when all was done in the call.
 */
int pv_boot_rest(void);

/* Gives descriptors 0 to 2 and the variables PATH, HOME and TERM to a process that lacks them. */
void pv_boot_complete_process(void);

#endif
