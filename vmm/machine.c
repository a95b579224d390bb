/*
 * Assembly: checks a configuration, copies it, and puts memory, virtual machine and devices
 * together; takes them apart again.
 *
 * The other parts: machine_boot.c (first instruction), machine_devices.c and machine_slots.c (what
 * is on the buses), machine_exit.c (what vCPUs ask for), machine_run.c (states). The threads and
 * locks are described in vcpu.c and machine_run.c. Machines that continue from a frozen one are
 * put together in machine_restore.c.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/clock.h"
#include "base/err.h"
#include "vmm/coalesced.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"
#include "vmm/machine_private.h"
#include "vmm/reap.h"
#include "vmm/spare.h"
#include "vmm/template.h"

#define PAGE	      UINT64_C(4096)
#define MIB	      (UINT64_C(1) << 20)
#define REAL_MODE_END 0xa0000u
#define CID_MIN	      3
/* The wall time of kvmclock has 32 bits of seconds. */
#define TIME_MAX (INT64_C(0xffffffff) * PV_CLOCK_SECOND)

/* Descriptors and mappings that destroying gives to the background. */
#define REAP_FDS(cpus)	    (PV_KVM_VM_REAP_FDS(cpus) + 1)
#define REAP_MAPPINGS(cpus) (PV_KVM_VM_REAP_MAPPINGS(cpus) + 1)

static const struct pv_crew_ops CREW_OPS = {
    .exited = pv_machine_exited,
    .failed = pv_machine_failed,
    .all_parked = pv_machine_all_parked,
};

static int check_memory(uint64_t bytes, struct pv_err *err)
{
	struct sysinfo host;
	if (bytes < PV_LAYOUT_MEMORY_MIN) {
		char value[32];
		if (bytes >= MIB || bytes == 0)
			snprintf(
			    value, sizeof(value), "%llu MiB", (unsigned long long)(bytes / MIB));
		else
			snprintf(value, sizeof(value), "%llu bytes", (unsigned long long)bytes);
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "memory of %s is too small; give at least %lluM", value,
		    (unsigned long long)(PV_LAYOUT_MEMORY_MIN / MIB));
	}
	if (sysinfo(&host) < 0)
		return 0;
	uint64_t most = (uint64_t)host.totalram * host.mem_unit;
	if (bytes > most)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "memory of %llu MiB is more than this host has; give at most %lluM",
		    (unsigned long long)(bytes / MIB), (unsigned long long)(most / MIB));
	return 0;
}

static int check_payload(const struct pv_machine_config *config, struct pv_err *err)
{
	if (!config->payload.data || config->payload.len == 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "nothing to run: a machine needs a kernel or a payload");
	if (config->payload_gpa % 16 != 0 || config->payload_gpa >= REAL_MODE_END ||
	    config->payload.len > REAL_MODE_END - config->payload_gpa)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "payload of %zu bytes at 0x%llx: real mode needs a multiple of 16 and an end "
		    "below 0xa0000",
		    config->payload.len, (unsigned long long)config->payload_gpa);
	return 0;
}

static int check(
    const struct pv_kvm *kvm, const struct pv_machine_config *config, struct pv_err *err)
{
	unsigned most = kvm->max_vcpus < PV_LAYOUT_CPUS_MAX ? kvm->max_vcpus : PV_LAYOUT_CPUS_MAX;
	if (config->cpus < 1 || config->cpus > most)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "a machine with %u vCPUs cannot be built; give 1 to %u", config->cpus, most);
	if (!config->no_devices && config->vsock_cid < CID_MIN)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "vsock address %llu is reserved; give %u or above",
		    (unsigned long long)config->vsock_cid, CID_MIN);
	if (config->initial_time_ns && *config->initial_time_ns > TIME_MAX)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "the initial time lies after 2106, which kvmclock cannot tell; give an earlier "
		    "one");
	if (config->initial_time_ns && *config->initial_time_ns < 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "the initial time lies before 1970; give a later one");
	int code = check_memory(config->memory_bytes, err);
	if (code < 0 || config->kernel)
		return code;
	return check_payload(config, err);
}

static int copy_config(
    struct pv_machine *machine, const struct pv_machine_config *config, struct pv_err *err)
{
	machine->memory_bytes = (config->memory_bytes + PAGE - 1) & ~(PAGE - 1);
	machine->cpus = config->cpus;
	machine->kernel = config->kernel;
	machine->cmdline = strdup(config->cmdline ? config->cmdline : "");
	machine->initrd_parts = config->initrd_parts;
	machine->initrd = calloc(config->initrd_parts + 1, sizeof(machine->initrd[0]));
	if (!machine->cmdline || !machine->initrd)
		return pv_err_nomem(err, "machine");
	if (config->initrd_parts > 0)
		memcpy(machine->initrd, config->initrd,
		    config->initrd_parts * sizeof(machine->initrd[0]));
	machine->fetch = config->fetch;
	machine->fetch_ctx = config->fetch_ctx;
	machine->vsock_cid = config->vsock_cid;
	machine->has_rng_seed = config->rng_seed != NULL;
	machine->rng_seed = config->rng_seed ? *config->rng_seed : 0;
	pv_generation_make(machine->generation, config->rng_seed);
	machine->has_initial_time = config->initial_time_ns != NULL;
	machine->initial_time_ns =
	    config->initial_time_ns ? *config->initial_time_ns : pv_clock_wall();
	machine->no_devices = config->no_devices;
	machine->payload_gpa = config->payload_gpa;
	if (!config->kernel && config->payload.len > 0 &&
	    pv_bytes_append(&machine->payload, config->payload.data, config->payload.len) < 0)
		return pv_err_nomem(err, "payload");
	if (config->events)
		machine->events = *config->events;
	machine->events_ctx = config->events_ctx;
	return 0;
}

/* Memory, virtual machine, devices and the first instruction. */
static int assemble(struct pv_machine *machine, struct pv_err *err)
{
	int code = pv_ram_init(&machine->ram, machine->kvm->ram_pool, machine->memory_bytes, err);
	if (code < 0)
		return code;
	code = pv_kvm_vm_init(
	    &machine->vm, machine->kvm, &machine->ram, machine->cpus, !machine->no_devices, err);
	if (code < 0)
		return code;
	if (!machine->no_devices)
		machine->vm.coalesced = pv_coalesced_begin(&machine->vm);
	pv_guest_clock_init(&machine->clock, &machine->vm, machine->initial_time_ns);
	pv_gsi_init(&machine->gsi, &machine->vm);
	if (!machine->no_devices) {
		pv_loop_lock(machine->loop);
		code = pv_machine_devices_init(machine, err);
		pv_loop_unlock(machine->loop);
		if (code < 0)
			return code;
	}
	code = pv_machine_load(machine, err);
	if (code < 0)
		return code;
	code = pv_machine_set_entry(machine, &machine->vm, err);
	if (code < 0)
		return code;
	return pv_machine_init_crew(machine, err);
}

int pv_machine_init_crew(struct pv_machine *machine, struct pv_err *err)
{
	return pv_crew_init(&machine->crew, &machine->vm, machine->cpus, &CREW_OPS, machine, err);
}

/*
 * Tests that restore one guest after the other take turns with few virtual machines. One whose
 * guest crashed is not trusted, and one whose TSC was scaled is not like a new one.
 */
static bool is_reusable(const struct pv_machine *machine)
{
	return machine->complete && machine->template && machine->vm.irqchip &&
	       machine->stop.kind != PV_MACHINE_STOP_CRASHED && !machine->clock.scaled;
}

/* The virtual machine and the place of RAM, with the doorbells that are there already. */
static void give_spare(struct pv_machine *machine, struct pv_spare *spare)
{
	pv_gsi_lower(&machine->gsi);
	spare->vm = machine->vm;
	spare->ram = machine->ram;
	machine->ram = (struct pv_ram){.fd = -1};
	if (!pv_ram_is_private(&spare->ram))
		pv_ram_leave(&spare->ram);
	if (!pv_spare_give(machine->kvm->spares, spare))
		pv_spare_finish(spare, machine->kvm->reaper);
}

static void give_back(struct pv_machine *machine)
{
	struct pv_reap *reap = pv_reap_create(
	    machine->kvm->reaper, REAP_FDS(machine->cpus), REAP_MAPPINGS(machine->cpus));
	pv_kvm_vm_finish(&machine->vm, reap);
	pv_ram_finish(&machine->ram, reap);
	pv_reap_start(reap);
}

void pv_machine_take_apart(struct pv_machine *machine)
{
	struct pv_spare spare = {.vm.fd = -1};
	bool is_spare = false;
	pv_crew_finish(&machine->crew);
	if (!machine->no_devices) {
		pv_loop_lock(machine->loop);
		is_spare = is_reusable(machine) && pv_machine_give_bells(machine, &spare) == 0;
		pv_machine_devices_finish(machine);
		pv_loop_unlock(machine->loop);
	}
	if (is_spare)
		give_spare(machine, &spare);
	else
		give_back(machine);
	pv_template_unref(machine->template);
	pv_guest_clock_finish(&machine->clock);
	pv_bytes_finish(&machine->payload);
	free(machine->initrd);
	free(machine->cmdline);
	free(machine);
}

/* Out of memory is all that can go wrong. */
struct pv_machine *pv_machine_outline(struct pv_kvm *kvm, struct pv_loop *loop,
    const struct pv_machine_config *config, struct pv_err *err)
{
	struct pv_machine *machine = calloc(1, sizeof(*machine));
	if (!machine) {
		pv_err_nomem(err, "machine");
		return NULL;
	}
	machine->kvm = kvm;
	machine->loop = loop;
	machine->vm.fd = -1;
	machine->no_devices = config->no_devices;
	if (copy_config(machine, config, err) < 0) {
		pv_machine_take_apart(machine);
		return NULL;
	}
	return machine;
}

int pv_machine_create(struct pv_machine **out, struct pv_kvm *kvm, struct pv_loop *loop,
    const struct pv_machine_config *config, struct pv_err *err)
{
	*out = NULL;
	int code = check(kvm, config, err);
	if (code < 0)
		return code;
	struct pv_machine *machine = pv_machine_outline(kvm, loop, config, err);
	if (!machine)
		return -ENOMEM;
	code = assemble(machine, err);
	if (code < 0) {
		pv_machine_take_apart(machine);
		return code;
	}
	machine->complete = true;
	*out = machine;
	return 0;
}

void pv_machine_destroy(struct pv_machine *machine)
{
	if (!machine)
		return;
	pv_machine_stop(machine);
	pv_machine_take_apart(machine);
}

enum pv_machine_state pv_machine_state(const struct pv_machine *machine)
{
	return machine->state;
}

const struct pv_machine_stop *pv_machine_stop_reason(const struct pv_machine *machine)
{
	return &machine->stop;
}

const struct pv_gmem *pv_machine_memory(const struct pv_machine *machine)
{
	return &machine->ram.mem;
}
