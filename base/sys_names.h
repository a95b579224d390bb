/*
 * Names of the kernel's interface as guests see it (x86-64 Linux): system calls and the integer
 * constants of the headers. The tables are made when this is built, by base/generate-sys-names from
 * the headers named in base/sys_names.list; they say what a guest means, whatever machine this runs
 * on. All functions are pure and safe on any thread; the strings that they give are constants.
 */
#ifndef PV_BASE_SYS_NAMES_H
#define PV_BASE_SYS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;

enum pv_sys_names_tag {
	PV_SYS_NAMES_PLAIN,
	PV_SYS_NAMES_ERRNO,  /* the usual name of an error number; other names of it are plain */
	PV_SYS_NAMES_SIGNAL, /* the same for signals */
};

struct pv_sys_names_entry {
	const char *name;
	int64_t value; /* what the C expression is: `unsigned int` is not sign-extended */
	enum pv_sys_names_tag tag;
};

/* All system calls ("openat"), or all constants ("O_CREAT"), in the order of strcmp. */
const struct pv_sys_names_entry *pv_sys_names_calls(size_t *count);
const struct pv_sys_names_entry *pv_sys_names_constants(size_t *count);

/*
 * The number of a system call, named as in the manual ("openat") or as in C ("SYS_openat",
 * "__NR_openat"). Returns 0, or -ENOENT with a sentence in `err` that offers similar names.
 */
int pv_sys_names_call(const char *name, int64_t *number, struct pv_err *err);

/* The value of a constant or, failing that, the number of a system call. As above. */
int pv_sys_names_value(const char *name, int64_t *value, struct pv_err *err);

/* "ENOENT" for 2 and for -2, NULL when there is none. */
const char *pv_sys_names_errno(int64_t number);

/* "SIGTERM" for 15, NULL when there is none; real-time signals have none. */
const char *pv_sys_names_signal(int64_t number);

/*
 * The number of a signal: any name with or without SIG, in any case ("term", "SIGUSR1"), real-time
 * signals as programs count them ("RTMIN", "rtmin+1", "RTMAX-2"; 34 to 64), or decimal digits (0
 * to 64; 0 only asks whether the process is there).
 * Returns 0, or -EINVAL with "unknown signal name `X`" in `err`.
 */
int pv_sys_names_signal_number(const char *name, int *number, struct pv_err *err);

/* Signals are 1 to this. */
#define PV_SYS_NAMES_SIGNAL_MAX 64

/* The first real-time signal that programs use: two before it belong to the C library's threads. */
#define PV_SYS_NAMES_RTMIN 34

#endif
