/*
 * Kernel files made in memory. The compressors are the real libraries', so that what is unpacked is
 * what the tools write.
 */
#include "kernel_files.h"

#include <bzlib.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "vmm/zero_page.h"

#define LEGACY_BLOCK (8u << 20)

const enum pv_kernel_format kernel_compressions[] = {
    PV_KERNEL_GZIP,
    PV_KERNEL_XZ,
    PV_KERNEL_ZSTD,
    PV_KERNEL_LZ4_LEGACY,
    PV_KERNEL_LZ4_FRAME,
    PV_KERNEL_BZIP2,
    PV_KERNEL_LZMA,
};
const unsigned kernel_compression_count =
    sizeof(kernel_compressions) / sizeof(kernel_compressions[0]);

const char *kernel_format_name(enum pv_kernel_format format)
{
	switch (format) {
	case PV_KERNEL_GZIP: return "gzip";
	case PV_KERNEL_XZ: return "xz";
	case PV_KERNEL_ZSTD: return "zstd";
	case PV_KERNEL_LZ4_LEGACY: return "lz4-legacy";
	case PV_KERNEL_LZ4_FRAME: return "lz4-frame";
	case PV_KERNEL_BZIP2: return "bzip2";
	case PV_KERNEL_LZMA: return "lzma";
	default: return "other";
	}
}

static void need(int ok)
{
	if (!ok)
		abort();
}

/* Appends `size` zeroed bytes and returns them. */
static uint8_t *extend(struct pv_bytes *out, size_t size)
{
	need(pv_bytes_reserve(out, size) == 0);
	uint8_t *at = out->data + out->len;
	memset(at, 0, size);
	out->len += size;
	return at;
}

/* Bytes that compress a little, as code does. */
static void fill(uint8_t *at, size_t size)
{
	uint32_t state = 1;
	for (size_t i = 0; i < size; i++) {
		state = state * 1664525 + 1013904223;
		at[i] = i % 3 ? (uint8_t)(i >> 4) : (uint8_t)(state >> 28);
	}
}

void make_tiny_elf(struct pv_bytes *out)
{
	const size_t head = sizeof(Elf64_Ehdr) + TINY_SEGMENTS * sizeof(Elf64_Phdr);
	const struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t entry;
	} note = {
	    .head = {.n_namesz = 4, .n_descsz = 4, .n_type = 18},
	    .name = "Xen",
	    .entry = (uint32_t)TINY_PVH_ENTRY,
	};
	uint8_t *file = extend(out, head + TINY_CODE_SIZE + TINY_DATA_SIZE + sizeof(note));
	Elf64_Ehdr *header = (Elf64_Ehdr *)file;
	memcpy(header->e_ident, ELFMAG, SELFMAG);
	header->e_ident[EI_CLASS] = ELFCLASS64;
	header->e_ident[EI_DATA] = ELFDATA2LSB;
	header->e_ident[EI_VERSION] = EV_CURRENT;
	header->e_type = ET_EXEC;
	header->e_machine = EM_X86_64;
	header->e_version = EV_CURRENT;
	header->e_entry = TINY_CODE_GPA;
	header->e_phoff = sizeof(*header);
	header->e_ehsize = sizeof(*header);
	header->e_phentsize = sizeof(Elf64_Phdr);
	header->e_phnum = TINY_SEGMENTS;
	Elf64_Phdr *segments = (Elf64_Phdr *)(header + 1);
	segments[0] = (Elf64_Phdr){
	    .p_type = PT_LOAD,
	    .p_offset = head,
	    .p_vaddr = UINT64_C(0xffffffff81000000),
	    .p_paddr = TINY_CODE_GPA,
	    .p_filesz = TINY_CODE_SIZE,
	    .p_memsz = TINY_CODE_SIZE,
	};
	segments[1] = (Elf64_Phdr){
	    .p_type = PT_LOAD,
	    .p_offset = head + TINY_CODE_SIZE,
	    .p_vaddr = UINT64_C(0xffffffff81200000),
	    .p_paddr = TINY_DATA_GPA,
	    .p_filesz = TINY_DATA_SIZE,
	    .p_memsz = TINY_DATA_MEMORY,
	};
	segments[2] = (Elf64_Phdr){
	    .p_type = PT_NOTE,
	    .p_offset = head + TINY_CODE_SIZE + TINY_DATA_SIZE,
	    .p_filesz = sizeof(note),
	    .p_memsz = sizeof(note),
	};
	fill(file + head, TINY_CODE_SIZE + TINY_DATA_SIZE);
	memcpy(file + segments[2].p_offset, &note, sizeof(note));
}

Elf64_Ehdr *elf_header(struct pv_bytes *file)
{
	return (Elf64_Ehdr *)file->data;
}

Elf64_Phdr *elf_segment(struct pv_bytes *file, unsigned index)
{
	return (Elf64_Phdr *)(file->data + sizeof(Elf64_Ehdr)) + index;
}

static void compress_gzip(const void *data, size_t len, struct pv_bytes *out)
{
	z_stream stream = {0};
	need(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	const size_t bound = deflateBound(&stream, len);
	need(pv_bytes_reserve(out, bound) == 0);
	stream.next_in = (Bytef *)(uintptr_t)data;
	stream.avail_in = (unsigned)len;
	stream.next_out = out->data + out->len;
	stream.avail_out = (unsigned)bound;
	need(deflate(&stream, Z_FINISH) == Z_STREAM_END);
	out->len += bound - stream.avail_out;
	deflateEnd(&stream);
}

static void compress_xz(const void *data, size_t len, struct pv_bytes *out)
{
	const size_t bound = lzma_stream_buffer_bound(len);
	need(pv_bytes_reserve(out, bound) == 0);
	size_t used = 0;
	need(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, data, len, out->data + out->len,
		 &used, bound) == LZMA_OK);
	out->len += used;
}

void compress_xz_like_linux(const void *data, size_t len, struct pv_bytes *out)
{
	lzma_options_lzma options;
	need(!lzma_lzma_preset(&options, 6));
	lzma_filter filters[] = {
	    {LZMA_FILTER_X86,   NULL	  },
	    {LZMA_FILTER_LZMA2, &options},
	    {LZMA_VLI_UNKNOWN,  NULL	   },
	};
	const size_t bound = lzma_stream_buffer_bound(len);
	need(pv_bytes_reserve(out, bound) == 0);
	size_t used = 0;
	need(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, data, len,
		 out->data + out->len, &used, bound) == LZMA_OK);
	out->len += used;
}

static void compress_lzma(const void *data, size_t len, struct pv_bytes *out)
{
	lzma_options_lzma options;
	lzma_stream stream = LZMA_STREAM_INIT;
	/* A small dictionary, so that thousands of damaged files are unpacked fast. */
	need(!lzma_lzma_preset(&options, 0));
	need(lzma_alone_encoder(&stream, &options) == LZMA_OK);
	const size_t bound = len + len / 2 + 4096;
	need(pv_bytes_reserve(out, bound) == 0);
	stream.next_in = data;
	stream.avail_in = len;
	stream.next_out = out->data + out->len;
	stream.avail_out = bound;
	need(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
	out->len += bound - stream.avail_out;
	lzma_end(&stream);
}

static void compress_bzip2(const void *data, size_t len, struct pv_bytes *out)
{
	unsigned bound = (unsigned)(len + len / 100 + 600);
	need(pv_bytes_reserve(out, bound) == 0);
	need(BZ2_bzBuffToBuffCompress((char *)out->data + out->len, &bound, (char *)(uintptr_t)data,
		 (unsigned)len, 1, 0, 0) == BZ_OK);
	out->len += bound;
}

static void compress_zstd(const void *data, size_t len, struct pv_bytes *out)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	const size_t bound = ZSTD_compressBound(len);
	need(context && pv_bytes_reserve(out, bound) == 0);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	const size_t used = ZSTD_compress2(context, out->data + out->len, bound, data, len);
	need(!ZSTD_isError(used));
	out->len += used;
	ZSTD_freeCCtx(context);
}

static void compress_lz4_frame(const void *data, size_t len, struct pv_bytes *out)
{
	const LZ4F_preferences_t preferences = {
	    .frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled,
	};
	const size_t bound = LZ4F_compressFrameBound(len, &preferences);
	need(pv_bytes_reserve(out, bound) == 0);
	const size_t used =
	    LZ4F_compressFrame(out->data + out->len, bound, data, len, &preferences);
	need(!LZ4F_isError(used));
	out->len += used;
}

static void compress_lz4_legacy(const void *data, size_t len, struct pv_bytes *out)
{
	const char *at = data;
	pv_put_le32(extend(out, 4), 0x184c2102);
	while (len > 0) {
		const int part = len < LEGACY_BLOCK ? (int)len : (int)LEGACY_BLOCK;
		const int bound = LZ4_compressBound(part);
		const size_t start = out->len;
		extend(out, 4 + (size_t)bound);
		const int used =
		    LZ4_compress_default(at, (char *)out->data + start + 4, part, bound);
		need(used > 0);
		pv_put_le32(out->data + start, (uint32_t)used);
		out->len = start + 4 + (size_t)used;
		at += part;
		len -= (size_t)part;
	}
}

void make_packed(enum pv_kernel_format format, const void *data, size_t len, struct pv_bytes *out)
{
	switch (format) {
	case PV_KERNEL_GZIP: compress_gzip(data, len, out); return;
	case PV_KERNEL_XZ: compress_xz(data, len, out); return;
	case PV_KERNEL_ZSTD: compress_zstd(data, len, out); return;
	case PV_KERNEL_LZ4_LEGACY: compress_lz4_legacy(data, len, out); return;
	case PV_KERNEL_LZ4_FRAME: compress_lz4_frame(data, len, out); return;
	case PV_KERNEL_BZIP2: compress_bzip2(data, len, out); return;
	case PV_KERNEL_LZMA: compress_lzma(data, len, out); return;
	default: abort();
	}
}

void make_bzimage(const void *payload, size_t len, uint32_t unpacked_size, struct pv_bytes *out)
{
	const size_t setup = 2 * 512, before = 64;
	const int sized = pv_kernel_sniff(payload, len) == PV_KERNEL_GZIP;
	const size_t packed = len + (sized ? 0 : 4);
	uint8_t *file = extend(out, setup + before + packed + 32);
	memcpy(file, "MZ", 2);
	file[ZERO_PAGE_SETUP_SECTS] = 1;
	pv_put_le16(file + ZERO_PAGE_BOOT_FLAG, BOOT_FLAG);
	file[ZERO_PAGE_JUMP] = 0xeb;
	file[ZERO_PAGE_JUMP + 1] = 0x6a; /* to 0x26c, as Linux 6 */
	pv_put_le32(file + ZERO_PAGE_HEADER, HEADER_MAGIC);
	pv_put_le16(file + ZERO_PAGE_VERSION, 0x20f);
	file[ZERO_PAGE_LOADFLAGS] = LOADED_HIGH;
	pv_put_le32(file + ZERO_PAGE_INITRD_ADDR_MAX, 0x7fffffff);
	pv_put_le32(file + ZERO_PAGE_KERNEL_ALIGNMENT, 0x200000);
	pv_put_le16(file + ZERO_PAGE_XLOADFLAGS, XLF_KERNEL_64);
	pv_put_le32(file + ZERO_PAGE_CMDLINE_SIZE, 2047);
	pv_put_le32(file + ZERO_PAGE_PAYLOAD_OFFSET, (uint32_t)before);
	pv_put_le32(file + ZERO_PAGE_PAYLOAD_LENGTH, (uint32_t)packed);
	pv_put_le64(file + ZERO_PAGE_PREF_ADDRESS, TINY_CODE_GPA);
	pv_put_le32(file + ZERO_PAGE_INIT_SIZE, 0x400000);
	memcpy(file + setup + before, payload, len);
	if (!sized)
		pv_put_le32(file + setup + before + len, unpacked_size);
}

void make_tiny_bzimage(enum pv_kernel_format format, struct pv_bytes *out)
{
	struct pv_bytes elf = {0}, packed = {0};
	make_tiny_elf(&elf);
	make_packed(format, elf.data, elf.len, &packed);
	make_bzimage(packed.data, packed.len, (uint32_t)elf.len, out);
	pv_bytes_finish(&packed);
	pv_bytes_finish(&elf);
}
