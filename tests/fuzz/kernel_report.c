/*
 * Fuzz target: the consoles of a guest whose kernel goes wrong, or pretends to. The input is what
 * they print, with orders among it: byte 1 changes the console, 2 and 3 are the owner's clock, 4 is
 * a reboot. Each report must be printable text within its limits.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lab/report_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		__builtin_trap();
}

static void hear(void *ctx, const struct pv_kernel_report *report)
{
	char shown[300];
	size_t *sum = ctx;
	check(report->kind != PV_KERNEL_REPORT_NONE);
	check(report->head[0] != '\0' && strlen(report->head) < PV_KERNEL_REPORT_HEAD_MAX);
	check(report->text.len <= PV_KERNEL_REPORT_TEXT_MAX);
	for (size_t i = 0; i < report->text.len; i++) {
		uint8_t c = report->text.data[i];
		check((c >= 0x20 && c < 0x7f) || c == '\t' || c == '\n');
	}
	for (size_t room = 1; room <= sizeof(shown); room += 37)
		check(strlen(pv_kernel_report_show(report, shown, room)) < room);
	*sum += strlen(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_report_scan scan;
	size_t sum = 0;
	unsigned console = 0;
	pv_report_scan_init(&scan, hear, &sum);
	for (size_t at = 0; at < size;) {
		size_t len = 0;
		while (at + len < size && (data[at + len] == 0 || data[at + len] > 4))
			len++;
		pv_report_scan_feed(&scan, console, data + at, len);
		at += len;
		if (at == size)
			break;
		switch (data[at++]) {
		case 1: console = !console; break;
		case 2: pv_report_scan_hurry(&scan); break;
		case 3: pv_report_scan_silent(&scan); break;
		default: pv_report_scan_restart(&scan); break;
		}
		(void)pv_report_scan_may_begin(&scan);
	}
	pv_report_scan_restart(&scan);
	check(pv_report_scan_state(&scan) == PV_REPORT_SCAN_QUIET);
	pv_report_scan_finish(&scan);
	return 0;
}
