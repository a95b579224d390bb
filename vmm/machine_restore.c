/*
 * Freezing a machine, building one that goes on from a template, and taking one back in place.
 *
 * All three work on machines that are paused, or not known to anybody yet, under the loop lock; it
 * is dropped, with the machine kept busy, for copying RAM. The order of building is that of
 * kvm_vm.c: memory slots before everything that touches an I/O bus. A restored machine has no
 * threads until it first goes on.
 *
 * RAM has to be frozen after the state is taken, because KVM writes into guest memory when it is
 * asked for some of it; and has its old content before the state is loaded, because setting clocks
 * and registers reads it.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "vmm/kvm.h"
#include "vmm/machine_private.h"
#include "vmm/spare.h"
#include "vmm/template_private.h"
#include "vmm/working_set.h"

/* --- freeze --- */

/* [locked, begun] */
static int make_template(struct pv_machine *machine, struct pv_template **out, struct pv_err *err)
{
	struct pv_bytes state = {0};
	struct pv_ram_image *image;
	int code = pv_machine_state_save(machine, &state, err);
	if (code < 0)
		goto fail;
	pv_loop_unlock(machine->loop);
	code = pv_ram_freeze(&machine->ram, &image, err);
	pv_loop_lock(machine->loop);
	if (code < 0)
		goto fail;
	return pv_template_make(out, NULL, &state, image, err);

fail:
	pv_bytes_finish(&state);
	return code;
}

int pv_machine_freeze(struct pv_machine *machine, struct pv_template **out, struct pv_err *err)
{
	*out = NULL;
	int code = pv_machine_begin_paused(machine, "freeze", err);
	if (code < 0)
		return code;
	struct pv_template *template = NULL;
	code = make_template(machine, &template, err);
	if (code == 0) {
		pv_template_unref(machine->template);
		machine->template = pv_template_ref(template);
		*out = template;
	}
	pv_machine_end(machine);
	return code;
}

/* --- restore --- */

static struct pv_machine *outline(struct pv_kvm *kvm, struct pv_loop *loop,
    const struct pv_template *template, const struct pv_machine_restore *options,
    struct pv_err *err)
{
	struct pv_machine_config config =
	    options->boot ? *options->boot : (struct pv_machine_config){0};
	config.memory_bytes = template->ram->size;
	config.cpus = template->cpus;
	config.vsock_cid = template->vsock_cid;
	config.rng_seed = template->has_rng_seed && !options->reseed ? &template->rng_seed : NULL;
	config.initial_time_ns = NULL;
	config.no_devices = !template->has_devices;
	struct pv_machine *machine = pv_machine_outline(kvm, loop, &config, err);
	if (!machine)
		return NULL;
	machine->adopt = options->adopt;
	machine->adopt_ctx = options->adopt_ctx;
	return machine;
}

/* [locked] */
static int load(struct pv_machine *machine, struct pv_template *template,
    const struct pv_machine_restore *options, struct pv_err *err)
{
	int code = machine->no_devices ? 0 : pv_machine_devices_init(machine, err);
	if (code == 0)
		code = pv_machine_state_load(machine, template, err);
	if (code < 0)
		return code;
	if (options->reseed)
		machine->rng.seeded = false;
	if (options->clock_now)
		pv_guest_clock_jump(&machine->clock, pv_clock_wall());
	machine->template = pv_template_ref(template);
	machine->state = PV_MACHINE_PAUSED;
	return 0;
}

/* RAM and a virtual machine around it: a spare one, or a new one. */
static int get_vm(struct pv_machine *machine, struct pv_template *template, struct pv_err *err)
{
	struct pv_kvm *kvm = machine->kvm;
	struct pv_spare spare;
	const bool is_spare = !machine->no_devices &&
			      pv_spare_take(kvm->spares, machine->cpus, template->ram, &spare);
	if (is_spare)
		machine->vm = spare.vm;
	int code = pv_ram_init_private(&machine->ram, kvm->ram_pool, template->ram,
	    is_spare ? &spare.ram : NULL, template->working_set, err);
	if (code < 0 || is_spare)
		return code;
	return pv_kvm_vm_init(
	    &machine->vm, kvm, &machine->ram, machine->cpus, !machine->no_devices, err);
}

static int build(struct pv_machine *machine, struct pv_template *template,
    const struct pv_machine_restore *options, struct pv_err *err)
{
	int code = pv_ram_image_check(template->ram, err);
	if (code < 0)
		return code;
	code = get_vm(machine, template, err);
	if (code < 0)
		return code;
	pv_guest_clock_init(&machine->clock, &machine->vm, 0);
	pv_gsi_init(&machine->gsi, &machine->vm);
	code = pv_machine_init_crew(machine, err);
	if (code < 0)
		return code;
	pv_loop_lock(machine->loop);
	code = load(machine, template, options, err);
	pv_loop_unlock(machine->loop);
	return code;
}

static int explain(const struct pv_template *template, struct pv_err *err)
{
	return template->file ? pv_err_prefix(err, "snapshot `%s`", template->file)
			      : pv_err_prefix(err, "the machine cannot be restored");
}

int pv_machine_restore(struct pv_machine **out, struct pv_kvm *kvm, struct pv_loop *loop,
    struct pv_template *template, const struct pv_machine_restore *options, struct pv_err *err)
{
	*out = NULL;
	if (template->cpus > kvm->max_vcpus)
		return pv_err_set(err, PV_ERR_SYSTEM, ENOTSUP,
		    "the snapshot has %u vCPUs, and KVM allows %u here", template->cpus,
		    kvm->max_vcpus);
	struct pv_machine *machine = outline(kvm, loop, template, options, err);
	if (!machine)
		return -ENOMEM;
	int code = build(machine, template, options, err);
	if (code < 0) {
		pv_machine_take_apart(machine);
		return explain(template, err);
	}
	machine->complete = true;
	*out = machine;
	return 0;
}

struct pv_working_set *pv_machine_take_working_set(struct pv_machine *machine)
{
	if (!machine->ram.fresh)
		return NULL;
	machine->ram.fresh = false;
	return pv_working_set_take(&machine->ram);
}

/* --- rewind --- */

const struct pv_template *pv_machine_template(const struct pv_machine *machine)
{
	return machine->template;
}

void pv_machine_set_adopt(struct pv_machine *machine, pv_machine_adopt *adopt, void *adopt_ctx)
{
	machine->adopt = adopt;
	machine->adopt_ctx = adopt_ctx;
}

void pv_machine_announce_late(struct pv_machine *machine)
{
	machine->announces_late = true;
}

/* [locked, begun] Devices let go of their rings and connections while memory is still theirs. */
static void reset_devices(struct pv_machine *machine)
{
	for (unsigned i = 0; i < PV_PCI_HOST_SLOTS; i++) {
		if (machine->slots[i].pci)
			pv_virtio_pci_reset(machine->slots[i].pci);
	}
}

/* [locked, begun] */
static int take_back(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_ram_image_check(machine->template->ram, err);
	pv_machine_hold_bells(machine);
	reset_devices(machine);
	if (code == 0)
		code = pv_ram_rewind(&machine->ram, machine->template->ram, err);
	if (code == 0)
		code = pv_machine_state_load(machine, machine->template, err);
	pv_machine_let_go_bells(machine);
	if (code == 0) {
		if (!machine->has_rng_seed)
			pv_generation_make(machine->generation, NULL);
		return 0;
	}
	explain(machine->template, err);
	pv_machine_wish_stop(machine, PV_MACHINE_STOP_CRASHED, err->text);
	pv_machine_settle(machine);
	return code;
}

static int refuse_rewind(struct pv_err *err)
{
	return pv_err_set(err, PV_ERR_STATE, EINVAL,
	    "cannot rewind a machine that was neither frozen nor restored");
}

int pv_machine_check_rewind(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_machine_begin_paused(machine, "rewind", err);
	if (code < 0)
		return code;
	if (!machine->template)
		code = refuse_rewind(err);
	else if (pv_ram_image_check(machine->template->ram, err) < 0)
		code = explain(machine->template, err);
	pv_machine_end(machine);
	return code;
}

int pv_machine_rewind(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_machine_begin_paused(machine, "rewind", err);
	if (code < 0)
		return code;
	if (machine->template)
		code = take_back(machine, err);
	else
		code = refuse_rewind(err);
	pv_machine_end(machine);
	return code;
}

int pv_machine_set_date(struct pv_machine *machine, int64_t wall_ns, struct pv_err *err)
{
	int code = pv_machine_begin_paused(machine, "set the date of", err);
	if (code < 0)
		return code;
	pv_guest_clock_jump(&machine->clock, wall_ns);
	pv_machine_end(machine);
	return 0;
}
