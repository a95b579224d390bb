/*
 * ELF files by hand. A module here has three sections behind its header: none, .shstrtab and
 * .modinfo. The program is one segment, loaded whole: header, a few instructions, the text.
 */
#include "tests/unit/elf_module.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

void elf_module_write(struct pv_bytes *out, const char *const *info)
{
	static const char names[] = "\0.shstrtab\0.modinfo";
	struct pv_bytes section = {0};
	for (; *info; info++)
		pv_bytes_append(&section, *info, strlen(*info) + 1);
	Elf64_Shdr headers[3] = {
	    [1] = {.sh_name = 1,
		   .sh_type = SHT_STRTAB,
		   .sh_offset = sizeof(Elf64_Ehdr),
		   .sh_size = sizeof(names)},
	    [2] = {.sh_name = 11,
		   .sh_type = SHT_PROGBITS,
		   .sh_offset = sizeof(Elf64_Ehdr) + sizeof(names),
		   .sh_size = section.len  },
	};
	Elf64_Ehdr file = {
	    .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
	    .e_type = ET_REL,
	    .e_machine = EM_X86_64,
	    .e_version = EV_CURRENT,
	    .e_shoff = sizeof(Elf64_Ehdr) + sizeof(names) + section.len,
	    .e_ehsize = sizeof(Elf64_Ehdr),
	    .e_shentsize = sizeof(Elf64_Shdr),
	    .e_shnum = 3,
	    .e_shstrndx = 1,
	};
	pv_bytes_append(out, &file, sizeof(file));
	pv_bytes_append(out, names, sizeof(names));
	pv_bytes_append(out, section.data, section.len);
	pv_bytes_append(out, headers, sizeof(headers));
	pv_bytes_finish(&section);
}

void elf_program_write(struct pv_bytes *out, const char *text)
{
	uint8_t code[] = {
	    0xb8, 1, 0, 0, 0,		   /* mov eax, SYS_write */
	    0xbf, 1, 0, 0, 0,		   /* mov edi, 1 */
	    0x48, 0x8d, 0x35, 16, 0, 0, 0, /* lea rsi, [rip + 16] */
	    0xba, 0, 0, 0, 0,		   /* mov edx, length */
	    0x0f, 0x05,			   /* syscall */
	    0xb8, 60, 0, 0, 0,		   /* mov eax, SYS_exit */
	    0x31, 0xff,			   /* xor edi, edi */
	    0x0f, 0x05,			   /* syscall */
	};
	uint32_t len = (uint32_t)strlen(text);
	uint64_t start = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), base = 0x400000;
	memcpy(code + 18, &len, sizeof(len));
	Elf64_Ehdr file = {
	    .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
	    .e_type = ET_EXEC,
	    .e_machine = EM_X86_64,
	    .e_version = EV_CURRENT,
	    .e_entry = base + start,
	    .e_phoff = sizeof(Elf64_Ehdr),
	    .e_ehsize = sizeof(Elf64_Ehdr),
	    .e_phentsize = sizeof(Elf64_Phdr),
	    .e_phnum = 1,
	};
	Elf64_Phdr segment = {
	    .p_type = PT_LOAD,
	    .p_flags = PF_R | PF_X,
	    .p_vaddr = base,
	    .p_paddr = base,
	    .p_filesz = start + sizeof(code) + len,
	    .p_memsz = start + sizeof(code) + len,
	    .p_align = 0x1000,
	};
	pv_bytes_append(out, &file, sizeof(file));
	pv_bytes_append(out, &segment, sizeof(segment));
	pv_bytes_append(out, code, sizeof(code));
	pv_bytes_append(out, text, len);
}
