/*
 * Running one test file: a fresh Lua state, the file's chunk, then its tests one after another.
 * What happened is told through callbacks while it happens; nothing is printed. Everything here
 * runs on the calling thread, the script thread of the worker.
 */
#ifndef PV_LUA_RUN_H
#define PV_LUA_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pv_fixtures;
struct pv_host;
struct pv_lab_snapshot;
struct pv_snapshot;

/* Which tests run. More fields (tags) come; zeroed = every test that is not slow. */
struct pv_run_filter {
	bool include_slow;
};

/* A test as it is reported: all pointers are valid during the callback only. */
struct pv_run_test {
	const char *name;
	const void *meta; /* one encoded msgpack map with string keys (base/pack.h), to be copied
			     into an event as it is; `0x80` when empty */
	size_t meta_len;
};

/*
 * What the runner hears, on the script thread without the loop lock. NULL members are fine. All
 * text is valid UTF-8 without NUL bytes: what was something else became U+FFFD. Per test there is
 * either one test_skipped alone, or test_started, any number of test_log, and exactly one of
 * test_passed, test_failed, test_skipped.
 */
struct pv_run_events {
	void (*test_started)(void *ctx, const struct pv_run_test *test);
	/* One line (or more) of t:log. */
	void (*test_log)(void *ctx, const struct pv_run_test *test, const char *text);
	void (*test_passed)(void *ctx, const struct pv_run_test *test, int64_t duration_ns);
	/* `console` is the excerpt of each VM, empty when there was none; taken before anything is
	 * closed. */
	void (*test_failed)(void *ctx, const struct pv_run_test *test, int64_t duration_ns,
	    const char *reason, const char *console);
	void (*test_skipped)(void *ctx, const struct pv_run_test *test, const char *reason);
	/* The file's chunk could not be loaded or raised, or a guest's kernel reported trouble
	 * while no test ran: at most once, and then no further test runs. */
	void (*chunk_error)(void *ctx, const char *text);
	/* Something worth a line on stderr: warn() of the script, an error in a finalizer. */
	void (*note)(void *ctx, const char *text);
};

enum pv_run_status {
	PV_RUN_PASSED,	    /* every test passed or was skipped */
	PV_RUN_FAILED,	    /* a test failed */
	PV_RUN_CRASHED,	    /* chunk error, before the tests or behind them */
	PV_RUN_INTERRUPTED, /* the host was interrupted from outside: the test then running failed,
			       the rest did not run and is not reported */
};

struct pv_run_result {
	enum pv_run_status status;
	unsigned passed;
	unsigned failed;
	unsigned skipped;
	unsigned not_run; /* registered, but the run was interrupted before */
};

/* Zero it, then fill in. Nothing is owned or changed; all must stay valid during the run. */
struct pv_run_file {
	struct pv_host *host;
	const char *path; /* opened, and shown in positions (`tests/a.test.lua:12:`): give the
			     root-relative or working-directory-relative form */
	const char *name; /* root-relative, for texts */
	/* Each entry puts `<root>/?.lua;<root>/?/init.lua;` in front of package.path, the first
	 * root first. */
	const char *const *roots;
	size_t root_count;
	/* How to get fixtures; NULL: there are none. */
	const struct pv_fixtures *fixtures;
	struct pv_run_filter filter;
	/* For tests without a limit of their own or of the file; 0 = none. */
	int64_t default_timeout_ns;
	/* Bytes that the Lua state may hold before allocations fail with "not enough memory"; 0 =
	 * PV_RUN_MEMORY_DEFAULT. */
	size_t memory_limit;
	/*
	 * NULL, or set to true by the runner before it calls pv_host_interrupt to end the file (its
	 * deadline, Ctrl-C): when a test's own limit ends at the same moment its interrupt is
	 * cleared, and then this says that no further test may begin.
	 */
	const atomic_bool *stop;
	const struct pv_run_events *events;
	void *events_ctx;
};

#define PV_RUN_MEMORY_DEFAULT (UINT64_C(4) << 30)

/*
 * Runs the file to its end and closes everything it made: all its VMs are shut down and released
 * when this returns. `result` is always filled; trouble of any kind (also out of memory) is
 * reported through it and the callbacks.
 *
 * Time limits: a test's own limit is kept here (the loop's timer interrupts the host and the
 * interrupt is cleared afterwards). The file's limit is the runner's: it calls
 * pv_host_interrupt(host, reason) from any thread and this function returns soon with
 * PV_RUN_INTERRUPTED; the interrupt is left for the runner to clear. Lua code, loops that swallow
 * errors with pcall and coroutines included, is stopped; what cannot be stopped is one call of a C
 * function of the Lua library that takes very long (a pathological string.find, os.execute) and a
 * finalizer that loops: the runner's last resort for these is to kill the worker.
 */
void pv_run_file(const struct pv_run_file *file, struct pv_run_result *result);

/* What the source of a fixture gave: a snapshot of a VM or of a lab, or why there is none. */
struct pv_run_fixture {
	struct pv_snapshot *snapshot;
	struct pv_lab_snapshot *lab_snapshot;
	/* The error with its place in the source, and the consoles of the guests behind it: valid
	 * UTF-8, ends in a NUL that is not counted. */
	struct pv_bytes failure;
};

/*
 * Runs the source of a fixture as the chunk of a file is run (`filter` and `default_timeout_ns` do
 * not matter, of the events only `note` is told), with the same rules about time limits. A fixture
 * returns its snapshot; with `legacy` one of the VM that it made last is taken. The caller finishes
 * the result.
 */
void pv_run_fixture(const struct pv_run_file *file, bool legacy, struct pv_run_fixture *result);
void pv_run_fixture_finish(struct pv_run_fixture *result);

/* "passed", "failed", "crashed", "interrupted". */
const char *pv_run_status_name(enum pv_run_status status);

#endif
