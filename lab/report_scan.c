/*
 * From bytes to reports. Each console has a line of its own, because two of them may be in the
 * middle of one at the same time. A line ends with CR or LF; NUL bytes are left out. printk does
 * not care whether a program has left its line unfinished ("login: [   12.345678] Oops ..."), so
 * printk's time begins a line, too, wherever it comes. A line that does not fit is looked at piece
 * by piece, with as much overlap as a time is long, and only its first piece counts as its
 * beginning.
 *
 * A report begins with a head (lab/kernel_report.h) and is told once: at its end mark, at the limit
 * of its size, or when the owner says so, who has the clock. Lines that come afterwards trail: a
 * head among them that belongs to the same event is no second report, until an end mark or silence.
 *
 * With two consoles of the kernel each line comes twice. printk's time makes lines unique, so a
 * head that the other console has printed to the letter is its twin: collected in the same way, so
 * that its further heads are swallowed, but not told. That may take place in either order, line by
 * line or report by report.
 *
 * The guest is hostile: everything is bounded, and the worst it can do is to hide or invent reports
 * about itself.
 */
#include "lab/report_scan.h"

#include <string.h>

/* Longer than printk's time. */
#define OVERLAP 32

void pv_report_scan_init(struct pv_report_scan *scan,
    void (*told)(void *ctx, const struct pv_kernel_report *report), void *ctx)
{
	memset(scan, 0, sizeof(*scan));
	scan->told = told;
	scan->ctx = ctx;
}

void pv_report_scan_finish(struct pv_report_scan *scan)
{
	for (unsigned i = 0; i < PV_REPORT_SCAN_CONSOLES; i++)
		pv_kernel_report_finish(&scan->consoles[i].report);
}

/* --- twins --- */

/* True when another console has begun a report with the same line; that one is used up. Otherwise
 * the line is kept for the other console. */
static bool find_twin(struct pv_report_scan *scan, unsigned console, const char *line, size_t len)
{
	if (len >= sizeof(scan->twins[0].line))
		len = sizeof(scan->twins[0].line) - 1;
	for (unsigned i = 0; i < PV_REPORT_SCAN_TWINS_MAX; i++) {
		if (scan->twins[i].console != console && strlen(scan->twins[i].line) == len &&
		    memcmp(scan->twins[i].line, line, len) == 0) {
			scan->twins[i].line[0] = '\0';
			return true;
		}
	}
	char *kept = scan->twins[scan->next_twin].line;
	memcpy(kept, line, len);
	kept[len] = '\0';
	scan->twins[scan->next_twin].console = console;
	scan->next_twin = (scan->next_twin + 1) % PV_REPORT_SCAN_TWINS_MAX;
	return false;
}

/* --- a report --- */

static void tell(struct pv_report_scan *scan, struct pv_report_scan_console *console)
{
	if (console->state != PV_REPORT_SCAN_COLLECTING)
		return;
	console->state = PV_REPORT_SCAN_TRAILING;
	if (!console->is_twin)
		scan->told(scan->ctx, &console->report);
}

static void clean(char *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (text[i] >= 0x20 && text[i] < 0x7f) || text[i] == '\t' ? text[i] : '?';
}

/* Out of memory, and beyond the limit, the rest is left out. */
static void add_line(struct pv_report_scan *scan, struct pv_report_scan_console *console,
    const char *line, size_t len)
{
	struct pv_bytes *text = &console->report.text;
	if (console->state != PV_REPORT_SCAN_COLLECTING)
		return;
	if (text->len + len + 1 <= PV_KERNEL_REPORT_TEXT_MAX &&
	    pv_bytes_reserve(text, len + 1) == 0) {
		clean((char *)text->data + text->len, line, len);
		text->data[text->len + len] = '\n';
		text->len += len + 1;
	}
	if (++console->lines == PV_KERNEL_REPORT_LINES_MAX ||
	    text->len + len + 1 > PV_KERNEL_REPORT_TEXT_MAX)
		tell(scan, console);
}

static void begin(struct pv_report_scan *scan, struct pv_report_scan_console *console,
    enum pv_kernel_report_kind kind, const char *line, size_t len)
{
	struct pv_kernel_report *report = &console->report;
	const struct pv_kernel_report_line head = pv_kernel_report_strip(line, len);
	size_t count = head.len < sizeof(report->head) - 1 ? head.len : sizeof(report->head) - 1;
	pv_kernel_report_finish(report);
	report->kind = kind;
	clean(report->head, head.text, count);
	report->head[count] = '\0';
	console->lines = 0;
	console->state = PV_REPORT_SCAN_COLLECTING;
	console->is_twin = find_twin(scan, (unsigned)(console - scan->consoles), line, len);
	add_line(scan, console, line, len);
}

/* A whole line, or a piece of one; not empty. */
static void take_line(struct pv_report_scan *scan, struct pv_report_scan_console *console,
    const char *line, size_t len, bool is_fragment)
{
	enum pv_kernel_report_kind kind =
	    is_fragment ? PV_KERNEL_REPORT_NONE : pv_kernel_report_classify(line, len);
	bool is_open = console->state != PV_REPORT_SCAN_QUIET;
	if (kind != PV_KERNEL_REPORT_NONE &&
	    !(is_open && pv_kernel_report_goes_on(console->report.kind, kind))) {
		tell(scan, console);
		begin(scan, console, kind, line, len);
		return;
	}
	if (!is_open)
		return;
	add_line(scan, console, line, len);
	if (!is_fragment && pv_kernel_report_ends(console->report.kind, line, len)) {
		tell(scan, console);
		console->state = PV_REPORT_SCAN_QUIET;
	}
}

/* --- lines --- */

/* Looks at the first `len` bytes of the line and takes them away. */
static void end_line(
    struct pv_report_scan *scan, struct pv_report_scan_console *console, size_t len)
{
	if (len > console->seen)
		take_line(scan, console, console->line + console->seen, len - console->seen,
		    console->is_fragment);
	memmove(console->line, console->line + len, console->len - len);
	console->len -= len;
	console->seen = 0;
	console->is_fragment = false;
}

/* Makes room by looking at what is there; the end stays, for a time may begin in it. */
static void end_piece(struct pv_report_scan *scan, struct pv_report_scan_console *console)
{
	take_line(scan, console, console->line + console->seen, console->len - console->seen,
	    console->is_fragment);
	memmove(console->line, console->line + console->len - OVERLAP, OVERLAP);
	console->len = console->seen = OVERLAP;
	console->is_fragment = true;
}

/* Takes away what a program has left on the line before the kernel's own began. */
static void end_line_before_time(
    struct pv_report_scan *scan, struct pv_report_scan_console *console)
{
	size_t time = pv_kernel_report_time_at_end(console->line, console->len - 1);
	size_t before = console->len - 1 - time;
	/* The level may stand before the time. */
	if (time == 0 || pv_kernel_report_strip(console->line, before).len == 0)
		return;
	if (console->seen > before)
		console->seen = before;
	end_line(scan, console, before);
}

static void take_byte(struct pv_report_scan *scan, struct pv_report_scan_console *console, char c)
{
	if (c == '\n' || c == '\r') {
		end_line(scan, console, console->len);
		return;
	}
	if (c == '\0')
		return;
	if (console->len == sizeof(console->line))
		end_piece(scan, console);
	console->line[console->len++] = c;
	/* Behind the time there is a blank, or the caller in brackets. */
	if (c == ' ' || c == '[')
		end_line_before_time(scan, console);
}

void pv_report_scan_feed(
    struct pv_report_scan *scan, unsigned console, const void *data, size_t len)
{
	const char *bytes = data;
	for (size_t i = 0; i < len; i++)
		take_byte(scan, &scan->consoles[console], bytes[i]);
}

/* --- for the owner --- */

enum pv_report_scan_state pv_report_scan_state(const struct pv_report_scan *scan)
{
	enum pv_report_scan_state state = PV_REPORT_SCAN_QUIET;
	for (unsigned i = 0; i < PV_REPORT_SCAN_CONSOLES; i++) {
		if (scan->consoles[i].state == PV_REPORT_SCAN_COLLECTING)
			return PV_REPORT_SCAN_COLLECTING;
		if (scan->consoles[i].state == PV_REPORT_SCAN_TRAILING)
			state = PV_REPORT_SCAN_TRAILING;
	}
	return state;
}

bool pv_report_scan_may_begin(const struct pv_report_scan *scan)
{
	for (unsigned i = 0; i < PV_REPORT_SCAN_CONSOLES; i++) {
		const struct pv_report_scan_console *console = &scan->consoles[i];
		if (!console->is_fragment &&
		    pv_kernel_report_may_begin(console->line, console->len))
			return true;
	}
	return false;
}

void pv_report_scan_hurry(struct pv_report_scan *scan)
{
	for (unsigned i = 0; i < PV_REPORT_SCAN_CONSOLES; i++)
		tell(scan, &scan->consoles[i]);
}

void pv_report_scan_silent(struct pv_report_scan *scan)
{
	for (unsigned i = 0; i < PV_REPORT_SCAN_CONSOLES; i++) {
		tell(scan, &scan->consoles[i]);
		scan->consoles[i].state = PV_REPORT_SCAN_QUIET;
	}
}

void pv_report_scan_restart(struct pv_report_scan *scan)
{
	for (unsigned i = 0; i < PV_REPORT_SCAN_CONSOLES; i++)
		end_line(scan, &scan->consoles[i], scan->consoles[i].len);
	pv_report_scan_silent(scan);
	for (unsigned i = 0; i < PV_REPORT_SCAN_TWINS_MAX; i++)
		scan->twins[i].line[0] = '\0';
}
