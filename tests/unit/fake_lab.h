/*
 * VMs without guests, for tests of the layer above: pv_host_*, pv_vm_* and pv_agent_* as lab/
 * declares them, on a loop that really runs. What a fake guest does is chosen by what the script
 * asks for:
 *
 * vm:boot, by its option kernel_cmdline_append:
 *   "refuse"	fails before a guest starts (state dead, empty console)
 *   "hang"	fails as a guest without an agent; its console has 100 lines and ends in "last
 * words" "binary"	boots, and its console holds NULs and bytes that are no UTF-8
 *   "busy"	boots, and then its baseline cannot be taken; "streams": for its streams
 *   else	boots; console "boot of NAME\r\n" and the text of the option
 *
 * vm:run:
 *   shell text "exit N", "kill N"	ends like that, with "some out" and "some err"
 *   shell text "wait"			waits for the time limit or the interrupt
 *   shell text "oops TEXT", "panic TEXT"	the kernel reports that; the run fails with it, an
 *					oops only when it was not expected
 *   shell text "quietly TEXT"		the kernel reports an oops, and the run ends well
 *   shell text "soon TEXT"		the run ends well, the oops comes a moment later
 *   shell text "settling TEXT"		the same, when the framework waits for guests to settle
 *   program "missing"			cannot be started
 *   else				prints what it was given, see fake_agent.c
 *
 * Files are kept in memory per VM. One whose first file is "/stuck" cannot go back to its baseline.
 */
#ifndef PV_TESTS_FAKE_LAB_H
#define PV_TESTS_FAKE_LAB_H

/* VMs that exist now: none may be left when everything is finished. */
extern unsigned fake_lab_vms;

/* The options that the latest boot merged and dropped, as text: "memory=.. cpus=.. files=[path mode
 * len]...". */
extern char fake_lab_last_boot[4096];

#endif
