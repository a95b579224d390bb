/*
 * Reading `.modinfo`. Theory: an ELF file has a table of section headers, one of which (e_shstrndx)
 * holds the sections' names; the first section of the right name wins (System V ABI, "Sections").
 * Nothing is trusted: all arithmetic is 64-bit, and `inside` is the one check of a range. A
 * signature that Linux appends behind the ELF file does not disturb, as nothing is looked for at
 * the end. Pure; any thread.
 */
#include "lab/modinfo.h"

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

/* Linux modules have about 50 sections; with -ffunction-sections some thousands. */
#define SECTIONS_MAX 65536

static const char wanted[] = ".modinfo";

static bool inside(size_t size, uint64_t offset, uint64_t len)
{
	return offset <= size && len <= size - offset;
}

static int refuse(struct pv_err *err, const char *why)
{
	return pv_err_set(err, PV_ERR_INPUT, ENOEXEC, "%s", why);
}

static Elf64_Shdr section_at(const uint8_t *data, const Elf64_Ehdr *file, uint64_t index)
{
	Elf64_Shdr header;
	memcpy(&header, data + file->e_shoff + index * sizeof(header), sizeof(header));
	return header;
}

static int check_header(Elf64_Ehdr *file, const void *data, size_t len, struct pv_err *err)
{
	if (len < sizeof(*file))
		return refuse(err, "it is too short for a kernel module");
	memcpy(file, data, sizeof(*file));
	if (memcmp(file->e_ident, ELFMAG, SELFMAG) != 0)
		return refuse(err, "it is no ELF file");
	if (file->e_ident[EI_CLASS] != ELFCLASS64 || file->e_ident[EI_DATA] != ELFDATA2LSB)
		return refuse(err, "it is no 64-bit little-endian ELF file");
	if (file->e_shentsize != sizeof(Elf64_Shdr) ||
	    !inside(len, file->e_shoff, sizeof(Elf64_Shdr)))
		return refuse(err, "it has no table of sections");
	return 0;
}

/* The names of the sections, as a range of the file. */
static int find_names(const uint8_t *data, size_t len, const Elf64_Ehdr *file, uint64_t count,
    struct pv_span *names, struct pv_err *err)
{
	uint64_t index = file->e_shstrndx;
	if (index == SHN_XINDEX)
		index = section_at(data, file, 0).sh_link;
	if (index >= count)
		return refuse(err, "its section names are missing");
	Elf64_Shdr header = section_at(data, file, index);
	if (header.sh_type != SHT_STRTAB || !inside(len, header.sh_offset, header.sh_size))
		return refuse(err, "its section names lie outside of the file");
	*names = (struct pv_span){.data = data + header.sh_offset, .len = (size_t)header.sh_size};
	return 0;
}

int pv_modinfo_find(struct pv_span *section, const void *data, size_t len, struct pv_err *err)
{
	Elf64_Ehdr file;
	struct pv_span names = {0};
	int status = check_header(&file, data, len, err);
	if (status)
		return status;
	/* "If the number of sections is SHN_LORESERVE or more, e_shnum is 0 and sh_size of section
	 * 0 has it." */
	uint64_t count = file.e_shnum ? file.e_shnum : section_at(data, &file, 0).sh_size;
	if (count == 0 || count > SECTIONS_MAX ||
	    !inside(len, file.e_shoff, count * sizeof(Elf64_Shdr)))
		return refuse(err, "its table of sections lies outside of the file");
	status = find_names(data, len, &file, count, &names, err);
	for (uint64_t i = 1; !status && i < count; i++) {
		Elf64_Shdr header = section_at(data, &file, i);
		if (!inside(names.len, header.sh_name, sizeof(wanted)) ||
		    memcmp((const char *)names.data + header.sh_name, wanted, sizeof(wanted)) != 0)
			continue;
		if (header.sh_type == SHT_NOBITS || !inside(len, header.sh_offset, header.sh_size))
			return refuse(err, "its .modinfo section lies outside of the file");
		*section = (struct pv_span){
		    .data = (const uint8_t *)data + header.sh_offset,
		    .len = (size_t)header.sh_size,
		};
		return 0;
	}
	return status ? status
		      : refuse(err, "it has no .modinfo section, so it is no kernel module");
}

bool pv_modinfo_next(struct pv_span section, const char *key, size_t *at, struct pv_span *value)
{
	const char *text = section.data;
	size_t key_len = strlen(key);
	while (*at < section.len) {
		const char *entry = text + *at;
		size_t len = strnlen(entry, section.len - *at);
		*at += len < section.len - *at ? len + 1 : len;
		if (len > key_len && memcmp(entry, key, key_len) == 0 && entry[key_len] == '=') {
			*value =
			    (struct pv_span){.data = entry + key_len + 1, .len = len - key_len - 1};
			return true;
		}
	}
	return false;
}
