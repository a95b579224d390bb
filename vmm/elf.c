/*
 * ELF64 kernels (System V ABI, chapters 4 and 5; x86-64 psABI): the loadable segments by physical
 * address, the entry, and the PVH note (Xen's elfnote.h: type 18, XEN_ELFNOTE_PHYS32_ENTRY, name
 * "Xen"). Headers are copied out of the image and checked before use; nothing is found by scanning.
 * Called by the kernel loader on any thread; nothing is kept.
 */
#include "vmm/elf.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "vmm/kernel.h"
#include "vmm/layout.h"

#define PROGRAM_HEADERS_MAX 64
#define NOTES_MAX	    256
#define NOTE_BYTES_MAX	    65536u
#define NOTE_PHYS32_ENTRY   18u

#define GIVE "give a bzImage or an ELF vmlinux for x86-64"

struct machine_name {
	uint16_t machine;
	const char *name;
};

static const struct machine_name machine_names[] = {
    {EM_386,     "32-bit x86"	 },
    {EM_AARCH64, "arm64"		},
    {EM_ARM,     "32-bit arm"	 },
    {EM_RISCV,   "RISC-V"	       },
    {EM_PPC64,   "64-bit PowerPC"},
    {EM_PPC,     "32-bit PowerPC"},
    {EM_S390,    "s390"	    },
    {EM_MIPS,    "MIPS"	    },
    {EM_SPARCV9, "SPARC"		},
    {258,	  "LoongArch"     },
};

static int refuse(struct pv_err *err, const char *what)
{
	return pv_err_set(err, PV_ERR_INPUT, ENOEXEC, "this is %s; " GIVE, what);
}

static int refuse_machine(struct pv_err *err, unsigned machine)
{
	for (size_t i = 0; i < sizeof(machine_names) / sizeof(machine_names[0]); i++)
		if (machine_names[i].machine == machine)
			return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
			    "this is an ELF file for %s; " GIVE, machine_names[i].name);
	return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
	    "this is an ELF file for another processor (machine %u); " GIVE, machine);
}

/* Class, byte order, machine and type of file. */
static int check_identity(const Elf64_Ehdr *header, struct pv_err *err)
{
	if (header->e_ident[EI_DATA] != ELFDATA2LSB)
		return refuse(err, "an ELF file in big-endian byte order");
	/* The machine has the same place in both classes. */
	if (header->e_machine != EM_X86_64)
		return refuse_machine(err, header->e_machine);
	if (header->e_ident[EI_CLASS] != ELFCLASS64)
		return refuse(err, "a 32-bit ELF file");
	switch (header->e_type) {
	case ET_EXEC: return 0;
	case ET_REL: return refuse(err, "a kernel module or object file, not a kernel");
	case ET_CORE: return refuse(err, "a core dump, not a kernel");
	case ET_DYN: return refuse(err, "a program or shared library for Linux, not a kernel");
	default: return refuse(err, "an ELF file of an unknown type");
	}
}

static int cut_short(struct pv_err *err, const char *what, uint64_t need, size_t have)
{
	return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
	    "the file is cut short: its %s reach to byte %llu, but it has %zu; get the file again",
	    what, (unsigned long long)need, have);
}

/* Copies program header `index`, which lies in the image. */
static Elf64_Phdr program_header(
    const struct pv_kernel *kernel, const Elf64_Ehdr *header, unsigned index)
{
	Elf64_Phdr program;
	memcpy(&program, kernel->image + header->e_phoff + (size_t)index * sizeof(program),
	    sizeof(program));
	return program;
}

/* The ELF header and the place of the program headers. */
static int read_header(const struct pv_kernel *kernel, Elf64_Ehdr *header, struct pv_err *err)
{
	const size_t size = kernel->image_size;
	/* A 32-bit header is shorter; what is compared first lies in both. */
	if (size < sizeof(*header))
		return cut_short(err, "headers", sizeof(*header), size);
	memcpy(header, kernel->image, sizeof(*header));
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return refuse(err, "not an ELF file");
	int status = check_identity(header, err);
	if (status < 0)
		return status;
	if (header->e_phnum == 0)
		return refuse(err, "an ELF file without segments");
	if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > PROGRAM_HEADERS_MAX)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "its ELF header announces %u program headers of %u bytes, not 1 to %d of %zu; "
		    "the file is damaged or no kernel",
		    header->e_phnum, header->e_phentsize, PROGRAM_HEADERS_MAX, sizeof(Elf64_Phdr));
	const uint64_t table = (uint64_t)header->e_phnum * sizeof(Elf64_Phdr);
	if (header->e_phoff > size || table > size - header->e_phoff) {
		uint64_t end;
		if (__builtin_add_overflow(header->e_phoff, table, &end))
			end = UINT64_MAX;
		return cut_short(err, "program headers", end, size);
	}
	return 0;
}

/* Takes in a loadable segment. */
static int add_segment(struct pv_kernel *kernel, const Elf64_Phdr *program, struct pv_err *err)
{
	if (program->p_memsz == 0)
		return 0;
	const unsigned number = kernel->segment_count;
	if (number == PV_KERNEL_SEGMENTS_MAX)
		return pv_err_set(err, PV_ERR_LIMIT, ENOEXEC,
		    "it has more than %d loadable segments", PV_KERNEL_SEGMENTS_MAX);
	uint64_t file_end, memory_end;
	if (program->p_filesz > program->p_memsz ||
	    __builtin_add_overflow(program->p_offset, program->p_filesz, &file_end) ||
	    __builtin_add_overflow(program->p_paddr, program->p_memsz, &memory_end))
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "the sizes of its segment %u contradict each other; the file is damaged",
		    number);
	if (program->p_filesz > 0 && file_end > kernel->image_size)
		return cut_short(err, "segments", file_end, kernel->image_size);
	if (program->p_paddr < PV_LAYOUT_KERNEL_MIN)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "its segment %u loads at 0x%llx, below 1 MiB, which belongs to the boot data; "
		    "link the kernel higher",
		    number, (unsigned long long)program->p_paddr);
	for (unsigned i = 0; i < number; i++) {
		const struct pv_kernel_segment *other = &kernel->segments[i];
		if (program->p_paddr < other->gpa + other->memory_size && other->gpa < memory_end)
			return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
			    "its segments %u and %u overlap in memory; the file is damaged", i,
			    number);
	}
	kernel->segments[number] = (struct pv_kernel_segment){
	    .gpa = program->p_paddr,
	    .file_offset = program->p_offset,
	    .file_size = program->p_filesz,
	    .memory_size = program->p_memsz,
	};
	kernel->segment_count = number + 1;
	if (memory_end > kernel->memory_end)
		kernel->memory_end = memory_end;
	return 0;
}

/* Looks for the PVH entry among the notes of [at, end). Notes that do not add up end the search. */
static uint32_t find_pvh(const uint8_t *at, const uint8_t *end)
{
	for (unsigned count = 0; count < NOTES_MAX; count++) {
		Elf64_Nhdr note;
		if ((size_t)(end - at) < sizeof(note))
			return 0;
		memcpy(&note, at, sizeof(note));
		at += sizeof(note);
		const uint64_t name = ((uint64_t)note.n_namesz + 3) & ~UINT64_C(3);
		const uint64_t desc = ((uint64_t)note.n_descsz + 3) & ~UINT64_C(3);
		if (name + desc > (uint64_t)(end - at))
			return 0;
		/* The address has the width of a word of the kernel: 4 or 8 bytes. */
		if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
		    memcmp(at, "Xen", 4) == 0 && (note.n_descsz == 4 || note.n_descsz == 8)) {
			uint64_t entry = 0;
			memcpy(&entry, at + name, note.n_descsz);
			return entry <= UINT32_MAX ? (uint32_t)entry : 0;
		}
		at += name + desc;
	}
	return 0;
}

static void read_notes(struct pv_kernel *kernel, const Elf64_Phdr *program)
{
	const size_t size = kernel->image_size;
	if (kernel->entry_pvh || program->p_offset > size ||
	    program->p_filesz > size - program->p_offset || program->p_filesz > NOTE_BYTES_MAX)
		return;
	const uint8_t *at = kernel->image + program->p_offset;
	kernel->entry_pvh = find_pvh(at, at + program->p_filesz);
}

/* True when `gpa` lies in bytes that come from the file. */
static bool holds_code(const struct pv_kernel *kernel, uint64_t gpa)
{
	for (unsigned i = 0; i < kernel->segment_count; i++) {
		const struct pv_kernel_segment *segment = &kernel->segments[i];
		if (gpa >= segment->gpa && gpa - segment->gpa < segment->file_size)
			return true;
	}
	return false;
}

int pv_elf_parse(struct pv_kernel *kernel, struct pv_err *err)
{
	Elf64_Ehdr header;
	kernel->segment_count = 0;
	kernel->memory_end = 0;
	kernel->entry_pvh = 0;
	int status = read_header(kernel, &header, err);
	for (unsigned i = 0; status == 0 && i < header.e_phnum; i++) {
		const Elf64_Phdr program = program_header(kernel, &header, i);
		if (program.p_type == PT_INTERP)
			status = refuse(err, "a program for Linux, not a kernel");
		else if (program.p_type == PT_LOAD)
			status = add_segment(kernel, &program, err);
		else if (program.p_type == PT_NOTE)
			read_notes(kernel, &program);
	}
	if (status < 0)
		return status;
	if (!holds_code(kernel, header.e_entry))
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
		    "its entry 0x%llx is outside of its segments' physical addresses; " GIVE,
		    (unsigned long long)header.e_entry);
	if (!holds_code(kernel, kernel->entry_pvh))
		kernel->entry_pvh = 0;
	kernel->entry64 = header.e_entry;
	return 0;
}

uint64_t pv_elf_extent(const void *data, size_t len, uint64_t file_size)
{
	Elf64_Ehdr header;
	if (len < sizeof(header))
		return file_size;
	memcpy(&header, data, sizeof(header));
	const uint64_t table = (uint64_t)header.e_phnum * sizeof(Elf64_Phdr);
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr) ||
	    header.e_phoff > len || table > len - header.e_phoff)
		return file_size;
	uint64_t extent = len;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr program;
		memcpy(&program,
		    (const uint8_t *)data + header.e_phoff + (size_t)i * sizeof(program),
		    sizeof(program));
		uint64_t end;
		if (program.p_type != PT_LOAD && program.p_type != PT_NOTE)
			continue;
		if (__builtin_add_overflow(program.p_offset, program.p_filesz, &end))
			return file_size;
		if (end > extent)
			extent = end;
	}
	return extent < file_size ? extent : file_size;
}
