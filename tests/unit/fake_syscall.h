/*
 * agent/host/syscall.h without a guest. What a call does is chosen by its number:
 *
 *   1000  fails with the errno of its first argument
 *   1001  gives each buffer back in capital letters
 *   1002  never ends by itself: awaiting it fails as when the agent is lost
 *   else  returns its number
 *
 * There is memory from 4096 to 8191, and no other.
 */
#ifndef PV_TESTS_FAKE_SYSCALL_H
#define PV_TESTS_FAKE_SYSCALL_H

/* The latest call, as "nr(args) lens=[..] ptrs=[..] nested=[..] data=.. aside". */
extern char fake_syscall_last[1024];

/* Not 0: every call fails with it. */
extern int fake_syscall_errno;

/* Calls that were begun and neither ended nor dropped. */
extern unsigned fake_syscall_pending;

#endif
