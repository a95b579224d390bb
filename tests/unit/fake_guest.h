/*
 * What a fake VM is (fake_lab.h), for the parts of the fake: fake_lab.c has the host, the VMs and
 * their consoles, fake_snapshot.c snapshots and baselines, fake_agent.c programs and files.
 */
#ifndef PV_TESTS_UNIT_FAKE_GUEST_H
#define PV_TESTS_UNIT_FAKE_GUEST_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "lab/vm_private.h"

struct pv_host;

struct fake_file {
	char *path;
	struct pv_bytes content;
	unsigned mode;
};

struct pv_agent {
	struct pv_host *host;
	const char *vm;
	struct pv_loop_timer timer;
	char later[128];    /* what the timer reports */
	char settling[128]; /* or pv_verdict_settle */
	struct fake_file *files;
	size_t file_count;
};

/* lab/vm_private.h has a `struct pv_vm` of its own; this one hides behind it. */
struct fake_vm {
	struct pv_vm vm;
	struct pv_bytes console;
	struct pv_agent agent;
};

#endif
