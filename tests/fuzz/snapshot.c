/*
 * Snapshot files that hold anything. The first byte of the input chooses: 0, the rest is the file;
 * otherwise the rest is the state of a machine in a file whose checksums are right. What is
 * accepted is loaded into the devices of a machine that has no KVM behind it, which then go on:
 * their rings lie in memory of zeroes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/pack.h"
#include "vmm/kvm.h"
#include "vmm/machine_private.h"
#include "vmm/ram_sum.h"
#include "vmm/template_private.h"

#define HEADER_SIZE 4096u
#define HEADER_HASH (HEADER_SIZE - 64)
#define RAM_SIZE    (UINT64_C(16) << 20)
#define INPUT_MAX   (256u << 10)

static void put_all(int fd, const void *data, size_t len, uint64_t at)
{
	if (pwrite(fd, data, len, (off_t)at) != (ssize_t)len)
		abort();
}

/* As vmm/template_file.c writes them; a second opinion on the format. */
static void write_file(int fd, const uint8_t *machine, size_t len)
{
	static const uint8_t sums[RAM_SIZE / PV_RAM_SUM_BLOCK * 8];
	uint8_t header[HEADER_SIZE] = "\x89PVSNAP\n";
	char text[PV_HASH_TEXT];
	struct pv_bytes state = {0};
	struct pv_pack pack = {.out = &state};
	pv_pack_map(&pack, 4);
	pv_pack_str(&pack, "machine");
	pv_pack_bin(&pack, machine, len);
	pv_pack_str(&pack, "owner");
	pv_pack_bin(&pack, "owner", 5);
	pv_pack_str(&pack, "block");
	pv_pack_uint(&pack, PV_RAM_SUM_BLOCK);
	pv_pack_str(&pack, "sums");
	pv_pack_bin(&pack, sums, sizeof(sums));
	if (pack.status < 0)
		abort();
	pv_put_le32(header + 8, 1);
	memcpy(header + 16, "x86_64", 6);
	pv_put_le64(header + 32, HEADER_SIZE + RAM_SIZE + state.len);
	pv_put_le64(header + 40, HEADER_SIZE);
	pv_put_le64(header + 48, RAM_SIZE);
	pv_put_le64(header + 56, HEADER_SIZE + RAM_SIZE);
	pv_put_le64(header + 64, state.len);
	memcpy(header + 72, pv_hash_of(state.data, state.len, text), 64);
	memcpy(header + HEADER_HASH, pv_hash_of(header, HEADER_HASH, text), 64);
	put_all(fd, header, sizeof(header), 0);
	put_all(fd, state.data, state.len, HEADER_SIZE + RAM_SIZE);
	pv_bytes_finish(&state);
}

static bool adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port,
    const struct pv_stream_port_ops **ops, void **port_ctx)
{
	return false;
}

/* Loads what can be loaded without KVM: everything before interrupt controllers and vCPUs. */
static void load(struct pv_loop *loop, struct pv_template *template)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_kvm kvm = {.fd = -1};
	struct pv_machine *machine = calloc(1, sizeof(*machine));
	if (!machine)
		abort();
	machine->kvm = &kvm;
	machine->loop = loop;
	machine->cpus = template->cpus;
	machine->vsock_cid = template->vsock_cid;
	machine->no_devices = !template->has_devices;
	machine->adopt = adopt;
	machine->vm = (struct pv_kvm_vm){.kvm = &kvm, .fd = -1, .irqchip = true};
	machine->vm.cpus = template->cpus;
	machine->vm.vcpus = calloc(template->cpus, sizeof(machine->vm.vcpus[0]));
	for (unsigned i = 0; i < template->cpus; i++)
		machine->vm.vcpus[i].fd = -1;
	if (pv_ram_init_private(&machine->ram, -1, &template->ram, &err) < 0)
		abort();
	pv_guest_clock_init(&machine->clock, &machine->vm, 0);
	pv_gsi_init(&machine->gsi, &machine->vm);
	pv_loop_lock(loop);
	if (!machine->no_devices && pv_machine_devices_init(machine, &err) < 0)
		abort();
	/* The processor is another one. */
	free(template->file);
	template->file = NULL;
	pv_machine_state_load(machine, template, &err);
	if (!machine->no_devices) {
		pv_machine_devices_wake(machine);
		pv_machine_devices_resume(machine);
		pv_machine_console_input(machine, "typed", 5);
		pv_machine_devices_quiesce(machine);
		pv_machine_devices_finish(machine);
	}
	pv_loop_unlock(loop);
	pv_guest_clock_finish(&machine->clock);
	pv_ram_finish(&machine->ram, NULL);
	free(machine->vm.vcpus);
	free(machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pv_loop *loop;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	if (!loop && pv_loop_create(&loop, &err) < 0)
		abort();
	if (size < 1 || size > INPUT_MAX)
		return 0;
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	if (fd < 0)
		abort();
	if (data[0] == 0)
		put_all(fd, data + 1, size - 1, 0);
	else
		write_file(fd, data + 1, size - 1);
	if (pv_template_read(&template, fd, "input", true, &err) == 0)
		load(loop, template);
	else if (!strstr(err.text, "input"))
		abort();
	pv_template_unref(template);
	close(fd);
	return 0;
}
