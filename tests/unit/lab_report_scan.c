/*
 * Reports in the stream of a console: whole ones as kernels print them, in pieces of every length,
 * among the text of programs, on one console or two, once each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lab/report_scan.h"

struct ear {
	struct pv_report_scan scan;
	struct pv_bytes heads; /* "<name>: <head>\n" of each report */
	struct pv_bytes text;  /* of the last report */
	unsigned count;
};

static void hear(void *ctx, const struct pv_kernel_report *report)
{
	struct ear *ear = ctx;
	ear->count++;
	pv_bytes_printf(&ear->heads, "%s: %s\n", pv_kernel_report_name(report->kind), report->head);
	pv_bytes_finish(&ear->text);
	pv_bytes_append(&ear->text, report->text.data, report->text.len);
}

static void listen(struct ear *ear)
{
	memset(ear, 0, sizeof(*ear));
	pv_report_scan_init(&ear->scan, hear, ear);
}

static void stop(struct ear *ear)
{
	pv_report_scan_finish(&ear->scan);
	pv_bytes_finish(&ear->heads);
	pv_bytes_finish(&ear->text);
}

static void print(struct ear *ear, unsigned console, const char *text)
{
	pv_report_scan_feed(&ear->scan, console, text, strlen(text));
}

static const char *heads(struct ear *ear)
{
	const char *text = pv_bytes_text(&ear->heads);
	return text != NULL && ear->heads.len > 0 ? text : "";
}

static const char *text(struct ear *ear)
{
	const char *all = pv_bytes_text(&ear->text);
	return all != NULL && ear->text.len > 0 ? all : "";
}

static const char oops[] =
    "[    5.000001] x: loading out-of-tree module taints kernel.\r\n"
    "[    5.123456] BUG: kernel NULL pointer dereference, address: 0000000000000000\r\n"
    "[    5.123460] #PF: supervisor write access in kernel mode\r\n"
    "[    5.123463] #PF: error_code(0x0002) - not-present page\r\n"
    "[    5.123466] PGD 0 P4D 0 \r\n"
    "[    5.123470] Oops: 0002 [#1] PREEMPT SMP NOPTI\r\n"
    "[    5.123475] CPU: 0 PID: 77 Comm: insmod Tainted: G           O       6.1.0-13 #1\r\n"
    "[    5.123480] RIP: 0010:init_module+0x5/0x1000 [x]\r\n"
    "[    5.123490] Call Trace:\r\n"
    "[    5.123492]  <TASK>\r\n"
    "[    5.123495]  do_one_initcall+0x46/0x1f0\r\n"
    "[    5.123500]  </TASK>\r\n"
    "[    5.123505] ---[ end trace 0000000000000000 ]---\r\n"
    "[    5.123510] RIP: 0010:init_module+0x5/0x1000 [x]\r\n"
    "[    5.123520] note: insmod[77] exited with irqs disabled\r\n";

static const char oops_head[] =
    "kernel oops: BUG: kernel NULL pointer dereference, address: 0000000000000000\n";

static const char panic[] = "[    7.000000] sysrq: Trigger a crash\r\n"
			    "[    7.000001] Kernel panic - not syncing: sysrq triggered crash\r\n"
			    "[    7.000002] CPU: 0 PID: 80 Comm: sh Not tainted 6.1.0-13\r\n"
			    "[    7.000003] Call Trace:\r\n"
			    "[    7.000004]  panic+0x118/0x2ed\r\n"
			    "[    7.000005] Kernel Offset: disabled\r\n"
			    "[    7.000006] ---[ end Kernel panic - not syncing: sysrq triggered "
			    "crash ]---\r\n";

static const char panic_head[] =
    "kernel panic: Kernel panic - not syncing: sysrq triggered crash\n";

static void an_oops_is_told_once_and_whole(void **state)
{
	struct ear ear;
	listen(&ear);
	print(&ear, 0, oops);
	assert_string_equal(heads(&ear), oops_head);
	assert_int_equal(pv_report_scan_state(&ear.scan), PV_REPORT_SCAN_QUIET);
	static const char first[] = "[    5.123456] BUG: kernel NULL pointer";
	assert_memory_equal(text(&ear), first, strlen(first));
	assert_non_null(strstr(text(&ear), "\n[    5.123470] Oops: 0002 [#1] PREEMPT SMP NOPTI\n"));
	static const char last[] = "---[ end trace 0000000000000000 ]---\n";
	assert_string_equal(text(&ear) + ear.text.len - strlen(last), last);
	assert_null(strchr(text(&ear), '\r'));
	stop(&ear);
}

static void pieces_of_any_length_are_the_same(void **state)
{
	static const size_t lengths[] = {1, 2, 3, 7, 16, 31, 33, 64, 100, 1000};
	for (size_t n = 0; n < sizeof(lengths) / sizeof(lengths[0]); n++) {
		struct ear ear;
		listen(&ear);
		for (size_t at = 0; at < strlen(oops); at += lengths[n]) {
			size_t left = strlen(oops) - at;
			pv_report_scan_feed(
			    &ear.scan, 0, oops + at, left < lengths[n] ? left : lengths[n]);
		}
		assert_string_equal(heads(&ear), oops_head);
		stop(&ear);
	}
}

static void a_panic_behind_an_oops_is_a_report_of_its_own(void **state)
{
	struct ear ear;
	char expected[512];
	listen(&ear);
	print(&ear, 0, "[    4.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]\n");
	print(&ear, 0, "[    4.000001] CPU: 0 PID: 1\n");
	print(&ear, 0, panic);
	snprintf(expected, sizeof(expected),
	    "kernel BUG: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]\n%s", panic_head);
	assert_string_equal(heads(&ear), expected);
	assert_null(strstr(text(&ear), "soft lockup"));
	stop(&ear);
}

static void a_bug_and_its_trap_are_one_report(void **state)
{
	struct ear ear;
	listen(&ear);
	print(&ear, 0,
	    "[    1.000000] ------------[ cut here ]------------\n"
	    "[    1.000001] kernel BUG at fs/x.c:1!\n"
	    "[    1.000002] invalid opcode: 0000 [#1] PREEMPT SMP\n"
	    "[    1.000003] ---[ end trace 0000000000000000 ]---\n");
	assert_string_equal(heads(&ear), "kernel BUG: kernel BUG at fs/x.c:1!\n");
	stop(&ear);
}

static void a_report_without_an_end_mark_ends_in_silence(void **state)
{
	struct ear ear;
	listen(&ear);
	print(&ear, 0,
	    "[  241.000000] INFO: task cat:101 blocked for more than 120 seconds.\n"
	    "[  241.000001]       Not tainted 6.1.0-13-cloud-amd64\n"
	    "[  241.000002] task:cat  state:D stack:0 pid:101\n");
	assert_int_equal(ear.count, 0);
	assert_int_equal(pv_report_scan_state(&ear.scan), PV_REPORT_SCAN_COLLECTING);
	pv_report_scan_silent(&ear.scan);
	assert_string_equal(
	    heads(&ear), "hung task: INFO: task cat:101 blocked for more than 120 seconds.\n");
	assert_non_null(strstr(text(&ear), "task:cat  state:D"));
	assert_int_equal(pv_report_scan_state(&ear.scan), PV_REPORT_SCAN_QUIET);
	/* The next one is another event. */
	print(&ear, 0, "[  361.000000] INFO: task cat:101 blocked for more than 241 seconds.\n");
	pv_report_scan_silent(&ear.scan);
	assert_int_equal(ear.count, 2);
	stop(&ear);
}

static void the_rest_of_a_report_that_was_told_early_is_no_second_one(void **state)
{
	struct ear ear;
	listen(&ear);
	print(&ear, 0, "[    5.123456] BUG: kernel NULL pointer dereference, address: 0\n");
	pv_report_scan_hurry(&ear.scan);
	assert_int_equal(ear.count, 1);
	assert_int_equal(pv_report_scan_state(&ear.scan), PV_REPORT_SCAN_TRAILING);
	print(&ear, 0,
	    "[    5.123470] Oops: 0002 [#1] PREEMPT SMP NOPTI\n"
	    "[    5.123475] ---[ end trace 0000000000000000 ]---\n");
	pv_report_scan_hurry(&ear.scan);
	pv_report_scan_silent(&ear.scan);
	assert_int_equal(ear.count, 1);
	/* A panic is. */
	print(&ear, 0, panic);
	assert_int_equal(ear.count, 2);
	stop(&ear);
}

static void two_consoles_tell_it_once(void **state)
{
	/* Line by line, as printk does; report by report; and both in both orders. */
	for (unsigned first = 0; first < 2; first++) {
		struct ear ear;
		listen(&ear);
		for (const char *at = oops; *at;) {
			size_t len = strcspn(at, "\n") + 1;
			pv_report_scan_feed(&ear.scan, first, at, len);
			pv_report_scan_feed(&ear.scan, !first, at, len);
			at += len;
		}
		print(&ear, first, panic);
		print(&ear, !first, panic);
		assert_int_equal(ear.count, 2);
		pv_report_scan_silent(&ear.scan);
		/* Later the same happens again: another time, another report. */
		print(&ear, !first, "[   99.000000] BUG: unable to handle page fault for x\n");
		print(&ear, first, "[   99.000000] BUG: unable to handle page fault for x\n");
		pv_report_scan_silent(&ear.scan);
		assert_int_equal(ear.count, 3);
		stop(&ear);
	}
}

static void the_same_line_twice_on_one_console_is_two_reports(void **state)
{
	struct ear ear;
	listen(&ear);
	for (int i = 0; i < 3; i++) {
		print(&ear, 0, "BUG: scheduling while atomic: a/1/0x00000002\n");
		pv_report_scan_silent(&ear.scan);
	}
	assert_int_equal(ear.count, 3);
	stop(&ear);
}

static void what_programs_leave_on_the_line_does_not_hide_it(void **state)
{
	static const char *const before[] = {"~ # ", "login: ", "........", "\033[0;32m", "[", "]",
	    "\r50%\r", "a [    1.000000] b ", "<3>", "[    1.000000] half a line of another "};
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		struct ear ear;
		listen(&ear);
		print(&ear, 0, before[i]);
		print(&ear, 0, panic + strlen("[    7.000000] sysrq: Trigger a crash\r\n"));
		if (strcmp(heads(&ear), panic_head) != 0)
			fail_msg("behind `%s`: %s", before[i], heads(&ear));
		stop(&ear);
	}
}

static void a_long_line_does_not_hide_it(void **state)
{
	/* Every length around the edges, so that the time falls on each of them. */
	for (size_t len = PV_REPORT_SCAN_LINE_MAX - 80; len < 2 * PV_REPORT_SCAN_LINE_MAX; len++) {
		struct ear ear;
		listen(&ear);
		for (size_t i = 0; i < len; i++)
			print(&ear, 0, ".");
		print(&ear, 0, "[    7.000000][    T1] Kernel panic - not syncing: x\n");
		pv_report_scan_silent(&ear.scan);
		if (ear.count != 1)
			fail_msg("behind %zu dots", len);
		stop(&ear);
	}
}

static void a_piece_of_a_long_line_is_no_line(void **state)
{
	struct ear ear;
	listen(&ear);
	for (size_t i = 0; i < 3 * PV_REPORT_SCAN_LINE_MAX; i++)
		print(&ear, 0, "Kernel panic - not syncing" + i % 26 * (i > 0));
	print(&ear, 0, "\n");
	pv_report_scan_silent(&ear.scan);
	/* The line begins so; its pieces do not count. */
	assert_int_equal(ear.count, 1);
	stop(&ear);
}

static void a_report_is_bounded(void **state)
{
	struct ear ear;
	listen(&ear);
	print(&ear, 0, "[    1.000000] Kernel panic - not syncing: long\n");
	for (int i = 0; i < 2 * PV_KERNEL_REPORT_LINES_MAX; i++)
		print(&ear, 0, "[    1.000001]  a line of it\n");
	assert_int_equal(ear.count, 1);
	assert_true(ear.text.len <= PV_KERNEL_REPORT_TEXT_MAX);
	pv_report_scan_silent(&ear.scan);
	print(&ear, 0, "[    2.000000] Kernel panic - not syncing: wide\n");
	for (int i = 0; i < 100; i++) {
		for (int n = 0; n < 100; n++)
			print(&ear, 0, "0123456789");
		print(&ear, 0, "\n");
	}
	assert_int_equal(ear.count, 2);
	assert_true(ear.text.len <= PV_KERNEL_REPORT_TEXT_MAX);
	stop(&ear);
}

static void hostile_bytes_are_harmless_in_the_text(void **state)
{
	struct ear ear;
	static const char head[] =
	    "[    1.000000] Kernel panic - not sy\0ncing: \033[2J\xff\x01 x\t.\n";
	listen(&ear);
	pv_report_scan_feed(&ear.scan, 1, head, sizeof(head) - 1);
	pv_report_scan_silent(&ear.scan);
	assert_string_equal(heads(&ear), "kernel panic: Kernel panic - not syncing: ?[2J?? x\t.\n");
	stop(&ear);
}

static void a_restart_tells_what_was_begun_and_forgets(void **state)
{
	struct ear ear;
	listen(&ear);
	/* The guest was gone before the end of the line. */
	print(&ear, 0, "[    1.000000] Kernel panic - not syncing: cut");
	assert_true(pv_report_scan_may_begin(&ear.scan));
	assert_int_equal(ear.count, 0);
	pv_report_scan_restart(&ear.scan);
	assert_string_equal(heads(&ear), "kernel panic: Kernel panic - not syncing: cut\n");
	assert_false(pv_report_scan_may_begin(&ear.scan));
	/* The next guest may say the very same, on the other console. */
	print(&ear, 1, "[    1.000000] Kernel panic - not syncing: cut\n");
	pv_report_scan_restart(&ear.scan);
	assert_int_equal(ear.count, 2);
	print(&ear, 0, "[    1.000000] Kernel pan");
	pv_report_scan_restart(&ear.scan);
	print(&ear, 0, "ic - not syncing: x\n");
	pv_report_scan_restart(&ear.scan);
	assert_int_equal(ear.count, 2);
	stop(&ear);
}

static void an_ordinary_boot_is_no_report(void **state)
{
	static const char boot[] =
	    "[    0.000000] Linux version 6.1.0-13-cloud-amd64 (debian-kernel@lists.debian.org)\r\n"
	    "[    0.000000] Command line: console=ttyS0 oops=panic panic=-1\r\n"
	    "[    0.004000] Spectre V2 : WARNING: Unprivileged eBPF is enabled\r\n"
	    "[    0.100000] rcu: Hierarchical SRCU implementation.\r\n"
	    "[    0.200000] BUGS: none\r\n"
	    "[    0.300000] WARNING: CPU: 0 PID: 1 at arch/x86/x.c:12 y+0x10/0x20\r\n"
	    "[    0.300001] ---[ end trace 0000000000000000 ]---\r\n"
	    "[    1.000000] Run /init as init process\r\n"
	    "BUG: this is what the test of a parser prints\r\n"
	    "expecting `Kernel panic - not syncing` in the log\r\n"
	    "~ # ";
	struct ear ear;
	listen(&ear);
	print(&ear, 0, boot);
	pv_report_scan_silent(&ear.scan);
	pv_report_scan_restart(&ear.scan);
	assert_string_equal(heads(&ear), "");
	stop(&ear);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_oops_is_told_once_and_whole),
	    cmocka_unit_test(pieces_of_any_length_are_the_same),
	    cmocka_unit_test(a_panic_behind_an_oops_is_a_report_of_its_own),
	    cmocka_unit_test(a_bug_and_its_trap_are_one_report),
	    cmocka_unit_test(a_report_without_an_end_mark_ends_in_silence),
	    cmocka_unit_test(the_rest_of_a_report_that_was_told_early_is_no_second_one),
	    cmocka_unit_test(two_consoles_tell_it_once),
	    cmocka_unit_test(the_same_line_twice_on_one_console_is_two_reports),
	    cmocka_unit_test(what_programs_leave_on_the_line_does_not_hide_it),
	    cmocka_unit_test(a_long_line_does_not_hide_it),
	    cmocka_unit_test(a_piece_of_a_long_line_is_no_line),
	    cmocka_unit_test(a_report_is_bounded),
	    cmocka_unit_test(hostile_bytes_are_harmless_in_the_text),
	    cmocka_unit_test(a_restart_tells_what_was_begun_and_forgets),
	    cmocka_unit_test(an_ordinary_boot_is_no_report),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
