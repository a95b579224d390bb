/*
 * Which lines begin a report of the kernel: those that kernels print, with all that printk puts
 * before them, and none that only look alike.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lab/kernel_report.h"

static enum pv_kernel_report_kind classify(const char *line)
{
	return pv_kernel_report_classify(line, strlen(line));
}

struct sample {
	enum pv_kernel_report_kind kind;
	const char *text;
};

/* Lines as kernels of several versions print them, without prefix. */
static const struct sample samples[] = {
    {PV_KERNEL_REPORT_PANIC,     "Kernel panic - not syncing: sysrq triggered crash"			},
    {PV_KERNEL_REPORT_PANIC,
	"Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"		},
    {PV_KERNEL_REPORT_PANIC,     "PANIC: early exception 0x0e IP 10:ffffffff83a1b2c3 error 0 cr2 0x8"},
    {PV_KERNEL_REPORT_PANIC,     "traps: PANIC: double fault, error_code: 0x0"			  },
    {PV_KERNEL_REPORT_OOPS,	    "BUG: kernel NULL pointer dereference, address: 0000000000000000"   },
    {PV_KERNEL_REPORT_OOPS,	    "BUG: unable to handle page fault for address: ffffc90000a5f000"    },
    {PV_KERNEL_REPORT_OOPS,	    "BUG: unable to handle kernel paging request at 00000000deadbeef"   },
    {PV_KERNEL_REPORT_OOPS,	    "Oops: 0002 [#1] PREEMPT SMP NOPTI"				       },
    {PV_KERNEL_REPORT_OOPS,	    "Oops: Oops: 0000 [#3] SMP"					       },
    {PV_KERNEL_REPORT_OOPS,
	"general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]"
	" SMP"										       },
    {PV_KERNEL_REPORT_OOPS,	    "invalid opcode: 0000 [#1] PREEMPT SMP PTI"			       },
    {PV_KERNEL_REPORT_OOPS,	    "divide error: 0000 [#12] SMP"					  },
    {PV_KERNEL_REPORT_OOPS,	    "Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP"	     },
    {PV_KERNEL_REPORT_OOPS,
	"Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000"	      },
    {PV_KERNEL_REPORT_BUG,	   "kernel BUG at fs/ext4/inode.c:2721!"				},
    {PV_KERNEL_REPORT_BUG,	   "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:117]"	   },
    {PV_KERNEL_REPORT_BUG,	   "NMI watchdog: Watchdog detected hard LOCKUP on cpu 2"		 },
    {PV_KERNEL_REPORT_BUG,	   "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 2"		   },
    {PV_KERNEL_REPORT_BUG,	   "BUG: scheduling while atomic: swapper/0/0/0x00000100"		 },
    {PV_KERNEL_REPORT_BUG,
	"BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580"		  },
    {PV_KERNEL_REPORT_BUG,	   "BUG: using smp_processor_id() in preemptible [00000000] code: x/1" },
    {PV_KERNEL_REPORT_BUG,	   "BUG: KASAN: slab-out-of-bounds in kmalloc_oob_right+0x5b/0x90 [x]" },
    {PV_KERNEL_REPORT_BUG,	   "BUG: Bad page state in process kworker/0:1  pfn:1234"		 },
    {PV_KERNEL_REPORT_BUG,
	"BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 38s!"		    },
    {PV_KERNEL_REPORT_BUG,	   "UBSAN: shift-out-of-bounds in drivers/x/y.c:10:20"		      },
    {PV_KERNEL_REPORT_LOCKDEP,   "WARNING: possible circular locking dependency detected"	       },
    {PV_KERNEL_REPORT_LOCKDEP,   "WARNING: possible recursive locking detected"			     },
    {PV_KERNEL_REPORT_LOCKDEP,   "WARNING: inconsistent lock state"					 },
    {PV_KERNEL_REPORT_LOCKDEP,   "WARNING: suspicious RCU usage"				      },
    {PV_KERNEL_REPORT_LOCKDEP,   "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected"	    },
    {PV_KERNEL_REPORT_LOCKDEP,   "WARNING: rmmod/213 still has locks held!"				 },
    {PV_KERNEL_REPORT_LOCKDEP,   "[ BUG: Invalid wait context ]"				      },
    {PV_KERNEL_REPORT_HUNG_TASK, "INFO: task kworker/u4:2:93 blocked for more than 120 seconds."	},
    {PV_KERNEL_REPORT_STALL,     "rcu: INFO: rcu_preempt self-detected stall on CPU"			},
    {PV_KERNEL_REPORT_STALL,     "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:"		  },
    {PV_KERNEL_REPORT_STALL,     "rcu: INFO: rcu_tasks detected stalls on tasks:"		     },
    {PV_KERNEL_REPORT_STALL,
	"rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... } 26 jiffies"	      },
};

#define SAMPLES (sizeof(samples) / sizeof(samples[0]))

static const char *const prefixes[] = {"", "[    0.000000] ", "[   12.345678] ", "[86400.000001] ",
    "[1234567.123456] ", "<0>[   12.345678] ", "<4>", "[   12.345678][    T1] ",
    "[   12.345678][ T1234] ", "[   12.345678][    C0] "};

#define PREFIXES (sizeof(prefixes) / sizeof(prefixes[0]))

static void lines_of_kernels_are_told_by_their_kind(void **state)
{
	for (size_t i = 0; i < SAMPLES; i++) {
		for (size_t p = 0; p < PREFIXES; p++) {
			char line[256];
			snprintf(line, sizeof(line), "%s%s", prefixes[p], samples[i].text);
			if (classify(line) != samples[i].kind)
				fail_msg("%s: %d, not %d", line, classify(line), samples[i].kind);
		}
	}
}

static void a_line_with_time_may_be_any_complaint(void **state)
{
	static const struct sample own[] = {
	    {PV_KERNEL_REPORT_BUG,	   "[   12.345678] BUG: Dentry 0000000012345678{i=1,n=x} in use"},
	    {PV_KERNEL_REPORT_BUG,
		"[   12.345678] BUG kmalloc-8 (Not tainted): Poison overwritten"			},
	    {PV_KERNEL_REPORT_LOCKDEP, "[   12.345678] [ BUG: bad unlock balance detected! ]"	     },
	    {PV_KERNEL_REPORT_OOPS,    "[   12.345678] a trap nobody knew: 0000 [#1] SMP"	      },
	};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		assert_int_equal(classify(own[i].text), own[i].kind);
		/* The same without the time could be a program's. */
		assert_int_equal(classify(own[i].text + 15), PV_KERNEL_REPORT_NONE);
	}
}

static void what_only_looks_alike_is_nothing(void **state)
{
	static const char *const others[] = {
	    "",
	    "[   12.345678] ",
	    /* Programs that talk about it. */
	    "test: BUG: soft lockup - CPU#0 stuck for 22s!",
	    "checking for Kernel panic - not syncing",
	    "BUG: the parser does not take this",
	    "BUG",
	    "BUG: ",
	    "Oops, that did not work",
	    "Oops: file 12 is gone",
	    "PANIC: cannot open the door",
	    "kernel BUG at hand",
	    "WARNING: possible loss of data",
	    "INFO: task 12 done",
	    "INFO: no stalls detected on line 3",
	    "[   12.345678] systemd[1]: BUG: soft lockup - CPU#0 stuck for 22s!",
	    "[   12.345678] audit: text=\"Kernel panic - not syncing\"",
	    "UBSAN: disabled",
	    /* Times that printk does not print. */
	    "[1.2] BUG: x",
	    "[    1.12345] BUG: x",
	    "[    1.1234567] BUG: x",
	    "[      1.123456] BUG: x y",
	    "[12345678901234567890123.123456] BUG: x",
	    "[ 12.345678] BUG: x",
	    "[12:30:01] BUG: x",
	    /* The kernel about programs, and what it complains about lightly. */
	    "[   12.345678] traps: a[12] general protection fault ip:401126 sp:7ffc error:0 in "
	    "a[1]",
	    "[   12.345678] a[12]: segfault at 0 ip 0000000000401126 sp 00007ffc error 4 in a[1]",
	    "[   12.345678] WARNING: CPU: 0 PID: 1 at kernel/x.c:12 y+0x10/0x20",
	    "[   12.345678] ------------[ cut here ]------------",
	    "[   12.345678] ---[ end trace 0000000000000000 ]---",
	    "[   12.345678] sysrq: Trigger a crash",
	    "[   12.345678] Out of memory: Killed process 12 (a) total-vm:1kB",
	    "[   12.345678] EXT4-fs error (device vda): x: comm y: bad",
	    "[   12.345678] md: raid [#1] done",
	    "[   12.345678] x: zzzz [#1]",
	    "[   12.345678] x: 0000 [#]",
	    "[   12.345678] x: 0000 [#1",
	    "[   12.345678] INFO: lockdep is turned off.",
	};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (classify(others[i]) != PV_KERNEL_REPORT_NONE)
			fail_msg("`%s` was taken for a %s", others[i],
			    pv_kernel_report_name(classify(others[i])));
	}
}

static void every_beginning_of_a_head_may_become_one(void **state)
{
	for (size_t i = 0; i < SAMPLES; i++) {
		for (size_t p = 0; p < PREFIXES; p++) {
			char line[256];
			int len =
			    snprintf(line, sizeof(line), "%s%s", prefixes[p], samples[i].text);
			size_t from = prefixes[p][0] == '<' ? 3 : 1;
			for (size_t cut = from; cut <= (size_t)len; cut++) {
				if (!pv_kernel_report_may_begin(line, cut))
					fail_msg("`%.*s`", (int)cut, line);
			}
		}
	}
	static const char *const others[] = {
	    "", "~ # ", "login: ", "...", "x", "[   12.345678] x", "Starting", "[me@guest ~]# "};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(pv_kernel_report_may_begin(others[i], strlen(others[i])));
}

static void the_time_is_found_at_the_end(void **state)
{
	static const char line[] = "login: [   12.345678]";
	assert_int_equal(pv_kernel_report_time_at_end(line, sizeof(line) - 1), 14);
	assert_int_equal(pv_kernel_report_time_at_end(line + 7, 14), 14);
	assert_int_equal(pv_kernel_report_time_at_end(line + 8, 13), 0);
	assert_int_equal(pv_kernel_report_time_at_end(line, sizeof(line) - 2), 0);
	assert_int_equal(pv_kernel_report_time_at_end("[a]", 3), 0);
	assert_int_equal(pv_kernel_report_time_at_end("]", 1), 0);
	assert_int_equal(pv_kernel_report_time_at_end("", 0), 0);
}

static void reports_end_at_their_marks(void **state)
{
	static const char trace[] = "[    1.000000] ---[ end trace 0000000000000000 ]---";
	static const char panic[] = "[    1.000000] ---[ end Kernel panic - not syncing: x ]---";
	static const char rule[] = "[    1.000000] ==============================";
	assert_true(pv_kernel_report_ends(PV_KERNEL_REPORT_OOPS, trace, strlen(trace)));
	assert_false(pv_kernel_report_ends(PV_KERNEL_REPORT_PANIC, trace, strlen(trace)));
	assert_true(pv_kernel_report_ends(PV_KERNEL_REPORT_PANIC, panic, strlen(panic)));
	assert_true(pv_kernel_report_ends(PV_KERNEL_REPORT_BUG, rule, strlen(rule)));
	assert_false(pv_kernel_report_ends(PV_KERNEL_REPORT_LOCKDEP, rule, strlen(rule)));
	assert_false(pv_kernel_report_ends(PV_KERNEL_REPORT_OOPS, "", 0));
}

static void showing_keeps_whole_lines_that_fit(void **state)
{
	struct pv_kernel_report report = {
	    .kind = PV_KERNEL_REPORT_OOPS, .head = "Oops: 0000 [#1] SMP"};
	char out[128], small[40], tiny[8];
	pv_bytes_printf(&report.text, "[1] Oops: 0000 [#1] SMP\nsecond\nthird\n");
	assert_string_equal(pv_kernel_report_show(&report, out, sizeof(out)),
	    "kernel oops: Oops: 0000 [#1] SMP\nsecond\nthird");
	/* Each length, so that no edge writes too far. */
	for (size_t size = 1; size < sizeof(out); size++) {
		memset(out, 'x', sizeof(out));
		pv_kernel_report_show(&report, out, size);
		assert_true(strlen(out) < size);
	}
	assert_string_equal(
	    pv_kernel_report_show(&report, small, 37), "kernel oops: Oops: 0000 [#1] SMP\n...");
	assert_string_equal(pv_kernel_report_show(&report, tiny, sizeof(tiny)), "kernel ");
	pv_kernel_report_finish(&report);
	assert_string_equal(
	    pv_kernel_report_show(&report, out, sizeof(out)), "kernel oops: Oops: 0000 [#1] SMP");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_of_kernels_are_told_by_their_kind),
	    cmocka_unit_test(a_line_with_time_may_be_any_complaint),
	    cmocka_unit_test(what_only_looks_alike_is_nothing),
	    cmocka_unit_test(every_beginning_of_a_head_may_become_one),
	    cmocka_unit_test(the_time_is_found_at_the_end),
	    cmocka_unit_test(reports_end_at_their_marks),
	    cmocka_unit_test(showing_keeps_whole_lines_that_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
