/*
 * The end of a guest whose init is the agent: the ACPI power button, and the signals by which
 * programs ask an init for it.
 */
#ifndef PV_AGENT_GUEST_POWER_H
#define PV_AGENT_GUEST_POWER_H

#include "base/loop.h"

struct pv_power {
	struct pv_loop *loop;
	int fd; /* generic netlink socket, or -1 */
	uint16_t family;
	struct pv_loop_watch watch;
};

/* Listens for the power button. A kernel without ACPI has none; that is no failure. Under the loop
 * lock. */
void pv_power_init(struct pv_power *power, struct pv_loop *loop);

/*
 * What a signal means to an init (as busybox and sysvinit have it): SIGTERM and SIGINT
 * (Ctrl-Alt-Del) reboot, SIGUSR1 halts, SIGUSR2 and SIGPWR power off. Ends every process, writes
 * the disks, and does not return.
 */
void pv_power_signalled(void *ctx, int signal);

#endif
