/*
 * The reference of the test language: consoles. What is written here is what users read, so a
 * change of behaviour changes its entry in the same commit. Constant, any thread.
 */
#include "lua/reference_entry.h"

static const struct pv_reference_entry entries[] = {
    ENTRY("Console", "read", METHOD, "console:read() -> ConsoleStream",
	"What the guest prints on its consoles from now on, until it is reset, shut down or gone.",
	"0.1"),
    ENTRY("Console", "read_log", METHOD, "console:read_log() -> string",
	"All that the guest wrote on its console since the first boot, as bytes.", "0.1"),
    ENTRY("Console", "expect", METHOD, "console:expect(pattern, timeout?) -> string",
	"Waits until the plain text `pattern` is in the log of the latest boot, at most 30 seconds "
	"or `timeout`, and returns it. Text that is there already counts.",
	"0.1"),
    ENTRY("Console", "write", METHOD, "console:write(data, opts?)",
	"Types on the guest's console. `opts.timeout` is how long to wait for a guest that does "
	"not read (30 seconds); 0 is for ever.",
	"0.1"),
    ENTRY(
	"Console", "close", METHOD, "console:close()", "Does nothing; there for symmetry.", "0.1"),
};

const struct pv_reference_table pv_reference_console = PV_REFERENCE_TABLE(entries);
