/*
 * What a Lua file refers to, as far as its text says so: fixtures, modules, scripts and files of
 * the host that are named by literal strings. Nothing is run.
 */
#ifndef PV_LAB_FIXTURE_SCAN_H
#define PV_LAB_FIXTURE_SCAN_H

#include <stddef.h>

struct pv_err;

enum pv_fixture_ref_kind {
	PV_FIXTURE_REF_FIXTURE, /* vm_fixture("x"), lab_fixture("x") */
	PV_FIXTURE_REF_LEGACY,	/* provium.fixture("x") */
	PV_FIXTURE_REF_MODULE,	/* require("x") */
	PV_FIXTURE_REF_SCRIPT,	/* dofile("x"), loadfile("x") */
	PV_FIXTURE_REF_FILE,	/* push_file("x", ...), depends_on_file("x") */
	PV_FIXTURE_REF_FOLDER,	/* push_dir("x", ...) */
};

struct pv_fixture_ref {
	enum pv_fixture_ref_kind kind;
	char *text; /* not empty */
};

/* In the order of the text; the same one may be there more than once. */
struct pv_fixture_refs {
	struct pv_fixture_ref *items;
	size_t count;
};

/*
 * Finds the references of `text`, which need not be valid Lua. A reference counts when its first
 * argument is a string, or strings joined by `..`; `push_file` and `push_dir` do not when
 * `auto_dep = false` is written in the call. Any thread. Returns 0 or -ENOMEM; the caller finishes `refs` in both cases.
 */
int pv_fixture_scan(struct pv_fixture_refs *refs, const char *text, size_t len, struct pv_err *err);

void pv_fixture_refs_finish(struct pv_fixture_refs *refs);

#endif
