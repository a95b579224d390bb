/*
 * The reference of the test language: clocks. What is written here is what users read, so a change
 * of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("Clock", "get", METHOD, "clock:get() -> number",
	"The guest's wall clock (CLOCK_REALTIME) in seconds since 1970.", "0.1"),
    ENTRY("Clock", "get_ns", METHOD, "clock:get_ns() -> integer",
	"The same in nanoseconds, exactly.", "0.1"),
    ENTRY("Clock", "set", METHOD, "clock:set(seconds)",
	"Sets the guest's wall clock, with fractions of a second. What counts from the boot is not "
	"touched.",
	"0.1"),
    ENTRY("Clock", "set_ns", METHOD, "clock:set_ns(nanoseconds)", "The same in nanoseconds.",
	"0.1"),
    ENTRY("Clock", "sleep", METHOD, "clock:sleep(duration)",
	"Returns when so much of the guest's own time has passed.", "0.1"),
    ENTRY("Clock", "advance", METHOD, "clock:advance(duration, opts?)",
	"Moves the guest's wall clock by seconds or a string such as `\"-2s\"`, forward or back. "
	"With `opts.monotonic` all time of the guest goes on by `duration`, timers and the "
	"monotonic clock with it: what is due by then happens now. That is done in steps of five "
	"minutes, in each of which what repeats happens once.",
	"0.1"),
    ENTRY("AdvanceOptions", "monotonic", OPTION, "boolean",
	"Move what counts from the boot as well. Forward only, up to ten years; a day takes about "
	"a second of an idle guest.",
	"0.1"),
};

const struct pv_reference_table pv_reference_clock = PV_REFERENCE_TABLE(entries);
