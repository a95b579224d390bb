/*
 * The shapes of the kernel's own lines. A console carries text of programs as well, and of hostile
 * ones; so a line counts only when it has a shape that printk gives it, from its beginning:
 *
 *   [<N>] [ [seconds.micros] [ [Tpid or Ccpu] ] ] [subsystem: ] HEAD
 *
 * printk's time is six digits behind the point and at least five places before it. A line with such
 * a time is the kernel's: there any "BUG: ..." is a head, and any trap's name before the oops
 * counter (": 0000 [#1]"). Without a time (printk.time=0, or a program) only the phrases in the
 * lists below are taken, which name a certain complaint of a certain function. So a program that
 * quotes "BUG: ..." somewhere in its text, or begins a line with "BUG: " and words of its own, is
 * not taken for the kernel. What is written to /dev/kmsg is: printk makes such a line like its own.
 *
 * The phrases are those of Linux 4.19 to 6.12 (kernel/panic.c, arch/x86/kernel/{dumpstack,traps}.c,
 * arch/x86/mm/fault.c, lib/bug.c, kernel/watchdog.c, kernel/hung_task.c, kernel/rcu/tree_stall.h,
 * kernel/locking/lockdep.c, mm/kasan/report.c, lib/ubsan.c, mm/slub.c, arch/arm64/mm/fault.c).
 * "WARNING: CPU: 0 PID: ..." of WARN() is none: kernels print that for harmless reasons too.
 */
#include "lab/kernel_report.h"

#include <stdio.h>
#include <string.h>

#define COUNTER " [#" /* of oopses, in the header of each */

/* "[" and digits and blanks, ".", six digits, "]". */
#define TIME_MAX 28

/* How lines begin; '*' is anything, once. */
static const char *const panics[] = {
    "Kernel panic - not syncing",
    "PANIC: early exception ",
    "PANIC: double fault",
    NULL,
};

static const char *const oopses[] = {
    "BUG: unable to handle ",
    "BUG: kernel NULL pointer dereference",
    "Unable to handle kernel ",
    "Internal error: *" COUNTER,
    "Oops*" COUNTER,
    "general protection fault*" COUNTER,
    "invalid opcode: *" COUNTER,
    "divide error: *" COUNTER,
    "stack segment: *" COUNTER,
    "double fault: *" COUNTER,
    "int3: *" COUNTER,
    "control protection fault: *" COUNTER,
    NULL,
};

static const char *const bugs[] = {
    "kernel BUG at *!",
    "BUG: soft lockup - CPU#",
    "BUG: workqueue lockup - pool",
    "BUG: scheduling while atomic: ",
    "BUG: sleeping function called from ",
    "BUG: using * in preemptible [",
    "BUG: KASAN: ",
    "BUG: KCSAN: ",
    "BUG: KMSAN: ",
    "BUG: KFENCE: ",
    "BUG: Bad page * in process ",
    "BUG: Bad rss-counter state ",
    "BUG: spinlock * on CPU#",
    "UBSAN: * in ",
    "Watchdog detected hard LOCKUP on cpu ",
    "CPU*: Watchdog detected hard LOCKUP on cpu ",
    NULL,
};

static const char *const lockdeps[] = {
    "WARNING: possible circular locking ",
    "WARNING: possible recursive locking ",
    "WARNING: possible irq lock inversion ",
    "WARNING: inconsistent lock state",
    "WARNING: suspicious RCU usage",
    "WARNING: bad unlock balance detected",
    "WARNING: bad contention detected",
    "WARNING: Nested lock was not taken",
    "WARNING: held lock freed",
    "WARNING: lock held when returning to user ",
    "WARNING: *-unsafe lock order detected",
    "WARNING: * still has locks held!",
    "INFO: possible circular locking ",
    "INFO: possible recursive locking ",
    "INFO: suspicious RCU usage",
    "[ BUG: Invalid wait context ]",
    NULL,
};

static const char *const hung_tasks[] = {"INFO: task * blocked for more than ", NULL};

static const char *const stalls[] = {
    "INFO: * self-detected stall on CPU",
    "INFO: * detected stalls on ",
    "INFO: * detected expedited stalls on ",
    NULL,
};

/* Too general for a line without the time: any complaint of the kernel, of its slab allocator, of
 * the lock validator. */
static const char *const stamped_bugs[] = {"BUG: ", "BUG *): ", NULL};
static const char *const stamped_lockdeps[] = {"[ BUG: * ]", NULL};

static const struct {
	enum pv_kernel_report_kind kind;
	bool only_stamped;
	const char *const *heads;
} shapes[] = {
    {PV_KERNEL_REPORT_PANIC,     false, panics	  },
    {PV_KERNEL_REPORT_OOPS,	    false, oopses		 },
    {PV_KERNEL_REPORT_BUG,	   false, bugs	      },
    {PV_KERNEL_REPORT_BUG,	   true,	 stamped_bugs    },
    {PV_KERNEL_REPORT_LOCKDEP,   false, lockdeps	      },
    {PV_KERNEL_REPORT_LOCKDEP,   true,  stamped_lockdeps},
    {PV_KERNEL_REPORT_HUNG_TASK, false, hung_tasks	  },
    {PV_KERNEL_REPORT_STALL,     false, stalls	  },
};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* What some files of the kernel put before all they print. */
static const char *const subsystems[] = {"watchdog: ", "NMI watchdog: ", "traps: ", "rcu: "};

#define SUBSYSTEMS (sizeof(subsystems) / sizeof(subsystems[0]))

const char *pv_kernel_report_name(enum pv_kernel_report_kind kind)
{
	switch (kind) {
	case PV_KERNEL_REPORT_NONE: break;
	case PV_KERNEL_REPORT_PANIC: return "kernel panic";
	case PV_KERNEL_REPORT_OOPS: return "kernel oops";
	case PV_KERNEL_REPORT_BUG: return "kernel BUG";
	case PV_KERNEL_REPORT_LOCKDEP: return "lockdep report";
	case PV_KERNEL_REPORT_HUNG_TASK: return "hung task";
	case PV_KERNEL_REPORT_STALL: return "RCU stall";
	}
	return "nothing";
}

/* --- what stands before the text --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool begins(const char *text, size_t len, const char *with)
{
	size_t count = strlen(with);
	return len >= count && memcmp(text, with, count) == 0;
}

/* The length of "<N>" at the front, or 0. */
static size_t level_length(const char *text, size_t len)
{
	size_t at = 1;
	if (len == 0 || text[0] != '<')
		return 0;
	while (at < len && at <= 3 && is_digit(text[at]))
		at++;
	return at > 1 && at < len && text[at] == '>' ? at + 1 : 0;
}

/* The length of "[   12.345678]" at the front, or 0: "[%5lu.%06lu]". */
static size_t time_length(const char *text, size_t len)
{
	size_t at = 1, digits = 0;
	if (len == 0 || text[0] != '[')
		return 0;
	while (at < len && text[at] == ' ')
		at++;
	for (; at < len && is_digit(text[at]); at++)
		digits++;
	/* As wide as its digits, and at least five. */
	if (digits == 0 || at - 1 != (digits > 5 ? digits : 5) || at > TIME_MAX - 8)
		return 0;
	if (len - at < 8 || text[at] != '.' || text[at + 7] != ']')
		return 0;
	for (size_t i = 1; i <= 6; i++) {
		if (!is_digit(text[at + i]))
			return 0;
	}
	return at + 8;
}

/* The length of "[    T1]" or "[    C0]" at the front, or 0. */
static size_t caller_length(const char *text, size_t len)
{
	size_t at = 1;
	if (len == 0 || text[0] != '[')
		return 0;
	while (at < len && text[at] == ' ')
		at++;
	if (at == len || (text[at] != 'T' && text[at] != 'C'))
		return 0;
	size_t digits = ++at;
	while (at < len && is_digit(text[at]))
		at++;
	return at > digits && at < len && text[at] == ']' ? at + 1 : 0;
}

size_t pv_kernel_report_time_at_end(const char *line, size_t len)
{
	size_t farthest = len < TIME_MAX ? len : TIME_MAX;
	if (len == 0 || line[len - 1] != ']')
		return 0;
	for (size_t back = 2; back <= farthest; back++) {
		if (line[len - back] == '[')
			return time_length(line + len - back, back) == back ? back : 0;
	}
	return 0;
}

struct pv_kernel_report_line pv_kernel_report_strip(const char *line, size_t len)
{
	size_t at = level_length(line, len);
	size_t time = time_length(line + at, len - at);
	at += time;
	if (time > 0)
		at += caller_length(line + at, len - at);
	if (time > 0 && at < len && line[at] == ' ')
		at++;
	for (size_t i = 0; i < SUBSYSTEMS; i++) {
		if (begins(line + at, len - at, subsystems[i])) {
			at += strlen(subsystems[i]);
			break;
		}
	}
	return (struct pv_kernel_report_line){
	    .text = line + at, .len = len - at, .stamped = time > 0};
}

/* --- heads --- */

/* Where the '*' of a head stands, or its end. */
static size_t fixed_length(const char *head)
{
	return strcspn(head, "*");
}

static bool matches(const char *head, const struct pv_kernel_report_line *line)
{
	size_t count = fixed_length(head);
	if (line->len < count || memcmp(line->text, head, count) != 0)
		return false;
	if (head[count] == '\0')
		return true;
	const char *later = head + count + 1;
	return memmem(line->text + count, line->len - count, later, strlen(later)) != NULL;
}

/* "<anything>: 0000 [#1]": the header of a trap in the kernel, whatever it is called. */
static bool has_oops_counter(const struct pv_kernel_report_line *line)
{
	const char *at = memmem(line->text, line->len, COUNTER, strlen(COUNTER));
	if (!line->stamped || at == NULL)
		return false;
	const char *digit = at;
	while (digit > line->text &&
	       ((digit[-1] >= '0' && digit[-1] <= '9') || (digit[-1] >= 'a' && digit[-1] <= 'f')))
		digit--;
	if (at - digit < 4 || at - digit > 16 || digit - line->text < 3 || digit[-1] != ' ' ||
	    digit[-2] != ':')
		return false;
	const char *number = at + strlen(COUNTER), *end = line->text + line->len;
	const char *stop = number;
	while (stop < end && is_digit(*stop))
		stop++;
	return stop > number && stop < end && *stop == ']';
}

enum pv_kernel_report_kind pv_kernel_report_classify(const char *line, size_t len)
{
	const struct pv_kernel_report_line text = pv_kernel_report_strip(line, len);
	for (size_t i = 0; i < SHAPES; i++) {
		if (shapes[i].only_stamped && !text.stamped)
			continue;
		for (const char *const *head = shapes[i].heads; *head != NULL; head++) {
			if (matches(*head, &text))
				return shapes[i].kind;
		}
	}
	return has_oops_counter(&text) ? PV_KERNEL_REPORT_OOPS : PV_KERNEL_REPORT_NONE;
}

/* True when the text is a beginning of `head`, or goes on behind its fixed part. */
static bool may_match(const char *head, const struct pv_kernel_report_line *line)
{
	size_t count = fixed_length(head);
	return memcmp(line->text, head, line->len < count ? line->len : count) == 0;
}

static size_t span_of(const char *text, size_t len, const char *accepted)
{
	size_t at = 0;
	while (at < len && text[at] != '\0' && strchr(accepted, text[at]) != NULL)
		at++;
	return at;
}

/* True for what could be a part of the time or of the caller; a prompt such as "[me@guest ~]# " is
 * none. */
static bool may_be_prefix(const struct pv_kernel_report_line *line)
{
	return line->len > 0 && line->text[0] == '[' && line->len < TIME_MAX &&
	       span_of(line->text, line->len, "[ 0123456789.]TC") == line->len;
}

bool pv_kernel_report_may_begin(const char *line, size_t len)
{
	const struct pv_kernel_report_line text = pv_kernel_report_strip(line, len);
	if (len == 0)
		return false;
	/* The prefix alone, or with a part of the time or the caller. */
	if (text.len == 0 || may_be_prefix(&text))
		return true;
	for (size_t i = 0; i < SHAPES; i++) {
		for (const char *const *head = shapes[i].heads; *head != NULL; head++) {
			if (may_match(*head, &text))
				return true;
		}
	}
	for (size_t i = 0; i < SUBSYSTEMS; i++) {
		if (may_match(subsystems[i], &text))
			return true;
	}
	return false;
}

/* --- ends --- */

/* The line of '=' that closes what the sanitizers print. */
static bool is_rule(const struct pv_kernel_report_line *line)
{
	size_t at = 0;
	while (at < line->len && line->text[at] == '=')
		at++;
	return at >= 20 && at == line->len;
}

bool pv_kernel_report_ends(enum pv_kernel_report_kind kind, const char *line, size_t len)
{
	const struct pv_kernel_report_line text = pv_kernel_report_strip(line, len);
	if (kind == PV_KERNEL_REPORT_BUG && is_rule(&text))
		return true;
	if (kind == PV_KERNEL_REPORT_PANIC)
		return begins(text.text, text.len, "---[ end Kernel panic");
	return begins(text.text, text.len, "---[ end trace ");
}

bool pv_kernel_report_goes_on(enum pv_kernel_report_kind open, enum pv_kernel_report_kind next)
{
	/* An oops has up to three heads, and a task that it kills in the wrong moment a BUG. */
	bool both_traps = (open == PV_KERNEL_REPORT_OOPS || open == PV_KERNEL_REPORT_BUG) &&
			  (next == PV_KERNEL_REPORT_OOPS || next == PV_KERNEL_REPORT_BUG);
	return open == next || open == PV_KERNEL_REPORT_PANIC || both_traps;
}

/* --- showing --- */

char *pv_kernel_report_show(const struct pv_kernel_report *report, char *out, size_t size)
{
	static const char rest[] = "\n...";
	int said = snprintf(out, size, "%s: %s", pv_kernel_report_name(report->kind), report->head);
	size_t used = said < 0 ? 0 : (size_t)said < size ? (size_t)said : size - 1;
	const char *at = (const char *)report->text.data;
	const char *end = at + report->text.len;
	/* The first line is there already. */
	const char *line = at ? memchr(at, '\n', report->text.len) : NULL;
	while (line && line + 1 < end) {
		const char *next = memchr(line + 1, '\n', (size_t)(end - line - 1));
		size_t len = (size_t)((next ? next : end) - line);
		bool last = !next || next + 1 >= end;
		if (used + len + (last ? 0 : sizeof(rest) - 1) >= size) {
			if (used + sizeof(rest) <= size)
				memcpy(out + used, rest, sizeof(rest));
			return out;
		}
		memcpy(out + used, line, len);
		used += len;
		out[used] = '\0';
		line = next;
	}
	return out;
}

void pv_kernel_report_finish(struct pv_kernel_report *report)
{
	if (report)
		pv_bytes_finish(&report->text);
}
