/*
 * Snapshot files that hold anything. The first byte of the input chooses: 0, the rest is the file;
 * 2, a file that builds on another one: a byte with the number of its runs of pages, the runs, and
 * the state of a machine; 3, the rest is the name of the file that one builds on; otherwise the
 * rest is the state of a machine. But for 0 all checksums are right. What is accepted is loaded
 * into the devices of a machine that has no KVM behind it, which then go on: their rings lie in
 * memory of zeroes.
 */
#include <stdint.h>
#include <stdio.h>
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
#include "vmm/template_header.h"
#include "vmm/template_private.h"

#define HEADER_SIZE PV_TEMPLATE_HEADER_SIZE
#define RAM_SIZE    (UINT64_C(16) << 20)
#define DATA_MAX    (2 * RAM_SIZE)
#define RUN_SIZE    16u
#define INPUT_MAX   (256u << 10)

/* The whole of a file, all but RAM, which is zero. */
struct file {
	const uint8_t *machine;
	size_t machine_len;
	const uint8_t *runs;
	size_t runs_len;
	uint64_t data_size;
	struct pv_template_header header; /* with the base */
};

static void put_all(int fd, const void *data, size_t len, uint64_t at)
{
	if (pwrite(fd, data, len, (off_t)at) != (ssize_t)len)
		abort();
}

/* As vmm/template_write.c does it; a second opinion on the format. */
static void write_file(int fd, struct file *file)
{
	static const uint8_t sums[DATA_MAX / PV_RAM_SUM_BLOCK * 8];
	struct pv_template_header *header = &file->header;
	char text[PV_HASH_TEXT];
	struct pv_bytes state = {0};
	struct pv_pack pack = {.out = &state};
	pv_pack_map(&pack, 5);
	pv_pack_str(&pack, "machine");
	pv_pack_bin(&pack, file->machine, file->machine_len);
	pv_pack_str(&pack, "owner");
	pv_pack_bin(&pack, "owner", 5);
	pv_pack_str(&pack, "runs");
	pv_pack_bin(&pack, file->runs, file->runs_len);
	pv_pack_str(&pack, "block");
	pv_pack_uint(&pack, PV_RAM_SUM_BLOCK);
	pv_pack_str(&pack, "sums");
	pv_pack_bin(&pack, sums, (file->data_size + PV_RAM_SUM_BLOCK - 1) / PV_RAM_SUM_BLOCK * 8);
	if (pack.status < 0)
		abort();
	header->ram_size = RAM_SIZE;
	header->data_size = file->data_size;
	header->state_size = state.len;
	memcpy(header->state_hash, pv_hash_of(state.data, state.len, text),
	    sizeof(header->state_hash));
	pv_template_header_seal(header);
	put_all(fd, header, sizeof(*header), 0);
	put_all(fd, state.data, state.len, header->state_offset);
	pv_bytes_finish(&state);
}

static int new_file(void)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	if (fd < 0)
		abort();
	return fd;
}

/* A file to build on; its path is the folder of the descriptors and its number. */
static int make_base(struct pv_template_header *header)
{
	struct file file = {.data_size = RAM_SIZE};
	int fd = new_file();
	write_file(fd, &file);
	*header = file.header;
	return fd;
}

static void name_base(struct file *file, int fd, const struct pv_template_header *base)
{
	struct pv_template_header *header = &file->header;
	memcpy(header->base_id, base->id, sizeof(header->base_id));
	header->base_size = base->file_size;
	memcpy(header->base_hash, base->header_hash, sizeof(header->base_hash));
	snprintf(header->base_name, sizeof(header->base_name), "%d", fd);
}

/* Any runs, and as much data as they say, as far as that is reasonable. */
static void write_layer(
    int fd, int base, const struct pv_template_header *header, const uint8_t *data, size_t len)
{
	struct file file = {0};
	size_t count = len > 0 ? data[0] : 0;
	if (len < 1 + count * RUN_SIZE)
		count = 0;
	file.runs = data + (len > 0);
	file.runs_len = count * RUN_SIZE;
	for (size_t i = 0; i < count; i++)
		file.data_size += pv_le64(file.runs + i * RUN_SIZE + 8);
	if (file.data_size > DATA_MAX)
		file.data_size = DATA_MAX;
	file.machine = file.runs + file.runs_len;
	file.machine_len = len - file.runs_len - (len > 0);
	name_base(&file, base, header);
	write_file(fd, &file);
}

static void write_name(
    int fd, int base, const struct pv_template_header *header, const uint8_t *data, size_t len)
{
	struct file file = {0};
	char *name = file.header.base_name;
	name_base(&file, base, header);
	memset(name, 0, sizeof(file.header.base_name));
	memcpy(
	    name, data, len < sizeof(file.header.base_name) ? len : sizeof(file.header.base_name));
	write_file(fd, &file);
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
	if (pv_ram_init_private(&machine->ram, -1, template->ram, NULL, NULL, &err) < 0)
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
	static int base = -1;
	static struct pv_template_header header;
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template = NULL;
	if (!loop && pv_loop_create(&loop, &err) < 0)
		abort();
	if (size < 1 || size > INPUT_MAX)
		return 0;
	if (base < 0)
		base = make_base(&header);
	int fd = new_file();
	if (data[0] == 0) {
		put_all(fd, data + 1, size - 1, 0);
	} else if (data[0] == 2) {
		write_layer(fd, base, &header, data + 1, size - 1);
	} else if (data[0] == 3) {
		write_name(fd, base, &header, data + 1, size - 1);
	} else {
		struct file file = {
		    .machine = data + 1, .machine_len = size - 1, .data_size = RAM_SIZE};
		write_file(fd, &file);
	}
	if (pv_template_read(&template, fd, "/proc/self/fd/input", true, &err) == 0)
		load(loop, template);
	else if (!strstr(err.text, "input"))
		abort();
	pv_template_unref(template);
	close(fd);
	return 0;
}
