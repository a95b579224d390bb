/*
 * The inside of a template, shared by template*.c, machine_state.c and machine_restore.c.
 */
#ifndef PV_VMM_TEMPLATE_PRIVATE_H
#define PV_VMM_TEMPLATE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "vmm/ram_image.h"
#include "vmm/template.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm_state.h"

struct pv_doc;
struct pv_err;
struct pv_val;
struct pv_working_set;

struct pv_template {
	unsigned references;
	char *file;		  /* where it was read from, for sentences; NULL: made here */
	struct pv_ram_image *ram; /* a reference */
	struct pv_bytes state;	  /* as pv_machine_state_save wrote it */
	struct pv_bytes owner;
	struct pv_working_set *working_set; /* owned; NULL: not known */

	/* What is in `state`, parsed once for all machines that go on from it. */
	struct pv_doc *doc;
	const struct pv_val *root;
	unsigned cpus;
	bool has_devices;
	uint64_t vsock_cid;
	bool has_rng_seed;
	uint64_t rng_seed;
	struct pv_vm_state chips;
	struct pv_vcpu_state *vcpus;
};

/*
 * A template out of its parts: takes `state` and the reference of the image, also on failure.
 * `file` is copied and may be NULL. The state may come from a file: what is not checked here is
 * checked when it is loaded into a machine. Returns 0, -EBADMSG or -ENOMEM.
 */
int pv_template_make(struct pv_template **out, const char *file, struct pv_bytes *state,
    struct pv_ram_image *ram, struct pv_err *err);

/* As pv_template_open for a descriptor (not owned) whose file is called `name`; for the fuzzer too.
 */
int pv_template_read(
    struct pv_template **out, int fd, const char *name, bool verify_ram, struct pv_err *err);

#endif
