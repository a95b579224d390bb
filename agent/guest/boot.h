/*
 * The agent as the first process of a guest: hand over to the guest's own init, or be the init.
 */
#ifndef PV_AGENT_GUEST_BOOT_H
#define PV_AGENT_GUEST_BOOT_H

#include <stdbool.h>

/*
 * For PID 1. When the initramfs has an /init, the calling process becomes that and a child returns
 * true from here, to serve beside it. False: there is none (or it cannot be executed), and this
 * process is the init. Modules are loaded by then, and standard input, output and error are open.
 * `argv` is passed on.
 */
bool pv_boot_begin(char **argv);

/* For an init without a real one: file systems, loopback. Failures are a line on the console each.
 */
void pv_boot_mount(void);

/* Gives descriptors 0 to 2 and the variables PATH, HOME and TERM to a process that lacks them. */
void pv_boot_complete_process(void);

#endif
